//! The function's own program behind a Lambda runtime interface: this project's by default, AWS's
//! emulator where `LAMBDA_RIE` names it (`scripts/runtime-check` does).

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{
    emulators::{Emulators, SIGNING_SECRET},
    front_door::{Answer, TIMEOUT, environment, read},
    interface::RuntimeInterface,
    lambda::{Lambda, Outcome, Process},
    titanx::{contact, finished_job, request, signature, signed, signed_bytes},
};

const RECEIVER: &str = env!("CARGO_BIN_EXE_receiver");

/// The function, started. It ends when this is dropped.
enum Function {
    Ours(Box<(Lambda, Process)>),
    Aws(Box<RuntimeInterface>),
}

impl Function {
    async fn start(environment: &BTreeMap<&'static str, String>) -> Self {
        if let Some(emulator) = env::var_os("LAMBDA_RIE") {
            let interface = RuntimeInterface::start(Path::new(&emulator), environment).await;
            return Self::Aws(Box::new(interface));
        }
        let lambda = Lambda::new(TIMEOUT);
        let process = lambda.start(Path::new(RECEIVER), environment).await;
        Self::Ours(Box::new((lambda, process)))
    }

    /// What a gateway gets back.
    async fn response(&self, event: &Value) -> Value {
        match self {
            Self::Aws(interface) => interface.invoke(event).await,
            Self::Ours(ours) => match ours.0.invoke(event).await {
                Outcome::Answered(response) => response,
                other => panic!("{other:?}"),
            },
        }
    }

    async fn answer(&self, event: &Value) -> Answer {
        read(&self.response(event).await)
    }
}

fn sample(name: &str) -> Value {
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    serde_json::from_slice(&fs::read(events.join(name)).unwrap()).unwrap()
}

fn samples() -> Vec<String> {
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let names = fs::read_dir(events)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names
        .filter(|name| name.matches('.').count() == 2)
        .collect()
}

#[tokio::test]
async fn every_sample_event_is_taken_and_then_known() {
    let names = samples();
    assert!(names.len() >= 11);
    for name in names {
        let emulators = Emulators::start();
        let function = Function::start(&environment(&emulators)).await;
        let event = sample(&name);
        let unknown = name.contains("unknown-type");
        for accepted in [
            json!({"received": true}),
            json!({"received": true, "duplicate": true}),
        ] {
            let response = function.response(&event).await;
            assert_eq!(response["statusCode"], 200, "{name}");
            let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
            let quarantined = json!({"received": true, "quarantined": true});
            assert_eq!(body, if unknown { quarantined } else { accepted }, "{name}");
        }
        let (contacts, jobs) = (emulators.contacts.len(), emulators.jobs.len());
        assert_eq!(contacts, usize::from(name.contains(".contact-")), "{name}");
        assert_eq!(jobs, usize::from(name.contains(".job-")), "{name}");
        assert_eq!(
            emulators.quarantine.len(),
            2 * usize::from(unknown),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_is_hostile_is_answered_from_the_table() {
    let emulators = Emulators::start();
    let function = Function::start(&environment(&emulators)).await;
    let body = contact("delivery-1");
    let good = signature(SIGNING_SECRET, body.as_bytes());
    let mut lie = signed(&body);
    lie["isBase64Encoded"] = true.into();
    for unsigned in [
        json!({}),
        json!([]),
        json!("text"),
        json!({"headers": null, "body": null}),
        json!({"headers": {"x-titanx-signature": 5}, "body": {}}),
        request(&body, None),
        request(&body, Some("")),
        request(&body, Some("\u{FFFE}\u{1F600}")),
        request(&body, Some(&"A".repeat(100_000))),
        request(&body, Some(&format!("{good}, {good}"))),
        request(&format!("{body}\n"), Some(&good)),
        lie,
    ] {
        assert_eq!(
            function.answer(&unsigned).await,
            Answer::refused(),
            "{unsigned}"
        );
    }
    for unreadable in [signed(""), signed("[[["), signed_bytes(b"\xff\xfe\x00")] {
        assert_eq!(function.answer(&unreadable).await, Answer::quarantined());
    }
    assert_eq!(
        function
            .answer(&signed(&"x".repeat(2_000_000)))
            .await
            .status,
        413
    );
    assert_eq!(function.answer(&signed(&body)).await, Answer::accepted());
    assert_eq!(emulators.contacts.len(), 1);
    assert_eq!(emulators.quarantine.len(), 3);
}

#[tokio::test]
async fn a_load_balancer_and_a_rest_api_are_answered_in_their_own_form() {
    let emulators = Emulators::start();
    let function = Function::start(&environment(&emulators)).await;
    let refused = |name| {
        let mut event = sample(name);
        event["body"] = "another".into();
        event
    };
    let rest = function
        .response(&refused("apigw-v1.contact-full.json"))
        .await;
    assert_eq!(rest["headers"]["content-type"], "application/json");
    let balancer = function.response(&refused("alb.contact-full.json")).await;
    assert_eq!(balancer["statusDescription"], "401 Unauthorized");
    assert_eq!(balancer["headers"]["content-type"], "application/json");
    let multi = function
        .response(&refused("alb-multi-value.job-finalized.json"))
        .await;
    let content_type = &multi["multiValueHeaders"]["content-type"];
    assert_eq!(content_type, &json!(["application/json"]));
}

#[tokio::test]
async fn secrets_are_loaded_from_secrets_manager_and_taken_up_anew() {
    let emulators = Emulators::start();
    let function = Function::start(&emulators.environment()).await;
    assert_eq!(
        function.answer(&signed(&contact("1"))).await,
        Answer::accepted()
    );
    emulators
        .secret
        .rotate(&json!([SIGNING_SECRET, "new-secret"]).to_string());
    let body = finished_job("2", "job-1");
    let with_new = request(&body, Some(&signature("new-secret", body.as_bytes())));
    assert_eq!(function.answer(&with_new).await, Answer::accepted());
}

#[tokio::test]
async fn several_requests_at_once_are_served_at_once() {
    // AWS's emulator offers one at a time, so this is asked of ours alone.
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    environment.insert("AWS_LAMBDA_MAX_CONCURRENCY", "4".to_owned());
    let lambda = Lambda::new(TIMEOUT);
    let _process = lambda.start(Path::new(RECEIVER), &environment).await;
    let events: Vec<_> = (0..40).map(|n| signed(&contact(&n.to_string()))).collect();
    let answers = events.iter().map(|event| lambda.invoke(event));
    for answer in futures_util::future::join_all(answers).await {
        let Outcome::Answered(response) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(read(&response), Answer::accepted());
    }
    assert_eq!(emulators.contacts.len(), 40);
}

#[test]
fn a_mistaken_configuration_stops_the_start_and_all_mistakes_are_named() {
    let stopped = Command::new(RECEIVER)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
        .env("JOBS_TABLE", "jobs")
        .env("DELIVERY_RETENTION_DAYS", "3")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!stopped.status.success());
    let said = String::from_utf8(stopped.stdout).unwrap();
    for name in [
        "DELIVERIES_TABLE",
        "CONTACTS_QUEUE_URL",
        "QUARANTINE_QUEUE_URL",
        "TITANX_WEBHOOK_SECRET",
        "DELIVERY_RETENTION_DAYS",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ] {
        assert!(said.contains(name), "{name} in {said}");
    }
    assert!(!said.contains("JOBS_TABLE"), "{said}");
}
