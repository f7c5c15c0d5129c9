//! The table of checks: everything that a round has to remember. It holds digests and counts, and
//! nothing personal.
//!
//! | item (`check_id`) | what it holds |
//! |---|---|
//! | `round` | the step, when the round began, who works on it until when, and when TitanX's rate limit resets |
//! | `jobs` | the jobs of the round |
//! | `job#<job id>` | how far the check of a job is |
//! | `keys#<job id>#<n>`, `missing#<job id>#<n>` | the keys of its contacts, and what recognises the missing ones |

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    primitives::Blob,
    types::AttributeValue,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use titanx_receiver::budget::now_ms;
use uuid::Uuid;

use crate::error::Error;

/// The table's key attribute.
pub const CHECK_ID: &str = "check_id";
/// When an item expires, in Unix seconds: the table's TTL attribute.
pub const EXPIRATION: &str = "expiration";

/// A round takes days at most.
const RETENTION: Duration = Duration::from_hours(14 * 24);
const ROUND: &str = "round";
const JSON: &str = "json";
const BYTES: &str = "bytes";
const OWNER: &str = "owner";
const LEASE_ENDS: &str = "lease_ends";
const NOT_BEFORE: &str = "not_before";

type Item = HashMap<String, AttributeValue>;

/// Where a round is remembered.
#[derive(Debug)]
pub enum Checks {
    /// In a table, so that any run can continue it.
    Table {
        /// The client.
        client: Client,
        /// The table's name.
        table: String,
    },
    /// In this process alone.
    Memory(Mutex<BTreeMap<String, Item>>),
}

/// The step that a round is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    Find,
    List,
    Compare,
    Backfill,
    Done,
}

/// A round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Round {
    /// A random id, with which the round takes its jobs. It is not the run's: a run that fails or meets TitanX's
    /// limit leaves leases behind, and the next one has to go on with these jobs, not to find them held.
    #[serde(default = "random_id")]
    pub(crate) id: String,
    pub(crate) step: Step,
    /// Unix milliseconds.
    pub(crate) began_at: i64,
    /// Whether jobs were left for the next round.
    pub(crate) more: bool,
}

impl Round {
    /// A round that begins now at this step.
    pub(crate) fn begin(step: Step) -> Self {
        Self {
            id: random_id(),
            step,
            began_at: now_ms(),
            more: false,
        }
    }
}

/// A name for what takes a lease.
pub(crate) fn random_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The round as it is stored, with the lease on it.
#[derive(Debug)]
pub(crate) struct StoredRound {
    pub(crate) round: Option<Round>,
    pub(crate) lease_ends: i64,
    pub(crate) not_before: i64,
}

