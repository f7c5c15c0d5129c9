//! The order in which the commands have their effects, over all services: what a failure in between
//! leaves behind depends on it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};
use serde_json::{Value, json};
use titanx_testbed::{emulators::FaultProxy, server::Server, titanx::contact};

use crate::{System, operator::Operator, titanx_api::Form};

/// Records the calls to AWS, in the order in which the services answered them.
pub(crate) struct Journal {
    proxies: Vec<FaultProxy>,
    calls: Arc<Mutex<Vec<(SystemTime, String)>>>,
}

impl Journal {
    /// Also returns the operator's command whose calls are recorded.
    pub(crate) fn of(system: &System) -> (Self, Operator) {
        let calls = Arc::<Mutex<Vec<_>>>::default();
        let mut operator = system.operator.clone();
        let mut proxies = Vec::new();
        // Instants cannot be compared with the times that TitanX records.
        let started = (Instant::now(), SystemTime::now());
        for (name, url) in [
            ("DYNAMODB", &system.emulators.dynamodb_url),
            ("SQS", &system.emulators.sqs_url),
            ("SECRETS_MANAGER", &system.emulators.secrets_manager_url),
        ] {
            let proxy = FaultProxy::start(url, 1);
            let calls = Arc::clone(&calls);
            proxy.observe(move |served| {
                let at = started.1 + served.at.duration_since(started.0);
                let ledger = served
                    .request
                    .windows(15)
                    .any(|it| it == b"OPERATOR_LEDGER");
                let of = if ledger { " of the ledger" } else { "" };
                let call = format!("{}{of}", served.operation);
                lock(&calls).push((at, call));
            });
            operator = operator.set(&format!("AWS_ENDPOINT_URL_{name}"), &proxy.url);
            proxies.push(proxy);
        }
        (Self { proxies, calls }, operator)
    }

    /// All calls so far, those to TitanX among them.
    pub(crate) fn calls_with_ids(&self, system: &System) -> Vec<String> {
        let made = || {
            self.proxies
                .iter()
                .map(|it| it.calls().len())
                .sum::<usize>()
        };
        // A call is recorded just after it was answered.
        let until = Instant::now() + Duration::from_secs(5);
        while lock(&self.calls).len() < made() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut calls = lock(&self.calls).clone();
        assert_eq!(calls.len(), made(), "{calls:?}");
        calls.extend(system.api.times().into_iter().map(|(call, at)| (at, call)));
        calls.sort();
        calls.into_iter().map(|(_, call)| call).collect()
    }

