//! `operator heal`, and what `operator jobs` shows of it.

use std::{sync::Arc, time::Duration};

use aws_smithy_types::{DateTime, date_time::Format};
use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{AttributeValue, Fault, FaultProxy, Harm, When},
    front_door,
    titanx::{completed_job, envelope, signed},
};

use crate::{
    System,
    titanx_api::{Failure, Form},
};

const JOB: &str = "11111111-2222-4333-8444-555555555555";
const HOUR_MS: u64 = 3_600_000;

fn contact(number: usize) -> Value {
    json!({
        "customerContactId": format!("contact-{number}"),
        "lastName": format!("Person {number}"),
        "email": format!("sample.{number}@example.com"),
        "phoneStatus": "High",
    })
}

/// A job of three contacts that was completed so many hours ago. One contact was never delivered.
async fn system(hours: u64) -> System {
    let system = System::start(Form::Schema);
    let contacts: Vec<_> = (0..3).map(contact).collect();
    system.api.put_job(JOB, json!({"id": JOB}), &contacts);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    let mut bodies = vec![completed_job("completed", JOB)];
    for (number, contact) in contacts[1..].iter().enumerate() {
        let mut payload = contact.clone();
        payload["jobId"] = JOB.into();
        let id = format!("delivery-{number}");
        bodies.push(envelope(&id, "job.contact.scored", &payload));
    }
    for body in bodies {
        let answer = front_door::deliver(&receiver, &signed(&body)).await;
        assert_eq!(answer, front_door::Answer::accepted());
    }
    let mut record = system.emulators.jobs.get(JOB).unwrap();
    let at = front_door::now_ms() - hours * HOUR_MS;
    let at = AttributeValue::N(at.to_string());
    record.insert("completed_at".to_owned(), at);
    system.emulators.jobs.put(&record);
    system
}

fn heal(system: &System, line: &str, status: i32) -> Value {
    let run = system.operator.run(&format!("--json heal {line}"));
    run.exits(status).json()
}

