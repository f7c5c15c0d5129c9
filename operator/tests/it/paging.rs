//! Lists that do not fit one page: TitanX's, in every form of paging, and DynamoDB's tables, in every
//! page of every segment.

use std::collections::BTreeSet;

use serde_json::json;
use titanx_testbed::{
    emulators::{AttributeValue, FaultProxy, Item, Table},
    front_door,
    titanx::{contact, envelope, signed},
};

use crate::{
    System,
    operator::Operator,
    titanx_api::{Form, PagingStyle, Subscription, TitanxApi},
};

const JOB: &str = "11111111-2222-4333-8444-555555555555";

fn subscription(number: usize, url: &str) -> Subscription {
    Subscription {
        id: format!("subscription-{number}"),
        url: url.to_owned(),
        events: vec!["job.contact.scored".to_owned(), "job.completed".to_owned()],
        active: true,
        secret: format!("wh_sk_synthetic{number}"),
    }
}

/// The pages are of two: with a full last page, with half of one, with only one page.
const COUNTS: [usize; 4] = [1, 2, 4, 5];

#[test]
fn every_subscription_is_listed_in_every_form_of_paging() {
    let api = TitanxApi::start(Form::Schema);
    api.page_subscriptions();
    let operator = Operator::with_titanx(&api);
    for style in PagingStyle::COMPLETE {
        api.set_paging(style);
        for count in COUNTS {
            let all: Vec<_> = (0..count)
                .map(|number| subscription(number, "https://example.com/hook"))
                .collect();
            api.put_subscriptions(&all);
            let before = api.requests().len();
            let listed = operator.run("--json subscriptions").exits(0).json();
            let listed = listed.as_array().unwrap().iter().map(|it| &it["id"]);
            let listed: Vec<_> = listed.map(|it| it.as_str().unwrap().to_owned()).collect();
            let expected: Vec<_> = all.iter().map(|it| it.id.clone()).collect();
            assert_eq!(listed, expected, "{style:?}");
            // Each page once, and no further one.
            assert_eq!(
                api.requests().len() - before,
                count.div_ceil(2),
                "{style:?} {count}"
            );
        }
    }
}

#[test]
fn a_subscription_on_the_last_page_is_found() {
    let system = System::start(Form::Schema);
    system.api.page_subscriptions();
    system.operator.run("subscribe --settle 0").exits(0);
    let ours = system.api.subscriptions().remove(0);
    let mut all: Vec<_> = (0..4)
        .map(|number| subscription(number, "https://example.com/hook"))
        .collect();
    all.push(ours.clone());
    for style in [PagingStyle::Total, PagingStyle::Cursor, PagingStyle::Link] {
        system.api.set_paging(style);
        system.api.put_subscriptions(&all);
        let run = system.operator.run(&format!("pause {}", ours.id)).exits(3);
        let said = "the live subscription of this stack, and the only one";
        assert!(run.stdout.contains(said), "{style:?}: {}", run.stdout);
        // It exists, so that no second one is created.
        system.operator.run("subscribe --settle 0").exits(0);
        assert_eq!(system.api.subscriptions().len(), 5, "{style:?}");
    }
    // A rotation replaces it, and no other.
    system
        .operator
        .run("rotate --settle 0 --grace 0 --yes")
        .exits(0);
    let active: Vec<_> = system.api.active().into_iter().map(|it| it.id).collect();
    assert_eq!(active.len(), 5);
    assert!(!active.contains(&ours.id), "{active:?}");
}

