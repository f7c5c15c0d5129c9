//! `operator quarantine`

use std::{collections::HashMap, io::Read};

use anyhow::{Context, bail};
use aws_sdk_sqs::{
    Client,
    operation::change_message_visibility::ChangeMessageVisibilityError,
    types::{Message, MessageSystemAttributeName},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::{Args, Subcommand};
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use titanx_client::http::{HttpClient, require_secure};
use titanx_receiver::{
    event::Reason,
    signature::{SIGNATURE_HEADER, sign},
};

use crate::{
    commands::CommandStatus,
    plain_error::PlainError,
    screen::{BAD, GOOD, NOTICE, Screen, format_time, styled, table},
    secret_store::SecretSource,
    stack::{Stack, StackOptions},
};

/// List, show or redrive deliveries in the quarantine queue
///
/// The queue contains deliveries that TitanX signed but the receiver did not understand. Personal
/// data is shown only with --reveal.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator quarantine list --stack titanx-receiver
  operator quarantine redrive --stack titanx-receiver --all")]
pub(crate) struct Quarantine {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    List(List),
    Show(Show),
    Redrive(Redrive),
}

/// List the deliveries in the quarantine queue, with the reason of each
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator quarantine list --stack titanx-receiver
  operator quarantine list --stack titanx-receiver --json | jq -r '.[].reason' | sort | uniq -c")]
struct List {
    #[command(flatten)]
    stack: StackOptions,
}

/// Show one delivery in the quarantine queue
///
/// Shows the names of the JSON members and the types of their values, and the values of eventType,
/// apiVersion and timestamp. All other values are shown only with --reveal.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator quarantine show --stack titanx-receiver 5fea7756-0ea4-451a-a703-a558b933e274
  operator quarantine show --stack titanx-receiver --reveal 5fea7756-0ea4-451a-a703-a558b933e274")]
struct Show {
    /// Message id, as `operator quarantine list` shows it
    id: String,
    /// Show the whole body, including personal data
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    stack: StackOptions,
}

/// Redrive deliveries from the quarantine queue to the receiver
///
/// Signs each delivery with a live secret, posts it to the webhook URL, and deletes it from the
/// quarantine queue only after the receiver answered 2xx. If the receiver still does not understand
/// a delivery, it quarantines it again as a new message. It is safe to run this command again.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator quarantine redrive --stack titanx-receiver 5fea7756-0ea4-451a-a703-a558b933e274
  operator quarantine redrive --stack titanx-receiver --all")]
struct Redrive {
    /// Message ids, as `operator quarantine list` shows them
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,
    /// Redrive all deliveries that are in the queue now
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    secret: SecretSource,
    #[command(flatten)]
    stack: StackOptions,
}

/// Visibility timeout of a received message, in seconds.
const VISIBILITY_TIMEOUT_S: i32 = 60;
/// The maximum number of messages that SQS returns for one request.
const BATCH_SIZE: i32 = 10;

/// Why the exact bytes of a delivery cannot be read from its message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum UnreadableBody {
    #[error(
        "the message has no encoding attribute, so it is unknown which bytes TitanX signed: the \
         receiver did not send it"
    )]
    NoEncoding,
    #[error(
        "this version of the operator does not know the encoding {0:?}: use the version that \
         belongs to the deployed receiver"
    )]
    UnknownEncoding(String),
    #[error("the message is not Base64, although its encoding attribute says so")]
    NotBase64,
    #[error("the message is not gzip, although its encoding attribute says so")]
    NotGzip,
}

/// A message in the quarantine queue.
#[derive(Serialize)]
struct QuarantinedMessage {
    /// The message id.
    id: String,
    reason: String,
    delivery_id: Option<String>,
    /// When the receiver sent the message, in Unix milliseconds.
    since: Option<i64>,
    /// The size of the body, if it can be decoded.
    bytes: Option<usize>,
    #[serde(skip)]
    body: Result<Vec<u8>, UnreadableBody>,
    #[serde(skip)]
    receipt_handle: String,
}

impl Quarantine {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        match self.action {
            Action::List(action) => action.run(screen).await,
            Action::Show(action) => action.run(screen).await,
            Action::Redrive(action) => action.run(screen).await,
        }
    }
}

