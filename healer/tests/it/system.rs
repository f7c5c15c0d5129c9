//! A system in which TitanX has delivered some contacts of some jobs, and a healer.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use titanx_healer::{
    Healer,
    config::Config,
    error::Error,
    report::{End, Event, JobResult, State},
};
use titanx_receiver::receiver::Receiver;
use titanx_testbed::{
    emulators::{AttributeValue, Emulators, Item},
    front_door::{Answer, deliver, environment, receiver},
    reconciliation::utc,
    titanx::{envelope_at, signed},
    titanx_api::{Form, TitanxApi},
};

/// The first id of a job.
pub(crate) const JOB: &str = "11111111-2222-4333-8444-555555555555";
const HOUR_MS: i64 = 3_600_000;

pub(crate) struct System {
    pub(crate) emulators: Emulators,
    pub(crate) api: TitanxApi,
    receiver: Receiver,
    pub(crate) environment: BTreeMap<&'static str, String>,
}

/// What a run has told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) checked: Vec<(String, JobResult)>,
    pub(crate) held: Vec<String>,
    pub(crate) began: Vec<(usize, usize, usize)>,
    /// Records, those that were compared, and read units.
    pub(crate) scans: Vec<(u64, usize, f64)>,
    /// The jobs and the texts of the errors.
    pub(crate) failed: Vec<(String, String)>,
    pub(crate) changed: Vec<String>,
}

pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// A scored contact as TitanX's API returns it.
pub(crate) fn contact(job: &str, number: usize) -> Value {
    json!({
        "customerContactId": format!("{job}-{number}"),
        "firstName": "Sample",
        "lastName": format!("Person {number}"),
        "email": format!("sample.{number}@example.com"),
        "phone": format!("+1 206 555 {:04}", 100 + number % 100),
        "phoneStatus": "High",
    })
}

/// The date of `hours` ago, as TitanX writes it.
pub(crate) fn hours_ago(hours: i64) -> String {
    utc((now_ms() - hours * HOUR_MS) / 1000)
}

impl System {
    pub(crate) fn start() -> Self {
        let emulators = Emulators::start();
        let api = TitanxApi::start(Form::Schema);
        let mut environment = environment(&emulators);
        let receiver = receiver(&environment);
        environment.insert("TITANX_API_URL", api.url.clone());
        Self {
            emulators,
            api,
            receiver,
            environment,
        }
    }

    /// Has TitanX deliver these contacts of a job.
    pub(crate) async fn deliver(&self, job: Option<&str>, contacts: &[Value]) {
        for contact in contacts {
            let mut payload = contact.clone();
            if let Some(job) = job {
                payload["jobId"] = job.into();
            }
            let id = format!("delivery-{}", self.emulators.deliveries.len());
            self.accept(&id, "job.contact.scored", now_ms(), &payload)
                .await;
        }
    }

    pub(crate) async fn accept(&self, id: &str, event: &str, at: i64, payload: &Value) {
        let body = envelope_at(at, id, event, payload);
        let answer = deliver(&self.receiver, &signed(&body)).await;
        assert_eq!(answer, Answer::accepted());
    }

    /// Has TitanX list a job that was created and completed so many hours ago, and report it.
    pub(crate) async fn complete(&self, job: &str, hours: i64, contacts: &[Value]) {
        self.list(job, hours, contacts);
        let payload = json!({"jobId": job, "jobStatus": "Finalized"});
        let id = format!("completed-{job}");
        self.accept(&id, "job.completed", now_ms(), &payload).await;
        // As if it had come then. An event that old would be stale.
        let mut record = self.emulators.jobs.get(job).unwrap();
        let at = (now_ms() - hours * HOUR_MS).to_string();
        record.insert("completed_at".to_owned(), AttributeValue::N(at));
        self.emulators.jobs.put(&record);
    }

    pub(crate) fn list(&self, job: &str, hours: i64, contacts: &[Value]) {
        let time = hours_ago(hours);
        let listed = json!({
            "id": job, "status": "Finalized", "createdAt": time, "modifiedAt": time,
        });
        self.api.put_job(job, listed, contacts);
    }

