//! TitanX's events: from verified bytes to an [`Event`], or to the reason why it is not understood.
//!
//! The wire types are private and borrow from the body; the payload of a contact is never taken
//! apart. Pure: no I/O, and the time is an argument.

use std::{borrow::Cow, fmt};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer, de::Visitor};
use serde_json::{error::Category, value::RawValue};
use sha2::{Digest, Sha256};

use crate::signature::Verified;

/// Parsers refuse JSON nested deeper than this (`serde_json` at 128), so a consumer could not read
/// such a contact.
const MAX_DEPTH: usize = 128;

/// `eventType` of a scored contact.
pub const CONTACT_SCORED: &str = "job.contact.scored";
/// `eventType` of a finished job.
pub const JOB_COMPLETED: &str = "job.completed";
/// The only `apiVersion` that is understood.
pub const API_VERSION: &str = "v2";

/// The id under which TitanX delivers an event, the same across its retries: 1 to 128 letters,
/// digits and ASCII punctuation, which is what SQS takes as a deduplication id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeliveryId<'a>(Cow<'a, str>);

impl<'a> DeliveryId<'a> {
    /// Takes an id; `None` when it is not usable as one.
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

/// Whether SQS takes `text` as a deduplication or group id.
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

/// What an [`Event`] tells.
#[derive(Debug)]
pub enum Kind<'a> {
    /// A contact was scored; the contact itself stays in [`Event::body`].
    ContactScored {
        /// The job it belongs to, when the payload names one.
        job_id: Option<String>,
    },
    /// A job reached its terminal state.
    JobCompleted(FinishedJob<'a>),
}

/// The bookkeeping that `job.completed` carries, verbatim.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinishedJob<'a> {
    /// The job's id: not empty, and short enough for a key (2,048 bytes).
    #[serde(borrow)]
    pub job_id: Cow<'a, str>,
    /// For example `scoring`.
    #[serde(borrow)]
    pub job_type: Option<Cow<'a, str>>,
    /// Free text, often missing for jobs made through the API.
    #[serde(borrow)]
    pub job_name: Option<Cow<'a, str>>,
    /// An open set: whatever it says, the job is finished.
    #[serde(borrow)]
    pub job_status: Option<Cow<'a, str>>,
    /// ISO 8601, UTC.
    #[serde(borrow)]
    pub modified_at: Option<Cow<'a, str>>,
}

/// A signed event that was not understood, and what could be read of it all the same.
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
    /// A member of envelope or payload is missing, mistyped or doubled, or all is nested too deep.
    NotEnvelope,
    /// The id is none that a [`DeliveryId`] can be.
    UnusableId,
    /// An `apiVersion` other than [`API_VERSION`].
    UnknownApiVersion,
    /// An `eventType` that this version does not know.
    UnknownEventType,
    /// Older than the memory of deliveries: it could be a replay of an id already forgotten.
    Stale,
    /// The id was used before, by an event of another type or with another payload.
    IdReused,
}

impl Reason {
    /// The name it bears in messages and logs.
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
        }
    }
}

impl<'a> Event<'a> {
    /// Understands a signed body; an event from before `oldest_ms` (Unix milliseconds) is stale.
    ///
    /// # Errors
    ///
    /// [`NotUnderstood`] for whatever belongs in quarantine.
    pub fn parse(body: Verified<'a>, oldest_ms: i64) -> Result<Self, NotUnderstood<'a>> {
        let Ok(body) = std::str::from_utf8(body.bytes()) else {
            return Err(NotUnderstood {
                reason: Reason::NotJson,
                id: None,
            });
        };
        let envelope: Envelope = serde_json::from_str(body).map_err(|error| NotUnderstood {
            reason: reason_of(&error),
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
            Kind::ContactScored { .. } => CONTACT_SCORED,
            Kind::JobCompleted(_) => JOB_COMPLETED,
        }
    }

    /// What makes two deliveries of one id the same: a digest of event type and payload. Not of
    /// the whole body, since a retry may carry another timestamp.
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
    if !payload.get().starts_with('{') || depth(body) > MAX_DEPTH {
        return Err(Reason::NotEnvelope);
    }
    match event_type {
        CONTACT_SCORED => serde_json::from_str(payload.get())
            .map(|job: JobReference| Kind::ContactScored { job_id: job.text() })
            .map_err(|_| Reason::NotEnvelope),
        JOB_COMPLETED => serde_json::from_str(payload.get())
            .ok()
            .filter(|job: &FinishedJob| (1..=2048).contains(&job.job_id.len()))
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

/// The id of an envelope that is otherwise wrong.
fn read_id(body: &str) -> Option<DeliveryId<'_>> {
    #[derive(Deserialize)]
    struct Identified<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    serde_json::from_str(body)
        .ok()
        .and_then(|Identified { id }| DeliveryId::new(id))
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

/// Of a contact nothing is read but the job it may name: nothing of its schema is certain.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobReference<'a> {
    #[serde(borrow)]
    job_id: Option<&'a RawValue>,
}

impl JobReference<'_> {
    /// The job's id, if it is a text and not empty.
    fn text(&self) -> Option<String> {
        serde_json::from_str(self.job_id?.get())
            .ok()
            .filter(|id: &String| !id.is_empty())
    }
}

/// Unix milliseconds. Any JSON number is one; what lies beyond an `i64` counts as its end.
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
