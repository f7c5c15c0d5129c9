//! The alarms that compute with several metrics ring for what they are named after, and for that alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::fmt;

use crate::{
    cloudwatch::{evaluate, evaluate_after},
    template::properties,
};

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

#[test]
fn a_message_beside_those_that_are_there_rings_again() {
    for name in ["ContactsDeadLettersRisingAlarm", "QuarantineRisingAlarm"] {
        let alarm = properties(name);
        let expression = alarm["Metrics"][0]["Expression"].as_str().unwrap();
        let depth = |(visible, hidden): (f64, f64)| {
            BTreeMap::from([("visible", visible), ("hidden", hidden)])
        };
        let rings = |before: Option<(f64, f64)>, now| {
            let before = before.map(depth).unwrap_or_default();
            // Missing data do not ring.
            evaluate_after(expression, &depth(now), &before)
                .is_some_and(|it| it >= alarm["Threshold"].as_f64().unwrap())
        };
        for (before, now, expected) in [
            ((1.0, 0.0), (2.0, 0.0), true),
            ((3.0, 0.0), (9.0, 0.0), true),
            ((0.0, 1.0), (1.0, 1.0), true),
            // The first one rings the alarm on the queue's depth.
            ((0.0, 0.0), (1.0, 0.0), false),
            ((0.0, 0.0), (7.0, 0.0), false),
            ((2.0, 0.0), (2.0, 0.0), false),
            ((2.0, 0.0), (1.0, 0.0), false),
            // Somebody looked at them: they were hidden, and come back.
            ((2.0, 0.0), (0.0, 2.0), false),
            ((0.0, 2.0), (2.0, 0.0), false),
        ] {
            assert_eq!(
                rings(Some(before), now),
                expected,
                "{name} {before:?} {now:?}"
            );
        }
        assert!(
            !rings(None, (5.0, 0.0)),
            "{name}: nothing was measured before"
        );
    }
}

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

    pub(crate) fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap();
        serde_json::Deserializer::from_slice(&bytes)
            .into_iter()
            .map(Result::unwrap)
            .collect()
    }

    /// The lines without what the function's own format leaves out, and without times.
    pub(crate) fn told(&self) -> Vec<Value> {
        let mut lines = self.lines();
        for line in &mut lines {
            let line = line.as_object_mut().unwrap();
            line.retain(|name, _| !["timestamp", "target", "ms"].contains(&name.as_str()));
        }
        lines
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
