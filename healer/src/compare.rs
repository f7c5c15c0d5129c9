//! The third step: one scan of the deliveries table for all jobs of the round, and the match of each.

use std::sync::{Mutex, PoisonError};

use titanx_receiver::budget::now_ms;
use titanx_reconcile::{
    JobId,
    delivery_records::{DeliveryRecords, ScannedPage, TableScan},
    doubts::{delivered_since, doubts},
    keys::{KeyFilter, Kinds},
    matching::{Contacts, MatchResult, RecordPool},
};

use crate::{
    checks::{Round, Step},
    codec::{CHUNK_BYTES, Missing, digest_chunks, push_missing, read_contacts},
    error::Error,
    report::Event,
    run::{Found, Interrupted, JobCheck, JobStep, RoundJob, Run, chunk_id},
};

/// A job with its contacts.
struct ListedJob {
    job: RoundJob,
    check: JobCheck,
    contacts: Contacts,
}

impl Run<'_> {
    pub(crate) async fn compare(&self, round: &mut Round) -> Result<(), Interrupted> {
        // The scan cannot be continued, so it gets the most of a run.
        if self.time.is_advanced() {
            return Err(Interrupted::OutOfTime);
        }
        let listed = self.listed().await?;
        let ids: Vec<_> = listed.iter().map(|it| it.job.id.as_str().into()).collect();
        let compare = async {
            let records = self.scan(&ids, &listed).await?;
            let scanned_at = now_ms();
            let mut pool = RecordPool::new(records, Kinds::named(&[]));
            for (index, job) in listed.into_iter().enumerate() {
                let result = pool.match_job(index, &job.contacts);
                self.compared(job, result, scanned_at).await?;
            }
            Ok::<_, Interrupted>(())
        };
        match self.time.limit(compare).await {
            Ok(compared) => compared?,
            Err(_) => return Err(Error::ScanTooSlow.into()),
        }
        round.step = Step::Backfill;
        Ok(())
    }

    /// The jobs of the round whose contacts were listed.
    async fn listed(&self) -> Result<Vec<ListedJob>, Error> {
        let mut listed = Vec::new();
        for job in self.jobs().await? {
            let check = self.check(&job).await?;
            if check.key_chunks == 0 || check.contacts == 0 && check.step == JobStep::Done {
                continue;
            }
            let mut contacts = Contacts::default();
            for number in 0..check.key_chunks {
                let id = chunk_id("keys", &job, number);
                let chunk = self.healer.checks.read_bytes(&id).await?;
                read_contacts(&chunk, &mut contacts).ok_or(Error::UnknownItem(id))?;
            }
            listed.push(ListedJob {
                job,
                check,
                contacts,
            });
        }
        Ok(listed)
    }

    async fn scan(&self, ids: &[JobId], listed: &[ListedJob]) -> Result<DeliveryRecords, Error> {
        if listed.is_empty() {
            return Ok(DeliveryRecords::default());
        }
        let keys = listed.iter().flat_map(|it| it.contacts.all_keys());
        let filter = KeyFilter::new(keys.copied().collect());
        let scan = TableScan {
            client: &self.healer.dynamodb,
            table: &self.healer.deliveries_table,
            jobs: ids,
            filter: Some(&filter),
            // What TitanX delivered, it has delivered long ago. An eventually consistent read is late
            // by seconds.
            consistent: false,
        };
        let total = Mutex::new((0, 0.0));
        let count = |page: ScannedPage| {
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            total.0 += page.records;
            total.1 += page.units;
        };
        let found = scan.run(count).await?;
        let (records, units) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
        (self.report)(Event::Scanned {
            records,
            kept: found.len(),
            units,
        });
        Ok(found)
    }

    /// Stores what is missing of a job, or the job's result if nothing can be sent.
    async fn compared(
        &self,
        listed: ListedJob,
        result: MatchResult,
        scanned_at: i64,
    ) -> Result<(), Error> {
        let ListedJob {
            job,
            mut check,
            contacts,
        } = listed;
        let since = delivered_since(check.created_at, Some(job.completed_at));
        let retention = self.healer.settings.retention;
        let doubts = doubts(since, scanned_at, retention, &result);
        let doubt = doubts.first().map(|doubt| doubt.as_str().to_owned());
        let found = Found::new(&result, doubt);
        let may_send = found.doubt.is_none() && check.is_proven && !self.healer.settings.dry_run;
        if check.step == JobStep::Done {
            return Ok(());
        }
        if found.missing == 0 || !may_send {
            let mut outcome = check.result(&found);
            if found.missing > 0 && found.doubt.is_none() && check.is_proven {
                outcome.reason = Some("dry_run".to_owned());
            }
            check.found = Some(found);
            if !self.take(&job).await? {
                check.step = JobStep::Done;
                return self.save(&job, &check).await;
            }
            return self.finish(&job, &mut check, &outcome).await;
        }
        check.found = Some(found);
        check.taken_chunks = self.store_taken(&job, &result.taken_ids).await?;
        check.missing_chunks = self.store_missing(&job, result, &contacts).await?;
        check.step = JobStep::Backfill;
        self.save(&job, &check).await
    }

    async fn store_taken(&self, job: &RoundJob, digests: &[u64]) -> Result<u32, Error> {
        let mut chunks = 0;
        for chunk in digest_chunks(digests) {
            let id = chunk_id("taken", job, chunks);
            self.healer.checks.write_bytes(&id, chunk).await?;
            chunks += 1;
        }
        Ok(chunks)
    }

    async fn store_missing(
        &self,
        job: &RoundJob,
        result: MatchResult,
        contacts: &Contacts,
    ) -> Result<u32, Error> {
        let (mut chunk, mut chunks) = (Vec::new(), 0);
        let mut all = result.missing.into_iter().peekable();
        while let Some(missing) = all.next() {
            push_missing(&mut chunk, &Missing::new(missing, contacts));
            if chunk.len() >= CHUNK_BYTES || all.peek().is_none() {
                let id = chunk_id("missing", job, chunks);
                let full = std::mem::take(&mut chunk);
                self.healer.checks.write_bytes(&id, full).await?;
                chunks += 1;
            }
        }
        Ok(chunks)
    }
}
