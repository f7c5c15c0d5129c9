//! The failure matrix: each step of a delivery × each fault × each time at which TitanX retries.
//!
//! In every case the event is durable at least once in the end, and more than once only if a response of
//! SQS was lost or the function was killed between a send and its completion mark. Every answer is in the
//! answer table.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use serde_json::{Value, json};
use titanx_receiver::{
    aws::{Aws, HttpPool},
    config::Config,
    queue::Queue,
    receiver::Receiver,
};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::alarms::Log;
use titanx_testbed::{
    emulators::{Emulators, Fault, FaultProxy, Harm, When},
    front_door::{
        Answer, Proxies, REQUEST_ID, deliver_within, environment, receiver, receiver_behind_proxies,
    },
    promises::{self, Delivery, Destination},
    sender::{Attempts, Decision},
    titanx::{completed_job, contact, envelope, signed},
};

/// The function's timeout. It is short, so that leases end soon.
const TIMEOUT: Duration = Duration::from_secs(3);
/// More than the duration of a lease, which is the timeout and a margin of one second.
const LEASE: Duration = Duration::from_millis(4_100);
/// Longer than all attempts of one step together.
const SLOW: Duration = Duration::from_secs(20);
/// TitanX's retry window of three days, shortened.
const MAX_ATTEMPTS: u32 = 12;

/// What is delivered.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Contact,
    CompletedJob,
    NotUnderstood,
}

impl Event {
    fn body(self, id: &str) -> String {
        match self {
            Self::Contact => contact(id),
            Self::CompletedJob => completed_job(id, id),
            Self::NotUnderstood => envelope(id, "job.started", &json!({})),
        }
    }

    fn delivery(self, id: &str) -> Delivery {
        let destination = match self {
            Self::Contact => Destination::ContactsQueue,
            Self::CompletedJob => Destination::JobsTable,
            Self::NotUnderstood => Destination::Quarantine("unknown_event_type"),
        };
        Delivery::new(destination, id, self.body(id))
    }

    /// The steps of its delivery that call AWS, in order. Reading the secret is the first.
    fn steps(self) -> &'static [Step] {
        match self {
            Self::Contact => &[Step::Secret, Step::Claim, Step::Send, Step::Complete],
            Self::CompletedJob => &[Step::Secret, Step::Claim, Step::MarkDone, Step::Complete],
            Self::NotUnderstood => &[Step::Secret, Step::Park],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Secret,
    Claim,
    Send,
    MarkDone,
    Park,
    Complete,
}

impl Step {
    fn proxy(self, proxies: &Proxies) -> &FaultProxy {
        match self {
            Self::Secret => &proxies.secrets_manager,
            Self::Send | Self::Park => &proxies.sqs,
            Self::Claim | Self::MarkDone | Self::Complete => &proxies.dynamodb,
        }
    }

    /// The n-th call of this step's operation. The completion mark is the second `PutItem` of a delivery.
    fn call(self, n: usize) -> When {
        match self {
            Self::Secret => When::NthOf(n, "GetSecretValue"),
            Self::Claim => When::NthOf(n, "PutItem"),
            Self::Complete => When::NthOf(n + 1, "PutItem"),
            Self::MarkDone => When::NthOf(n, "UpdateItem"),
            Self::Send | Self::Park => When::NthOf(n, "SendMessage"),
        }
    }
}

/// How long a fault lasts: for one call, which the SDK retries, or for all calls of the first delivery.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lasting {
    OneCall,
    OneDelivery,
}

/// When TitanX retries.
#[derive(Debug, Clone, Copy)]
enum Retry {
    AtOnce,
    AfterASecond,
    AfterTheLease,
}

const FAULTS: [Fault; 10] = [
    Fault::Refuse(Duration::from_millis(300)),
    Fault::Before(Harm::Reset),
    Fault::After(Harm::Reset),
    Fault::Before(Harm::ServerError),
    Fault::After(Harm::ServerError),
    Fault::Before(Harm::Throttle),
    Fault::Before(Harm::Delay(SLOW)),
    Fault::After(Harm::Delay(SLOW)),
    Fault::Before(Harm::Stop),
    Fault::After(Harm::Stop),
];

