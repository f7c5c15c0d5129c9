//! The records of checks in the jobs table: which jobs are due, who checks one, and the results.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use titanx_receiver::jobs::{COMPLETED_AT, JOB_ID};
use titanx_reconcile::JobId;

use crate::{
    checks::{condition_failed, setting},
    error::Error,
    report::{JobResult, State},
    settings::{Settings, ms},
};

/// The [`State`] of the job's contacts.
pub const STATE: &str = "state";
/// Why the state is not `complete`.
pub const STATE_REASON: &str = "state_reason";
/// Contacts in TitanX's list.
pub const CONTACTS_AT_TITANX: &str = "contacts_at_titanx";
/// Contacts that TitanX has delivered.
pub const RECEIVED: &str = "received";
/// Contacts that a backfill has queued.
pub const BACKFILLED: &str = "backfilled";
/// Contacts that TitanX has not scored.
pub const UNSCORED: &str = "unscored";
/// Scored contacts that were neither received nor queued.
pub const MISSING: &str = "missing";
/// When the job was checked, in Unix milliseconds.
pub const CHECKED_AT: &str = "checked_at";
/// Who works on the job's contacts.
pub const CHECKED_BY: &str = "checked_by";
/// When that ends at the latest, in Unix milliseconds.
pub const CHECK_ENDS: &str = "check_ends";

/// How long a job may be tried again that could not be checked or is incomplete.
const RETRIED_FOR: Duration = Duration::from_hours(5 * 24);

/// The jobs table.
#[derive(Debug, Clone)]
pub struct JobRecords {
    /// The client.
    pub client: Client,
    /// The table's name.
    pub table: String,
}

/// What a job's record tells of its check.
#[derive(Debug, Clone)]
pub struct JobRecord {
    /// The job's id, as TitanX wrote it.
    pub job_id: String,
    /// When it was completed, in Unix milliseconds.
    pub completed_at: Option<i64>,
    state: Option<State>,
    checked_at: Option<i64>,
}

/// The result of taking a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The job may be worked on.
    Taken,
    /// Somebody else works on it.
    Held {
        /// Until this time at the latest, in Unix milliseconds.
        until: i64,
    },
    /// The job is in no record.
    NoRecord,
}

type Item = HashMap<String, AttributeValue>;

impl JobRecord {
    fn read(item: &Item) -> Option<Self> {
        let text = |name: &str| item.get(name)?.as_s().ok();
        Some(Self {
            job_id: text(JOB_ID)?.clone(),
            completed_at: number(item, COMPLETED_AT),
            state: text(STATE).and_then(|name| State::named(name)),
            checked_at: number(item, CHECKED_AT),
        })
    }

    /// Whether the job is to be checked at `now` (Unix milliseconds).
    pub(crate) fn is_due(&self, now: i64, settings: &Settings) -> bool {
        let ago = |duration| now.saturating_sub(ms(duration));
        let Some(completed_at) = self.completed_at else {
            return false;
        };
        let is_of_age = (ago(settings.retention)..=ago(settings.delay)).contains(&completed_at);
        is_of_age
            && match (self.checked_at, self.state) {
                (None, _) => true,
                // It was completed again.
                (Some(checked_at), _) if checked_at < completed_at => true,
                (Some(_), None | Some(State::Complete)) => false,
                (Some(checked_at), Some(_)) => {
                    completed_at >= ago(RETRIED_FOR) && checked_at < ago(settings.round / 2)
                }
            }
    }
}

