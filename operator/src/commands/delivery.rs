//! `operator delivery`

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, bail};
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use clap::Args;
use serde::Serialize;
use titanx_receiver::{
    budget::now_ms,
    deliveries::{
        CLAIMED_BY, COMPLETED, CONTACT_KEYS, DELIVERY_ID, EXPIRATION, IN_PROGRESS,
        IN_PROGRESS_EXPIRATION, JOB_ID, STATUS,
    },
};

use crate::{
    commands::CommandStatus,
    screen::{GOOD, NOTICE, Screen, escape_control, format_time, styled},
    stack::{Stack, StackOptions},
};

/// Show the record of a delivery, and remove it
///
/// Tells whether the delivery is claimed or completed, who claimed it and until when, how long the
/// record is kept, and by which kinds of keys its contact is recognised.
///
/// The receiver needs no help with a claim whose lease is over: the next attempt takes it over.
/// --release removes such a claim. --forget removes the record of a completed delivery: if the
/// delivery comes again, its contact is queued again, under the same delivery id. Both need --yes.
/// Neither removes a claim that may still be worked on, or a record that changes meanwhile.
///
/// Exit status 0: shown or removed. 1: not removed. 3: --yes is missing.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator delivery --stack titanx-receiver 99999999-8888-4777-8666-555555555555
  operator delivery --stack titanx-receiver 99999999-8888-4777-8666-555555555555 --forget --yes")]
pub(crate) struct Delivery {
    /// Delivery id, as in the log (id) and in a message (deliveryId)
    id: String,
    /// Remove the record of a claim whose lease is over
    #[arg(long, group = "removal")]
    release: bool,
    /// Remove the record of a completed delivery
    #[arg(long, group = "removal")]
    forget: bool,
    /// Remove it. Without this option, only says what would be removed
    #[arg(long, requires = "removal")]
    yes: bool,
    #[command(flatten)]
    stack: StackOptions,
}

/// For how long a lease has to be over before its claim is released. An invocation is killed before its
/// lease ends, so this is for a clock of this machine that is fast.
const MARGIN: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Absent,
    /// Claimed, and the lease holds.
    InProgress,
    /// Claimed, and the lease is over.
    LeaseOver,
    Completed,
    /// No longer remembered, but not yet deleted.
    Expired,
    /// Not written by the receiver.
    Unknown,
}

/// What is told of a record. Times are Unix milliseconds.
#[derive(Serialize)]
struct Told {
    id: String,
    state: State,
    claimed_by: Option<String>,
    lease_ends_at: Option<i64>,
    /// When the claim or the completion mark was written, from the expiry and the retention.
    written_at: Option<i64>,
    expires_at: Option<i64>,
    job_id: Option<String>,
    /// The kinds of the keys, without their values.
    contact_keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<bool>,
}

impl Delivery {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let stack = self.stack.connect().await?;
        let records = Records::open(&stack).await?;
        let record = records.get(&self.id).await?;
        let now = now_ms();
        let mut told = Told::new(&self.id, record.as_ref(), stack.retention().await?, now);
        let Some(removal) = self.removal() else {
            screen.result(&told, || told.print(now))?;
            return Ok(CommandStatus::Success);
        };
        removal.check(&told, now)?;
        // Without a record, nothing is left to do.
        let Some(record) = record else {
            screen.result(&told, || told.print(now))?;
            return Ok(CommandStatus::Success);
        };
        if self.yes {
            records.remove(&record, removal, now).await?;
        }
        told.removed = Some(self.yes);
        screen.result(&told, || told.print_removal(removal, now))?;
        Ok(CommandStatus::action_needed_if(!self.yes))
    }

    fn removal(&self) -> Option<Removal> {
        let forget = self.forget.then_some(Removal::Forget);
        forget.or(self.release.then_some(Removal::Release))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    Release,
    Forget,
}

