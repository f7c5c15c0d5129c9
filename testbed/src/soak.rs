//! A soak test: a sender that behaves like TitanX at its worst, with faults everywhere else.
//!
//! The sender delivers the events of many jobs concurrently, out of order and some of them twice. It
//! waits a limited time for an answer, retries with exponential backoff after a 408, 429, 5xx or no
//! answer, and drops an event after any other 4xx. Fault proxies break a share of all calls to AWS.
//! Processes of the function are killed at any time, or killed or frozen between an answer and its
//! completion mark. TitanX's times are shortened: `PATIENCE` is its limit of ten seconds.
//!
//! People make mistakes meanwhile: see `mistakes`.
//!
//! The queues and the jobs table alone show whether every event is durable. The proxies show why a
//! message is there twice: a response of SQS was lost, the process was killed, or the delivery was
//! acknowledged, its completion mark could not be written, and TitanX delivered it again.

mod mistakes;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    answer::{Answer, read},
    emulators::{Emulators, Fault, FaultProxy, Harm, Served, When},
    lambda::{Lambda, Outcome, Posting, Process},
    promises::{self, Cause, Delivery, Destination},
    sender::{Attempts, Decision, backoff},
    surroundings::Proxies,
    titanx::{envelope, request, signature},
};
use mistakes::Subscription;

/// TitanX's limit of ten seconds for an answer, shortened.
const PATIENCE: Duration = Duration::from_secs(5);
/// The function's timeout of eight seconds, shortened.
const TIMEOUT: Duration = Duration::from_secs(4);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(3);
/// TitanX's retry window of three days, shortened.
const MAX_ATTEMPTS: u32 = 60;
/// The function's attempt timeout is a second. After this time, the proxy cannot tell whether the
/// function still waited for the response.
const NEARLY_GIVEN_UP: Duration = Duration::from_millis(500);
/// The maximum number of events in backoff for each event in flight.
const IN_BACKOFF: usize = 20;
/// Longer than TitanX's first backoff.
const FREEZE: Duration = Duration::from_millis(500);
const OUTAGE_EVERY: Duration = Duration::from_secs(2);
const OUTAGE: Duration = Duration::from_millis(50);
const SAMPLE_EVERY: Duration = Duration::from_millis(200);
/// The maximum ratio of the memory in the last quarter to that in the first.
const FLAT: f64 = 1.1;
/// The minimum number of deliveries for the memory check. Before, memory has not settled.
const TELLS_OF_MEMORY: usize = 10_000;

/// The parameters of a soak.
#[derive(Debug, Clone)]
pub struct Plan {
    pub deliveries: usize,
    pub jobs: usize,
    /// The share of all calls to AWS that get a fault.
    pub faults: f64,
    pub kills: usize,
    /// How long each mistake of a person lasts until it is repaired. Zero: none is made.
    pub mistakes: Duration,
    /// The number of concurrent invocations in each of the two processes.
    pub concurrency: usize,
    pub seed: u64,
    pub binary: PathBuf,
}

/// The kind of an event, which depends only on its number. The first events complete the jobs, some of
/// the others are not understood by the receiver, and the rest are contacts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Contact,
    CompletedJob,
    NotUnderstood,
}

impl Plan {
    fn kind(&self, number: usize) -> Kind {
        if number < self.jobs {
            Kind::CompletedJob
        } else if number % 500 == 499 {
            Kind::NotUnderstood
        } else {
            Kind::Contact
        }
    }

    fn job_id(&self, number: usize) -> String {
        format!("00000000-0000-4000-9000-{:012}", number % self.jobs)
    }

    fn delivery_id(number: usize) -> String {
        format!("00000000-0000-4000-8000-{number:012}")
    }

    fn body(&self, number: usize) -> String {
        let job_id = self.job_id(number);
        let (event_type, payload) = match self.kind(number) {
            Kind::CompletedJob => (
                "job.completed",
                json!({
                    "jobId": job_id,
                    "jobType": "scoring",
                    "jobName": format!("Synthetic batch {number}"),
                    "jobStatus": if number % 10 == 9 { "Not Enriched" } else { "Finalized" },
                    "modifiedAt": "2100-01-01T00:00:00Z",
                }),
            ),
            Kind::NotUnderstood => ("job.started", json!({"jobId": job_id})),
            Kind::Contact => ("job.contact.scored", contact(number, &job_id)),
        };
        envelope(&Self::delivery_id(number), event_type, &payload)
    }

