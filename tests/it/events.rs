//! The sample events: each is signed, parsed as by AWS's own types, and answered.

use std::{fs, path::PathBuf};

use lambda_http::RequestExt as _;
use serde_json::Value;
use titanx_receiver::{
    gateway::Request,
    signature::{KeyForm, Verifier},
};
use titanx_testbed::{
    emulators::{Emulators, SIGNING_SECRET},
    front_door::{Answer, environment, receiver},
    samples,
    titanx::signature,
};

/// A sample: its name, the gateway's event, and the body of the event.
struct Sample {
    name: String,
    event: String,
    body: Vec<u8>,
}

fn samples() -> Vec<Sample> {
    let files = samples::events();
    assert!(files.len() >= 12);
    let read = |file: &PathBuf| Sample {
        name: samples::name(file),
        event: fs::read_to_string(file).unwrap(),
        body: fs::read(samples::body_of(file)).unwrap(),
    };
    files.iter().map(read).collect()
}

#[test]
fn every_sample_is_signed_with_the_published_test_secret() {
    let published = fs::read_to_string("events/test-secret.txt").unwrap();
    assert_eq!(published.trim(), SIGNING_SECRET);
    for Sample { name, event, body } in samples() {
        let request = Request::from_event(&event).unwrap();
        assert_eq!(request.body.as_deref(), Some(&body[..]), "{name}");
        let secrets = Verifier::new([SIGNING_SECRET], &KeyForm::ALL);
        let verified = secrets.verify(&body, &request.signature.unwrap(), KeyForm::Whole);
        assert!(verified.is_some(), "{name}");
    }
}

#[test]
fn an_event_of_each_entrance_is_parsed_as_lambda_http_parses_it() {
    for entrance in ["apigw-v2", "function-url", "apigw-v1"] {
        let is_of = |it: &Sample| it.name.starts_with(entrance);
        assert!(samples().iter().any(is_of), "{entrance}");
    }
    for Sample { name, event, body } in samples() {
        if name.starts_with("alb") {
            continue;
        }
        if !name.starts_with("apigw-v1") {
            let json: Value = serde_json::from_str(&event).unwrap();
            // The template has no other route.
            assert_eq!(json["routeKey"], "$default", "{name}");
            assert_eq!(json["requestContext"]["routeKey"], "$default", "{name}");
        }
        let theirs = lambda_http::request::from_str(&event).unwrap();
        assert!(theirs.request_context_ref().is_some());
        let ours = Request::from_event(&event).unwrap();
        let header = theirs.headers()["x-titanx-signature"].to_str().unwrap();
        assert_eq!(header, signature(SIGNING_SECRET, &body), "{name}");
        assert!(ours.signature.is_some(), "{name}");
        assert_eq!(ours.body.as_deref(), Some(theirs.body().as_ref()), "{name}");
    }
}

#[tokio::test]
async fn every_sample_is_accepted_and_then_a_duplicate() {
    for Sample { name, event, .. } in samples() {
        let emulators = Emulators::start();
        let receiver = receiver(&environment(&emulators));
        let event: Value = serde_json::from_str(&event).unwrap();
        let (first, second) = if name.ends_with("unknown-type") {
            (Answer::quarantined(), Answer::quarantined())
        } else {
            (Answer::accepted(), Answer::duplicate())
        };
        for expected in [first, second] {
            let answer = titanx_testbed::front_door::deliver(&receiver, &event).await;
            assert_eq!(answer, expected, "{name}");
        }
        let contacts = usize::from(name.contains(".contact-"));
        assert_eq!(emulators.contacts.len(), contacts, "{name}");
        assert_eq!(
            emulators.jobs.len(),
            usize::from(name.contains(".job-")),
            "{name}"
        );
    }
}
