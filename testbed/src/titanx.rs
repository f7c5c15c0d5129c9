//! What TitanX sends: bodies, their signatures, and the gateway's events with them. It is written from
//! TitanX's contract and shares no code with the receiver.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::gateway_events;

/// The synthetic secret that signs everything, published in `events/test-secret.txt`.
pub const SIGNING_SECRET: &str = "wh_sk_TESTONLYsyntheticSecret0000000000000000000000000";

/// A timestamp in the far future, which is never stale, in Unix milliseconds.
pub const NOT_STALE: i64 = 4_102_444_800_000;

/// The current time in Unix milliseconds.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("the clock stands after 1970").as_millis();
    u64::try_from(now).expect("it is not the year 584,556,019 yet")
}

/// `Base64(HMAC-SHA256(key, body))`.
#[expect(
    clippy::disallowed_methods,
    reason = "the sender computes a signature and compares nothing"
)]
pub fn signature(key: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref()).unwrap();
    mac.update(body.as_ref());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// A body with the event type `job.contact.scored`.
pub fn contact(id: &str) -> String {
    let payload = json!({"jobId": "job-1", "phone": "+1 202-555-0101"});
    envelope(id, "job.contact.scored", &payload)
}

/// A body with the event type `job.completed`.
pub fn completed_job(id: &str, job_id: &str) -> String {
    let payload = json!({
        "jobId": job_id,
        "jobType": "scoring",
        "jobName": "Synthetic batch",
        "jobStatus": "Finalized",
        "modifiedAt": "2100-01-01T00:00:00Z",
    });
    envelope(id, "job.completed", &payload)
}

/// A body with any event type and payload.
pub fn envelope(id: &str, event_type: &str, payload: &Value) -> String {
    envelope_at(NOT_STALE, id, event_type, payload)
}

/// The body of an event with this timestamp.
pub fn envelope_at(
    timestamp: impl Into<Value>,
    id: &str,
    event_type: &str,
    payload: &Value,
) -> String {
    json!({
        "payload": payload,
        "eventType": event_type,
        "timestamp": timestamp.into(),
        "apiVersion": "v2",
        "id": id,
    })
    .to_string()
}

/// The headers of a request, with this signature or none.
pub fn headers(signature: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("accept", "*/*".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("user-agent", "TitanX-Webhooks/1.0".to_owned()),
    ];
    headers.extend(signature.map(|signature| ("x-titanx-signature", signature.to_owned())));
    headers
}

/// The event of an HTTP API for a signed request.
pub fn signed(body: &str) -> Value {
    request(body, Some(&signature(SIGNING_SECRET, body.as_bytes())))
}

/// The event of an HTTP API for a request with any signature, or none.
pub fn request(body: &str, signature: Option<&str>) -> Value {
    gateway_events::event(headers(signature), body.as_bytes())
}

/// The event of an HTTP API for a signed request, with the body in Base64.
pub fn signed_bytes(body: &[u8]) -> Value {
    let signature = signature(SIGNING_SECRET, body);
    gateway_events::base64_event(headers(Some(&signature)), body)
}

/// Random printable ASCII that JSON does not escape. Base64 adds more to it than gzip saves.
pub fn incompressible(bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(1);
    let printable = std::iter::repeat_with(|| random.char('#'..='~'));
    printable.filter(|it| *it != '\\').take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_is_signed_as_published() {
        let body = br#"{"payload":{"jobId":"11111111-2222-4333-8444-555555555555","jobType":"scoring","jobName":"Synthetic batch","jobStatus":"Finalized","modifiedAt":"2026-01-05T12:00:00Z"},"eventType":"job.completed","timestamp":1767614400000,"apiVersion":"v2","id":"99999999-8888-4777-8666-555555555555"}"#;
        assert_eq!(
            signature(SIGNING_SECRET, body),
            "YzzZKFd/hCf0djG3sdsaru2wIUTSgPQx4QB2M7OwMMI="
        );
    }
}
