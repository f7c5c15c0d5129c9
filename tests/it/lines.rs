//! The lines that the function's own program writes, for every outcome: which fields they have, how long they are, and which metric filters
//! of `template.yaml` count them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{Emulators, Fault, Harm, When},
    front_door, gateway_events,
    lambda::{Lambda, Outcome},
    surroundings::Proxies,
    titanx::{
        SIGNING_SECRET, envelope_at, headers, incompressible, now_ms, request, signature, signed,
    },
};

use crate::{
    cloudwatch::{matches, metric_value},
    receiver::in_progress,
    runbook::of_type,
    template::template,
};

const JOB: &str = "11111111-2222-4333-8444-555555555555";
const ID: &str = "99999999-8888-4777-8666-555555555555";
/// How old the events are when they are sent.
const AGE_MS: i64 = 1_250;
const TIMEOUT: Duration = Duration::from_secs(8);
/// What `CloudWatch` takes a million of for ten cents, at $0.50 a gigabyte.
const LONGEST: usize = 200;

fn now() -> i64 {
    i64::try_from(now_ms()).unwrap()
}

/// The length of a line that `bench/cost` computes with.
fn log_bytes_of_the_costs() -> usize {
    let program = include_str!("../../bench/cost");
    let (_, rest) = program.split_once("\nLOG_BYTES = ").unwrap();
    rest.lines().next().unwrap().parse().unwrap()
}

fn contact(id: &str) -> String {
    let payload = json!({"jobId": JOB, "phone": "+1 202-555-0101"});
    envelope_at(now() - AGE_MS, id, "job.contact.scored", &payload)
}

fn completed_job(id: &str) -> String {
    let payload = json!({"jobId": JOB, "jobStatus": "Finalized"});
    envelope_at(now() - AGE_MS, id, "job.completed", &payload)
}

fn forged(id: &str) -> Value {
    let body = contact(id);
    request(&body, Some(&signature("wrong", body.as_bytes())))
}

/// One process of the function, with AWS behind proxies.
struct Program {
    emulators: Emulators,
    proxies: Proxies,
    environment: BTreeMap<&'static str, String>,
}

impl Program {
    fn new() -> Self {
        let emulators = Emulators::start();
        emulators.secret.rotate(SIGNING_SECRET);
        let mut environment = emulators.environment();
        let proxies = Proxies::between(&mut environment, &emulators);
        Self {
            emulators,
            proxies,
            environment,
        }
    }

    /// What the program writes about these requests, one after the other, as text.
    async fn writes(&self, requests: &[Value]) -> Vec<String> {
        let lambda = Lambda::new(TIMEOUT);
        let binary = Path::new(env!("CARGO_BIN_EXE_receiver"));
        let mut process = lambda.start(binary, &self.environment);
        for (number, request) in requests.iter().enumerate() {
            let outcome = lambda.invoke(request).await;
            assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
            process.has_asked(number + 2).await;
        }
        process.has_asked(1).await;
        process.kill();
        process.take_output()
    }

    /// The lines about the last of these requests.
    async fn lines_of_the_last(&self, requests: &[Value]) -> Vec<Value> {
        let mut lines = parsed(&self.writes(requests).await);
        let mut ends = lines.iter().enumerate().rev();
        let mut ends = ends
            .by_ref()
            .filter(|(_, line)| line.get("outcome").is_some());
        let last = ends.next().expect("a line of the last").0;
        assert_eq!(last, lines.len() - 1, "{lines:?}");
        let first = ends.next().map_or(0, |(end, _)| end + 1);
        lines.drain(first..).collect()
    }

    fn breaks_sqs(&self) {
        let fault = Fault::Before(Harm::ServerError);
        self.proxies.sqs.inject(When::Every("SendMessage"), fault);
    }

    fn breaks_dynamodb(&self, when: When) {
        let fault = Fault::Before(Harm::ServerError);
        self.proxies.dynamodb.inject(when, fault);
    }
}

fn parsed(lines: &[String]) -> Vec<Value> {
    let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    lines.iter().map(parse).collect()
}

/// How often each metric filter of the template counts one of the lines, without those that count none.
pub(crate) fn counted(lines: &[Value]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    let template = template();
    for (name, filter) in of_type(&template, "AWS::Logs::MetricFilter") {
        let pattern = filter["FilterPattern"].as_str().unwrap();
        let times = lines.iter().filter(|line| matches(pattern, line)).count();
        if times > 0 {
            counted.insert(name.to_owned(), times);
        }
    }
    counted
}

