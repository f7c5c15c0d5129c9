//! Scans the deliveries table for contacts that were received.
//!
//! A scan suffices because it is rare. An index by job would cost a write for each delivery.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::{
    Client, error::SdkError, operation::scan::ScanError as ScanServiceError, types::AttributeValue,
};
use futures_util::future::try_join_all;
use titanx_receiver::deliveries::{CONTACT_KEYS, JOB_ID, STATUS};

use crate::job_id::JobId;

/// Segments of the table that are scanned in parallel.
const SEGMENTS: i32 = 4;

/// The record of a completed delivery of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// The job id, if the contact had one.
    pub job_id: Option<JobId>,
    /// The keys that identify the contact.
    pub keys: HashSet<String>,
}

/// The deliveries table could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ScanError(Box<SdkError<ScanServiceError>>);

/// Reads the records of all contacts whose job is in `jobs`, and of those without a job id. Calls
/// `scanned` with the number of records of each page that was read.
///
/// # Errors
///
/// [`ScanError`] if DynamoDB refuses, fails or does not answer, after the client's retries.
pub async fn scan(
    client: &Client,
    table: &str,
    jobs: &[JobId],
    scanned: impl Fn(u64),
) -> Result<Vec<DeliveryRecord>, ScanError> {
    let scan = TableScan {
        client,
        table,
        jobs,
        scanned,
    };
    let segments = try_join_all((0..SEGMENTS).map(|segment| scan.segment(segment))).await?;
    Ok(segments.concat())
}

struct TableScan<'a, F> {
    client: &'a Client,
    table: &'a str,
    jobs: &'a [JobId],
    scanned: F,
}

impl<F: Fn(u64)> TableScan<'_, F> {
    async fn segment(&self, segment: i32) -> Result<Vec<DeliveryRecord>, ScanError> {
        let mut records = Vec::new();
        let mut start = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(self.table)
                .segment(segment)
                .total_segments(SEGMENTS)
                // A contact received a moment ago must not be backfilled.
                .consistent_read(true)
                .projection_expression("#job_id, #contact_keys")
                .filter_expression("#status = :completed AND attribute_exists(#contact_keys)")
                .expression_attribute_names("#job_id", JOB_ID)
                .expression_attribute_names("#contact_keys", CONTACT_KEYS)
                .expression_attribute_names("#status", STATUS)
                .expression_attribute_values(":completed", AttributeValue::S("COMPLETED".into()))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| ScanError(Box::new(error)))?;
            (self.scanned)(u64::try_from(page.scanned_count).unwrap_or(0));
            records.extend(page.items().iter().filter_map(|item| self.record(item)));
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(records);
            }
        }
    }

    fn record(&self, item: &HashMap<String, AttributeValue>) -> Option<DeliveryRecord> {
        let job_id = item.get(JOB_ID).and_then(|value| value.as_s().ok());
        let job_id = job_id.map(|job_id| JobId::from(job_id.as_str()));
        if job_id.as_ref().is_some_and(|it| !self.jobs.contains(it)) {
            return None;
        }
        let keys = item.get(CONTACT_KEYS)?.as_ss().ok()?;
        Some(DeliveryRecord {
            job_id,
            keys: keys.iter().cloned().collect(),
        })
    }
}
