//! A wrong secret is stored while TitanX delivers. What the receiver refuses then is final for TitanX;
//! `operator reconcile` gets it back.

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::SIGNING_SECRET,
    front_door::{self, Answer},
    titanx::{completed_job, envelope, signed},
};

use crate::{System, titanx_api::Form};

const JOB: &str = "11111111-2222-4333-8444-555555555555";

fn contact(number: usize) -> Value {
    json!({
        "firstName": "Sample", "lastName": format!("Person {number}"),
        "email": format!("sample.{number}@example.com"), "leadStatus": "High",
    })
}

/// The answer to the delivery of this contact from a new execution environment, which reads the
/// stored secret at once.
async fn deliver(system: &System, number: usize) -> Answer {
    let receiver = front_door::receiver(&system.emulators.environment());
    let id = format!("delivery-{number}");
    let mut payload = contact(number);
    payload["jobId"] = JOB.into();
    let body = envelope(&id, "job.contact.scored", &payload);
    front_door::deliver(&receiver, &signed(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_queues_what_was_refused_under_a_wrong_secret() {
    let system = System::start(Form::Schema);
    let contacts: Vec<_> = (0..6).map(contact).collect();
    system.api.put_job(JOB, json!({"id": JOB}), &contacts);

    assert_eq!(deliver(&system, 0).await, Answer::accepted());
    system
        .emulators
        .secret
        .rotate("wh_sk_synthetic_of_another_environment");
    for number in 1..4 {
        assert_eq!(deliver(&system, number).await, Answer::refused());
    }
    system.emulators.secret.rotate(SIGNING_SECRET);
    for number in 4..6 {
        assert_eq!(deliver(&system, number).await, Answer::accepted());
    }
    let receiver = front_door::receiver(&system.emulators.environment());
    let completed = signed(&completed_job("completed", JOB));
    assert_eq!(
        front_door::deliver(&receiver, &completed).await,
        Answer::accepted()
    );

    let run = system
        .operator
        .run(&format!("--json reconcile {JOB} --yes"));
    let report = run.exits(0).json();
    assert_eq!(report[0]["received"], 3);
    assert_eq!(report[0]["queued"], 3);
    let messages = system.emulators.contacts.messages().into_iter();
    let mut queued: Vec<_> = messages
        .map(|message| {
            let body: Value = serde_json::from_str(&message.body).unwrap();
            body["payload"]["lastName"].as_str().unwrap().to_owned()
        })
        .collect();
    queued.sort();
    let each_once: Vec<_> = (0..6).map(|number| format!("Person {number}")).collect();
    assert_eq!(queued, each_once);
}
