//! An in-memory SQS with standard and FIFO queues, and the operations that sender, consumer and
//! operator use.
//!
//! It refuses invalid requests with the same error codes as SQS: see [`limits`]. Messages never
//! expire. Other operations are answered with `UnknownOperationException`.

mod limits;
mod moves;
mod queue;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use self::moves::MoveTask;
pub use self::queue::{Attribute, Message};
use self::queue::{Held, QueueState};
use super::protocol::{Refusal, Service, read};

const ACCOUNT: &str = "000000000000";
const REGION: &str = "us-east-1";
/// How often a long poll checks for messages.
const POLL: Duration = Duration::from_millis(20);

/// The service, with queues by name and a clock for all queues.
pub(crate) struct Sqs {
    url: String,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<String, QueueState>,
    /// By the name of a queue, the one that gets a copy of each message that is sent to it.
    copies: BTreeMap<String, String>,
    /// In the order in which they were started.
    moves: Vec<MoveTask>,
    /// By how much the clock has been advanced.
    advanced: Duration,
}

impl Sqs {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            started: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// Advances the clock: visibility timeouts, delays and deduplication end earlier.
    pub(crate) fn advance(&self, by: Duration) {
        self.state().advanced += by;
    }

    /// All messages in the order in which they were sent, including those in flight.
    pub(crate) fn messages(&self, queue: &str) -> Vec<Message> {
        let state = self.state();
        let held = state.queues[queue].messages.values();
        held.map(|held| held.message.clone()).collect()
    }

    /// Sends a message with string attributes.
    pub(crate) fn put(&self, url: &str, body: &str, attributes: &[(&str, &str)]) {
        let attribute = |value: &str| json!({ "DataType": "String", "StringValue": value });
        let attributes = attributes
            .iter()
            .map(|&(name, value)| (name.to_owned(), attribute(value)));
        let request = json!({
            "QueueUrl": url,
            "MessageBody": body,
            "MessageAttributes": attributes.collect::<Map<_, _>>(),
        });
        let sent = read(request).and_then(|request| self.send(request));
        sent.expect("the queue is there and takes text");
    }