#[derive(Debug, Clone, Copy)]
struct Case {
    event: Event,
    step: Step,
    fault: Fault,
    lasting: Lasting,
    retry: Retry,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for event in [Event::Contact, Event::CompletedJob, Event::NotUnderstood] {
            for &step in event.steps() {
                for fault in FAULTS {
                    for lasting in [Lasting::OneCall, Lasting::OneDelivery] {
                        for retry in [Retry::AtOnce, Retry::AfterASecond, Retry::AfterTheLease] {
                            cases.push(Self {
                                event,
                                step,
                                fault,
                                lasting,
                                retry,
                            });
                        }
                    }
                }
            }
        }
        cases
    }

    /// Whether the process is killed, which happens at a stopped call.
    fn kills(self) -> bool {
        matches!(
            self.fault,
            Fault::Before(Harm::Stop) | Fault::After(Harm::Stop)
        )
    }

    /// Whether promise 3 allows a second message: a response of SQS was lost after the send took effect, or
    /// the function was killed between a send that took effect and its completion mark.
    fn may_duplicate(self) -> bool {
        let after_effect = matches!(self.fault, Fault::After(_));
        // A delayed request takes effect although the client has timed out.
        let late = matches!(self.fault, Fault::Before(Harm::Delay(_)));
        match self.step {
            Step::Send | Step::Park => after_effect || late,
            Step::Complete => self.kills(),
            Step::Secret | Step::Claim | Step::MarkDone => false,
        }
    }

    fn inject(self, proxies: &Proxies) {
        let proxy = self.step.proxy(proxies);
        let calls = match self.lasting {
            Lasting::OneCall => 1..=1,
            Lasting::OneDelivery => 1..=3,
        };
        for call in calls {
            proxy.inject(self.step.call(call), self.fault);
        }
    }
}

/// Delivers `event` once. Returns `None` if the process is killed at a stopped call.
async fn attempt(receiver: &Receiver, proxies: &Proxies, event: &Value) -> Option<Answer> {
    tokio::select! {
        answer = deliver_within(receiver, event, TIMEOUT) => Some(answer),
        () = proxies.dynamodb.stopped() => None,
        () = proxies.sqs.stopped() => None,
        () = proxies.secrets_manager.stopped() => None,
    }
}

/// Delivers until the event is acknowledged, as TitanX does. The fault ends with the first attempt.
async fn acknowledged(
    case: Case,
    environment: &BTreeMap<&'static str, String>,
    proxies: &Proxies,
    event: &Value,
) -> Answer {
    let mut receiver = receiver(environment);
    let mut attempts = Attempts::new(MAX_ATTEMPTS, |made| match case.retry {
        Retry::AtOnce if made == 1 => Duration::ZERO,
        // After the first retry, TitanX's backoff applies.
        Retry::AtOnce => Duration::from_millis(400),
        Retry::AfterASecond => Duration::from_secs(1),
        Retry::AfterTheLease => LEASE,
    });
    loop {
        let answer = attempt(&receiver, proxies, event).await;
        match &answer {
            Some(answer) => {
                assert!(answer.is_in_the_table(), "{case:?}: {answer:?}");
                assert!(
                    matches!(answer.status, 200 | 429 | 503),
                    "{case:?}: {answer:?}"
                );
            }
            // A new process replaces the killed one.
            None => receiver = titanx_testbed::front_door::receiver(environment),
        }
        proxies.heal();
        match (attempts.after(answer.as_ref()).await, answer) {
            (Decision::Acknowledged, Some(answer)) => return answer,
            (Decision::Retries, _) => {}
            _ => panic!("{case:?} was never acknowledged"),
        }
    }
}