impl List {
    async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let stack = self.stack.connect().await?;
        let queue = QuarantineQueue::open(&stack, screen).await?;
        let messages = queue.receive_all().await?;
        queue.make_visible(&messages).await;
        screen.result(&messages, || {
            let rows = messages.iter().map(|it| {
                [
                    it.id.clone(),
                    it.reason.clone(),
                    it.since.map_or_else(|| "-".to_owned(), format_time),
                    it.bytes.map_or_else(|| "-".to_owned(), |it| it.to_string()),
                    it.delivery_id.clone().unwrap_or_else(|| "-".to_owned()),
                ]
            });
            table(["ID", "REASON", "QUARANTINED", "BYTES", "DELIVERY"], rows);
        })?;
        Ok(CommandStatus::Success)
    }
}

impl Show {
    async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let stack = self.stack.connect().await?;
        let queue = QuarantineQueue::open(&stack, screen).await?;
        let messages = queue.receive_all().await?;
        queue.make_visible(&messages).await;
        let message = messages.iter().find(|it| it.id == self.id);
        let message = message
            .with_context(|| format!("the message {} is not in the quarantine queue", self.id))?;
        let body = message.body.as_deref();
        let revealed = body.ok().filter(|_| self.reveal);
        let details = MessageDetails {
            message,
            form: body
                .ok()
                .and_then(|body| serde_json::from_slice(body).ok())
                .map(|body| form(&body)),
            body: revealed.map(|body| String::from_utf8_lossy(body).into_owned()),
            error: body.err().map(ToString::to_string),
        };
        screen.result(&details, || details.print())?;
        Ok(CommandStatus::Success)
    }
}

#[derive(Serialize)]
struct MessageDetails<'a> {
    #[serde(flatten)]
    message: &'a QuarantinedMessage,
    /// The members of the body with the types of their values, if the body is JSON.
    form: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Why the body cannot be read from the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl MessageDetails<'_> {
    fn print(&self) {
        let QuarantinedMessage {
            id,
            reason,
            delivery_id,
            since,
            bytes,
            ..
        } = self.message;
        let delivery_id = delivery_id.as_deref().unwrap_or("-");
        let since = since.map_or_else(|| "-".to_owned(), format_time);
        print_line!("id           {id}");
        print_line!("reason       {reason}");
        print_line!("delivery     {delivery_id}");
        print_line!("quarantined  {since}");
        let bytes = bytes.map_or_else(|| "-".to_owned(), |it| it.to_string());
        print_line!("bytes        {bytes}");
        match (&self.error, &self.body, &self.form) {
            (Some(error), ..) => print_line!("\n{error}"),
            (None, Some(body), _) => print_line!("\n{body}"),
            (None, None, Some(form)) => print_line!("\n{form:#}"),
            (None, None, None) => print_line!("\nthe body is not JSON"),
        }
    }
}

/// A body with each value replaced by its type. Three members of the envelope keep their values,
/// which are not personal data.
fn form(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    const SHOWN: [&str; 3] = ["eventType", "apiVersion", "timestamp"];
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| {
                    let scalar = value.is_string() || value.is_number();
                    let shown = SHOWN.contains(&name.as_str()) && scalar;
                    (
                        name.clone(),
                        if shown { value.clone() } else { types(value) },
                    )
                })
                .collect(),
        ),
        other => types(other),
    }
}

/// A JSON value with each scalar replaced by its type.
fn types(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(text) => format!("string of {}", text.chars().count()).into(),
        Value::Array(items) => items.iter().map(types).collect(),
        Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, value)| (name.clone(), types(value)))
                .collect()
        }
    }
}

