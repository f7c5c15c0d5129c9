//! Kills the function's program with `SIGKILL` at every call to AWS, before and after the call took
//! effect, for every kind of event. A new process then gets TitanX's retry.
//!
//! Whenever the retry comes, the event must be durable at least once. It may be durable more than once
//! only if the process was killed between a send that took effect and its completion mark, and TitanX
//! retried. All messages then have the same delivery id. If the process was killed between its answer
//! and the mark, TitanX has got a 200 and retries only if a second attempt was already in flight.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    answer::{Answer, read},
    emulators::{AttributeValue, Emulators, Fault, FaultProxy, Harm, When},
    lambda::{Lambda, Outcome},
    promises::{self, Delivery, Destination, Verdict},
    sender::{Attempts, Decision},
    surroundings::Proxies,
    titanx::{completed_job, contact, envelope, signed},
};

/// The function's timeout. It is short, so that leases end soon.
const TIMEOUT: Duration = Duration::from_secs(3);
/// More than the duration of a lease, which is the timeout and a margin of one second.
const LEASE: Duration = Duration::from_millis(4_100);
/// TitanX's backoff, shortened.
const BACKOFF: Duration = Duration::from_millis(400);
/// TitanX's retry window of three days, shortened.
const MAX_ATTEMPTS: u32 = 30;
/// Time limit for everything that may hang.
const HUNG: Duration = Duration::from_mins(1);

const AT_ONCE: usize = 8;
const ID: &str = "delivery-1";

/// What is delivered, and in which situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Contact,
    ContactOnFifoQueue,
    CompletedJob,
    NotUnderstood,
    /// The id of an earlier delivery with another payload.
    IdReused,
    /// SQS fails until the process is killed, so that the function releases the claim.
    ContactNotSent,
    /// The jobs table fails until the process is killed.
    JobNotMarked,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Contact,
        Self::ContactOnFifoQueue,
        Self::CompletedJob,
        Self::NotUnderstood,
        Self::IdReused,
        Self::ContactNotSent,
        Self::JobNotMarked,
    ];

    fn body(self) -> String {
        match self {
            Self::Contact | Self::ContactOnFifoQueue | Self::ContactNotSent => contact(ID),
            Self::CompletedJob | Self::JobNotMarked => completed_job(ID, "job-1"),
            Self::NotUnderstood => envelope(ID, "job.started", &json!({})),
            Self::IdReused => envelope(ID, "job.contact.scored", &json!({"jobId": "job-2"})),
        }
    }

    /// Whether it is quarantined. Each delivery of it is, since it has no record.
    fn is_quarantined(self) -> bool {
        matches!(self, Self::NotUnderstood | Self::IdReused)
    }

    fn delivery(self) -> Delivery {
        let destination = match self {
            Self::Contact | Self::ContactOnFifoQueue | Self::ContactNotSent => {
                Destination::ContactsQueue
            }
            Self::CompletedJob | Self::JobNotMarked => Destination::JobsTable,
            Self::NotUnderstood => Destination::Quarantine("unknown_event_type"),
            Self::IdReused => Destination::Quarantine("id_reused"),
        };
        Delivery::new(destination, ID, self.body())
    }

    /// The delivery whose id is reused.
    fn earlier_delivery(self) -> Option<Delivery> {
        let earlier = || Delivery::new(Destination::ContactsQueue, ID, contact(ID));
        (self == Self::IdReused).then(earlier)
    }
}

/// When TitanX retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Retry {
    /// While the first attempt is stopped at the call, before the kill.
    Overlapping,
    /// Immediately after the kill.
    AtOnce,
    /// After the kill, during the lease of the killed process.
    InFlight,
    /// After the lease of the killed process has ended.
    AfterTheLease,
}

