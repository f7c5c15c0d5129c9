//! No call that fails goes unnoticed: calls of each command fail in turn, to AWS and to TitanX.

use std::rc::Rc;

use serde_json::json;
use titanx_testbed::{
    emulators::{AttributeValue, Fault, FaultProxy, Harm, Item, When},
    titanx::{contact, now_ms},
};

use crate::{
    doctor::DoctorTest,
    doctor_limits::Well,
    operator::{Operator, Run},
    status,
    titanx_api::Failure,
};

const JOB: &str = "11111111-2222-4333-8444-555555555555";
const SERVICES: [&str; 3] = ["DYNAMODB", "SQS", "SECRETS_MANAGER"];

/// The beginning of a call with its place, the exit status of a run in which it fails, and what that run tells.
type Outcome = (&'static str, i32, &'static str);

/// A command that is about to run, with a proxy to each service that can have one.
struct Prepared {
    test: DoctorTest,
    line: String,
    operator: Operator,
    proxies: [FaultProxy; 3],
    /// Requests that TitanX got before.
    before: usize,
}

impl Prepared {
    fn new((test, line): (DoctorTest, String)) -> Self {
        let emulators = &test.system.emulators;
        let urls = [
            &emulators.dynamodb_url,
            &emulators.sqs_url,
            &emulators.secrets_manager_url,
        ];
        let proxies = urls.map(|url| FaultProxy::start(url, 1));
        let mut operator = test.operator.clone();
        for ((name, url), proxy) in SERVICES.into_iter().zip(urls).zip(&proxies) {
            // Otherwise, the control plane answers for the service.
            if operator.has(&format!("AWS_ENDPOINT_URL_{name}"), url) {
                operator = operator.set(&format!("AWS_ENDPOINT_URL_{name}"), &proxy.url);
            }
        }
        let before = test.system.api.requests().len();
        test.control.restart(None);
        Self {
            test,
            line,
            operator,
            proxies,
            before,
        }
    }

    fn run(&self) -> Run {
        self.operator.run(&self.line)
    }

    fn requests_to_titanx(&self) -> Vec<String> {
        self.test.system.api.requests().split_off(self.before)
    }
}

/// The places of the calls that fail in turn, from 0. Of calls of one operation in a row, such as those of a scan, the
/// first and the last.
fn places(calls: &[String]) -> impl Iterator<Item = usize> {
    (0..calls.len()).filter(|&place| {
        let is_first = place == 0 || calls[place - 1] != calls[place];
        is_first || calls.get(place + 1) != Some(&calls[place])
    })
}

/// Asserts that the command fails with the reason if a call fails, unless `outcomes` has another outcome of that.
fn assert_fails_with(prepare: impl Fn() -> (DoctorTest, String), outcomes: &[Outcome]) {
    assert_each_fails_with(|| Rc::new(Prepared::new(prepare())), outcomes);
}

/// The same for a command that changes nothing, so that one system is enough.
fn assert_reading_fails_with(prepared: (DoctorTest, String), outcomes: &[Outcome]) {
    let prepared = Rc::new(Prepared::new(prepared));
    let again = || {
        prepared.proxies.iter().for_each(FaultProxy::heal);
        prepared.test.control.restart(None);
        Rc::clone(&prepared)
    };
    assert_each_fails_with(again, outcomes);
}

