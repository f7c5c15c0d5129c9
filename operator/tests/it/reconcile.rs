use std::{collections::BTreeSet, io::Read};

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{AttributeValue, Fault, FaultProxy, Harm, Item, When},
    front_door,
    titanx::{completed_job, envelope, signed},
};

use crate::{
    System,
    titanx_api::{Failure, Form, PagingStyle},
};

const JOB: &str = "11111111-2222-4333-8444-555555555555";

/// A scored contact as TitanX's API returns it.
fn contact(number: usize) -> Value {
    json!({
        "customerContactId": format!("contact-{number}"),
        "firstName": "Sample",
        "lastName": format!("Person {number}"),
        "email": format!("sample.{number}@example.com"),
        "phone": format!("+1 206 555 {:04}", 100 + number),
        "phoneStatus": "High",
    })
}

/// A contact that TitanX's API returns without a score.
fn unscored(number: usize) -> Value {
    let mut unscored = contact(number);
    unscored.as_object_mut().unwrap().remove("phoneStatus");
    unscored
}

/// The same contact as the payload of a delivery.
fn scored(contact: &Value) -> Value {
    let mut scored = contact.clone();
    scored["jobId"] = JOB.into();
    scored["phoneStatus"] = "High".into();
    scored["leadStatus"] = "High".into();
    scored
}

/// A system in which the job with these contacts is completed, and those in `delivered` have been
/// received.
async fn system(contacts: &[Value], delivered: &[Value]) -> System {
    let system = System::start(Form::Schema);
    system.api.put_job(JOB, json!({"id": JOB}), contacts);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    let mut bodies = vec![completed_job("completed", JOB)];
    for (number, contact) in delivered.iter().enumerate() {
        bodies.push(envelope(
            &format!("delivery-{number}"),
            "job.contact.scored",
            contact,
        ));
    }
    for body in bodies {
        let answer = front_door::deliver(&receiver, &signed(&body)).await;
        assert_eq!(answer, front_door::Answer::accepted());
    }
    system
}

/// A system that has received the contacts with odd numbers of a job with `count` contacts.
async fn system_with_half_received(count: usize) -> System {
    let contacts: Vec<_> = (0..count).map(contact).collect();
    let odd: Vec<_> = contacts.iter().skip(1).step_by(2).map(scored).collect();
    system(&contacts, &odd).await
}

