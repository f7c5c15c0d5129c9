//! The records of jobs and deliveries: `jobs`, `delivery`.

use titanx_testbed::emulators::{AttributeValue, Item};

use super::{Screens, deliver, now_ms};
use crate::{System, titanx_api::Form};
use titanx_testbed::titanx::envelope;

const HOUR_MS: i64 = 3_600_000;

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn item(members: &[(&str, AttributeValue)]) -> Item {
    let members = members.iter().cloned();
    members
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs() {
    let system = System::start(Form::Schema);
    let mut screens = Screens::of(&system);
    let operator = &system.operator.clone().set("COLUMNS", "150");
    screens.show("No job", operator, "jobs");
    let job = |id: &str, name: &str, day: i64| {
        vec![
            ("job_id", text(id)),
            ("status", text("Finalized")),
            ("name", text(name)),
            ("type", text("scoring")),
            (
                "completed_at",
                number(1_767_614_400_000 + day * 24 * HOUR_MS),
            ),
        ]
    };
    let jobs = &system.emulators.jobs;
    jobs.put(&item(&job("job-new", "The last", 9)));
    jobs.put(&item(&[("job_id", text("job-bare"))]));
    let contact = |number: i64, job: &str| {
        let payload =
            serde_json::json!({"jobId": job, "customerContactId": format!("contact-{number}")});
        envelope(
            &format!("delivery-{number}"),
            "job.contact.scored",
            &payload,
        )
    };
    let contacts = [
        contact(1, "job-new"),
        contact(2, "job-new"),
        contact(3, "job-bare"),
    ];
    deliver(&system, &contacts).await;
    screens.show("None is checked", operator, "jobs");
    screens.show("None is checked, counted", operator, "jobs --count");
    let checked = [
        ("complete", None, [1_111, 1_000, 100, 11, 0]),
        (
            "incomplete",
            Some("records_expired"),
            [2_222, 2_000, 200, 20, 2],
        ),
        ("unproven", Some("not_listed"), [0, 0, 0, 0, 0]),
        ("waiting", None, [3_333, 3_000, 300, 30, 3]),
    ];
    for (day, (state, reason, counts)) in (1..).zip(checked) {
        let mut record = job(&format!("job-{state}"), &format!("Batch {day}"), day);
        record.push(("state", text(state)));
        record.extend(reason.map(|reason| ("state_reason", text(reason))));
        let names = [
            "contacts_at_titanx",
            "received",
            "backfilled",
            "unscored",
            "missing",
        ];
        record.extend(names.into_iter().zip(counts.map(number)));
        jobs.put(&item(&record));
    }
    screens.show("Every state", operator, "jobs");
    screens.show("Every state, counted", operator, "jobs --count");
    screens.show("One state", operator, "jobs --state incomplete");
    screens.show(
        "A state that no job is in",
        operator,
        "jobs --state complete job-new",
    );
    screens.show("One job, counted", operator, "jobs --count job-complete");
    let narrow = operator.clone().set("COLUMNS", "80");
    screens.show(
        "One job on a narrow screen",
        &narrow,
        "jobs --count job-incomplete",
    );
    screens.show("A job that is not completed", operator, "jobs job-other");
    screens.compare("jobs");
}

/// A record with everything. Its lease ends in so many milliseconds.
fn record(id: &str, status: &str, lease_in_ms: i64) -> Item {
    item(&[
        ("delivery_id", text(id)),
        ("status", text(status)),
        ("in_progress_expiration", number(now_ms() + lease_in_ms)),
        ("expiration", number(now_ms() / 1_000 + 5 * 24 * 3_600)),
        ("claimed_by", text("an-invocation")),
        ("validation", text("a digest")),
        ("job_id", text("job-1")),
        (
            "contact_keys",
            AttributeValue::SS(vec![
                "digest:a".to_owned(),
                "customerContactId:b".to_owned(),
            ]),
        ),
    ])
}

#[test]
fn delivery() {
    const OVER: i64 = -2 * HOUR_MS - 10 * 60_000;
    let system = System::start(Form::Schema);
    let mut screens = Screens::of(&system);
    let operator = &system.operator;
    let deliveries = &system.emulators.deliveries;
    for record in [
        record("in-flight", "INPROGRESS", 3 * HOUR_MS + 10 * 60_000),
        record("died", "INPROGRESS", OVER),
        record("done", "COMPLETED", OVER),
        record("odd", "DONE", OVER),
    ] {
        deliveries.put(&record);
    }
    let mut bare = record("bare", "COMPLETED", OVER);
    for name in ["claimed_by", "job_id", "contact_keys"] {
        bare.remove(name);
    }
    deliveries.put(&bare);
    let mut old = record("old", "COMPLETED", OVER);
    old.insert("expiration".to_owned(), number((now_ms() + OVER) / 1_000));
    deliveries.put(&old);
    let mut short = record("just-died", "INPROGRESS", -1);
    short.remove("job_id");

    for (heading, id) in [
        ("No record", "never"),
        ("In flight", "in-flight"),
        ("The lease is over", "died"),
        ("Completed", "done"),
        ("Completed, by an earlier version", "bare"),
        ("Expired", "old"),
        ("Unknown form", "odd"),
    ] {
        screens.show(heading, operator, &format!("delivery {id}"));
    }
    for (heading, line) in [
        ("Nothing to release", "never --release"),
        ("Nothing to forget", "never --forget --yes"),
        (
            "A lease that holds is not released",
            "in-flight --release --yes",
        ),
        ("And not forgotten", "in-flight --forget"),
        ("A completed one is not released", "done --release"),
        ("A claim is not forgotten", "died --forget"),
        ("An unknown form", "odd --forget"),
        ("An expired one that was completed", "old --forget"),
        ("A claim whose lease is over", "died --release"),
        ("The same with --yes", "died --release --yes"),
        ("And then", "died"),
        ("A completed one", "done --forget"),
        ("The same with --yes", "done --forget --yes"),
    ] {
        screens.show(heading, operator, &format!("delivery {line}"));
    }
    short.insert("in_progress_expiration".to_owned(), number(now_ms() - 1));
    deliveries.put(&short);
    let line = "delivery just-died --release --yes";
    screens.show("A lease that has only just ended", operator, line);
    screens.compare("delivery");
}
