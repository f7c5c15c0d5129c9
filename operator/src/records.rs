//! The records of the deliveries table that tell of contacts, read by a scan: an index would cost a
//! write for each delivery, and this is asked for rarely.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, TableDescription},
};
use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use titanx_receiver::deliveries::{CONTACT_KEYS, JOB_ID, STATUS};

use crate::{deployment::Cloud, screen::Screen};

/// Parts of the table that are read at once.
const SEGMENTS: i32 = 4;

/// The record of one contact that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its job, where the contact named one.
    pub(crate) job_id: Option<String>,
    /// By what the contact can be recognised.
    pub(crate) keys: HashSet<String>,
}

/// Reads every record of a contact that belongs to one of `jobs` or names none.
pub(crate) async fn of_jobs(
    cloud: &Cloud<'_>,
    jobs: &[String],
    screen: Screen,
) -> anyhow::Result<Vec<Record>> {
    let client = cloud.dynamodb();
    let table = cloud.deliveries_table().await?;
    let described = client.describe_table().table_name(&table).send().await;
    let described = described.with_context(|| format!("cannot read the table {table}"))?;
    let count = described.table().and_then(TableDescription::item_count);
    let bar = screen.progress("reading deliveries", count.unwrap_or(0).unsigned_abs());
    let scan = Scan {
        client,
        table,
        jobs,
        bar,
    };
    let segments = try_join_all((0..SEGMENTS).map(|segment| scan.segment(segment))).await?;
    scan.bar.finish_and_clear();
    Ok(segments.concat())
}

struct Scan<'a> {
    client: Client,
    table: String,
    jobs: &'a [String],
    bar: ProgressBar,
}

impl Scan<'_> {
    async fn segment(&self, segment: i32) -> anyhow::Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut start = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
                .segment(segment)
                .total_segments(SEGMENTS)
                // A record of a moment ago counts too: a contact must not be queued twice.
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
                .with_context(|| format!("cannot read the table {}", self.table))?;
            self.bar.inc(u64::try_from(page.scanned_count).unwrap_or(0));
            records.extend(page.items().iter().filter_map(|item| self.record(item)));
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(records);
            }
        }
    }

    fn record(&self, item: &HashMap<String, AttributeValue>) -> Option<Record> {
        let job_id = item.get(JOB_ID).and_then(|value| value.as_s().ok());
        if job_id.is_some_and(|job_id| !self.jobs.contains(job_id)) {
            return None;
        }
        let keys = item.get(CONTACT_KEYS)?.as_ss().ok()?;
        Some(Record {
            job_id: job_id.cloned(),
            keys: keys.iter().cloned().collect(),
        })
    }
}
