//! One queue: its messages, their visibility, and the deduplication ids it remembers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::protocol::{Refusal, write};
use super::{ReceiveMessage, SendMessage};

/// How long a FIFO queue remembers a deduplication id.
const DEDUPLICATION_INTERVAL: Duration = Duration::from_mins(5);

const DEFAULTS: [(&str, &str); 5] = [
    ("DelaySeconds", "0"),
    ("MaximumMessageSize", "1048576"),
    ("MessageRetentionPeriod", "345600"),
    ("ReceiveMessageWaitTimeSeconds", "0"),
    ("VisibilityTimeout", "30"),
];

/// A message as a consumer receives it.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub body: String,
    pub attributes: BTreeMap<String, Attribute>,
    pub group_id: Option<String>,
    pub deduplication_id: Option<String>,
    sequence_number: Option<String>,
}

impl Message {
    /// The value of a string attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.string_value.as_deref()
    }
}

/// A message attribute in requests and responses.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    pub data_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// In Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

impl Attribute {
    /// The size of type and value, which counts towards the size of the message.
    pub(super) fn size(&self) -> usize {
        self.data_type.len() + self.value().len()
    }

    fn is_binary(&self) -> bool {
        self.data_type.starts_with("Binary")
    }

    fn value(&self) -> Vec<u8> {
        if self.is_binary() {
            let value = self.binary_value.as_deref().unwrap_or_default();
            STANDARD.decode(value).unwrap_or_default()
        } else {
            self.string_value.clone().unwrap_or_default().into_bytes()
        }
    }
}

/// A message with its state in the queue.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) message: Message,
    sent_at: u128,
    visible_at: Duration,
    received: u32,
    receipt: Option<String>,
}

impl Held {
    fn in_flight(&self, now: Duration) -> bool {
        self.received > 0 && self.visible_at > now
    }

    pub(super) fn as_received(&self, request: &ReceiveMessage) -> Value {
        let message = &self.message;
        let mut answer = json!({
            "MessageId": message.id,
            "ReceiptHandle": self.receipt,
            "Body": message.body,
            "MD5OfBody": digest(message.body.as_bytes()),
            "Attributes": self.system_attributes(&request.message_system_attribute_names),
        });
        let wanted = |name: &str| named(&request.message_attribute_names, name);
        let mut attributes = message.attributes.clone();
        attributes.retain(|name, _| wanted(name));
        if !attributes.is_empty() {
            answer["MD5OfMessageAttributes"] = json!(digest_attributes(&attributes));
            answer["MessageAttributes"] = write(&attributes);
        }
        answer
    }

    fn system_attributes(&self, names: &[String]) -> Value {
        let all = [
            ("ApproximateReceiveCount", Some(self.received.to_string())),
            (
                "MessageDeduplicationId",
                self.message.deduplication_id.clone(),
            ),
            ("MessageGroupId", self.message.group_id.clone()),
            ("SentTimestamp", Some(self.sent_at.to_string())),
            ("SequenceNumber", self.message.sequence_number.clone()),
        ];
        let wanted = all.into_iter().filter(|(name, _)| named(names, name));
        let wanted = wanted.filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
        Value::Object(wanted.collect())
    }
}

pub(super) struct QueueState {
    attributes: BTreeMap<String, String>,
    /// In the order in which they were sent.
    pub(super) messages: BTreeMap<u64, Held>,
    sent: u64,
    /// By deduplication id: the time until which it is remembered, and the first message.
    seen: HashMap<String, (Duration, Message)>,
}

impl QueueState {
    pub(super) fn new(arn: String, given: BTreeMap<String, String>) -> Self {
        let mut attributes: BTreeMap<String, String> = DEFAULTS
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        attributes.insert("QueueArn".to_owned(), arn);
        attributes.extend(given);
        Self {
            attributes,
            messages: BTreeMap::new(),
            sent: 0,
            seen: HashMap::new(),
        }
    }

    /// Whether the queue has these attributes. If so, creating it again succeeds.
    pub(super) fn has(&self, attributes: &BTreeMap<String, String>) -> bool {
        let mut attributes = attributes.iter();
        attributes.all(|(name, value)| self.attributes.get(name) == Some(value))
    }

    pub(super) fn is_fifo(&self) -> bool {
        self.is_true("FifoQueue")
    }

    pub(super) fn deduplicates_by_content(&self) -> bool {
        self.is_true("ContentBasedDeduplication")
    }

    fn is_true(&self, name: &str) -> bool {
        self.attributes
            .get(name)
            .is_some_and(|value| value == "true")
    }

    pub(super) fn set_attribute(&mut self, name: &str, value: &str) {
        self.attributes.insert(name.to_owned(), value.to_owned());
    }