    fn delivery(&self, number: usize) -> Delivery {
        let destination = match self.kind(number) {
            Kind::Contact => Destination::ContactsQueue,
            Kind::CompletedJob => Destination::JobsTable,
            Kind::NotUnderstood => Destination::Quarantine("unknown_event_type"),
        };
        Delivery::new(destination, Self::delivery_id(number), self.body(number))
    }
}

fn contact(number: usize, job_id: &str) -> Value {
    json!({
        "jobId": job_id,
        "firstName": format!("Sample{number}"),
        "lastName": "Person-Öne \"Q\" \u{1F4DE}",
        "email": format!("sample.{number}@example.com"),
        "title": "Head of Operations",
        "phone": format!("+1 202-555-01{:02}", number % 100),
        "phone2": format!("+1 202-555-01{:02}", (number + 1) % 100),
        "phoneStatus": "High Propensity",
        "phone2Status": null,
        "leadStatus": "High Propensity",
        "companyAccount": "Example Company",
        "website": "https://www.example.com",
        "annualRevenue": "1000000",
        "customerContactId": number.to_string(),
        "unmappedFields": {"row": number, "note": "x".repeat(number % 900)},
    })
}

/// What the sender and the proxies have recorded.
#[derive(Default)]
struct Books {
    attempts: AtomicUsize,
    acknowledged: AtomicUsize,
    forged: AtomicUsize,
    kills: AtomicUsize,
    outages: AtomicUsize,
    done: AtomicBool,
    inner: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    answers: BTreeMap<String, usize>,
    wrong: Vec<String>,
    /// The number of sends that took effect but whose response was lost, by delivery id.
    lost_answers: HashMap<String, usize>,
    /// The number of kills of a process that had this delivery in flight.
    kills: HashMap<String, usize>,
    /// When the first completion mark of a delivery was written.
    marked: HashMap<String, Instant>,
    /// When a contact was acknowledged, other than as a duplicate.
    accepted: Vec<(String, Instant)>,
    resident_kib: Vec<u64>,
    /// The number of faults of processes and of mistakes of people, by kind.
    disturbances: BTreeMap<String, usize>,
    /// The events that were refused for good while the stored secret was wrong, by number.
    refused: BTreeSet<usize>,
}

impl Books {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrong(&self, what: String) {
        self.pages().wrong.push(what);
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Counts a fault of a process or a mistake of a person.
    fn made(&self, disturbance: String) {
        *self.pages().disturbances.entry(disturbance).or_default() += 1;
    }

    /// Records a call that the proxy in front of SQS reports.
    fn sent(&self, call: &Served) {
        if call.operation != "SendMessage" || call.status != 200 {
            return;
        }
        // After a delay, the call may have taken effect when the function no longer waited.
        if call.answered && call.took < NEARLY_GIVEN_UP {
            return;
        }
        let request: Value = serde_json::from_slice(&call.request).expect("SQS took it");
        let id = &request["MessageAttributes"]["deliveryId"]["StringValue"];
        let id = id.as_str().expect("every message names it").to_owned();
        *self.pages().lost_answers.entry(id).or_default() += 1;
    }

    /// Records a call that the proxy in front of DynamoDB reports.
    fn written(&self, call: &Served) {
        if call.operation != "PutItem" || call.status != 200 {
            return;
        }
        let request: Value = serde_json::from_slice(&call.request).expect("DynamoDB took it");
        let item = &request["Item"];
        if item["status"]["S"] == "COMPLETED" {
            let id = item["delivery_id"]["S"].as_str().expect("the table's key");
            let mut pages = self.pages();
            let first = pages.marked.entry(id.to_owned()).or_insert(call.at);
            *first = call.at.min(*first);
        }
    }