impl Retry {
    const ALL: [Self; 4] = [
        Self::Overlapping,
        Self::AtOnce,
        Self::InFlight,
        Self::AfterTheLease,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Service {
    SecretsManager,
    DynamoDb,
    Sqs,
}

impl Service {
    const ALL: [Self; 3] = [Self::SecretsManager, Self::DynamoDb, Self::Sqs];

    fn proxy(self, proxies: &Proxies) -> &FaultProxy {
        match self {
            Self::SecretsManager => &proxies.secrets_manager,
            Self::DynamoDb => &proxies.dynamodb,
            Self::Sqs => &proxies.sqs,
        }
    }
}

/// The n-th call of the function to this service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    service: Service,
    n: usize,
    operation: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.n)
    }
}

/// A kill to run.
#[derive(Debug, Clone)]
struct Case {
    kind: Kind,
    call: Call,
    took_effect: bool,
    retry: Retry,
}

/// The result of a kill.
#[derive(Debug)]
struct Run {
    case: Case,
    /// The statuses of all answers, in order.
    statuses: Vec<u64>,
    lost: usize,
    duplicates: usize,
    /// Whether promise 3 allows a second message.
    may_duplicate: bool,
    wrong: Vec<String>,
}

/// The results of all kills.
#[derive(Debug)]
pub struct Report(Vec<Run>);

impl Report {
    /// Everything that contradicts the promises.
    pub fn wrong(&self) -> Vec<String> {
        let runs = self.0.iter();
        runs.flat_map(|run| run.wrong.iter().map(|it| format!("{:?}: {it}", run.case)))
            .collect()
    }

    pub fn kills(&self) -> usize {
        self.0.len()
    }

    pub fn lost(&self) -> usize {
        self.0.iter().map(|run| run.lost).sum()
    }

    pub fn duplicates(&self) -> usize {
        self.0.iter().map(|run| run.duplicates).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut rows = BTreeMap::<_, Vec<&Run>>::new();
        for run in &self.0 {
            let Case { kind, call, .. } = &run.case;
            let row = (*kind, call.clone(), run.case.took_effect);
            rows.entry(row).or_default().push(run);
        }
        writeln!(
            f,
            "| event | killed at | took effect | kills | lost | duplicates | allowed | answers to the retries |\n\
             |---|---|---|---:|---:|---:|---|---|"
        )?;
        for ((kind, call, took_effect), runs) in rows {
            let mut answers = BTreeMap::<u64, usize>::new();
            for status in runs.iter().flat_map(|run| &run.statuses) {
                *answers.entry(*status).or_default() += 1;
            }
            let answers: Vec<_> = answers
                .into_iter()
                .map(|(status, times)| format!("{times} × {status}"))
                .collect();
            writeln!(
                f,
                "| {kind:?} | {call} | {} | {} | {} | {} | {} | {} |",
                if took_effect { "yes" } else { "no" },
                runs.len(),
                runs.iter().map(|run| run.lost).sum::<usize>(),
                runs.iter().map(|run| run.duplicates).sum::<usize>(),
                if runs.iter().any(|run| run.may_duplicate) {
                    "yes"
                } else {
                    "no"
                },
                answers.join(", ")
            )?;
        }
        Ok(())
    }
}

/// Kills the program at every call for every kind of event, with every retry. With `one_in` above 1,
/// runs only one in so many of these cases.
pub async fn run(binary: &Path, one_in: usize) -> Report {
    let binary: Arc<Path> = binary.into();
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        for call in calls(kind, &binary).await {
            for took_effect in [false, true] {
                cases.extend(Retry::ALL.map(|retry| Case {
                    kind,
                    call: call.clone(),
                    took_effect,
                    retry,
                }));
            }
        }
    }
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for case in cases.into_iter().step_by(one_in) {
        let (binary, permits) = (Arc::clone(&binary), Arc::clone(&permits));
        running.spawn(async move {
            let _permit = permits.acquire().await;
            kill(case, &binary).await
        });
    }
    Report(running.join_all().await)
}

