//! Records of jobs and deliveries, put into the tables as the receiver writes them, and how they are read.

use std::{
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{AttributeValue, Item},
    server::{Server, json as respond},
};

use crate::{System, titanx_api::Form};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn put(system: &System, id: &str, completed_ms: Option<u64>) {
    let mut record = Item::from([("job_id".to_owned(), AttributeValue::S(id.to_owned()))]);
    if let Some(ms) = completed_ms {
        record.insert("completed_at".to_owned(), AttributeValue::N(ms.to_string()));
    }
    system.emulators.jobs.put(&record);
}

#[test]
fn the_job_that_was_completed_last_is_listed_first() {
    let system = System::start(Form::Schema);
    let records = [
        ("b", Some(1_767_614_400_000)),
        ("e", None),
        ("a", Some(1_767_614_400_000)),
        ("d", Some(1_767_614_400_001)),
        ("c", Some(1_767_614_399_999)),
    ];
    for (id, ms) in records {
        put(&system, id, ms);
    }
    let listed = system.operator.run("--json jobs").exits(0).json();
    let ids = listed.as_array().unwrap().iter();
    let ids: Vec<_> = ids.map(|it| it["job_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["d", "a", "b", "c", "e"]);
    let table = system.operator.run("jobs").exits(0).stdout;
    let first = table.lines().nth(1).unwrap();
    let cells: Vec<_> = first.split_whitespace().collect();
    assert_eq!(cells, ["d", "-", "2026-01-05T12:00:00Z", "-"]);
}

/// TitanX may complete a job again, and may spell its id in another way then.
#[test]
fn of_two_spellings_the_job_that_was_completed_last_counts() {
    let system = System::start(Form::Schema);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    put(&system, "AAAA-1", Some(now - 30 * DAY_MS));
    put(&system, "aaaa1", Some(now - DAY_MS));
    put(&system, "aa-aa-1", None);
    let contact = json!({"customerContactId": "contact-1", "leadStatus": "High"});
    system
        .api
        .put_job("aaaa1", json!({"id": "aaaa1"}), &[contact]);
    let run = system.operator.run("--json reconcile AAaa-1").exits(3);
    // A job of thirty days ago would be one whose records may have expired.
    assert_eq!(run.json()[0]["doubts"], json!([]));
    assert_eq!(run.json()[0]["job_id"], "aaaa1");
}

#[test]
fn every_spelling_of_a_job_is_listed_whichever_is_asked_for() {
    let system = System::start(Form::Schema);
    for id in ["AAAA-1", "aaaa1", "aaaa2"] {
        put(&system, id, None);
    }
    for id in ["AAAA-1", "aaaa1", "aaaa-1"] {
        let listed = system.operator.run(&format!("--json jobs {id}")).exits(0);
        let listed = listed.json();
        let ids = listed.as_array().unwrap().iter().map(|it| &it["job_id"]);
        assert_eq!(ids.collect::<Vec<_>>(), ["AAAA-1", "aaaa1"], "{id}");
    }
}

/// Only a completed delivery has put its contact on the queue.
#[test]
fn a_delivery_in_flight_is_no_received_contact() {
    let system = System::start(Form::Schema);
    put(&system, "job-1", Some(1_767_614_400_000));
    for (id, status) in [
        ("one", "COMPLETED"),
        ("two", "INPROGRESS"),
        ("three", "COMPLETED"),
    ] {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let record = [
            ("delivery_id", text(id)),
            ("status", text(status)),
            ("job_id", text("job-1")),
            ("contact_keys", AttributeValue::SS(vec![format!("id:{id}")])),
        ];
        let record = record.map(|(name, value)| (name.to_owned(), value));
        system.emulators.deliveries.put(&Item::from(record));
    }
    let run = system.operator.run("--json jobs --count job-1").exits(0);
    assert_eq!(run.json()[0]["contacts"], 2);
}

/// A contact that was received a moment ago must not look missing.
#[test]
fn deliveries_are_read_consistently_in_four_segments() {
    let scans = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&scans);
    let dynamodb = Server::start("dynamodb", move |request: Request<Bytes>| {
        let target = request.headers()["x-amz-target"].to_str().unwrap();
        let operation = target.split('.').nth(1).unwrap().to_owned();
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let answer = match (operation.as_str(), body["TableName"].as_str()) {
            ("Scan", Some("jobs")) => json!({"Items": [{"job_id": {"S": "job-1"}}], "Count": 1}),
            ("Scan", _) => {
                seen.lock().unwrap().push(body);
                json!({"Items": [], "Count": 0, "ScannedCount": 0})
            }
            _ => json!({"Table": {}}),
        };
        async move { Some(respond(200, &answer)) }
    });
    let system = System::start(Form::Schema);
    let operator = system
        .operator
        .set("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.origin)
        .set("JOBS_TABLE", "jobs")
        .set("DELIVERIES_TABLE", "deliveries");
    operator.run("jobs --count").exits(0);
    let scans = scans.lock().unwrap();
    let mut segments: Vec<_> = scans.iter().map(|it| it["Segment"].as_i64()).collect();
    segments.sort_unstable();
    assert_eq!(segments, [0, 1, 2, 3].map(Some));
    for scan in scans.iter() {
        assert_eq!(scan["TotalSegments"], 4);
        assert_eq!(scan["ConsistentRead"], true);
    }
}
