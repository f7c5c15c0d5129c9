//! A TitanX that never delivers one contact in twenty, the receiver, and the healer, with the emulated AWS
//! services: afterwards every contact has to be on the queue, once.
//!
//! ```text
//! cargo run --profile driver -p titanx-healer --example drops -- 100000          # contacts
//! cargo run --profile driver -p titanx-healer --example drops -- 20000 limited   # with TitanX's rate limits
//! ```
//!
//! The limits are those of TitanX's smallest plan, and time runs 240 times faster for them and for the schedule.
//! There, only the first job's contacts go through the receiver. Records like theirs are put into the table for
//! the others, since a million deliveries take half an hour.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use titanx_client::{TitanxClient, http::HttpClient};
use titanx_healer::{Healer, config::Config, report::End};
use titanx_receiver::{contact::Contact, receiver::Receiver};
use titanx_testbed::{
    emulators::{AttributeValue, Emulators},
    front_door::{Answer, deliver, environment, receiver},
    titanx::{completed_job, envelope_at, now_ms, signed},
    titanx_api::{API_KEY, Form, RateLimit, TitanxApi},
};

const CONTACTS_A_JOB: usize = 1_000;
const DROPPED: usize = 20;
const CONCURRENCY: usize = 8;

/// How much faster time runs where TitanX's limits are respected.
const SPEED: u32 = 240;
/// The smallest plan's. Its five calls a second are more than its hundred a minute in any whole minute.
const PLAN: [(&str, usize, Duration); 2] = [
    ("minute", 100, Duration::from_mins(1)),
    ("day", 10_000, Duration::from_hours(24)),
];
/// The schedule's interval, and the time of a run. Where the schedule is faster, the run's is not, since the
/// processor is not.
const INTERVAL: Duration = Duration::from_mins(15);
/// The longest wait for a limit to reset: resets are told in whole seconds.
const MAX_WAIT: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    let mut arguments = env::args().skip(1);
    let count: usize = arguments
        .next()
        .map_or(100_000, |it| it.parse().expect("a number"));
    let is_limited = arguments.next().is_some_and(|it| it == "limited");
    let emulators = Emulators::start();
    let titanx = TitanxApi::start(Form::Schema);
    titanx.set_page_size(100);
    let mut environment = environment(&emulators);
    let receiver = receiver(&environment);
    let mut queued = BTreeSet::new();
    let began = Instant::now();
    for job in 0..count.div_ceil(CONTACTS_A_JOB) {
        let numbers = job * CONTACTS_A_JOB..count.min((job + 1) * CONTACTS_A_JOB);
        let id = format!("job-{job}");
        let contacts: Vec<_> = numbers.clone().map(contact).collect();
        titanx.put_job(&id, json!({"id": id, "status": "Finalized"}), &contacts);
        let delivered = numbers.zip(&contacts);
        let delivered = delivered.filter(|(number, _)| !number.is_multiple_of(DROPPED));
        if is_limited && job > 0 {
            put_records(&emulators, &id, delivered);
        } else {
            queued.extend(delivered.clone().map(|(number, _)| number));
            deliver_contacts(&receiver, &id, delivered).await;
        }
        let completed = completed_job(&format!("completed-{job}"), &id);
        assert_eq!(
            deliver(&receiver, &signed(&completed)).await,
            Answer::accepted()
        );
        // As if it had come three days ago and more.
        let mut record = emulators.jobs.get(&id).expect("it is marked completed");
        let at = AttributeValue::N((now_ms() - 80 * 3_600_000).to_string());
        record.insert("completed_at".to_owned(), at);
        emulators.jobs.put(&record);
    }
    println!(
        "{} of {count} contacts delivered, in {:.0} s",
        emulators.deliveries.len() - count.div_ceil(CONTACTS_A_JOB),
        began.elapsed().as_secs_f64()
    );

    environment.insert("TITANX_API_URL", titanx.url.clone());
    let config = Config::from_env(|name| environment.get(name).cloned());
    let mut healer = config.expect("complete").build().await.expect("a healer");
    if is_limited {
        limit(&titanx, &mut healer);
        heal(&healer, SPEED).await;
    } else {
        heal(&healer, 1).await;
    }
    println!("{} calls to TitanX", titanx.requests().len());
    queued.extend((0..count).step_by(DROPPED));
    check(&emulators, &queued);
}

