//! `operator listen`

use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName},
};
use clap::Args;
use futures_util::future::join_all;
use serde::Serialize;
use titanx_client::http::{HttpClient, origin, require_secure};
use titanx_receiver::signature::{SIGNATURE_HEADER, sign};
use tokio::time::timeout;

use crate::{
    commands::CommandStatus,
    plain_error::PlainError,
    screen::{BAD, GOOD, NOTICE, Screen, check_written, escape_control, output_failed, styled},
    secret_store::SecretSource,
    stack::{Stack, StackOptions},
};

/// How long TitanX waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long a received message is hidden. The contacts of one batch are posted at the same time.
const VISIBILITY_TIMEOUT_S: i32 = 30;
/// For how long SQS waits for a message. Its maximum.
const POLL_S: i32 = 20;
/// The maximum that SQS allows.
const BATCH_SIZE: u64 = 10;
/// The longest pause before a contact is posted again.
const MAX_PAUSE_S: i32 = 60;

/// Show contacts live, and forward them to an endpoint of your own
///
/// Posts each contact to the URL as TitanX does: the same body, signed with the secret from
/// --secret-file, else from TITANX_WEBHOOK_SECRET, else from the stack's secret. After a 2xx it is done.
/// After 408, 429, 5xx, or no answer in ten seconds, it is posted again, with a growing pause. Shows
/// delivery ids and statuses, but no personal data; with --json, one document a line for each attempt.
/// Ends with Ctrl-C, or after --count contacts.
///
/// SQS gives each message to one reader. So the contacts come from a queue with copies (--copy), such as
/// the local run has, or with --take from the contacts queue itself: what this command takes, your
/// consumer does not get.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator listen --copy \"$CONTACTS_COPY_QUEUE_URL\" --forward-to http://127.0.0.1:3000/webhooks
  operator listen --stack titanx-receiver-dev --take --forward-to http://127.0.0.1:3000/webhooks
  operator listen --copy \"$CONTACTS_COPY_QUEUE_URL\" --forward-to https://dev.example.com/ --json | jq .status")]
pub(crate) struct Listen {
    /// Endpoint to post the contacts to. Without TLS only on this machine
    #[arg(long, value_name = "URL")]
    forward_to: String,
    /// Queue with a copy of each contact. A contact that was answered finally is deleted from it
    #[arg(
        long,
        env = "CONTACTS_COPY_QUEUE_URL",
        value_name = "URL",
        conflicts_with = "take",
        required_unless_present = "take"
    )]
    copy: Option<String>,
    /// Take the contacts from the contacts queue itself, so that your consumer does not get them
    #[arg(long)]
    take: bool,
    /// End after this many contacts were answered finally [default: listen until Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    secret: SecretSource,
    #[command(flatten)]
    stack: StackOptions,
}

impl Listen {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        require_secure(&self.forward_to)?;
        let stack = self.stack.connect().await?;
        let queue = self.queue(&stack).await?;
        let listener = Listener {
            sqs: stack.sqs(),
            http: HttpClient::new()?,
            secret: self.secret.signing_secret(&self.stack).await?,
            screen,
            options: &self,
            queue,
            held: RefCell::default(),
            summary: RefCell::default(),
        };
        let from = &listener.queue;
        let to = origin(&self.forward_to);
        screen.info(format_args!("forwarding {from} to {to} until Ctrl-C"));
        if self.take {
            screen.warn("your consumer does not get the contacts that this command takes");
        }
        let ended = tokio::select! {
            ended = listener.forward_all() => ended,
            interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C"),
        };
        listener.put_back().await;
        let summary = listener.summary.into_inner();
        screen.info(&summary);
        ended?;
        check_written()?;
        Ok(CommandStatus::action_needed_if(summary.has_failures()))
    }

    /// The queue to receive from. A copy is none of the receiver's own queues.
    async fn queue(&self, stack: &Stack<'_>) -> anyhow::Result<String> {
        let Some(copy) = &self.copy else {
            return stack.contacts_queue_url().await;
        };
        let named = |url: anyhow::Result<String>| url.is_ok_and(|url| url == *copy);
        if named(stack.contacts_queue_url().await) {
            bail!("{copy} is the contacts queue, not a copy: use --take to take contacts from it");
        }
        if named(stack.quarantine_queue_url().await) {
            bail!("{copy} is the quarantine queue: see `operator quarantine`");
        }
        Ok(copy.clone())
    }
}

/// Receives contacts and forwards them.
struct Listener<'a> {
    options: &'a Listen,
    sqs: Client,
    queue: String,
    http: HttpClient,
    secret: String,
    screen: Screen,
    /// The receipt handles of the messages whose answer is still awaited, by message id.
    held: RefCell<BTreeMap<String, String>>,
    summary: RefCell<Summary>,
}