    /// A healer behind these endpoints, or at the emulators themselves.
    pub(crate) async fn healer_with(&self, changes: &[(&'static str, String)]) -> Healer {
        let mut environment = self.environment.clone();
        environment.extend(changes.iter().cloned());
        let config = Config::from_env(|name| environment.get(name).cloned()).unwrap();
        config.build().await.unwrap()
    }

    pub(crate) async fn healer(&self) -> Healer {
        self.healer_with(&[]).await
    }

    /// Runs a healer until its round is finished.
    pub(crate) async fn heal(&self) -> Told {
        let (end, told) = run(&self.healer().await, Duration::from_mins(15)).await;
        assert_eq!(end.unwrap(), End::RoundFinished { more: false });
        told
    }

    /// The delivery ids on the contacts queue.
    pub(crate) fn queued(&self) -> Vec<String> {
        let messages = self.emulators.contacts.messages().into_iter();
        let ids = messages.map(|it| it.attribute("deliveryId").unwrap().to_owned());
        ids.collect()
    }

    /// The customer's ids of the contacts on the queue, sorted.
    pub(crate) fn queued_contacts(&self) -> Vec<String> {
        let messages = self.emulators.contacts.messages().into_iter();
        let mut ids: Vec<_> = messages
            .map(|message| {
                let body: Value = serde_json::from_str(&message.body).unwrap();
                let id = &body["payload"]["customerContactId"];
                id.as_str().unwrap_or_default().to_owned()
            })
            .collect();
        ids.sort();
        ids
    }

    /// What the job's record says of a check: text, or a number as text.
    pub(crate) fn recorded(&self, job: &str, attribute: &str) -> Option<String> {
        let record = self.emulators.jobs.get(job).expect("the job has a record");
        match record.get(attribute)? {
            AttributeValue::S(text) | AttributeValue::N(text) => Some(text.clone()),
            other => panic!("{other:?}"),
        }
    }

    /// As if so much time had passed that every lease is over.
    pub(crate) fn let_leases_end(&self) {
        let over = |item: &mut Item, name: &str| {
            if let Some(ends) = item.get_mut(name) {
                *ends = AttributeValue::N("0".to_owned());
            }
        };
        self.let_leases_end_of_checks();
        for mut item in self.emulators.jobs.items() {
            over(&mut item, "check_ends");
            self.emulators.jobs.put(&item);
        }
        for mut item in self.emulators.deliveries.items() {
            over(&mut item, "in_progress_expiration");
            self.emulators.deliveries.put(&item);
        }
    }

    /// As if the lease on the round had ended while the run goes on.
    pub(crate) fn let_leases_end_of_checks(&self) {
        if let Some(mut round) = self.emulators.checks.get("round") {
            round.insert("lease_ends".to_owned(), AttributeValue::N("0".to_owned()));
            self.emulators.checks.put(&round);
        }
    }

    /// As if it were time for the next round, and for another check of what is not complete.
    pub(crate) fn let_a_day_pass(&self) {
        for mut item in self.emulators.jobs.items() {
            if let Some(AttributeValue::N(checked_at)) = item.get_mut("checked_at") {
                *checked_at = (now_ms() - 24 * HOUR_MS).to_string();
            }
            self.emulators.jobs.put(&item);
        }
        self.emulators.checks.delete("round");
    }
}

/// One run of a healer that is killed after `timeout`.
pub(crate) async fn run(healer: &Healer, timeout: Duration) -> (Result<End, Error>, Told) {
    let told = Mutex::new(Told::default());
    let report = |event: Event<'_>| {
        let mut told = told.lock().unwrap();
        match event {
            Event::JobChecked { job_id, result } => {
                told.checked.push((job_id.to_owned(), result.clone()));
            }
            Event::JobHeld { job_id } => told.held.push(job_id.to_owned()),
            Event::RoundBegan {
                jobs,
                completed,
                undecided,
            } => told.began.push((jobs, completed, undecided)),
            Event::Scanned {
                records,
                kept,
                units,
            } => told.scans.push((records, kept, units)),
            Event::BackfillFailed { job_id, error } => {
                told.failed.push((job_id.to_owned(), error.to_string()));
            }
            Event::JobChanged { job_id } => told.changed.push(job_id.to_owned()),
        }
    };
    let deadline = now_ms() + i64::try_from(timeout.as_millis()).unwrap();
    let end = healer.run(deadline, &report).await;
    (end, told.into_inner().unwrap())
}

/// A result by its counts: at TitanX, received, backfilled, unscored, missing.
pub(crate) fn result(state: State, reason: Option<&str>, counts: [u64; 5]) -> JobResult {
    let [contacts_at_titanx, received, backfilled, unscored, missing] = counts;
    JobResult {
        state,
        reason: reason.map(str::to_owned),
        contacts_at_titanx,
        received,
        backfilled,
        unscored,
        missing,
    }
}