    fn answered(&self, id: &str, kind: Kind, answer: &Answer) {
        let mut pages = self.pages();
        let outcome = format!("{} {}", answer.status, answer.body);
        *pages.answers.entry(outcome).or_default() += 1;
        if !answer.is_in_the_table() {
            pages.wrong.push(format!("{id}: {answer:?}"));
        }
        if kind == Kind::Contact && *answer == Answer::accepted() {
            pages.accepted.push((id.to_owned(), Instant::now()));
        }
    }
}

impl Pages {
    /// How many times each delivery was acknowledged before its completion mark was written.
    fn unmarked(&self) -> HashMap<String, usize> {
        let mut unmarked = HashMap::new();
        for (id, at) in &self.accepted {
            if self.marked.get(id).is_none_or(|marked| marked > at) {
                *unmarked.entry(id.clone()).or_default() += 1;
            }
        }
        unmarked
    }
}

/// The result of a soak.
#[derive(Debug)]
pub struct Report {
    plan: Plan,
    took: Duration,
    attempts: usize,
    forged: usize,
    kills: usize,
    outages: usize,
    disturbances: BTreeMap<String, usize>,
    refused: usize,
    unmarked: usize,
    calls: usize,
    broken: BTreeMap<String, usize>,
    answers: BTreeMap<String, usize>,
    contacts: usize,
    jobs: usize,
    quarantined: usize,
    lost: usize,
    duplicates: BTreeMap<&'static str, usize>,
    resident_kib: (u64, u64),
    wrong: Vec<String>,
}

impl Report {
    /// Everything that contradicts the promises.
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

/// Whether the memory grew by more than noise.
#[expect(clippy::cast_precision_loss, reason = "kibibytes of one process")]
fn grew((first, last): (u64, u64)) -> bool {
    last as f64 > FLAT * first as f64
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Plan {
            deliveries, faults, ..
        } = self.plan;
        let broken: usize = self.broken.values().sum();
        writeln!(f, "deliveries            {deliveries}")?;
        writeln!(f, "took                  {} s", self.took.as_secs())?;
        writeln!(f, "attempts              {}", self.attempts)?;
        writeln!(f, "forged requests       {}", self.forged)?;
        writeln!(f, "calls to AWS          {}", self.calls)?;
        writeln!(f, "of them broken        {broken} (asked for: {faults})")?;
        for (fault, times) in &self.broken {
            writeln!(f, "  {fault:<40} {times}")?;
        }
        writeln!(f, "outages               {}", self.outages)?;
        writeln!(f, "processes disturbed   {}", self.kills)?;
        for (fault, times) in &self.disturbances {
            writeln!(f, "  {fault:<40} {times}")?;
        }
        writeln!(f, "refused by wrong secrets {}", self.refused)?;
        writeln!(f, "accepted, never marked {}", self.unmarked)?;
        writeln!(f, "answers")?;
        for (answer, times) in &self.answers {
            writeln!(f, "  {answer:<40} {times}")?;
        }
        writeln!(f, "contacts on the queue {}", self.contacts)?;
        writeln!(f, "jobs completed        {}", self.jobs)?;
        writeln!(f, "in quarantine         {}", self.quarantined)?;
        writeln!(f, "lost                  {}", self.lost)?;
        writeln!(
            f,
            "second messages       {}",
            self.duplicates.values().sum::<usize>()
        )?;
        for (cause, times) in &self.duplicates {
            writeln!(f, "  {cause:<40} {times}")?;
        }
        let (first, last) = self.resident_kib;
        writeln!(
            f,
            "resident memory       {first} KiB in the first quarter, {last} KiB in the last"
        )?;
        writeln!(f, "wrong                 {}", self.wrong.len())?;
        for wrong in self.wrong.iter().take(20) {
            writeln!(f, "  {wrong}")?;
        }
        Ok(())
    }
}

/// The state that all tasks of a soak share.
struct Soak {
    plan: Plan,
    lambda: Lambda,
    books: Arc<Books>,
    slots: Semaphore,
    subscription: Subscription,
}

/// Runs a soak of the function's program.
pub async fn run(plan: Plan) -> Report {
    let began = Instant::now();
    let emulators = Emulators::start();
    let mut environment = emulators.environment();
    let concurrency = plan.concurrency.to_string();
    environment.insert("AWS_LAMBDA_MAX_CONCURRENCY", concurrency);
    let proxies = Proxies::between(&mut environment, &emulators);
    let books = Arc::new(Books::default());
    watch(&proxies, &books);
    let soak = Arc::new(Soak {
        lambda: Lambda::new(TIMEOUT),
        books: Arc::clone(&books),
        slots: Semaphore::new(2 * plan.concurrency),
        subscription: Subscription::default(),
        plan: plan.clone(),
    });

    // One process runs the whole time. The other one is harmed from time to time.
    let steady = soak.lambda.start(&plan.binary, &environment);
    break_calls(&proxies, plan.faults);
    let mut around = JoinSet::new();
    around.spawn(measure(steady, Arc::clone(&books)));
    around.spawn(kill(Arc::clone(&soak), environment));
    let proxies = Arc::new(proxies);
    around.spawn(outages(Arc::clone(&proxies), Arc::clone(&books)));
    around.spawn(forge(Arc::clone(&soak)));
    around.spawn(tell(Arc::clone(&soak)));
    tokio::join!(
        deliver_all(&soak),
        mistakes::make_all(&plan, &soak.subscription, &emulators.secret, &books)
    );
    soak.deliver_refused().await;
    books.done.store(true, Ordering::Relaxed);
    around.join_all().await;
    proxies_heal(&proxies).await;
    close(&soak, &emulators, &proxies, began)
}

/// Ends all faults, and waits until delayed calls have taken effect.
async fn proxies_heal(proxies: &Proxies) {
    proxies.heal();
    sleep(Duration::from_secs(2)).await;
}

fn watch(proxies: &Proxies, books: &Arc<Books>) {
    let seen = Arc::clone(books);
    proxies.sqs.observe(move |call| seen.sent(call));
    let seen = Arc::clone(books);
    proxies.dynamodb.observe(move |call| seen.written(call));
}

/// Injects faults into this share of all calls. All kinds of faults are equally frequent.
fn break_calls(proxies: &Proxies, share: f64) {
    let (short, long) = (Duration::from_millis(200), Duration::from_millis(1_500));
    let faults = [
        Fault::Before(Harm::Reset),
        Fault::After(Harm::Reset),
        Fault::Before(Harm::ServerError),
        Fault::After(Harm::ServerError),
        Fault::Before(Harm::Throttle),
        Fault::Before(Harm::Delay(short)),
        Fault::After(Harm::Delay(short)),
        Fault::Before(Harm::Delay(long)),
        Fault::After(Harm::Delay(long)),
    ];
    // Each fault is drawn independently, and the first one drawn applies.
    let each = 1.0 - (1.0 - share).powf(1.0 / 9.0);
    for proxy in [&proxies.dynamodb, &proxies.sqs, &proxies.secrets_manager] {
        for fault in faults {
            proxy.inject(When::Share(each), fault);
        }
    }
}

/// Causes short outages of DynamoDB and SQS in turn.
async fn outages(proxies: Arc<Proxies>, books: Arc<Books>) {
    let endpoints = [&proxies.dynamodb, &proxies.sqs];
    for endpoint in endpoints.into_iter().cycle() {
        sleep(OUTAGE_EVERY).await;
        if books.done.load(Ordering::Relaxed) {
            return;
        }
        endpoint.inject(When::Nth(1), Fault::Refuse(OUTAGE));
        books.outages.fetch_add(1, Ordering::Relaxed);
    }
}

/// Samples the memory of the process that runs the whole time.
async fn measure(process: Process, books: Arc<Books>) {
    while !books.done.load(Ordering::Relaxed) {
        sleep(SAMPLE_EVERY).await;
        match process.resident_kib() {
            Some(kib) => books.pages().resident_kib.push(kib),
            None => return books.wrong("the steady process is gone".to_owned()),
        }
        process.take_output();
    }
}

/// A fault of a process.
#[derive(Debug, Clone, Copy)]
enum ProcessFault {
    /// It is killed at any time.
    Kill,
    /// It is killed after an answer, before the completion mark.
    KillAfterAnswer,
    /// It is frozen after an answer, before the completion mark, and continued later.
    FreezeAfterAnswer,
}

impl ProcessFault {
    const ALL: [Self; 3] = [Self::Kill, Self::KillAfterAnswer, Self::FreezeAfterAnswer];

