//! What TitanX might send: gateway events around signed bodies, each with its own delivery id.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::endpoints::hex;

/// The secret that every function is given.
pub const SECRET: &str = "wh_sk_TESTONLYsyntheticSecret0000000000000000000000000";

/// A kind of request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// A contact of some 3 KB, never seen before.
    New,
    /// A delivery that was completed before.
    Duplicate,
    /// A signature made with another secret.
    Forged,
    /// A new contact whose body the gateway has encoded.
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

    /// The status that it is answered.
    pub fn status(self) -> u16 {
        if self == Self::Forged { 401 } else { 200 }
    }

    /// The AWS calls that it takes.
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

    /// Its requests, numbered from `first`; a duplicate repeats the new contact of its number.
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
            SECRET
        };
        Request::new(&body, secret, self == Self::Base64)
    }
}

/// A request, ready to be handed to a function.
pub struct Request {
    /// The gateway's event.
    pub event: Arc<[u8]>,
    /// MD5 of the message that it should put on the queue, as SQS tells it.
    pub digest: String,
}

impl Request {
    pub fn new(body: &str, secret: &str, base64: bool) -> Self {
        Self {
            event: gateway_event(body, &sign(body, secret), base64)
                .to_string()
                .into_bytes()
                .into(),
            digest: hex(&Md5::digest(body)),
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the sender's side compares nothing"
)]
fn sign(body: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
    mac.update(body.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis()
}

/// A scored contact in its envelope, as long as `size` in bytes (but never shorter than its fields).
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
    let timestamp = now_ms();
    let mut body = String::new();
    write!(
        body,
        r#"{{"payload":{payload},"eventType":"job.contact.scored","timestamp":{timestamp},"apiVersion":"v2","id":"{delivery_id}"}}"#
    )
    .expect("strings take all");
    body
}

/// What an HTTP API (payload 2.0) hands to the function.
fn gateway_event(body: &str, signature: &str, base64: bool) -> Value {
    let body = if base64 {
        STANDARD.encode(body)
    } else {
        body.to_owned()
    };
    let (path, domain) = (
        "/webhooks/titanx",
        "abcdefghij.execute-api.us-east-1.amazonaws.com",
    );
    json!({
        "version": "2.0",
        "routeKey": format!("POST {path}"),
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "*/*",
            "content-length": body.len().to_string(),
            "content-type": "application/json",
            "host": domain,
            "user-agent": "TitanX-Webhooks/1.0",
            "x-amzn-trace-id": "Root=1-00000000-000000000000000000000000",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            "x-titanx-signature": signature,
        },
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "abcdefghij",
            "domainName": domain,
            "domainPrefix": "abcdefghij",
            "http": {
                "method": "POST", "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1", "userAgent": "TitanX-Webhooks/1.0",
            },
            "requestId": "AAAAAAAAAAAAAAA=",
            "routeKey": format!("POST {path}"),
            "stage": "$default",
            "time": "05/Jan/2026:12:00:00 +0000",
            "timeEpoch": 1_767_614_400_000_u64,
        },
        "body": body,
        "isBase64Encoded": base64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_is_signed_as_published() {
        let body = r#"{"payload":{"jobId":"11111111-2222-4333-8444-555555555555","jobType":"scoring","jobName":"Synthetic batch","jobStatus":"Finalized","modifiedAt":"2026-01-05T12:00:00Z"},"eventType":"job.completed","timestamp":1767614400000,"apiVersion":"v2","id":"99999999-8888-4777-8666-555555555555"}"#;
        assert_eq!(
            sign(body, SECRET),
            "YzzZKFd/hCf0djG3sdsaru2wIUTSgPQx4QB2M7OwMMI="
        );
    }

    #[test]
    fn a_body_is_as_long_as_asked_within_one_field() {
        for size in [2_900, 200_000] {
            let length = contact("00000000-0000-4000-8001-000000000000", size).len();
            assert!((size..size + 80).contains(&length), "{length} for {size}");
        }
    }
}
