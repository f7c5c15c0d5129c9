//! From a message of the contacts queue to what this consumer needs of a contact.
//!
//! TitanX promises no schema: any member may be absent, null, empty or of another type, and a text may
//! end with half of an emoji. None of this is a reason to refuse a contact.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Deserializer, de::Visitor};
use serde_json::value::RawValue;

use crate::event::Message;

/// The members of the payload that identify a person, the most specific first.
const IDS: [&str; 5] = [
    "databaseContactId",
    "customerContactId",
    "contactCrmId",
    "leadId",
    "phone",
];

/// The members that this consumer stores.
const FIELDS: [&str; 6] = [
    "firstName",
    "lastName",
    "email",
    "phone",
    "phoneStatus",
    "leadStatus",
];

/// A scored contact.
pub(crate) struct Contact {
    /// The id of the delivery. A second message with this id is the same contact.
    pub(crate) delivery_id: String,
    /// Identifies the person: an id or the phone number; the delivery id where there is none of them.
    pub(crate) id: String,
    /// When it was scored, in Unix milliseconds. Messages come in any order.
    pub(crate) scored_at: u64,
    /// Those of [`FIELDS`] that have a value.
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// A message that is no contact, and will not be one at the next attempt: SQS moves it to the
/// dead-letter queue.
#[derive(Debug, thiserror::Error)]
#[error("it is no contact: {0}")]
pub(crate) struct Unreadable(&'static str);

impl Contact {
    /// Reads the contact in a message.
    pub(crate) fn read(message: &Message) -> Result<Self, Unreadable> {
        let body = message.body.as_deref().unwrap_or_default();
        let envelope = Object::read(body).ok_or(Unreadable("its body is no JSON object"))?;
        let payload = envelope
            .0
            .get("payload")
            .and_then(|it| Object::read(it.get()));
        let payload = payload.ok_or(Unreadable("its payload is no object"))?;
        // The attribute and the member are the same. The attribute is missing if a program of yours
        // received the message without asking for it.
        let attributes = message.message_attributes.as_ref();
        let attribute = attributes.and_then(|it| it.get("deliveryId"));
        let delivery_id = attribute.and_then(|it| it.string_value.clone());
        let delivery_id = delivery_id
            .or_else(|| envelope.text("id"))
            .ok_or(Unreadable("it has no delivery id"))?;
        let scored_at = envelope.text("timestamp").and_then(|it| it.parse().ok());
        Ok(Self {
            id: IDS
                .iter()
                .find_map(|name| payload.text(name))
                .unwrap_or_else(|| delivery_id.clone()),
            scored_at: scored_at.ok_or(Unreadable("it has no timestamp"))?,
            fields: FIELDS
                .iter()
                .filter_map(|name| Some((*name, payload.text(name)?)))
                .collect(),
            delivery_id,
        })
    }
}

/// A JSON object whose values are not parsed yet.
struct Object<'a>(HashMap<Text, &'a RawValue>);

impl<'a> Object<'a> {
    fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok().map(Self)
    }

    /// A string or a number as text. Nothing for null, an empty string, and every other type.
    fn text(&self, name: &str) -> Option<String> {
        let json = self.0.get(name)?.get();
        let text = match json.as_bytes() {
            [b'"', ..] => serde_json::from_str::<Text>(json).ok()?.0,
            [b'-' | b'0'..=b'9', ..] => json.to_owned(),
            _ => return None,
        };
        (!text.trim().is_empty()).then_some(text)
    }
}

/// A JSON string in which U+FFFD stands for half of a surrogate pair. A `String` would be an error.
#[derive(PartialEq, Eq, Hash)]
struct Text(String);

impl std::borrow::Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        deserializer.deserialize_bytes(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Contact, Unreadable> {
        Contact::read(&Message {
            body: Some(body.to_owned()),
            ..Message::default()
        })
    }

    fn payload(payload: &str) -> Contact {
        let envelope =
            format!(r#"{{"payload": {payload}, "timestamp": 1767614400000, "id": "delivery-1"}}"#);
        read(&envelope).unwrap()
    }

    #[test]
    fn no_member_of_the_payload_is_needed() {
        for odd in ["null", "\"\"", "{}", "[1]", "true"] {
            let body =
                format!(r#"{{"databaseContactId": {odd}, "phone": {odd}, "firstName": {odd}}}"#);
            let contact = payload(&body);
            assert_eq!(contact.id, "delivery-1", "{odd}");
            assert!(contact.fields.is_empty(), "{odd}");
        }
    }

    #[test]
    fn half_an_emoji_is_text() {
        let contact = payload(r#"{"firstName": "Zo\u00eb \ud83d", "\ud83d": 1, "leadId": 7}"#);
        assert_eq!(contact.id, "7");
        let [(name, value)] = &contact.fields[..] else {
            panic!("one field")
        };
        assert_eq!(*name, "firstName");
        assert!(value.starts_with("Zoë \u{FFFD}"), "{value}");
    }

    #[test]
    fn what_is_no_contact_is_unreadable() {
        for body in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"payload": null, "timestamp": 1, "id": "a"}"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
        assert!(read(r#"{"payload": {}, "timestamp": 1}"#).is_err());
    }
}
