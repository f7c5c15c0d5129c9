//! `operator reconcile`
//!
//! ```text
//! contacts at TitanX ─┐
//!                     ├─ match, each record for one contact ─▶ missing ─claim─▶ send ─complete─▶
//! records of receipt ─┘
//! ```

mod backfill;
mod checkpoint;
mod matching;

use std::{collections::HashSet, path::PathBuf};

use anyhow::{Context, bail};
use aws_smithy_types::{DateTime, date_time::Format};
use clap::Args;
use serde::Serialize;
use titanx_receiver::{budget::now_ms, contact::KEY_KINDS};

use self::{backfill::Backfilled, checkpoint::Checkpoint, matching::Matched};
use crate::{
    commands::Outcome,
    commands::jobs::completed_at,
    deployment::{Cloud, Deployment},
    records,
    screen::{BAD, GOOD, NOTICE, Screen, moment, styled},
    titanx::{Completeness, Paging, Reading, Titanx, text},
    vendor::Vendor,
};

/// Compare jobs with what was received, and queue what is missing
///
/// Reads the contacts of each job from TitanX, and the records of what was received from the table
/// of deliveries, and tells what is missing. With --yes, the missing contacts are queued as
/// deliveries of their own, through the receiver's own claim, with the attribute source=backfill;
/// a second run finds them received and queues nothing.
///
/// A contact is recognised by the strongest id that it and a record both have, else by a digest of
/// name, e-mail, company, LinkedIn and phone numbers; two like contacts in a job need two
/// deliveries. Records of other jobs do not count; records that name no job may.
///
/// Reading a million records costs under 2 US cents. Records are forgotten after
/// DELIVERY_RETENTION_DAYS; for an older job everything would look missing, so nothing is queued
/// unless --despite-doubts is said.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator reconcile --stack titanx-receiver 11111111-2222-4333-8444-555555555555
  operator reconcile --stack titanx-receiver --yes JOB1 JOB2
  operator reconcile --stack titanx-receiver --checkpoint job.json JOB    may be interrupted")]
pub(crate) struct Reconcile {
    /// Ids of the jobs
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    /// Queue what is missing
    #[arg(long)]
    yes: bool,
    /// Queue although more may have been received than is known
    #[arg(long)]
    despite_doubts: bool,
    /// Compare by these only
    #[arg(long, value_name = "KEY", value_delimiter = ',', value_parser = KEY_KINDS)]
    match_by: Vec<String>,
    /// Keep what was read from TitanX in this file (mode 600, personal data) until all is done, and
    /// go on from there
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    pages: Pages,
    #[command(flatten)]
    vendor: Vendor,
    #[command(flatten)]
    deployment: Deployment,
}

// TitanX documents none of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Paging, undocumented by TitanX")]
struct Pages {
    /// Query parameter for the number of a page
    #[arg(long, value_name = "NAME", default_value = "page")]
    page_parameter: String,
    /// Query parameter for a cursor
    #[arg(long, value_name = "NAME", default_value = "cursor")]
    cursor_parameter: String,
    /// Query parameter for the size of a page
    #[arg(long, value_name = "NAME", default_value = "limit")]
    size_parameter: String,
    /// Contacts on a page [default: as many as TitanX gives]
    #[arg(long, value_name = "N")]
    page_size: Option<u32>,
    /// Pages to read at most, of each job
    #[arg(long = "max-pages", value_name = "N", default_value_t = 1_000)]
    at_most: u32,
}

/// What became of a job.
#[derive(Serialize)]
struct Report {
    job_id: String,
    /// Contacts that TitanX has.
    contacts: usize,
    /// Those of them that were received.
    received: usize,
    /// Those that were recognised in records which name no job.
    received_without_job: usize,
    missing: usize,
    /// Missing ones that are queued now.
    queued: usize,
    /// Missing ones that a backfill of earlier or elsewhere had queued.
    queued_before: usize,
    failed: usize,
    completeness: Completeness,
    /// Why more may have been received than is known.
    doubts: Vec<String>,
}

impl Reconcile {
    pub(crate) async fn run(mut self, screen: Screen) -> anyhow::Result<Outcome> {
        // A job named twice would find its records taken, and all of its contacts missing.
        let mut named = HashSet::new();
        self.jobs.retain(|job| named.insert(job.clone()));
        let titanx = self.vendor.connect()?;
        let cloud = self.deployment.connect().await?;
        let mut checkpoint = Checkpoint::open(self.checkpoint.as_deref())?;
        let mut readings = Vec::new();
        for job in &self.jobs {
            readings.push(self.read(&titanx, job, &mut checkpoint, screen).await?);
        }
        // Read after the contacts, lest one look missing that was received meanwhile.
        let records = records::of_jobs(&cloud, &self.jobs, screen).await?;
        let mut pool = matching::Pool::new(records, &self.match_by);
        let mut reports = Vec::new();
        for (job, reading) in self.jobs.iter().zip(&readings) {
            reports.push(
                self.reconcile(&titanx, &cloud, job, reading, &mut pool, screen)
                    .await?,
            );
        }
        let failed: usize = reports.iter().map(|report| report.failed).sum();
        if failed == 0 {
            checkpoint.remove()?;
        }
        screen.result(&reports, || reports.iter().for_each(Report::print))?;
        if failed > 0 {
            bail!("{failed} contacts could not be queued; run this command again");
        }
        let open = |it: &Report| it.is_open();
        Ok(Outcome::findings_if(reports.iter().any(open)))
    }