impl Removal {
    /// Whether a delivery in this state may be removed so. The condition of the write says the same again.
    fn check(self, told: &Told, now_ms: i64) -> anyhow::Result<()> {
        let id = &told.id;
        match (self, told.state) {
            (_, State::Absent) | (Self::Forget, State::Completed | State::Expired) => Ok(()),
            (Self::Release, State::Expired) if told.lease_ends_at.is_some() => Ok(()),
            (Self::Release, State::LeaseOver) => {
                let over_ms = now_ms - told.lease_ends_at.unwrap_or(now_ms);
                if over_ms < margin_ms() {
                    bail!(
                        "the lease of {id} has only just ended: try again in a minute, when that is \
                         certain even if the clock of this machine is fast"
                    );
                }
                Ok(())
            }
            (_, State::InProgress) => bail!(
                "an invocation works on {id}: its lease ends {}",
                told.lease_ends_at.map_or_else(String::new, format_time)
            ),
            (Self::Release, State::Completed) => {
                bail!("{id} is completed, so nothing holds it: --forget removes its record")
            }
            (Self::Forget, State::LeaseOver) => {
                bail!(
                    "{id} is not completed: the next attempt takes it over, and --release removes its claim"
                )
            }
            (_, State::Unknown) | (Self::Release, State::Expired) => bail!(
                "the record of {id} has an unknown form, so the receiver did not write it: look at it \
                 in DynamoDB"
            ),
        }
    }
}

type Item = HashMap<String, AttributeValue>;

/// The deliveries table.
struct Records {
    client: Client,
    table: String,
}

impl Records {
    async fn open(stack: &Stack<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            client: stack.dynamodb(),
            table: stack.deliveries_table().await?,
        })
    }

    async fn get(&self, id: &str) -> anyhow::Result<Option<Item>> {
        let get = self.client.get_item().table_name(&self.table);
        let get = get.key(DELIVERY_ID, AttributeValue::S(id.to_owned()));
        let got = get.consistent_read(true).send().await;
        let got = got.with_context(|| format!("cannot read the table {}", self.table))?;
        Ok(got.item)
    }

    /// Deletes the record if it is still the one that was read, and no lease holds. A claim changes
    /// `claimed_by`, and a completion mark the status.
    async fn remove(&self, record: &Item, removal: Removal, now_ms: i64) -> anyhow::Result<()> {
        let over = match removal {
            Removal::Release => format!(" AND {IN_PROGRESS_EXPIRATION} < :over"),
            Removal::Forget => String::new(),
        };
        let mut delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(DELIVERY_ID, record[DELIVERY_ID].clone())
            .condition_expression(format!(
                "#status = :status AND {CLAIMED_BY} = :claimed_by AND {EXPIRATION} = :expiration{over}"
            ))
            .expression_attribute_names("#status", STATUS);
        for (placeholder, name) in [
            (":status", STATUS),
            (":claimed_by", CLAIMED_BY),
            (":expiration", EXPIRATION),
        ] {
            let value = record.get(name).cloned();
            let value = value.with_context(|| {
                format!(
                    "the record has no {name}, so the receiver did not write it: look at it in DynamoDB"
                )
            })?;
            delete = delete.expression_attribute_values(placeholder, value);
        }
        if removal == Removal::Release {
            let over = AttributeValue::N((now_ms - margin_ms()).to_string());
            delete = delete.expression_attribute_values(":over", over);
        }
        match delete.send().await.map_err(aws_sdk_dynamodb::Error::from) {
            Err(aws_sdk_dynamodb::Error::ConditionalCheckFailedException(_)) => {
                bail!("the record has changed since it was read: run this command again to see it")
            }
            deleted => {
                deleted.with_context(|| format!("cannot delete from the table {}", self.table))?;
                Ok(())
            }
        }
    }
}

fn margin_ms() -> i64 {
    i64::try_from(MARGIN.as_millis()).unwrap_or(i64::MAX)
}

impl Told {
    fn new(id: &str, record: Option<&Item>, retention: Duration, now_ms: i64) -> Self {
        let text = |name: &str| record?.get(name)?.as_s().ok().cloned();
        let number = |name: &str| record?.get(name)?.as_n().ok()?.parse::<i64>().ok();
        let keys = record.and_then(|record| record.get(CONTACT_KEYS)?.as_ss().ok());
        let kinds = keys.into_iter().flatten();
        let kinds = kinds.filter_map(|key| Some(key.split_once(':')?.0.to_owned()));
        let expires_at = number(EXPIRATION).and_then(|seconds| seconds.checked_mul(1_000));
        let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let lease_ends_at = number(IN_PROGRESS_EXPIRATION);
        let mut contact_keys: Vec<_> = kinds.collect();
        contact_keys.sort_unstable();
        let state = match (text(STATUS).as_deref(), expires_at, lease_ends_at) {
            _ if record.is_none() => State::Absent,
            (_, Some(expires), _) if expires < now_ms => State::Expired,
            (Some(COMPLETED), _, _) => State::Completed,
            (Some(IN_PROGRESS), _, Some(ends)) if ends < now_ms => State::LeaseOver,
            (Some(IN_PROGRESS), _, Some(_)) => State::InProgress,
            _ => State::Unknown,
        };
        Self {
            id: id.to_owned(),
            state,
            claimed_by: text(CLAIMED_BY),
            lease_ends_at,
            written_at: expires_at.map(|expires| expires.saturating_sub(retention_ms)),
            expires_at,
            job_id: text(JOB_ID),
            contact_keys,
            removed: None,
        }
    }