/// What a filter adds to its metric for these lines.
fn value_of(filter: &str, lines: &[Value]) -> f64 {
    let filter = &template()["Resources"][filter]["Properties"];
    let pattern = filter["FilterPattern"].as_str().unwrap();
    let value = filter["MetricTransformations"][0]["MetricValue"].as_str();
    let counted = lines.iter().filter(|line| matches(pattern, line));
    counted.map(|line| metric_value(value.unwrap(), line)).sum()
}

/// Every filter that counts each of some lines once.
fn once(filters: &[&str]) -> BTreeMap<String, usize> {
    filters.iter().map(|name| ((*name).to_owned(), 1)).collect()
}

/// The filters that count every delivery, and every one that was understood.
const EVERY: [&str; 2] = ["AnswerTimeFilter", "DeliveriesFilter"];
const UNDERSTOOD: [&str; 3] = ["AnswerTimeFilter", "DeliveriesFilter", "EventAgeFilter"];

#[track_caller]
fn assert_counted(lines: &[Value], filters: &[&str], others: &[&str]) {
    assert_eq!(
        counted(lines),
        once(&[filters, others].concat()),
        "{lines:?}"
    );
}

/// The fields of a line.
fn fields(line: &Value) -> BTreeSet<&str> {
    let names = line.as_object().unwrap().keys();
    names.map(String::as_str).collect()
}

/// A line without what differs from run to run, which is looked at here.
fn constant(line: &Value) -> Value {
    let mut line = line.clone();
    let members = line.as_object_mut().unwrap();
    let timestamp = members.remove("timestamp").unwrap();
    let timestamp = timestamp.as_str().unwrap();
    let form: String = timestamp
        .chars()
        .map(|it| if it.is_ascii_digit() { '0' } else { it })
        .collect();
    assert_eq!(form, "0000-00-00T00:00:00Z", "whole seconds, as RFC 3339");
    assert!(timestamp > "2026", "{timestamp} is not now");
    if let Some(ms) = members.remove("ms") {
        assert!(ms.as_u64().unwrap() < 8_000, "{ms}");
    }
    if let Some(age_ms) = members.remove("age_ms") {
        let age_ms = age_ms.as_i64().unwrap();
        assert!((AGE_MS..AGE_MS + 60_000).contains(&age_ms), "{age_ms}");
    }
    if let Some(request_id) = members.remove("request_id") {
        assert_eq!(request_id.as_str().unwrap().len(), 36);
        members.insert("request_id".to_owned(), "a UUID".into());
    }
    line
}

