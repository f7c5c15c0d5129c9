//! What the steps of a run share: its time, the round, and the check of each job.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_smithy_types::{DateTime, date_time::Format};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use titanx_client::{Completeness, Error as TitanxError, PagedList, TitanxClient, string_member};
use titanx_receiver::{budget::now_ms, intake::Intake};
use titanx_reconcile::{JobId, matching::MatchResult};
use tokio::time::{Instant, timeout_at};

use crate::{
    checks::Checks,
    error::Error,
    job_records::{JobRecords, Taken},
    report::{Event, JobResult, State},
    settings::{Settings, ms},
};

/// A healer.
#[derive(Debug)]
pub struct Healer {
    /// TitanX's API.
    pub titanx: TitanxClient,
    /// Makes the missing contacts durable.
    pub intake: Intake,
    /// The jobs table, and what is told there.
    pub jobs: JobRecords,
    /// The client that scans the deliveries table.
    pub dynamodb: Client,
    /// The name of the deliveries table.
    pub deliveries_table: String,
    /// Where a round is remembered.
    pub checks: Checks,
    /// The settings.
    pub settings: Settings,
}

/// One run of a healer.
pub(crate) struct Run<'a> {
    pub(crate) healer: &'a Healer,
    /// A random id, with which the run takes the round.
    pub(crate) owner: String,
    /// The round's id, with which it takes each job.
    pub(crate) round_id: String,
    pub(crate) time: RunTime,
    pub(crate) report: &'a (dyn Fn(Event<'_>) + Sync),
}

/// The time of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunTime {
    began: Instant,
    /// When no more work is begun.
    end: Instant,
    /// When what is still at work is given up.
    cut_off: Instant,
    /// When the leases of this run end, in Unix milliseconds: after it was killed.
    pub(crate) lease_ends: i64,
}

/// Why a step did not come to its end.
#[derive(Debug)]
pub(crate) enum Interrupted {
    OutOfTime,
    /// TitanX's rate limit resets after this time, or TitanX asked to wait as long.
    RateLimited(Duration),
    Failed(Error),
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl RunTime {
    /// Begins now, for a run that is killed at `deadline_ms` (Unix milliseconds).
    pub(crate) fn begin(deadline_ms: i64) -> Self {
        const LEASE_MARGIN_MS: i64 = 1_000;
        let (began, now) = (Instant::now(), now_ms());
        let left_ms = u64::try_from(deadline_ms.saturating_sub(now)).unwrap_or(0);
        let left = Duration::from_millis(left_ms);
        // Of 15 minutes one is left for what is still at work.
        Self {
            began,
            end: began + left - left / 15,
            cut_off: began + left - left / 100,
            lease_ends: deadline_ms.saturating_add(LEASE_MARGIN_MS),
        }
    }

    /// Stops a step when no more work is to be begun.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if Instant::now() < self.end {
            Ok(())
        } else {
            Err(Interrupted::OutOfTime)
        }
    }

    /// Whether less than two thirds of the run's time is left.
    pub(crate) fn is_advanced(&self) -> bool {
        self.began.elapsed() > (self.end - self.began) / 3
    }

    /// Gives `work` up when the run is about to end.
    pub(crate) async fn limit<T>(&self, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        let limited = timeout_at(self.cut_off, work).await;
        limited.map_err(|_elapsed| Interrupted::OutOfTime)
    }
}

/// A job of the round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoundJob {
    pub(crate) id: String,
    /// Unix milliseconds.
    pub(crate) completed_at: i64,
}

/// How far the check of a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JobStep {
    #[default]
    List,
    Compare,
    Backfill,
    Done,
}

/// The check of a job.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct JobCheck {
    pub(crate) step: JobStep,
    /// The list so far, without its contacts.
    pub(crate) list: Option<PagedList>,
    /// The number of stored chunks of keys.
    pub(crate) key_chunks: u32,
    /// The number of contacts in the list.
    pub(crate) contacts: u64,
    /// The total that the first page has.
    pub(crate) first_total: Option<u64>,
    /// Whether the list was begun anew because it had changed.
    pub(crate) list_changed: bool,
    /// Whether the list is proven whole.
    pub(crate) is_proven: bool,
    /// When TitanX says that the job was created, in Unix milliseconds.
    pub(crate) created_at: Option<i64>,
    /// What was found, before anything was queued.
    pub(crate) found: Option<Found>,
    pub(crate) missing_chunks: u32,
    /// The number of stored chunks of delivery ids that missing contacts must not get.
    // A check that an earlier version began has none.
    #[serde(default)]
    pub(crate) taken_chunks: u32,
    pub(crate) sent: Sent,
}

