//! `operator reconcile`
//!
//! Reads the contacts of each job, and prints what `titanx_reconcile` finds and does.

mod checkpoint;

use std::{collections::HashSet, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use aws_smithy_types::{DateTime, date_time::Format};
use clap::Args;
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::Value;
use titanx_client::{
    Completeness, Error, PagedList, PagingParameters, TitanxClient, string_member,
};
use titanx_healer::job_records::{JobRecords, Taken};
use titanx_receiver::{budget::now_ms, contact::KEY_KINDS, intake::Intake};
use titanx_reconcile::{
    JobId,
    backfill::{Backfill, BackfillResult, backfill},
    contact_ids::ContactIds,
    doubts::{Doubt, delivered_since, doubts},
    keys::Kinds,
    matching::{Contacts, MatchResult, RecordPool},
};

use self::checkpoint::Checkpoint;
use crate::{
    commands::CommandStatus,
    commands::jobs::completed_job,
    delivery_records,
    plain_error::PlainError,
    screen::{BAD, GOOD, NOTICE, Screen, format_time, styled},
    stack::{Stack, StackOptions},
    titanx::TitanxOptions,
};

/// Find the missing contacts of jobs, and backfill them
///
/// Reads the contacts of each job from TitanX and the records of received contacts from the
/// deliveries table, and reports which contacts are missing. With --yes, it backfills them: it
/// sends each missing contact to the contacts queue under its own delivery id, with the message
/// attribute source=backfill. A backfill claims its deliveries as the receiver does, so a second
/// run finds the contacts received and sends nothing.
///
/// A contact matches a record by the strongest id that both have, else by a digest of name,
/// e-mail, company, LinkedIn and phone numbers. Each record matches one contact, so two equal
/// contacts in a job need two records. A record of another job never matches. A record without a
/// job id can match.
///
/// A contact without a lead status and a phone status was not scored: TitanX has rejected it, or has
/// not come to it. It is counted as unscored and never queued.
///
/// The deliveries table keeps a record for DELIVERY_RETENTION_DAYS days, so all contacts of an
/// older job look missing. The command reports a doubt when contacts may have been received without
/// a matching record. With a doubt, --yes backfills nothing unless you add --despite-doubts.
///
/// A contact whose delivery was sent but never marked completed is sent again under the same
/// delivery id. A job that the healer works on at that moment is not backfilled.
///
/// Scanning a million records costs less than 2 US cents.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator reconcile --stack titanx-receiver 11111111-2222-4333-8444-555555555555
  operator reconcile --stack titanx-receiver --yes JOB1 JOB2
  operator reconcile --stack titanx-receiver --checkpoint job.json JOB    can be interrupted")]
pub(crate) struct Reconcile {
    /// Job ids
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    /// Backfill the missing contacts
    #[arg(long)]
    yes: bool,
    /// With --yes, backfill although some missing contacts may have been received
    #[arg(long)]
    despite_doubts: bool,
    /// Keys to match contacts by, separated by commas [default: all]
    #[arg(long, value_name = "KEY", value_delimiter = ',', value_parser = KEY_KINDS)]
    match_by: Vec<String>,
    /// File that saves the contacts read from TitanX, to resume an interrupted run
    ///
    /// The file (mode 600) contains personal data. It is deleted when the command succeeds.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    paging: PagingOptions,
    #[command(flatten)]
    titanx: TitanxOptions,
    #[command(flatten)]
    stack: StackOptions,
}

// Not a doc comment: clap would use it as the description of the command that flattens this.
#[derive(Debug, Args)]
#[command(next_help_heading = "Paging (not documented by TitanX)")]
struct PagingOptions {
    /// Query parameter for the page number
    #[arg(long, value_name = "NAME", default_value = "page")]
    page_parameter: String,
    /// Query parameter for the cursor
    #[arg(long, value_name = "NAME", default_value = "cursor")]
    cursor_parameter: String,
    /// Query parameter for the page size
    #[arg(long, value_name = "NAME", default_value = "limit")]
    size_parameter: String,
    /// Contacts per page [default: TitanX's default]
    #[arg(long, value_name = "N")]
    page_size: Option<u32>,
    /// Maximum number of pages to read for each job
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    max_pages: u32,
}

/// The result of reconciling one job.
#[derive(Serialize)]
struct JobReport {
    job_id: String,
    /// Contacts at TitanX.
    contacts: usize,
    /// Contacts that match a record.
    received: usize,
    /// Received contacts that match a record without a job id.
    received_without_job: usize,
    /// Scored contacts that match no record.
    missing: usize,
    /// Contacts that TitanX has not scored, and that match no record. They are never queued.
    unscored: usize,
    /// Missing contacts that this run queued.
    queued: usize,
    /// Missing contacts that another backfill had queued.
    queued_before: usize,
    /// Missing contacts that this run could not queue.
    failed: usize,
    completeness: Completeness,
    /// Why some missing contacts may have been received, or unscored ones may be missing.
    doubts: Vec<String>,
    /// Whether a doubt is about the unscored contacts.
    #[serde(skip)]
    scores_in_doubt: bool,
}

impl Reconcile {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        // For the second of two equal job ids, all records would be matched and all contacts missing.
        let mut seen = HashSet::new();
        let mut jobs: Vec<JobId> = self.jobs.iter().map(|job| job.as_str().into()).collect();
        jobs.retain(|job| seen.insert(job.clone()));
        let titanx = self.titanx.connect()?;
        let stack = self.stack.connect().await?;
        let mut checkpoint = Checkpoint::open(self.checkpoint.as_deref())?;
        // As TitanX wrote them: in requests to TitanX and in records, the spelling may matter.
        for job in &mut jobs {
            if let Some(completed) = completed_job(&stack, job).await? {
                *job = completed.id;
            }
        }
        let mut lists = Vec::new();
        for job in &jobs {
            let list = self.read_contacts(&titanx, job, &mut checkpoint, screen);
            lists.push(list.await?);
        }
        // Read after the contacts, so that a contact received in the meantime is not missing.
        let records = delivery_records::scan(&stack, &jobs, screen).await?;
        let mut pool = RecordPool::new(records, Kinds::named(&self.match_by));
        let mut reports = Vec::new();
        for (index, (job, list)) in jobs.iter().zip(&lists).enumerate() {
            let result = pool.match_job(index, &Contacts::read(&list.items));
            reports.push(
                self.reconcile_job(&titanx, &stack, job, list, result, screen)
                    .await?,
            );
        }
        let failed: usize = reports.iter().map(|report| report.failed).sum();
        if failed == 0 {
            checkpoint.delete()?;
        }
        screen.result(&reports, || reports.iter().for_each(JobReport::print))?;
        if failed > 0 {
            bail!("{failed} contacts could not be queued: run this command again");
        }
        Ok(CommandStatus::action_needed_if(
            reports.iter().any(JobReport::needs_action),
        ))
    }

    /// Reads the contacts of a job, page by page.
    async fn read_contacts(
        &self,
        titanx: &TitanxClient,
        job: &JobId,
        checkpoint: &mut Checkpoint<'_>,
        screen: Screen,
    ) -> anyhow::Result<PagedList> {
        let saved = checkpoint.list(job)?;
        let mut list = saved.unwrap_or_else(|| TitanxClient::contacts(job.as_str()));
        let bar = screen.progress("reading contacts", list.total.unwrap_or(0));
        while !list.is_at_end() {
            let page = titanx.read_page(&mut list, &self.paging.parameters()).await;
            page.with_context(|| format!("cannot read the contacts of job {job} from TitanX"))?;
            if let Some(total) = list.total {
                bar.set_length(total);
            }
            bar.set_position(list.items.len() as u64);
            checkpoint.save(job, &list)?;
        }
        bar.finish_and_clear();
        Ok(list)
    }

    async fn reconcile_job(
        &self,
        titanx: &TitanxClient,
        stack: &Stack<'_>,
        job: &JobId,
        list: &PagedList,
        result: MatchResult,
        screen: Screen,
    ) -> anyhow::Result<JobReport> {
        let mut report = JobReport {
            job_id: job.to_string(),
            contacts: list.items.len(),
            received: list.items.len() - result.missing.len() - result.unscored,
            received_without_job: result.without_job,
            missing: result.missing.len(),
            unscored: result.unscored,
            queued: 0,
            queued_before: 0,
            failed: 0,
            completeness: list.completeness(),
            doubts: Vec::new(),
            scores_in_doubt: false,
        };
        if report.missing + report.unscored == 0 {
            return Ok(report);
        }
        let retention = stack.retention().await?;
        let since = job_delivered_since(titanx, stack, job).await?;
        let doubts = doubts(since, now_ms(), retention, &result);
        let about_scores = |it: &Doubt| matches!(it, Doubt::ScoresNotShown { .. });
        report.scores_in_doubt = doubts.iter().any(about_scores);
        report.doubts = doubts
            .into_iter()
            .map(|it| describe(it, retention))
            .collect();
        if self.yes && report.missing > 0 && (report.doubts.is_empty() || self.despite_doubts) {
            let mut ids = ContactIds::new(job, result.taken_ids);
            let missing = result.missing.into_iter().map(|missing| {
                let contact = &list.items[missing.index];
                let delivery_id = missing.delivery_id.unwrap_or_else(|| ids.next(contact));
                Backfill {
                    contact,
                    delivery_id,
                }
            });
            let missing = missing.collect();
            let held = HeldJob::take(stack, job).await?;
            let intake = stack.intake().await?;
            report.backfill(&intake, job, missing, screen).await;
            held.release().await?;
        }
        Ok(report)
    }
}