    /// Reads a job's contacts, page by page.
    async fn read(
        &self,
        titanx: &Titanx,
        job: &str,
        checkpoint: &mut Checkpoint<'_>,
        screen: Screen,
    ) -> anyhow::Result<Reading> {
        let begun = checkpoint.reading(job)?;
        let mut reading = begun.unwrap_or_else(|| Titanx::contacts(job));
        let bar = screen.progress("reading contacts", reading.total.unwrap_or(0));
        while !reading.ended() {
            let page = titanx.read_page(&mut reading, &self.pages.paging()).await;
            page.with_context(|| format!("job {job}"))?;
            if let Some(total) = reading.total {
                bar.set_length(total);
            }
            bar.set_position(reading.items.len() as u64);
            checkpoint.keep(job, &reading)?;
        }
        bar.finish_and_clear();
        Ok(reading)
    }

    async fn reconcile(
        &self,
        titanx: &Titanx,
        cloud: &Cloud<'_>,
        job: &str,
        reading: &Reading,
        pool: &mut matching::Pool,
        screen: Screen,
    ) -> anyhow::Result<Report> {
        let matched = pool.take(job, &reading.items);
        let mut report = Report {
            job_id: job.to_owned(),
            contacts: reading.items.len(),
            received: reading.items.len() - matched.missing.len(),
            received_without_job: matched.without_job,
            missing: matched.missing.len(),
            queued: 0,
            queued_before: 0,
            failed: 0,
            completeness: reading.completeness(),
            doubts: Vec::new(),
        };
        if report.missing == 0 {
            return Ok(report);
        }
        report.doubts = doubts(titanx, cloud, job, &matched).await?;
        if self.yes && (report.doubts.is_empty() || self.despite_doubts) {
            let intake = cloud.intake().await?;
            let bar = screen.progress("queueing", report.missing as u64);
            let done = backfill::queue(&intake, job, &matched.missing, &bar, screen).await;
            bar.finish_and_clear();
            let of = |what| done.iter().filter(|it| **it == what).count();
            report.queued = of(Backfilled::Queued);
            report.queued_before = of(Backfilled::Before);
            report.failed = of(Backfilled::Failed);
        }
        Ok(report)
    }
}

impl Pages {
    fn paging(&self) -> Paging {
        Paging {
            page_parameter: self.page_parameter.clone(),
            cursor_parameter: self.cursor_parameter.clone(),
            size: self
                .page_size
                .map(|size| (self.size_parameter.clone(), size)),
            max_pages: self.at_most,
        }
    }
}

/// Why more of a job may have been received than the records tell.
async fn doubts(
    titanx: &Titanx,
    cloud: &Cloud<'_>,
    job: &str,
    matched: &Matched<'_>,
) -> anyhow::Result<Vec<String>> {
    let mut doubts = Vec::new();
    let retention = cloud.retention().await?;
    let days = retention.as_secs() / (24 * 60 * 60);
    let kept = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    match finished_at(titanx, cloud, job).await? {
        Some(at) if at < now_ms().saturating_sub(kept) => doubts.push(format!(
            "the job was finished at {}, and what was received is forgotten after {days} days: \
             whatever looks missing may have been received",
            moment(at)
        )),
        Some(_) => {}
        None => doubts.push(format!(
            "it is not known when the job was finished; what was received is forgotten after \
             {days} days"
        )),
    }
    if matched.unrecognised > 0 {
        doubts.push(format!(
            "{} records of this job fit none of its contacts at TitanX: the ids there may differ \
             from those in deliveries (see --match-by), or contacts were changed since",
            matched.unrecognised
        ));
    }
    Ok(doubts)
}

/// When a job was finished, in Unix milliseconds: as was received, else as TitanX tells.
async fn finished_at(titanx: &Titanx, cloud: &Cloud<'_>, job: &str) -> anyhow::Result<Option<i64>> {
    const MEMBERS: [&str; 4] = ["completedAt", "modifiedAt", "updatedAt", "createdAt"];
    if let Some(at) = completed_at(cloud, job).await? {
        return Ok(Some(at));
    }
    // TitanX need not support this call; nothing else depends on it.
    let Ok(job) = titanx.job(job).await else {
        return Ok(None);
    };
    let mut moments = MEMBERS.iter().filter_map(|member| text(&job, &[member]));
    Ok(moments.find_map(|moment| {
        let moment = DateTime::from_str(&moment, Format::DateTimeWithOffset).ok()?;
        moment.to_millis().ok()
    }))
}

impl Report {
    /// Whether something is left to do or to know.
    fn is_open(&self) -> bool {
        let handled = self.queued + self.queued_before;
        handled < self.missing || self.completeness == Completeness::NotProven
    }

    fn print(&self) {
        let Self {
            job_id,
            contacts,
            received,
            missing,
            ..
        } = self;
        say!("job {job_id}: {contacts} contacts at TitanX, {received} received");
        if self.received_without_job > 0 {
            let count = self.received_without_job;
            say!("  {count} of them recognised in deliveries that name no job");
        }
        let handled = self.queued + self.queued_before + self.failed;
        if *missing == 0 {
            say!("  {}", styled(GOOD, "nothing is missing"));
        } else if handled == 0 {
            let how = if self.doubts.is_empty() {
                "--yes"
            } else {
                "--yes --despite-doubts"
            };
            say!(
                "  {}; {how} queues them",
                styled(BAD, format!("{missing} missing"))
            );
        } else {
            let Self {
                queued,
                queued_before,
                failed,
                ..
            } = self;
            say!(
                "  {missing} missing: {}, {queued_before} queued before, {failed} failed",
                styled(GOOD, format!("{queued} queued"))
            );
        }
        for doubt in &self.doubts {
            say!("  {}: {doubt}", styled(NOTICE, "doubt"));
        }
        if self.completeness == Completeness::NotProven {
            say!(
                "  {}: TitanX does not say that these were all of the job's contacts",
                styled(NOTICE, "completeness not proven")
            );
        }
    }
}
