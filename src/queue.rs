//! The two queues and their messages: scored contacts, and what is signed but not understood.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_sdk_sqs::{
    operation::send_message::{SendMessageError, SendMessageInput},
    types::MessageAttributeValue,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::error::operation::BuildError;
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use crate::{
    aws::{CallError, Sqs},
    event::{API_VERSION, DeliveryId, Event, Reason, is_queue_token},
};

/// The most that SQS takes in one message: body and attributes (names, types and values) together.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// A queue.
#[derive(Debug, Clone)]
pub struct Queue {
    sqs: Sqs,
    url: String,
    /// Whether a standard queue has refused a group: not every partition of AWS may have fair queues.
    refused_group: Arc<AtomicBool>,
}

/// Where a contact on the queue came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// TitanX delivered it.
    Webhook,
    /// An operator fetched it from TitanX's API.
    Backfill,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Backfill => "backfill",
        }
    }
}

/// A message that SQS accepts: within its size, and without the characters that it refuses.
#[derive(Debug)]
pub struct Message<'a> {
    body: Cow<'a, str>,
    attributes: Vec<Attribute<'a>>,
    fifo: Option<FifoIds<'a>>,
    /// The group of the message on a standard queue, among whose groups SQS is fair.
    fair_group: Option<Cow<'a, str>>,
}

/// What only a FIFO queue takes, or needs.
#[derive(Debug)]
struct FifoIds<'a> {
    deduplication_id: &'a str,
    group_id: &'a str,
}

#[derive(Debug)]
struct Attribute<'a> {
    name: &'static str,
    data_type: &'static str,
    value: Cow<'a, str>,
}

/// The message would be larger than [`MAX_MESSAGE_BYTES`], or than its queue takes.
#[derive(Debug, thiserror::Error)]
#[error("the delivery is larger than an SQS message may be")]
pub struct TooLarge;

impl<'a> Message<'a> {
    /// The message for a scored contact: the envelope exactly as signed, with attributes.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] when it exceeds [`MAX_MESSAGE_BYTES`].
    pub fn contact(
        event: &'a Event<'_>,
        job_id: Option<&'a str>,
        source: Source,
    ) -> Result<Self, TooLarge> {
        let id = event.id.as_str();
        let mut attributes = vec![
            text("eventType", event.event_type()),
            text("deliveryId", id),
            text("apiVersion", API_VERSION),
            number("timestamp", event.timestamp_ms),
            text("source", source.as_str()),
        ];
        attributes.extend(
            job_id
                .filter(|job_id| is_carried(job_id))
                .map(|job_id| text("jobId", job_id)),
        );
        Self {
            body: with_refused_characters_escaped(event.body),
            attributes,
            fifo: Some(FifoIds {
                deduplication_id: id,
                group_id: job_id.filter(|it| is_queue_token(it)).unwrap_or(id),
            }),
            fair_group: job_id.and_then(fair_group),
        }
        .checked()
    }

    /// The message for a body that is signed but not understood: its exact bytes, and the reason.
    ///
    /// The attribute `encoding` says how the message holds them: `text`, as they are; `base64`, where
    /// SQS would refuse the characters; `empty`, where there are none, since SQS takes no empty message;
    /// `gzip-base64`, see [`Self::compressed`].
    ///
    /// # Errors
    ///
    /// [`TooLarge`] when it exceeds [`MAX_MESSAGE_BYTES`].
    pub fn quarantined(
        bytes: &'a [u8],
        reason: Reason,
        id: Option<&'a DeliveryId<'_>>,
    ) -> Result<Self, TooLarge> {
        let (encoding, body) = match std::str::from_utf8(bytes) {
            Ok("") => ("empty", Cow::Borrowed("empty")),
            Ok(body) if is_carried(body) => ("text", Cow::Borrowed(body)),
            _ => ("base64", Cow::Owned(BASE64_STANDARD.encode(bytes))),
        };
        Self::encoded(encoding, body, reason, id)
    }