impl Checks {
    /// In this process alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    pub(crate) async fn round(&self) -> Result<StoredRound, Error> {
        let item = self.get(ROUND).await?.unwrap_or_default();
        let number = |name: &str| item.get(name)?.as_n().ok()?.parse().ok();
        Ok(StoredRound {
            round: json(ROUND, &item)?,
            lease_ends: number(LEASE_ENDS).unwrap_or(0),
            not_before: number(NOT_BEFORE).unwrap_or(0),
        })
    }

    /// Takes the round until `lease_ends`, unless somebody else has it at `now` (both Unix
    /// milliseconds).
    pub(crate) async fn take_round(
        &self,
        owner: &str,
        now: i64,
        lease_ends: i64,
    ) -> Result<bool, Error> {
        let values = [
            (OWNER, AttributeValue::S(owner.to_owned())),
            (LEASE_ENDS, number(lease_ends)),
            (EXPIRATION, expiration()),
        ];
        let condition = Condition {
            expression: "attribute_not_exists(lease_ends) OR lease_ends < :now",
            name: ":now",
            value: number(now),
            holds: &|item| {
                let ends = item.get(LEASE_ENDS).and_then(|it| it.as_n().ok());
                ends.is_none_or(|ends| ends.parse().is_ok_and(|ends: i64| ends < now))
            },
        };
        self.update_round(&values, condition).await
    }

    /// Stores the round, which `owner` has taken.
    pub(crate) async fn save_round(
        &self,
        owner: &str,
        round: &Round,
        not_before: i64,
    ) -> Result<(), Error> {
        let values = [
            (JSON, text(round)),
            (NOT_BEFORE, number(not_before)),
            (EXPIRATION, expiration()),
        ];
        self.update_own_round(owner, &values).await
    }

    /// Ends the lease of `owner`, so that the next run need not wait for it.
    pub(crate) async fn release_round(&self, owner: &str) -> Result<(), Error> {
        self.update_own_round(owner, &[(LEASE_ENDS, number(0))])
            .await
    }

    async fn update_own_round(
        &self,
        owner: &str,
        values: &[(&'static str, AttributeValue)],
    ) -> Result<(), Error> {
        let us = AttributeValue::S(owner.to_owned());
        let condition = Condition {
            expression: "#owner = :us",
            name: ":us",
            value: us.clone(),
            holds: &|item| item.get(OWNER) == Some(&us),
        };
        let updated = self.update_round(values, condition).await?;
        if updated {
            Ok(())
        } else {
            Err(Error::RoundLost)
        }
    }

    async fn update_round(
        &self,
        values: &[(&'static str, AttributeValue)],
        condition: Condition<'_>,
    ) -> Result<bool, Error> {
        let (client, table) = match self {
            Self::Table { client, table } => (client, table),
            Self::Memory(items) => {
                let mut items = lock(items);
                let item = items.entry(ROUND.to_owned()).or_default();
                let holds = (condition.holds)(item);
                if holds {
                    let values = values.iter().cloned();
                    item.extend(values.map(|(name, value)| (name.to_owned(), value)));
                }
                return Ok(holds);
            }
        };
        let mut update = client.update_item().table_name(table);
        update = update.key(CHECK_ID, AttributeValue::S(ROUND.to_owned()));
        update = update.condition_expression(condition.expression);
        update = update.expression_attribute_values(condition.name, condition.value);
        if condition.expression.contains("#owner") {
            update = update.expression_attribute_names("#owner", OWNER);
        }
        let (update, set) = setting(update, values.iter().cloned());
        match update.update_expression(set).send().await {
            Ok(_) => Ok(true),
            Err(error) if condition_failed(&error) => Ok(false),
            Err(error) => Err(Error::checks(error)),
        }
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>, Error> {
        match self.get(id).await? {
            Some(item) => json(id, &item),
            None => Ok(None),
        }
    }

    pub(crate) async fn write(&self, id: &str, value: &impl Serialize) -> Result<(), Error> {
        self.put(id, JSON, text(value)).await
    }

    pub(crate) async fn read_bytes(&self, id: &str) -> Result<Vec<u8>, Error> {
        let bytes = self.get(id).await?.and_then(|mut item| item.remove(BYTES));
        match bytes {
            Some(AttributeValue::B(bytes)) => Ok(bytes.into_inner()),
            _ => Err(Error::UnknownItem(id.to_owned())),
        }
    }

    pub(crate) async fn write_bytes(&self, id: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let bytes = AttributeValue::B(Blob::new(bytes));
        self.put(id, BYTES, bytes).await
    }

    async fn get(&self, id: &str) -> Result<Option<Item>, Error> {
        let (client, table) = match self {
            Self::Table { client, table } => (client, table),
            Self::Memory(items) => return Ok(lock(items).get(id).cloned()),
        };
        let get = client.get_item().table_name(table).consistent_read(true);
        let get = get.key(CHECK_ID, AttributeValue::S(id.to_owned()));
        let got = get.send().await.map_err(Error::checks)?;
        Ok(got.item)
    }

    async fn put(&self, id: &str, name: &str, value: AttributeValue) -> Result<(), Error> {
        let item = Item::from([
            (CHECK_ID.to_owned(), AttributeValue::S(id.to_owned())),
            (name.to_owned(), value),
            (EXPIRATION.to_owned(), expiration()),
        ]);
        match self {
            Self::Table { client, table } => {
                let put = client.put_item().table_name(table).set_item(Some(item));
                put.send().await.map_err(Error::checks)?;
            }
            Self::Memory(items) => {
                lock(items).insert(id.to_owned(), item);
            }
        }
        Ok(())
    }
}

/// A condition of an update, in both forms.
struct Condition<'a> {
    expression: &'static str,
    name: &'static str,
    value: AttributeValue,
    holds: &'a (dyn Fn(&Item) -> bool + Sync),
}

/// Adds names and values to an update, and returns it with its expression, `SET ...`.
pub(crate) fn setting(
    mut update: UpdateItemFluentBuilder,
    values: impl IntoIterator<Item = (&'static str, AttributeValue)>,
) -> (UpdateItemFluentBuilder, String) {
    let mut set = Vec::new();
    for (name, value) in values {
        set.push(format!("#{name} = :{name}"));
        update = update
            .expression_attribute_names(format!("#{name}"), name)
            .expression_attribute_values(format!(":{name}"), value);
    }
    (update, format!("SET {}", set.join(", ")))
}

fn json<T: DeserializeOwned>(id: &str, item: &Item) -> Result<Option<T>, Error> {
    let Some(json) = item.get(JSON).and_then(|it| it.as_s().ok()) else {
        return Ok(None);
    };
    let read = serde_json::from_str(json);
    read.map(Some)
        .map_err(|_| Error::UnknownItem(id.to_owned()))
}

fn text(value: &impl Serialize) -> AttributeValue {
    let json = serde_json::to_string(value);
    AttributeValue::S(json.expect("no map with other keys than texts is stored"))
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn expiration() -> AttributeValue {
    number(now_ms() / 1000 + i64::try_from(RETENTION.as_secs()).unwrap_or(i64::MAX))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn condition_failed(error: &SdkError<UpdateItemError>) -> bool {
    let error = error.as_service_error();
    error.is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn in_memory_too_a_round_is_held_until_its_lease_is_over() {
        let checks = Checks::in_memory();
        for (owner, now, taken) in [
            ("a", 1, true),
            ("b", 9, false),
            ("b", 10, false),
            ("b", 11, true),
        ] {
            let result = checks.take_round(owner, now, now + 9).await;
            assert_eq!(result.unwrap(), taken, "{owner} {now}");
        }
    }
}