fn assert_each_fails_with(prepare: impl Fn() -> Rc<Prepared>, outcomes: &[Outcome]) {
    let whole = prepare();
    whole.run();
    let calls_to_aws = whole.proxies.each_ref().map(|proxy| {
        let calls = proxy.calls().into_iter();
        calls.map(|it| it.operation).collect::<Vec<_>>()
    });
    let calls_to_control = whole.test.control.calls();
    let calls_to_titanx = whole.requests_to_titanx();
    drop(whole);
    let mut met = vec![false; outcomes.len()];
    let mut check = |call: &str, place: usize, reason: &str, run: Run| {
        let call = format!("{call} {place}");
        let said = format!("{}{}", run.stdout, run.stderr);
        let entry = outcomes.iter().position(|it| call.starts_with(it.0));
        let (status, told) = match entry {
            Some(entry) => (outcomes[entry].1, outcomes[entry].2),
            None => (1, reason),
        };
        assert_eq!(run.status, status, "{call}: {said}");
        assert!(said.contains(told), "{call}: {said}");
        match entry {
            Some(entry) => met[entry] = true,
            None => assert!(run.stderr.contains("error: "), "{call}: {said}"),
        }
    };
    for (service, calls) in calls_to_aws.iter().enumerate() {
        for place in places(calls) {
            let failing = prepare();
            let fault = Fault::Before(Harm::ServerError);
            failing.proxies[service].inject(When::Nth(place + 1), fault);
            check(&calls[place], place, "injected by the proxy", failing.run());
        }
    }
    let calls = calls_to_control;
    for place in places(&calls) {
        let failing = prepare();
        failing.test.control.restart(Some(place));
        check(
            &calls[place],
            place,
            "refused by the control plane",
            failing.run(),
        );
    }
    let calls = calls_to_titanx;
    for place in places(&calls) {
        let failing = prepare();
        let api = &failing.test.system.api;
        api.fail_after(place, "", Failure::Status(403));
        check(&calls[place], place, "TitanX answered 403", failing.run());
    }
    assert!(met.iter().all(|it| *it), "{outcomes:?}: {met:?}");
}

/// A command on a stack without a subscription.
fn plain(line: &str) -> (DoctorTest, String) {
    (DoctorTest::new(), line.to_owned())
}

/// A command on a stack with a subscription, whose id replaces ID.
fn subscribed(line: &str) -> (DoctorTest, String) {
    let test = DoctorTest::new();
    test.subscribe();
    let line = line.replace("ID", &test.system.api.subscriptions()[0].id);
    (test, line)
}

#[test]
fn of_subscribe() {
    assert_fails_with(|| plain("subscribe --settle 0"), &[]);
}

#[test]
fn of_rotate() {
    let line = "rotate --settle 0 --grace 0 --yes";
    assert_fails_with(|| subscribed(line), &[]);
}

/// That something else is unknown keeps nobody from pausing.
#[test]
fn of_the_commands_on_a_subscription() {
    assert_reading_fails_with(subscribed("subscriptions"), &[]);
    assert_fails_with(|| subscribed("resume ID"), &[]);
    let unknown = "it is unknown whether this is the live subscription of the stack (";
    for line in ["pause ID --yes", "delete ID --yes"] {
        let tolerated = [
            ("DescribeStacks", 0, unknown),
            ("GET /webhooks", 0, unknown),
        ];
        assert_fails_with(|| subscribed(line), &tolerated);
    }
}

#[test]
fn of_status() {
    let prepared = (status::with(&[]), "status".to_owned());
    assert_reading_fails_with(prepared, &[]);
}

/// A completed job with two contacts, none of which was delivered.
fn with_job(line: &str) -> (DoctorTest, String) {
    let test = DoctorTest::new();
    let contact = |number| {
        json!({
            "customerContactId": format!("contact-{number}"),
            "lastName": format!("Person {number}"),
            "phoneStatus": "High",
        })
    };
    let contacts: Vec<_> = (0..2).map(contact).collect();
    let job = json!({"id": JOB, "createdAt": "2100-01-05T12:00:00Z"});
    test.system.api.put_job(JOB, job, &contacts);
    let at = now_ms() - 80 * 3_600_000;
    let record = [
        ("job_id", AttributeValue::S(JOB.to_owned())),
        ("completed_at", AttributeValue::N(at.to_string())),
    ];
    let record = record.map(|(name, value)| (name.to_owned(), value));
    test.system.emulators.jobs.put(&Item::from(record));
    (test, line.replace("JOB", JOB))
}

#[test]
fn of_jobs() {
    for line in ["jobs", "jobs JOB"] {
        assert_reading_fails_with(with_job(line), &[]);
    }
}