/// The result of redriving one message.
#[derive(Serialize)]
struct RedriveResult {
    /// The message id.
    id: String,
    /// The receiver's status code, if there was a response.
    status: Option<u16>,
    /// Whether the delivery was sent to the receiver.
    #[serde(skip)]
    sent: bool,
    /// Why the receiver had quarantined the delivery.
    reason: String,
    /// Whether the receiver quarantined the delivery again.
    quarantined_again: bool,
    /// Whether the message was deleted from the queue.
    removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Redrive {
    async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let secret = self.secret.signing_secret(&self.stack).await?;
        let stack = self.stack.connect().await?;
        let url = stack.url().await?;
        require_secure(&url)?;
        let queue = QuarantineQueue::open(&stack, screen).await?;
        let (selected, others): (Vec<_>, Vec<_>) = queue
            .receive_all()
            .await?
            .into_iter()
            .partition(|it| self.all || self.ids.contains(&it.id));
        queue.make_visible(&others).await;
        let is_absent = |id: &&String| !selected.iter().any(|it| it.id == **id);
        let absent: Vec<_> = self.ids.iter().filter(is_absent).cloned().collect();
        let bar = screen.progress("redriving", selected.len() as u64);
        let http = HttpClient::new()?;
        let mut results = Vec::new();
        for message in &selected {
            results.push(queue.redrive(&http, &url, &secret, message).await);
            bar.inc(1);
        }
        bar.finish_and_clear();
        screen.result(&results, || results.iter().for_each(RedriveResult::print))?;
        if !absent.is_empty() {
            bail!(
                "not in the quarantine queue: {}; `operator quarantine list` shows the message ids",
                absent.join(", ")
            );
        }
        let kept = results.iter().filter(|it| !it.removed).count();
        if kept > 0 {
            let kept = match kept {
                1 => "1 message is".to_owned(),
                more => format!("{more} messages are"),
            };
            bail!("{kept} still in the quarantine queue: run this command again");
        }
        Ok(CommandStatus::action_needed_if(
            results.iter().any(|it| it.quarantined_again),
        ))
    }
}

impl RedriveResult {
    fn print(&self) {
        let Self { id, error, .. } = self;
        let status = match self.status {
            Some(status) => status.to_string(),
            None if self.sent => "no response".to_owned(),
            None => "not sent".to_owned(),
        };
        let result = match (self.quarantined_again, self.removed) {
            (false, true) => styled(GOOD, "received"),
            (true, _) => {
                let again = styled(NOTICE, "quarantined again");
                format!("{again}: {}", why_again(&self.reason))
            }
            (false, false) => styled(BAD, "kept in quarantine"),
        };
        let error = error
            .as_ref()
            .map_or_else(String::new, |error| format!(" ({error})"));
        print_line!("{id}  {status}  {result}{error}");
    }
}

/// Why a delivery that was quarantined for `reason` is quarantined again, and what would help.
fn why_again(reason: &str) -> &'static str {
    if reason == Reason::TooLarge.as_str() {
        "it is larger than the contacts queue takes; raise the queue's maximum message size if it is \
         less than 1 MiB, else take the contact from `operator quarantine show --reveal`"
    } else if reason == Reason::Stale.as_str() {
        "its timestamp is too old to rule out a replay; check the job with `operator reconcile`"
    } else if reason == Reason::IdReused.as_str() {
        "another event has its delivery id; redrive it after the other event's record expired"
    } else {
        "the receiver does not understand it; deploy a fixed version first"
    }
}

/// The quarantine queue.
struct QuarantineQueue {
    client: Client,
    url: String,
    screen: Screen,
}

impl QuarantineQueue {
    async fn open(stack: &Stack<'_>, screen: Screen) -> anyhow::Result<Self> {
        Ok(Self {
            client: stack.sqs(),
            url: stack.quarantine_queue_url().await?,
            screen,
        })
    }

    /// Receives all visible messages. They stay in flight for [`VISIBILITY_TIMEOUT_S`]. If this fails, they are made
    /// visible again.
    async fn receive_all(&self) -> anyhow::Result<Vec<QuarantinedMessage>> {
        let mut all: HashMap<String, QuarantinedMessage> = HashMap::new();
        let received = self.receive_into(&mut all).await;
        let mut all: Vec<_> = all.into_values().collect();
        if received.is_err() {
            self.make_visible(&all).await;
        }
        all.sort_by(|a, b| a.since.cmp(&b.since).then(a.id.cmp(&b.id)));
        received.map(|()| all)
    }

    /// Receives messages until no new one comes.
    async fn receive_into(
        &self,
        all: &mut HashMap<String, QuarantinedMessage>,
    ) -> anyhow::Result<()> {
        loop {
            let received = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(BATCH_SIZE)
                .visibility_timeout(VISIBILITY_TIMEOUT_S)
                // Long polling queries all of SQS's servers.
                .wait_time_seconds(1)
                .message_attribute_names("All")
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .send()
                .await
                .with_context(|| format!("cannot receive messages from the queue {}", self.url))?;
            let messages = received.messages();
            let seen = all.len();
            all.extend(
                messages
                    .iter()
                    .filter_map(QuarantinedMessage::read)
                    .map(|it| (it.id.clone(), it)),
            );
            // No new message: the queue is empty, or earlier messages became visible again.
            if all.len() == seen {
                return Ok(());
            }
        }
    }

