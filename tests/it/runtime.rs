//! The function's program with a Lambda Runtime API: all sample events, hostile events, concurrent
//! invocations, a rotation of its secrets, and mistakes in its configuration.
//!
//! By default the Runtime API is the testbed's, with the program that was built for the tests. If
//! `LAMBDA_RIE` names AWS's emulator, the tests use that one with the release build
//! (`scripts/runtime-check`).

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{Emulators, Fault, Harm, SIGNING_SECRET, When},
    front_door::{Answer, Proxies, TIMEOUT, environment, read},
    interface::{BOOTSTRAP, RuntimeInterface},
    lambda::{Lambda, Outcome, Process},
    samples,
    titanx::{
        NOT_STALE, completed_job, contact, envelope, incompressible, request, signature, signed,
        signed_bytes,
    },
};
use tokio::{task::JoinHandle, time::sleep};

/// The running function. It stops when this is dropped.
enum Function {
    Ours(Box<(Lambda, Process)>),
    Aws(Box<RuntimeInterface>),
}

impl Function {
    async fn start(environment: &BTreeMap<&'static str, String>) -> Self {
        if let Some(emulator) = emulator() {
            let interface = RuntimeInterface::start(Path::new(&emulator), environment).await;
            return Self::Aws(Box::new(interface));
        }
        let lambda = Lambda::new(TIMEOUT);
        let process = lambda.start(&program(), environment);
        Self::Ours(Box::new((lambda, process)))
    }

    /// Invokes the function, and returns its response.
    async fn response(&self, event: &(impl Display + ?Sized)) -> Value {
        match self {
            Self::Aws(interface) => interface.invoke(event).await,
            Self::Ours(ours) => match ours.0.invoke(event).await {
                Outcome::Answered(response) => response,
                other => panic!("{other:?}"),
            },
        }
    }

    async fn answer(&self, event: &(impl Display + ?Sized)) -> Answer {
        read(&self.response(event).await)
    }
}

fn emulator() -> Option<OsString> {
    env::var_os("LAMBDA_RIE")
}

fn program() -> PathBuf {
    match emulator() {
        Some(_) => BOOTSTRAP.into(),
        None => env!("CARGO_BIN_EXE_receiver").into(),
    }
}

/// A sample, with its expected result and its gateway.
struct Sample {
    name: &'static str,
    becomes: Becomes,
    gateway: Gateway,
}

#[derive(Clone, Copy, PartialEq)]
enum Becomes {
    Contact,
    CompletedJob,
    Quarantined,
}

#[derive(Clone, Copy)]
enum Gateway {
    /// An HTTP API or a function URL.
    HttpApi,
    RestApi,
    LoadBalancer,
    LoadBalancerMultiValue,
}

const fn sample(name: &'static str, becomes: Becomes, gateway: Gateway) -> Sample {
    Sample {
        name,
        becomes,
        gateway,
    }
}

/// Every file of `events`.
const SAMPLES: [Sample; 12] = {
    use Becomes::{CompletedJob, Contact, Quarantined};
    use Gateway::{HttpApi, LoadBalancer, LoadBalancerMultiValue, RestApi};
    [
        sample(
            "alb-multi-value.job-finalized",
            CompletedJob,
            LoadBalancerMultiValue,
        ),
        sample("alb.contact-full", Contact, LoadBalancer),
        sample("apigw-v1-base64.contact-non-ascii", Contact, RestApi),
        sample("apigw-v1.contact-full", Contact, RestApi),
        sample("apigw-v2-base64.contact-full", Contact, HttpApi),
        sample("apigw-v2.contact-full", Contact, HttpApi),
        sample("apigw-v2.contact-non-ascii", Contact, HttpApi),
        sample("apigw-v2.contact-sparse", Contact, HttpApi),
        sample("apigw-v2.job-finalized", CompletedJob, HttpApi),
        sample("apigw-v2.job-not-enriched", CompletedJob, HttpApi),
        sample("apigw-v2.unknown-type", Quarantined, HttpApi),
        sample("function-url.contact-full", Contact, HttpApi),
    ]
};

