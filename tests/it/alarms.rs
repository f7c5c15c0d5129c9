//! The lines that the metric filters of `template.yaml` count are logged when what they are named after happens.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing::instrument::WithSubscriber;
use tracing_subscriber::fmt;

use crate::template::properties;
use titanx_testbed::{
    emulators::{Emulators, Fault, Harm, When},
    front_door::{Answer, Proxies, REQUEST_ID, deliver, environment, receiver},
    titanx::{contact, request, signed},
};

#[tokio::test]
async fn a_forged_delivery_is_counted_as_refused() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let log = Log::default();
    let forged = request(&contact("delivery-1"), Some(&format!("{:A<43}=", "")));

    let answer = log.of(Box::pin(deliver(&receiver, &forged))).await;

    assert_eq!(answer, Answer::refused());
    log.is_counted_once_by("RefusedFilter");
}

#[tokio::test]
async fn a_delivery_that_no_message_can_hold_is_counted_as_too_large() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let log = Log::default();
    let too_large = signed(&"x".repeat(1024 * 1024 + 1));

    let answer = log.of(Box::pin(deliver(&receiver, &too_large))).await;

    assert_eq!(answer.status, 413);
    log.is_counted_once_by("TooLargeFilter");
}

#[tokio::test]
async fn a_completion_that_could_not_be_recorded_is_counted_as_failed() {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    let proxies = Proxies::between(&mut environment, &emulators);
    // The first is the claim; then every attempt to complete.
    for attempt in 2..=4 {
        let fault = Fault::Before(Harm::ServerError);
        proxies
            .dynamodb
            .inject(When::NthOf(attempt, "PutItem"), fault);
    }
    let receiver = receiver(&environment);
    let log = Log::default();

    let answer = log
        .of(Box::pin(deliver(
            &receiver,
            &signed(&contact("delivery-1")),
        )))
        .await;

    assert_eq!(answer, Answer::accepted());
    log.is_counted_once_by("CompleteFailedFilter");
}

#[tokio::test]
async fn a_delivery_with_nothing_wrong_is_counted_by_no_filter() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    let log = Log::default();

    let answer = log
        .of(Box::pin(deliver(
            &receiver,
            &signed(&contact("delivery-1")),
        )))
        .await;

    assert_eq!(answer, Answer::accepted());
    assert_eq!(log.lines().len(), 1);
    for filter in FILTERS {
        assert_eq!(log.counted_by(filter), 0, "{filter}");
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
            of_the_contact(line("INFO", "delivery accepted", "accepted", 200)),
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

const FILTERS: [&str; 3] = ["RefusedFilter", "TooLargeFilter", "CompleteFailedFilter"];

/// What was logged during a delivery, as the function writes it.
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

    /// The lines without what the function's own format leaves out.
    pub(crate) fn told(&self) -> Vec<Value> {
        let mut lines = self.lines();
        for line in &mut lines {
            let line = line.as_object_mut().unwrap();
            line.retain(|name, _| name != "timestamp" && name != "target");
        }
        lines
    }

    /// How many of the lines the pattern of a filter matches: `{ $.field = "word" }`.
    fn counted_by(&self, filter: &str) -> usize {
        let filter = properties(filter);
        let pattern = filter["FilterPattern"].as_str().unwrap();
        let (field, word) = pattern
            .strip_prefix("{ $.")
            .and_then(|rest| rest.strip_suffix("\" }"))
            .and_then(|rest| rest.split_once(" = \""))
            .unwrap();
        let lines = self.lines();
        lines.iter().filter(|line| line[field] == word).count()
    }

    fn is_counted_once_by(&self, expected: &str) {
        for filter in FILTERS {
            let times = usize::from(filter == expected);
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
