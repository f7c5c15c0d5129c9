use std::time::Duration;

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{AttributeValue, Fault, FaultProxy, Harm, Item, When},
    front_door,
    titanx::{contact, now_ms, signed},
};

use crate::{System, titanx_api::Form};

const ID: &str = "99999999-8888-4777-8666-555555555555";
const KEY: &str = "customerContactId:5uL7v5SzpdYP2MFkPrKKMg";
const DAY_S: i64 = 24 * 60 * 60;

fn now() -> i64 {
    i64::try_from(now_ms()).unwrap()
}

/// A record whose lease ends in so many milliseconds.
fn record(status: &str, lease_in_ms: i64) -> Item {
    let now = now();
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let number = |value: i64| AttributeValue::N(value.to_string());
    [
        ("delivery_id", text(ID)),
        ("status", text(status)),
        ("in_progress_expiration", number(now + lease_in_ms)),
        ("expiration", number(now / 1_000 + 7 * DAY_S)),
        ("claimed_by", text("0123456789abcdef")),
        ("validation", text("a digest")),
        ("job_id", text("job-1")),
        (
            "contact_keys",
            AttributeValue::SS(vec![
                KEY.to_owned(),
                "digest:lMsegSkYfVfSeI4C406QUw".to_owned(),
            ]),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn with(record: &Item) -> System {
    let system = System::start(Form::Schema);
    system.emulators.deliveries.put(record);
    system
}

impl System {
    fn delivery(&self, options: &str, status: i32) -> Value {
        let line = format!("--json delivery {ID} {options}");
        self.operator.run(&line).exits(status).json()
    }

    fn is_recorded(&self) -> bool {
        self.emulators.deliveries.get(ID).is_some()
    }
}

#[test]
fn tells_a_completed_delivery_in_words_and_no_values_of_its_keys() {
    let system = with(&record("COMPLETED", -3_600_000));
    let run = system.operator.run(&format!("delivery {ID}")).exits(0);
    let run = run.does_not_contain(&["5uL7v5Szpd", "lMsegSkYfV", "a digest"]);
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines[0], format!("delivery   {ID}"));
    assert_eq!(lines[1], "state      completed");
    assert!(lines[2].starts_with("written    20"), "{}", run.stdout);
    assert_eq!(lines[3], "claimed by 0123456789abcdef");
    assert!(lines[4].starts_with("kept until 20"), "{}", run.stdout);
    assert_eq!(lines[5], "job        job-1");
    assert_eq!(lines[6], "keys       customerContactId, digest");
    assert_eq!(
        lines[7..],
        [
            "",
            "The event is durable. If it comes again, it is answered 200 as a duplicate."
        ]
    );
    assert!(lines.iter().all(|line| line.chars().count() <= 80));
    let told = system.delivery("", 0);
    let written = told["written_at"].as_i64().unwrap();
    assert!((now() - written).abs() < 60_000, "{told}");
    assert_eq!(told["state"], "completed");
    assert_eq!(told["contact_keys"], json!(["customerContactId", "digest"]));
    assert!(told.get("removed").is_none(), "{told}");
}

/// A record says only when it expires, and the stack how long it is kept.
#[test]
fn tells_when_a_record_of_any_retention_was_written() {
    for days in [7, 30] {
        let mut record = record("COMPLETED", -3_600_000);
        let expires = AttributeValue::N((now() / 1_000 + days * DAY_S).to_string());
        record.insert("expiration".to_owned(), expires);
        let mut system = with(&record);
        let days = days.to_string();
        system.operator = system.operator.set("DELIVERY_RETENTION_DAYS", &days);
        let told = system.delivery("", 0);
        let written = told["written_at"].as_i64().unwrap();
        assert!((now() - written).abs() < 60_000, "{told}");
    }
}

#[test]
fn tells_when_a_lease_ends() {
    for (ends_in_ms, distance) in [(-3_630_000, "60 minutes ago"), (3_630_000, "in 60 minutes")] {
        let system = with(&record("INPROGRESS", ends_in_ms));
        let run = system.operator.run(&format!("delivery {ID}")).exits(0);
        let lease = run.stdout.lines().find(|it| it.starts_with("lease"));
        assert!(lease.unwrap().ends_with(distance), "{}", run.stdout);
    }
}

#[test]
fn tells_the_state_of_a_record() {
    let expired = {
        let mut record = record("COMPLETED", -3_600_000);
        let past = AttributeValue::N((now() / 1_000 - 1).to_string());
        record.insert("expiration".to_owned(), past);
        record
    };
    let mut without_lease = record("INPROGRESS", 0);
    without_lease.remove("in_progress_expiration");
    // The receiver reads no lease of what is completed, and no status of what has expired.
    let mut completed_without_lease = record("COMPLETED", 0);
    completed_without_lease.remove("in_progress_expiration");
    let mut unheard_of_and_expired = expired.clone();
    let done = AttributeValue::S("DONE".to_owned());
    unheard_of_and_expired.insert("status".to_owned(), done);
    for (record, state) in [
        (completed_without_lease, "completed"),
        (unheard_of_and_expired, "expired"),
        (record("INPROGRESS", 5_000), "in_progress"),
        (record("INPROGRESS", -1), "lease_over"),
        (record("COMPLETED", 5_000), "completed"),
        (record("DONE", 5_000), "unknown"),
        (without_lease, "unknown"),
        (expired, "expired"),
    ] {
        assert_eq!(with(&record).delivery("", 0)["state"], state);
    }
    let system = System::start(Form::Schema);
    let told = system.delivery("", 0);
    assert_eq!(
        (&told["state"], &told["expires_at"]),
        (&"absent".into(), &Value::Null)
    );
    system.delivery("--forget --yes", 0);
}

#[test]
fn a_lease_that_may_hold_is_never_disturbed() {
    let mut held = record("INPROGRESS", 5_000);
    let ends = AttributeValue::N("4102833600000".to_owned());
    held.insert("in_progress_expiration".to_owned(), ends);
    let mut without_owner = record("COMPLETED", -70_000);
    without_owner.remove("claimed_by");
    let works = format!("an invocation works on {ID}: its lease ends 2100-01-05T12:00:00Z");
    let just_ended = format!(
        "the lease of {ID} has only just ended: try again in a minute, when that is certain even if \
         the clock of this machine is fast"
    );
    let not_completed = format!(
        "{ID} is not completed: the next attempt takes it over, and --release removes its claim"
    );
    let completed = format!("{ID} is completed, so nothing holds it: --forget removes its record");
    let unknown = format!(
        "the record of {ID} has an unknown form, so the receiver did not write it: look at it in \
         DynamoDB"
    );
    let incomplete =
        "the record has no claimed_by, so the receiver did not write it: look at it in \
                      DynamoDB"
            .to_owned();
    for (record, options, said) in [
        (held.clone(), "--release --yes", &works),
        (held, "--forget --yes", &works),
        (
            record("INPROGRESS", -50_000),
            "--release --yes",
            &just_ended,
        ),
        (
            record("INPROGRESS", -70_000),
            "--forget --yes",
            &not_completed,
        ),
        (record("COMPLETED", -70_000), "--release --yes", &completed),
        (record("DONE", -70_000), "--forget --yes", &unknown),
        (without_owner, "--forget --yes", &incomplete),
    ] {
        let system = with(&record);
        let run = system
            .operator
            .run(&format!("delivery {ID} {options}"))
            .exits(1);
        assert_eq!(run.stderr, format!("error: {said}\n"));
        assert_eq!(system.emulators.deliveries.get(ID), Some(record));
    }
}

#[test]
fn releases_a_claim_whose_lease_is_over_with_yes() {
    let system = with(&record("INPROGRESS", -70_000));
    assert_eq!(system.delivery("--release", 3)["removed"], false);
    assert!(system.is_recorded());
    let run = system
        .operator
        .run(&format!("delivery {ID} --release"))
        .exits(3);
    assert!(
        run.stdout.ends_with("\nre-run with --yes\n"),
        "{}",
        run.stdout
    );
    assert_eq!(system.delivery("--release --yes", 0)["removed"], true);
    assert!(!system.is_recorded());
}

/// The receiver never writes a claim without the end of its lease.
#[test]
fn of_expired_records_only_a_claim_is_released() {
    let mut claim = record("INPROGRESS", -3_600_000);
    let past = AttributeValue::N((now() / 1_000 - 1).to_string());
    claim.insert("expiration".to_owned(), past);
    let system = with(&claim);
    assert_eq!(system.delivery("--release --yes", 0)["removed"], true);
    assert!(!system.is_recorded());
    claim.remove("in_progress_expiration");
    let system = with(&claim);
    let line = format!("delivery {ID} --release --yes");
    let run = system.operator.run(&line).exits(1);
    assert!(run.stderr.contains("unknown form"), "{}", run.stderr);
    assert!(system.is_recorded());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_forgotten_is_queued_again() {
    let system = System::start(Form::Schema);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    let event = signed(&contact(ID));
    let deliver = || front_door::deliver(&receiver, &event);
    assert_eq!(deliver().await, front_door::Answer::accepted());
    assert_eq!(system.delivery("--forget", 3)["removed"], false);
    assert_eq!(deliver().await, front_door::Answer::duplicate());
    assert_eq!(system.delivery("--forget --yes", 0)["removed"], true);
    assert_eq!(deliver().await, front_door::Answer::accepted());
    assert_eq!(system.emulators.contacts.len(), 2);
}

/// Between the reading and the deletion, another invocation claims or completes the delivery.
#[test]
fn a_record_that_changes_meanwhile_stays() {
    std::thread::scope(|scope| {
        for (status, option) in [("INPROGRESS", "--release"), ("COMPLETED", "--forget")] {
            for change in ["status", "claimed_by", "expiration"] {
                scope.spawn(move || stays_when_changed(&record(status, -70_000), option, change));
            }
        }
    });
}

fn stays_when_changed(before: &Item, option: &str, change: &str) {
    let system = with(before);
    let proxy = FaultProxy::start(&system.emulators.dynamodb_url, 1);
    let slow = Fault::Before(Harm::Delay(Duration::from_secs(2)));
    proxy.inject(When::Every("DeleteItem"), slow);
    let operator = system.operator.clone();
    let operator = operator.set("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url);
    let completed = AttributeValue::S("COMPLETED".to_owned());
    let value = match change {
        "status" if before["status"] == completed => AttributeValue::S("INPROGRESS".to_owned()),
        "status" => completed,
        "claimed_by" => AttributeValue::S("another".to_owned()),
        _ => AttributeValue::N((now() / 1_000 + 8 * DAY_S).to_string()),
    };
    let mut after = before.clone();
    after.insert(change.to_owned(), value);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| operator.run(&format!("delivery {ID} {option} --yes")));
        let deletes = || proxy.calls().iter().any(|it| it.operation == "DeleteItem");
        while !deletes() && !run.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        system.emulators.deliveries.put(&after);
        run.join().unwrap()
    });
    let run = run.exits(1);
    let said = "has changed since it was read";
    assert!(
        run.stderr.contains(said),
        "{option} {change}: {}",
        run.stderr
    );
    assert_eq!(system.emulators.deliveries.get(ID), Some(after));
}