    fn print(&self, now_ms: i64) {
        let (state, meaning) = self.words();
        let print = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                print_line!("{name:<11}{}", escape_control(&value));
            }
        };
        print("delivery", Some(self.id.clone()));
        print_line!("{:<11}{state}", "state");
        let has_lease = matches!(self.state, State::InProgress | State::LeaseOver);
        print("written", self.written_at.map(format_time));
        let lease = self.lease_ends_at.filter(|_| has_lease);
        let ends = |at: i64| format!("ends {}, {}", format_time(at), distance(at - now_ms));
        print("lease", lease.map(ends));
        print("claimed by", self.claimed_by.clone());
        print("kept until", self.expires_at.map(format_time));
        print("job", self.job_id.clone());
        let keys = self.contact_keys.join(", ");
        print("keys", Some(keys).filter(|keys| !keys.is_empty()));
        print_line!("");
        print_line!("{meaning}");
    }

    /// The state as a word, and what it means.
    fn words(&self) -> (String, &'static str) {
        let (style, word, meaning) = match self.state {
            State::Absent => (
                NOTICE,
                "no record",
                "The delivery never came, was released after a failure, or is forgotten.",
            ),
            State::InProgress => (
                NOTICE,
                "in progress",
                "An invocation works on it. Another attempt is answered 429, and TitanX retries.",
            ),
            State::LeaseOver => (
                NOTICE,
                "claimed, lease over",
                "The invocation died, or could not release it. The next attempt takes it over.",
            ),
            State::Completed => (
                GOOD,
                "completed",
                "The event is durable. If it comes again, it is answered 200 as a duplicate.",
            ),
            State::Expired => (
                NOTICE,
                "expired",
                "No longer counts, and DynamoDB will delete it within days.",
            ),
            State::Unknown => (
                NOTICE,
                "unknown form",
                "The receiver did not write this record, and answers the delivery 503.",
            ),
        };
        (styled(style, word), meaning)
    }

    fn print_removal(&self, removal: Removal, now_ms: i64) {
        self.print(now_ms);
        let (verb, done, effect) = match removal {
            Removal::Release => (
                "release",
                "released",
                "the next attempt claims it like a new one",
            ),
            Removal::Forget => (
                "forget",
                "forgot",
                "if it comes again, its contact is queued again",
            ),
        };
        if self.removed == Some(true) {
            print_line!("{} the delivery: {effect}", styled(GOOD, done));
        } else {
            let would = styled(NOTICE, "would");
            print_line!("{would} {verb} the delivery: {effect}");
            print_line!("re-run with --yes");
        }
    }
}

/// How far away a time is, in the largest unit that fits.
fn distance(ms: i64) -> String {
    let seconds = ms.unsigned_abs() / 1_000;
    let (count, unit) = match seconds {
        0..120 => (seconds, "seconds"),
        120..7_200 => (seconds / 60, "minutes"),
        7_200..172_800 => (seconds / 3_600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    if ms < 0 {
        format!("{count} {unit} ago")
    } else {
        format!("in {count} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_has_the_largest_unit_that_fits() {
        for (ms, expected) in [
            (0, "in 0 seconds"),
            (-1, "0 seconds ago"),
            (119_999, "in 119 seconds"),
            (120_000, "in 2 minutes"),
            (-7_199_999, "119 minutes ago"),
            (7_200_000, "in 2 hours"),
            (-172_799_999, "47 hours ago"),
            (172_800_000, "in 2 days"),
            (-604_800_000, "7 days ago"),
        ] {
            assert_eq!(distance(ms), expected);
        }
    }
}
