//! Whether TitanX has scored a contact.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members that tell of scoring: the contact's status, and one for each of its phones.
const STATUSES: [&[u8]; 6] = [
    b"leadStatus",
    b"phoneStatus",
    b"phone2Status",
    b"phone3Status",
    b"phone4Status",
    b"phone5Status",
];

/// Whether TitanX has scored this contact: one of its statuses has a value. TitanX's list of a job may
/// contain contacts that it has rejected or not scored yet. Such a contact is not delivered.
///
/// The values are open: every text that is not blank counts, and every number.
#[must_use]
pub fn is_scored(contact: &RawValue) -> bool {
    serde_json::from_str::<Scored>(contact.get()).is_ok_and(|it| it.0)
}

struct Scored(bool);

impl<'de> Deserialize<'de> for Scored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContactVisitor;
        impl<'de> Visitor<'de> for ContactVisitor {
            type Value = Scored;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a contact")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scored, A::Error> {
                let mut scored = false;
                while let Some((IsStatus(is_status), value)) = map.next_entry::<_, &RawValue>()? {
                    scored |= is_status && has_value(value);
                }
                Ok(Scored(scored))
            }
        }
        deserializer.deserialize_map(ContactVisitor)
    }
}

/// From bytes, since the name of another member may hold half a surrogate pair.
struct IsStatus(bool);

impl<'de> Deserialize<'de> for IsStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = IsStatus;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the name of a member")
            }
            fn visit_bytes<E>(self, name: &[u8]) -> Result<IsStatus, E> {
                Ok(IsStatus(STATUSES.contains(&name)))
            }
        }
        deserializer.deserialize_bytes(NameVisitor)
    }
}

fn has_value(value: &RawValue) -> bool {
    let json = value.get();
    match json.as_bytes() {
        // Text with half a surrogate pair is not a `String`, but it is no blank either.
        [b'"', ..] => serde_json::from_str::<String>(json).map_or(true, |it| !it.trim().is_empty()),
        [b'-' | b'0'..=b'9', ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(json: &str) -> bool {
        is_scored(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn any_status_with_a_value_tells_of_scoring() {
        for json in [
            r#"{"leadStatus": "High Propensity"}"#,
            r#"{"phoneStatus": "Bad"}"#,
            r#"{"phone2Status": "x"}"#,
            r#"{"phone3Status": "x"}"#,
            r#"{"phone4Status": "x"}"#,
            r#"{"phone5Status": "x"}"#,
            r#"{"phoneStatus": null, "leadStatus": 3}"#,
            r#"{"phone\u0053tatus": "\ud83d"}"#,
            r#"{"\ud83d": 1, "phoneStatus": "Low"}"#,
        ] {
            assert!(scored(json), "{json}");
        }
    }

    #[test]
    fn without_a_status_a_contact_was_not_scored() {
        for json in [
            r#"{"firstName": "Sample", "phone": "+1 206 555 0100", "phoneType": "mobile"}"#,
            r#"{"phoneStatus": null, "phone2Status": "", "leadStatus": " \u00a0"}"#,
            r#"{"phoneStatus": false, "leadStatus": {}, "phone2Status": ["High"]}"#,
            r#"{"phone6Status": "High", "unmappedFields": {"leadStatus": "High"}}"#,
            "{}",
            "5",
            "null",
        ] {
            assert!(!scored(json), "{json}");
        }
    }
}
