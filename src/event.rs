//! TitanX's events: from verified bytes to an [`Event`], or to the reason why they are none.
//!
//! The body is read in two passes of the JSON parser: one over the envelope, which leaves the payload
//! as it is, and one over the payload, for the few members that are needed. Both borrow from the body.
//! No I/O, and the time is an argument.
//!
//! ```
//! use titanx_receiver::{
//!     event::{Event, Kind},
//!     signature::{KeyForm, Signature, Verifier, sign},
//! };
//!
//! let body = br#"{
//!     "payload": {"jobId": "job-1", "phone": "+1 202-555-0101"},
//!     "eventType": "job.contact.scored",
//!     "timestamp": 1767614400000,
//!     "apiVersion": "v2",
//!     "id": "delivery-1"
//! }"#;
//! let signature = Signature::parse(&sign("wh_sk_example", body)).unwrap();
//! let verifier = Verifier::new(["wh_sk_example"], &KeyForm::ALL);
//! let (verified, _) = verifier.verify(body, &signature, KeyForm::Whole).unwrap();
//!
//! let event = Event::parse(verified, 1_767_000_000_000).unwrap();
//! assert_eq!(event.id.as_str(), "delivery-1");
//! let Kind::ContactScored(contact) = event.kind else { unreachable!() };
//! assert_eq!(contact.job_id.as_deref(), Some("job-1"));
//! ```

use std::{borrow::Cow, fmt};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer, de::Visitor};
use serde_json::{error::Category, value::RawValue};
use sha2::{Digest, Sha256};

use crate::{contact::Contact, json::Text, signature::Verified};

/// `serde_json` and other common parsers refuse to read deeper, so no consumer could read such a
/// contact.
const MAX_DEPTH: usize = 127;

/// `eventType` of a scored contact.
pub const CONTACT_SCORED: &str = "job.contact.scored";
/// `eventType` of a completed job.
pub const JOB_COMPLETED: &str = "job.completed";
/// The only `apiVersion` that is understood.
pub const API_VERSION: &str = "v2";

/// The id of a delivery, the same for each of TitanX's retries: 1 to 128 ASCII letters, digits and
/// punctuation characters, as SQS requires of a deduplication id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeliveryId<'a>(Cow<'a, str>);

impl<'a> DeliveryId<'a> {
    /// `None` when `id` cannot be a deduplication id.
    pub fn new(id: impl Into<Cow<'a, str>>) -> Option<Self> {
        let id = id.into();
        is_queue_token(&id).then_some(Self(id))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeliveryId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether SQS accepts `text` as a deduplication or group id.
#[must_use]
pub fn is_queue_token(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A signed event that was understood.
#[derive(Debug)]
pub struct Event<'a> {
    /// The id of its delivery.
    pub id: DeliveryId<'a>,
    /// When it happened at TitanX, in Unix milliseconds.
    pub timestamp_ms: i64,
    /// What happened.
    pub kind: Kind<'a>,
    /// The whole envelope, exactly as it was signed.
    pub body: &'a str,
    /// The payload, exactly as it was signed.
    payload: &'a str,
}

/// What an [`Event`] reports.
#[derive(Debug)]
pub enum Kind<'a> {
    /// A contact was scored; the contact itself stays in [`Event::body`].
    ContactScored(Contact<'a>),
    /// A job reached its terminal state.
    JobCompleted(CompletedJob<'a>),
}

/// A completed job, as `job.completed` describes it. Only the id is needed to act, so nothing in the
/// other members makes an event unreadable: see `free_text`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompletedJob<'a> {
    /// The job's id: not empty, and short enough for a key (2,048 bytes).
    #[serde(borrow)]
    pub job_id: Cow<'a, str>,
    /// For example `scoring`.
    #[serde(borrow, default, deserialize_with = "free_text")]
    pub job_type: Option<Cow<'a, str>>,
    /// Free text, often missing for jobs made through the API.
    #[serde(borrow, default, deserialize_with = "free_text")]
    pub job_name: Option<Cow<'a, str>>,
    /// An open set. Whatever it says, the job is completed.
    #[serde(borrow, default, deserialize_with = "free_text")]
    pub job_status: Option<Cow<'a, str>>,
    /// ISO 8601, UTC.
    #[serde(borrow, default, deserialize_with = "free_text")]
    pub modified_at: Option<Cow<'a, str>>,
}

impl CompletedJob<'_> {
    /// Whether the id can be a key of DynamoDB.
    fn has_usable_id(&self) -> bool {
        (1..=2048).contains(&self.job_id.len())
    }
}

/// Reads free text: half a surrogate pair, as of an emoji that was cut, becomes U+FFFD; what is longer
/// than a record has room for is cut; what is no string counts as missing.
fn free_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'de, str>>, D::Error> {
    /// Four of them, a key and the rest of the record fit into the 400 KB of an item.
    const MAX_BYTES: usize = 64 * 1024;
    let json = <&RawValue>::deserialize(deserializer)?.get();
    Ok(match json.as_bytes() {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => {
            let text = &json[1..json.len() - 1];
            Some(Cow::Borrowed(&text[..text.floor_char_boundary(MAX_BYTES)]))
        }
        [b'"', ..] => {
            let mut text = with_replaced_surrogates(json);
            text.truncate(text.floor_char_boundary(MAX_BYTES));
            Some(Cow::Owned(text))
        }
        _ => None,
    })
}

