//! The sample events: each is signed, is read the same by AWS's own types, and is answered.

use std::{fs, path::Path};

use lambda_http::RequestExt as _;
use serde_json::Value;
use titanx_receiver::{gateway::Request, signature::Verifier};
use titanx_testbed::{
    emulators::{Emulators, SIGNING_SECRET},
    front_door::{Answer, environment, receiver},
    titanx::signature,
};

/// The sample gateway events, by name.
fn samples() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let mut samples: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    samples.sort();
    assert!(samples.len() >= 11);
    samples
}

fn body_of(name: &str) -> Vec<u8> {
    let body = name.split_once('.').unwrap().1;
    let bodies = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/bodies");
    fs::read(bodies.join(body).with_extension("json")).unwrap()
}

#[test]
fn every_sample_is_signed_with_the_published_test_secret() {
    let published = fs::read_to_string("events/test-secret.txt").unwrap();
    assert_eq!(published.trim(), SIGNING_SECRET);
    for (name, event) in samples() {
        let request: Request = serde_json::from_str(&event).unwrap();
        let body = body_of(&name);
        assert_eq!(request.body.as_deref(), Some(&body[..]), "{name}");
        let verifier = Verifier::new([SIGNING_SECRET]);
        let verified = verifier.verify(&body, &request.signature.unwrap());
        assert!(verified.is_some(), "{name}");
    }
}

#[test]
fn an_http_api_event_is_read_as_aws_reads_it() {
    for (name, event) in samples() {
        if !name.starts_with("apigw-v2") && !name.starts_with("function-url") {
            continue;
        }
        let theirs = lambda_http::request::from_str(&event).unwrap();
        assert!(theirs.request_context_ref().is_some());
        let ours: Request = serde_json::from_str(&event).unwrap();
        let header = theirs.headers()["x-titanx-signature"].to_str().unwrap();
        assert_eq!(header, signature(SIGNING_SECRET, &body_of(&name)), "{name}");
        assert!(ours.signature.is_some(), "{name}");
        assert_eq!(ours.body.as_deref(), Some(theirs.body().as_ref()), "{name}");
    }
}

#[tokio::test]
async fn every_sample_is_taken_and_then_known() {
    for (name, event) in samples() {
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
