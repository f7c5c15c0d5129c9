//! `operator heal`
//!
//! Runs what the healer's function runs, with the same library.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use titanx_healer::{
    Healer,
    checks::Checks,
    error::Error,
    job_records::JobRecords,
    report::{End, Event, JobResult, State},
    settings::Settings,
};
use titanx_receiver::budget::now_ms;

use crate::{
    commands::CommandStatus,
    commands::jobs::completed_job,
    plain_error::PlainError,
    screen::{BAD, GOOD, NOTICE, Screen, format_time, styled},
    stack::{Stack, StackOptions},
    titanx::TitanxOptions,
};

/// Check jobs for missing contacts as the healer does, and backfill these
///
/// Runs what the healer's function does: it compares TitanX's contacts of completed jobs with those
/// received, backfills what is missing, and writes the result to the job's record (see `operator
/// jobs`). With a doubt about a job it backfills nothing: `operator reconcile` explains the doubt.
///
/// With --due, it checks the jobs that are due: completed as long ago as the healer waits, by
/// default 73 hours, because TitanX retries for 72. If the healer is on, this continues its round;
/// else the round is remembered in this process alone. With --job, it checks one job now.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator heal --stack titanx-receiver --due --dry-run
  operator heal --stack titanx-receiver --due
  operator heal --stack titanx-receiver --job 11111111-2222-4333-8444-555555555555")]
pub(crate) struct Heal {
    #[command(flatten)]
    which: Which,
    /// Report what is missing, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Hours after its completion for which TitanX may retry [default: from the stack, or 73]
    #[arg(long, env = "HEALER_DELAY_HOURS", value_name = "HOURS")]
    delay_hours: Option<u32>,
    /// Table of the healer's rounds [default: from the stack]
    #[arg(
        long,
        env = "CHECKS_TABLE",
        value_name = "NAME",
        hide_short_help = true
    )]
    checks_table: Option<String>,
    #[command(flatten)]
    titanx: TitanxOptions,
    #[command(flatten)]
    stack: StackOptions,
}

// Not a doc comment: clap would use it as the description of the command that flattens this.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Check this job now
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Check all jobs that are due
    #[arg(long)]
    due: bool,
}

/// What a run has reported.
#[derive(Default)]
struct Reported {
    checked: Vec<Checked>,
    /// Whether a job was left out, or changed while it was checked.
    unchecked: bool,
}

/// The result of a job.
#[derive(Serialize)]
struct Checked {
    job_id: String,
    #[serde(flatten)]
    result: JobResult,
}

impl Heal {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let stack = self.stack.connect().await?;
        let job = match &self.which.job {
            Some(job) => {
                let job = job.as_str().into();
                let completed = completed_job(&stack, &job).await?;
                let completed = completed.and_then(|it| Some((it.id, it.completed_at?)));
                let not_completed =
                    || format!("job {job} is not completed: no job.completed event was received");
                Some(completed.with_context(not_completed)?)
            }
            None => None,
        };
        let healer = self.healer(&stack).await?;
        if let Some((_, completed_at)) = &job {
            self.warn_of_retries(*completed_at, &healer.settings, screen);
        }
        let reported = Mutex::default();
        let report = |event: Event<'_>| note(screen, &reported, &event);
        let end = loop {
            /// As long as the function's.
            const RUN_MS: i64 = 15 * 60 * 1_000;
            let deadline = now_ms() + RUN_MS;
            let run = match &job {
                Some((id, completed_at)) => {
                    let job = (id.as_str(), *completed_at);
                    healer.run_job(job, deadline, &report).await
                }
                None => healer.run(deadline, &report).await,
            };
            match run.map_err(without_advice)? {
                End::OutOfTime => {}
                // A dry run writes no results, so its next round would have the same jobs.
                End::RoundFinished { more: true } if !self.dry_run => {}
                end => break end,
            }
        };
        let reported: Reported = reported
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let checked = &reported.checked;
        screen.result(checked, || checked.iter().for_each(Checked::print))?;
        status(end, &reported, screen)
    }

    /// A job that is not due yet may still get what is missing from TitanX.
    fn warn_of_retries(&self, completed_at: i64, settings: &Settings, screen: Screen) {
        let delay_ms = i64::try_from(settings.delay.as_millis()).unwrap_or(i64::MAX);
        let due_at = completed_at.saturating_add(delay_ms);
        if now_ms() < due_at && !self.dry_run {
            screen.warn(format_args!(
                "TitanX may retry deliveries of this job until {}: a contact that it delivers after its \
                 backfill is queued twice, under two ids",
                format_time(due_at)
            ));
        }
    }

    async fn healer(&self, stack: &Stack<'_>) -> anyhow::Result<Healer> {
        let mut settings = Settings::new(stack.retention().await?);
        let of_stack = stack.values().await?.get("HealerDelayHours");
        let of_stack = of_stack.and_then(|hours| hours.parse().ok());
        if let Some(hours) = self.delay_hours.or(of_stack) {
            settings.delay = Duration::from_hours(u64::from(hours));
        }
        // Whoever calls this wants a round now.
        settings.round = Duration::ZERO;
        settings.dry_run = self.dry_run;
        let table = match &self.checks_table {
            Some(table) => Some(table.clone()),
            None => stack.values().await?.get("ChecksTable").cloned(),
        };
        let client = stack.dynamodb();
        let checks = match table {
            Some(table) if self.which.due && !self.dry_run => Checks::Table {
                client: client.clone(),
                table,
            },
            _ => Checks::in_memory(),
        };
        Ok(Healer {
            titanx: self.titanx.connect()?,
            intake: stack.intake().await?,
            jobs: JobRecords {
                client: client.clone(),
                table: stack.jobs_table().await?,
            },
            dynamodb: client,
            deliveries_table: stack.deliveries_table().await?,
            checks,
            settings,
        })
    }
}

