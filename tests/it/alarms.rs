//! Each metric filter of `template.yaml` counts the log lines of its situation, and the alarms for requests that the gateway itself refuses
//! are raised by those alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use titanx_receiver::receiver::Receiver;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::fmt;

use crate::{
    cloudwatch::{evaluate, matches},
    receiver::{in_progress, receiver_with_stored_secrets},
    template::properties,
};
use titanx_testbed::{
    emulators::{Emulators, Fault, Harm, When},
    front_door::{Answer, Proxies, REQUEST_ID, deliver, environment, now_ms, receiver},
    titanx::{contact, incompressible, request, signature, signed},
};

/// Delivers a contact, and records what is logged.
async fn deliver_contact(receiver: &Receiver, log: &Log) -> Answer {
    let event = signed(&contact("delivery-1"));
    log.of(Box::pin(deliver(receiver, &event))).await
}

#[tokio::test]
async fn a_forged_delivery_is_counted_as_refused() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let log = Log::default();
    let forged = request(&contact("delivery-1"), Some(&format!("{:A<43}=", "")));

    let answer = log.of(Box::pin(deliver(&receiver, &forged))).await;

    assert_eq!(answer, Answer::refused());
    log.is_counted_once_by(&["RefusedFilter", "Answered4xxFilter"]);
}

#[tokio::test]
async fn a_signature_that_is_not_recognised_yet_is_counted_as_refused() {
    let emulators = Emulators::start();
    let (receiver, _proxies) = receiver_with_stored_secrets(&emulators).await;
    let body = contact("delivery-1");
    let unknown = request(&body, Some(&signature("wrong", body.as_bytes())));
    while deliver(&receiver, &unknown).await == Answer::refused() {}
    let log = Log::default();

    let answer = log.of(Box::pin(deliver(&receiver, &unknown))).await;

    assert_eq!(answer.status, 429);
    log.is_counted_once_by(&["RefusedFilter", "Answered4xxFilter"]);
}

#[tokio::test]
async fn a_delivery_in_flight_is_counted_as_the_functions_own_answer() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let now = i64::try_from(now_ms()).unwrap();
    emulators
        .deliveries
        .put(&in_progress("delivery-1", now + 60_000));
    let log = Log::default();

    let answer = deliver_contact(&receiver, &log).await;

    assert_eq!(answer.status, 429);
    log.is_counted_once_by(&["Answered4xxFilter"]);
}

#[tokio::test]
async fn a_delivery_that_no_message_can_hold_is_counted_as_too_large() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let log = Log::default();
    let too_large = signed(&incompressible(2 * 1024 * 1024));

    let answer = log.of(Box::pin(deliver(&receiver, &too_large))).await;

    assert_eq!(answer.status, 413);
    log.is_counted_once_by(&["TooLargeFilter", "Answered4xxFilter"]);
}

#[tokio::test]
async fn a_completion_that_could_not_be_recorded_is_counted_as_failed() {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    let proxies = Proxies::between(&mut environment, &emulators);
    // The first PutItem is the claim, the others are the attempts to complete.
    for attempt in 2..=4 {
        let fault = Fault::Before(Harm::ServerError);
        proxies
            .dynamodb
            .inject(When::NthOf(attempt, "PutItem"), fault);
    }
    let receiver = receiver(&environment);
    let log = Log::default();

    let answer = deliver_contact(&receiver, &log).await;

    assert_eq!(answer, Answer::accepted());
    log.is_counted_once_by(&["CompleteFailedFilter"]);
}

#[tokio::test]
async fn a_successful_delivery_matches_no_metric_filter() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let log = Log::default();

    let answer = deliver_contact(&receiver, &log).await;

    assert_eq!(answer, Answer::accepted());
    assert_eq!(log.lines().len(), 1);
    log.is_counted_once_by(&[]);
}

#[tokio::test]
async fn a_delivery_that_could_not_be_stored_is_not_counted_as_a_4xx() {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    let proxies = Proxies::between(&mut environment, &emulators);
    let fault = Fault::Before(Harm::ServerError);
    proxies.sqs.inject(When::Always, fault);
    let receiver = receiver(&environment);
    let log = Log::default();

    let answer = deliver_contact(&receiver, &log).await;

    assert_eq!(answer.status, 503);
    log.is_counted_once_by(&[]);
}

