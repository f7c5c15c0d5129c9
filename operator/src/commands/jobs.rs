//! `operator jobs`

use std::collections::HashMap;

use anyhow::{Context, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use serde::Serialize;
use titanx_healer::{
    job_records::{
        BACKFILLED, CHECKED_AT, CONTACTS_AT_TITANX, MISSING, RECEIVED, STATE, STATE_REASON,
        UNSCORED,
    },
    report::State,
};
use titanx_receiver::jobs::{COMPLETED_AT, JOB_ID, MODIFIED_AT, NAME, STATUS, TYPE};
use titanx_reconcile::JobId;

use crate::{
    commands::CommandStatus,
    delivery_records,
    screen::{Screen, format_time, table_of},
    stack::{Stack, StackOptions},
};

/// List the completed jobs
///
/// For jobs that the healer or `operator heal` has checked, the list shows whether all contacts
/// have arrived: complete; incomplete, with the reason; unproven, if TitanX's answers do not prove
/// it; or waiting, while the check is not finished.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator jobs --stack titanx-receiver
  operator jobs --stack titanx-receiver --state incomplete
  operator jobs --stack titanx-receiver --count 11111111-2222-4333-8444-555555555555
  operator jobs --stack titanx-receiver --json | jq -r '.[].job_id'")]
pub(crate) struct Jobs {
    /// Show only this job. Case and hyphens in the id make no difference
    id: Option<String>,
    /// Count the received contacts of each job
    ///
    /// Scans the whole deliveries table, which costs less than 2 US cents for a million records.
    /// The table keeps a record for DELIVERY_RETENTION_DAYS days. Contacts without a job id, or
    /// without anything by which they can be recognised, are not counted.
    #[arg(long)]
    count: bool,
    /// Show only jobs in this state
    #[arg(long, value_name = "STATE", value_parser = State::ALL.map(State::as_str))]
    state: Option<String>,
    #[command(flatten)]
    stack: StackOptions,
}

#[derive(Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "the names of the table's attributes"
)]
struct Job {
    job_id: String,
    status: Option<String>,
    name: Option<String>,
    r#type: Option<String>,
    modified_at: Option<String>,
    /// Unix milliseconds.
    completed_at: Option<i64>,
    /// The number of received contacts, if they were counted.
    contacts: Option<usize>,
    #[serde(flatten)]
    check: Check,
}

/// What a healer has found.
#[derive(Serialize)]
struct Check {
    state: Option<String>,
    state_reason: Option<String>,
    contacts_at_titanx: Option<i64>,
    received: Option<i64>,
    backfilled: Option<i64>,
    unscored: Option<i64>,
    missing: Option<i64>,
    /// Unix milliseconds.
    checked_at: Option<i64>,
}

impl Jobs {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let stack = self.stack.connect().await?;
        let mut jobs = match &self.id {
            Some(id) => get_job(&stack, &id.as_str().into()).await?,
            None => all_jobs(&stack).await?,
        };
        jobs.sort_by(|a, b| {
            b.completed_at
                .cmp(&a.completed_at)
                .then(a.job_id.cmp(&b.job_id))
        });
        if let Some(state) = &self.state {
            jobs.retain(|job| job.check.state.as_ref() == Some(state));
        }
        if self.count {
            count_contacts(&stack, &mut jobs, screen).await?;
        }
        screen.result(&jobs, || print(&jobs, self.count))?;
        Ok(CommandStatus::Success)
    }
}

/// The records of a job: one for each spelling of its id that TitanX has used.
async fn get_job(stack: &Stack<'_>, id: &JobId) -> anyhow::Result<Vec<Job>> {
    let jobs = spellings(stack, id).await?;
    if jobs.is_empty() {
        bail!("job {id} is not completed: no job.completed event was received");
    }
    Ok(jobs)
}

/// A job whose `job.completed` event was received.
pub(crate) struct CompletedJob {
    /// Its id, as TitanX wrote it.
    pub(crate) id: JobId,
    /// In Unix milliseconds.
    pub(crate) completed_at: Option<i64>,
}

/// The job with this id, if its `job.completed` event was received.
pub(crate) async fn completed_job(
    stack: &Stack<'_>,
    id: &JobId,
) -> anyhow::Result<Option<CompletedJob>> {
    let jobs = find_job(stack, id).await?.into_iter();
    let latest = jobs.max_by_key(|job| job.completed_at);
    Ok(latest.map(|job| CompletedJob {
        id: job.job_id.as_str().into(),
        completed_at: job.completed_at,
    }))
}