async fn deliver_contacts(
    receiver: &Receiver,
    job: &str,
    contacts: impl Iterator<Item = (usize, &Value)>,
) {
    stream::iter(contacts)
        .for_each_concurrent(CONCURRENCY, async |(number, contact)| {
            let mut payload = contact.clone();
            payload["jobId"] = job.into();
            let id = format!("delivery-{number}");
            let body = envelope_at(now_ms(), &id, "job.contact.scored", &payload);
            assert_eq!(deliver(receiver, &signed(&body)).await, Answer::accepted());
        })
        .await;
}

/// Puts records like the one that the receiver wrote of the first contact that was delivered.
fn put_records<'a>(
    emulators: &Emulators,
    job: &str,
    contacts: impl Iterator<Item = (usize, &'a Value)>,
) {
    let mut record = emulators.deliveries.get("delivery-1").expect("delivered");
    let text = |value: &str| AttributeValue::S(value.to_owned());
    record.insert("job_id".to_owned(), text(job));
    for (number, contact) in contacts {
        let contact = contact.to_string();
        let contact: Contact = serde_json::from_str(&contact).expect("a contact");
        let keys = AttributeValue::SS(contact.keys());
        let id = text(&format!("delivery-{number}"));
        record.insert("delivery_id".to_owned(), id);
        record.insert("contact_keys".to_owned(), keys);
        emulators.deliveries.put(&record);
    }
}

/// Sets the limits, and makes the healer wait for them as briefly as they last.
fn limit(titanx: &TitanxApi, healer: &mut Healer) {
    titanx.set_limits(&PLAN.map(|(name, calls, window)| RateLimit {
        name,
        calls,
        window: window / SPEED,
    }));
    let http = HttpClient::new().expect("a client");
    let client = TitanxClient::new(http, &titanx.url, API_KEY.to_owned(), MAX_WAIT);
    healer.titanx = client.expect("a local URL");
}

/// Runs the healer on its schedule until the round is finished.
async fn heal(healer: &Healer, speed: u32) {
    let began = Instant::now();
    let mut schedule = tokio::time::interval(INTERVAL / speed);
    loop {
        schedule.tick().await;
        let run_ms = i64::try_from(INTERVAL.as_millis()).expect("minutes");
        let deadline = i64::try_from(now_ms()).expect("a time") + run_ms;
        let run = Instant::now();
        let end = healer.run(deadline, &|_| ()).await.expect("no failure");
        if run.elapsed() > Duration::from_millis(100) {
            println!(
                "{:5.1} s in, {:4.1} h on the schedule's clock: {end:?} after {:.1} s",
                began.elapsed().as_secs_f64(),
                began.elapsed().as_secs_f64() * f64::from(speed) / 3_600.0,
                run.elapsed().as_secs_f64()
            );
        }
        if end == (End::RoundFinished { more: false }) {
            return;
        }
    }
}

/// Exactly these contacts have to be on the queue, each once.
fn check(emulators: &Emulators, expected: &BTreeSet<usize>) {
    let mut times = BTreeMap::<usize, usize>::new();
    for message in emulators.contacts.messages() {
        let envelope: Value = serde_json::from_str(&message.body).expect("JSON");
        let id = envelope["payload"]["customerContactId"].as_str();
        let number = id.and_then(|it| it.strip_prefix("contact-")?.parse().ok());
        *times
            .entry(number.expect("every contact has one"))
            .or_default() += 1;
    }
    let missing = expected.iter().filter(|it| !times.contains_key(it)).count();
    let doubled = times.values().filter(|times| **times > 1).count();
    let unexpected = times.keys().filter(|it| !expected.contains(it)).count();
    println!("{missing} missing, {doubled} doubled, {unexpected} queued though they were received");
    assert_eq!((missing, doubled, unexpected), (0, 0, 0));
}

fn contact(number: usize) -> Value {
    json!({
        "customerContactId": format!("contact-{number}"),
        "firstName": "Sample",
        "lastName": format!("Person {number}"),
        "email": format!("sample.{number}@example.com"),
        "phone": format!("+1 206 555 {:04}", 100 + number % 100),
        "phoneStatus": "High",
    })
}
