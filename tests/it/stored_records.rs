//! Records as earlier versions stored them. A deployment replaces versions while TitanX retries, and for a
//! while both may run: what one has stored, the other must understand.
//!
//! The layouts of the deliveries table:
//!
//! - `677e714` (2026-11-22): no job and no keys of a contact;
//! - `5c568d8` (2026-11-22): a completed contact's record has `job_id` and `contact_keys`;
//! - since 2026-11-28 a claimed contact's record has them, too.
//!
//! The jobs table has had one layout. Whoever changes a layout adds it here, and keeps the earlier ones for
//! as long as records of them can be in a table: deliveries for the retention, jobs for ever.

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{Emulators, Item},
    front_door::{Answer, TIMEOUT, answer_within, deliver, environment, now_ms, receiver},
    titanx::{completed_job, contact, envelope, envelope_at, signed},
};

/// Of [`contact`]: `printf 'job.contact.scored\0%s' "$PAYLOAD" | openssl dgst -sha256 -binary | base64`.
const VALIDATION: &str = "hL1RUd9x2xnn5n01rteo605LnpntnvePMBpZtd3UH+U";

/// Of its telephone number, the last of ten fields of which the others are empty:
/// `printf '\0\0\0\0\0\0\0\0\00012025550101\0' | openssl dgst -sha256 -binary | head -c 16 | base64`.
const CONTACT_KEY: &str = "digest:nNRue4XVxX6t4DGstKzTTw";

/// A record in each layout, as DynamoDB gives it. The lease ends at `lease_ends_ms`.
fn layouts(status: &str, lease_ends_ms: u64) -> [(&'static str, Value); 3] {
    let first = json!({
        "delivery_id": {"S": "delivery-1"},
        "status": {"S": status},
        "in_progress_expiration": {"N": lease_ends_ms.to_string()},
        "expiration": {"N": "4102444800"},
        "claimed_by": {"S": "0b6a1e3c5f0d4d0e9a4f8b1f7a1c2d3e"},
        "validation": {"S": VALIDATION},
    });
    let mut third = first.clone();
    third["job_id"] = json!({"S": "job-1"});
    third["contact_keys"] = json!({"SS": [CONTACT_KEY]});
    let completed = status == "COMPLETED";
    let second = if completed { &third } else { &first }.clone();
    [
        ("677e714", first),
        ("5c568d8", second),
        ("2026-11-28", third),
    ]
}

fn item(record: &Value) -> Item {
    serde_json::from_value(record.clone()).unwrap()
}

#[tokio::test]
async fn a_completed_delivery_of_an_earlier_version_is_a_duplicate() {
    for (version, record) in layouts("COMPLETED", 0) {
        let emulators = Emulators::start();
        let receiver = receiver(&environment(&emulators));
        emulators.deliveries.put(&item(&record));
        let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
        assert_eq!(answer, Answer::duplicate(), "{version}");
        let other = json!({ "jobId": "job-1", "phone": "+1 202-555-0102" });
        let reused = envelope("delivery-1", "job.contact.scored", &other);
        let answer = deliver(&receiver, &signed(&reused)).await;
        assert_eq!(answer, Answer::quarantined(), "{version}");
        assert_eq!(emulators.contacts.len(), 0, "{version}");
    }
}

#[tokio::test]
async fn a_lease_of_an_earlier_version_holds_until_it_ends() {
    let (live, over) = (now_ms() + 8_000, now_ms() - 1);
    for ((version, held), (_, free)) in layouts("INPROGRESS", live)
        .into_iter()
        .zip(layouts("INPROGRESS", over))
    {
        let emulators = Emulators::start();
        let receiver = receiver(&environment(&emulators));
        emulators.deliveries.put(&item(&held));
        let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
        assert_eq!(answer.status, 429, "{version}");
        emulators.deliveries.put(&item(&free));
        let answer = deliver(&receiver, &signed(&contact("delivery-1"))).await;
        assert_eq!(answer, Answer::accepted(), "{version}");
        assert_eq!(emulators.contacts.len(), 1, "{version}");
    }
}

/// The other way round: what this version stores is the last layout, which the previous version
/// understands.
#[tokio::test]
async fn this_version_stores_the_last_layout() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let request = signed(&contact("delivery-1"));
    let (answer, follow_up) = answer_within(&receiver, &request, TIMEOUT).await;
    assert_eq!(answer, Answer::accepted());
    assert_stored_in_the_last_layout(&emulators, "INPROGRESS");
    receiver.finish(follow_up).await;
    assert_stored_in_the_last_layout(&emulators, "COMPLETED");
}

fn assert_stored_in_the_last_layout(emulators: &Emulators, status: &str) {
    let stored = serde_json::to_value(emulators.deliveries.get("delivery-1").unwrap()).unwrap();
    let [.., (_, last)] = layouts(status, 0);
    assert_eq!(types(&stored), types(&last));
    for attribute in ["validation", "status", "job_id", "contact_keys"] {
        assert_eq!(stored[attribute], last[attribute]);
    }
}

/// The attributes of a record, each with its type.
fn types(record: &Value) -> Vec<(String, String)> {
    let attributes = record.as_object().unwrap().iter();
    let mut types: Vec<_> = attributes
        .map(|(name, value)| {
            let kind = value.as_object().unwrap().keys().next().unwrap();
            (name.clone(), kind.clone())
        })
        .collect();
    types.sort();
    types
}

#[tokio::test]
async fn a_job_of_an_earlier_version_is_updated_by_a_newer_event_alone() {
    let stored = json!({
        "job_id": {"S": "job-1"},
        "name": {"S": "Stored"},
        "type": {"S": "scoring"},
        "status": {"S": "Finalized"},
        "modified_at": {"S": "2026-11-22T00:00:00Z"},
        "completed_at": {"N": "4000000000000"},
        "delivery_id": {"S": "delivery-0"},
    });
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    emulators.jobs.put(&item(&stored));
    let payload = json!({ "jobId": "job-1", "jobName": "Older" });
    let older = envelope_at(3_999_999_999_999_i64, "older", "job.completed", &payload);
    let answer = deliver(&receiver, &signed(&older)).await;
    assert_eq!(answer, Answer::accepted());
    assert_eq!(emulators.jobs.get("job-1").unwrap(), item(&stored));

    let answer = deliver(&receiver, &signed(&completed_job("newer", "job-1"))).await;
    assert_eq!(answer, Answer::accepted());
    let updated = serde_json::to_value(emulators.jobs.get("job-1").unwrap()).unwrap();
    assert_eq!(updated["delivery_id"], json!({"S": "newer"}));
    assert_eq!(types(&updated), types(&stored));
}