/// Reads the record with exactly this id. If there is none, scans the table for other spellings.
async fn find_job(stack: &Stack<'_>, id: &JobId) -> anyhow::Result<Vec<Job>> {
    let table = stack.jobs_table().await?;
    let key = AttributeValue::S(id.as_str().to_owned());
    let get = stack
        .dynamodb()
        .get_item()
        .table_name(&table)
        .key(JOB_ID, key);
    let got = get.send().await;
    let got = got.with_context(|| format!("cannot read job {id} from the table {table}"))?;
    if let Some(item) = &got.item {
        return Ok(vec![Job::read(item)]);
    }
    spellings(stack, id).await
}

/// The records whose id is this one in any spelling.
async fn spellings(stack: &Stack<'_>, id: &JobId) -> anyhow::Result<Vec<Job>> {
    let mut jobs = all_jobs(stack).await?;
    jobs.retain(|job| JobId::from(job.job_id.as_str()) == *id);
    Ok(jobs)
}

async fn all_jobs(stack: &Stack<'_>) -> anyhow::Result<Vec<Job>> {
    let table = stack.jobs_table().await?;
    let scan = stack.dynamodb().scan().table_name(&table);
    let mut items = scan.into_paginator().items().send();
    let mut jobs = Vec::new();
    while let Some(item) = items.next().await {
        let item = item.with_context(|| format!("cannot scan the table {table}"))?;
        jobs.push(Job::read(&item));
    }
    Ok(jobs)
}

async fn count_contacts(stack: &Stack<'_>, jobs: &mut [Job], screen: Screen) -> anyhow::Result<()> {
    let ids: Vec<JobId> = jobs.iter().map(|job| job.job_id.as_str().into()).collect();
    let records = delivery_records::scan(stack, &ids, screen).await?;
    let counts = records.completed_by_job().into_iter();
    let counts: HashMap<_, _> = counts.map(|(index, count)| (&ids[index], count)).collect();
    for (job, id) in jobs.iter_mut().zip(&ids) {
        job.contacts = Some(counts.get(id).copied().unwrap_or(0));
    }
    Ok(())
}

fn print(jobs: &[Job], counted: bool) {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let number = |number: Option<i64>| or_dash(number.map(|it| it.to_string()));
    let checked = jobs.iter().any(|job| job.check.state.is_some());
    let mut header = vec!["JOB", "STATUS", "COMPLETED"];
    header.extend(counted.then_some("CONTACTS"));
    if checked {
        header.extend([
            "STATE",
            "AT TITANX",
            "RECEIVED",
            "BACKFILLED",
            "UNSCORED",
            "MISSING",
        ]);
    }
    header.push("NAME");
    let rows = jobs.iter().map(|job| {
        let completed = or_dash(job.completed_at.map(format_time));
        let mut row = vec![job.job_id.clone(), or_dash(job.status.clone()), completed];
        if counted {
            row.push(or_dash(job.contacts.map(|contacts| contacts.to_string())));
        }
        if checked {
            let check = &job.check;
            let reason = check
                .state_reason
                .iter()
                .map(|reason| format!(" ({reason})"));
            row.push(or_dash(check.state.clone()) + &reason.collect::<String>());
            row.extend(check.counts().map(number));
        }
        row.push(or_dash(job.name.clone()));
        row
    });
    table_of(&header, rows);
}

impl Check {
    fn read(item: &HashMap<String, AttributeValue>) -> Self {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        let number = |name: &str| item.get(name)?.as_n().ok()?.parse().ok();
        Self {
            state: text(STATE),
            state_reason: text(STATE_REASON),
            contacts_at_titanx: number(CONTACTS_AT_TITANX),
            received: number(RECEIVED),
            backfilled: number(BACKFILLED),
            unscored: number(UNSCORED),
            missing: number(MISSING),
            checked_at: number(CHECKED_AT),
        }
    }

    fn counts(&self) -> [Option<i64>; 5] {
        [
            self.contacts_at_titanx,
            self.received,
            self.backfilled,
            self.unscored,
            self.missing,
        ]
    }
}

impl Job {
    fn read(item: &HashMap<String, AttributeValue>) -> Self {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        let completed_at = item.get(COMPLETED_AT).and_then(|value| value.as_n().ok());
        Self {
            job_id: text(JOB_ID).unwrap_or_default(),
            status: text(STATUS),
            name: text(NAME),
            r#type: text(TYPE),
            modified_at: text(MODIFIED_AT),
            completed_at: completed_at.and_then(|ms| ms.parse().ok()),
            contacts: None,
            check: Check::read(item),
        }
    }
}
