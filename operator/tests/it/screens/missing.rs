//! The contacts of jobs that may be missing: `reconcile`, `heal`.

use std::{ops::Range, sync::Arc};

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{AttributeValue, Fault, FaultProxy, Harm, When},
    titanx::{completed_job, envelope},
};

use super::{Screens, deliver, now_ms};
use crate::{
    System,
    operator::Operator,
    titanx_api::{Failure, Form, PagingStyle},
};

const HOUR_MS: i64 = 3_600_000;

/// A contact, with a score or without.
fn contact(number: usize, scored: bool) -> Value {
    let mut contact = json!({
        "customerContactId": format!("contact-{number}"),
        "lastName": format!("Person {number}"),
        "email": format!("sample.{number}@example.com"),
    });
    if scored {
        contact["leadStatus"] = "High".into();
    }
    contact
}

fn contacts(numbers: Range<usize>, scored: bool) -> Vec<Value> {
    numbers.map(|number| contact(number, scored)).collect()
}

/// The deliveries of these contacts, with the id of their job or without.
fn deliveries(job: Option<&str>, numbers: Range<usize>) -> Vec<String> {
    let delivery = |number| {
        let mut payload = contact(number, true);
        if let Some(job) = job {
            payload["jobId"] = job.into();
        }
        let id = format!("delivery-{number}");
        envelope(&id, "job.contact.scored", &payload)
    };
    numbers.map(delivery).collect()
}

/// A job of twelve contacts: five are received, three of them with the job's id, three are missing, and four
/// are not scored.
async fn put_job(system: &System, job: &str, first: usize) {
    let at_titanx = [
        contacts(first..first + 8, true),
        contacts(first + 8..first + 12, false),
    ];
    let described = json!({ "id": job });
    system.api.put_job(job, described, &at_titanx.concat());
    let bodies = [
        vec![completed_job(&format!("{job}-completed"), job)],
        deliveries(Some(job), first..first + 3),
        deliveries(None, first + 3..first + 5),
    ];
    deliver(system, &bodies.concat()).await;
}

/// The operator with a proxy of DynamoDB or SQS.
fn behind(system: &System, service: &str) -> (Operator, FaultProxy) {
    let url = match service {
        "DYNAMODB" => &system.emulators.dynamodb_url,
        _ => &system.emulators.sqs_url,
    };
    let proxy = FaultProxy::start(url, 1);
    let name = format!("AWS_ENDPOINT_URL_{service}");
    (system.operator.clone().set(&name, &proxy.url), proxy)
}