fn contacts(count: usize) -> Vec<serde_json::Value> {
    let numbered = |number| {
        json!({
            "customerContactId": format!("contact-{number}"), "leadStatus": "High",
            "email": format!("sample.{number}@example.com"), "lastName": format!("Person {number}"),
        })
    };
    (0..count).map(numbered).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_contact_is_read_in_every_form_of_paging() {
    let system = System::start(Form::Schema);
    let job = json!({"id": JOB, "modifiedAt": "2100-01-05T12:00:00Z"});
    for style in PagingStyle::COMPLETE {
        system.api.set_paging(style);
        for count in [4, 5] {
            system.api.put_job(JOB, job.clone(), &contacts(count));
            let before = system.api.requests().len();
            let run = system
                .operator
                .run(&format!("--json reconcile {JOB}"))
                .exits(3);
            let report = &run.json()[0];
            assert_eq!(report["contacts"], count, "{style:?}");
            assert_eq!(report["missing"], count, "{style:?}");
            assert_eq!(report["completeness"], "proven", "{style:?}");
            let pages = system.api.requests();
            let pages = pages[before..]
                .iter()
                .filter(|it| it.ends_with("/contacts"));
            assert_eq!(pages.count(), count.div_ceil(2), "{style:?}");
        }
    }
    // Every one of them is queued, those of the last page too.
    system.api.set_paging(PagingStyle::PageOfPages);
    system
        .operator
        .run(&format!("reconcile {JOB} --yes"))
        .exits(0);
    assert_eq!(system.emulators.contacts.len(), 5);
}

/// Makes every item larger, so that a scan has several pages of 1 MiB in each of its segments.
fn enlarge(table: &Table, bytes: usize) {
    for mut item in table.items() {
        let filler = AttributeValue::S("x".repeat(bytes));
        item.insert("filler".to_owned(), filler);
        table.put(&item);
    }
}

/// A proxy in front of DynamoDB, which counts calls, and the operator's command with it.
fn watched(system: &System) -> (FaultProxy, Operator) {
    let proxy = FaultProxy::start(&system.emulators.dynamodb_url, 1);
    let operator = system.operator.clone();
    let operator = operator.set("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url);
    (proxy, operator)
}

fn scans(proxy: &FaultProxy) -> usize {
    let calls = proxy.calls();
    calls.iter().filter(|it| it.operation == "Scan").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_on_any_page_of_any_segment_is_a_received_contact() {
    const CONTACTS: usize = 40;
    let system = System::start(Form::Schema);
    let job = json!({"id": JOB, "modifiedAt": "2100-01-05T12:00:00Z"});
    let contacts = contacts(CONTACTS);
    system.api.put_job(JOB, job, &contacts);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    for (number, contact) in contacts.iter().enumerate() {
        let mut contact = contact.clone();
        contact["jobId"] = JOB.into();
        let body = envelope(
            &format!("delivery-{number}"),
            "job.contact.scored",
            &contact,
        );
        let answer = front_door::deliver(&receiver, &signed(&body)).await;
        assert_eq!(answer, front_door::Answer::accepted());
    }
    enlarge(&system.emulators.deliveries, 380_000);
    let (proxy, operator) = watched(&system);
    let run = operator.run(&format!("--json reconcile {JOB}")).exits(0);
    assert_eq!(run.json()[0]["received"], CONTACTS);
    assert_eq!(run.json()[0]["missing"], 0);
    // The jobs table is empty and has one page.
    assert!(scans(&proxy) > 4 * 2, "{} pages", scans(&proxy));
    let job = Item::from([("job_id".to_owned(), AttributeValue::S(JOB.to_owned()))]);
    system.emulators.jobs.put(&job);
    let counted = operator.run("--json jobs --count").exits(0).json();
    assert_eq!(counted[0]["contacts"], CONTACTS);
}

/// A page of the table may hold completed jobs alone, whose records have no contact.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_contacts_does_not_end_the_scan() {
    const CONTACTS: usize = 8;
    let system = System::start(Form::Schema);
    let job = json!({"id": JOB, "modifiedAt": "2100-01-05T12:00:00Z"});
    let contacts = contacts(CONTACTS);
    system.api.put_job(JOB, job, &contacts);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    let mut bodies = Vec::new();
    for (number, contact) in contacts.iter().enumerate() {
        let mut contact = contact.clone();
        contact["jobId"] = JOB.into();
        let id = format!("delivery-{number}");
        bodies.push(envelope(&id, "job.contact.scored", &contact));
    }
    bodies.extend((0..72).map(|number| {
        let payload = json!({"jobId": format!("job-{number}"), "jobStatus": "Finalized"});
        envelope(&format!("completed-{number}"), "job.completed", &payload)
    }));
    for body in bodies {
        let answer = front_door::deliver(&receiver, &signed(&body)).await;
        assert_eq!(answer, front_door::Answer::accepted());
    }
    // Three records a page.
    enlarge(&system.emulators.deliveries, 380_000);
    let (proxy, operator) = watched(&system);
    let report = operator.run(&format!("--json reconcile {JOB}")).exits(0);
    assert_eq!(report.json()[0]["received"], CONTACTS);
    // Most of them are without a contact.
    assert!(scans(&proxy) > 2 * CONTACTS, "{} pages", scans(&proxy));
}

#[test]
fn a_job_on_any_page_of_its_table_is_listed_and_found_by_any_spelling() {
    const JOBS: usize = 12;
    let system = System::start(Form::Schema);
    let id = |number: usize| format!("AAAAAAAA-BBBB-4CCC-8DDD-{number:012}");
    for number in 0..JOBS {
        let text = |text: String| AttributeValue::S(text);
        let job = [
            ("job_id", text(id(number))),
            ("status", text("Finalized".to_owned())),
            (
                "completed_at",
                AttributeValue::N((1_767_614_400_000 + number).to_string()),
            ),
        ];
        let job = job.map(|(name, value)| (name.to_owned(), value));
        system.emulators.jobs.put(&Item::from(job));
    }
    enlarge(&system.emulators.jobs, 300_000);
    let (proxy, operator) = watched(&system);
    let listed = operator.run("--json jobs").exits(0).json();
    let listed = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["job_id"].as_str().unwrap());
    // The latest first.
    let expected: Vec<_> = (0..JOBS).rev().map(id).collect();
    assert_eq!(listed.collect::<Vec<_>>(), expected);
    assert!(scans(&proxy) >= 3, "{} pages", scans(&proxy));
    for number in 0..JOBS {
        let other = id(number).to_lowercase().replace('-', "");
        let found = operator
            .run(&format!("--json jobs {other}"))
            .exits(0)
            .json();
        let found: BTreeSet<_> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["job_id"].to_string())
            .collect();
        assert_eq!(found, BTreeSet::from([format!("\"{}\"", id(number))]));
    }
}

/// The queue has more messages than one request returns.
#[test]
fn every_message_in_quarantine_is_listed() {
    let system = System::start(Form::Schema);
    let attributes = [("reason", "unknown_event_type"), ("encoding", "text")];
    for number in 0..23 {
        let body = contact(&format!("delivery-{number}"));
        system.emulators.quarantine.put(&body, &attributes);
    }
    let listed = system
        .operator
        .run("--json quarantine list")
        .exits(0)
        .json();
    let listed = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap().to_owned());
    let held = system
        .emulators
        .quarantine
        .messages()
        .into_iter()
        .map(|it| it.id);
    assert_eq!(
        listed.collect::<BTreeSet<_>>(),
        held.collect::<BTreeSet<_>>()
    );
}