fn result(state: &str, reason: Option<&str>, counts: [u64; 5]) -> Value {
    let [at_titanx, received, backfilled, unscored, missing] = counts;
    json!([{
        "job_id": JOB, "state": state, "reason": reason, "contacts_at_titanx": at_titanx,
        "received": received, "backfilled": backfilled, "unscored": unscored, "missing": missing,
    }])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_is_missing_and_changes_nothing() {
    let system = system(80).await;
    let before = (
        system.emulators.jobs.items(),
        system.emulators.deliveries.items(),
    );
    let expected = result("incomplete", Some("dry_run"), [3, 2, 0, 0, 1]);
    for which in [&format!("--job {JOB}"), "--due"] {
        assert_eq!(heal(&system, &format!("{which} --dry-run"), 3), expected);
    }
    let after = (
        system.emulators.jobs.items(),
        system.emulators.deliveries.items(),
    );
    assert_eq!(before, after);
    assert_eq!(system.emulators.checks.len(), 0);
    assert_eq!(system.emulators.contacts.len(), 2);
}

/// It writes no results, so the next round would have the same jobs.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_ends_after_one_round_and_tells_that_jobs_are_left() {
    let system = system(80).await;
    let mut record = system.emulators.jobs.get(JOB).unwrap();
    let another_spelling = AttributeValue::S(JOB.replace('-', ""));
    record.insert("job_id".to_owned(), another_spelling);
    system.emulators.jobs.put(&record);

    let run = system.operator.run("--json heal --due --dry-run").exits(3);
    assert_eq!(run.json().as_array().unwrap().len(), 1);
    run.tells("warning: a dry run checks one round of jobs, and more are due");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_healed_at_once_and_its_record_tells() {
    let system = system(1).await;
    let complete = result("complete", None, [3, 2, 1, 0, 0]);
    // In another spelling.
    let line = format!("--job {}", JOB.replace('-', "").to_uppercase());
    assert_eq!(heal(&system, &line, 0), complete);
    assert_eq!(system.emulators.contacts.len(), 3);
    assert_eq!(
        heal(&system, &line, 0),
        complete,
        "a second run queues nothing"
    );
    assert_eq!(system.emulators.contacts.len(), 3);

    let jobs = |line: &str| system.operator.run(line).exits(0);
    let listed = jobs("--json jobs --state complete").json();
    assert_eq!(listed[0]["job_id"], JOB);
    assert_eq!(listed[0]["backfilled"], 1);
    assert_eq!(listed[0]["state_reason"], Value::Null);
    assert_eq!(jobs("--json jobs --state incomplete").json(), json!([]));
    let table = system
        .operator
        .clone()
        .set("COLUMNS", "200")
        .run("jobs")
        .stdout;
    let mut lines = table.lines();
    let header = lines.next().unwrap();
    for column in [
        "STATE",
        "AT TITANX",
        "RECEIVED",
        "BACKFILLED",
        "UNSCORED",
        "MISSING",
    ] {
        assert!(header.contains(column), "{header}");
    }
    let row: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(row[3..9], ["complete", "3", "2", "1", "0", "0"]);
    let text = system.operator.run(&format!("heal {line}")).exits(0).stdout;
    assert!(
        text.starts_with(&format!("job {JOB}: complete\n")),
        "{text}"
    );
    assert!(text.contains("2 received, 1 backfilled"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_that_titanx_may_still_deliver_what_a_young_job_lacks() {
    for (hours, line, warns) in [(72, "", true), (74, "", false), (72, "--dry-run", false)] {
        let system = system(hours).await;
        let record = system.emulators.jobs.get(JOB).unwrap();
        let AttributeValue::N(completed_at) = &record["completed_at"] else {
            panic!("{record:?}")
        };
        // TitanX retries for three days; the healer waits for an hour more.
        let until = completed_at.parse::<i64>().unwrap() / 1_000 + 73 * 3_600;
        let until = DateTime::from_secs(until).fmt(Format::DateTime).unwrap();
        let warning = format!(
            "warning: TitanX may retry deliveries of this job until {until}: a contact that it \
             delivers after its backfill is queued twice, under two ids\n"
        );
        let run = system.operator.run(&format!("heal --job {JOB} {line}"));
        let expected = if warns { warning.as_str() } else { "" };
        assert_eq!(run.stderr, expected, "{hours} {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_that_are_due_are_healed() {
    let system = system(80).await;
    assert_eq!(heal(&system, "--due --delay-hours 81", 0), json!([]));
    let complete = result("complete", None, [3, 2, 1, 0, 0]);
    assert_eq!(heal(&system, "--due", 0), complete);
    assert_eq!(system.emulators.contacts.len(), 3);
    // The function would find this round finished.
    assert!(system.emulators.checks.get("round").is_some());
    let run = system.operator.run("heal --due").exits(0);
    assert!(run.stderr.contains("no job is due"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_keeps_contacts_from_being_queued() {
    let system = system(80).await;
    let job = json!({"id": JOB, "createdAt": "2020-01-05T12:00:00Z"});
    let contacts: Vec<_> = (0..3).map(contact).collect();
    system.api.put_job(JOB, job, &contacts);
    let expected = result("incomplete", Some("records_expired"), [3, 2, 0, 0, 1]);
    assert_eq!(heal(&system, "--due", 3), expected);
    assert_eq!(system.emulators.contacts.len(), 2);
    let table = system
        .operator
        .run("jobs --state incomplete")
        .exits(0)
        .stdout;
    assert!(table.contains("incomplete (records_expired)"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_or_a_round_that_somebody_works_on_is_left_alone() {
    let system = system(80).await;
    let held = AttributeValue::N((front_door::now_ms() + 60_000).to_string());
    let mut record = system.emulators.jobs.get(JOB).unwrap();
    record.insert("check_ends".to_owned(), held.clone());
    system.emulators.jobs.put(&record);
    for line in [format!("heal --job {JOB}"), "heal --due".to_owned()] {
        let run = system.operator.run(&line).exits(3);
        let warning =
            format!("warning: the healer or another person works on job {JOB}: it is left out\n");
        assert!(run.stderr.ends_with(&warning), "{}", run.stderr);
        assert!(!run.stderr.contains("no job is due"), "{}", run.stderr);
    }

    let round = [
        ("check_id", AttributeValue::S("round".to_owned())),
        ("lease_ends", held),
    ];
    let round = round.map(|(name, value)| (name.to_owned(), value));
    system.emulators.checks.put(&round.into());
    let run = system.operator.run("heal --due").exits(1);
    run.tells("error: the healer works on its round: run this command again later");
    assert_eq!(system.emulators.contacts.len(), 2);
}

/// A run may take as long as the function's.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_has_the_job_for_another_fifteen_minutes() {
    const HELD_MS: u64 = 15 * 60_000 + 1_000;
    let system = system(80).await;
    let began = front_door::now_ms();
    system
        .kill_at_first_send(&format!("heal --job {JOB}"))
        .await;
    let expected = began + HELD_MS..=front_door::now_ms() + HELD_MS;
    let ends = system.held_until(JOB);
    assert!(expected.contains(&ends), "{ends}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_job_or_all_that_are_due_and_the_job_is_completed() {
    let system = system(80).await;
    for line in ["heal", "heal --due --job x", "heal x", "jobs --state whole"] {
        system.operator.run(line).exits(2);
    }
    let run = system.operator.run("heal --job other").exits(1);
    run.tells("error: job other is not completed: no job.completed event was received");
}

/// Its result is of an earlier completion, so it does not count.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_completed_again_meanwhile_is_something_to_do() {
    for line in [format!("heal --job {JOB}"), "heal --due".to_owned()] {
        let system = Arc::new(system(80).await);
        let proxy = FaultProxy::start(&system.emulators.dynamodb_url, 1);
        let seen = Arc::clone(&system);
        proxy.observe(move |served| {
            let request: Value = serde_json::from_slice(&served.request).unwrap();
            // The check of a job begins with it.
            if served.operation == "UpdateItem" && request["TableName"] == "jobs" {
                let mut record = seen.emulators.jobs.get(JOB).unwrap();
                let now = AttributeValue::N(front_door::now_ms().to_string());
                record.insert("completed_at".to_owned(), now);
                seen.emulators.jobs.put(&record);
            }
        });
        let operator = system.operator.clone();
        let operator = operator.set("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url);
        let run = operator.run(&line).exits(3);
        run.tells(&format!(
            "warning: job {JOB} has changed meanwhile: run this command again"
        ));
        assert!(!run.stderr.contains("no job is due"), "{}", run.stderr);
        // Nobody works on it any more.
        let run = system.operator.run(&format!("heal --job {JOB}")).exits(0);
        assert!(run.stdout.contains("complete"), "{}", run.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_cannot_be_queued_is_told_with_its_delivery_id() {
    let system = system(80).await;
    let proxy = FaultProxy::start(&system.emulators.sqs_url, 1);
    let refuses = Fault::Before(Harm::ServerError);
    proxy.inject(When::Every("SendMessage"), refuses);
    let operator = system.operator.clone();
    let operator = operator.set("AWS_ENDPOINT_URL_SQS", &proxy.url);
    let run = operator.run(&format!("heal --job {JOB}")).exits(3);
    let said = format!(
        "job {JOB}: incomplete (failed)\n  \
         3 contacts at TitanX: 2 received, 0 backfilled, 0 unscored, 1 missing\n"
    );
    assert_eq!(run.stdout, said);
    // What was not queued is queued under the same id later.
    proxy.heal();
    operator.run(&format!("heal --job {JOB}")).exits(0);
    let messages = system.emulators.contacts.messages();
    let backfilled = messages
        .iter()
        .find(|it| it.attribute("source") == Some("backfill"));
    let id = backfilled.unwrap().attribute("deliveryId").unwrap();
    let warning = format!(
        "warning: the event with delivery id {id} could not be queued: cannot send the contact: the \
         service answered 500 InternalServerError injected by the proxy\n"
    );
    assert_eq!(run.stderr, warning);
}

/// Nothing is known to be missing, but TitanX's answers do not prove that.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_proven_whole_is_something_to_do() {
    let system = system(80).await;
    let contacts = format!("GET /jobs/{JOB}/contacts");
    system.api.fail(&contacts, Failure::Status(404));
    let unproven = result("unproven", Some("not_listed"), [0; 5]);
    assert_eq!(heal(&system, &format!("--job {JOB}"), 3), unproven);
}

/// Nothing is wrong, but not all is checked either.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_titanx_asks_for_leaves_something_to_do() {
    for retry_after in [None, Some(3_600)] {
        let system = system(80).await;
        match retry_after {
            None => system.api.limit(1, Duration::from_hours(1)),
            Some(seconds) => system.api.fail("GET /jobs", Failure::RetryAfter(seconds)),
        }
        let hour = i64::try_from(front_door::now_ms() / 1_000).unwrap() + 3_600;
        let run = system.operator.run("heal --due --patience 1").exits(3);
        let before = run
            .stderr
            .strip_prefix("warning: TitanX takes no request before ");
        let before = before.and_then(|it| {
            it.strip_suffix(
                ", since its rate limit is exhausted or it asked to wait: run this command again then\n",
            )
        });
        let before = before.unwrap_or_else(|| panic!("{}", run.stderr));
        let before = DateTime::from_str(before, Format::DateTime).unwrap().secs();
        assert!((hour - 60..hour + 60).contains(&before), "{}", run.stderr);
        assert_eq!(system.emulators.contacts.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_if_no_job_is_due_and_only_then() {
    let system = system(80).await;
    for (line, told) in [
        (format!("heal --job {JOB}"), false),
        ("heal --due".to_owned(), true),
    ] {
        let run = system.operator.run(&line).exits(0);
        assert_eq!(run.stderr.contains("no job is due"), told, "{}", run.stderr);
    }
    // It was completed again, so it is due.
    let mut record = system.emulators.jobs.get(JOB).unwrap();
    record.remove("checked_at");
    system.emulators.jobs.put(&record);
    let run = system.operator.run("heal --due").exits(0);
    assert!(!run.stderr.contains("no job is due"), "{}", run.stderr);
}

/// A round takes so many jobs, and leaves the others to the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_has_left_jobs_is_followed_by_the_next_at_once() {
    let system = system(80).await;
    let round = json!({
        "id": "a-round", "step": "Backfill", "began_at": front_door::now_ms(), "more": true,
    });
    for (id, value) in [("round", round), ("jobs", json!([]))] {
        let item = [
            ("check_id", AttributeValue::S(id.to_owned())),
            ("json", AttributeValue::S(value.to_string())),
        ];
        let item = item.map(|(name, value)| (name.to_owned(), value));
        system.emulators.checks.put(&item.into());
    }
    let complete = result("complete", None, [3, 2, 1, 0, 0]);
    assert_eq!(heal(&system, "--due", 0), complete);
}