    pub(super) fn max_message_size(&self) -> usize {
        let size = self.attributes["MaximumMessageSize"].parse();
        size.expect("a queue's size limit is a number")
    }

    /// The value in the request, else the queue's attribute.
    pub(super) fn seconds(&self, requested: Option<u64>, attribute: &str) -> Duration {
        let configured = || self.attributes[attribute].parse();
        let seconds = requested.map_or_else(configured, Ok);
        Duration::from_secs(seconds.expect("a queue's times are numbers"))
    }

    pub(super) fn describe(&self, names: &[String], now: Duration) -> Value {
        let mut all = self.attributes.clone();
        let count = |is: &dyn Fn(&Held) -> bool| {
            let counted = self.messages.values().filter(|held| is(held)).count();
            counted.to_string()
        };
        let visible = count(&|held| held.visible_at <= now);
        let in_flight = count(&|held| held.in_flight(now));
        let delayed = count(&|held| held.visible_at > now && held.received == 0);
        all.insert("ApproximateNumberOfMessages".to_owned(), visible);
        all.insert(
            "ApproximateNumberOfMessagesNotVisible".to_owned(),
            in_flight,
        );
        all.insert("ApproximateNumberOfMessagesDelayed".to_owned(), delayed);
        all.retain(|name, _| named(names, name));
        write(&all)
    }

    pub(super) fn send(&mut self, request: SendMessage, now: Duration) -> Value {
        let delay = self.seconds(request.delay_seconds, "DelaySeconds");
        let message = self.message(request);
        let mut answer = json!({ "MD5OfMessageBody": digest(message.body.as_bytes()) });
        if !message.attributes.is_empty() {
            answer["MD5OfMessageAttributes"] = json!(digest_attributes(&message.attributes));
        }
        let kept = self.keep(message, now, delay);
        answer["MessageId"] = json!(kept.id);
        if let Some(number) = kept.sequence_number {
            answer["SequenceNumber"] = json!(number);
        }
        answer
    }

    fn message(&self, request: SendMessage) -> Message {
        let by_content = self.is_fifo() && self.deduplicates_by_content();
        let content = || by_content.then(|| digest_content(&request.message_body));
        Message {
            id: Uuid::new_v4().to_string(),
            deduplication_id: request.message_deduplication_id.clone().or_else(content),
            body: request.message_body,
            attributes: request.message_attributes.into_iter().collect(),
            group_id: request.message_group_id,
            sequence_number: None,
        }
    }

    /// Adds the message to the queue. For a duplicate, returns the first message instead.
    fn keep(&mut self, mut message: Message, now: Duration, delay: Duration) -> Message {
        let id = message.deduplication_id.clone();
        match id.as_ref().and_then(|id| self.seen.get(id)) {
            Some((until, first)) if *until > now => return first.clone(),
            _ => {}
        }
        self.sent += 1;
        if self.is_fifo() {
            message.sequence_number = Some(format!("{:020}", self.sent));
        }
        if let Some(id) = id {
            let until = now + DEDUPLICATION_INTERVAL;
            self.seen.insert(id, (until, message.clone()));
        }
        self.place(message.clone(), now + delay);
        message
    }

    fn place(&mut self, message: Message, visible_at: Duration) {
        let held = Held {
            message,
            sent_at: milliseconds(),
            visible_at,
            received: 0,
            receipt: None,
        };
        self.messages.insert(self.sent, held);
    }

    pub(super) fn receive(&mut self, most: usize, now: Duration, timeout: Duration) -> Vec<Held> {
        let blocked = self.blocked_groups(now);
        let free = |held: &Held| match &held.message.group_id {
            Some(group) => !blocked.contains(group),
            None => true,
        };
        let messages = self.messages.iter_mut();
        let visible = messages.filter(|(_, held)| held.visible_at <= now && free(held));
        let taken = visible.take(most).map(|(position, held)| {
            held.received += 1;
            held.visible_at = now + timeout;
            held.receipt = Some(format!("{position}:{}", Uuid::new_v4()));
            held.clone()
        });
        taken.collect()
    }

    /// The groups with a message in flight, of which a FIFO queue returns no further message.
    fn blocked_groups(&self, now: Duration) -> BTreeSet<String> {
        if !self.is_fifo() {
            return BTreeSet::new();
        }
        let in_flight = self.messages.values().filter(|held| held.in_flight(now));
        in_flight
            .filter_map(|held| held.message.group_id.clone())
            .collect()
    }

    /// Deletes a message by its latest receipt handle. With an older one, it succeeds without effect.
    pub(super) fn delete(&mut self, receipt: &str) -> Result<(), Refusal> {
        let position = position(receipt)?;
        let held = self.messages.get(&position);
        if held.is_some_and(|held| held.receipt.as_deref() == Some(receipt)) {
            self.messages.remove(&position);
        }
        Ok(())
    }