/// The result of comparing a job's contacts with the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) missing: u64,
    pub(crate) backfilled: u64,
    pub(crate) unscored: u64,
    pub(crate) doubt: Option<String>,
}

/// How far the backfill of a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Pages of the list whose missing contacts were sent.
    pub(crate) pages: u32,
    /// Contacts that are queued, by this backfill or an earlier one.
    pub(crate) queued: u64,
    pub(crate) failed: u64,
    /// Whether the list differs from the one that was compared.
    pub(crate) list_changed: bool,
}

impl Found {
    pub(crate) fn new(result: &MatchResult, doubt: Option<String>) -> Self {
        Self {
            missing: result.missing.len() as u64,
            backfilled: result.backfilled as u64,
            unscored: result.unscored as u64,
            doubt,
        }
    }
}

/// The result of a job that could not be checked.
pub(crate) fn unchecked(reason: &str) -> JobResult {
    JobResult {
        state: State::Unproven,
        reason: Some(reason.to_owned()),
        contacts_at_titanx: 0,
        received: 0,
        backfilled: 0,
        unscored: 0,
        missing: 0,
    }
}

impl JobCheck {
    /// The result, once everything is done.
    pub(crate) fn result(&self, found: &Found) -> JobResult {
        let missing = found.missing.saturating_sub(self.sent.queued);
        let completeness = (!self.is_proven).then_some("completeness");
        let list_changed = self.sent.list_changed.then_some("list_changed");
        let failed = (self.sent.failed > 0).then_some("failed");
        let doubt = found.doubt.as_deref();
        let reason = failed.or(doubt).or(completeness).or(list_changed);
        let reason = reason.or((missing > 0).then_some("failed"));
        let handled = found.missing + found.backfilled + found.unscored;
        JobResult {
            state: match (missing, reason) {
                (0, None) => State::Complete,
                (0, Some(_)) => State::Unproven,
                (_, _) => State::Incomplete,
            },
            reason: reason.map(str::to_owned),
            contacts_at_titanx: self.contacts,
            received: self.contacts.saturating_sub(handled),
            backfilled: found.backfilled + self.sent.queued,
            unscored: found.unscored,
            missing,
        }
    }
}

pub(crate) fn check_id(job: &RoundJob) -> String {
    format!("job#{}", job.id)
}

pub(crate) fn chunk_id(kind: &str, job: &RoundJob, number: u32) -> String {
    format!("{kind}#{}#{number}", job.id)
}

impl Run<'_> {
    pub(crate) fn titanx(&self) -> &TitanxClient {
        &self.healer.titanx
    }

    pub(crate) async fn jobs(&self) -> Result<Vec<RoundJob>, Error> {
        let jobs = self.healer.checks.read("jobs").await?;
        Ok(jobs.unwrap_or_default())
    }

    pub(crate) async fn check(&self, job: &RoundJob) -> Result<JobCheck, Error> {
        let check = self.healer.checks.read(&check_id(job)).await?;
        Ok(check.unwrap_or_default())
    }

    pub(crate) async fn save(&self, job: &RoundJob, check: &JobCheck) -> Result<(), Error> {
        self.healer.checks.write(&check_id(job), check).await
    }

    /// Takes a job for the round, until the run is over. A job that somebody else works on is left out of the round.
    pub(crate) async fn take(&self, job: &RoundJob) -> Result<bool, Error> {
        if self.healer.settings.dry_run {
            return Ok(true);
        }
        let id = JobId::from(job.id.as_str());
        let times = (now_ms(), self.time.lease_ends);
        let state = Some(State::Waiting);
        let taken = self.healer.jobs.take(&id, &self.round_id, times, state);
        match taken.await? {
            Taken::Taken => Ok(true),
            Taken::Held { .. } | Taken::NoRecord => {
                (self.report)(Event::JobHeld { job_id: &job.id });
                Ok(false)
            }
        }
    }

    /// Writes the result of a job's check to its record, and then marks the check as done.
    pub(crate) async fn finish(
        &self,
        job: &RoundJob,
        check: &mut JobCheck,
        result: &JobResult,
    ) -> Result<(), Error> {
        let job_id = job.id.as_str();
        let written = self.healer.settings.dry_run
            || self
                .healer
                .jobs
                .write(
                    &JobId::from(job_id),
                    &self.round_id,
                    job.completed_at,
                    now_ms(),
                    result,
                )
                .await?;
        (self.report)(if written {
            Event::JobChecked { job_id, result }
        } else {
            // Completed again: the next run need not wait for the end of this one's lease.
            let id = JobId::from(job_id);
            self.healer.jobs.release(&id, &self.round_id).await?;
            Event::JobChanged { job_id }
        });
        check.step = JobStep::Done;
        self.save(job, check).await
    }

    /// Reads the next page of a list.
    pub(crate) async fn read_page(&self, list: &mut PagedList) -> Result<PageRead, Interrupted> {
        self.time.check()?;
        let read = self.titanx().read_page(list, &self.healer.settings.paging);
        match self.time.limit(read).await? {
            Ok(()) => Ok(PageRead::Read),
            Err(error) => Ok(PageRead::Failed(unreadable(error)?)),
        }
    }
}