    /// Applies the fault. Returns whether the process has to be replaced.
    async fn apply_to(self, process: &mut Process) -> bool {
        if !matches!(self, Self::Kill) {
            process.on_answers([Posting::StopAfter]);
            // If the process posts no answer, it is killed at any time.
            let _stands = timeout(PATIENCE, process.stands_at_answer(1)).await;
        }
        if matches!(self, Self::FreezeAfterAnswer) {
            process.freeze(true);
            sleep(FREEZE).await;
            process.freeze(false);
            process.release_answers();
            return false;
        }
        process.kill();
        true
    }
}

/// Runs the other process, and harms it at regular fractions of the acknowledged deliveries.
async fn kill(soak: Arc<Soak>, environment: BTreeMap<&'static str, String>) {
    let Plan {
        deliveries,
        kills,
        binary,
        ..
    } = &soak.plan;
    let mut process = soak.lambda.start(binary, &environment);
    while !soak.books.done.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(20)).await;
        process.take_output();
        let process_faults = soak.books.kills.load(Ordering::Relaxed);
        let acknowledged = soak.books.acknowledged.load(Ordering::Relaxed);
        if process_faults < *kills && acknowledged > (process_faults + 1) * deliveries / (kills + 1)
        {
            let fault = ProcessFault::ALL[process_faults % ProcessFault::ALL.len()];
            if fault.apply_to(&mut process).await {
                process = soak.lambda.start(binary, &environment);
            }
            soak.books.kills.fetch_add(1, Ordering::Relaxed);
            soak.books.made(format!("{fault:?}"));
        }
    }
}