    /// As [`Self::quarantined`], with the bytes as gzip in Base64: a fraction of their size.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] when it still exceeds [`MAX_MESSAGE_BYTES`].
    pub fn compressed(
        bytes: &'a [u8],
        reason: Reason,
        id: Option<&'a DeliveryId<'_>>,
    ) -> Result<Self, TooLarge> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        // A `Vec` takes whatever is written.
        let written = gzip.write_all(bytes).and_then(|()| gzip.finish());
        let body = BASE64_STANDARD.encode(written.map_err(|_| TooLarge)?);
        Self::encoded("gzip-base64", body.into(), reason, id)
    }

    fn encoded(
        encoding: &'static str,
        body: Cow<'a, str>,
        reason: Reason,
        id: Option<&'a DeliveryId<'_>>,
    ) -> Result<Self, TooLarge> {
        let mut attributes = vec![text("reason", reason.as_str()), text("encoding", encoding)];
        attributes.extend(id.map(|id| text("deliveryId", id.as_str())));
        Self {
            body,
            attributes,
            fifo: None,
            fair_group: None,
        }
        .checked()
    }

    fn checked(self) -> Result<Self, TooLarge> {
        let attributes = self.attributes.iter();
        let bytes = self.body.len()
            + attributes
                .map(|it| it.name.len() + it.data_type.len() + it.value.len())
                .sum::<usize>();
        if bytes > MAX_MESSAGE_BYTES {
            return Err(TooLarge);
        }
        Ok(self)
    }
}

impl Queue {
    /// The queue at `url`. It is a FIFO queue if the URL ends in `.fifo`.
    #[must_use]
    pub fn new(sqs: Sqs, url: String) -> Self {
        Self {
            sqs,
            url,
            refused_group: Arc::default(),
        }
    }

    /// Puts `message` on the queue; it is durable when this returns.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when SQS refuses, fails or does not answer. The message may be on the queue all
    /// the same.
    pub async fn send(&self, message: Message<'_>) -> Result<(), QueueError> {
        let ids = if is_fifo(&self.url) {
            let ids = message.fifo;
            ids.map(|ids| (Some(ids.deduplication_id), Cow::Borrowed(ids.group_id)))
        } else {
            let takes_groups = !self.refused_group.load(Ordering::Relaxed);
            let group = message.fair_group.filter(|_| takes_groups);
            group.map(|group| (None, group))
        };
        let (deduplication_id, group_id) = ids.unzip();
        let mut attributes = HashMap::with_capacity(message.attributes.len());
        for Attribute {
            name,
            data_type,
            value,
        } in message.attributes
        {
            let value = MessageAttributeValue::builder()
                .data_type(data_type)
                .string_value(value)
                .build()?;
            attributes.insert(name.to_owned(), value);
        }
        let send = SendMessageInput::builder()
            .queue_url(&self.url)
            .message_body(message.body)
            .set_message_attributes(Some(attributes))
            .set_message_deduplication_id(deduplication_id.flatten().map(ToOwned::to_owned))
            .set_message_group_id(group_id.map(Cow::into_owned))
            .build()?;
        match self.sqs.send_message.call(send).await {
            // SQS has a message once it has given it an id.
            Ok(answer) => answer.message_id.map(|_| ()).ok_or(QueueError::NoMessageId),
            Err(error) if is_too_long(&error) => Err(QueueError::TooLarge(TooLarge)),
            Err(error) => {
                // The next attempt then does without.
                let refused_group = is_about_group(&error) && !is_fifo(&self.url);
                self.refused_group
                    .fetch_or(refused_group, Ordering::Relaxed);
                Err(error.into())
            }
        }
    }
}

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// SQS refused, failed or did not answer.
    #[error(transparent)]
    Send(#[from] CallError<SendMessageError>),
    /// The SDK does not take the request.
    #[error(transparent)]
    Request(#[from] BuildError),
    /// The queue is configured to take less than [`MAX_MESSAGE_BYTES`], and less than this message.
    #[error(transparent)]
    TooLarge(TooLarge),
    /// Whatever answered 200 is not SQS.
    #[error("the answer to SendMessage has no MessageId")]
    NoMessageId,
}

/// Whether SQS refused the message since it exceeds the queue's `MaximumMessageSize`. Only the text of
/// the error tells this from other invalid parameters.
fn is_too_long(error: &CallError<SendMessageError>) -> bool {
    error.service_error().is_some_and(|error| {
        let message = error.message().unwrap_or_default();
        message.contains("must be shorter than")
    })
}

/// Whether SQS refused the message's group. Only the text of the error tells.
fn is_about_group(error: &CallError<SendMessageError>) -> bool {
    error.service_error().is_some_and(|error| {
        let message = error.message().unwrap_or_default();
        message.contains("MessageGroupId")
    })
}

/// The group of a job's contacts on a standard queue: the job's id, or a digest of it if SQS would refuse
/// the id as a group's, so that every job is a group of its own. A message of no group is one by itself.
fn fair_group(job_id: &str) -> Option<Cow<'_, str>> {
    match job_id {
        "" => None,
        _ if is_queue_token(job_id) => Some(job_id.into()),
        _ => Some(BASE64_STANDARD.encode(Sha256::digest(job_id)).into()),
    }
}

