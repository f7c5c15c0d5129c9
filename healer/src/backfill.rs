//! The last step: reads the lists of the jobs with missing contacts once more, and sends these.
//!
//! Contacts are never stored, so they are read a second time. What is missing has to be in both lists: a
//! page that moved while the first one was read may have made one contact look like two.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
};

use futures_util::StreamExt;
use serde_json::value::RawValue;
use titanx_client::TitanxClient;
use titanx_reconcile::{
    JobId,
    backfill::{Backfill, backfill},
    contact_ids::ContactIds,
    keys::Keys,
    matching::Ordinals,
    scored::is_scored,
};

use crate::{
    checks::{Round, Step},
    codec::{read_digests, read_missing},
    error::Error,
    report::Event,
    run::{Interrupted, JobCheck, JobStep, PageRead, RoundJob, Run, chunk_id, is_proven},
};

/// Pages after which the position in a list is saved.
const PAGES: u32 = 50;

/// The missing contacts of a job.
struct MissingContacts<'a> {
    /// By identity and ordinal; with the delivery id of an unfinished record.
    left: HashMap<(u64, u32), Option<Box<str>>>,
    /// How many contacts with the identity of a missing one were seen.
    ordinals: Ordinals,
    identities: HashSet<u64>,
    ids: ContactIds<'a>,
}

impl Run<'_> {
    pub(crate) async fn backfill(&self, round: &mut Round) -> Result<(), Interrupted> {
        for job in self.jobs().await? {
            let mut check = self.check(&job).await?;
            if check.step != JobStep::Backfill {
                continue;
            }
            self.time.check()?;
            if !self.take(&job).await? {
                check.step = JobStep::Done;
                self.save(&job, &check).await?;
                continue;
            }
            let read = self.backfill_job(&job, &mut check).await?;
            let mut result = check.result(check.found.as_ref().expect("it was compared"));
            if let PageRead::Failed(reason) = read {
                result.reason = Some(reason.to_owned());
            }
            self.finish(&job, &mut check, &result).await?;
        }
        round.step = Step::Done;
        Ok(())
    }

    async fn backfill_job(
        &self,
        job: &RoundJob,
        check: &mut JobCheck,
    ) -> Result<PageRead, Interrupted> {
        let id = JobId::from(job.id.as_str());
        let mut missing = self.missing(job, check, &id).await?;
        let mut list = TitanxClient::contacts(&job.id);
        let mut first_total = None;
        while !list.is_at_end() {
            if let failed @ PageRead::Failed(_) = self.read_page(&mut list).await? {
                return Ok(failed);
            }
            if list.pages == 1 {
                first_total = list.total;
            }
            let contacts = list.take_items();
            let backfills = missing.take_from(&contacts);
            if list.pages <= check.sent.pages {
                continue;
            }
            self.send(&id, backfills, check).await?;
            if list.pages.is_multiple_of(PAGES) {
                check.sent.pages = list.pages;
                self.save(job, check).await?;
            }
        }
        check.sent.list_changed = list.items_read() != check.contacts
            || list.total != first_total
            || !is_proven(&list)
            || !missing.left.is_empty();
        Ok(PageRead::Read)
    }

    /// Sends contacts of one page, which TitanX's client keeps small.
    async fn send(
        &self,
        job: &JobId,
        backfills: Vec<Backfill<'_>>,
        check: &mut JobCheck,
    ) -> Result<(), Interrupted> {
        let mut results = pin!(backfill(&self.healer.intake, job, backfills));
        let sent = &mut check.sent;
        let all = async {
            while let Some(result) = results.next().await {
                match result {
                    Ok(_) => sent.queued += 1,
                    Err(error) => {
                        sent.failed += 1;
                        let job_id = job.as_str();
                        let error = &error;
                        (self.report)(Event::BackfillFailed { job_id, error });
                    }
                }
            }
        };
        self.time.limit(all).await
    }

    async fn missing<'a>(
        &self,
        job: &RoundJob,
        check: &JobCheck,
        job_id: &'a JobId,
    ) -> Result<MissingContacts<'a>, Error> {
        let mut left = HashMap::new();
        for number in 0..check.missing_chunks {
            let id = chunk_id("missing", job, number);
            let chunk = self.healer.checks.read_bytes(&id).await?;
            let missing = read_missing(&chunk).ok_or(Error::UnknownItem(id))?;
            let missing = missing.into_iter();
            left.extend(missing.map(|it| ((it.identity, it.ordinal), it.delivery_id)));
        }
        let mut taken = Vec::new();
        for number in 0..check.taken_chunks {
            let id = chunk_id("taken", job, number);
            let chunk = self.healer.checks.read_bytes(&id).await?;
            taken.extend(read_digests(&chunk).ok_or(Error::UnknownItem(id))?);
        }
        Ok(MissingContacts {
            identities: left.keys().map(|(identity, _)| *identity).collect(),
            ordinals: Ordinals::default(),
            ids: ContactIds::new(job_id, taken),
            left,
        })
    }
}

impl MissingContacts<'_> {
    /// Takes out the missing ones of these contacts.
    fn take_from<'a>(&mut self, contacts: &'a [Box<RawValue>]) -> Vec<Backfill<'a>> {
        let mut found = Vec::new();
        for contact in contacts.iter().filter(|contact| is_scored(contact)) {
            let identity = Keys::of_contact(contact).identity();
            if !self.identities.contains(&identity) {
                continue;
            }
            let ordinal = self.ordinals.next(identity);
            let key = (identity, u32::try_from(ordinal).unwrap_or(u32::MAX));
            if let Some(unfinished) = self.left.remove(&key) {
                let delivery_id = unfinished.map(String::from);
                found.push(Backfill {
                    contact,
                    delivery_id: delivery_id.unwrap_or_else(|| self.ids.next(contact)),
                });
            }
        }
        found
    }
}
