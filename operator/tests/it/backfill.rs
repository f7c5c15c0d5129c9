//! A backfill of which one step fails for good, as often as it is tried. The next run has to find what
//! is missing, and to queue it under the same delivery id.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{AttributeValue, Fault, FaultProxy, Harm, Item, When},
    server::{Server, json as respond, text},
    titanx::now_ms,
};

use crate::{System, operator::Operator, titanx_answers::Scripted, titanx_api::Form};

const JOB: &str = "11111111-2222-4333-8444-555555555555";
/// More than all attempts of a run make.
const AS_OFTEN_AS_IT_TAKES: usize = 60;

/// A completed job with one contact, which is missing.
fn system() -> System {
    system_with_equal(1)
}

/// A completed job with so many contacts, all equal and all missing.
fn system_with_equal(contacts: usize) -> System {
    let system = System::start(Form::Schema);
    let contact = json!({
        "firstName": "Sample", "lastName": "Person 1", "leadStatus": "High",
        "email": "sample.1@example.com",
    });
    let job = json!({"id": JOB, "modifiedAt": "2100-01-05T12:00:00Z"});
    system.api.put_job(JOB, job, &vec![contact; contacts]);
    system
}

/// The operator's command behind a proxy in which this operation fails, from the `first` call on.
fn failing(system: &System, operation: &'static str, first: usize) -> (Operator, FaultProxy) {
    let (service, url) = match operation {
        "SendMessage" => ("SQS", &system.emulators.sqs_url),
        _ => ("DYNAMODB", &system.emulators.dynamodb_url),
    };
    let proxy = FaultProxy::start(url, 1);
    for nth in first..first + AS_OFTEN_AS_IT_TAKES {
        proxy.inject(
            When::NthOf(nth, operation),
            Fault::Before(Harm::ServerError),
        );
    }
    let operator = system.operator.clone();
    let operator = operator.set(&format!("AWS_ENDPOINT_URL_{service}"), &proxy.url);
    (operator, proxy)
}

/// It may fail yet: nothing is on the queue.
#[test]
fn a_contact_that_somebody_else_holds_until_the_end_is_not_queued() {
    let system = Arc::new(system());
    let (never_sends, _proxy) = failing(&system, "SendMessage", 1);
    let id = reported_id(&never_sends);
    let is_over = Arc::new(AtomicBool::new(false));
    let (held, over) = (Arc::clone(&system), Arc::clone(&is_over));
    let holder = std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            let number = |number: u64| AttributeValue::N(number.to_string());
            let text = |text: &str| AttributeValue::S(text.to_owned());
            let record = [
                ("delivery_id", text(&id)),
                ("status", text("INPROGRESS")),
                ("in_progress_expiration", number(now_ms() + 1_500)),
                ("expiration", number(now_ms() / 1_000 + 604_800)),
                ("claimed_by", text("somebody else")),
            ];
            let record = record.map(|(name, value)| (name.to_owned(), value));
            held.emulators.deliveries.put(&Item::from(record));
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let report = reconcile(&system.operator, 1);
    is_over.store(true, Ordering::Relaxed);
    holder.join().unwrap();
    assert_eq!(report["failed"], 1, "{report}");
    assert_eq!(report["queued"], 0, "{report}");
    assert_eq!(report["queued_before"], 0, "{report}");
    assert_eq!(system.emulators.contacts.len(), 0);
}

fn reconcile(operator: &Operator, status: i32) -> Value {
    let run = operator
        .run(&format!("--json reconcile {JOB} --yes"))
        .exits(status);
    let report = run.json()[0].clone();
    assert_eq!(report["missing"], 1);
    report
}

/// The delivery id that a run says it could not queue.
fn reported_id(operator: &Operator) -> String {
    let run = operator
        .run(&format!("--json reconcile {JOB} --yes"))
        .exits(1);
    assert_eq!(run.json()[0]["missing"], 1);
    assert_eq!(run.json()[0]["failed"], 1);
    assert_eq!(run.json()[0]["queued"], 0);
    run.tells("error: 1 contacts could not be queued: run this command again");
    let (_, rest) = run
        .stderr
        .split_once("delivery id ")
        .expect("the id is told");
    rest.split(' ').next().unwrap().to_owned()
}

fn ids(system: &System) -> Vec<String> {
    let messages = system.emulators.contacts.messages().into_iter();
    let ids = messages.map(|it| it.attribute("deliveryId").unwrap().to_owned());
    ids.collect()
}

#[track_caller]
fn assert_nothing_is_missing(system: &System) {
    let run = system
        .operator
        .run(&format!("--json reconcile {JOB} --yes"))
        .exits(0);
    assert_eq!(run.json()[0]["missing"], 0);
    assert_eq!(run.json()[0]["received"], 1);
    assert_eq!(run.json()[0]["queued"], 0);
}