/// An error of the healer. Its advice on the API key is for its function, which has the key in Secrets Manager. The error
/// of the refused call has the advice for the operator.
fn without_advice(error: Error) -> anyhow::Error {
    match error {
        Error::ApiKey(refused) => refused.into(),
        other => other.into(),
    }
}

/// The exit status of a run that ended so, after what it has reported.
fn status(end: End, reported: &Reported, screen: Screen) -> anyhow::Result<CommandStatus> {
    match end {
        End::Held => bail!("the healer works on its round: run this command again later"),
        End::RateLimited { until } => {
            screen.warn(format_args!(
                "TitanX takes no request before {}, since its rate limit is exhausted or it asked to \
                 wait: run this command again then",
                format_time(until)
            ));
            return Ok(CommandStatus::ActionNeeded);
        }
        End::RoundFinished { more: true } => {
            screen.warn("a dry run checks one round of jobs, and more are due");
            return Ok(CommandStatus::ActionNeeded);
        }
        End::Idle | End::OutOfTime | End::RoundFinished { more: false } => {}
    }
    let Reported { checked, unchecked } = reported;
    if checked.is_empty() && !unchecked {
        screen.info("no job is due");
    }
    let is_whole = |it: &Checked| it.result.state == State::Complete;
    Ok(CommandStatus::action_needed_if(
        *unchecked || !checked.iter().all(is_whole),
    ))
}

fn note(screen: Screen, reported: &Mutex<Reported>, event: &Event<'_>) {
    let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::JobChecked { job_id, result } => reported.checked.push(Checked {
            job_id: (*job_id).to_owned(),
            result: (*result).clone(),
        }),
        Event::JobHeld { job_id } => {
            reported.unchecked = true;
            screen.warn(format_args!(
                "the healer or another person works on job {job_id}: it is left out"
            ));
        }
        Event::JobChanged { job_id } => {
            reported.unchecked = true;
            screen.warn(format_args!(
                "job {job_id} has changed meanwhile: run this command again"
            ));
        }
        Event::BackfillFailed { error, .. } => screen.warn(PlainError(*error)),
        Event::RoundBegan { .. } | Event::Scanned { .. } => {}
    }
}

impl Checked {
    fn print(&self) {
        let Self { job_id, result } = self;
        let style = match result.state {
            State::Complete => GOOD,
            State::Incomplete => BAD,
            State::Unproven | State::Waiting => NOTICE,
        };
        let reason = result.reason.iter().map(|reason| format!(" ({reason})"));
        let reason: String = reason.collect();
        print_line!("job {job_id}: {}{reason}", styled(style, result.state));
        print_line!(
            "  {} contacts at TitanX: {} received, {} backfilled, {} unscored, {} missing",
            result.contacts_at_titanx,
            result.received,
            result.backfilled,
            result.unscored,
            result.missing
        );
    }
}