/// The template's defaults.
const DEFAULT_LIMITS: Limits = Limits {
    rate: 500,
    burst: 1000,
};

#[test]
fn a_request_refused_by_the_gateway_alone_raises_the_alarm() {
    // The function may also have refused requests, or may not have logged a line yet.
    for (all, own) in [(1.0, None), (1.0, Some(0.0)), (8.0, Some(7.0))] {
        assert_eq!(
            DEFAULT_LIMITS.ringing(100.0, Some(all), own),
            BTreeSet::from(["GatewayRefusedAlarm"]),
            "{all} {own:?}"
        );
    }
}

#[test]
fn an_answer_of_the_function_does_not_raise_the_gateways_alarm() {
    for (requests, all, own) in [
        (100.0, None, None),
        (100.0, Some(0.0), None),
        (100.0, Some(100.0), Some(100.0)),
        // A flood of forged requests, some of whose log lines count in the next period.
        (400.0, Some(400.0), Some(385.0)),
        (100_000.0, Some(100_000.0), Some(96_000.0)),
        // The next period, in which those lines count.
        (400.0, Some(400.0), Some(415.0)),
    ] {
        let ringing = DEFAULT_LIMITS.ringing(requests, all, own);
        assert_eq!(ringing, BTreeSet::new(), "{requests} {all:?} {own:?}");
    }
}

#[test]
fn refusals_that_may_be_throttling_raise_the_throttling_alarm() {
    let slow = Limits {
        rate: 1,
        burst: 1000,
    };
    let throttled = BTreeSet::from(["GatewayThrottledAlarm"]);
    assert_eq!(
        DEFAULT_LIMITS.ringing(200_000.0, Some(5_000.0), Some(3.0)),
        throttled
    );
    assert_eq!(
        DEFAULT_LIMITS.ringing(501.0, Some(1.0), Some(0.0)),
        throttled
    );
    assert_eq!(slow.ringing(301.0, Some(1.0), Some(0.0)), throttled);
    let refused = BTreeSet::from(["GatewayRefusedAlarm"]);
    assert_eq!(DEFAULT_LIMITS.ringing(500.0, Some(1.0), Some(0.0)), refused);
    assert_eq!(slow.ringing(300.0, Some(1.0), Some(0.0)), refused);
}

/// Periods with the most requests for which the refusal alarm is raised, in the worst order: all requests of a period at its end, all of the
/// next one at its beginning.
#[test]
fn below_the_threshold_of_the_refusal_alarm_the_gateway_cannot_throttle() {
    for (rate, burst) in [(500, 1000), (1, 1000), (1, 1), (7, 5000), (10_000, 5000)] {
        let limits = Limits { rate, burst };
        let numbers: Vec<u32> = (0..=burst).collect();
        let above = numbers.partition_point(|&requests| {
            let ringing = limits.ringing(f64::from(requests), Some(1.0), None);
            ringing.contains("GatewayRefusedAlarm")
        });
        let most = numbers[above - 1];
        let refill = |tokens: u32| burst.min(tokens + 300 * rate);
        let mut tokens = burst;
        for _ in 0..100 {
            // At the end of a period, and at the beginning of the next one.
            tokens = tokens.checked_sub(most).unwrap();
            tokens = tokens.checked_sub(most).unwrap();
            tokens = refill(refill(tokens));
        }
    }
}

/// The parameters `ThrottlingRateLimit` and `ThrottlingBurstLimit`.
struct Limits {
    rate: u32,
    burst: u32,
}