/// The result of reading a page.
pub(crate) enum PageRead {
    Read,
    /// TitanX does not tell it, for this reason.
    Failed(&'static str),
}

/// Why TitanX does not tell something, unless it is a reason to end the run.
pub(crate) fn unreadable(error: TitanxError) -> Result<&'static str, Interrupted> {
    match error {
        TitanxError::RateLimited { wait, .. } => Err(Interrupted::RateLimited(wait)),
        error @ TitanxError::ApiKey { .. } => Err(Error::ApiKey(error).into()),
        TitanxError::NotSupported { .. } => Ok("not_listed"),
        _ => Ok("titanx_failed"),
    }
}

/// A time in a response of TitanX, in Unix milliseconds.
pub(crate) fn time(value: &Value, names: &[&str]) -> Option<i64> {
    let text = string_member(value, names)?;
    let time = DateTime::from_str(&text, Format::DateTimeWithOffset).ok()?;
    time.to_millis().ok()
}

/// Whether a list is proven whole.
pub(crate) fn is_proven(list: &PagedList) -> bool {
    list.completeness() == Completeness::Proven
}

/// When TitanX's rate limit resets, in Unix milliseconds.
pub(crate) fn reset_at(wait: Duration) -> i64 {
    now_ms().saturating_add(ms(wait))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn of_fifteen_minutes_the_last_one_begins_no_work_and_the_last_nine_seconds_finish_none() {
        let begun_ms = now_ms();
        let time = RunTime::begin(begun_ms + 900_000);
        let passed = Duration::from_millis(u64::try_from(now_ms() - begun_ms).unwrap());
        for (end, seconds) in [(time.end, 14 * 60), (time.cut_off, 14 * 60 + 51)] {
            let most = Duration::from_secs(seconds);
            let expected = most.saturating_sub(passed)..=most;
            assert!(expected.contains(&(end - time.began)), "{time:?}");
        }
        assert_eq!(time.lease_ends, begun_ms + 901_000);
    }

    #[test]
    fn a_check_that_an_earlier_version_began_goes_on() {
        let check = r#"{"step": "Backfill", "list": null, "key_chunks": 1, "contacts": 2,
            "first_total": 2, "list_changed": false, "is_proven": true, "created_at": null,
            "found": null, "missing_chunks": 1,
            "sent": {"pages": 0, "queued": 0, "failed": 0, "list_changed": false}}"#;
        let check: JobCheck = serde_json::from_str(check).unwrap();
        assert_eq!((check.missing_chunks, check.taken_chunks), (1, 0));
    }

    #[test]
    fn without_another_reason_a_contact_that_is_left_has_failed() {
        let check = JobCheck {
            is_proven: true,
            ..JobCheck::default()
        };
        for (missing, state, reason) in [
            (0, State::Complete, None),
            (1, State::Incomplete, Some("failed")),
        ] {
            let found = Found {
                missing,
                backfilled: 0,
                unscored: 0,
                doubt: None,
            };
            let result = check.result(&found);
            assert_eq!((result.state, result.reason.as_deref()), (state, reason));
        }
    }

    #[tokio::test]
    async fn after_its_end_no_work_is_begun_and_after_its_cut_off_none_is_finished() {
        let began = Instant::now();
        let time = |end, cut_off| RunTime {
            began,
            end,
            cut_off,
            lease_ends: 0,
        };
        let later = began + Duration::from_hours(1);
        let (running, ended) = (time(later, later), time(began, later));
        assert!(running.check().is_ok());
        assert!(matches!(ended.check(), Err(Interrupted::OutOfTime)));
        assert!(matches!(ended.limit(ready(7)).await, Ok(7)));
        let cut_off = time(began, began).limit(pending::<()>()).await;
        assert!(matches!(cut_off, Err(Interrupted::OutOfTime)));
    }
}