/// A message that was received.
struct Received {
    id: String,
    receipt_handle: String,
    body: String,
    /// How often it was received, this time included.
    attempt: i32,
    delivery_id: Option<String>,
    event_type: Option<String>,
    job_id: Option<String>,
}

/// What becomes of a contact after an attempt to forward it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    /// The endpoint has it.
    Received,
    /// The answer is final: TitanX would not send it again.
    Dropped,
    /// It is posted again.
    Kept,
}

impl Fate {
    /// Of a contact whose answer has this `status`. One that was taken from the contacts queue is never
    /// dropped: it exists nowhere else.
    fn of(status: Option<u16>, take: bool) -> Self {
        match status {
            Some(200..300) => Self::Received,
            Some(408 | 429) => Self::Kept,
            Some(400..500) if !take => Self::Dropped,
            _ => Self::Kept,
        }
    }
}

/// One attempt to forward a contact.
#[derive(Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "the JSON's name for the number of the attempt"
)]
struct Attempt<'a> {
    delivery_id: Option<&'a str>,
    event_type: Option<&'a str>,
    job_id: Option<&'a str>,
    bytes: usize,
    attempt: i32,
    /// The endpoint's status code, if there was an answer.
    status: Option<u16>,
    fate: Fate,
    milliseconds: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What became of the contacts so far.
#[derive(Default)]
struct Summary {
    received: u64,
    dropped: u64,
    /// The message ids of those that were not answered finally yet.
    kept: std::collections::BTreeSet<String>,
}

impl Listener<'_> {
    /// Forwards contacts until there were as many as were asked for, or nobody reads the output.
    async fn forward_all(&self) -> anyhow::Result<()> {
        loop {
            let done = self.summary.borrow().done();
            let left = self
                .options
                .count
                .map_or(BATCH_SIZE, |count| count.saturating_sub(done));
            if left == 0 || output_failed() {
                return Ok(());
            }
            let batch = self.receive(left.min(BATCH_SIZE)).await?;
            join_all(batch.iter().map(|it| self.forward(it))).await;
        }
    }

    async fn receive(&self, most: u64) -> anyhow::Result<Vec<Received>> {
        let receive = self.sqs.receive_message().queue_url(&self.queue);
        let received = receive
            .max_number_of_messages(i32::try_from(most)?)
            .visibility_timeout(VISIBILITY_TIMEOUT_S)
            .wait_time_seconds(POLL_S)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .with_context(|| format!("cannot receive messages from the queue {}", self.queue))?;
        let messages = received.messages.unwrap_or_default();
        let messages: Vec<_> = messages.into_iter().filter_map(Received::read).collect();
        let receipts = messages
            .iter()
            .map(|it| (it.id.clone(), it.receipt_handle.clone()));
        self.held.borrow_mut().extend(receipts);
        Ok(messages)
    }

    async fn forward(&self, message: &Received) {
        let started = Instant::now();
        let (status, error) = match self.post(&message.body).await {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error)),
        };
        let fate = Fate::of(status, self.options.take);
        let milliseconds = started.elapsed().as_millis();
        self.settle(message, fate).await;
        let attempt = Attempt {
            delivery_id: message.delivery_id.as_deref(),
            event_type: message.event_type.as_deref(),
            job_id: message.job_id.as_deref(),
            bytes: message.body.len(),
            attempt: message.attempt,
            status,
            fate,
            milliseconds,
            error,
        };
        attempt.show(self.screen);
    }

    /// Posts the body as TitanX does. Of the answer, only the status is read: the rest may repeat what
    /// was posted.
    async fn post(&self, body: &str) -> Result<u16, String> {
        let signature = sign(&self.secret, body.as_bytes());
        let headers = [
            ("content-type", "application/json"),
            ("user-agent", "TitanX-Webhooks/1.0"),
            (SIGNATURE_HEADER, signature.as_str()),
        ];
        let post = self
            .http
            .call("POST", &self.options.forward_to, &headers, body);
        match timeout(ANSWER_TIMEOUT, post).await {
            Ok(Ok(response)) => Ok(response.status),
            Ok(Err(error)) => Err(PlainError(&error).to_string()),
            Err(_) => Err(format!("no answer in {} s", ANSWER_TIMEOUT.as_secs())),
        }
    }

    /// Deletes the message, or leaves it hidden until its next attempt.
    async fn settle(&self, message: &Received, fate: Fate) {
        let receipt = &message.receipt_handle;
        let failed = if fate == Fate::Kept {
            self.hide(receipt, pause_s(message.attempt)).await.err()
        } else {
            let delete = self.sqs.delete_message().queue_url(&self.queue);
            let deleted = delete.receipt_handle(receipt).send().await;
            deleted.err().map(|error| PlainError(&error).to_string())
        };
        self.held.borrow_mut().remove(&message.id);
        self.summary.borrow_mut().add(&message.id, fate);
        if let Some(error) = failed {
            let delivery = escape_control(message.delivery_id.as_deref().unwrap_or("-"));
            self.screen.warn(format_args!(
                "delivery {delivery} comes again in {VISIBILITY_TIMEOUT_S} s: {error}"
            ));
        }
    }

    async fn hide(&self, receipt: &str, seconds: i32) -> Result<(), String> {
        let change = self.sqs.change_message_visibility().queue_url(&self.queue);
        let change = change.receipt_handle(receipt).visibility_timeout(seconds);
        let changed = change.send().await;
        changed
            .map(|_| ())
            .map_err(|error| PlainError(&error).to_string())
    }

    /// Makes the messages visible again whose answer was still awaited. Failures are ignored: the
    /// visibility timeout does the same later.
    async fn put_back(&self) {
        let held = self.held.take();
        join_all(held.values().map(|receipt| self.hide(receipt, 0))).await;
    }
}