/// The services and fault proxies of one case, prepared for its kind.
struct Scene {
    kind: Kind,
    emulators: Emulators,
    proxies: Proxies,
    environment: BTreeMap<&'static str, String>,
    event: Value,
}

impl Scene {
    async fn prepare(kind: Kind, binary: &Path) -> Self {
        let emulators = Emulators::start();
        let mut environment = emulators.environment();
        if kind == Kind::ContactOnFifoQueue {
            environment.insert("CONTACTS_QUEUE_URL", emulators.contacts_fifo.url.clone());
        }
        if let Some(earlier) = kind.earlier_delivery() {
            let lambda = Lambda::new(HUNG);
            let process = lambda.start(binary, &environment);
            lambda.invoke(&signed(&earlier.body)).await;
            process.has_asked(2).await;
        }
        let proxies = Proxies::between(&mut environment, &emulators);
        Self {
            kind,
            emulators,
            proxies,
            environment,
            event: signed(&kind.body()),
        }
    }

    /// Injects the faults that last until the process is killed.
    fn inject_faults(&self) {
        let failing = Fault::Before(Harm::ServerError);
        match self.kind {
            Kind::ContactNotSent => self.proxies.sqs.inject(When::Always, failing),
            Kind::JobNotMarked => {
                let mark_completed = When::Every("UpdateItem");
                self.proxies.dynamodb.inject(mark_completed, failing);
            }
            _ => {}
        }
    }

    async fn stopped(&self) {
        tokio::select! {
            () = self.proxies.secrets_manager.stopped() => {}
            () = self.proxies.dynamodb.stopped() => {}
            () = self.proxies.sqs.stopped() => {}
        }
    }

    /// Whether a kill now comes between a send that took effect and its completion mark.
    fn is_between_send_and_mark(&self) -> bool {
        let status = self.emulators.deliveries.get(ID);
        let status = status.and_then(|record| record.get("status").cloned());
        let on_a_queue = !matches!(self.kind, Kind::CompletedJob | Kind::JobNotMarked);
        let sent = on_a_queue && self.kind.delivery().times_durable(&self.emulators) > 0;
        // A FIFO queue drops the second message.
        let marked = match self.kind {
            kind if kind.is_quarantined() => false,
            Kind::ContactOnFifoQueue => true,
            _ => status == Some(AttributeValue::S("COMPLETED".to_owned())),
        };
        sent && !marked
    }

    /// Checks what is durable at the end, after `acknowledged` answers with 200.
    fn verdict(&self, acknowledged: usize, may_duplicate: bool) -> Verdict {
        let (delivery, earlier) = (self.kind.delivery(), self.kind.earlier_delivery());
        let deliveries = [Some(&delivery), earlier.as_ref()];
        let quarantined_again = if self.kind.is_quarantined() {
            acknowledged.saturating_sub(1)
        } else {
            0
        };
        promises::judge(&self.emulators, deliveries.into_iter().flatten(), |it| {
            if it.destination != delivery.destination {
                return Vec::new();
            }
            vec![
                ("quarantined again", quarantined_again),
                ("killed before the mark", usize::from(may_duplicate)),
            ]
        })
    }
}

/// The calls of the function for one delivery of this kind, including those of its start. On a busy
/// machine the SDK may retry a call, so only the calls of two runs count.
async fn calls(kind: Kind, binary: &Path) -> BTreeSet<Call> {
    &calls_once(kind, binary).await & &calls_once(kind, binary).await
}

async fn calls_once(kind: Kind, binary: &Path) -> BTreeSet<Call> {
    let scene = Scene::prepare(kind, binary).await;
    scene.inject_faults();
    let lambda = Lambda::new(HUNG);
    let process = lambda.start(binary, &scene.environment);
    lambda.invoke(&scene.event).await;
    process.has_asked(2).await;
    let mut calls = BTreeSet::new();
    for service in Service::ALL {
        for (n, call) in service
            .proxy(&scene.proxies)
            .calls()
            .into_iter()
            .enumerate()
        {
            calls.insert(Call {
                service,
                n: n + 1,
                operation: call.operation,
            });
        }
    }
    calls
}

