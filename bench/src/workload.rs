//! The workloads: gateway events with signed bodies, each with its own delivery id.

use std::sync::Arc;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use titanx_testbed::gateway_events;
use titanx_testbed::titanx::{SIGNING_SECRET, envelope_at, headers, now_ms, signature};

use crate::endpoints::hex;

/// A kind of request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// A new contact of about 3 KB.
    New,
    /// A delivery that is already completed.
    Duplicate,
    /// A contact signed with another secret.
    Forged,
    /// A new contact whose body the gateway has encoded in Base64.
    Base64,
    /// A new contact of 200 KB.
    Large,
}

impl Workload {
    pub fn title(self) -> &'static str {
        match self {
            Self::New => "new contact",
            Self::Duplicate => "duplicate",
            Self::Forged => "forged",
            Self::Base64 => "base64 body",
            Self::Large => "200 KB body",
        }
    }

    /// Expected status of the answer.
    pub fn status(self) -> u16 {
        if self == Self::Forged { 401 } else { 200 }
    }

    /// Expected number of AWS calls.
    pub fn calls(self) -> u64 {
        match self {
            Self::New | Self::Base64 | Self::Large => 3,
            Self::Duplicate => 1,
            Self::Forged => 0,
        }
    }

    /// The bytes of its body.
    pub fn size(self) -> usize {
        if self == Self::Large { 200_000 } else { 2_900 }
    }

    /// Requests numbered from `first`. A duplicate repeats the new contact with its number.
    pub fn requests(self, first: usize, count: usize) -> Vec<Request> {
        (first..first + count)
            .map(|number| self.request(number))
            .collect()
    }

    fn request(self, number: usize) -> Request {
        let kind = match self {
            Self::New | Self::Duplicate => 1,
            Self::Forged => 2,
            Self::Base64 => 3,
            Self::Large => 4,
        };
        let body = contact(
            &format!("00000000-0000-4000-800{kind}-{number:012}"),
            self.size(),
        );
        let secret = if self == Self::Forged {
            "wh_sk_another"
        } else {
            SIGNING_SECRET
        };
        Request::new(&body, secret, self == Self::Base64)
    }
}

/// A request as a function receives it.
pub struct Request {
    /// The gateway's event.
    pub event: Arc<[u8]>,
    /// MD5 of the message that it should send to the queue, as SQS reports it.
    pub digest: String,
}

impl Request {
    pub fn new(body: &str, secret: &str, base64: bool) -> Self {
        let headers = headers(Some(&signature(secret, body.as_bytes())));
        let event = if base64 {
            gateway_events::base64_event(headers, body.as_bytes())
        } else {
            gateway_events::event(headers, body.as_bytes())
        };
        Self {
            event: event.to_string().into_bytes().into(),
            digest: hex(&Md5::digest(body)),
        }
    }
}

/// A scored contact in its envelope, padded to `size` bytes.
pub fn contact(delivery_id: &str, size: usize) -> String {
    let mut payload: Value = serde_json::from_str(include_str!("contact.json")).expect("a contact");
    let bare = envelope(&payload, delivery_id).len();
    let mut custom = serde_json::Map::new();
    let mut filled = bare + r#","unmappedFields":{}"#.len();
    while filled < size {
        let name = format!("customField{:05}", custom.len());
        let value = "A synthetic value that stands for nothing.";
        filled += name.len() + value.len() + r#""":"","#.len();
        custom.insert(name, json!(value));
    }
    payload["unmappedFields"] = Value::Object(custom);
    envelope(&payload, delivery_id)
}

fn envelope(payload: &Value, delivery_id: &str) -> String {
    envelope_at(now_ms(), delivery_id, "job.contact.scored", payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_as_long_as_asked_within_one_field() {
        for size in [2_900, 200_000] {
            let length = contact("00000000-0000-4000-8001-000000000000", size).len();
            assert!((size..size + 80).contains(&length), "{length} for {size}");
        }
    }
}