/// The text of a valid JSON string, with U+FFFD in place of each lone surrogate.
fn with_replaced_surrogates(json: &str) -> String {
    let Text(bytes) = serde_json::from_str(json).unwrap_or_default();
    let mut text = String::with_capacity(bytes.len());
    // Only a surrogate is no UTF-8 there: three bytes, the first of them 0xED.
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if chunk.invalid().first() == Some(&0xED) {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

/// A signed body that was not understood, and what could still be read of it.
#[derive(Debug)]
pub struct NotUnderstood<'a> {
    /// Why.
    pub reason: Reason,
    /// The id of its delivery, where a usable one could be read.
    pub id: Option<DeliveryId<'a>>,
}

/// Why a signed event is put in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The body is not JSON, or not UTF-8.
    NotJson,
    /// A member of envelope or payload is missing, of another type, repeated or too long for a record,
    /// or the JSON is nested too deep.
    NotEnvelope,
    /// The id cannot be a [`DeliveryId`].
    UnusableId,
    /// An `apiVersion` other than [`API_VERSION`].
    UnknownApiVersion,
    /// An `eventType` that this version does not know.
    UnknownEventType,
    /// Older than the deliveries table remembers, so it could be a replay of a forgotten delivery.
    Stale,
    /// An event of another type or with another payload has used the id before.
    IdReused,
    /// Larger than the queue takes.
    TooLarge,
}

impl Reason {
    /// Its name in messages and log lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotEnvelope => "not_envelope",
            Self::UnusableId => "unusable_id",
            Self::UnknownApiVersion => "unknown_api_version",
            Self::UnknownEventType => "unknown_event_type",
            Self::Stale => "stale",
            Self::IdReused => "id_reused",
            Self::TooLarge => "too_large",
        }
    }
}

