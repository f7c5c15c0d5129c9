//! Scans the deliveries table for contacts that were received.
//!
//! A scan suffices because it is rare. An index by job would cost a write for each delivery.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, TableDescription},
};
use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use titanx_receiver::deliveries::{CONTACT_KEYS, JOB_ID, STATUS};

use crate::{job_id::JobId, screen::Screen, stack::Stack};

/// Segments of the table that are scanned in parallel.
const SEGMENTS: i32 = 4;

/// The record of a completed delivery of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryRecord {
    /// The job id, if the contact had one.
    pub(crate) job_id: Option<JobId>,
    /// The keys that identify the contact.
    pub(crate) keys: HashSet<String>,
}

/// Reads the records of all contacts whose job is in `jobs`, and of those without a job id.
pub(crate) async fn scan(
    stack: &Stack<'_>,
    jobs: &[JobId],
    screen: Screen,
) -> anyhow::Result<Vec<DeliveryRecord>> {
    let client = stack.dynamodb();
    let table = stack.deliveries_table().await?;
    let described = client.describe_table().table_name(&table).send().await;
    let described = described.with_context(|| format!("cannot describe the table {table}"))?;
    let count = described.table().and_then(TableDescription::item_count);
    let bar = screen.progress("reading deliveries", count.unwrap_or(0).unsigned_abs());
    let scan = TableScan {
        client,
        table,
        jobs,
        bar,
    };
    let segments = try_join_all((0..SEGMENTS).map(|segment| scan.segment(segment))).await?;
    scan.bar.finish_and_clear();
    Ok(segments.concat())
}

struct TableScan<'a> {
    client: Client,
    table: String,
    jobs: &'a [JobId],
    bar: ProgressBar,
}

impl TableScan<'_> {
    async fn segment(&self, segment: i32) -> anyhow::Result<Vec<DeliveryRecord>> {
        let mut records = Vec::new();
        let mut start = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
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
                .with_context(|| format!("cannot scan the table {}", self.table))?;
            self.bar.inc(u64::try_from(page.scanned_count).unwrap_or(0));
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
