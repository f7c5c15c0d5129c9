//! Overload: services that throttle, services that hang, and floods of requests.
//!
//! Every request is answered in time, with an answer of the table. Every event that TitanX retries until
//! it is acknowledged is durable after the load.

use std::{path::Path, time::Duration};

use futures_util::future::join_all;
use serde_json::Value;
use titanx_testbed::{
    answer::{Answer, read},
    emulators::{Emulators, Fault, Harm, When},
    lambda::{Lambda, Outcome, Process},
    promises::{self, Delivery, Destination},
    sender::{Attempts, Decision},
    surroundings::{Proxies, environment},
    titanx::{completed_job, contact, request, signed},
};

/// The function's timeout. Lambda kills the process of an invocation that takes longer.
const TIMEOUT: Duration = Duration::from_secs(8);
const HANGING: Duration = Duration::from_mins(1);
/// The number of concurrent invocations in the process.
const CONCURRENCY: usize = 40;
const CONTACTS: usize = 130;
const JOBS: usize = 30;
const MAX_ATTEMPTS: u32 = 20;

struct Scene {
    emulators: Emulators,
    proxies: Proxies,
    lambda: Lambda,
    deliveries: Vec<Delivery>,
    events: Vec<Value>,
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
        let deliveries = deliveries();
        Self {
            events: deliveries.iter().map(|it| signed(&it.body)).collect(),
            deliveries,
            _process: lambda.start(binary, &environment),
            emulators,
            proxies,
            lambda,
        }
    }

    /// Sends all events at once. Panics if one gets no answer.
    async fn ask(&self, events: &[Value]) -> Vec<Answer> {
        let outcomes = join_all(events.iter().map(|event| self.lambda.invoke(event))).await;
        let answers = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Answered(answer) => read(&answer),
            other => panic!("not answered: {other:?}"),
        });
        answers.collect()
    }

    /// Delivers signed events at once.
    async fn deliver(&self, events: &[Value]) -> Vec<Answer> {
        let answers = self.ask(events).await;
        for answer in &answers {
            assert!(answer.is_in_the_table(), "{answer:?}");
            assert!(matches!(answer.status, 200 | 429 | 503), "{answer:?}");
        }
        answers
    }

    /// Delivers each event until it is acknowledged, as TitanX does.
    async fn deliver_until_acknowledged(&self) {
        join_all(self.events.iter().map(|event| async move {
            let mut attempts = Attempts::new(MAX_ATTEMPTS, |_| Duration::from_secs(1));
            loop {
                let answers = self.deliver(std::slice::from_ref(event)).await;
                match attempts.after(answers.first()).await {
                    Decision::Acknowledged => return,
                    Decision::Retries => {}
                    decision => panic!("never acknowledged: {decision:?}"),
                }
            }
        }))
        .await;
    }

    fn assert_all_durable(&self) {
        let causes = |_: &Delivery| vec![("a call was cut off", usize::MAX)];
        let verdict = promises::judge(&self.emulators, &self.deliveries, causes);
        assert_eq!(verdict.violations(), [""; 0]);
        assert_eq!((verdict.contacts, verdict.jobs), (CONTACTS, JOBS));
    }
}

fn deliveries() -> Vec<Delivery> {
    let contacts = (0..CONTACTS).map(|n| {
        let id = format!("contact-{n}");
        Delivery::new(Destination::ContactsQueue, &id, contact(&id))
    });
    let jobs = (0..JOBS).map(|n| {
        let id = format!("completed-{n}");
        let body = completed_job(&id, &format!("job-{n}"));
        Delivery::new(Destination::JobsTable, id, body)
    });
    contacts.chain(jobs).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_delays_events_and_loses_none() {
    let scene = Scene::prepare();
    for proxy in [&scene.proxies.dynamodb, &scene.proxies.sqs] {
        proxy.inject(When::Share(0.6), Fault::Before(Harm::Throttle));
    }
    let answers = scene.deliver(&scene.events).await;
    assert!(answers.iter().any(|answer| answer.status == 503));
    scene.proxies.heal();
    scene.deliver_until_acknowledged().await;
    scene.assert_all_durable();
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_hang_delay_no_answer_and_lose_no_event() {
    let scene = Scene::prepare();
    for proxy in [&scene.proxies.dynamodb, &scene.proxies.sqs] {
        proxy.inject(When::Always, Fault::Before(Harm::Delay(HANGING)));
        let answers = scene.deliver(&scene.events).await;
        assert!(answers.iter().any(|answer| answer.status == 503));
        scene.proxies.heal();
    }
    scene.deliver_until_acknowledged().await;
    scene.assert_all_durable();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_requests_keeps_no_signed_event_out_and_makes_no_call() {
    let scene = Scene::prepare();
    let body = contact("forged").replace("+1 202", &"x".repeat(100_000));
    let flood = vec![request(&body, Some(&"A".repeat(43))); 400];
    for answer in scene.ask(&flood).await {
        assert_eq!(answer, Answer::refused());
    }
    assert_eq!(scene.proxies.operations(), [""; 0]);

    let (answers, ()) = tokio::join!(scene.ask(&flood), scene.deliver_until_acknowledged());
    for answer in answers {
        assert_eq!(answer, Answer::refused());
    }
    scene.assert_all_durable();
    assert!(scene.emulators.deliveries.get("forged").is_none());
}
