//! What is read of a scored contact: its job, and the keys by which it is recognised again.
//!
//! TitanX promises no schema of a contact. So a member that is absent, null, blank or of another type
//! is treated as missing, and only a second `jobId` makes a contact invalid. The pass over the payload
//! borrows, and keys are computed only on demand. No I/O, no clock.

use std::{borrow::Cow, fmt};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// What is read of a contact.
#[derive(Debug, Default)]
pub struct Contact<'a> {
    /// The id of its job, where it names one. Not empty.
    pub job_id: Option<String>,
    ids: [Option<&'a RawValue>; 5],
    person: [Option<&'a RawValue>; 5],
    phones: [Option<&'a RawValue>; 5],
}

/// The kinds of contact keys, the strongest first: TitanX's own ids, those of whoever submitted the
/// contact, and the digest of the fields that scoring does not change.
pub const KEY_KINDS: [&str; 6] = [
    "id",
    "databaseContactId",
    "customerContactId",
    "contactCrmId",
    "leadId",
    "digest",
];

impl Contact<'_> {
    /// The keys by which the contact is recognised, the strongest first. Each is an element of
    /// [`KEY_KINDS`], a colon and half a SHA-256, from which no personal data can be read.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let [kinds @ .., digest] = KEY_KINDS;
        let ids = kinds.into_iter().zip(self.ids);
        let ids = ids.filter_map(|(kind, id)| {
            Some(key(kind, Sha256::new_with_prefix(text(id?)?.as_bytes())))
        });
        ids.chain(self.stable().map(|hash| key(digest, hash)))
            .collect()
    }

    /// The hash of the fields that scoring does not change. It ignores formatting: the order and the
    /// punctuation of phone numbers, and the case of everything else. `None` when all are missing.
    fn stable(&self) -> Option<Sha256> {
        let person = self.person.map(|value| {
            let text = value.and_then(text);
            text.map(|text| text.to_lowercase()).unwrap_or_default()
        });
        let mut phones = self.phones.map(|value| {
            let text = value.and_then(text).unwrap_or_default();
            text.chars().filter(char::is_ascii_digit).collect()
        });
        phones.sort_unstable();
        let fields = || person.iter().chain(&phones);
        let hash = |hash: Sha256, field: &String| hash.chain_update(field).chain_update([0]);
        fields()
            .any(|field| !field.is_empty())
            .then(|| fields().fold(Sha256::new(), hash))
    }
}

/// Half a SHA-256 is enough: nobody gains from a collision, and records stay small.
fn key(kind: &str, hash: Sha256) -> String {
    let hash = hash.finalize();
    format!("{kind}:{}", BASE64_STANDARD_NO_PAD.encode(&hash[..16]))
}

/// The text of a string, trimmed, or of a number, so that `5` and `"5"` are the same id. `None` for a
/// blank string and for every other type.
fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    let text = match json.as_bytes() {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => json[1..json.len() - 1].trim().into(),
        [b'"', ..] => {
            let text: String = serde_json::from_str(json).ok()?;
            text.trim().to_owned().into()
        }
        [b'-' | b'0'..=b'9', ..] => json.into(),
        _ => Cow::default(),
    };
    (!text.is_empty()).then_some(text)
}

impl<'de: 'a, 'a> Deserialize<'de> for Contact<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContactVisitor;
        impl<'de> Visitor<'de> for ContactVisitor {
            type Value = Contact<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a contact")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Contact<'de>, A::Error> {
                let mut contact = Contact::default();
                let mut job_id = None;
                while let Some((field, value)) = map.next_entry::<Field, &RawValue>()? {
                    let place = match field {
                        Field::JobId if job_id.is_some() => {
                            return Err(A::Error::duplicate_field("jobId"));
                        }
                        Field::JobId => &mut job_id,
                        Field::Id => &mut contact.ids[0],
                        Field::DatabaseContactId => &mut contact.ids[1],
                        Field::CustomerContactId => &mut contact.ids[2],
                        Field::ContactCrmId => &mut contact.ids[3],
                        Field::LeadId => &mut contact.ids[4],
                        Field::FirstName => &mut contact.person[0],
                        Field::LastName => &mut contact.person[1],
                        Field::Email => &mut contact.person[2],
                        Field::CompanyAccount => &mut contact.person[3],
                        Field::LinkedInUrl => &mut contact.person[4],
                        Field::Phone => &mut contact.phones[0],
                        Field::Phone2 => &mut contact.phones[1],
                        Field::Phone3 => &mut contact.phones[2],
                        Field::Phone4 => &mut contact.phones[3],
                        Field::Phone5 => &mut contact.phones[4],
                        Field::Other => continue,
                    };
                    *place = Some(value);
                }
                contact.job_id = job_id
                    .and_then(|id| serde_json::from_str(id.get()).ok())
                    .filter(|id: &String| !id.is_empty());
                Ok(contact)
            }
        }
        deserializer.deserialize_map(ContactVisitor)
    }
}

/// The members of a contact that are read.
enum Field {
    JobId,
    Id,
    DatabaseContactId,
    CustomerContactId,
    ContactCrmId,
    LeadId,
    FirstName,
    LastName,
    Email,
    CompanyAccount,
    LinkedInUrl,
    Phone,
    Phone2,
    Phone3,
    Phone4,
    Phone5,
    Other,
}