/// Changes the record of a job.
fn set(system: &System, job: &str, name: &str, value: i64) {
    let mut record = system.emulators.jobs.get(job).unwrap();
    let value = AttributeValue::N(value.to_string());
    record.insert(name.to_owned(), value);
    system.emulators.jobs.put(&record);
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile() {
    const NOTHING: &str = r#"{"Items": [], "Count": 0, "ScannedCount": 0}"#;
    let system = System::start(Form::Schema);
    let mut screens = Screens::of(&system);
    let System { api, operator, .. } = &system;
    put_job(&system, "job-1", 0).await;
    let (dry, line) = ("reconcile job-1", "reconcile job-1 --yes");
    screens.show("Some are missing", operator, dry);
    set(&system, "job-1", "check_ends", now_ms() + 3 * HOUR_MS);
    screens.show("The healer works on it", operator, line);
    set(&system, "job-1", "check_ends", 0);
    screens.show("They are queued", operator, line);
    screens.show("None is missing", operator, dry);
    // As if all records had been written after the scan.
    let (early, dynamodb) = behind(&system, "DYNAMODB");
    let nothing = Fault::Before(Harm::Answer(NOTHING));
    dynamodb.inject(When::Every("Scan"), nothing);
    let (_, sqs) = behind(&system, "SQS");
    let refuses = Fault::Before(Harm::ServerError);
    sqs.inject(When::Every("SendMessage"), refuses);
    let neither = early.clone().set("AWS_ENDPOINT_URL_SQS", &sqs.url);
    screens.show_sorted("Some cannot be queued", &neither, line);
    screens.show("Some were queued meanwhile", &early, line);
    api.set_paging(PagingStyle::NoMetadata);
    screens.show("The list may be longer", operator, dry);
    api.set_paging(PagingStyle::Total);

    let old = json!({"createdAt": "2020-01-05T12:00:00Z"});
    api.put_job("job-old", old, &contacts(100..102, true));
    api.put_job("job-ageless", json!({}), &contacts(110..113, true));
    let age = json!({"modifiedAt": "2100-01-05T12:00:00Z"});
    let of = |numbers, scored| (age.clone(), contacts(numbers, scored));
    for (job, (described, contacts)) in [
        ("job-strange", of(120..125, true)),
        ("job-unscored", of(130..136, false)),
        ("job-half-scored", of(140..147, false)),
        ("job-empty", of(0..0, true)),
    ] {
        api.put_job(job, described, &contacts);
    }
    let bodies = [
        deliveries(Some("job-strange"), 220..222),
        deliveries(Some("job-half-scored"), 140..143),
    ];
    deliver(&system, &bodies.concat()).await;
    let doubted = "job-old job-ageless job-strange job-unscored job-half-scored job-empty";
    let line = format!("reconcile {doubted}");
    screens.show("Doubts", operator, &line);
    let line = "reconcile job-old job-ageless --yes";
    screens.show("Doubts, not accepted", operator, line);
    let line = format!("{line} --despite-doubts");
    screens.show("Doubts, accepted", operator, &line);
    let line = "reconcile job-other";
    screens.show("A job that TitanX does not know", operator, line);
    screens.compare("reconcile");
}

#[tokio::test(flavor = "multi_thread")]
async fn heal() {
    let system = Arc::new(System::start(Form::Schema));
    let mut screens = Screens::of(&system);
    let System { api, operator, .. } = &*system;
    screens.show("There is no job", operator, "heal --due");
    put_job(&system, "job-1", 0).await;
    set(&system, "job-1", "completed_at", now_ms() - 60 * HOUR_MS);
    let (one, due) = ("heal --job job-1", "heal --due");
    let dry = format!("{one} --dry-run");
    screens.show("A young job, dry", operator, &dry);
    let (without_sqs, proxy) = behind(&system, "SQS");
    let refuses = Fault::Before(Harm::ServerError);
    proxy.inject(When::Every("SendMessage"), refuses);
    screens.show_sorted("A young job, and SQS fails", &without_sqs, one);
    set(&system, "job-1", "completed_at", now_ms() - 80 * HOUR_MS);
    screens.show("A job", operator, one);

    put_job(&system, "job-2", 20).await;
    put_job(&system, "job-3", 40).await;
    put_job(&system, "job-4", 60).await;
    for job in ["job-2", "job-3", "job-4"] {
        set(&system, job, "completed_at", now_ms() - 80 * HOUR_MS);
    }
    let old = json!({"createdAt": "2020-01-05T12:00:00Z"});
    api.put_job("job-3", old, &contacts(40..49, true));
    api.fail("GET /jobs/job-4/contacts", Failure::Status(404));
    let dry = format!("{due} --dry-run");
    screens.show("Several are due, dry", operator, &dry);
    api.fail("GET /jobs/job-4/contacts", Failure::Status(404));
    screens.show("Several are due", operator, due);
    screens.show("The next round", operator, due);
    let (changing, proxy) = behind(&system, "DYNAMODB");
    let seen = Arc::clone(&system);
    proxy.observe(move |served| {
        // The check of a job begins with it.
        if served.operation == "UpdateItem" {
            let mut record = seen.emulators.jobs.get("job-2").unwrap();
            let now = AttributeValue::N(now_ms().to_string());
            record.insert("completed_at".to_owned(), now);
            seen.emulators.jobs.put(&record);
        }
    });
    let two = "heal --job job-2 --delay-hours 0";
    screens.show("It is completed again meanwhile", &changing, two);
    let two = "heal --job job-2";
    screens.show("The same without a change", operator, two);
    let mut spelled = system.emulators.jobs.get("job-3").unwrap();
    let job = AttributeValue::S("job3".to_owned());
    spelled.insert("job_id".to_owned(), job);
    system.emulators.jobs.put(&spelled);
    let dry = format!("{due} --dry-run");
    screens.show("A job in two spellings, dry", operator, &dry);
    system.emulators.jobs.delete("job3");
    set(&system, "job-3", "check_ends", now_ms() + 3 * HOUR_MS);
    let held = "heal --job job-3";
    screens.show("Somebody works on it", operator, held);
    screens.show("It is not completed", operator, "heal --job job-9");
    api.fail("GET /jobs", Failure::RetryAfter(2 * 3_600));
    screens.show("TitanX asks to wait", operator, "heal --job job-2");
    let round = [
        ("check_id", AttributeValue::S("round".to_owned())),
        (
            "lease_ends",
            AttributeValue::N((now_ms() + HOUR_MS).to_string()),
        ),
    ];
    let round = round.map(|(name, value)| (name.to_owned(), value));
    system.emulators.checks.put(&round.into());
    screens.show("The healer works on its round", operator, due);
    screens.compare("heal");
}
