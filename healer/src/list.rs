//! The second step: lists the contacts of each job, and stores their keys.

use titanx_client::{Error as TitanxError, PagedList, TitanxClient};
use titanx_reconcile::{keys::Keys, scored::is_scored};

use crate::{
    checks::{Round, Step},
    codec::{CHUNK_BYTES, push_contact},
    error::Error,
    run::{
        Interrupted, JobCheck, JobStep, PageRead, RoundJob, Run, chunk_id, is_proven, time,
        unchecked, unreadable,
    },
};

/// Pages after which the position in a list is saved.
const PAGES_A_CHUNK: u32 = 50;

impl Run<'_> {
    pub(crate) async fn list(&self, round: &mut Round) -> Result<(), Interrupted> {
        let mut jobs = self.jobs().await?;
        let mut contacts = 0;
        for number in 0..jobs.len() {
            if contacts >= self.healer.settings.max_contacts {
                round.more = true;
                jobs.truncate(number);
                self.healer.checks.write("jobs", &jobs).await?;
                break;
            }
            let mut check = self.check(&jobs[number]).await?;
            if check.step == JobStep::List {
                self.list_job(&jobs[number], &mut check).await?;
            }
            contacts += check.contacts;
        }
        round.step = Step::Compare;
        Ok(())
    }

    async fn list_job(&self, job: &RoundJob, check: &mut JobCheck) -> Result<(), Interrupted> {
        self.time.check()?;
        if !self.take(job).await? {
            check.step = JobStep::Done;
            return Ok(self.save(job, check).await?);
        }
        let listed = async {
            if check.list.is_none() {
                match self.created_at(job).await? {
                    Ok(created_at) => check.created_at = created_at,
                    Err(reason) => return Ok(PageRead::Failed(reason)),
                }
            }
            self.read_contacts(job, check).await
        };
        match listed.await? {
            PageRead::Read => {
                check.step = JobStep::Compare;
                Ok(self.save(job, check).await?)
            }
            PageRead::Failed(reason) => {
                check.contacts = 0;
                Ok(self.finish(job, check, &unchecked(reason)).await?)
            }
        }
    }

    /// When TitanX says that a job was created, or why it does not answer. It may not support the request, or not
    /// tell. A request that failed says nothing: the records of the first contacts may have expired.
    async fn created_at(
        &self,
        job: &RoundJob,
    ) -> Result<Result<Option<i64>, &'static str>, Interrupted> {
        match self.time.limit(self.titanx().job(&job.id)).await? {
            Ok(job) => Ok(Ok(time(&job, &["createdAt"]))),
            Err(TitanxError::NotSupported { .. }) => Ok(Ok(None)),
            Err(error) => unreadable(error).map(Err),
        }
    }

    /// Reads the list to its end. If it has changed meanwhile, it is read once more.
    async fn read_contacts(
        &self,
        job: &RoundJob,
        check: &mut JobCheck,
    ) -> Result<PageRead, Interrupted> {
        loop {
            if let failed @ PageRead::Failed(_) = self.read_pages(job, check).await? {
                return Ok(failed);
            }
            let list = check.list.take().expect("it was read");
            let has_changed = check.first_total != list.total;
            check.is_proven = is_proven(&list) && !has_changed;
            if !has_changed || check.list_changed {
                return Ok(PageRead::Read);
            }
            check.list_changed = true;
            check.key_chunks = 0;
            check.contacts = 0;
            check.first_total = None;
        }
    }

    async fn read_pages(
        &self,
        job: &RoundJob,
        check: &mut JobCheck,
    ) -> Result<PageRead, Interrupted> {
        let mut list = check
            .list
            .take()
            .unwrap_or_else(|| TitanxClient::contacts(&job.id));
        let (mut chunk, mut pages) = (Vec::new(), 0);
        let mut contacts = check.contacts;
        while !list.is_at_end() {
            if let failed @ PageRead::Failed(_) = self.read_page(&mut list).await? {
                return Ok(failed);
            }
            if list.pages == 1 {
                check.first_total = list.total;
            }
            for contact in list.take_items() {
                push_contact(&mut chunk, &Keys::of_contact(&contact), is_scored(&contact));
                contacts += 1;
            }
            pages += 1;
            if pages == PAGES_A_CHUNK || chunk.len() >= CHUNK_BYTES || list.is_at_end() {
                check.contacts = contacts;
                self.save_chunks(job, check, std::mem::take(&mut chunk))
                    .await?;
                list = self.save_position(job, check, list).await?;
                pages = 0;
            }
        }
        check.list = Some(list);
        Ok(PageRead::Read)
    }

    /// A page has some thousand contacts at most, so what is above the limit fits into the item too;
    /// were it more, DynamoDB would refuse it.
    async fn save_chunks(
        &self,
        job: &RoundJob,
        check: &mut JobCheck,
        chunk: Vec<u8>,
    ) -> Result<(), Error> {
        let id = chunk_id("keys", job, check.key_chunks);
        self.healer.checks.write_bytes(&id, chunk).await?;
        check.key_chunks += 1;
        Ok(())
    }

    async fn save_position(
        &self,
        job: &RoundJob,
        check: &mut JobCheck,
        list: PagedList,
    ) -> Result<PagedList, Error> {
        check.list = Some(list);
        self.save(job, check).await?;
        Ok(check.list.take().expect("it was put there"))
    }
}