/// From bytes, since a name may hold half a surrogate pair. Such a member is not one that is read.
impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the name of a member")
            }
            fn visit_bytes<E>(self, name: &[u8]) -> Result<Field, E> {
                Ok(match name {
                    b"jobId" => Field::JobId,
                    b"id" => Field::Id,
                    b"databaseContactId" => Field::DatabaseContactId,
                    b"customerContactId" => Field::CustomerContactId,
                    b"contactCrmId" => Field::ContactCrmId,
                    b"leadId" => Field::LeadId,
                    b"firstName" => Field::FirstName,
                    b"lastName" => Field::LastName,
                    b"email" => Field::Email,
                    b"companyAccount" => Field::CompanyAccount,
                    b"linkedInUrl" => Field::LinkedInUrl,
                    b"phone" => Field::Phone,
                    b"phone2" => Field::Phone2,
                    b"phone3" => Field::Phone3,
                    b"phone4" => Field::Phone4,
                    b"phone5" => Field::Phone5,
                    _ => Field::Other,
                })
            }
        }
        deserializer.deserialize_bytes(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(json: &str) -> Vec<String> {
        serde_json::from_str::<Contact>(json).unwrap().keys()
    }

    #[test]
    fn ids_come_strongest_first_and_the_digest_last() {
        // printf %s crm-1 | sha256sum, the first 16 bytes in Base64; and so on.
        let found = keys(
            r#"{"leadId": "lead-1", "contactCrmId": "crm-1", "firstName": "Sample",
                "id": 5, "customerContactId": "", "databaseContactId": null}"#,
        );
        let kinds = found.iter().map(|key| key.split_once(':').unwrap().0);
        assert_eq!(
            kinds.collect::<Vec<_>>(),
            ["id", "contactCrmId", "leadId", "digest"]
        );
        assert_eq!(found[1], "contactCrmId:5uL7v5SzpdYP2MFkPrKKMg");
        assert_eq!(found[3], "digest:lMsegSkYfVfSeI4C406QUw");
    }

    /// By the names of TitanX's schema.
    #[test]
    fn every_id_is_a_key_and_every_stable_field_is_in_the_digest() {
        for (name, kind) in [
            ("id", "id:"),
            ("databaseContactId", "databaseContactId:"),
            ("customerContactId", "customerContactId:"),
            ("contactCrmId", "contactCrmId:"),
            ("leadId", "leadId:"),
            ("firstName", "digest:"),
            ("lastName", "digest:"),
            ("email", "digest:"),
            ("companyAccount", "digest:"),
            ("linkedInUrl", "digest:"),
            ("phone", "digest:"),
            ("phone2", "digest:"),
            ("phone3", "digest:"),
            ("phone4", "digest:"),
            ("phone5", "digest:"),
        ] {
            let found = keys(&format!(r#"{{"{name}": "206 555 0100"}}"#));
            assert_eq!(found.len(), 1, "{name}");
            assert!(found[0].starts_with(kind), "{name}: {found:?}");
        }
    }

    #[test]
    fn an_id_is_the_same_as_text_and_as_a_number() {
        assert_eq!(keys(r#"{"id": 5}"#), keys(r#"{"id": " \u0035 "}"#));
        assert_ne!(keys(r#"{"id": 5}"#), keys(r#"{"id": 50}"#));
    }

    #[test]
    fn scoring_and_formatting_change_no_key() {
        let submitted = r#"{"firstName": "Sample", "lastName": "Person", "email": "s@example.com",
            "companyAccount": "Example Co", "linkedInUrl": "https://example.com/in/s",
            "phone": "+1 (206) 555-0100", "phone2": "+1 206 555 0101"}"#;
        let scored = r#"{"phone": "+12065550101", "phoneStatus": "High", "phone2": "+12065550100",
            "phone3": null, "leadStatus": "High", "companyAccount": "Example Co ",
            "linkedInUrl": "https:\/\/example.com\/in\/s", "email": "S@Example.com",
            "lastName": "person", "firstName": "Sample", "title": "Head of Examples"}"#;
        assert_eq!(keys(submitted), keys(scored));
        assert_ne!(keys(submitted), keys(&scored.replace("550101", "550102")));
    }

    #[test]
    fn neighbouring_fields_do_not_run_together() {
        assert_ne!(
            keys(r#"{"firstName": "ab", "lastName": "c"}"#),
            keys(r#"{"firstName": "a", "lastName": "bc"}"#)
        );
    }

    #[test]
    fn a_contact_without_anything_to_go_by_has_no_key() {
        assert!(keys("{}").is_empty());
        assert!(keys(r#"{"id": {"a": 1}, "email": " ", "phone": [], "leadId": true}"#).is_empty());
    }

    #[test]
    fn nothing_but_a_second_job_id_is_refused() {
        // The last of repeated members counts; half a character is no text.
        let odd = r#"{"id": 1, "id": 2, "email": "\ud800", "firstName": {"x": [1]}, "jobId": "j"}"#;
        assert_eq!(keys(odd), keys(r#"{"id": 2}"#));
        let twice = r#"{"jobId": "a", "jobId": "a"}"#;
        assert!(serde_json::from_str::<Contact>(twice).is_err());
    }
}