#[test]
fn a_run_that_cannot_claim_or_send_leaves_it_all_to_the_next() {
    for operation in ["PutItem", "SendMessage"] {
        let system = system();
        let (behind, proxy) = failing(&system, operation, 1);
        let failed = reported_id(&behind);
        assert_eq!(ids(&system), [""; 0], "{operation}");
        // It was not absorbed: each attempt has met the fault.
        let calls = proxy
            .calls()
            .into_iter()
            .filter(|it| it.operation == operation);
        assert!(calls.clone().count() > 3, "{operation}");
        assert!(calls.clone().all(|it| it.fault.is_some()), "{operation}");
        // A third run is told of the same id, whenever it is.
        assert_eq!(reported_id(&behind), failed, "{operation}");

        let report = reconcile(&system.operator, 0);
        assert_eq!(report["queued"], 1, "{operation}");
        assert_eq!(report["queued_before"], 0, "{operation}");
        assert_eq!(ids(&system), [failed], "{operation}");
        assert_nothing_is_missing(&system);
        assert_eq!(ids(&system).len(), 1, "{operation}");
    }
}

#[test]
fn a_run_that_cannot_mark_is_repeated_under_the_same_delivery_id() {
    let system = system();
    // The first call is the claim.
    let (behind, _proxy) = failing(&system, "PutItem", 2);
    let report = reconcile(&behind, 0);
    assert_eq!(report["queued"], 1);
    let first = ids(&system);
    assert_eq!(first.len(), 1);

    // Without the mark nobody can know that it was queued.
    let report = reconcile(&system.operator, 0);
    assert_eq!(report["queued"], 1);
    let both = ids(&system);
    assert_eq!(both.len(), 2);
    let distinct: BTreeSet<_> = both.iter().collect();
    assert_eq!(distinct.len(), 1, "a consumer drops the second: {both:?}");
    assert_nothing_is_missing(&system);
}

/// SQS has the message, but the answer of each attempt is lost.
#[test]
fn a_run_that_is_never_told_of_its_send_repeats_the_delivery_id() {
    let system = system();
    let proxy = FaultProxy::start(&system.emulators.sqs_url, 1);
    proxy.inject(When::Every("SendMessage"), Fault::After(Harm::ServerError));
    let behind = system
        .operator
        .clone()
        .set("AWS_ENDPOINT_URL_SQS", &proxy.url);
    let failed = reported_id(&behind);
    let report = reconcile(&system.operator, 0);
    assert_eq!(report["queued"], 1);
    let distinct: BTreeSet<_> = ids(&system).into_iter().collect();
    assert_eq!(distinct, BTreeSet::from([failed]));
    assert_nothing_is_missing(&system);
}

/// Else the healer and the next person would find it held for a quarter of an hour.
#[test]
fn a_job_is_given_up_whatever_became_of_its_contacts() {
    for operation in ["PutItem", "SendMessage"] {
        let system = system();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let completed = AttributeValue::N(now_ms().to_string());
        let record = [("job_id", text(JOB)), ("completed_at", completed)];
        let record = record.map(|(name, value)| (name.to_owned(), value));
        system.emulators.jobs.put(&Item::from(record));
        let (behind, _proxy) = failing(&system, operation, 1);
        reported_id(&behind);
        let record = system.emulators.jobs.get(JOB).unwrap();
        let held = ["checked_by", "check_ends"].map(|it| record.contains_key(it));
        assert_eq!(held, [false; 2], "{operation}: {record:?}");
    }
}