/// The sorted last names in the messages on the contacts queue, one per message.
fn queued_names(system: &System) -> Vec<String> {
    let messages = system.emulators.contacts.messages().into_iter();
    let mut names: Vec<_> = messages
        .map(|message| {
            let body: Value = serde_json::from_str(&message.body).unwrap();
            body["payload"]["lastName"].as_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    names
}

fn all_names(count: usize) -> Vec<String> {
    let mut names: Vec<_> = (0..count)
        .map(|number| format!("Person {number}"))
        .collect();
    names.sort();
    names
}

fn reconcile(system: &System, more: &str) -> crate::operator::Run {
    system
        .operator
        .run(&format!("--json reconcile {JOB} {more}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_reports_missing_contacts_and_queues_nothing() {
    let system = system_with_half_received(5).await;
    let run = reconcile(&system, "").exits(3);
    let report = &run.json()[0];
    assert_eq!(report["contacts"], 5);
    assert_eq!(report["received"], 2);
    assert_eq!(report["missing"], 3);
    assert_eq!(report["queued"], 0);
    assert_eq!(report["completeness"], "proven");
    assert_eq!(report["doubts"], json!([]));
    assert_eq!(system.emulators.contacts.len(), 2);
    run.does_not_contain(&["example.com", "Person"]);
    let text = system
        .operator
        .run(&format!("reconcile {JOB}"))
        .exits(3)
        .stdout;
    let expected = "3 missing: re-run with --yes to backfill them";
    assert!(text.contains(expected), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_how_far_it_is() {
    let system = system_with_half_received(5).await;
    let (mut child, mut terminal) = system
        .operator
        .start_on_terminal(&format!("reconcile {JOB} --yes"));
    let mut shown = Vec::new();
    // Fails when the terminal is closed.
    let _ = terminal.read_to_end(&mut shown);
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown);
    // How many contacts there are is not known before the first page.
    for bar in [
        format!("reading contacts {} 0/0", "░".repeat(32)),
        format!("backfilling {} 0/3", "░".repeat(32)),
    ] {
        assert!(shown.contains(&bar), "{bar}: {shown}");
    }
}

/// DynamoDB counts the items of a table every six hours: none in a new table, whatever it holds.
#[tokio::test(flavor = "multi_thread")]
async fn what_dynamodb_counts_says_nothing_of_what_was_received() {
    let system = system_with_half_received(4).await;
    for count in [0, 1, 1_000] {
        let described =
            format!(r#"{{"Table": {{"TableName": "deliveries", "ItemCount": {count}}}}}"#);
        let proxy = FaultProxy::start(&system.emulators.dynamodb_url, 1);
        let described = Fault::Before(Harm::Answer(described.leak()));
        proxy.inject(When::Every("DescribeTable"), described);
        let operator = system.operator.clone();
        let operator = operator.set("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url);
        let run = operator.run(&format!("--json reconcile {JOB}")).exits(3);
        assert_eq!(run.json()[0]["received"], 2, "{count}");
        assert_eq!(run.json()[0]["missing"], 2, "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_only_missing_contacts_and_nothing_at_a_second_run() {
    let system = system_with_half_received(5).await;
    let report = reconcile(&system, "--yes").exits(0).json();
    assert_eq!(report[0]["queued"], 3);
    assert_eq!(queued_names(&system), all_names(5));
    let backfilled = system.emulators.contacts.messages().into_iter();
    let backfilled: Vec<_> = backfilled
        .filter(|it| it.attribute("source") == Some("backfill"))
        .collect();
    assert_eq!(backfilled.len(), 3);
    for message in backfilled {
        assert_eq!(message.attribute("jobId"), Some(JOB));
        assert_eq!(message.attribute("eventType"), Some("job.contact.scored"));
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["id"], message.attribute("deliveryId").unwrap());
        assert_eq!(body["apiVersion"], "v2");
    }
    let again = reconcile(&system, "--yes").exits(0).json();
    assert_eq!(again[0]["missing"], 0);
    assert_eq!(again[0]["queued"], 0);
    assert_eq!(system.emulators.contacts.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn never_queues_a_contact_that_titanx_has_not_scored() {
    let mut blank = unscored(3);
    blank["leadStatus"] = Value::Null;
    blank["phoneStatus"] = " ".into();
    let mut lead = unscored(4);
    lead["leadStatus"] = "Needs Attention".into();
    let contacts = [contact(0), contact(1), unscored(2), blank, lead];
    let system = system(&contacts, &[scored(&contact(0))]).await;
    let dry = reconcile(&system, "").exits(3).json();
    assert_eq!(dry[0]["missing"], 2);
    assert_eq!(dry[0]["unscored"], 2);
    let report = reconcile(&system, "--yes").exits(0).json();
    assert_eq!(report[0]["contacts"], 5);
    assert_eq!(report[0]["received"], 1);
    assert_eq!(report[0]["missing"], 2);
    assert_eq!(report[0]["queued"], 2);
    assert_eq!(report[0]["unscored"], 2);
    assert_eq!(report[0]["doubts"], json!([]));
    let queued = ["Person 0", "Person 1", "Person 4"].map(str::to_owned);
    assert_eq!(queued_names(&system), queued);
    let line = format!("reconcile {JOB} --yes");
    let text = system.operator.run(&line).exits(0).stdout;
    assert!(text.contains("nothing is missing"), "{text}");
    assert!(text.contains("2 unscored"), "{text}");
    assert_eq!(queued_names(&system), queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn doubts_a_list_in_which_received_contacts_have_no_score() {
    let system = system(&[unscored(0), unscored(1)], &[scored(&contact(0))]).await;
    let report = reconcile(&system, "--yes --despite-doubts").exits(3).json();
    assert_eq!(report[0]["received"], 1);
    assert_eq!(report[0]["missing"], 0);
    assert_eq!(report[0]["unscored"], 1);
    let doubt = "TitanX's list may not show scores: 1 contacts that were received have none in it, so \
                 the unscored contacts may be missing";
    assert_eq!(report[0]["doubts"], json!([doubt]));
    assert_eq!(queued_names(&system), ["Person 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_belongs_to_the_scored_one_of_two_equal_contacts() {
    let contacts = [unscored(0), contact(0)];
    let system = system(&contacts, &[scored(&contact(0))]).await;
    let report = reconcile(&system, "--yes").exits(0).json();
    assert_eq!(report[0]["received"], 1);
    assert_eq!(report[0]["missing"], 0);
    assert_eq!(report[0]["unscored"], 1);
    assert_eq!(report[0]["doubts"], json!([]));
    assert_eq!(system.emulators.contacts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_a_contact_exactly_as_titanx_returned_it() {
    let contact = json!({"lastName": "Person 0", "leadStatus": "Low", "odd": [1.50, null], "unmappedFields": {"ä": "\u{ffff}"}});
    let system = system(std::slice::from_ref(&contact), &[]).await;
    reconcile(&system, "--yes").exits(0);
    let body: Value = serde_json::from_str(&system.emulators.contacts.messages()[0].body).unwrap();
    assert_eq!(body["payload"], contact);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_all_pages_of_every_kind_of_paging() {
    for paging in [
        PagingStyle::Total,
        PagingStyle::Cursor,
        PagingStyle::Link,
        PagingStyle::LinkHeader,
        PagingStyle::HasMore,
    ] {
        let system = system_with_half_received(5).await;
        system.api.set_paging(paging);
        let report = reconcile(&system, "--yes").exits(0).json();
        assert_eq!(report[0]["contacts"], 5, "{paging:?}");
        assert_eq!(report[0]["completeness"], "proven", "{paging:?}");
        assert_eq!(queued_names(&system), all_names(5), "{paging:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_completeness_as_not_proven_without_proof() {
    for (paging, read) in [
        (PagingStyle::NoMetadata, 5),
        (PagingStyle::Repeating, 2),
        (PagingStyle::BelowTotal, 5),
    ] {
        let system = system_with_half_received(5).await;
        system.api.set_paging(paging);
        let report = reconcile(&system, "--yes").exits(3).json();
        assert_eq!(report[0]["contacts"], read, "{paging:?}");
        assert_eq!(report[0]["completeness"], "not_proven", "{paging:?}");
        assert!(system.api.requests().len() < 10, "{paging:?}");
        let text = system.operator.run(&format!("reconcile {JOB}")).stdout;
        assert!(text.contains("completeness not proven"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_no_more_than_the_maximum_number_of_pages() {
    let system = system_with_half_received(5).await;
    let report = reconcile(&system, "--max-pages 2").exits(3).json();
    assert_eq!(report[0]["contacts"], 4);
    assert_eq!(report[0]["completeness"], "not_proven");
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_send_the_api_key_to_another_host() {
    let system = system_with_half_received(5).await;
    system.api.set_paging(PagingStyle::ForeignLink);
    let run = reconcile(&system, "").exits(1);
    run.tells(&format!(
        "error: cannot read the contacts of job {JOB} from TitanX: TitanX's link to the next page \
         leads to http://127.0.0.1:9, which is not TitanX's API"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_rate_limits_and_retries_failed_requests() {
    let system = system_with_half_received(5).await;
    let path = format!("GET /jobs/{JOB}/contacts");
    system.api.fail(
        &path,
        Failure::RateLimited {
            window: "second",
            reset_s: 1,
        },
    );
    system.api.fail(&path, Failure::Status(502));
    system.api.fail(&path, Failure::LostResponse);
    reconcile(&system, "--yes").exits(0);
    assert_eq!(queued_names(&system), all_names(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn resumes_from_a_checkpoint_after_an_interruption() {
    let system = system_with_half_received(5).await;
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("job.json");
    let line = format!("--yes --patience 0 --checkpoint {}", checkpoint.display());
    let pages = format!("GET /jobs/{JOB}/contacts");
    let calls = || {
        system
            .api
            .requests()
            .into_iter()
            .filter(|call| *call == pages)
            .count()
    };
    // The first run reads two pages.
    system.api.fail_after(2, &pages, Failure::Status(403));
    reconcile(&system, &line).exits(1);
    assert_eq!(calls(), 3);
    assert!(checkpoint.exists());
    reconcile(&system, &line).exits(0);
    assert_eq!(calls(), 4, "only the third page is read again");
    assert!(
        !checkpoint.exists(),
        "the checkpoint, which contains personal data, is deleted"
    );
    assert_eq!(queued_names(&system), all_names(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_step_neither_loses_nor_duplicates_a_contact() {
    // One contact is missing. Its claim is the first PutItem, its completion the second.
    for (operation, nth) in [("PutItem", 1), ("SendMessage", 1), ("PutItem", 2)] {
        let system = system_with_half_received(2).await;
        let service = if operation == "SendMessage" {
            ("AWS_ENDPOINT_URL_SQS", &system.emulators.sqs_url)
        } else {
            ("AWS_ENDPOINT_URL_DYNAMODB", &system.emulators.dynamodb_url)
        };
        let proxy = FaultProxy::start(service.1, 1);
        proxy.inject(
            When::NthOf(nth, operation),
            Fault::Before(Harm::ServerError),
        );
        let behind = system.operator.clone().set(service.0, &proxy.url);
        behind.run(&format!("reconcile {JOB} --yes"));
        reconcile(&system, "--yes").exits(0);
        let messages = system.emulators.contacts.messages();
        // If the completion mark failed, the second message has the same delivery id.
        let ids: BTreeSet<_> = messages
            .iter()
            .map(|it| it.attribute("deliveryId"))
            .collect();
        assert_eq!(ids.len(), 2, "{operation} {nth}");
        let last = reconcile(&system, "--yes").exits(0).json();
        assert_eq!(last[0]["missing"], 0, "{operation} {nth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_takes_over_after_a_kill_during_a_send() {
    let system = system_with_half_received(2).await;
    let began = front_door::now_ms();
    system
        .kill_at_first_send(&format!("reconcile {JOB} --yes"))
        .await;
    // The healer leaves the job alone for a quarter of an hour.
    let held = began + 15 * 60_000..=front_door::now_ms() + 15 * 60_000;
    let ends = system.held_until(JOB);
    assert!(held.contains(&ends), "{ends}");
    // The next run waits until the lease of the killed run ends, and then claims the delivery.
    reconcile(&system, "--yes").exits(0);
    assert_eq!(queued_names(&system), all_names(2));
    assert_eq!(reconcile(&system, "").exits(0).json()[0]["missing"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_contacts_need_one_delivery_each() {
    let equal = contact(0);
    let system = system(
        &[equal.clone(), equal.clone(), equal.clone()],
        &[scored(&equal)],
    )
    .await;
    let report = reconcile(&system, "--yes").exits(0).json();
    assert_eq!(report[0]["missing"], 2);
    assert_eq!(system.emulators.contacts.len(), 3);
    reconcile(&system, "--yes").exits(0);
    assert_eq!(system.emulators.contacts.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_without_a_job_id_can_match() {
    let mut without_job = scored(&contact(0));
    without_job.as_object_mut().unwrap().remove("jobId");
    let mut other = scored(&contact(1));
    other["jobId"] = "another-job".into();
    let system = system(&[contact(0), contact(1)], &[without_job, other]).await;
    let report = reconcile(&system, "").exits(3).json();
    assert_eq!(report[0]["received"], 1);
    assert_eq!(report[0]["received_without_job"], 1);
    assert_eq!(report[0]["missing"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_contacts_of_an_old_job_only_with_despite_doubts() {
    let system = System::start(Form::Schema);
    let job = json!({"id": JOB, "modifiedAt": "2020-01-05T12:00:00Z"});
    system.api.put_job(JOB, job, &[contact(0)]);
    let report = reconcile(&system, "--yes").exits(3).json();
    assert_eq!(report[0]["queued"], 0);
    let doubt = "contacts of the job may have been delivered since 2020-01-04T12:00:00Z, and the \
                 deliveries table keeps records for 7 days: the contacts may have been received";
    assert_eq!(report[0]["doubts"], json!([doubt]));
    reconcile(&system, "--yes --despite-doubts").exits(0);
    assert_eq!(queued_names(&system), all_names(1));
}

/// Its first contacts may have been delivered long before it was completed.
#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_a_job_begins_with_its_creation() {
    let system = system_with_half_received(2).await;
    let job = json!({"id": JOB, "createdAt": "2020-01-05T12:00:00Z"});
    system.api.put_job(JOB, job, &[contact(0), contact(1)]);
    let report = reconcile(&system, "--yes").exits(3).json();
    let doubt = report[0]["doubts"][0].as_str().unwrap();
    assert!(doubt.contains("since 2020-01-05T12:00:00Z"), "{doubt}");
    assert_eq!(report[0]["queued"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_the_healer_works_on_is_not_backfilled() {
    let system = system_with_half_received(2).await;
    let held = |until: u64| {
        let mut record = system.emulators.jobs.get(JOB).unwrap();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        record.insert("checked_by".to_owned(), text("a-healer"));
        let ends = AttributeValue::N(until.to_string());
        record.insert("check_ends".to_owned(), ends);
        system.emulators.jobs.put(&record);
    };
    held(4_102_833_600_000);
    let run = reconcile(&system, "--yes").exits(1);
    run.tells(&format!(
        "error: the healer works on job {JOB}, until 2100-01-05T12:00:00Z at the latest: run this \
         command again later"
    ));
    assert_eq!(system.emulators.contacts.len(), 1);
    held(front_door::now_ms() - 1);
    reconcile(&system, "--yes").exits(0);
    assert_eq!(queued_names(&system), all_names(2));
    let record = system.emulators.jobs.get(JOB).unwrap();
    assert!(!record.contains_key("checked_by"), "it is given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_of_an_unfinished_delivery_is_queued_under_the_id_of_that() {
    let system = system(&[contact(0)], &[scored(&contact(0))]).await;
    let mut record = system.emulators.deliveries.get("delivery-0").unwrap();
    let unfinished = AttributeValue::S("INPROGRESS".to_owned());
    record.insert("status".to_owned(), unfinished);
    let over = AttributeValue::N("0".to_owned());
    record.insert("in_progress_expiration".to_owned(), over);
    system.emulators.deliveries.put(&record);
    let report = reconcile(&system, "--yes").exits(0).json();
    assert_eq!(
        (&report[0]["missing"], &report[0]["queued"]),
        (&json!(1), &json!(1))
    );
    let messages = system.emulators.contacts.messages();
    let ids: BTreeSet<_> = messages
        .iter()
        .map(|it| it.attribute("deliveryId"))
        .collect();
    assert_eq!(ids, BTreeSet::from([Some("delivery-0")]));
    assert_eq!(reconcile(&system, "").exits(0).json()[0]["missing"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_completion_time_is_a_doubt() {
    let system = System::start(Form::Schema);
    system.api.put_job(JOB, json!({"id": JOB}), &[contact(0)]);
    let report = reconcile(&system, "--yes").exits(3).json();
    let doubt = "the completion time of the job is unknown, and the deliveries table keeps records for \
                 7 days: the contacts may have been received";
    assert_eq!(report[0]["doubts"], json!([doubt]));
    assert_eq!(system.emulators.contacts.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unmatched_records_are_a_doubt_and_match_by_excludes_ids() {
    let mut here = contact(0);
    here["id"] = "row-1".into();
    let mut delivered = scored(&contact(0));
    delivered["id"] = "contact-99".into();
    let system = system(&[here], &[delivered]).await;
    let report = reconcile(&system, "--yes").exits(3).json();
    assert_eq!(report[0]["queued"], 0);
    let doubt = "1 records of this job match none of its contacts at TitanX: TitanX's API may use other \
                 ids than deliveries (see --match-by), or the contacts have changed";
    assert_eq!(report[0]["doubts"], json!([doubt]));
    let by_digest = reconcile(&system, "--match-by customerContactId,digest")
        .exits(0)
        .json();
    assert_eq!(by_digest[0]["missing"], 0);
}

/// The item size by DynamoDB's rules: names and values in UTF-8, numbers with about half a byte per
/// digit.
fn size_in_dynamodb(record: &Item) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.len().div_ceil(2) + 1,
        AttributeValue::SS(texts) => texts.iter().map(String::len).sum(),
        other => panic!("{other:?}"),
    };
    record.iter().map(|(name, it)| name.len() + value(it)).sum()
}

#[tokio::test]
async fn the_keys_of_a_contact_fit_in_one_write_unit() {
    const ID: &str = "99999999-8888-4777-8666-555555555555";
    let usual = scored(&contact(1));
    let mut largest = usual.clone();
    largest["jobId"] = "j".repeat(128).into();
    for id in ["id", "databaseContactId", "contactCrmId", "leadId"] {
        largest[id] = "i".repeat(1_000).into();
    }
    for (id, contact, size) in [(ID.to_owned(), usual, 326), ("d".repeat(128), largest, 639)] {
        let system = System::start(Form::Schema);
        let receiver = front_door::receiver(&front_door::environment(&system.emulators));
        let body = envelope(&id, "job.contact.scored", &contact);
        front_door::deliver(&receiver, &signed(&body)).await;
        let record = system.emulators.deliveries.get(&id).unwrap();
        assert_eq!(size_in_dynamodb(&record), size, "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciles_several_jobs_in_one_run() {
    let system = system_with_half_received(3).await;
    system.api.put_job(
        "job-2",
        json!({"modifiedAt": "2100-01-05T12:00:00Z"}),
        &[contact(7)],
    );
    let line = format!("--json reconcile {JOB} job-2 --yes");
    let reports = system.operator.run(&line).exits(0).json();
    assert_eq!(reports[0]["queued"], 2);
    assert_eq!(reports[1]["queued"], 1);
    assert_eq!(system.emulators.contacts.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciles_a_repeated_job_id_once() {
    let system = system_with_half_received(4).await;
    let run = reconcile(&system, &format!("{JOB} --yes")).exits(0);
    assert_eq!(run.json().as_array().unwrap().len(), 1);
    assert_eq!(queued_names(&system), all_names(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciles_a_job_whose_id_is_spelled_in_another_way() {
    let job = "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE";
    let other = "aaaaaaaabbbb4ccc8dddeeeeeeeeeeee";
    let system = System::start(Form::Schema);
    let contacts: Vec<_> = (0..3).map(contact).collect();
    // TitanX knows the job by its own spelling only.
    system.api.put_job(job, json!({"id": job}), &contacts);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    let mut delivered = scored(&contacts[0]);
    delivered["jobId"] = other.into();
    for body in [
        completed_job("completed", job),
        envelope("delivery-0", "job.contact.scored", &delivered),
    ] {
        let answer = front_door::deliver(&receiver, &signed(&body)).await;
        assert_eq!(answer, front_door::Answer::accepted());
    }
    let line = |id: &str| format!("--json reconcile {id} {other} {job} --yes");
    let reports = system.operator.run(&line(other)).exits(0).json();
    assert_eq!(reports.as_array().unwrap().len(), 1);
    assert_eq!(reports[0]["job_id"], job);
    assert_eq!(reports[0]["received"], 1);
    assert_eq!(reports[0]["queued"], 2);
    let queued = system.emulators.contacts.messages().into_iter();
    let backfilled = queued.filter(|it| it.attribute("source") == Some("backfill"));
    assert!(
        backfilled
            .clone()
            .all(|it| it.attribute("jobId") == Some(job))
    );
    assert_eq!(backfilled.count(), 2);
    let again = system.operator.run(&line(job)).exits(0).json();
    assert_eq!(again[0]["missing"], 0);
    assert_eq!(system.emulators.contacts.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn backfills_nothing_with_a_retention_that_the_receiver_refuses() {
    let system = system_with_half_received(2).await;
    let line = format!("reconcile {JOB} --yes --delivery-retention-days 6");
    let run = system.operator.run(&line).exits(1);
    run.tells(
        "error: the deliveries table keeps records for 6 days: set DeliveryRetentionDays to at least 7 \
         first, because TitanX may repeat a delivery after its record is deleted",
    );
    assert_eq!(system.emulators.contacts.len(), 1);
}
