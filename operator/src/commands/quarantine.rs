//! `operator quarantine`

use std::collections::HashMap;

use anyhow::{Context, bail};
use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::{Args, Subcommand};
use serde::Serialize;
use titanx_receiver::{
    error::Chain,
    signature::{SIGNATURE_HEADER, sign},
};

use crate::{
    commands::Outcome,
    deployment::{Cloud, Deployment},
    http::{Http, private},
    screen::{BAD, GOOD, NOTICE, Screen, moment, styled, table},
    store::Place,
};

/// Look into the quarantine queue, and send what is in it through the receiver again
///
/// It holds deliveries that were signed, but not understood. Personal data is shown only by --reveal.
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

/// List what is in quarantine, and why
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator quarantine list --stack titanx-receiver
  operator quarantine list --stack titanx-receiver --json | jq -r '.[].reason' | sort | uniq -c")]
struct List {
    #[command(flatten)]
    deployment: Deployment,
}

/// Show one delivery in quarantine
///
/// Shows its form: the names of its members and the types of their values, but no value of the
/// payload unless --reveal is said.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator quarantine show --stack titanx-receiver 5fea7756-0ea4-451a-a703-a558b933e274
  operator quarantine show --stack titanx-receiver --reveal 5fea7756-0ea4-451a-a703-a558b933e274")]
struct Show {
    /// Id of the message, as `list` shows it
    id: String,
    /// Show the body as it was signed, personal data and all
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    deployment: Deployment,
}

/// Send deliveries in quarantine through the receiver again
///
/// Each is signed with the live secret and posted to the webhook's URL, and leaves the quarantine
/// queue only after the receiver answered 2xx. If it is still not understood, the receiver parks it
/// anew and the old message goes. Safe to run again.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator quarantine redrive --stack titanx-receiver 5fea7756-0ea4-451a-a703-a558b933e274
  operator quarantine redrive --stack titanx-receiver --all")]
struct Redrive {
    /// Ids of the messages, as `list` shows them
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,
    /// Send all that is there now
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    deployment: Deployment,
}

/// Seconds for which what is looked at is hidden from others who look.
const LOOK: i32 = 60;
/// What SQS hands out at once.
const BATCH: i32 = 10;

/// A message of the quarantine queue.
#[derive(Serialize)]
struct Parked {
    id: String,
    reason: String,
    delivery_id: Option<String>,
    /// Unix milliseconds.
    since: Option<i64>,
    bytes: usize,
    #[serde(skip)]
    body: Vec<u8>,
    #[serde(skip)]
    receipt: String,
}

impl Quarantine {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        match self.action {
            Action::List(it) => it.run(screen).await,
            Action::Show(it) => it.run(screen).await,
            Action::Redrive(it) => it.run(screen).await,
        }
    }
}

impl List {
    async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        let cloud = self.deployment.connect().await?;
        let queue = Looking::at(&cloud).await?;
        let parked = queue.all().await?;
        queue.give_back(&parked).await;
        screen.result(&parked, || {
            let rows = parked.iter().map(|it| {
                [
                    it.id.clone(),
                    it.reason.clone(),
                    it.since.map_or_else(|| "-".to_owned(), moment),
                    it.bytes.to_string(),
                    it.delivery_id.clone().unwrap_or_else(|| "-".to_owned()),
                ]
            });
            table(["ID", "REASON", "PARKED", "BYTES", "DELIVERY"], rows);
        })?;
        Ok(Outcome::Done)
    }
}

impl Show {
    async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        let cloud = self.deployment.connect().await?;
        let queue = Looking::at(&cloud).await?;
        let parked = queue.all().await?;
        queue.give_back(&parked).await;
        let found = parked.iter().find(|it| it.id == self.id);
        let found = found.with_context(|| format!("{} is not in quarantine now", self.id))?;
        let shown = Shown {
            parked: found,
            form: serde_json::from_slice(&found.body)
                .ok()
                .map(|body| form(&body)),
            body: self
                .reveal
                .then(|| String::from_utf8_lossy(&found.body).into_owned()),
        };
        screen.result(&shown, || shown.print())?;
        Ok(Outcome::Done)
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    parked: &'a Parked,
    /// The body's members with the types of their values; none when it is not JSON.
    form: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl Shown<'_> {
    fn print(&self) {
        let Parked {
            id,
            reason,
            delivery_id,
            since,
            bytes,
            ..
        } = self.parked;
        say!("id        {id}");
        say!("reason    {reason}");
        say!("delivery  {}", delivery_id.as_deref().unwrap_or("-"));
        say!("parked    {}", since.map_or_else(|| "-".to_owned(), moment));
        say!("bytes     {bytes}");
        match (&self.body, &self.form) {
            (Some(body), _) => say!("\n{body}"),
            (None, Some(form)) => say!("\n{form:#}"),
            (None, None) => say!("\nnot JSON"),
        }
    }
}

/// A JSON value without its data: names and types. The members of an envelope that say what it is
/// are no personal data, and are shown.
fn form(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    const SHOWN: [&str; 3] = ["eventType", "apiVersion", "timestamp"];
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| {
                    let plain = value.is_string() || value.is_number();
                    let shown = SHOWN.contains(&name.as_str()) && plain;
                    (
                        name.clone(),
                        if shown { value.clone() } else { nested(value) },
                    )
                })
                .collect(),
        ),
        other => nested(other),
    }
}

fn nested(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(text) => format!("string of {}", text.chars().count()).into(),
        Value::Array(items) => items.iter().map(nested).collect(),
        Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, value)| (name.clone(), nested(value)))
                .collect()
        }
    }
}