/// A job that no healer works on meanwhile.
struct HeldJob<'a> {
    jobs: JobRecords,
    job: &'a JobId,
}

/// The same for all persons: two of them queue no contact twice, and an interrupted run must not keep
/// the next one from going on.
const OWNER: &str = "operator";

impl<'a> HeldJob<'a> {
    async fn take(stack: &Stack<'_>, job: &'a JobId) -> anyhow::Result<Self> {
        /// If the command is interrupted, the healer waits for as long.
        const LEASE_MS: i64 = 15 * 60 * 1_000;
        let held = Self {
            jobs: JobRecords {
                client: stack.dynamodb(),
                table: stack.jobs_table().await?,
            },
            job,
        };
        let now = now_ms();
        let times = (now, now + LEASE_MS);
        let taken = held.jobs.take(job, OWNER, times, None).await;
        match taken.with_context(|| format!("cannot take job {job}"))? {
            // A job whose completion was not received is not the healer's.
            Taken::Taken | Taken::NoRecord => Ok(held),
            Taken::Held { until } => bail!(
                "the healer works on job {job}, until {} at the latest: run \
                 this command again later",
                format_time(until)
            ),
        }
    }

    async fn release(self) -> anyhow::Result<()> {
        let Self { jobs, job } = self;
        let released = jobs.release(job, OWNER).await;
        released.with_context(|| format!("cannot release job {job}"))
    }
}