/// Sends forged requests, signed with wrong secrets.
async fn forge(soak: Arc<Soak>) {
    let body = soak.plan.body(0).replace("Synthetic", "Forged");
    let mut number = 0;
    while !soak.books.done.load(Ordering::Relaxed) {
        number += 1;
        let signature = signature(format!("guess {number}"), body.as_bytes());
        let (_, answer) = soak.ask(&request(&body, Some(&signature))).await;
        match answer {
            Some(answer) if answer == Answer::refused() || [429, 503].contains(&answer.status) => {
                soak.books.forged.fetch_add(1, Ordering::Relaxed);
            }
            Some(answer) => soak.books.wrong(format!("forged: {answer:?}")),
            None => {}
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Delivers all events concurrently, in random order, some of them twice.
async fn deliver_all(soak: &Arc<Soak>) {
    let mut numbers: Vec<usize> = (0..soak.plan.deliveries).collect();
    let mut random = fastrand::Rng::with_seed(soak.plan.seed);
    random.shuffle(&mut numbers);
    let permits = Arc::new(Semaphore::new(2 * soak.plan.concurrency * IN_BACKOFF));
    let mut running = JoinSet::new();
    for number in numbers {
        let permit = Arc::clone(&permits).acquire_owned().await;
        let soak = Arc::clone(soak);
        let repeats = match random.u32(..100) {
            0..2 => Repeat::Beside,
            2..4 => Repeat::AtOnce,
            4..6 => Repeat::Afterwards,
            _ => Repeat::Never,
        };
        running.spawn(async move {
            soak.deliver(number, repeats).await;
            drop(permit);
        });
        while running.try_join_next().is_some() {}
    }
    running.join_all().await;
}

/// Prints the progress of a long soak.
async fn tell(soak: Arc<Soak>) {
    while !soak.books.done.load(Ordering::Relaxed) {
        sleep(Duration::from_secs(1)).await;
        let Books {
            acknowledged,
            attempts,
            ..
        } = &*soak.books;
        if soak.plan.deliveries >= TELLS_OF_MEMORY {
            eprint!(
                "\r{} acknowledged after {} attempts",
                acknowledged.load(Ordering::Relaxed),
                attempts.load(Ordering::Relaxed)
            );
        }
    }
}

/// Whether TitanX delivers an event twice.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Repeat {
    Never,
    Beside,
    /// Immediately after it was acknowledged, possibly before its completion mark is written.
    AtOnce,
    /// Some time after it was acknowledged, as if TitanX had not got the answer.
    Afterwards,
}

impl Soak {
    async fn deliver(&self, number: usize, repeats: Repeat) {
        match repeats {
            Repeat::Never => self.deliver_once(number).await,
            Repeat::Beside => {
                tokio::join!(self.deliver_once(number), self.deliver_once(number));
            }
            Repeat::AtOnce => {
                self.deliver_once(number).await;
                self.deliver_once(number).await;
            }
            Repeat::Afterwards => {
                self.deliver_once(number).await;
                sleep(FIRST_BACKOFF * u32::try_from(number % 60).expect("small")).await;
                self.deliver_once(number).await;
            }
        }
        self.books.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Delivers an event, and retries until it is acknowledged or dropped.
    async fn deliver_once(&self, number: usize) {
        let id = Plan::delivery_id(number);
        let body = self.plan.body(number);
        let pause = backoff(FIRST_BACKOFF, MAX_BACKOFF);
        let pause = move |made| pause(made).mul_f64(0.5 + fastrand::f64());
        let mut attempts = Attempts::new(MAX_ATTEMPTS, pause);
        loop {
            self.books.attempts.fetch_add(1, Ordering::Relaxed);
            let may_be_refused = self.subscription.is_unstored();
            let (outcome, answer) = self.ask(&self.subscription.request(&body)).await;
            if let Some(answer) = &answer {
                self.books.answered(&id, self.plan.kind(number), answer);
            }
            if outcome == Some(Outcome::Cut) {
                *self.books.pages().kills.entry(id.clone()).or_default() += 1;
            }
            match attempts.after(answer.as_ref()).await {
                Decision::Retries => {}
                Decision::Acknowledged => return,
                Decision::Drops if may_be_refused && answer == Some(Answer::refused()) => {
                    self.books.pages().refused.insert(number);
                    return;
                }
                decision @ (Decision::Drops | Decision::GivesUp) => {
                    return self
                        .books
                        .wrong(format!("{id}: {decision:?} after {answer:?}"));
                }
            }
        }
    }

    /// Delivers again what was refused for good while the stored secret was wrong.
    async fn deliver_refused(&self) {
        let refused = self.books.pages().refused.clone();
        for number in refused {
            self.deliver_once(number).await;
        }
    }

    /// Sends one request and waits for its answer as long as TitanX does. The number of requests in
    /// flight is limited to that of the invocations.
    async fn ask(&self, event: &Value) -> (Option<Outcome>, Option<Answer>) {
        let _slot = self.slots.acquire().await;
        match timeout(PATIENCE, self.lambda.invoke(event)).await {
            Err(_) => (None, None),
            Ok(Outcome::Answered(answer)) => (None, Some(read(&answer))),
            Ok(Outcome::Cut) => (Some(Outcome::Cut), None),
            Ok(outcome) => {
                self.books.wrong(format!("no answer: {outcome:?}"));
                (Some(outcome), None)
            }
        }
    }
}

/// Makes the report: which events are durable, which messages are there twice, and why.
fn close(soak: &Soak, emulators: &Emulators, proxies: &Proxies, began: Instant) -> Report {
    let Soak { plan, books, .. } = soak;
    let mut pages = std::mem::take(&mut *books.pages());
    let unmarked_times = pages.unmarked();
    let deliveries: Vec<_> = (0..plan.deliveries).map(|it| plan.delivery(it)).collect();
    let verdict = promises::judge(emulators, &deliveries, |delivery| {
        causes(delivery, &pages, &unmarked_times)
    });
    pages.wrong.extend(verdict.violations());
    let resident_kib = quarters(&pages.resident_kib);
    if plan.deliveries >= TELLS_OF_MEMORY && grew(resident_kib) {
        pages.wrong.push("the function's memory grew".to_owned());
    }
    let is_unmarked = |(id, _): &&(String, _)| !pages.marked.contains_key(id);
    let unmarked = pages.accepted.iter().filter(is_unmarked).count();
    let calls: Vec<_> = [&proxies.dynamodb, &proxies.sqs, &proxies.secrets_manager]
        .into_iter()
        .flat_map(FaultProxy::calls)
        .collect();
    let mut broken = BTreeMap::new();
    for fault in calls.iter().filter_map(|call| call.fault) {
        *broken.entry(format!("{fault:?}")).or_default() += 1;
    }
    Report {
        plan: plan.clone(),
        took: began.elapsed(),
        attempts: books.attempts.load(Ordering::Relaxed),
        forged: books.forged.load(Ordering::Relaxed),
        kills: books.kills.load(Ordering::Relaxed),
        outages: books.outages.load(Ordering::Relaxed),
        disturbances: pages.disturbances,
        refused: pages.refused.len(),
        unmarked,
        calls: calls.len(),
        broken,
        answers: pages.answers,
        contacts: verdict.contacts,
        jobs: verdict.jobs,
        quarantined: verdict.quarantined,
        lost: verdict.lost.len(),
        duplicates: verdict.repeated,
        resident_kib,
        wrong: pages.wrong,
    }
}

/// What allows an event to be durable again.
fn causes(delivery: &Delivery, pages: &Pages, unmarked: &HashMap<String, usize>) -> Vec<Cause> {
    if let Destination::Quarantine(_) = delivery.destination {
        // A quarantined delivery has no record, so each further attempt may quarantine it again.
        return vec![("quarantined again", usize::MAX)];
    }
    let of = |page: &HashMap<String, usize>| page.get(&delivery.id).copied().unwrap_or(0);
    vec![
        ("a response of SQS was lost", of(&pages.lost_answers)),
        ("the process was killed", of(&pages.kills)),
        ("acknowledged, not marked, delivered again", of(unmarked)),
    ]
}

/// The medians of the first and the last quarter of the samples.
fn quarters(samples: &[u64]) -> (u64, u64) {
    let median = |samples: &[u64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    };
    let quarter = samples.len() / 4;
    (
        median(&samples[..quarter]),
        median(&samples[samples.len() - quarter..]),
    )
}