    /// Receives every message as often as the queue's redrive policy allows, without deleting one.
    pub(crate) fn exhaust(&self, url: &str) {
        let request =
            || json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0});
        let receive = || {
            let received = read(request()).and_then(|request| self.receive_now(&request));
            received.expect("the queue is there").len()
        };
        while receive() > 0 {}
    }

    pub(crate) fn set_attribute(&self, queue: &str, name: &str, value: &str) {
        let mut state = self.state();
        let queue = state.queues.get_mut(queue).expect("the queue is there");
        queue.set_attribute(name, value);
    }

    /// Sends a copy of each message for `queue` to `copy`, too, from now on. Both are standard queues.
    pub(crate) fn copy(&self, queue: &str, copy: &str) {
        let copies = &mut self.state().copies;
        copies.insert(queue.to_owned(), copy.to_owned());
    }

    pub(crate) fn len(&self, queue: &str) -> usize {
        self.state().queues[queue].messages.len()
    }

    /// Creates a queue, and returns its URL. Fails if a queue with the name has other attributes.
    pub(crate) fn create(
        &self,
        name: &str,
        attributes: BTreeMap<String, String>,
    ) -> Result<String, Refusal> {
        limits::check_queue(name, &attributes)?;
        let mut state = self.state();
        match state.queues.get(name) {
            Some(existing) if !existing.has(&attributes) => {
                return Err(Refusal::new(
                    "QueueNameExists",
                    "A queue already exists with the same name and a different attribute value.",
                )
                .with_query_code("QueueAlreadyExists"));
            }
            Some(_) => {}
            None => {
                let queue = QueueState::new(arn(name), attributes);
                state.queues.insert(name.to_owned(), queue);
            }
        }
        Ok(self.queue_url(name))
    }

    fn queue_url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.url)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of the clock.
    fn now(&self, state: &State) -> Duration {
        self.started.elapsed() + state.advanced
    }

    /// Calls `act` with the queue that has this name or URL.
    fn with_queue<T>(
        &self,
        queue: &str,
        act: impl FnOnce(&mut QueueState, Duration) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut state = self.state();
        let now = self.now(&state);
        let name = queue.rsplit('/').next().unwrap_or_default();
        let queue = state.queues.get_mut(name).ok_or_else(no_such_queue)?;
        act(queue, now)
    }

    fn send(&self, request: SendMessage) -> Result<Value, Refusal> {
        let name = request.queue_url.rsplit('/').next().unwrap_or_default();
        let copy = self.state().copies.get(name).cloned();
        let copy = copy.map(|queue| (queue, request.clone()));
        let sent = self.with_queue(&request.queue_url.clone(), |queue, now| {
            limits::check_message(&request, queue)?;
            Ok(queue.send(request, now))
        })?;
        if let Some((queue, request)) = copy {
            self.with_queue(&queue, |queue, now| Ok(queue.send(request, now)))?;
        }
        Ok(sent)
    }

    async fn receive(&self, request: ReceiveMessage) -> Result<Value, Refusal> {
        limits::check_receive(&request)?;
        let wait = self.with_queue(&request.queue_url, |queue, _| {
            Ok(queue.seconds(request.wait_time_seconds, "ReceiveMessageWaitTimeSeconds"))
        })?;
        let deadline = Instant::now() + wait;
        loop {
            let received = self.receive_now(&request)?;
            if !received.is_empty() || Instant::now() >= deadline {
                let received = received.iter().map(|held| held.as_received(&request));
                return Ok(json!({ "Messages": received.collect::<Vec<_>>() }));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn receive_now(&self, request: &ReceiveMessage) -> Result<Vec<Held>, Refusal> {
        self.redrive(&request.queue_url)?;
        self.with_queue(&request.queue_url, |queue, now| {
            let timeout = queue.seconds(request.visibility_timeout, "VisibilityTimeout");
            Ok(queue.receive(request.max_number_of_messages.unwrap_or(1), now, timeout))
        })
    }

    /// Moves messages that were received too often to the dead-letter queue.
    fn redrive(&self, queue: &str) -> Result<(), Refusal> {
        let exhausted = self.with_queue(queue, |queue, now| Ok(queue.exhausted(now)))?;
        let Some((target, messages)) = exhausted else {
            return Ok(());
        };
        let target = target.rsplit(':').next().unwrap_or_default().to_owned();
        self.with_queue(&target, |queue, now| {
            queue.adopt(messages, now);
            Ok(())
        })
    }
}

impl Service for Sqs {
    async fn call(&self, operation: &str, request: Value) -> Result<Value, Refusal> {
        match operation {
            "CreateQueue" => {
                let CreateQueue {
                    queue_name,
                    attributes,
                } = read(request)?;
                let url = self.create(&queue_name, attributes)?;
                Ok(json!({ "QueueUrl": url }))
            }
            "GetQueueUrl" => {
                let name: QueueName = read(request)?;
                self.with_queue(&name.queue_name, |_, _| Ok(()))?;
                Ok(json!({ "QueueUrl": self.queue_url(&name.queue_name) }))
            }
            "GetQueueAttributes" => {
                let request: GetQueueAttributes = read(request)?;
                self.with_queue(&request.queue_url, |queue, now| {
                    Ok(json!({ "Attributes": queue.describe(&request.attribute_names, now) }))
                })
            }
            "PurgeQueue" => {
                let request: QueueUrl = read(request)?;
                self.with_queue(&request.queue_url, |queue, _| {
                    queue.messages.clear();
                    Ok(nothing())
                })
            }
            "SendMessage" => self.send(read(request)?),
            "ReceiveMessage" => self.receive(read(request)?).await,
            "DeleteMessage" => {
                let request: HeldMessage = read(request)?;
                self.with_queue(&request.queue_url, |queue, _| {
                    queue.delete(&request.receipt_handle)?;
                    Ok(nothing())
                })
            }
            "ChangeMessageVisibility" => {
                let request: HeldMessage = read(request)?;
                let timeout = Duration::from_secs(request.visibility_timeout.unwrap_or(0));
                self.with_queue(&request.queue_url, |queue, now| {
                    queue.change_visibility(&request.receipt_handle, now, timeout)?;
                    Ok(nothing())
                })
            }
            "StartMessageMoveTask" => {
                let mut state = self.state();
                let now = self.now(&state);
                state.start_move(&read(request)?, now)
            }
            "ListMessageMoveTasks" => {
                let mut state = self.state();
                let now = self.now(&state);
                state.list_moves(&read(request)?, now)
            }
            _ => Err(Refusal::unknown_operation()),
        }
    }
}

pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn nothing() -> Value {
    Value::Object(Map::new())
}

fn no_such_queue() -> Refusal {
    Refusal::new("QueueDoesNotExist", "The specified queue does not exist.")
        .with_query_code("AWS.SimpleQueueService.NonExistentQueue")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateQueue {
    queue_name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueueName {
    queue_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueueUrl {
    queue_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetQueueAttributes {
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage {
    queue_url: String,
    #[serde(default)]
    message_body: String,
    delay_seconds: Option<u64>,
    #[serde(default, deserialize_with = "null_as_empty")]
    message_attributes: HashMap<String, Attribute>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiveMessage {
    queue_url: String,
    max_number_of_messages: Option<usize>,
    visibility_timeout: Option<u64>,
    wait_time_seconds: Option<u64>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
    /// Older clients call it `AttributeNames`.
    #[serde(default, alias = "AttributeNames")]
    message_system_attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HeldMessage {
    queue_url: String,
    receipt_handle: String,
    visibility_timeout: Option<u64>,
}

fn null_as_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