    /// The same, without the ids in the paths of those to TitanX.
    fn calls(&self, system: &System) -> Vec<String> {
        let subscriptions = system.api.subscriptions();
        let named = |call: &str| {
            let numbered = (1..).zip(&subscriptions);
            numbered.fold(call.to_owned(), |call, (number, it)| {
                call.replace(&it.id, &format!("#{number}"))
            })
        };
        let calls = self.calls_with_ids(system);
        calls.iter().map(|call| named(call)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn subscribe_stores_then_notes_then_checks_then_activates() {
    for form in [Form::Schema, Form::Prose] {
        let system = System::start(form);
        let (journal, operator) = Journal::of(&system);
        operator.run("subscribe --settle 0").exits(0);
        let create: &[&str] = match form {
            Form::Schema => &["POST /webhooks"],
            // The first is refused for the name of its member.
            Form::Prose => &["POST /webhooks", "POST /webhooks"],
        };
        let before = [
            "GetSecretValue",
            "GetSecretValue of the ledger",
            "GET /webhooks",
        ];
        let after = [
            // Stored, and read back.
            "PutSecretValue",
            "GetSecretValue",
            "PutSecretValue of the ledger",
            // Still stored?
            "GetSecretValue",
            "POST /webhooks/#1/active",
            // For the report.
            "GetSecretValue",
        ];
        let expected = [&before[..], create, &after[..]].concat();
        assert_eq!(journal.calls(&system), expected);
    }
}

/// While a command waits, a concurrent run can overwrite what it stored.
#[test]
fn whether_it_is_still_stored_is_read_after_the_wait() {
    let (secret, ledger) = ("GetSecretValue", "GetSecretValue of the ledger");
    for (line, read) in [
        ("subscribe --another --settle 1", &[secret][..]),
        ("rotate --settle 1 --yes", &[secret, ledger]),
    ] {
        let system = System::start(Form::Schema);
        system.operator.run("subscribe --settle 0").exits(0);
        let (journal, operator) = Journal::of(&system);
        operator.run(line).exits(0);
        journal.calls(&system);
        let calls = lock(&journal.calls).clone();
        let place = |name: &str, after: usize| {
            let found = calls[after..].iter().position(|(_, call)| call == name);
            after + found.unwrap_or_else(|| panic!("{line}: {name} is not in {calls:?}"))
        };
        let stored = place("PutSecretValue", 0);
        let noted = place("PutSecretValue of the ledger", stored);
        for read in read {
            let at = calls[place(read, noted)].0;
            let waited = at.duration_since(calls[stored].0).unwrap();
            assert!(waited >= Duration::from_secs(1), "{line}: {calls:?}");
        }
    }
}

#[test]
fn rotate_activates_what_is_stored_and_removes_last() {
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let before = system.api.requests().len();
    let (journal, operator) = Journal::of(&system);
    operator.run("rotate --settle 0 --grace 0 --yes").exits(0);
    let expected = [
        "GetSecretValue of the ledger",
        "GetSecretValue",
        "GET /webhooks",
        "POST /webhooks",
        "PutSecretValue",
        "GetSecretValue",
        "PutSecretValue of the ledger",
        // The rotation is still the one in the ledger, and its secret still stored.
        "GetSecretValue of the ledger",
        "GetSecretValue",
        "POST /webhooks/#2/active",
        "PutSecretValue of the ledger",
        "POST /webhooks/#1/inactive",
        "PutSecretValue of the ledger",
        // The grace period is over: the old secret goes, and is forgotten after that.
        "GetSecretValue",
        "PutSecretValue",
        "GetSecretValue",
        "PutSecretValue of the ledger",
    ];
    assert_eq!(journal.calls(&system)[before..], expected);
}

#[test]
fn an_interrupted_rotation_reads_what_is_live_after_the_old_subscription_ended() {
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    system.operator.run("rotate --settle 0").exits(0);
    let before = system.api.requests().len();
    let (journal, operator) = Journal::of(&system);
    operator.run("rotate --settle 0").exits(0);
    // Within the grace period, nothing is written.
    let expected = ["GetSecretValue of the ledger", "GetSecretValue"];
    assert_eq!(journal.calls(&system)[before..], expected);
}

#[test]
fn pause_and_delete_look_before_they_act() {
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let id = system.api.subscriptions()[0].id.clone();
    let before = system.api.requests().len();
    system.operator.run(&format!("pause {id} --yes")).exits(0);
    system.operator.run(&format!("resume {id}")).exits(0);
    system.operator.run(&format!("delete {id} --yes")).exits(0);
    let expected = [
        "GET /webhooks".to_owned(),
        format!("POST /webhooks/{id}/inactive"),
        format!("POST /webhooks/{id}/active"),
        "GET /webhooks".to_owned(),
        format!("DELETE /webhooks/{id}"),
    ];
    assert_eq!(system.api.requests()[before..], expected);
}

/// A receiver that answers each delivery with the status in its id, and its webhook URL.
fn receiver() -> (String, Server) {
    let server = Server::start("receiver", |request: Request<Bytes>| async move {
        let elsewhere = format!("{}/elsewhere", request.uri().path());
        let envelope: Value = serde_json::from_slice(request.body()).expect("a body in JSON");
        let status: u16 = envelope["id"].as_str().unwrap_or_default().parse().ok()?;
        let response = Response::builder().status(status);
        let response = response.header("location", elsewhere);
        Some(response.body(Full::default()).expect("a valid response"))
    });
    (format!("{}/webhooks/titanx", server.origin), server)
}

#[test]
fn a_redrive_deletes_a_message_only_after_a_2xx() {
    const ACCEPTED: [u16; 5] = [200, 201, 202, 204, 299];
    const NOT_ACCEPTED: [u16; 18] = [
        300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 408, 409, 413, 429, 500, 503, 504, 599,
    ];
    let system = System::start(Form::Schema);
    let quarantine = &system.emulators.quarantine;
    for status in NOT_ACCEPTED.into_iter().chain(ACCEPTED) {
        let attributes = [("reason", "unknown_event_type"), ("encoding", "text")];
        quarantine.put(&contact(&status.to_string()), &attributes);
    }
    let ids = quarantine.messages().into_iter().map(|it| it.id);
    let statuses: Vec<_> = ids.zip(NOT_ACCEPTED.into_iter().chain(ACCEPTED)).collect();
    let (url, _receiver) = receiver();
    let (journal, operator) = Journal::of(&system);
    let operator = operator.set("WEBHOOK_URL", url);
    let run = operator.run("--json quarantine redrive --all");
    let results = run.json();
    for (id, status) in &statuses {
        let mut results = results.as_array().unwrap().iter();
        let result = results.find(|it| it["id"] == id.as_str()).unwrap();
        assert_eq!(result["status"], *status, "{result}");
        assert_eq!(result["removed"], ACCEPTED.contains(status), "{result}");
        assert_eq!(result["quarantined_again"], false, "{result}");
    }
    let left: Vec<_> = quarantine.messages().into_iter().map(|it| it.id).collect();
    let refused = statuses.iter().filter(|(_, it)| NOT_ACCEPTED.contains(it));
    let refused: Vec<_> = refused.map(|(id, _)| id.clone()).collect();
    assert_eq!(left, refused);
    let said = "18 messages are still in the quarantine queue";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    run.exits(1);
    // Those that stay are visible again at once, and nothing else is called.
    let mut calls = journal.calls(&system);
    calls.retain(|it| it != "ReceiveMessage");
    calls.sort();
    let expected = [
        vec!["ChangeMessageVisibility"; NOT_ACCEPTED.len()],
        vec!["DeleteMessage"; ACCEPTED.len()],
        vec!["GetSecretValue"],
    ];
    assert_eq!(calls, expected.concat());
}

/// The statuses that a change of a subscription may get. Only a 2xx is one that was made.
#[test]
fn a_change_of_a_subscription_is_reported_only_after_a_2xx() {
    use crate::titanx_api::Failure;
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let id = system.api.subscriptions()[0].id.clone();
    for (line, call) in [
        (
            format!("pause {id} --yes"),
            format!("POST /webhooks/{id}/inactive"),
        ),
        (
            format!("resume {id}"),
            format!("POST /webhooks/{id}/active"),
        ),
        (
            format!("delete {id} --yes"),
            format!("DELETE /webhooks/{id}"),
        ),
    ] {
        for status in [301, 304, 400, 401, 403, 409, 422] {
            let before = system.api.subscriptions();
            system.api.fail(&call, Failure::Status(status));
            let run = system.operator.run(&line).exits(1);
            assert!(run.stderr.contains(&status.to_string()), "{}", run.stderr);
            assert_eq!(run.stdout, "", "{status}");
            assert_eq!(system.api.subscriptions(), before, "{line} {status}");
        }
    }
}

/// A contact that arrives in between is then among the records, and not missing.
#[test]
fn reconcile_reads_the_records_after_the_contacts_and_claims_before_it_sends() {
    const JOB: &str = "11111111-2222-4333-8444-555555555555";
    let system = System::start(Form::Schema);
    let contact =
        |number| json!({"customerContactId": format!("contact-{number}"), "leadStatus": "High"});
    // Two pages.
    let contacts: Vec<_> = (0..3).map(contact).collect();
    let job = json!({"id": JOB, "modifiedAt": "2100-01-05T12:00:00Z"});
    system.api.put_job(JOB, job, &contacts);
    let (journal, operator) = Journal::of(&system);
    operator.run(&format!("reconcile {JOB} --yes")).exits(0);
    let calls = journal.calls(&system);
    let first = |call: &str| calls.iter().position(|it| it == call).unwrap();
    let last = |call: &str| calls.iter().rposition(|it| it == call).unwrap();
    let contacts = format!("GET /jobs/{JOB}/contacts");
    assert_eq!(calls.iter().filter(|it| **it == contacts).count(), 2);
    // The first scans are of the jobs table; the deliveries table is described before its own.
    assert!(last(&contacts) < first("DescribeTable"), "{calls:#?}");
    assert!(first("DescribeTable") < last("Scan"), "{calls:#?}");
    assert!(last("Scan") < first("PutItem"), "{calls:#?}");
    // Each is claimed, sent and marked.
    let of = |call: &str| {
        let places = calls.iter().enumerate().filter(|(_, it)| *it == call);
        places.map(|(place, _)| place).collect::<Vec<_>>()
    };
    let (writes, sends) = (of("PutItem"), of("SendMessage"));
    assert_eq!((writes.len(), sends.len()), (6, 3), "{calls:#?}");
    for (number, send) in sends.iter().enumerate() {
        let before = writes.iter().filter(|write| *write < send).count();
        assert!(before > number, "send {number} without a claim: {calls:#?}");
    }
    assert!(writes.last() > sends.last(), "{calls:#?}");
}
