//! Scans the deliveries table for contacts that were received.
//!
//! A scan suffices because it is rare. An index by job would cost a write for each delivery.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::scan::{ScanError as ScanServiceError, ScanOutput},
    types::{AttributeValue, ConsumedCapacity, ReturnConsumedCapacity},
};
use futures_util::future::try_join_all;
use titanx_receiver::deliveries::{CONTACT_KEYS, DELIVERY_ID, IN_PROGRESS, JOB_ID, STATUS};

use crate::{
    backfill_id::{self, is_backfill},
    job_id::JobId,
    keys::{KeyFilter, KeyTable, Keys},
};

/// Segments of the table that are scanned in parallel.
const SEGMENTS: i32 = 4;

/// The record of a delivery of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// The index of its job in the list of jobs, if the contact names a job.
    pub job: Option<usize>,
    /// The keys that identify the contact.
    pub keys: Keys,
    /// The delivery id.
    pub delivery_id: String,
    /// Whether the delivery was claimed, but is not known to be completed.
    pub unfinished: bool,
}

/// Records of deliveries of contacts. Those of a million contacts with two keys each take 40 MB.
#[derive(Debug, Default)]
pub struct DeliveryRecords {
    pub(crate) keys: KeyTable,
    jobs: Vec<u32>,
    /// The records of backfills by their indices, in order, with the digests of their delivery ids.
    backfills: Vec<(u32, u64)>,
    /// The delivery ids of the unfinished records, by their indices.
    unfinished: HashMap<usize, String>,
}

const NO_JOB: u32 = u32::MAX;

/// The key table has no more entries than that.
fn table_index(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl DeliveryRecords {
    /// Appends a record.
    pub fn push(&mut self, record: DeliveryRecord) {
        let index = self.keys.push(&record.keys);
        let job = record.job.and_then(|job| u32::try_from(job).ok());
        self.jobs.push(job.unwrap_or(NO_JOB));
        if is_backfill(&record.delivery_id) {
            let id = backfill_id::digest(&record.delivery_id);
            self.backfills.push((table_index(index), id));
        }
        if record.unfinished {
            self.unfinished.insert(index, record.delivery_id);
        }
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of completed deliveries of each job, by the job's index.
    #[must_use]
    pub fn completed_by_job(&self) -> HashMap<usize, usize> {
        let mut completed = HashMap::new();
        for index in (0..self.len()).filter(|&index| !self.is_unfinished(index)) {
            if let Some(job) = self.job(index) {
                *completed.entry(job).or_default() += 1;
            }
        }
        completed
    }

    pub(crate) fn job(&self, index: usize) -> Option<usize> {
        let job = self.jobs[index];
        (job != NO_JOB).then_some(job as usize)
    }

    pub(crate) fn is_unfinished(&self, index: usize) -> bool {
        self.unfinished.contains_key(&index)
    }

    /// The digest of the delivery id, if it is a backfill's.
    pub(crate) fn backfill_digest(&self, index: usize) -> Option<u64> {
        let index = table_index(index);
        let place = self.backfills.binary_search_by_key(&index, |it| it.0);
        place.ok().map(|place| self.backfills[place].1)
    }

    pub(crate) fn unfinished_delivery_id(&self, index: usize) -> Option<&str> {
        self.unfinished.get(&index).map(String::as_str)
    }
}

/// The deliveries table could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ScanError(Box<SdkError<ScanServiceError>>);

/// What a scan reads, and how.
#[derive(Debug)]
pub struct TableScan<'a> {
    /// The client.
    pub client: &'a Client,
    /// The name of the deliveries table.
    pub table: &'a str,
    /// The jobs whose records are read, beside those without a job id.
    pub jobs: &'a [JobId],
    /// Leaves out the records without a job id that have none of these keys.
    pub filter: Option<&'a KeyFilter>,
    /// Whether a contact is read that was received a moment ago. It costs twice as much.
    pub consistent: bool,
}

/// A page of the table that was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScannedPage {
    /// The number of records that were passed over, whether they are kept or not.
    pub records: u64,
    /// The read units that DynamoDB charges.
    pub units: f64,
}

impl TableScan<'_> {
    /// Reads the records of all contacts whose job is one of the jobs, and of those without a job id.
    /// Calls `scanned` for each page that was read.
    ///
    /// # Errors
    ///
    /// [`ScanError`] if DynamoDB refuses, fails or does not answer, after the client's retries.
    pub async fn run(&self, scanned: impl Fn(ScannedPage)) -> Result<DeliveryRecords, ScanError> {
        let indices = self.jobs.iter().enumerate();
        let jobs = indices.map(|(index, job)| (job.key(), index)).collect();
        let found = Mutex::default();
        let segment = |segment| self.segment(segment, &jobs, &found, &scanned);
        try_join_all((0..SEGMENTS).map(segment)).await?;
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn segment(
        &self,
        segment: i32,
        jobs: &HashMap<&str, usize>,
        found: &Mutex<DeliveryRecords>,
        scanned: &impl Fn(ScannedPage),
    ) -> Result<(), ScanError> {
        let mut start = None;
        loop {
            let mut page = self.page(segment, start).await?;
            let units = page
                .consumed_capacity()
                .and_then(ConsumedCapacity::capacity_units);
            scanned(ScannedPage {
                records: u64::try_from(page.scanned_count).unwrap_or(0),
                units: units.unwrap_or(0.0),
            });
            start = page.last_evaluated_key.take();
            let mut found = lock(found);
            for item in page.items.take().unwrap_or_default() {
                if let Some(record) = self.record(item, jobs) {
                    found.push(record);
                }
            }
            if start.is_none() {
                return Ok(());
            }
        }
    }

    async fn page(
        &self,
        segment: i32,
        start: Option<HashMap<String, AttributeValue>>,
    ) -> Result<ScanOutput, ScanError> {
        let scan = self.client.scan().table_name(self.table);
        let scan = scan.segment(segment).total_segments(SEGMENTS);
        let page = scan
            .consistent_read(self.consistent)
            .projection_expression("delivery_id, #status, job_id, contact_keys")
            .filter_expression("attribute_exists(contact_keys)")
            .expression_attribute_names("#status", STATUS)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .set_exclusive_start_key(start)
            .send();
        page.await.map_err(|error| ScanError(Box::new(error)))
    }

    fn record(
        &self,
        mut item: HashMap<String, AttributeValue>,
        jobs: &HashMap<&str, usize>,
    ) -> Option<DeliveryRecord> {
        let text = |name: &str| Some(item.get(name)?.as_s().ok()?.as_str());
        let job = match text(JOB_ID) {
            Some(job_id) => Some(*jobs.get(JobId::from(job_id).key())?),
            None => None,
        };
        let unfinished = text(STATUS) == Some(IN_PROGRESS);
        let keys = Keys::of_record(item.get(CONTACT_KEYS)?.as_ss().ok()?);
        if job.is_none() && self.filter.is_some_and(|filter| !filter.has_any(&keys)) {
            return None;
        }
        let Some(AttributeValue::S(delivery_id)) = item.remove(DELIVERY_ID) else {
            return None;
        };
        Some(DeliveryRecord {
            job,
            keys,
            delivery_id,
            unfinished,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_counted() {
        let mut records = DeliveryRecords::default();
        assert!(records.is_empty());
        records.push(DeliveryRecord {
            job: None,
            keys: Keys::default(),
            delivery_id: "delivery-1".to_owned(),
            unfinished: false,
        });
        assert!(!records.is_empty());
        assert_eq!(records.len(), 1);
    }
}