impl JobRecords {
    /// Calls `each` for every job.
    ///
    /// # Errors
    ///
    /// [`Error::Jobs`]
    pub async fn for_each(&self, mut each: impl FnMut(JobRecord)) -> Result<(), Error> {
        let scan = self.client.scan().table_name(&self.table);
        let scan = scan
            .projection_expression("job_id, completed_at, checked_at, #state")
            .expression_attribute_names("#state", STATE);
        let mut pages = scan.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(Error::jobs)?;
            page.items()
                .iter()
                .filter_map(JobRecord::read)
                .for_each(&mut each);
        }
        Ok(())
    }

    /// Takes a job, so that nobody else works on its contacts: from `now` until `ends` (both Unix
    /// milliseconds). A healer also sets its `state` to `waiting`.
    ///
    /// # Errors
    ///
    /// [`Error::Jobs`]
    pub async fn take(
        &self,
        job: &JobId,
        owner: &str,
        (now, ends): (i64, i64),
        state: Option<State>,
    ) -> Result<Taken, Error> {
        let set_state = state.map_or("", |_| ", #state = :state");
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(JOB_ID, AttributeValue::S(job.as_str().to_owned()))
            .update_expression(format!(
                "SET checked_by = :owner, check_ends = :ends{set_state}"
            ))
            .condition_expression(
                "attribute_exists(job_id) AND (attribute_not_exists(check_ends) \
                 OR check_ends < :now OR checked_by = :owner)",
            )
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
            .expression_attribute_values(":ends", AttributeValue::N(ends.to_string()))
            .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(state) = state {
            let state = AttributeValue::S(state.as_str().to_owned());
            update = update.expression_attribute_names("#state", STATE);
            update = update.expression_attribute_values(":state", state);
        }
        let Err(error) = update.send().await else {
            return Ok(Taken::Taken);
        };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                Ok(match failed.item() {
                    Some(item) if item.contains_key(JOB_ID) => Taken::Held {
                        until: number(item, CHECK_ENDS).unwrap_or(ends),
                    },
                    _ => Taken::NoRecord,
                })
            }
            _ => Err(Error::jobs(error)),
        }
    }

    /// Gives up a job that `owner` has taken.
    ///
    /// # Errors
    ///
    /// [`Error::Jobs`]
    pub async fn release(&self, job: &JobId, owner: &str) -> Result<(), Error> {
        let update = self.client.update_item().table_name(&self.table);
        let update = update
            .key(JOB_ID, AttributeValue::S(job.as_str().to_owned()))
            .update_expression("REMOVE checked_by, check_ends")
            .condition_expression("checked_by = :owner")
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()));
        match update.send().await {
            Err(error) if !condition_failed(&error) => Err(Error::jobs(error)),
            _ => Ok(()),
        }
    }

    /// Writes the result of a check at `now`, and gives the job up. Returns whether it was written: if
    /// the job was completed again since `completed_at`, or `owner` has it no more, it is not.
    pub(crate) async fn write(
        &self,
        job: &JobId,
        owner: &str,
        completed_at: i64,
        now: i64,
        result: &JobResult,
    ) -> Result<bool, Error> {
        let count = |count: u64| AttributeValue::N(count.to_string());
        let update = self.client.update_item().table_name(&self.table);
        let update = update
            .key(JOB_ID, AttributeValue::S(job.as_str().to_owned()))
            .condition_expression("checked_by = :owner AND completed_at = :completed_at")
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
            .expression_attribute_values(
                ":completed_at",
                AttributeValue::N(completed_at.to_string()),
            );
        let mut values = vec![
            (STATE, AttributeValue::S(result.state.as_str().to_owned())),
            (CHECKED_AT, AttributeValue::N(now.to_string())),
            (CONTACTS_AT_TITANX, count(result.contacts_at_titanx)),
            (RECEIVED, count(result.received)),
            (BACKFILLED, count(result.backfilled)),
            (UNSCORED, count(result.unscored)),
            (MISSING, count(result.missing)),
        ];
        let reason = result.reason.clone().map(AttributeValue::S);
        let no_reason = reason.is_none();
        values.extend(reason.map(|reason| (STATE_REASON, reason)));
        let (update, set) = setting(update, values);
        let removed = if no_reason { ", state_reason" } else { "" };
        let expression = format!("{set} REMOVE checked_by, check_ends{removed}");
        match update.update_expression(expression).send().await {
            Ok(_) => Ok(true),
            Err(error) if condition_failed(&error) => Ok(false),
            Err(error) => Err(Error::jobs(error)),
        }
    }
}

fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOW: i64 = 1_000 * HOUR;

    fn is_due(completed: i64, checked: Option<i64>, state: Option<State>) -> bool {
        let record = JobRecord {
            job_id: "job-1".to_owned(),
            completed_at: Some(NOW - completed),
            state,
            checked_at: checked.map(|ago| NOW - ago),
        };
        record.is_due(NOW, &Settings::new(Duration::from_hours(7 * 24)))
    }

    #[test]
    fn a_job_is_due_between_the_delay_and_the_retention() {
        assert!(is_due(73 * HOUR, None, None));
        assert!(!is_due(73 * HOUR - 1, None, None));
        assert!(is_due(168 * HOUR, None, Some(State::Waiting)));
        assert!(!is_due(168 * HOUR + 1, None, None));
        let unknown = JobRecord {
            job_id: "job-1".to_owned(),
            completed_at: None,
            state: None,
            checked_at: None,
        };
        assert!(!unknown.is_due(NOW, &Settings::new(Duration::from_hours(168))));
    }

    #[test]
    fn a_checked_job_is_due_if_it_was_completed_again() {
        let complete = Some(State::Complete);
        assert!(!is_due(80 * HOUR, Some(5 * HOUR), complete));
        assert!(!is_due(80 * HOUR, Some(80 * HOUR), complete));
        assert!(is_due(80 * HOUR, Some(80 * HOUR + 1), complete));
    }

    #[test]
    fn what_is_not_complete_is_tried_again_in_another_round_until_it_is_five_days_old() {
        for state in [State::Incomplete, State::Unproven, State::Waiting] {
            assert!(!is_due(80 * HOUR, Some(12 * HOUR), Some(state)));
            assert!(is_due(80 * HOUR, Some(12 * HOUR + 1), Some(state)));
            assert!(is_due(120 * HOUR, Some(13 * HOUR), Some(state)));
            assert!(!is_due(120 * HOUR + 1, Some(13 * HOUR), Some(state)));
        }
        assert!(!is_due(80 * HOUR, Some(13 * HOUR), Some(State::Complete)));
    }
}
