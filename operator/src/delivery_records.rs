//! Reads the deliveries table with a progress bar.

use anyhow::Context;
use aws_sdk_dynamodb::types::TableDescription;
use titanx_reconcile::{
    JobId,
    delivery_records::{DeliveryRecords, TableScan},
};

use crate::{screen::Screen, stack::Stack};

/// Reads the records of all contacts whose job is in `jobs`, and of those without a job id.
pub(crate) async fn scan(
    stack: &Stack<'_>,
    jobs: &[JobId],
    screen: Screen,
) -> anyhow::Result<DeliveryRecords> {
    let client = stack.dynamodb();
    let table = stack.deliveries_table().await?;
    let described = client.describe_table().table_name(&table).send().await;
    let described = described.with_context(|| format!("cannot describe the table {table}"))?;
    let count = described.table().and_then(TableDescription::item_count);
    let bar = screen.progress("reading deliveries", count.unwrap_or(0).unsigned_abs());
    let scan = TableScan {
        client: &client,
        table: &table,
        jobs,
        filter: None,
        // A contact received a moment ago must not be backfilled.
        consistent: true,
    };
    let records = scan.run(|page| bar.inc(page.records)).await;
    bar.finish_and_clear();
    records.with_context(|| format!("cannot scan the table {table}"))
}
