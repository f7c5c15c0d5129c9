//! The records and messages as tables and a queue have them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Contact, HOUR_MS, Record, Status, expected::keys};
use crate::{
    emulators::{AttributeValue, Emulators, Item, Message},
    titanx::now_ms,
};

/// Puts these records into the deliveries table.
pub fn put(emulators: &Emulators, records: &[Record]) {
    let now = i64::try_from(now_ms()).unwrap();
    for record in records {
        let number = |number: i64| AttributeValue::N(number.to_string());
        let (status, lease) = match record.status {
            Status::Completed => ("COMPLETED", now - HOUR_MS),
            Status::Unfinished(ms) => ("INPROGRESS", now + ms),
            Status::Unknown => ("OTHER", now),
        };
        let mut item = Item::from([
            (
                "delivery_id".to_owned(),
                AttributeValue::S(record.delivery_id.clone()),
            ),
            ("status".to_owned(), AttributeValue::S(status.to_owned())),
            ("in_progress_expiration".to_owned(), number(lease)),
            (
                "expiration".to_owned(),
                number((now + record.expires_h * HOUR_MS) / 1_000),
            ),
            (
                "claimed_by".to_owned(),
                AttributeValue::S("somebody".to_owned()),
            ),
            (
                "validation".to_owned(),
                AttributeValue::S("of another payload".to_owned()),
            ),
        ]);
        if let Some(job) = &record.job {
            item.insert("job_id".to_owned(), AttributeValue::S(job.clone()));
        }
        let keys = keys(record.identity.unwrap_or_default());
        if !keys.is_empty() {
            item.insert("contact_keys".to_owned(), AttributeValue::SS(keys));
        }
        emulators.deliveries.put(&item);
    }
}

/// The records that a table should have, each in one line.
pub fn lines(records: &[Record]) -> BTreeSet<String> {
    let each = records.iter().map(|it| {
        let status = match it.status {
            Status::Completed => "COMPLETED",
            Status::Unfinished(_) => "INPROGRESS",
            Status::Unknown => "OTHER",
        };
        let keys: BTreeSet<_> = keys(it.identity.unwrap_or_default()).into_iter().collect();
        format!(
            "{} {status} of {:?}, {} h, {keys:?}",
            it.delivery_id, it.job, it.expires_h
        )
    });
    each.collect()
}

/// The records that the table has.
pub fn stored(emulators: &Emulators) -> BTreeSet<String> {
    let now_s = i64::try_from(now_ms()).unwrap() / 1_000;
    let each = emulators.deliveries.items().into_iter().map(|item| {
        let text = |name: &str| match item.get(name) {
            Some(AttributeValue::S(text) | AttributeValue::N(text)) => Some(text.clone()),
            _ => None,
        };
        let keys: BTreeSet<_> = match item.get("contact_keys") {
            Some(AttributeValue::SS(keys)) => keys.iter().cloned().collect(),
            _ => BTreeSet::new(),
        };
        let expires_s = text("expiration").unwrap().parse::<i64>().unwrap() - now_s;
        // Rounded, since time passes.
        let hours = (expires_s + 1_800).div_euclid(3_600);
        format!(
            "{} {} of {:?}, {hours} h, {keys:?}",
            text("delivery_id").unwrap(),
            text("status").unwrap(),
            text("job_id")
        )
    });
    each.collect()
}

/// The message of a backfilled contact: its delivery id, job and payload.
pub fn message(job: &str, contact: &Contact, delivery_id: &str) -> String {
    format!("{delivery_id} of {job}: {}", contact.json)
}

/// The messages that a queue has, in the form of [`message`].
pub fn messages(queued: &[Message]) -> Vec<String> {
    let each = queued.iter().map(|message| {
        let attribute = |name: &str| message.attribute(name).unwrap_or_else(|| panic!("{name}"));
        let body: Value = serde_json::from_str(&message.body).unwrap();
        let id = attribute("deliveryId");
        assert_eq!(
            [
                attribute("source"),
                attribute("eventType"),
                attribute("apiVersion")
            ],
            ["backfill", "job.contact.scored", "v2"]
        );
        assert_eq!(
            [&body["id"], &body["eventType"], &body["apiVersion"]],
            [id, "job.contact.scored", "v2"]
        );
        format!("{id} of {}: {}", attribute("jobId"), body["payload"])
    });
    let mut all: Vec<_> = each.collect();
    all.sort();
    all
}