impl<'a> Event<'a> {
    /// Parses a signed body. An event from before `oldest_ms` (Unix milliseconds) is stale.
    ///
    /// # Errors
    ///
    /// [`NotUnderstood`] when the body belongs in quarantine.
    pub fn parse(body: Verified<'a>, oldest_ms: i64) -> Result<Self, NotUnderstood<'a>> {
        let Ok(body) = std::str::from_utf8(body.bytes()) else {
            return Err(NotUnderstood {
                reason: Reason::NotJson,
                id: None,
            });
        };
        Self::read(body, oldest_ms)
    }

    /// Parses an envelope that the operator built around a contact of `job_id`. Nothing is signed: the
    /// contact was fetched from TitanX over TLS.
    ///
    /// # Errors
    ///
    /// [`NotUnderstood`] when a consumer of the queue could not read the contact.
    pub fn backfilled(envelope: &'a str, job_id: &str) -> Result<Self, NotUnderstood<'a>> {
        let mut event = Self::read(envelope, i64::MIN)?;
        if let Kind::ContactScored(contact) = &mut event.kind {
            contact.job_id = Some(job_id.to_owned());
        }
        Ok(event)
    }

    fn read(body: &'a str, oldest_ms: i64) -> Result<Self, NotUnderstood<'a>> {
        let envelope: Envelope = read_object(body).map_err(|reason| NotUnderstood {
            reason,
            id: read_id(body),
        })?;
        let Some(id) = DeliveryId::new(envelope.id) else {
            return Err(NotUnderstood {
                reason: Reason::UnusableId,
                id: None,
            });
        };
        match understand(
            &envelope.event_type,
            &envelope.api_version,
            envelope.payload,
            body,
        )
        .and_then(|kind| fresh(envelope.timestamp.0, oldest_ms).map(|()| kind))
        {
            Ok(kind) => Ok(Self {
                id,
                timestamp_ms: envelope.timestamp.0,
                kind,
                body,
                payload: envelope.payload.get(),
            }),
            Err(reason) => Err(NotUnderstood {
                reason,
                id: Some(id),
            }),
        }
    }

    /// The event's type, as TitanX names it.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self.kind {
            Kind::ContactScored(_) => CONTACT_SCORED,
            Kind::JobCompleted(_) => JOB_COMPLETED,
        }
    }

    /// The digest of event type and payload, by which two deliveries with one id are told to be the
    /// same. It leaves out the rest of the body, since a retry may have another timestamp.
    #[must_use]
    pub fn digest(&self) -> String {
        let digest = Sha256::new()
            .chain_update(self.event_type())
            .chain_update([0])
            .chain_update(self.payload)
            .finalize();
        BASE64_STANDARD_NO_PAD.encode(digest)
    }
}

fn understand<'a>(
    event_type: &str,
    api_version: &str,
    payload: &'a RawValue,
    body: &str,
) -> Result<Kind<'a>, Reason> {
    if api_version != API_VERSION {
        return Err(Reason::UnknownApiVersion);
    }
    if !payload.get().starts_with('{') || !is_shallow(body) {
        return Err(Reason::NotEnvelope);
    }
    match event_type {
        CONTACT_SCORED => serde_json::from_str(payload.get())
            .map(Kind::ContactScored)
            .map_err(|_| Reason::NotEnvelope),
        JOB_COMPLETED => serde_json::from_str(payload.get())
            .ok()
            .filter(CompletedJob::has_usable_id)
            .map(Kind::JobCompleted)
            .ok_or(Reason::NotEnvelope),
        _ => Err(Reason::UnknownEventType),
    }
}

fn fresh(timestamp_ms: i64, oldest_ms: i64) -> Result<(), Reason> {
    if timestamp_ms < oldest_ms {
        return Err(Reason::Stale);
    }
    Ok(())
}

fn reason_of(error: &serde_json::Error) -> Reason {
    match error.classify() {
        Category::Data => Reason::NotEnvelope,
        Category::Syntax | Category::Eof | Category::Io => Reason::NotJson,
    }
}

/// The id of an envelope that is invalid otherwise.
fn read_id(body: &str) -> Option<DeliveryId<'_>> {
    #[derive(Deserialize)]
    struct Identified<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    read_object(body)
        .ok()
        .and_then(|Identified { id }| DeliveryId::new(id))
}

/// Parses a JSON object. serde would also accept an array, with one item for each member.
fn read_object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Reason> {
    let object = serde_json::from_str(json).map_err(|error| reason_of(&error))?;
    if !json.trim_start().starts_with('{') {
        return Err(Reason::NotEnvelope);
    }
    Ok(object)
}

/// Whether the objects and arrays of a valid JSON text nest no deeper than [`MAX_DEPTH`].
fn is_shallow(json: &str) -> bool {
    // As few as this cannot nest deeper, even if some are part of strings. Nearly every contact has
    // fewer, which saves the exact count: that takes twice as long.
    let openings = json.bytes().filter(|it| matches!(it, b'{' | b'['));
    openings.count() <= MAX_DEPTH || depth(json) <= MAX_DEPTH
}