/// An SQS that answers nothing before eight sends have come. Also returns how many it has had at once.
fn slow_sqs() -> (Server, Arc<AtomicUsize>) {
    let [all, now, most] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let sqs = Server::start("sqs", move |_| {
        let [all, now, seen] = [&all, &now, &seen].map(Arc::clone);
        async move {
            all.fetch_add(1, Ordering::SeqCst);
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            while all.load(Ordering::SeqCst) < 8 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // In which any others would come.
            tokio::time::sleep(Duration::from_millis(100)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Some(respond(200, &json!({"MessageId": "1"})))
        }
    });
    (sqs, most)
}

/// A job of a hundred thousand contacts must take neither hours nor the whole of a table's throughput.
#[test]
fn eight_contacts_are_queued_at_once() {
    let system = system();
    let contact = |number: usize| json!({"customerContactId": format!("contact-{number}"), "leadStatus": "High"});
    let contacts: Vec<_> = (0..20).map(contact).collect();
    let job = json!({"id": JOB, "modifiedAt": "2100-01-05T12:00:00Z"});
    system.api.put_job(JOB, job, &contacts);
    let (sqs, most) = slow_sqs();
    let operator = system.operator.clone();
    let operator = operator.set("AWS_ENDPOINT_URL_SQS", &sqs.origin);
    let run = operator.run(&format!("--json reconcile {JOB} --yes"));
    assert_eq!(run.exits(0).json()[0]["queued"], 20);
    assert_eq!(most.load(Ordering::SeqCst), 8);
}

/// The message is as the receiver's would be, but for its source and its delivery id.
#[test]
fn a_backfilled_contact_is_an_event_of_now() {
    let system = system();
    let before = now_ms();
    reconcile(&system.operator, 0);
    let messages = system.emulators.contacts.messages();
    let [message] = &messages[..] else {
        panic!("{messages:?}")
    };
    let mut envelope: Value = serde_json::from_str(&message.body).unwrap();
    let timestamp = envelope["timestamp"].take().as_u64().unwrap();
    assert!((before..=now_ms()).contains(&timestamp), "{timestamp}");
    let id = message.attribute("deliveryId").unwrap();
    assert_eq!(
        envelope,
        json!({
            "payload": {
                "firstName": "Sample", "lastName": "Person 1", "leadStatus": "High",
                "email": "sample.1@example.com",
            },
            "eventType": "job.contact.scored", "timestamp": null, "apiVersion": "v2", "id": id,
        })
    );
    for (name, value) in [
        ("timestamp", &*timestamp.to_string()),
        ("source", "backfill"),
        ("jobId", JOB),
        ("eventType", "job.contact.scored"),
        ("apiVersion", "v2"),
    ] {
        assert_eq!(message.attribute(name), Some(value), "{name}");
    }
}

/// Its record no longer tells which contact it is of, so it looks missing. It was queued all the same, also
/// if the contact has changed since.
#[test]
fn what_an_earlier_backfill_has_queued_is_not_counted_as_queued_now() {
    for digest in [None, Some("of the contact as it was")] {
        let system = system();
        reconcile(&system.operator, 0);
        let mut record = system.emulators.deliveries.items().pop().unwrap();
        record.remove("contact_keys").expect("it has keys");
        if let Some(digest) = digest {
            let digest = AttributeValue::S(digest.to_owned());
            record
                .insert("validation".to_owned(), digest)
                .expect("it has a digest");
        }
        system.emulators.deliveries.put(&record);
        let report = reconcile(&system.operator, 0);
        let counts = ["queued", "queued_before", "failed"].map(|it| report[it].clone());
        assert_eq!(counts, [0, 1, 0], "{digest:?}");
        assert_eq!(ids(&system).len(), 1);
    }
}

/// Which of the equal contacts was not queued cannot be told. The delivery id that no record has can.
#[test]
fn of_equal_contacts_each_that_an_earlier_backfill_could_not_queue_is_queued() {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    for (left, unfinished) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let system = system_with_equal(3);
        let backfill = || {
            let run = system
                .operator
                .run(&format!("--json reconcile {JOB} --yes"));
            let report = run.exits(0).json()[0].clone();
            ["missing", "queued", "queued_before", "failed"].map(|it| report[it].clone())
        };
        assert_eq!(backfill(), [3, 3, 0, 0]);
        let first = ids(&system);
        system.emulators.deliveries.delete(&first[left]);
        let mut record = system.emulators.deliveries.get(&first[unfinished]).unwrap();
        record.insert("status".to_owned(), text("INPROGRESS"));
        let lease = AttributeValue::N("1".to_owned());
        record.insert("in_progress_expiration".to_owned(), lease);
        system.emulators.deliveries.put(&record);
        assert_eq!(backfill(), [2, 2, 0, 0]);
        let queued: BTreeSet<_> = ids(&system).split_off(3).into_iter().collect();
        let expected = [left, unfinished].map(|it| first[it].clone());
        assert_eq!(queued, BTreeSet::from(expected));
    }
}

/// The receiver would not understand it if TitanX delivered it, either.
#[test]
fn a_contact_that_the_receiver_does_not_understand_is_told() {
    let system = system();
    let list = r#"[{"leadStatus": "High", "jobId": "one", "jobId": "two", "leadId": "contact-1"}]"#;
    let titanx = Scripted::new(vec![
        text(200, "application/json", list),
        respond(
            200,
            &json!({"id": JOB, "modifiedAt": "2100-01-05T12:00:00Z"}),
        ),
    ]);
    let operator = system.operator.clone().set("TITANX_API_URL", titanx.url());
    let run = operator.run(&format!("reconcile {JOB} --yes")).exits(1);
    let lines: Vec<_> = run.stderr.lines().collect();
    let [warning, error] = lines[..] else {
        panic!("{lines:?}")
    };
    let id = warning
        .strip_prefix("warning: the event with delivery id ")
        .and_then(|it| {
            it.strip_suffix(" could not be queued: TitanX's value is not a contact (not_envelope)")
        });
    let id = id.unwrap_or_else(|| panic!("{warning}"));
    assert!(id.starts_with("backfill-") && id.len() == 31, "{id}");
    assert_eq!(
        error,
        "error: 1 contacts could not be queued: run this command again"
    );
    assert_eq!(system.emulators.contacts.len(), 0);
}
