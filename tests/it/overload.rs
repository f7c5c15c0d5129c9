//! More than the machine can take: stores that throttle, stores that hang, and no end of requests.
//!
//! Every request is answered inside its time, by the table's own answers; and what TitanX goes on
//! sending until it is acknowledged is durable once the load ends.

use std::{collections::BTreeSet, path::Path, time::Duration};

use futures_util::future::join_all;
use serde_json::Value;
use titanx_testbed::{
    answer::{Answer, read},
    emulators::{Emulators, Fault, Harm, When},
    lambda::{Lambda, Outcome, Process},
    surroundings::{Proxies, environment},
    titanx::{contact, finished_job, request, signed},
};

/// What Lambda gives one invocation; it ends the process of one that takes longer.
const TIMEOUT: Duration = Duration::from_secs(8);
const HANGING: Duration = Duration::from_mins(1);
/// Deliveries at work in the process at a time.
const CONCURRENCY: usize = 40;
const CONTACTS: usize = 130;
const JOBS: usize = 30;
const MOST_ROUNDS: usize = 20;

struct Scene {
    emulators: Emulators,
    proxies: Proxies,
    lambda: Lambda,
    _process: Process,
}

impl Scene {
    fn prepare() -> Self {
        let emulators = Emulators::start();
        let mut environment = environment(&emulators);
        environment.insert("AWS_LAMBDA_MAX_CONCURRENCY", CONCURRENCY.to_string());
        let proxies = Proxies::between(&mut environment, &emulators);
        let lambda = Lambda::new(TIMEOUT);
        let binary = Path::new(env!("CARGO_BIN_EXE_receiver"));
        Self {
            _process: lambda.start(binary, &environment),
            emulators,
            proxies,
            lambda,
        }
    }

    /// Sends all at once and tells the answers. Whoever gets none is told so by Lambda.
    async fn ask(&self, events: &[Value]) -> Vec<Answer> {
        let outcomes = join_all(events.iter().map(|event| self.lambda.invoke(event))).await;
        let answers = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Answered(answer) => read(&answer),
            other => panic!("not answered: {other:?}"),
        });
        answers.collect()
    }

    /// Delivers signed events all at once and tells the answers.
    async fn deliver(&self, events: &[Value]) -> Vec<Answer> {
        let answers = self.ask(events).await;
        for answer in &answers {
            assert!(answer.is_in_the_table(), "{answer:?}");
            assert!(matches!(answer.status, 200 | 429 | 503), "{answer:?}");
        }
        answers
    }

    /// Delivers what was not acknowledged again and again, as TitanX does.
    async fn deliver_until_acknowledged(&self, mut events: Vec<Value>) {
        for _ in 0..MOST_ROUNDS {
            let answers = self.deliver(&events).await;
            let mut answers = answers.iter();
            events.retain(|_| answers.next().is_some_and(|answer| answer.status != 200));
            if events.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("{} events were never acknowledged", events.len());
    }

    fn assert_all_durable(&self) {
        let messages = self.emulators.contacts.messages();
        let contacts: BTreeSet<_> = messages
            .iter()
            .filter_map(|message| message.attribute("deliveryId"))
            .collect();
        assert_eq!(contacts.len(), CONTACTS);
        assert_eq!(self.emulators.jobs.len(), JOBS);
        assert_eq!(self.emulators.quarantine.len(), 0);
    }
}

fn events() -> Vec<Value> {
    let contacts = (0..CONTACTS).map(|n| signed(&contact(&format!("contact-{n}"))));
    let jobs = (0..JOBS).map(|n| signed(&finished_job(&format!("done-{n}"), &format!("job-{n}"))));
    contacts.chain(jobs).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_stores_delay_and_lose_nothing() {
    let scene = Scene::prepare();
    for proxy in [&scene.proxies.dynamodb, &scene.proxies.sqs] {
        proxy.inject(When::Share(0.6), Fault::Before(Harm::Throttle));
    }
    let events = events();
    let answers = scene.deliver(&events).await;
    assert!(answers.iter().any(|answer| answer.status == 503));
    scene.proxies.heal();
    scene.deliver_until_acknowledged(events).await;
    scene.assert_all_durable();
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_hang_are_answered_for_in_time_and_lose_nothing() {
    let scene = Scene::prepare();
    let events = events();
    for proxy in [&scene.proxies.dynamodb, &scene.proxies.sqs] {
        proxy.inject(When::Always, Fault::Before(Harm::Delay(HANGING)));
        let answers = scene.deliver(&events).await;
        assert!(answers.iter().any(|answer| answer.status == 503));
        scene.proxies.heal();
    }
    scene.deliver_until_acknowledged(events).await;
    scene.assert_all_durable();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_keeps_no_signed_event_out_and_reaches_no_store() {
    let scene = Scene::prepare();
    let signed = events();
    let body = contact("forged").replace("+1 202", &"x".repeat(100_000));
    let flood = vec![request(&body, Some(&"A".repeat(43))); 400];
    for answer in scene.ask(&flood).await {
        assert_eq!(answer, Answer::refused());
    }
    assert_eq!(scene.proxies.operations(), [""; 0]);

    let (answers, ()) = tokio::join!(scene.ask(&flood), scene.deliver_until_acknowledged(signed));
    for answer in answers {
        assert_eq!(answer, Answer::refused());
    }
    scene.assert_all_durable();
    assert!(scene.emulators.deliveries.get("forged").is_none());
}