    /// Makes the messages visible again. If that fails, the visibility timeout does the same later, but no command shows
    /// them until then.
    async fn make_visible(&self, messages: &[QuarantinedMessage]) {
        let is_over = ChangeMessageVisibilityError::is_message_not_inflight;
        for message in messages {
            let change = self.client.change_message_visibility();
            let change = change.queue_url(&self.url).visibility_timeout(0);
            let change = change.receipt_handle(&message.receipt_handle);
            if let Err(error) = change.send().await
                && !error.as_service_error().is_some_and(is_over)
            {
                self.screen.warn(format_args!(
                    "message {} stays hidden from all commands for {VISIBILITY_TIMEOUT_S} s: {}",
                    message.id,
                    PlainError(&error)
                ));
            }
        }
    }

    /// Posts a delivery as TitanX does, and deletes the message after a 2xx.
    async fn redrive(
        &self,
        http: &HttpClient,
        url: &str,
        secret: &str,
        message: &QuarantinedMessage,
    ) -> RedriveResult {
        let mut result = RedriveResult {
            id: message.id.clone(),
            status: None,
            sent: message.body.is_ok(),
            reason: message.reason.clone(),
            quarantined_again: false,
            removed: false,
            error: None,
        };
        let body = match &message.body {
            Ok(body) => body,
            Err(error) => {
                result.error = Some(error.to_string());
                self.make_visible(std::slice::from_ref(message)).await;
                return result;
            }
        };
        let signature = sign(secret, body);
        let headers = [
            ("content-type", "application/json"),
            (SIGNATURE_HEADER, signature.as_str()),
        ];
        match http.call("POST", url, &headers, body.clone()).await {
            Err(error) => result.error = Some(PlainError(&error).to_string()),
            Ok(response) => {
                result.status = Some(response.status);
                if (200..300).contains(&response.status) {
                    result.quarantined_again = is_quarantined(&response.body);
                    let deleted = self.delete(message).await;
                    result.removed = deleted.is_ok();
                    result.error = deleted.err();
                }
            }
        }
        if !result.removed {
            self.make_visible(std::slice::from_ref(message)).await;
        }
        result
    }

    async fn delete(&self, message: &QuarantinedMessage) -> Result<(), String> {
        let delete = self.client.delete_message().queue_url(&self.url);
        let delete = delete.receipt_handle(&message.receipt_handle).send().await;
        delete
            .map(|_| ())
            .map_err(|error| PlainError(&error).to_string())
    }
}

/// Whether the receiver's answer says that it quarantined the delivery.
fn is_quarantined(body: &[u8]) -> bool {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    answer["quarantined"] == true
}

impl QuarantinedMessage {
    fn read(message: &Message) -> Option<Self> {
        let attribute = |name: &str| {
            let attributes = message.message_attributes()?;
            Some(attributes.get(name)?.string_value()?.to_owned())
        };
        let sent = message.attributes().and_then(|it| {
            let sent = it.get(&MessageSystemAttributeName::SentTimestamp)?;
            sent.parse().ok()
        });
        let text = message.body().unwrap_or_default();
        let body = decode(text, attribute("encoding").as_deref());
        Some(Self {
            id: message.message_id()?.to_owned(),
            reason: attribute("reason").unwrap_or_else(|| "unknown".to_owned()),
            delivery_id: attribute("deliveryId"),
            since: sent,
            bytes: body.as_ref().ok().map(Vec::len),
            body,
            receipt_handle: message.receipt_handle()?.to_owned(),
        })
    }
}

/// The bytes that TitanX signed, from a message in this encoding. Nothing is guessed: other bytes would
/// be another delivery.
fn decode(text: &str, encoding: Option<&str>) -> Result<Vec<u8>, UnreadableBody> {
    let from_base64 = || {
        let decoded = BASE64_STANDARD.decode(text);
        decoded.map_err(|_| UnreadableBody::NotBase64)
    };
    match encoding {
        Some("text") => Ok(text.as_bytes().to_vec()),
        Some("base64") => from_base64(),
        Some("empty") => Ok(Vec::new()),
        Some("gzip-base64") => {
            let mut bytes = Vec::new();
            let read = MultiGzDecoder::new(&from_base64()?[..]).read_to_end(&mut bytes);
            read.map(|_| bytes).map_err(|_| UnreadableBody::NotGzip)
        }
        Some(unknown) => Err(UnreadableBody::UnknownEncoding(unknown.to_owned())),
        None => Err(UnreadableBody::NoEncoding),
    }
}
