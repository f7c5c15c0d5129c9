//! Logs, answers and errors contain no confidential data.
//!
//! The function's program handles every kind of event and fault. Every line and every answer is searched for
//! fragments of payloads, signatures and secrets. [`call_sites`] has the places in the sources that write
//! such lines, and [`panics`] is a program that panics.

mod call_sites;
mod panics;

use std::{collections::BTreeMap, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use titanx_testbed::{
    answer::{Answer, read},
    confidential::Finder,
    emulators::{Emulators, Fault, Harm, When},
    gateway_events,
    lambda::{Lambda, Outcome},
    surroundings::{Proxies, environment},
    titanx::{NOT_STALE, envelope, headers, incompressible, request, signature},
};

const TIMEOUT: Duration = Duration::from_secs(3);
/// The function's timeout without a fault, so that every request has its own answer on a busy machine too.
const AMPLE: Duration = Duration::from_mins(1);
const SLOW: Duration = Duration::from_secs(20);
/// The secret that signs here, and another live secret. They contain no word that a log may contain.
const SECRET: &str = "wh_sk_Hn5TzQ9wBvXk2LrYd8MfJp6C";
const OTHER_SECRET: &str = "whsec_Zq8vKyXw3LmPtRb7NhJcGdFs";
const GUESS: &str = "Gx7-stranger-wYq2";

/// Values that occur nowhere else, so that every occurrence is a leak.
const PERSONAL: [&str; 10] = [
    "Quorvexia",
    "Zylthandrow-Öbrenkjöld",
    "quorvexia.zylthandrow@vexmail.example",
    "+1 202-555-0147",
    "Chief Wyvernkeeper",
    "https://vexmail.example/in/qzylthandrow",
    "Brundlewick Oxyhydrates",
    "4711 Vrksbnjle Street",
    "jb-9f3c7e51d2",
    "Kvothmjold batch",
];

fn payload() -> Value {
    let [
        first,
        last,
        email,
        phone,
        title,
        url,
        company,
        street,
        job_id,
        job_name,
    ] = PERSONAL;
    json!({
        "firstName": first, "lastName": last, "email": email, "phone": phone, "title": title,
        "linkedInUrl": url, "companyAccount": company, "street": street, "jobId": job_id,
        "jobName": job_name,
    })
}

fn body(id: &str, event_type: &str) -> String {
    envelope(id, event_type, &payload())
}

/// Everything confidential that the function gets during [`disclosures`].
fn confidential() -> Finder {
    let mut finder = Finder::default();
    for value in PERSONAL {
        finder.keep_secret(value);
    }
    for secret in [SECRET, OTHER_SECRET, GUESS] {
        finder.keep_secret(secret);
        for event_type in EVENT_TYPES {
            for id in IDS {
                let signed = signature(secret, body(id, event_type).as_bytes());
                finder.keep_secret(&signed);
            }
        }
    }
    finder
}

const EVENT_TYPES: [&str; 3] = ["job.contact.scored", "job.completed", "job.started"];
const IDS: [&str; 4] = ["id-1", "id-2", "id-3", ""];

/// All requests: each event signed, forged, unsigned, truncated, repeated, and with bytes that are no text.
fn requests() -> Vec<Value> {
    let mut requests = Vec::new();
    for event_type in EVENT_TYPES {
        for id in IDS {
            let body = body(id, event_type);
            let bytes = body.as_bytes();
            let right = signature(SECRET, bytes);
            for given in [
                Some(right.clone()),
                Some(signature(GUESS, bytes)),
                Some(signature(OTHER_SECRET, bytes)),
                Some(format!("sha256={right}")),
                Some(right[..40].to_owned()),
                None,
            ] {
                requests.push(request(&body, given.as_deref()));
            }
            let half = &body[..bytes.len() / 2];
            requests.push(request(half, Some(&signature(SECRET, half.as_bytes()))));
            let mistyped = body.replace(&NOT_STALE.to_string(), "\"Chief Wyvernkeeper\"");
            requests.push(request(
                &mistyped,
                Some(&signature(SECRET, mistyped.as_bytes())),
            ));
            let not_text = [b"\xff\xfe", bytes].concat();
            let headers = headers(Some(&signature(SECRET, &not_text)));
            requests.push(gateway_events::event(headers, &not_text));
        }
    }
    let mut lying = request(&body("id-1", EVENT_TYPES[0]), None);
    lying["isBase64Encoded"] = true.into();
    requests.push(lying);
    requests.extend(large_requests());
    requests
}

/// A payload that fits a message only as gzip, and one that fits none.
fn large_requests() -> [Value; 2] {
    [
        "Quorvexia".repeat(150_000),
        format!("Quorvexia{}", incompressible(1_100_000)),
    ]
    .map(|name| {
        let name = format!("{name}\"");
        let large = body("id-4", EVENT_TYPES[0]).replace("Quorvexia\"", &name);
        request(&large, Some(&signature(SECRET, large.as_bytes())))
    })
}

/// More than the number of reads that forged requests can cause.
const GUESSES: usize = 6;
/// The number of concurrent requests.
const AT_ONCE: usize = 64;

/// A function with these stored secrets, before its first delivery.
fn surroundings(secret: &str) -> (Emulators, BTreeMap<&'static str, String>, Proxies) {
    let emulators = Emulators::start();
    let mut environment = emulators.environment();
    environment.insert("AWS_LAMBDA_LOG_LEVEL", "TRACE".to_owned());
    emulators.secret.rotate(secret);
    let proxies = Proxies::between(&mut environment, &emulators);
    (emulators, environment, proxies)
}

/// All output of one process with this fault.
async fn disclosures(fault: Option<(When, Fault)>, secret: &str) -> (Vec<String>, Vec<Answer>) {
    let (_emulators, mut environment, proxies) = surroundings(secret);
    environment.insert("AWS_LAMBDA_MAX_CONCURRENCY", AT_ONCE.to_string());
    if let Some((when, fault)) = fault {
        for proxy in [&proxies.dynamodb, &proxies.sqs, &proxies.secrets_manager] {
            proxy.inject(when, fault);
        }
    }
    let lambda = Lambda::new(if fault.is_some() { TIMEOUT } else { AMPLE });
    let mut process = lambda.start(Path::new(env!("CARGO_BIN_EXE_receiver")), &environment);
    let mut said = Vec::new();
    let mut answers = Vec::new();
    let requests = requests();
    let outcomes = requests.iter().map(|request| lambda.invoke(request));
    for outcome in futures_util::future::join_all(outcomes).await {
        match outcome {
            Outcome::Answered(answer) => {
                answers.push(read(&answer));
                said.push(answer.to_string());
            }
            other => said.push(format!("{other:?}")),
        }
    }
    // One after the other, until no read of the secrets is left.
    let guess = body("id-1", EVENT_TYPES[0]);
    let guess = request(&guess, Some(&signature(GUESS, guess.as_bytes())));
    for _ in 0..GUESSES {
        said.push(format!("{:?}", lambda.invoke(&guess).await));
    }
    // A delivery is logged after its answer. Then the worker asks for the next event.
    let mut asked = AT_ONCE + requests.len() + GUESSES;
    let accepts = answers.iter().any(|answer| answer.status == 200);
    if fault.is_none() && accepts {
        let (answered, more) = large_requests_until_final(&lambda).await;
        asked += answered.len();
        answers.extend(answered);
        said.extend(more);
    }
    let written = tokio::time::timeout(AMPLE, process.has_asked(asked)).await;
    written.expect("every delivery comes to its end");
    // Delivered again when all are completed. One of these types was the first with its id.
    for event_type in &EVENT_TYPES[..2] {
        let again = body("id-1", event_type);
        let signature = signature(SECRET, again.as_bytes());
        let outcome = lambda.invoke(&request(&again, Some(&signature))).await;
        said.push(format!("{outcome:?}"));
        asked += 1;
    }
    let written = tokio::time::timeout(AMPLE, process.has_asked(asked)).await;
    written.expect("every delivery comes to its end");
    process.kill();
    said.extend(process.take_output());
    (said, answers)
}

/// Delivers each of the large requests until its answer is final, as TitanX does. On a busy machine, they
/// are too slow among the others.
async fn large_requests_until_final(lambda: &Lambda) -> (Vec<Answer>, Vec<String>) {
    let mut answers = Vec::new();
    let mut said = Vec::new();
    for request in large_requests() {
        for _attempt in 0..20 {
            let outcome = lambda.invoke(&request).await;
            said.push(format!("{outcome:?}"));
            let Outcome::Answered(answer) = outcome else {
                panic!("not answered: {outcome:?}");
            };
            let answer = read(&answer);
            let is_final = ![429, 503].contains(&answer.status);
            answers.push(answer);
            if is_final {
                break;
            }
        }
    }
    (answers, said)
}

/// Faults while a contact is delivered the first of three times.
struct BestEffort {
    calls: fn(&Proxies) -> Vec<(&titanx_testbed::emulators::FaultProxy, When)>,
    /// The message that only these faults cause.
    tells: &'static str,
}

/// The steps whose failure is logged and changes no answer.
const BEST_EFFORT: [BestEffort; 2] = [
    BestEffort {
        // The first call is the claim.
        calls: |proxies| {
            let later = (2..20).map(|nth| (&proxies.dynamodb, When::NthOf(nth, "PutItem")));
            later.collect()
        },
        tells: "completion mark failed",
    },
    BestEffort {
        calls: |proxies| {
            vec![
                (&proxies.sqs, When::Every("SendMessage")),
                (&proxies.dynamodb, When::Every("DeleteItem")),
            ]
        },
        tells: "release of the claim failed",
    },
];

/// All output of a process that cannot write its records.
async fn best_effort(step: &BestEffort, harm: Harm) -> Vec<String> {
    // Blanks around a secret are ignored with a warning.
    let (_emulators, environment, proxies) = surroundings(&format!(" {SECRET}\n"));
    for (proxy, when) in (step.calls)(&proxies) {
        proxy.inject(when, Fault::Before(harm));
    }
    let lambda = Lambda::new(TIMEOUT);
    let mut process = lambda.start(Path::new(env!("CARGO_BIN_EXE_receiver")), &environment);
    let body = body("id-1", EVENT_TYPES[0]);
    let event = request(&body, Some(&signature(SECRET, body.as_bytes())));
    let mut said = Vec::new();
    for deliveries in 1..=3 {
        said.push(format!("{:?}", lambda.invoke(&event).await));
        let written = tokio::time::timeout(AMPLE, process.has_asked(deliveries + 1));
        written.await.expect("every delivery comes to its end");
        proxies.heal();
    }
    process.kill();
    said.extend(process.take_output());
    let tells = call_sites::messages(&said).contains(step.tells);
    assert!(tells, "{}: {said:#?}", step.tells);
    said
}

/// All output of processes that do not start, because their secrets are unusable.
async fn refusals_to_start() -> Vec<String> {
    let mut said = Vec::new();
    for unusable in [
        format!("[\"{SECRET}\", "),
        format!("{{\"a\": \"{SECRET}\", \"b\": \"{OTHER_SECRET}\"}}"),
    ] {
        let (_emulators, mut environment, _proxies) = surroundings(SECRET);
        environment.remove("TITANX_WEBHOOK_SECRET_ARN");
        environment.insert("TITANX_WEBHOOK_SECRET", unusable);
        environment.insert("SIGNING_KEY_FORM", OTHER_SECRET.to_owned());
        let lambda = Lambda::new(TIMEOUT);
        let mut process = lambda.start(Path::new(env!("CARGO_BIN_EXE_receiver")), &environment);
        let ended = process.ended(TIMEOUT).await;
        assert_eq!(ended.and_then(|it| it.code()), Some(1));
        said.extend(process.take_output());
    }
    said
}

/// All output of a process whose log level leaves lines out.
async fn reticent() -> Vec<String> {
    let (_emulators, mut environment, _proxies) = surroundings(SECRET);
    environment.insert("AWS_LAMBDA_LOG_LEVEL", "ERROR".to_owned());
    let lambda = Lambda::new(TIMEOUT);
    let mut process = lambda.start(Path::new(env!("CARGO_BIN_EXE_receiver")), &environment);
    let body = body("id-1", EVENT_TYPES[0]);
    let event = request(&body, Some(&signature(SECRET, body.as_bytes())));
    let mut said = vec![format!("{:?}", lambda.invoke(&event).await)];
    process.kill();
    said.extend(process.take_output());
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_contains_a_fragment_of_a_payload_a_signature_or_a_secret() {
    let both = json!([SECRET, OTHER_SECRET]).to_string();
    let unusable = format!("[\"{SECRET}\", ");
    let finder = confidential();
    let mut statuses = BTreeMap::<u64, usize>::new();
    let mut outcomes = Vec::new();
    for (fault, secret) in [
        (None, SECRET),
        (None, &both),
        (None, &unusable),
        (Some((When::Always, Fault::Before(Harm::Reset))), &both),
        (Some((When::Always, Fault::After(Harm::Reset))), &both),
        (
            Some((When::Always, Fault::Before(Harm::ServerError))),
            &both,
        ),
        (Some((When::Always, Fault::Before(Harm::Throttle))), &both),
        (
            Some((When::Always, Fault::Before(Harm::Delay(SLOW)))),
            &both,
        ),
        (
            Some((When::Every("SendMessage"), Fault::Before(Harm::ServerError))),
            &both,
        ),
        (
            Some((When::Every("UpdateItem"), Fault::Before(Harm::ServerError))),
            &both,
        ),
        (
            Some((When::NthOf(2, "PutItem"), Fault::After(Harm::Reset))),
            &both,
        ),
        (
            Some((When::Share(0.5), Fault::Before(Harm::Throttle))),
            &both,
        ),
    ] {
        let (said, answers) = disclosures(fault, secret).await;
        assert!(
            said.len() >= 2 * answers.len(),
            "{fault:?}: a line for each"
        );
        for answer in answers {
            assert!(answer.is_in_the_table(), "{fault:?}: {answer:?}");
            *statuses.entry(answer.status).or_default() += 1;
        }
        for line in &said {
            assert_eq!(finder.find(line), None, "{fault:?}");
        }
        outcomes.extend(said);
    }
    // Every answer of the table has occurred.
    for status in [200, 401, 413, 429, 503] {
        assert!(statuses.contains_key(&status), "{status} in {statuses:?}");
    }
    for outcome in [
        "accepted",
        "quarantined",
        "refused",
        "in_flight",
        "too_large",
        "unavailable",
        "unrecognised",
    ] {
        let told = format!("\"outcome\":\"{outcome}\"");
        assert!(outcomes.iter().any(|line| line.contains(&told)), "{told}");
    }
    let mut rare = refusals_to_start().await;
    rare.extend(panics::disclosures());
    rare.extend(reticent().await);
    for step in &BEST_EFFORT {
        for harm in [Harm::ServerError, Harm::Reset] {
            rare.extend(best_effort(step, harm).await);
        }
    }
    for line in &rare {
        assert_eq!(finder.find(line), None);
    }
    outcomes.extend(rare);
    call_sites::check_off(&call_sites::messages(&outcomes));
}

#[test]
fn the_search_finds_planted_fragments_in_every_encoding() {
    let finder = confidential();
    let body = body("id-1", EVENT_TYPES[0]);
    let signed = signature(SECRET, body.as_bytes());
    let hex: Vec<_> = SECRET.bytes().map(|it| format!("{it:02x}")).collect();
    for leak in [
        body.clone(),
        STANDARD.encode(&body),
        format!("{:?}", body.as_bytes()),
        format!("{body:?}"),
        signed.clone(),
        format!("expected {}", &signed[10..16]),
        signature(OTHER_SECRET, body.as_bytes()),
        SECRET.to_owned(),
        format!("Secret({:?})", &OTHER_SECRET[6..12]),
        hex.concat(),
        "dear quorvex".to_owned(),
        "VEXMAIL".to_owned(),
        "tel 555-0147".to_owned(),
        "kjöld".to_owned() + ", brenkjöld",
        r#"{"request_id":"dafd8ee1-403e-402b-9f59-bb9f3c7e3a24","error":"jb-9f3c7e"}"#.to_owned(),
    ] {
        assert!(finder.find(&leak).is_some(), "{leak}");
    }
    for harmless in [
        r#"{"timestamp":"2026-01-05T12:00:00Z","outcome":"accepted","id":"id-1","age_ms":1250,"ms":13,"gateway":"AAAAAAAAAAAAAAA="}"#,
        r#"{"error": "Invalid signature"}"#,
        r#"{"request_id":"dafd8ee1-403e-402b-9f59-bb9f3c7e3a24"}"#,
        "Quorv exia",
    ] {
        assert_eq!(finder.find(harmless), None);
    }
}

/// `Verifier::verify` is constant-time by construction: it compares with every secret in constant time, and
/// does not stop at a match. This test can only show that every live secret is tried.
#[tokio::test]
async fn every_live_secret_is_tried_at_every_position() {
    let secrets: Vec<String> = (0..8).map(|n| format!("wh_sk_live_{n}")).collect();
    let emulators = Emulators::start();
    let mut variables = environment(&emulators);
    variables.insert("TITANX_WEBHOOK_SECRET", secrets.join("\n"));
    let receiver = titanx_testbed::front_door::receiver(&variables);
    for (n, secret) in secrets.iter().enumerate() {
        let body = body(&format!("delivery-{n}"), EVENT_TYPES[0]);
        let signature = signature(secret, body.as_bytes());
        let event = request(&body, Some(&signature));
        let answer = titanx_testbed::front_door::deliver(&receiver, &event).await;
        assert_eq!(answer, Answer::accepted(), "secret {n}");
    }
    let body = body("delivery-9", EVENT_TYPES[0]);
    let retired = signature("wh_sk_live_8", body.as_bytes());
    let event = request(&body, Some(&retired));
    let answer = titanx_testbed::front_door::deliver(&receiver, &event).await;
    assert_eq!(answer, Answer::refused());
    assert_eq!(emulators.contacts.len(), secrets.len());
}