/// What became of a redriven delivery.
#[derive(Serialize)]
struct Redriven {
    id: String,
    /// The status code, if there was an answer.
    status: Option<u16>,
    /// Whether the receiver did not understand it again.
    quarantined_again: bool,
    /// Whether the message left the queue.
    removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Redrive {
    async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        let secret = self.place.signing_secret(&self.deployment).await?;
        let cloud = self.deployment.connect().await?;
        let url = cloud.url().await?;
        private(&url)?;
        let queue = Looking::at(&cloud).await?;
        let (chosen, others): (Vec<_>, Vec<_>) = queue
            .all()
            .await?
            .into_iter()
            .partition(|it| self.all || self.ids.contains(&it.id));
        queue.give_back(&others).await;
        let here = |id: &&String| !chosen.iter().any(|it| it.id == **id);
        let absent: Vec<_> = self.ids.iter().filter(here).cloned().collect();
        let bar = screen.progress("redriving", chosen.len() as u64);
        let http = Http::new();
        let mut redriven = Vec::new();
        for parked in &chosen {
            redriven.push(queue.redrive(&http, &url, &secret, parked).await);
            bar.inc(1);
        }
        bar.finish_and_clear();
        screen.result(&redriven, || redriven.iter().for_each(Redriven::print))?;
        if !absent.is_empty() {
            bail!("not in quarantine now: {}", absent.join(", "));
        }
        let kept = redriven.iter().filter(|it| !it.removed).count();
        if kept > 0 {
            bail!("{kept} stay in quarantine; run this command again");
        }
        Ok(Outcome::findings_if(
            redriven.iter().any(|it| it.quarantined_again),
        ))
    }
}

impl Redriven {
    fn print(&self) {
        let Self { id, error, .. } = self;
        let status = self
            .status
            .map_or_else(|| "no answer".to_owned(), |it| it.to_string());
        let became = match (self.quarantined_again, self.removed) {
            (false, true) => styled(GOOD, "received"),
            (true, _) => styled(NOTICE, "not understood again, parked anew"),
            (false, false) => styled(BAD, "kept"),
        };
        let why = error
            .as_ref()
            .map_or_else(String::new, |error| format!(" ({error})"));
        say!("{id}  {status}  {became}{why}");
    }
}

/// The quarantine queue, seen by somebody who looks and leaves all as it was.
struct Looking {
    client: Client,
    url: String,
}

impl Looking {
    async fn at(cloud: &Cloud<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            client: cloud.sqs(),
            url: cloud.quarantine_queue_url().await?,
        })
    }

    /// All that is there, hidden from others for a minute.
    async fn all(&self) -> anyhow::Result<Vec<Parked>> {
        let mut all: HashMap<String, Parked> = HashMap::new();
        loop {
            let received = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(BATCH)
                .visibility_timeout(LOOK)
                // Long enough that SQS asks all its servers.
                .wait_time_seconds(1)
                .message_attribute_names("All")
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .send()
                .await
                .with_context(|| format!("cannot read the queue {}", self.url))?;
            let messages = received.messages();
            let seen = all.len();
            all.extend(
                messages
                    .iter()
                    .filter_map(Parked::read)
                    .map(|it| (it.id.clone(), it)),
            );
            // Nothing new: it is empty, or the first ones come round again.
            if all.len() == seen {
                let mut all: Vec<_> = all.into_values().collect();
                all.sort_by(|a, b| a.since.cmp(&b.since).then(a.id.cmp(&b.id)));
                return Ok(all);
            }
        }
    }

    /// Lets others see the messages again at once. Best effort: in a minute they will anyway.
    async fn give_back(&self, parked: &[Parked]) {
        for it in parked {
            let _seen_later = self
                .client
                .change_message_visibility()
                .queue_url(&self.url)
                .receipt_handle(&it.receipt)
                .visibility_timeout(0)
                .send()
                .await;
        }
    }

    /// Posts a delivery as TitanX would, and removes it from the queue if it was received.
    async fn redrive(&self, http: &Http, url: &str, secret: &str, parked: &Parked) -> Redriven {
        let signature = sign(secret, &parked.body);
        let headers = [
            ("content-type", "application/json"),
            (SIGNATURE_HEADER, signature.as_str()),
        ];
        let mut redriven = Redriven {
            id: parked.id.clone(),
            status: None,
            quarantined_again: false,
            removed: false,
            error: None,
        };
        match http.call("POST", url, &headers, parked.body.clone()).await {
            Err(error) => redriven.error = Some(Chain(&error).to_string()),
            Ok(answer) => {
                redriven.status = Some(answer.status);
                if (200..300).contains(&answer.status) {
                    redriven.quarantined_again = says_quarantined(&answer.body);
                    let removed = self.remove(parked).await;
                    redriven.removed = removed.is_ok();
                    redriven.error = removed.err();
                }
            }
        }
        if !redriven.removed {
            self.give_back(std::slice::from_ref(parked)).await;
        }
        redriven
    }

    async fn remove(&self, parked: &Parked) -> Result<(), String> {
        let delete = self.client.delete_message().queue_url(&self.url);
        let delete = delete.receipt_handle(&parked.receipt).send().await;
        delete
            .map(|_| ())
            .map_err(|error| Chain(&error).to_string())
    }
}

fn says_quarantined(body: &[u8]) -> bool {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    answer["quarantined"] == true
}

impl Parked {
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
        let body = match attribute("encoding").as_deref() {
            Some("empty") => Vec::new(),
            Some("base64") => BASE64_STANDARD.decode(text).ok()?,
            _ => text.as_bytes().to_vec(),
        };
        Some(Self {
            id: message.message_id()?.to_owned(),
            reason: attribute("reason").unwrap_or_else(|| "unknown".to_owned()),
            delivery_id: attribute("deliveryId"),
            since: sent,
            bytes: body.len(),
            body,
            receipt: message.receipt_handle()?.to_owned(),
        })
    }
}