const GATEWAY: &str = "AAAAAAAAAAAAAAA=";

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_contact_costs_no_more_than_ten_cents_a_million() {
    let program = Program::new();
    let requests = [signed(&contact("delivery-1")), signed(&contact(ID))];
    let written = program.writes(&requests).await;
    let [first, second] = written.as_slice() else {
        panic!("{written:?}");
    };
    let bytes = second.len() + "\n".len();
    assert!(bytes <= LONGEST, "{bytes} bytes: {second}");
    // The two figures with a varying number of digits are the age and the time to answer.
    let computed = log_bytes_of_the_costs();
    assert!(
        (computed - 3..=computed + 3).contains(&bytes),
        "{bytes} bytes: {second}"
    );
    let [first, second] = [first, second].map(|line| serde_json::from_str::<Value>(line).unwrap());
    let expected = json!({
        "outcome": "accepted", "id": ID, "job": JOB, "gateway": GATEWAY,
    });
    assert_eq!(constant(&second), expected);
    let with_age = [
        "age_ms",
        "gateway",
        "id",
        "job",
        "ms",
        "outcome",
        "timestamp",
    ];
    assert_eq!(fields(&second), BTreeSet::from(with_age));
    // The first of a process shows the form of the key.
    let expected = json!({
        "outcome": "accepted", "id": "delivery-1", "job": JOB, "gateway": GATEWAY,
        "cold": true, "key_form": "whole",
    });
    assert_eq!(constant(&first), expected);
    assert_counted(&[first], &UNDERSTOOD, &[]);
    assert_counted(&[second], &UNDERSTOOD, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_and_a_completed_job_are_told_apart() {
    let program = Program::new();
    let event = signed(&contact(ID));
    let lines = program.lines_of_the_last(&[event.clone(), event]).await;
    let expected = json!({"outcome": "duplicate", "id": ID, "job": JOB, "gateway": GATEWAY});
    assert_eq!(constant(&lines[0]), expected);
    assert_counted(&lines, &UNDERSTOOD, &[]);

    let requests = [signed(&contact("other")), signed(&completed_job("job"))];
    let lines = program.lines_of_the_last(&requests).await;
    let expected = json!({
        "outcome": "accepted", "id": "job", "job": JOB, "event_type": "job.completed",
        "gateway": GATEWAY,
    });
    assert_eq!(constant(&lines[0]), expected);
    assert_counted(&lines, &UNDERSTOOD, &["JobsCompletedFilter"]);
    let age_ms = value_of("EventAgeFilter", &lines);
    assert!(age_ms >= 1_250.0, "{age_ms}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_or_in_flight_is_told_with_its_reason() {
    let program = Program::new();
    let first = signed(&contact("first"));
    let lines = program
        .lines_of_the_last(&[first.clone(), signed("nonsense")])
        .await;
    let expected = json!({
        "level": "WARN", "outcome": "quarantined", "message": "delivery put in quarantine",
        "reason": "not_json", "gateway": GATEWAY, "request_id": "a UUID",
    });
    assert_eq!(constant(&lines[0]), expected);
    assert_counted(&lines, &EVERY, &[]);

    program
        .emulators
        .deliveries
        .put(&in_progress(ID, now() + 60_000));
    let lines = program
        .lines_of_the_last(&[first.clone(), signed(&contact(ID))])
        .await;
    let expected = json!({"outcome": "in_flight", "id": ID, "job": JOB, "gateway": GATEWAY});
    assert_eq!(constant(&lines[0]), expected);
    assert_counted(&lines, &UNDERSTOOD, &["Answered4xxFilter"]);

    let too_large = signed(&incompressible(1_300_000));
    let lines = program.lines_of_the_last(&[first, too_large]).await;
    assert_eq!(lines[0]["outcome"], "too_large");
    assert_eq!(lines[0]["level"], "ERROR");
    assert_counted(&lines, &EVERY, &["Answered4xxFilter"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_lease_is_over_is_told_as_taken_over() {
    let program = Program::new();
    program
        .emulators
        .deliveries
        .put(&in_progress(ID, now() - 1));
    let requests = [signed(&contact("first")), signed(&contact(ID))];
    let lines = program.lines_of_the_last(&requests).await;
    let expected = json!({
        "outcome": "accepted", "id": ID, "job": JOB, "gateway": GATEWAY, "taken_over": true,
    });
    assert_eq!(constant(&lines[0]), expected);
    assert_counted(&lines, &UNDERSTOOD, &["TakenOverFilter"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_request_makes_the_secret_be_read_until_no_read_is_left() {
    let program = Program::new();
    let first = signed(&contact("first"));
    let lines = program
        .lines_of_the_last(&[first.clone(), forged("forged")])
        .await;
    let expected = json!({
        "level": "WARN", "outcome": "refused", "message": "invalid signature refused",
        "secret_read": true, "gateway": GATEWAY, "request_id": "a UUID",
    });
    assert_eq!(constant(&lines[0]), expected);
    let others = ["Answered4xxFilter", "RefusedFilter", "SecretReadFilter"];
    assert_counted(&lines, &EVERY, &others);

    let mut requests = vec![first.clone()];
    requests.extend((0..6).map(|_| forged("forged")));
    let lines = program.lines_of_the_last(&requests).await;
    let expected = json!({
        "level": "WARN", "outcome": "unrecognised", "gateway": GATEWAY, "request_id": "a UUID",
        "message": "signature of no known secret, TitanX retries",
    });
    assert_eq!(constant(&lines[0]), expected);
    assert_counted(&lines, &EVERY, &["Answered4xxFilter", "RefusedFilter"]);

    // Without a signature nothing is read.
    let lines = program
        .lines_of_the_last(&[first, request("{}", None)])
        .await;
    assert_eq!(lines[0].get("secret_read"), None);
    assert_counted(&lines, &EVERY, &["Answered4xxFilter", "RefusedFilter"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_is_told_as_read_by_the_delivery_that_needed_it() {
    let program = Program::new();
    let lambda = Lambda::new(TIMEOUT);
    let binary = Path::new(env!("CARGO_BIN_EXE_receiver"));
    let mut process = lambda.start(binary, &program.environment);
    process.has_asked(1).await;
    program.emulators.secret.rotate("wh_sk_synthetic_new");
    let body = contact(ID);
    let event = request(
        &body,
        Some(&signature("wh_sk_synthetic_new", body.as_bytes())),
    );
    lambda.invoke(&event).await;
    process.has_asked(2).await;
    process.kill();
    let lines = parsed(&process.take_output());
    assert_eq!(lines[0]["outcome"], "accepted");
    assert_eq!(lines[0]["secret_read"], true);
    assert_counted(&lines, &UNDERSTOOD, &["SecretReadFilter"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_refuses_is_told_with_the_attempts_that_were_repeated() {
    let program = Program::new();
    program.breaks_sqs();
    let lines = program.lines_of_the_last(&[signed(&contact(ID))]).await;
    let [line] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(line["outcome"], "unavailable");
    assert_eq!(line["level"], "ERROR");
    assert!(
        line["error"]
            .as_str()
            .unwrap()
            .starts_with("cannot send the contact: ")
    );
    // Two more attempts to send.
    assert_eq!(line["retries"], 2);
    let others = ["Answered5xxFilter", "RetriesFilter"];
    assert_counted(&lines, &UNDERSTOOD, &others);
    assert!((value_of("RetriesFilter", &lines) - 2.0).abs() < f64::EPSILON);
}

/// Not only that a call failed, but what the service said.
#[track_caller]
fn assert_tells_the_cause(line: &Value) {
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("injected by the proxy"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_not_released_and_a_mark_that_is_not_written_are_counted() {
    let program = Program::new();
    program.breaks_sqs();
    program.breaks_dynamodb(When::Every("DeleteItem"));
    let lines = program.lines_of_the_last(&[signed(&contact(ID))]).await;
    let [release, line] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(release["message"], "release of the claim failed");
    assert_eq!(release["id"], ID);
    assert_tells_the_cause(release);
    assert_eq!(release["request_id"], line["request_id"]);
    assert_eq!(line["retries"], 4);
    assert_counted(
        &lines,
        &UNDERSTOOD,
        &["Answered5xxFilter", "ReleaseFailedFilter", "RetriesFilter"],
    );

    let program = Program::new();
    // The first is the claim; then every attempt to complete.
    for attempt in 2..=4 {
        program.breaks_dynamodb(When::NthOf(attempt, "PutItem"));
    }
    let lines = program.lines_of_the_last(&[signed(&contact(ID))]).await;
    let [mark, line] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(mark["message"], "completion mark failed");
    assert_eq!(mark["id"], ID);
    assert_tells_the_cause(mark);
    assert_eq!(line["outcome"], "accepted");
    assert_eq!(line["retries"], 2);
    assert_counted(
        &lines,
        &UNDERSTOOD,
        &["CompleteFailedFilter", "RetriesFilter"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_id_that_is_no_uuid_is_not_told() {
    let program = Program::new();
    for job in [
        "job-1",
        "Quarterly list of Sample Person, 36 char",
        &JOB.replace('-', ""),
    ] {
        let body = contact(job.split(' ').next().unwrap()).replace(JOB, job);
        let lines = program.lines_of_the_last(&[signed(&body)]).await;
        assert_eq!(lines[0]["outcome"], "accepted");
        assert_eq!(lines[0].get("job"), None, "{job}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_id_of_the_gateway_the_line_has_that_of_the_invocation() {
    let program = Program::new();
    let mut event = signed(&contact(ID));
    event["requestContext"]["requestId"] = Value::Null;
    let lines = program.lines_of_the_last(&[event]).await;
    assert_eq!(lines[0].get("gateway"), None);
    assert_eq!(constant(&lines[0])["request_id"], "a UUID");
}

/// A function URL's id of a request is Lambda's id of the invocation.
#[tokio::test]
async fn an_id_of_the_gateway_that_is_lambdas_own_is_told_once() {
    let emulators = Emulators::start();
    let receiver = front_door::receiver(&front_door::environment(&emulators));
    let mut event = signed(&contact(ID));
    event["requestContext"]["requestId"] = front_door::REQUEST_ID.into();
    let log = crate::alarms::Log::default();
    log.of(Box::pin(front_door::deliver(&receiver, &event)))
        .await;
    let lines = log.told();
    assert_eq!(lines[0].get("gateway"), None);
    assert_eq!(lines[0]["request_id"], front_door::REQUEST_ID);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_at_the_same_time_count_each_their_own_retries() {
    let mut program = Program::new();
    program
        .environment
        .insert("AWS_LAMBDA_MAX_CONCURRENCY", "2".to_owned());
    let fault = Fault::Before(Harm::ServerError);
    program
        .proxies
        .sqs
        .inject(When::NthOf(1, "SendMessage"), fault);
    let lambda = Lambda::new(TIMEOUT);
    let binary = Path::new(env!("CARGO_BIN_EXE_receiver"));
    let mut process = lambda.start(binary, &program.environment);
    process.has_asked(2).await;
    let (one, other) = (signed(&contact(ID)), signed(&contact("other")));
    tokio::join!(lambda.invoke(&one), lambda.invoke(&other));
    process.has_asked(4).await;
    process.kill();
    let lines = parsed(&process.take_output());
    assert_eq!(lines.len(), 2, "{lines:?}");
    let retries = lines.iter().filter_map(|line| line.get("retries"));
    assert_eq!(retries.collect::<Vec<_>>(), [&json!(1)]);
    let cold = lines.iter().filter(|line| line["cold"] == true);
    assert_eq!(cold.count(), 1, "{lines:?}");
}

/// From the request to its answer.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_answer_has_what_the_services_took() {
    const SLOW: Duration = Duration::from_millis(400);
    let program = Program::new();
    let delay = Fault::Before(Harm::Delay(SLOW));
    program.proxies.sqs.inject(When::Nth(1), delay);
    let lines = parsed(&program.writes(&[signed(&contact(ID))]).await);
    let took = lines.last().unwrap()["ms"].as_u64().unwrap();
    assert!(u128::from(took) >= SLOW.as_millis(), "{took}");
    assert!(u128::from(took) < TIMEOUT.as_millis(), "{took}");
}

/// Lambda drops lines below the function's level by itself, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_level_above_info_is_told_at_start_because_it_starves_metrics_and_alarms() {
    for level in ["WARN", "ERROR", "FATAL"] {
        let mut program = Program::new();
        program
            .environment
            .insert("AWS_LAMBDA_LOG_LEVEL", level.to_owned());
        let lines = parsed(&program.writes(&[signed(&contact(ID))]).await);
        let [line] = lines.as_slice() else {
            panic!("{level}: {lines:?}");
        };
        assert_eq!(line["level"], "ERROR");
        let message = line["message"].as_str().unwrap();
        assert!(
            message.contains("alarms and metrics miss them"),
            "{message}"
        );
    }
    for level in ["INFO", "DEBUG", "TRACE"] {
        let mut program = Program::new();
        program
            .environment
            .insert("AWS_LAMBDA_LOG_LEVEL", level.to_owned());
        let lines = parsed(&program.writes(&[signed(&contact(ID))]).await);
        let errors = lines.iter().filter(|line| line["level"] == "ERROR");
        assert_eq!(errors.count(), 0, "{level}");
        assert!(
            lines.iter().any(|line| line["outcome"] == "accepted"),
            "{level}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_only_claims_to_be_the_gateways_is_not_told() {
    let program = Program::new();
    let body = contact(ID);
    for id in [
        json!("a\nb"),
        json!("x".repeat(65)),
        json!(7),
        json!({"a": "b"}),
        json!(""),
    ] {
        let headers = headers(Some(&signature(SIGNING_SECRET, body.as_bytes())));
        let mut event = gateway_events::event(headers, body.as_bytes());
        event["requestContext"]["requestId"] = id.clone();
        let lines = program.lines_of_the_last(&[event]).await;
        assert_eq!(lines[0].get("gateway"), None, "{id}");
        let outcome = lines[0]["outcome"].as_str().unwrap();
        assert!(
            ["accepted", "duplicate"].contains(&outcome),
            "{id}: {outcome}"
        );
    }
}

/// The fields that a line can have. `dashboard` and the saved queries read no others, and `docs/monitoring.md` describes each.
pub(crate) const FIELDS: [&str; 18] = [
    "age_ms",
    "cold",
    "error",
    "event_type",
    "gateway",
    "id",
    "job",
    "key_form",
    "level",
    "message",
    "ms",
    "outcome",
    "reason",
    "request_id",
    "retries",
    "secret_read",
    "taken_over",
    "timestamp",
];

/// Everything that can be in a line is in one of these.
#[tokio::test(flavor = "multi_thread")]
async fn the_fields_are_those_that_are_documented() {
    let mut seen = BTreeSet::new();
    let mut see = |lines: &[Value]| {
        for line in lines {
            seen.extend(fields(line).into_iter().map(str::to_owned));
        }
    };
    let program = Program::new();
    program
        .emulators
        .deliveries
        .put(&in_progress(ID, now() - 1));
    let requests = [
        signed(&contact(ID)),
        signed("nonsense"),
        signed(&completed_job("job")),
        forged("forged"),
    ];
    see(&parsed(&program.writes(&requests).await));
    program.breaks_sqs();
    see(&parsed(&program.writes(&[signed(&contact("other"))]).await));
    let seen: BTreeSet<_> = seen.iter().map(String::as_str).collect();
    assert_eq!(seen, BTreeSet::from(FIELDS));
    let page = crate::template::read("docs/monitoring.md");
    for field in FIELDS {
        assert!(page.contains(&format!("| `{field}` |")), "{field}");
    }
}