    pub(super) fn change_visibility(
        &mut self,
        receipt: &str,
        now: Duration,
        timeout: Duration,
    ) -> Result<(), Refusal> {
        let held = self.messages.get_mut(&position(receipt)?);
        let held = held.filter(|held| held.receipt.as_deref() == Some(receipt));
        let Some(held) = held.filter(|held| held.in_flight(now)) else {
            return Err(
                Refusal::new("MessageNotInflight", "The message is not in flight.")
                    .with_query_code("AWS.SimpleQueueService.MessageNotInflight"),
            );
        };
        held.visible_at = now + timeout;
        Ok(())
    }

    /// The ARN of the dead-letter queue.
    pub(super) fn dead_letter_target(&self) -> Option<String> {
        let policy: Value = serde_json::from_str(self.attributes.get("RedrivePolicy")?).ok()?;
        Some(policy.get("deadLetterTargetArn")?.as_str()?.to_owned())
    }

    /// The number of visible messages.
    pub(super) fn visible(&self, now: Duration) -> usize {
        let messages = self.messages.values();
        messages.filter(|held| held.visible_at <= now).count()
    }

    /// Removes the first visible messages.
    pub(super) fn take_visible(&mut self, most: usize, now: Duration) -> Vec<Message> {
        let visible = |_: &u64, held: &mut Held| held.visible_at <= now;
        let visible = self.messages.extract_if(.., visible).take(most);
        visible.map(|(_, held)| held.message).collect()
    }

    /// Adds messages that a task has moved here, which have new ids.
    pub(super) fn adopt_anew(&mut self, mut messages: Vec<Message>, now: Duration) {
        for message in &mut messages {
            message.id = Uuid::new_v4().to_string();
        }
        self.adopt(messages, now);
    }

    /// Removes the visible messages that were received as often as the redrive policy allows. As SQS does, it
    /// replaces their deduplication ids, so that two messages with one id are both kept.
    pub(super) fn exhausted(&mut self, now: Duration) -> Option<(String, Vec<Message>)> {
        let policy = self.attributes.get("RedrivePolicy")?;
        let policy: Map<String, Value> = serde_json::from_str(policy).ok()?;
        let target = policy.get("deadLetterTargetArn")?.as_str()?.to_owned();
        // Clients send the number with or without quotes.
        let most = policy.get("maxReceiveCount")?;
        let most = most.to_string().trim_matches('"').parse::<u32>().ok()?;
        let gone = |_: &u64, held: &mut Held| held.received >= most && held.visible_at <= now;
        let gone = self.messages.extract_if(.., gone);
        let gone = gone.map(|(_, held)| {
            let mut message = held.message;
            if message.deduplication_id.is_some() {
                message.deduplication_id = Some(message.id.clone());
            }
            message
        });
        let gone = gone.collect();
        Some((target, gone))
    }

    /// Adds messages that another queue has moved here.
    pub(super) fn adopt(&mut self, messages: Vec<Message>, now: Duration) {
        for message in messages {
            self.sent += 1;
            self.place(message, now);
        }
    }
}

/// The position of the message that a receipt handle belongs to.
fn position(receipt: &str) -> Result<u64, Refusal> {
    let position = receipt
        .split_once(':')
        .and_then(|(position, _)| position.parse().ok());
    position.ok_or_else(|| {
        Refusal::new(
            "ReceiptHandleIsInvalid",
            "The input receipt handle is invalid.",
        )
        .with_query_code("ReceiptHandleIsInvalid")
    })
}

/// Whether a list of requested attribute names includes this one.
fn named(names: &[String], name: &str) -> bool {
    names.iter().any(|wanted| match wanted.strip_suffix(".*") {
        Some(prefix) => name.starts_with(prefix),
        None => wanted == "All" || wanted == name,
    })
}

fn digest(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

fn digest_content(body: &str) -> String {
    hex(&sha2::Sha256::digest(body.as_bytes()))
}

/// The digest with which clients check their message attributes, as SQS's developer guide defines it:
/// attributes sorted by name, each part preceded by its length, and one byte for the type of a value.
fn digest_attributes(attributes: &BTreeMap<String, Attribute>) -> String {
    let mut digest = Md5::new();
    let mut part = |bytes: &[u8], kind: &[u8]| {
        digest.update(kind);
        let length = u32::try_from(bytes.len()).expect("a message is far smaller than 4 GiB");
        digest.update(length.to_be_bytes());
        digest.update(bytes);
    };
    for (name, attribute) in attributes {
        part(name.as_bytes(), &[]);
        part(attribute.data_type.as_bytes(), &[]);
        part(
            &attribute.value(),
            &[if attribute.is_binary() { 2 } else { 1 }],
        );
    }
    hex(&digest.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn milliseconds() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock stands after 1970").as_millis()
}