/// How deep the objects and arrays of a valid JSON text nest.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// The envelope on the wire, the same for every event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    timestamp: Timestamp,
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// Unix milliseconds. Any number that a double can hold is one; what lies beyond an `i64` counts as
/// its end.
struct Timestamp(i64);

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("Unix milliseconds")
            }
            fn visit_i64<E>(self, ms: i64) -> Result<Timestamp, E> {
                Ok(Timestamp(ms))
            }
            fn visit_u64<E>(self, ms: u64) -> Result<Timestamp, E> {
                Ok(Timestamp(i64::try_from(ms).unwrap_or(i64::MAX)))
            }
            #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
            fn visit_f64<E: serde::de::Error>(self, ms: f64) -> Result<Timestamp, E> {
                if ms.is_nan() {
                    return Err(E::custom("not a number"));
                }
                Ok(Timestamp(ms as i64))
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::signature::{KeyForm, Signature, Verifier, sign};

    const ID: &str = "99999999-8888-4777-8666-555555555555";
    const NOW_MS: i64 = 1_767_614_400_000;

    fn envelope() -> Value {
        json!({
            "payload": {"firstName": "Sample", "phone": "+1 555 0100", "jobId": "job-1"},
            "eventType": "job.contact.scored",
            "timestamp": NOW_MS,
            "apiVersion": "v2",
            "id": ID,
        })
    }

    fn with(pointer: &str, value: Value) -> String {
        let mut envelope = envelope();
        *envelope.pointer_mut(pointer).unwrap() = value;
        envelope.to_string()
    }

    fn without(member: &str) -> String {
        let mut envelope = envelope();
        envelope.as_object_mut().unwrap().remove(member);
        envelope.to_string()
    }

    fn verified(body: &[u8]) -> Verified<'_> {
        let signature = Signature::parse(&sign("secret", body)).unwrap();
        let verifier = Verifier::new(["secret"], &KeyForm::ALL);
        verifier.verify(body, &signature, KeyForm::Whole).unwrap().0
    }

    fn parse(body: &str) -> Result<Event<'_>, NotUnderstood<'_>> {
        Event::parse(verified(body.as_bytes()), NOW_MS)
    }

    /// Why `body` is not understood, and the id that could be read.
    fn refused(body: impl AsRef<[u8]>) -> (Reason, Option<String>) {
        let refusal = Event::parse(verified(body.as_ref()), NOW_MS).unwrap_err();
        (refusal.reason, refusal.id.map(|id| id.to_string()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "reads better in the assertions")]
    fn id() -> Option<String> {
        Some(ID.to_owned())
    }

    #[test]
    fn a_contact_keeps_its_body_and_names_its_job() {
        let body = format!(" {}\r\n", envelope());
        let event = parse(&body).unwrap();
        assert_eq!(event.id.as_str(), ID);
        assert_eq!(event.timestamp_ms, NOW_MS);
        assert_eq!(event.event_type(), "job.contact.scored");
        assert_eq!(event.body, body);
        assert!(
            matches!(&event.kind, Kind::ContactScored(it) if it.job_id.as_deref() == Some("job-1"))
        );
    }

    #[test]
    fn a_contact_needs_no_job_and_nothing_else() {
        for job_id in [json!(null), json!(""), json!(5), json!({"a": 1})] {
            let body = with("/payload/jobId", job_id);
            let event = parse(&body).unwrap();
            assert!(
                matches!(
                    event.kind,
                    Kind::ContactScored(Contact { job_id: None, .. })
                ),
                "{body}"
            );
        }
        assert!(parse(&with("/payload", json!({}))).is_ok());
    }

    #[test]
    fn a_contact_may_hold_what_strings_cannot() {
        let body = envelope()
            .to_string()
            .replace("Sample", r"\ud800 \u0000 \uffff");
        assert!(parse(&body).is_ok());
    }

    fn finished(payload: Value) -> String {
        let mut envelope = envelope();
        envelope["eventType"] = json!("job.completed");
        envelope["payload"] = payload;
        envelope.to_string()
    }

    #[test]
    fn a_completed_job_is_taken_verbatim() {
        let body = finished(json!({
            "jobId": "job-1", "jobType": "scoring", "jobName": "Ünïcode \"batch\"",
            "jobStatus": "Not Enriched", "modifiedAt": "2026-01-05T12:00:00Z", "new": [1],
        }));
        let Kind::JobCompleted(job) = parse(&body).unwrap().kind else {
            panic!("not a finished job");
        };
        assert_eq!(job.job_id, "job-1");
        assert_eq!(job.job_type.as_deref(), Some("scoring"));
        assert_eq!(job.job_name.as_deref(), Some("Ünïcode \"batch\""));
        assert_eq!(job.job_status.as_deref(), Some("Not Enriched"));
        assert_eq!(job.modified_at.as_deref(), Some("2026-01-05T12:00:00Z"));
    }

    #[test]
    fn a_completed_job_needs_its_id_alone() {
        for text in [
            json!(null),
            json!(5),
            json!([{}]),
            json!("n".repeat(390_001)),
        ] {
            let body = finished(json!({"jobId": "j", "jobName": text, "jobStatus": text}));
            assert!(parse(&body).is_ok());
        }
        for payload in [
            json!({}),
            json!({"jobId": null}),
            json!({"jobId": 5}),
            json!({"jobId": ""}),
            json!({"jobId": "j".repeat(2049)}),
        ] {
            assert_eq!(refused(finished(payload)), (Reason::NotEnvelope, id()));
        }
    }

    #[test]
    fn what_is_not_json_is_not_understood() {
        let truncated = envelope().to_string();
        let trailing = format!("{} x", envelope());
        let with_mark = format!("\u{FEFF}{}", envelope());
        for body in [
            "",
            " ",
            "nonsense",
            "{",
            "{'a':1}",
            &truncated[..90],
            &trailing,
            &with_mark,
        ] {
            assert_eq!(refused(body), (Reason::NotJson, None), "{body}");
        }
        assert_eq!(refused(b"\xff\xfe{}"), (Reason::NotJson, None));
        let mut latin1 = envelope().to_string().into_bytes();
        let name = latin1.windows(6).position(|it| it == b"Sample").unwrap();
        latin1[name] = 0xe9;
        assert_eq!(refused(latin1), (Reason::NotJson, None));
    }

    #[test]
    fn what_is_not_the_envelope_is_not_understood() {
        for body in ["null", "[]", "5", "\"text\"", "{}"] {
            assert_eq!(refused(body), (Reason::NotEnvelope, None), "{body}");
        }
        for member in ["payload", "eventType", "timestamp", "apiVersion"] {
            assert_eq!(
                refused(without(member)),
                (Reason::NotEnvelope, id()),
                "{member}"
            );
            let null = with(&format!("/{member}"), Value::Null);
            assert_eq!(refused(null), (Reason::NotEnvelope, id()), "{member}");
        }
        assert_eq!(refused(without("id")), (Reason::NotEnvelope, None));
        assert_eq!(refused(with("/id", json!(5))), (Reason::NotEnvelope, None));
        for payload in [json!([]), json!("text"), json!(5), json!(true)] {
            assert_eq!(
                refused(with("/payload", payload)),
                (Reason::NotEnvelope, id())
            );
        }
        let text = with("/timestamp", json!("1767614400000"));
        assert_eq!(refused(text), (Reason::NotEnvelope, id()));
    }

    #[test]
    fn a_list_of_the_right_values_is_no_envelope() {
        let list = r#"[{}, "job.contact.scored", 1767614400000, "v2", "delivery-1"]"#;
        assert_eq!(refused(list), (Reason::NotEnvelope, None));
        assert_eq!(refused(r#"["delivery-1"]"#), (Reason::NotEnvelope, None));
    }

    #[test]
    fn a_doubled_member_is_not_understood() {
        let body = envelope().to_string();
        let doubled_id = body.replacen('{', r#"{"id": "other","#, 1);
        assert_eq!(refused(doubled_id), (Reason::NotEnvelope, None));
        let escaped = body.replacen('{', r#"{"event\u0054ype": "job.completed","#, 1);
        assert_eq!(refused(escaped), (Reason::NotEnvelope, id()));
        let in_payload = body.replacen(r#""payload":{"#, r#""payload":{"jobId":"other","#, 1);
        assert_eq!(refused(in_payload), (Reason::NotEnvelope, id()));
    }

    #[test]
    fn only_what_is_nested_and_no_text_counts_as_deep() {
        let siblings = json!([[], {"brackets": r#"[{\"[{"#}, {"closed": "]}]}"}]);
        let wide = with("/payload/firstName", vec![siblings; 200].into());
        assert!(parse(&wide).is_ok());
        assert_eq!(depth(r#"{"a": [{"b": "]}"}, [[]], "[[[\"[["]}"#), 4);
        assert_eq!(depth(r#"{"\\": [1]}"#), 2);
    }

    #[test]
    fn nesting_is_understood_as_deep_as_a_parser_goes() {
        let nested = |levels: usize| {
            let lists = "[".repeat(levels) + &"]".repeat(levels);
            envelope().to_string().replace(r#""Sample""#, &lists)
        };
        // Envelope and payload are two levels.
        let (deepest, too_deep) = (nested(125), nested(126));
        assert!(serde_json::from_str::<Value>(&deepest).is_ok());
        assert!(parse(&deepest).is_ok());
        assert!(serde_json::from_str::<Value>(&too_deep).is_err());
        assert_eq!(refused(too_deep), (Reason::NotEnvelope, id()));
        assert_eq!(refused(nested(200_000)), (Reason::NotEnvelope, id()));
        let brackets_in_text = with("/payload/firstName", json!("[{\\\"".repeat(500)));
        assert!(parse(&brackets_in_text).is_ok());
    }

    #[test]
    fn an_id_is_what_a_deduplication_id_may_be() {
        let punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
        for usable in ["x", punctuation, &"x".repeat(128)] {
            assert!(parse(&with("/id", json!(usable))).is_ok(), "{usable}");
        }
        for unusable in ["", " ", "a b", "a\nb", "é", "a\u{7f}", &"x".repeat(129)] {
            let body = with("/id", json!(unusable));
            assert_eq!(refused(body), (Reason::UnusableId, None), "{unusable}");
        }
    }

    #[test]
    fn other_versions_and_types_are_not_understood() {
        for version in ["", "v1", "v3", "V2", "v2 "] {
            let body = with("/apiVersion", json!(version));
            assert_eq!(refused(body), (Reason::UnknownApiVersion, id()));
        }
        for event_type in ["", "job.started", "JOB.COMPLETED", "job.contact.scored "] {
            let body = with("/eventType", json!(event_type));
            assert_eq!(refused(body), (Reason::UnknownEventType, id()));
        }
    }

    #[test]
    fn only_what_is_older_than_the_oldest_is_stale() {
        for fresh in [NOW_MS, NOW_MS + 1, i64::MAX] {
            assert!(parse(&with("/timestamp", json!(fresh))).is_ok());
        }
        for stale in [NOW_MS - 1, 0, -1, i64::MIN] {
            let body = with("/timestamp", json!(stale));
            assert_eq!(refused(body), (Reason::Stale, id()));
        }
    }

    #[test]
    fn any_number_is_a_timestamp() {
        for (number, ms) in [
            ("1767614400000.9", NOW_MS),
            ("1.7676144e12", NOW_MS),
            ("18446744073709551615", i64::MAX),
            ("1e300", i64::MAX),
        ] {
            let body = envelope().to_string().replace("1767614400000", number);
            assert_eq!(parse(&body).unwrap().timestamp_ms, ms, "{number}");
        }
        let negative = envelope().to_string().replace("1767614400000", "-1e300");
        assert_eq!(refused(negative), (Reason::Stale, id()));
    }

    #[test]
    fn unknown_members_are_ignored() {
        let body = envelope()
            .to_string()
            .replacen('{', r#"{"attempt": 3, "new": {"a": []},"#, 1);
        assert!(parse(&body).is_ok());
    }

    #[test]
    fn the_digest_tells_events_apart_but_not_attempts() {
        let digest = |body: &str| parse(body).unwrap().digest();
        let first = digest(&envelope().to_string());
        assert_eq!(digest(&with("/timestamp", json!(NOW_MS + 60_000))), first);
        assert_ne!(digest(&with("/payload/firstName", json!("Other"))), first);
        let job = json!({"jobId": "j"});
        let contact = digest(&with("/payload", job.clone()));
        assert_ne!(digest(&finished(job)), contact);
    }
}