/// A backfill repeats a claim, a message and a mark, as the function does.
#[test]
fn of_reconcile() {
    // What failed is named: a permission may be missing for it.
    let named = [
        (
            "DescribeTable",
            1,
            "error: cannot describe the table deliveries: ",
        ),
        ("Scan", 1, "error: cannot scan the table "),
        ("GetItem", 1, "error: cannot read job "),
    ];
    assert_reading_fails_with(with_job("reconcile JOB"), &named);
    let queued = "2 missing: 2 queued, 0 queued before, 0 failed";
    let tolerated = [("PutItem", 0, queued), ("SendMessage", 0, queued)];
    assert_fails_with(|| with_job("reconcile JOB --yes"), &tolerated);
}

#[test]
fn of_heal() {
    assert_reading_fails_with(with_job("heal --due --dry-run"), &[]);
    let healed = "2 contacts at TitanX: 0 received, 2 backfilled, 0 unscored, 0 missing";
    let tolerated = [("PutItem", 0, healed), ("SendMessage", 0, healed)];
    for line in ["heal --job JOB", "heal --due"] {
        assert_fails_with(|| with_job(line), &tolerated);
    }
}

/// A delivery whose lease is over, or one that is completed.
fn with_delivery(record_status: &str, line: &str) -> (DoctorTest, String) {
    let stack = DoctorTest::new();
    let now = now_ms();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: u64| AttributeValue::N(number.to_string());
    let record = [
        ("delivery_id", text("delivery-1")),
        ("status", text(record_status)),
        ("in_progress_expiration", number(now - 70_000)),
        ("expiration", number(now / 1_000 + 604_800)),
        ("claimed_by", text("somebody")),
        ("validation", text("a digest")),
    ];
    let record = record.map(|(name, value)| (name.to_owned(), value));
    stack.system.emulators.deliveries.put(&Item::from(record));
    (stack, line.to_owned())
}

#[test]
fn of_delivery() {
    for (state, line) in [
        ("COMPLETED", "delivery delivery-1"),
        ("INPROGRESS", "delivery delivery-1 --release --yes"),
        ("COMPLETED", "delivery delivery-1 --forget --yes"),
    ] {
        assert_fails_with(|| with_delivery(state, line), &[]);
    }
}

#[test]
fn of_contacts_redrive() {
    let prepare = || {
        let test = DoctorTest::new();
        let emulators = &test.system.emulators;
        let dead_letters = emulators.create_queue("dead-letters");
        dead_letters.put("a contact", &[]);
        let policy = json!({"deadLetterTargetArn": dead_letters.arn(), "maxReceiveCount": 1});
        let contacts = &emulators.contacts;
        contacts.set_attribute("RedrivePolicy", &policy.to_string());
        (test, "contacts redrive --yes".to_owned())
    };
    assert_fails_with(prepare, &[]);
}

/// The id of a message in quarantine replaces ID.
fn with_quarantined(line: &str) -> (DoctorTest, String) {
    let test = DoctorTest::new();
    let quarantine = &test.system.emulators.quarantine;
    let attributes = [("reason", "unknown_event_type"), ("encoding", "text")];
    quarantine.put(&contact("delivery-1"), &attributes);
    let line = line.replace("ID", &quarantine.messages()[0].id);
    (test, line)
}

#[test]
fn of_quarantine() {
    let hidden = " stays hidden from all commands for 60 s: ";
    let tolerated = [("ChangeMessageVisibility", 0, hidden)];
    for line in ["quarantine list", "quarantine show ID"] {
        assert_fails_with(|| with_quarantined(line), &tolerated);
    }
    for line in ["quarantine redrive --all", "quarantine redrive ID"] {
        assert_fails_with(|| with_quarantined(line), &[]);
    }
}

#[test]
fn of_send() {
    assert_fails_with(|| plain("send --count 1"), &[]);
}

/// Doctor goes on, and tells what it does not know.
#[test]
fn of_doctor() {
    let prepared = (Well::new().test, "doctor".to_owned());
    prepared.0.operator.run(&prepared.1).exits(0);
    let tolerated = [
        ("DescribeStacks 0", 1, "refused by the control plane"),
        // Every other.
        ("", 3, "no problem, 1 unknown, "),
    ];
    assert_reading_fails_with(prepared, &tolerated);
}