impl PagingOptions {
    fn parameters(&self) -> PagingParameters {
        PagingParameters {
            page_parameter: self.page_parameter.clone(),
            cursor_parameter: self.cursor_parameter.clone(),
            size: self
                .page_size
                .map(|size| (self.size_parameter.clone(), size)),
            max_pages: self.max_pages,
        }
    }
}

/// A doubt in words.
fn describe(doubt: Doubt, retention: Duration) -> String {
    let retention_days = retention.as_secs() / (24 * 60 * 60);
    match doubt {
        Doubt::RecordsExpired { since } => format!(
            "contacts of the job may have been delivered since {}, and the deliveries table keeps \
             records for {retention_days} days: the contacts may have been received",
            format_time(since)
        ),
        Doubt::AgeUnknown => format!(
            "the completion time of the job is unknown, and the deliveries table keeps records \
             for {retention_days} days: the contacts may have been received"
        ),
        Doubt::UnmatchedRecords(count) => format!(
            "{count} records of this job match none of its contacts at TitanX: TitanX's API may \
             use other ids than deliveries (see --match-by), or the contacts have changed"
        ),
        Doubt::ScoresNotShown { received: 0 } => "TitanX's list may not show scores: no contact \
             in it has one, so the unscored contacts may be missing"
            .to_owned(),
        Doubt::ScoresNotShown { received } => format!(
            "TitanX's list may not show scores: {received} contacts that were received have none \
             in it, so the unscored contacts may be missing"
        ),
    }
}