impl Limits {
    /// The alarms that are raised after a period with these sums: all requests, all answers 4xx, and the answers 4xx that the function logged.
    fn ringing(&self, requests: f64, all: Option<f64>, own: Option<f64>) -> BTreeSet<&'static str> {
        let known = [
            ("requests", Some(requests)),
            ("all4xx", all),
            ("own4xx", own),
        ];
        let known = known.into_iter().filter_map(|(id, sum)| Some((id, sum?)));
        let sums: BTreeMap<&str, f64> = known.collect();
        let names = ["GatewayRefusedAlarm", "GatewayThrottledAlarm"];
        let rings = |name: &&str| {
            let alarm = properties(name);
            let expression = alarm["Metrics"][0]["Expression"]["Fn::Sub"].as_str();
            let expression = expression
                .unwrap()
                .replace("${ThrottlingRateLimit}", &self.rate.to_string())
                .replace("${ThrottlingBurstLimit}", &self.burst.to_string());
            // Missing data raise no alarm.
            evaluate(&expression, &sums)
                .is_some_and(|it| it >= alarm["Threshold"].as_f64().unwrap())
        };
        names.into_iter().filter(rings).collect()
    }
}

#[tokio::test]
async fn every_delivery_is_logged_in_one_line_with_its_ids_and_its_outcome() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let line = |level, message, outcome, status| {
        json!({
            "level": level, "message": message, "request_id": REQUEST_ID, "outcome": outcome,
            "status": status,
        })
    };
    let with = |mut line: Value, name: &str, value: &str| {
        line[name] = value.into();
        line
    };
    let of_the_contact = |line| {
        let line = with(line, "delivery_id", "delivery-1");
        with(line, "event_type", "job.contact.scored")
    };
    let quarantined = |reason| {
        let message = "delivery put in quarantine";
        with(line("WARN", message, "quarantined", 200), "reason", reason)
    };
    let scored = signed(&contact("delivery-1"));
    for (event, line) in [
        (
            &scored,
            // The first signature that fits shows the form of the key.
            with(
                of_the_contact(line("INFO", "delivery accepted", "accepted", 200)),
                "key_form",
                "whole",
            ),
        ),
        (
            &scored,
            of_the_contact(line(
                "INFO",
                "duplicate of an accepted delivery",
                "duplicate",
                200,
            )),
        ),
        (&signed("nonsense"), quarantined("not_json")),
        (
            &signed(r#"{"id": "delivery-2"}"#),
            with(quarantined("not_envelope"), "delivery_id", "delivery-2"),
        ),
        (
            &request(&contact("delivery-3"), None),
            line("WARN", "invalid signature refused", "refused", 401),
        ),
    ] {
        let log = Log::default();
        log.of(Box::pin(deliver(&receiver, event))).await;
        assert_eq!(log.told(), [line]);
    }
}

const FILTERS: [&str; 4] = [
    "RefusedFilter",
    "TooLargeFilter",
    "CompleteFailedFilter",
    "Answered4xxFilter",
];

/// Records the log lines of a delivery in the function's own format.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) async fn of<T>(&self, delivery: impl Future<Output = T>) -> T {
        let log = self.clone();
        let lines = fmt().json().flatten_event(true);
        let lines = lines.with_writer(move || log.clone()).finish();
        delivery.with_subscriber(lines).await
    }

    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap();
        serde_json::Deserializer::from_slice(&bytes)
            .into_iter()
            .map(Result::unwrap)
            .collect()
    }

    /// The log lines as JSON.
    pub(crate) fn told(&self) -> Vec<Value> {
        let mut lines = self.lines();
        for line in &mut lines {
            let line = line.as_object_mut().unwrap();
            line.retain(|name, _| name != "timestamp" && name != "target");
        }
        lines
    }

    /// The number of lines that a filter counts.
    fn counted_by(&self, filter: &str) -> usize {
        let filter = properties(filter);
        let pattern = filter["FilterPattern"].as_str().unwrap();
        let lines = self.lines();
        lines.iter().filter(|line| matches(pattern, line)).count()
    }

    /// Asserts that each of these filters counts one line, and that no other filter counts any.
    fn is_counted_once_by(&self, expected: &[&str]) {
        for filter in FILTERS {
            let times = usize::from(expected.contains(&filter));
            assert_eq!(
                self.counted_by(filter),
                times,
                "{filter}: {:?}",
                self.lines()
            );
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