fn text<'a>(name: &'static str, value: &'a str) -> Attribute<'a> {
    Attribute {
        name,
        data_type: "String",
        value: value.into(),
    }
}

fn number(name: &'static str, value: i64) -> Attribute<'static> {
    Attribute {
        name,
        data_type: "Number",
        value: value.to_string().into(),
    }
}

/// Whether the queue at `url` is a FIFO queue: SQS requires the suffix of its name.
#[must_use]
#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "not a file's name"
)]
pub fn is_fifo(url: &str) -> bool {
    url.ends_with(".fifo")
}

/// Whether SQS accepts every character of `text`.
fn is_carried(text: &str) -> bool {
    !text.chars().any(|character| {
        matches!(character, '\0'..='\x08' | '\x0B' | '\x0C' | '\x0E'..='\x1F' | '\u{FFFE}' | '\u{FFFF}')
    })
}

/// The same JSON, with U+FFFE and U+FFFF written as escapes. JSON may hold them as they are, but SQS
/// refuses them. In valid JSON they are always part of a string, so an escape means the same.
fn with_refused_characters_escaped(json: &str) -> Cow<'_, str> {
    // Two searches: one for a single character is a search for bytes, and several times as fast.
    if json.contains('\u{FFFE}') || json.contains('\u{FFFF}') {
        let json = json.replace('\u{FFFE}', r"\ufffe");
        Cow::Owned(json.replace('\u{FFFF}', r"\uffff"))
    } else {
        Cow::Borrowed(json)
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_smithy_runtime_api::client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
    };
    use aws_smithy_types::body::SdkBody;

    use super::*;
    use crate::aws::{Aws, AwsConfig, Endpoints, HttpPool, Identity};
    use crate::signature::KeyForm;
    use crate::signature::{Signature, Verified, Verifier, sign};

    fn verified(body: &[u8]) -> Verified<'_> {
        let signature = Signature::parse(&sign("secret", body)).unwrap();
        let verifier = Verifier::new(["secret"], &KeyForm::ALL);
        verifier.verify(body, &signature, KeyForm::Whole).unwrap().0
    }

    fn body(job_id: &str, name: &str) -> String {
        format!(
            r#"{{"payload":{{"jobId":{job_id},"firstName":"{name}"}},"eventType":"job.contact.scored","timestamp":1767614400000,"apiVersion":"v2","id":"delivery-1"}}"#
        )
    }

    /// The message for a contact, as (body, attributes, group id).
    fn message(job_id: &str, name: &str) -> (String, Vec<(&'static str, String)>, String) {
        let body = body(job_id, name);
        let event = Event::parse(verified(body.as_bytes()), 0).unwrap();
        let crate::event::Kind::ContactScored(contact) = &event.kind else {
            panic!("not a contact");
        };
        let message = Message::contact(&event, contact.job_id.as_deref(), Source::Webhook).unwrap();
        let fifo = message.fifo.unwrap();
        assert_eq!(fifo.deduplication_id, "delivery-1");
        let attributes = message.attributes.iter();
        (
            message.body.to_string(),
            attributes
                .map(|it| (it.name, it.value.to_string()))
                .collect(),
            fifo.group_id.to_owned(),
        )
    }

    #[test]
    fn a_contact_is_labelled_and_its_body_is_untouched() {
        let (text, attributes, group) = message(r#""job-1""#, r"Zo\u00eb \/ é");
        assert_eq!(text, body(r#""job-1""#, r"Zo\u00eb \/ é"));
        let expected = [
            ("eventType", "job.contact.scored"),
            ("deliveryId", "delivery-1"),
            ("apiVersion", "v2"),
            ("timestamp", "1767614400000"),
            ("source", "webhook"),
            ("jobId", "job-1"),
        ];
        let expected = expected.map(|(name, value)| (name, value.to_owned()));
        assert_eq!(attributes, expected);
        assert_eq!(group, "job-1");
    }

    #[test]
    fn the_two_characters_that_sqs_refuses_become_escapes() {
        let (text, ..) = message("null", "a\u{FFFE}b\u{FFFF}c\u{FFFD}\u{1FFFE}");
        assert_eq!(text, body("null", "a\\ufffeb\\uffffc\u{FFFD}\u{1FFFE}"));
        for (one, escape) in [("\u{FFFE}", "\\ufffe"), ("\u{FFFF}", "\\uffff")] {
            assert_eq!(message("null", one).0, body("null", escape));
        }
    }

    #[test]
    fn an_empty_job_id_is_no_group() {
        let body = body("null", "x");
        let event = Event::parse(verified(body.as_bytes()), 0).unwrap();
        let message = Message::contact(&event, Some(""), Source::Backfill).unwrap();
        assert_eq!(message.fair_group, None);
    }

    #[test]
    fn a_job_id_that_sqs_would_refuse_labels_nothing() {
        for (job_id, labelled) in [
            (r#""a b""#, true),
            (r#""é""#, true),
            (r#""\u0000""#, false),
            (r#""\uffff""#, false),
        ] {
            let (_, attributes, group) = message(job_id, "x");
            assert_eq!(
                attributes.iter().any(|it| it.0 == "jobId"),
                labelled,
                "{job_id}"
            );
            assert_eq!(group, "delivery-1", "{job_id}");
        }
    }

    fn quarantined(bytes: &[u8]) -> (&'static str, String) {
        let message = Message::quarantined(bytes, Reason::NotJson, None).unwrap();
        let encoding = match message.attributes[1].value.as_ref() {
            "text" => "text",
            "base64" => "base64",
            "empty" => "empty",
            other => panic!("{other}"),
        };
        (encoding, message.body.to_string())
    }

    #[tokio::test]
    async fn a_message_is_sent_once_sqs_has_named_it() {
        #[derive(Debug)]
        struct Answering(&'static str);
        impl HttpConnector for Answering {
            fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
                let ok = 200.try_into().unwrap();
                let answer = HttpResponse::new(ok, SdkBody::from(self.0));
                HttpConnectorFuture::ready(Ok(answer))
            }
        }
        let config = AwsConfig {
            region: "us-east-1".to_owned(),
            identity: Identity::fixed(Credentials::from_keys("id", "key", None)),
            endpoints: Endpoints::default(),
        };
        for (answer, named) in [(r#"{"MessageId":"1"}"#, true), ("{}", false)] {
            let pool = HttpPool::new(move || SharedHttpConnector::new(Answering(answer)));
            let aws = Aws::new(pool, &config).unwrap();
            let message = Message::quarantined(b"x", Reason::NotJson, None).unwrap();
            let sent = Queue::new(aws.sqs(), String::new()).send(message).await;
            assert_eq!(sent.is_ok(), named, "{answer}");
        }
    }

    #[test]
    fn quarantine_keeps_the_exact_bytes_and_says_how() {
        assert_eq!(
            quarantined(b"plain \t\r\n text"),
            ("text", "plain \t\r\n text".into())
        );
        assert_eq!(quarantined(b"\0"), ("base64", "AA==".into()));
        assert_eq!(
            quarantined("\u{FFFF}".as_bytes()),
            ("base64", "77+/".into())
        );
        assert_eq!(quarantined(b"\xff"), ("base64", "/w==".into()));
        assert_eq!(quarantined(b""), ("empty", "empty".into()));
    }

    #[test]
    fn the_limit_counts_body_and_attributes() {
        // reason + String + not_json, encoding + String + text
        let attributes = 6 + 6 + 8 + 8 + 6 + 4;
        let fits = vec![b'x'; MAX_MESSAGE_BYTES - attributes];
        assert!(Message::quarantined(&fits, Reason::NotJson, None).is_ok());
        let over = vec![b'x'; MAX_MESSAGE_BYTES - attributes + 1];
        assert!(Message::quarantined(&over, Reason::NotJson, None).is_err());
    }
}