impl Sample {
    fn event(&self) -> String {
        fs::read_to_string(format!("events/{}.json", self.name)).unwrap()
    }

    /// The body as it is sent to SQS: as signed, except for the two characters that SQS refuses.
    fn message(&self) -> String {
        let (_gateway, body) = self.name.split_once('.').unwrap();
        let body = fs::read_to_string(format!("events/bodies/{body}.json")).unwrap();
        body.replace('\u{FFFE}', r"\ufffe")
            .replace('\u{FFFF}', r"\uffff")
    }

    /// The bodies of the first and of the second answer.
    fn answers(&self) -> [&'static str; 2] {
        match self.becomes {
            Becomes::Contact | Becomes::CompletedJob => [
                r#"{"received": true}"#,
                r#"{"received": true, "duplicate": true}"#,
            ],
            Becomes::Quarantined => [r#"{"received": true, "quarantined": true}"#; 2],
        }
    }

    /// The complete response of the function.
    fn response(&self, status: u16, description: &str, body: &str) -> Value {
        let mut response = json!({"statusCode": status, "body": body, "isBase64Encoded": false});
        let (headers, json) = match self.gateway {
            Gateway::LoadBalancerMultiValue => ("multiValueHeaders", json!(["application/json"])),
            _ => ("headers", json!("application/json")),
        };
        response[headers] = json!({"content-type": json});
        match self.gateway {
            Gateway::HttpApi => response["cookies"] = json!([]),
            Gateway::RestApi => {}
            Gateway::LoadBalancer | Gateway::LoadBalancerMultiValue => {
                response["statusDescription"] = json!(description);
            }
        }
        response
    }
}

#[test]
fn every_event_file_is_a_sample() {
    let files = samples::events();
    let names: Vec<_> = files.iter().map(|file| samples::name(file)).collect();
    assert_eq!(names, SAMPLES.map(|sample| sample.name));
}

#[tokio::test]
async fn every_sample_is_answered_in_its_gateways_layout_and_then_as_a_duplicate() {
    for sample in SAMPLES {
        let Sample { name, becomes, .. } = sample;
        let emulators = Emulators::start();
        let function = Function::start(&emulators.environment()).await;
        for body in sample.answers() {
            let response = function.response(&sample.event()).await;
            assert_eq!(response, sample.response(200, "200 OK", body), "{name}");
        }

        let contacts = emulators.contacts.messages();
        assert_eq!(contacts.len(), usize::from(becomes == Becomes::Contact));
        assert!(
            contacts.iter().all(|it| it.body == sample.message()),
            "{name}"
        );
        let jobs = emulators.jobs.len();
        assert_eq!(
            jobs,
            usize::from(becomes == Becomes::CompletedJob),
            "{name}"
        );
        let parked = emulators.quarantine.messages();
        let twice = 2 * usize::from(becomes == Becomes::Quarantined);
        assert_eq!(parked.len(), twice, "{name}");
        assert!(
            parked.iter().all(|it| it.body == sample.message()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn nothing_unsigned_gets_in_whatever_it_looks_like() {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    let proxies = Proxies::between(&mut environment, &emulators);
    let function = Function::start(&environment).await;
    let body = contact("delivery-1");
    let genuine = signature(SIGNING_SECRET, body.as_bytes());
    let changed = |pointer: &str, value: Value| {
        let mut event = signed(&body);
        *event.pointer_mut(pointer).unwrap() = value;
        event.to_string()
    };
    let header = |value: &str| request(&body, Some(value)).to_string();
    let mut twice = signed(&body);
    twice["headers"]["X-TitanX-Signature"] = json!(genuine);
    let mut as_text = signed_bytes(body.as_bytes());
    as_text["isBase64Encoded"] = json!(false);
    let foreign = signature("wh_sk_another", body.as_bytes());

    for event in [
        changed("/body", json!(body.replace("555", "556"))),
        changed("/body", json!(format!("{body}\n"))),
        changed("/body", json!("")),
        changed("/body", Value::Null),
        changed("/body", json!({"payload": {}})),
        changed("/isBase64Encoded", json!(true)),
        changed("/isBase64Encoded", json!("false")),
        changed("/headers", json!({})),
        changed("/headers", Value::Null),
        changed("/headers", json!([["x-titanx-signature", genuine]])),
        as_text.to_string(),
        twice.to_string(),
        request(&body, None).to_string(),
        header(""),
        header("="),
        header(&genuine[..43]),
        header(&format!(" {genuine}")),
        header(&format!("sha256={genuine}")),
        header(&format!("{genuine},{genuine}")),
        header(&genuine.to_lowercase()),
        header(&foreign),
        header(&"A".repeat(100_000)),
        header("\u{0}\u{FFFE}é"),
        r#"{"headers": {"x-titanx-signature": "\ud800"}, "body": "\udfff"}"#.to_owned(),
        r#"{"body": "a", "body": "b"}"#.to_owned(),
        "[".repeat(100) + &"]".repeat(100),
        "{}".to_owned(),
        "[]".to_owned(),
        "5".to_owned(),
        "1e400".to_owned(),
        "null".to_owned(),
        r#""text""#.to_owned(),
    ] {
        let shown: String = event.chars().take(500).collect();
        assert_eq!(function.answer(&event).await, Answer::refused(), "{shown}");
    }
    assert_eq!(proxies.operations(), [""; 0]);

    // The process still runs.
    let answer = function.answer(&signed(&body)).await;
    assert_eq!(answer, Answer::accepted());
}

#[tokio::test]
async fn a_refusal_has_the_layout_of_its_gateway() {
    let emulators = Emulators::start();
    let function = Function::start(&environment(&emulators)).await;
    for sample in SAMPLES {
        let mut event: Value = serde_json::from_str(&sample.event()).unwrap();
        event["body"] = "another".into();
        let response = function.response(&event).await;
        let body = r#"{"error": "Invalid signature"}"#;
        let expected = sample.response(401, "401 Unauthorized", body);
        assert_eq!(response, expected, "{}", sample.name);
    }
}

#[tokio::test]
async fn a_delivery_that_is_not_understood_is_quarantined_whole() {
    let emulators = Emulators::start();
    let function = Function::start(&environment(&emulators)).await;
    let stale = contact("stale").replace(&NOT_STALE.to_string(), "1000");
    let deep = contact("deep").replace(
        r#""job-1""#,
        &format!("{}{}", "[".repeat(5000), "]".repeat(5000)),
    );
    let taken = contact("taken");
    let reused = taken.replace("0101", "0102");
    assert_eq!(function.answer(&signed(&taken)).await, Answer::accepted());

    let bodies = [
        ("not_json", "nonsense".to_owned()),
        ("not_json", taken[..taken.len() - 1].to_owned()),
        ("not_envelope", "{}".to_owned()),
        ("not_envelope", deep),
        ("unusable_id", contact("not usable")),
        ("unknown_api_version", taken.replace("\"v2\"", "\"v3\"")),
        (
            "unknown_event_type",
            envelope("x", "job.started", &json!({})),
        ),
        ("stale", stale),
        ("id_reused", reused),
    ];
    for (reason, body) in &bodies {
        let answer = function.answer(&signed(body)).await;
        assert_eq!(answer, Answer::quarantined(), "{reason}");
        let parked = emulators.quarantine.messages();
        let parked = parked.last().unwrap();
        assert_eq!(parked.attribute("reason"), Some(*reason));
        assert_eq!(parked.body, *body, "{reason}");
    }
    for (bytes, encoding, body) in [
        (&b"\xff\xfe{}"[..], "base64", "//57fQ=="),
        (b"", "empty", "empty"),
    ] {
        let answer = function.answer(&signed_bytes(bytes)).await;
        assert_eq!(answer, Answer::quarantined(), "{encoding}");
        let parked = emulators.quarantine.messages();
        let parked = parked.last().unwrap();
        assert_eq!(parked.attribute("encoding"), Some(encoding));
        assert_eq!(parked.body, body);
    }
    assert_eq!(emulators.quarantine.len(), bodies.len() + 2);
    assert_eq!(emulators.contacts.len(), 1);
}

#[tokio::test]
async fn a_body_that_no_queue_takes_even_as_gzip_is_too_large() {
    let emulators = Emulators::start();
    let function = Function::start(&environment(&emulators)).await;
    let huge = json!({"notes": incompressible(1_300_000)});
    let huge = envelope("huge", "job.contact.scored", &huge);
    let answer = function.answer(&signed(&huge)).await;
    assert_eq!(answer, Answer::of(413, json!({"error": "Too large"})));
    assert_eq!(emulators.contacts.len(), 0);
}

#[tokio::test]
async fn an_unreachable_aws_is_answered_503() {
    let emulators = Emulators::start();
    let function = Function::start(&environment(&emulators)).await;
    drop(emulators);
    let answer = function.answer(&signed(&contact("a"))).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, json!({"error": "Unavailable"}));
    assert!(answer.retry_after.is_some());
}

#[tokio::test]
async fn concurrent_invocations_are_handled_concurrently() {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    environment.insert("AWS_LAMBDA_MAX_CONCURRENCY", "4".to_owned());
    let proxies = Proxies::between(&mut environment, &emulators);
    let function = Arc::new(Function::start(&environment).await);
    proxies.sqs.inject(When::Always, Fault::Before(Harm::Stop));
    let deliveries = ["a", "b", "c", "d"].map(|id| {
        let (function, event) = (Arc::clone(&function), signed(&contact(id)));
        tokio::spawn(async move { function.answer(&event).await })
    });

    // All four are claimed and none is sent. This happens only if they run concurrently, since each releases
    // its claim before it fails.
    while emulators.deliveries.len() < deliveries.len() {
        let ended = deliveries.iter().all(JoinHandle::is_finished);
        assert!(!ended, "they were handled one after the other");
        sleep(Duration::from_millis(1)).await;
    }
    proxies.heal();

    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap(), Answer::accepted());
    }
    assert_eq!(emulators.contacts.len(), 4);
}

/// The lines of level ERROR.
fn errors(output: &[String]) -> Vec<&String> {
    let error = |line: &&String| line.contains(r#""level":"ERROR""#);
    output.iter().filter(error).collect()
}

#[tokio::test]
async fn the_shutdown_of_the_environment_is_not_an_error() {
    let emulators = Emulators::start();
    let lambda = Lambda::new(TIMEOUT);
    let program = Path::new(env!("CARGO_BIN_EXE_receiver"));
    let mut process = lambda.start(program, &emulators.environment());
    lambda.invoke(&signed(&contact("a"))).await;
    process.has_asked(2).await;

    process.lose_interface();
    let status = process.ended(TIMEOUT).await.unwrap();
    process.kill();
    let output = process.take_output();
    assert!(status.success(), "{status}: {output:?}");
    assert_eq!(errors(&output), [""; 0]);
}

#[tokio::test]
async fn losing_the_runtime_api_during_a_delivery_is_an_error() {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    let proxies = Proxies::between(&mut environment, &emulators);
    let slow = Harm::Delay(Duration::from_millis(500));
    proxies.sqs.inject(When::Always, Fault::Before(slow));
    let lambda = Arc::new(Lambda::new(TIMEOUT));
    let program = Path::new(env!("CARGO_BIN_EXE_receiver"));
    let mut process = lambda.start(program, &environment);
    let invocation = tokio::spawn({
        let lambda = Arc::clone(&lambda);
        async move { lambda.invoke(&signed(&contact("a"))).await }
    });
    while emulators.deliveries.len() < 1 {
        sleep(Duration::from_millis(1)).await;
    }

    process.lose_interface();
    let status = process.ended(TIMEOUT).await.unwrap();
    process.kill();
    invocation.abort();
    let output = process.take_output();
    assert!(!status.success(), "{status}: {output:?}");
    let last = errors(&output).pop().unwrap();
    assert!(last.contains("the receiver stopped"), "{output:?}");
}

#[test]
fn an_absent_runtime_api_is_an_error() {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    environment.insert("AWS_LAMBDA_RUNTIME_API", address);
    environment.insert("AWS_LAMBDA_FUNCTION_NAME", "titanx-receiver".to_owned());
    environment.insert("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned());
    environment.insert("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned());
    let said = refused_start(&environment);
    assert!(said.contains("the receiver stopped"), "{said}");
}

#[tokio::test]
async fn secrets_are_read_from_secrets_manager_and_read_again_after_a_change() {
    let emulators = Emulators::start();
    let function = Function::start(&emulators.environment()).await;
    let with_old = function.answer(&signed(&contact("1"))).await;
    assert_eq!(with_old, Answer::accepted());

    let both = json!([SIGNING_SECRET, "new-secret"]);
    emulators.secret.rotate(&both.to_string());
    let body = completed_job("2", "job-1");
    let with_new = request(&body, Some(&signature("new-secret", body.as_bytes())));
    assert_eq!(function.answer(&with_new).await, Answer::accepted());
}

/// The error of a start with this environment, which has to fail.
fn refused_start(environment: &BTreeMap<&'static str, String>) -> String {
    let output = Command::new(program())
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8(said).unwrap()
}

#[test]
fn missing_variables_are_all_named_and_prevent_the_start() {
    let said = refused_start(&BTreeMap::new());
    for name in [
        "DELIVERIES_TABLE",
        "JOBS_TABLE",
        "CONTACTS_QUEUE_URL",
        "QUARANTINE_QUEUE_URL",
        "TITANX_WEBHOOK_SECRET",
        "TITANX_WEBHOOK_SECRET_ARN",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ] {
        assert!(said.contains(name), "{name} in {said}");
    }
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn every_mistake_in_the_configuration_is_named_without_a_secret() {
    let environment = BTreeMap::from([
        ("DELIVERIES_TABLE", "deliveries"),
        ("JOBS_TABLE", " "),
        ("CONTACTS_QUEUE_URL", "contacts"),
        (
            "QUARANTINE_QUEUE_URL",
            "https://sqs.example/1/quarantine.fifo",
        ),
        ("TITANX_WEBHOOK_SECRET", SIGNING_SECRET),
        (
            "TITANX_WEBHOOK_SECRET_ARN",
            "arn:aws:secretsmanager:us-east-1:000000000000:secret:s",
        ),
        ("DELIVERY_RETENTION_DAYS", "3"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "a-key-that-nobody-may-see"),
        ("AWS_CA_BUNDLE", "/nowhere/ca.pem"),
    ]);
    let environment = environment.into_iter();
    let environment = environment.map(|(name, value)| (name, value.to_owned()));
    let said = refused_start(&environment.collect());
    for name in [
        "JOBS_TABLE",
        "CONTACTS_QUEUE_URL",
        "QUARANTINE_QUEUE_URL",
        "TITANX_WEBHOOK_SECRET and TITANX_WEBHOOK_SECRET_ARN",
        "DELIVERY_RETENTION_DAYS",
        "AWS_CA_BUNDLE",
    ] {
        assert!(said.contains(name), "{name} in {said}");
    }
    for fine in [
        "DELIVERIES_TABLE",
        "AWS_REGION",
        SIGNING_SECRET,
        "nobody-may-see",
    ] {
        assert!(!said.contains(fine), "{fine} in {said}");
    }
}

#[test]
fn an_empty_secret_is_a_mistake() {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    environment.insert("TITANX_WEBHOOK_SECRET", " \n".to_owned());
    let said = refused_start(&environment);
    assert!(said.contains("TITANX_WEBHOOK_SECRET"), "{said}");
    assert!(said.contains("empty"), "{said}");
}

#[test]
fn blanks_around_a_secret_are_the_only_warning_at_the_start() {
    let told = |secret: &str| {
        let emulators = Emulators::start();
        let mut environment = environment(&emulators);
        environment.insert("TITANX_WEBHOOK_SECRET", secret.to_owned());
        // Without a Runtime API, the program stops after it has read its configuration.
        refused_start(&environment).contains("around a webhook secret were ignored")
    };
    assert!(told("secret\n"));
    assert!(told("one\n two"));
    assert!(!told("secret"));
    assert!(!told("one\ntwo"));
}

#[test]
fn outside_lambda_the_program_says_how_to_start_it() {
    let emulators = Emulators::start();
    let said = refused_start(&environment(&emulators));
    assert!(said.contains("cargo lambda watch"), "{said}");
}