/// The pause after this attempt, in seconds: 1, 2, 4 and so on.
fn pause_s(attempt: i32) -> i32 {
    let doubled = u32::try_from(attempt - 1).map_or(1, |it| 2_i32.saturating_pow(it));
    doubled.min(MAX_PAUSE_S)
}

impl Received {
    fn read(message: Message) -> Option<Self> {
        let attribute = |name: &str| {
            let attributes = message.message_attributes()?;
            Some(attributes.get(name)?.string_value()?.to_owned())
        };
        let attempt = message.attributes().and_then(|it| {
            let count = it.get(&MessageSystemAttributeName::ApproximateReceiveCount)?;
            count.parse().ok()
        });
        Some(Self {
            delivery_id: attribute("deliveryId"),
            event_type: attribute("eventType"),
            job_id: attribute("jobId"),
            attempt: attempt.unwrap_or(1),
            id: message.message_id?,
            receipt_handle: message.receipt_handle?,
            body: message.body.unwrap_or_default(),
        })
    }
}

impl Attempt<'_> {
    fn show(&self, screen: Screen) {
        if screen.json {
            let line = serde_json::to_string(self).expect("no member can fail");
            print_line!("{line}");
            return;
        }
        let style = match self.fate {
            Fate::Received => GOOD,
            Fate::Dropped => BAD,
            Fate::Kept => NOTICE,
        };
        let status = self
            .status
            .map_or_else(|| "---".to_owned(), |it| it.to_string());
        let [delivery, event, job] = [self.delivery_id, self.event_type, self.job_id]
            .map(|it| escape_control(it.unwrap_or("-")));
        let result = match self.fate {
            Fate::Received => String::new(),
            Fate::Dropped => "  dropped, as TitanX would".to_owned(),
            Fate::Kept => format!("  again in {} s", pause_s(self.attempt)),
        };
        let error = self
            .error
            .as_ref()
            .map_or_else(String::new, |it| format!(" ({it})"));
        let Self {
            bytes,
            milliseconds,
            ..
        } = self;
        print_line!(
            "{}  {delivery}  {event}  job {job}  {bytes} bytes  {milliseconds} ms{result}{error}",
            styled(style, status)
        );
    }
}

impl Summary {
    fn add(&mut self, id: &str, fate: Fate) {
        self.kept.remove(id);
        match fate {
            Fate::Received => self.received += 1,
            Fate::Dropped => self.dropped += 1,
            Fate::Kept => {
                self.kept.insert(id.to_owned());
            }
        }
    }

    /// How many contacts were answered finally.
    fn done(&self) -> u64 {
        self.received + self.dropped
    }

    fn has_failures(&self) -> bool {
        self.dropped > 0 || !self.kept.is_empty()
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self {
            received,
            dropped,
            kept,
        } = self;
        write!(
            f,
            "{received} received, {dropped} dropped, {} still in the queue",
            kept.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let pauses = [1, 2, 3, 6, 7, 8, 1000].map(pause_s);
        assert_eq!(pauses, [1, 2, 4, 32, 60, 60, 60]);
        // Not a number that SQS gives.
        assert_eq!(pause_s(0), 1);
    }

    #[test]
    fn an_answer_is_final_as_it_is_for_titanx() {
        let all = |statuses: &[u16], take, fate| {
            let mut fates = statuses.iter().map(|it| Fate::of(Some(*it), take));
            fates.all(|it| it == fate)
        };
        for take in [false, true] {
            assert!(all(&[200, 201, 204, 299], take, Fate::Received));
            assert!(all(&[302, 408, 429, 500, 503, 599], take, Fate::Kept));
            assert_eq!(Fate::of(None, take), Fate::Kept);
        }
        let refused = [400, 401, 404, 409, 499];
        assert!(all(&refused, false, Fate::Dropped));
        assert!(all(&refused, true, Fate::Kept));
    }
}
