//! A TitanX that never delivers one contact in twenty, the receiver, and the healer, with the emulated AWS
//! services: afterwards every contact has to be on the queue, once.
//!
//! ```text
//! cargo run --profile driver -p titanx-healer --example drops -- 100000   # contacts
//! ```

use std::{collections::BTreeMap, env, time::Instant};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use titanx_healer::config::Config;
use titanx_testbed::{
    emulators::{AttributeValue, Emulators},
    front_door::{Answer, deliver, environment, receiver},
    titanx::{completed_job, envelope_at, now_ms, signed},
    titanx_api::{Form, TitanxApi},
};

const CONTACTS_A_JOB: usize = 1_000;
const DROPPED: usize = 20;
const CONCURRENCY: usize = 8;

#[tokio::main]
async fn main() {
    let count = env::args()
        .nth(1)
        .map_or(100_000, |it| it.parse().expect("a number"));
    let emulators = Emulators::start();
    let titanx = TitanxApi::start(Form::Schema);
    titanx.set_page_size(100);
    let mut environment = environment(&emulators);
    let receiver = receiver(&environment);
    let began = Instant::now();
    for job in 0..usize::div_ceil(count, CONTACTS_A_JOB) {
        let numbers = job * CONTACTS_A_JOB..count.min((job + 1) * CONTACTS_A_JOB);
        let job = format!("job-{job}");
        let contacts: Vec<_> = numbers.clone().map(contact).collect();
        titanx.put_job(&job, json!({"id": job, "status": "Finalized"}), &contacts);
        let delivered = numbers.zip(&contacts);
        let delivered = delivered.filter(|(number, _)| !number.is_multiple_of(DROPPED));
        stream::iter(delivered)
            .for_each_concurrent(CONCURRENCY, async |(number, contact)| {
                let mut payload = contact.clone();
                payload["jobId"] = job.as_str().into();
                let id = format!("delivery-{number}");
                let body = envelope_at(now_ms(), &id, "job.contact.scored", &payload);
                assert_eq!(deliver(&receiver, &signed(&body)).await, Answer::accepted());
            })
            .await;
        let completed = completed_job(&format!("completed-{job}"), &job);
        assert_eq!(
            deliver(&receiver, &signed(&completed)).await,
            Answer::accepted()
        );
        // As if it had come three days ago and more.
        let mut record = emulators.jobs.get(&job).expect("it is marked completed");
        let at = AttributeValue::N((now_ms() - 80 * 3_600_000).to_string());
        record.insert("completed_at".to_owned(), at);
        emulators.jobs.put(&record);
    }
    let queued = emulators.contacts.len();
    println!(
        "{queued} of {count} contacts delivered in {:.0} s",
        began.elapsed().as_secs_f64()
    );

    environment.insert("TITANX_API_URL", titanx.url.clone());
    let config = Config::from_env(|name| environment.get(name).cloned());
    let healer = config.expect("complete").build().await.expect("a healer");
    let began = Instant::now();
    let deadline = i64::try_from(now_ms()).expect("a time") + 15 * 60 * 1_000;
    let end = healer.run(deadline, &|_| ()).await.expect("no failure");
    println!(
        "{end:?} after {:.0} s, {} calls to TitanX",
        began.elapsed().as_secs_f64(),
        titanx.requests().len()
    );

    let mut times = BTreeMap::<String, usize>::new();
    for message in emulators.contacts.messages() {
        let envelope: Value = serde_json::from_str(&message.body).expect("JSON");
        let id = envelope["payload"]["customerContactId"].as_str();
        *times
            .entry(id.expect("every contact has one").to_owned())
            .or_default() += 1;
    }
    let doubled = times.values().filter(|times| **times > 1).count();
    let missing = count - times.len();
    println!("{missing} missing, {doubled} doubled");
    assert_eq!((missing, doubled), (0, 0));
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
