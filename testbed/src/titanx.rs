//! TitanX's requests, written from TitanX's contract. This shares no code with the receiver.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::emulators::SIGNING_SECRET;

/// A timestamp in the far future, which is never stale, in Unix milliseconds.
pub const NOT_STALE: i64 = 4_102_444_800_000;

/// `Base64(HMAC-SHA256(secret, body))`.
#[expect(
    clippy::disallowed_methods,
    reason = "the sender computes a signature and compares nothing"
)]
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// A body with the event type `job.contact.scored`.
pub fn contact(id: &str) -> String {
    let payload = json!({"jobId": "job-1", "phone": "+1 202-555-0101"});
    envelope(id, "job.contact.scored", &payload)
}

/// A body with the event type `job.completed`.
pub fn finished_job(id: &str, job_id: &str) -> String {
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
    json!({
        "payload": payload,
        "eventType": event_type,
        "timestamp": NOT_STALE,
        "apiVersion": "v2",
        "id": id,
    })
    .to_string()
}

/// The event of an HTTP API for a signed request.
pub fn signed(body: &str) -> Value {
    request(body, Some(&signature(SIGNING_SECRET, body.as_bytes())))
}

/// The event of an HTTP API for a request with any signature, or none.
pub fn request(body: &str, signature: Option<&str>) -> Value {
    let mut event = json!({
        "version": "2.0",
        "headers": {"content-type": "application/json", "user-agent": "TitanX-Webhooks/1.0"},
        "requestContext": {"http": {"method": "POST", "path": "/webhooks/titanx"}},
        "body": body,
        "isBase64Encoded": false,
    });
    if let Some(signature) = signature {
        event["headers"]["x-titanx-signature"] = signature.into();
    }
    event
}

/// The event of an HTTP API for a signed request, with the body in Base64.
pub fn signed_bytes(body: &[u8]) -> Value {
    let mut event = request("", Some(&signature(SIGNING_SECRET, body)));
    event["body"] = STANDARD.encode(body).into();
    event["isBase64Encoded"] = true.into();
    event
}
