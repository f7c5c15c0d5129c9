use std::fs;

use serde_json::{Value, json};
use titanx_receiver::gateway::Request;
use titanx_testbed::{emulators::SIGNING_SECRET, front_door, server::json as respond, titanx};

use crate::{System, operator::Operator, titanx_answers::Scripted, titanx_api::Form};

#[test]
fn the_receiver_accepts_synthetic_contacts() {
    let system = System::start(Form::Schema);
    let sent = system
        .operator
        .run("--json send --count 3 --job job-7")
        .exits(0)
        .json();
    assert_eq!(sent.as_array().unwrap().len(), 3);
    let messages = system.emulators.contacts.messages();
    assert_eq!(messages.len(), 3);
    for message in messages {
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["payload"]["jobId"], "job-7");
        assert!(
            body["payload"]["phone"]
                .as_str()
                .unwrap()
                .contains(" 555 01")
        );
    }
}

#[test]
fn a_synthetic_job_completed_event_marks_the_job_completed() {
    let system = System::start(Form::Schema);
    system
        .operator
        .run("send --count 1 --event job.completed --job job-7")
        .exits(0);
    assert!(system.emulators.jobs.get("job-7").is_some());
}

#[test]
fn sends_a_file_byte_for_byte() {
    let system = System::start(Form::Schema);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body.json");
    let body = format!(" {}\n", titanx::contact("delivery-1"));
    fs::write(&file, &body).unwrap();
    let line = format!("send {}", file.display());
    let run = system
        .operator
        .run(&line)
        .exits(0)
        .does_not_contain(&[SIGNING_SECRET]);
    assert!(
        run.stdout.contains(r#"{"received": true}"#),
        "{}",
        run.stdout
    );
    assert_eq!(system.emulators.contacts.messages()[0].body, body);
}

/// They are one job, and different contacts.
#[test]
fn each_printed_event_has_its_own_signature() {
    let operator = Operator::default().set("TITANX_WEBHOOK_SECRET", SIGNING_SECRET);
    let printed = operator.run("send --count 3 --as url").exits(0).stdout;
    let mut bodies = Vec::new();
    for line in printed.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let body = event["body"].as_str().unwrap().to_owned();
        let expected = titanx::signature(SIGNING_SECRET, &body);
        assert_eq!(event["headers"]["x-titanx-signature"], expected);
        assert!(!bodies.contains(&body), "{body}");
        bodies.push(body);
    }
    assert_eq!(bodies.len(), 3);
}

#[test]
fn a_refused_delivery_fails_the_command() {
    let system = System::start(Form::Schema);
    let wrong_secret = system
        .operator
        .clone()
        .set("TITANX_WEBHOOK_SECRET", "another");
    let run = wrong_secret.run("send --count 2").exits(1);
    run.tells("error: 2 of 2 deliveries were not answered with 2xx: see their statuses above");
    assert!(run.stdout.contains("401"), "{}", run.stdout);

    let answers = [200, 503, 200].map(|status| respond(status, &json!({})));
    let webhook = Scripted::new(answers.into());
    let operator = system.operator.set("WEBHOOK_URL", webhook.url());
    let run = operator.run("send --count 3").exits(1);
    run.tells("error: 1 of 3 deliveries were not answered with 2xx: see their statuses above");
}

#[tokio::test]
async fn the_receiver_accepts_the_event_of_every_gateway() {
    let system = System::start(Form::Schema);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    let operator = Operator::default().set("TITANX_WEBHOOK_SECRET", SIGNING_SECRET);
    for gateway in ["apigw-v2", "apigw-v1", "url"] {
        let printed = operator
            .run(&format!("send --count 1 --as {gateway}"))
            .exits(0)
            .stdout;
        let event: Value = serde_json::from_str(&printed).unwrap();
        if gateway != "apigw-v1" {
            // The template has no other route.
            assert_eq!(event["routeKey"], "$default", "{gateway}");
            assert_eq!(event["requestContext"]["routeKey"], "$default", "{gateway}");
        }
        let answer = front_door::deliver(&receiver, &event).await;
        assert_eq!(answer, front_door::Answer::accepted(), "{gateway}");
        assert!(Request::from_event(&printed).unwrap().signature.is_some());
    }
}