async fn kill(case: Case, binary: &Path) -> Run {
    let scene = Scene::prepare(case.kind, binary).await;
    let at_the_call = When::Nth(case.call.n);
    let stop = if case.took_effect {
        Fault::After(Harm::Stop)
    } else {
        Fault::Before(Harm::Stop)
    };
    let proxy = case.call.service.proxy(&scene.proxies);
    proxy.inject(at_the_call, stop);
    scene.inject_faults();

    let lambda = Lambda::new(TIMEOUT);
    let mut victim = lambda.start(binary, &scene.environment);
    let mut statuses = Vec::new();
    let mut wrong = Vec::new();
    tokio::select! {
        biased;
        () = scene.stopped() => {}
        outcome = lambda.invoke(&scene.event) => {
            // The call comes after the answer.
            match outcome {
                Outcome::Answered(answer) => statuses.push(read(&answer).status),
                other => wrong.push(format!("no answer: {other:?}")),
            }
            if timeout(HUNG, scene.stopped()).await.is_err() {
                wrong.push("never stopped".to_owned());
            }
        }
    }
    let answered = !statuses.is_empty();
    if case.retry == Retry::Overlapping {
        let (answer, violation) = deliver(&scene, binary).await;
        statuses.extend(answer.map(|answer| answer.status));
        wrong.extend(violation);
    }
    let may_duplicate = scene.is_between_send_and_mark();
    victim.kill();
    scene.proxies.heal();

    sleep(match case.retry {
        Retry::Overlapping | Retry::AtOnce => Duration::ZERO,
        Retry::InFlight => Duration::from_secs(1),
        Retry::AfterTheLease => LEASE,
    })
    .await;
    // TitanX retries if it has got no 200, or if another attempt is in flight.
    let mut attempts = Attempts::new(MAX_ATTEMPTS, |_| BACKOFF);
    let mut retries = !answered || case.retry == Retry::Overlapping;
    while retries {
        let (answer, violation) = deliver(&scene, binary).await;
        statuses.extend(answer.as_ref().map(|answer| answer.status));
        wrong.extend(violation);
        retries = attempts.after(answer.as_ref()).await == Decision::Retries;
    }
    if statuses.last() != Some(&200) {
        wrong.push("never acknowledged".to_owned());
    }
    let acknowledged = statuses.iter().filter(|&&status| status == 200).count();
    let verdict = scene.verdict(acknowledged, may_duplicate);
    wrong.extend(verdict.violations());
    Run {
        case,
        statuses,
        lost: verdict.lost.len(),
        duplicates: verdict.repetitions(),
        may_duplicate,
        wrong,
    }
}

/// Delivers to a new process, and waits until the invocation is finished. Returns the answer, and what is
/// wrong with it.
async fn deliver(scene: &Scene, binary: &Path) -> (Option<Answer>, Option<String>) {
    let lambda = Lambda::new(TIMEOUT);
    let process = lambda.start(binary, &scene.environment);
    let outcome = timeout(HUNG, lambda.invoke(&scene.event)).await;
    let follow_up = timeout(HUNG, process.has_asked(2)).await;
    if follow_up.is_err() {
        return (None, Some("the next event is not asked for".to_owned()));
    }
    match outcome {
        Ok(Outcome::Answered(answer)) => {
            let answer = read(&answer);
            let in_the_table = answer.is_in_the_table() && matches!(answer.status, 200 | 429 | 503);
            let violation = (!in_the_table).then(|| format!("{answer:?}"));
            (Some(answer), violation)
        }
        other => (None, Some(format!("no answer: {other:?}"))),
    }
}
