//! The first step: finds the jobs that are due.

use std::collections::HashSet;

use serde_json::{Value, json, value::to_raw_value};
use titanx_client::{TitanxClient, string_member};
use titanx_receiver::budget::now_ms;
use titanx_reconcile::{JobId, backfill::complete_job};

use crate::{
    checks::{Round, Step},
    error::Error,
    report::Event,
    run::{Interrupted, JobCheck, JobStep, PageRead, RoundJob, Run, time},
    settings::ms,
};

/// Pages of TitanX's list of jobs that are read.
const PAGES: u32 = 20;
/// Jobs of one round, whose ids are stored in one item.
const MAX_JOBS: usize = 2_000;
/// TitanX's words for a job in its last state.
const LAST_STATES: [&str; 2] = ["Finalized", "Not Enriched"];

/// A job in TitanX's list.
struct ListedJob {
    id: JobId,
    /// When it reached its last state, in Unix milliseconds, if it is known.
    completed_at: Option<i64>,
    listed: Value,
}

impl Run<'_> {
    pub(crate) async fn find(&self, round: &mut Round) -> Result<(), Interrupted> {
        let listed = self.listed_jobs().await?;
        let now = now_ms();
        let mut unrecorded: HashSet<_> = listed.iter().map(|job| job.id.key()).collect();
        let mut due = Vec::new();
        let settings = &self.healer.settings;
        self.healer
            .jobs
            .for_each(|record| {
                unrecorded.remove(JobId::from(record.job_id.as_str()).key());
                if let (true, Some(completed_at)) =
                    (record.is_due(now, settings), record.completed_at)
                {
                    due.push(RoundJob {
                        id: record.job_id,
                        completed_at,
                    });
                }
            })
            .await?;
        let unrecorded = listed.iter().filter(|it| unrecorded.contains(it.id.key()));
        let (completed, undecided) = self.complete_unrecorded(unrecorded, now, &mut due).await?;
        round.more = keep_oldest(&mut due);
        self.forget_checks(&due).await?;
        self.healer.checks.write("jobs", &due).await?;
        (self.report)(Event::RoundBegan {
            jobs: due.len(),
            completed,
            undecided,
        });
        round.step = if due.is_empty() {
            Step::Done
        } else {
            Step::List
        };
        Ok(())
    }

    /// An earlier round may have checked the same job.
    async fn forget_checks(&self, jobs: &[RoundJob]) -> Result<(), Error> {
        for job in jobs {
            if self.check(job).await?.step != JobStep::List {
                self.save(job, &JobCheck::default()).await?;
            }
        }
        Ok(())
    }

    /// The jobs that TitanX lists. It may not support this.
    async fn listed_jobs(&self) -> Result<Vec<ListedJob>, Interrupted> {
        let mut list = TitanxClient::jobs();
        let mut jobs = Vec::new();
        while !list.is_at_end() && list.pages < PAGES {
            if let PageRead::Failed(_) = self.read_page(&mut list).await? {
                break;
            }
            let items = list.take_items();
            let values = items.iter().map(|item| serde_json::from_str(item.get()));
            jobs.extend(values.filter_map(|job| ListedJob::read(job.ok()?)));
        }
        Ok(jobs)
    }

    /// Marks the jobs completed of which TitanX's list says so, and which are in no record although
    /// TitanX has given up retrying. Returns their number, and that of those it is unclear about.
    async fn complete_unrecorded(
        &self,
        unrecorded: impl Iterator<Item = &ListedJob>,
        now: i64,
        due: &mut Vec<RoundJob>,
    ) -> Result<(usize, usize), Error> {
        let settings = &self.healer.settings;
        let (mut completed, mut undecided) = (0, 0);
        for job in unrecorded {
            let Some(completed_at) = job.completed_at else {
                undecided += 1;
                continue;
            };
            let age = now.saturating_sub(completed_at);
            if !(ms(settings.delay)..=ms(settings.retention)).contains(&age) {
                continue;
            }
            if !settings.dry_run {
                let payload = job.payload();
                let complete = complete_job(&self.healer.intake, &job.id, &payload, completed_at);
                complete.await.map_err(Error::CompleteJob)?;
            }
            completed += 1;
            due.push(RoundJob {
                id: job.id.as_str().to_owned(),
                completed_at,
            });
        }
        Ok((completed, undecided))
    }
}

/// Sorts the jobs by their age, and keeps as many as a round can have. Returns whether there are more.
///
/// Of the records of one job, in several spellings of its id, one is kept: each delivery record counts for one job of a round,
/// so all contacts of the other would look missing.
fn keep_oldest(jobs: &mut Vec<RoundJob>) -> bool {
    let all = jobs.len();
    jobs.sort_by(|a, b| (a.completed_at, &a.id).cmp(&(b.completed_at, &b.id)));
    let mut seen = HashSet::new();
    jobs.retain(|job| seen.insert(JobId::from(job.id.as_str())));
    jobs.truncate(MAX_JOBS);
    jobs.len() < all
}

impl ListedJob {
    fn read(listed: Value) -> Option<Self> {
        let id = string_member(&listed, &["id", "jobId"])?;
        let status = string_member(&listed, &["status", "jobStatus"]);
        let is_last = status.is_some_and(|status| LAST_STATES.contains(&status.as_str()));
        let modified_at = time(&listed, &["modifiedAt"]).filter(|_| is_last);
        Some(Self {
            id: id.as_str().into(),
            completed_at: modified_at,
            listed,
        })
    }

    /// The payload of the event that was not received.
    fn payload(&self) -> Box<serde_json::value::RawValue> {
        let member = |names: &[&str]| string_member(&self.listed, names);
        let payload = json!({
            "jobId": self.id.as_str(),
            "jobType": member(&["type", "jobType"]),
            "jobName": member(&["name", "jobName"]),
            "jobStatus": member(&["status", "jobStatus"]),
            "modifiedAt": member(&["modifiedAt"]),
        });
        to_raw_value(&payload).expect("a value is JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_the_two_thousand_oldest_jobs() {
        let job = |number: i64| RoundJob {
            id: format!("job-{number}"),
            completed_at: 1_000_000 - number,
        };
        let mut jobs: Vec<_> = (1..=2_000).map(job).collect();
        assert!(!keep_oldest(&mut jobs));
        assert_eq!(jobs.len(), 2_000);
        jobs.extend([job(0), job(2_001)]);
        assert!(keep_oldest(&mut jobs));
        let expected: Vec<_> = (2..=2_001).rev().map(job).collect();
        assert_eq!(jobs, expected);
    }

    #[test]
    fn a_round_has_one_spelling_of_a_job() {
        let job = |id: &str| RoundJob {
            id: id.to_owned(),
            completed_at: 1,
        };
        let mut jobs = vec![job("job-1"), job("JOB1"), job("job-2")];
        assert!(keep_oldest(&mut jobs));
        assert_eq!(jobs, [job("JOB1"), job("job-2")]);
        assert!(!keep_oldest(&mut jobs));
    }
}