/// How many times the event is durable in the end, which is at least once.
async fn check(case: Case) -> usize {
    let emulators = Emulators::start();
    let mut environment = environment(&emulators);
    if case.step == Step::Secret {
        environment = emulators.environment();
    }
    let proxies = Proxies::between(&mut environment, &emulators);
    case.inject(&proxies);

    let delivery = case.event.delivery("delivery-1");
    let event = signed(&delivery.body);
    let answer = acknowledged(case, &environment, &proxies, &event).await;

    // The caller judges the number.
    let causes = |_: &Delivery| vec![("any", usize::MAX)];
    let verdict = promises::judge(&emulators, [&delivery], causes);
    assert_eq!(verdict.violations(), [""; 0], "{case:?}: {answer:?}");
    1 + verdict.repetitions()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_loses_an_event_whenever_titanx_retries() {
    let cases = Case::all();
    assert_eq!(cases.len(), 10 * 10 * 2 * 3);
    let at_once = Arc::new(Semaphore::new(24));
    let mut running = JoinSet::new();
    for case in cases {
        let permit = Arc::clone(&at_once).acquire_owned().await.unwrap();
        running.spawn(async move {
            let times = check(case).await;
            drop(permit);
            (case, times)
        });
    }
    for (case, times) in running.join_all().await {
        if times > 1 && !case.may_duplicate() {
            // On a busy machine a response may take longer than the attempt timeout, and is then lost. Alone,
            // this does not happen.
            assert_eq!(check(case).await, 1, "{case:?}");
        }
    }
}

#[tokio::test]
async fn a_release_that_fails_leaves_a_claim_that_ends_with_its_lease() {
    for fault in [
        Fault::Before(Harm::Reset),
        Fault::After(Harm::Reset),
        Fault::Before(Harm::ServerError),
        Fault::Before(Harm::Throttle),
        Fault::Before(Harm::Delay(SLOW)),
        Fault::After(Harm::Delay(SLOW)),
    ] {
        let emulators = Emulators::start();
        let (receiver, proxies) = receiver_behind_proxies(&emulators);
        let event = signed(&contact("delivery-1"));
        proxies
            .sqs
            .inject(When::Always, Fault::Before(Harm::ServerError));
        proxies.dynamodb.inject(When::Every("DeleteItem"), fault);

        let answer = deliver_within(&receiver, &event, TIMEOUT).await;
        assert_eq!(answer.status, 503, "{fault:?}");
        proxies.heal();
        sleep(LEASE).await;
        let answer = deliver_within(&receiver, &event, TIMEOUT).await;
        assert_eq!(answer, Answer::accepted(), "{fault:?}");
        assert_eq!(emulators.contacts.len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_late_release_never_deletes_what_a_later_holder_completed() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    let event = signed(&contact("delivery-1"));
    // The first holder's send fails, and its release arrives long after its lease.
    for call in 1..=3 {
        proxies
            .sqs
            .inject(When::Nth(call), Fault::Before(Harm::ServerError));
    }
    let late = Harm::Delay(LEASE + Duration::from_secs(2));
    proxies
        .dynamodb
        .inject(When::Every("DeleteItem"), Fault::Before(late));
    let answer = deliver_within(&receiver, &event, TIMEOUT).await;
    assert_eq!(answer.status, 503);

    sleep(LEASE).await;
    let answer = deliver_within(&receiver, &event, TIMEOUT).await;
    assert_eq!(answer, Answer::accepted());
    sleep(Duration::from_secs(4)).await;
    assert!(emulators.deliveries.get("delivery-1").is_some());
    let answer = deliver_within(&receiver, &event, TIMEOUT).await;
    assert_eq!(answer, Answer::duplicate());
}

#[tokio::test]
async fn a_service_that_hangs_is_abandoned_in_time_to_answer() {
    let emulators = Emulators::start();
    let (receiver, proxies) = receiver_behind_proxies(&emulators);
    for proxy in [&proxies.dynamodb, &proxies.sqs] {
        proxies.heal();
        proxy.inject(When::Always, Fault::Before(Harm::Delay(SLOW)));
        let event = signed(&contact("delivery-1"));
        let whole = deliver_within(&receiver, &event, Duration::from_secs(8));
        // The function's timeout, which is never reached.
        let answer = tokio::time::timeout(Duration::from_secs(8), whole)
            .await
            .unwrap();
        assert_eq!(answer.status, 503);
        assert!(answer.is_in_the_table());
    }
}

/// An HTTP connector that panics at every request.
#[derive(Debug)]
struct Panicking;

impl HttpConnector for Panicking {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        panic!("as a mistake anywhere in the program would");
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_the_next_attempt_is_accepted() {
    let emulators = Emulators::start();
    let environment = environment(&emulators);
    let config = Config::from_env(|name| environment.get(name).cloned()).unwrap();
    let pool = HttpPool::new(|| SharedHttpConnector::new(Panicking));
    let panicking = Aws::new(pool, &config.aws).unwrap();
    let (mut receiver, aws) = config.build().unwrap();
    receiver.intake.contacts = Queue::new(panicking.sqs(), emulators.contacts.url.clone());
    let event = signed(&contact("delivery-1"));

    let log = Log::default();
    let delivery = deliver_within(&receiver, &event, TIMEOUT);
    let answer = log.of(Box::pin(delivery)).await;
    assert_eq!(answer.status, 503);
    assert!(answer.is_in_the_table());
    let line = json!({
        "level": "ERROR", "message": "handling of the delivery panicked",
        "request_id": REQUEST_ID, "gateway": "AAAAAAAAAAAAAAA=", "id": "delivery-1",
        "age_ms": 0, "cold": true, "key_form": "whole", "outcome": "panicked",
    });
    assert_eq!(log.told(), [line]);
    // Once by each of the filters that count every delivery that was understood, and as an answer with 5xx.
    let filters = [
        "AnswerTimeFilter",
        "Answered5xxFilter",
        "DeliveriesFilter",
        "EventAgeFilter",
    ];
    let counted = filters.map(|filter| (filter.to_owned(), 1)).into();
    assert_eq!(crate::lines::counted(&log.lines()), counted);

    sleep(LEASE).await;
    receiver.intake.contacts = Queue::new(aws.sqs(), emulators.contacts.url.clone());
    let answer = deliver_within(&receiver, &event, TIMEOUT).await;
    assert_eq!(answer, Answer::accepted());
    assert_eq!(emulators.contacts.len(), 1);
}