/// Since when contacts of a job may have been delivered, in Unix milliseconds: since TitanX created the
/// job. If TitanX does not tell, a day before the job was completed, by the jobs table or by TitanX.
async fn job_delivered_since(
    titanx: &TitanxClient,
    stack: &Stack<'_>,
    job: &JobId,
) -> anyhow::Result<Option<i64>> {
    let completed = completed_job(stack, job).await?;
    let job = match titanx.job(job.as_str()).await {
        Ok(job) => job,
        // TitanX may not support this request. Any other failure leaves open what it knows of the job.
        Err(Error::NotSupported { .. }) => Value::Null,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the job {job} from TitanX"));
        }
    };
    let time = |members: &[&str]| {
        let mut times = members
            .iter()
            .filter_map(|member| string_member(&job, &[member]));
        times.find_map(|time| {
            let time = DateTime::from_str(&time, Format::DateTimeWithOffset).ok()?;
            time.to_millis().ok()
        })
    };
    let recorded = completed.and_then(|it| it.completed_at);
    let completed_at = recorded.or_else(|| time(&["completedAt", "modifiedAt", "updatedAt"]));
    Ok(delivered_since(time(&["createdAt"]), completed_at))
}

impl JobReport {
    /// Backfills the missing contacts, and counts the results.
    async fn backfill(
        &mut self,
        intake: &Intake,
        job: &JobId,
        missing: Vec<Backfill<'_>>,
        screen: Screen,
    ) {
        let bar = screen.progress("backfilling", missing.len() as u64);
        let mut results = std::pin::pin!(backfill(intake, job, missing));
        while let Some(result) = results.next().await {
            bar.inc(1);
            match result {
                Ok(BackfillResult::Queued) => self.queued += 1,
                Ok(BackfillResult::AlreadyQueued) => self.queued_before += 1,
                Err(error) => {
                    self.failed += 1;
                    screen.warn(PlainError(&error));
                }
            }
        }
        bar.finish_and_clear();
    }

    /// Whether contacts are still missing or may be, or the list of contacts may be incomplete.
    fn needs_action(&self) -> bool {
        let handled = self.queued + self.queued_before;
        handled < self.missing
            || self.scores_in_doubt
            || self.completeness == Completeness::NotProven
    }

    fn print(&self) {
        let Self {
            job_id,
            contacts,
            received,
            ..
        } = self;
        print_line!("job {job_id}: {contacts} contacts at TitanX, {received} received");
        if self.received_without_job > 0 {
            let count = self.received_without_job;
            print_line!("  {count} of them match records without a job id");
        }
        self.print_missing();
        if self.unscored > 0 {
            let count = self.unscored;
            print_line!(
                "  {count} unscored: TitanX has rejected them or not scored them yet, so they are not queued"
            );
        }
        for doubt in &self.doubts {
            print_line!("  {}: {doubt}", styled(NOTICE, "doubt"));
        }
        if self.completeness == Completeness::NotProven {
            print_line!(
                "  {}: TitanX's responses do not state that these are all contacts of the job",
                styled(NOTICE, "completeness not proven")
            );
        }
    }

    fn print_missing(&self) {
        let missing = self.missing;
        let handled = self.queued + self.queued_before + self.failed;
        if missing == 0 {
            // Unless the unscored contacts may be missing, as a doubt says.
            if !self.scores_in_doubt {
                print_line!("  {}", styled(GOOD, "nothing is missing"));
            }
        } else if handled == 0 {
            let options = if self.doubts.is_empty() {
                "--yes"
            } else {
                "--yes --despite-doubts"
            };
            print_line!(
                "  {}: re-run with {options} to backfill them",
                styled(BAD, format!("{missing} missing"))
            );
        } else {
            let Self {
                queued,
                queued_before,
                failed,
                ..
            } = self;
            print_line!(
                "  {missing} missing: {}, {queued_before} queued before, {failed} failed",
                styled(GOOD, format!("{queued} queued"))
            );
        }
    }
}
