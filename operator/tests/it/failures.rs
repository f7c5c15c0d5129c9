//! No call that fails goes unnoticed: calls of each command fail in turn, to AWS and to TitanX. What each command
//! then prints is a snapshot, with names for what differs from run to run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    rc::Rc,
};

use serde_json::json;
use titanx_testbed::{
    emulators::{AttributeValue, Fault, FaultProxy, Harm, Item, When},
    titanx::{contact, now_ms},
};

use crate::{
    doctor::DoctorTest,
    doctor_limits::Well,
    operator::{Operator, Run},
    screens::has_form,
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
    /// The ids of the subscriptions before, with their names.
    names: Vec<(String, String)>,
}

/// `text` with `name` for each part that has the form of `sample`, in which 0 stands for a hexadecimal digit.
fn replaced(text: &str, sample: &str, name: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let start = rest.get(..sample.len());
        if start.is_some_and(|it| has_form(it, sample)) {
            replaced.push_str(name);
            rest = &rest[sample.len()..];
        } else {
            replaced.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    replaced
}

/// What commands print when a call fails, and do not print otherwise: by the command's line and what it prints, the
/// names of the calls.
#[derive(Default)]
struct Printed(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Printed {
    /// Adds the lines of a run in which a call failed, without those of a run in which none did.
    fn add(&mut self, line: String, call: &str, lines: &str, usual: &str) {
        let new = lines
            .lines()
            .filter(|it| usual.lines().all(|other| other != *it));
        let mut new: Vec<_> = new.map(|it| format!("  {}", it.trim())).collect();
        if new.is_empty() {
            new.push("  nothing but what it prints otherwise".to_owned());
        }
        let of_line = self.0.entry(line).or_default();
        let calls = of_line.entry(new.join("\n")).or_default();
        calls.insert(call.to_owned());
    }
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (line, texts) in &self.0 {
            writeln!(f, "# operator {line}")?;
            let joined = texts.iter().map(|(text, calls)| {
                let calls: Vec<_> = calls.iter().map(String::as_str).collect();
                (calls.join(", "), text)
            });
            for (calls, text) in joined.collect::<BTreeSet<_>>() {
                writeln!(f, "\n{calls}\n{text}")?;
            }
            f.write_char('\n')?;
        }
        Ok(())
    }
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
        // Wide enough for every line: where one is broken depends on ports.
        let mut operator = test.operator.clone().set("COLUMNS", "1000");
        for ((name, url), proxy) in SERVICES.into_iter().zip(urls).zip(&proxies) {
            // Otherwise, the control plane answers for the service.
            if operator.has(&format!("AWS_ENDPOINT_URL_{name}"), url) {
                operator = operator.set(&format!("AWS_ENDPOINT_URL_{name}"), &proxy.url);
            }
        }
        let before = test.system.api.requests().len();
        let mut prepared = Self {
            test,
            line,
            operator,
            proxies,
            before,
            names: Vec::new(),
        };
        prepared.names = prepared.names_of_subscriptions();
        prepared.test.control.restart(None);
        prepared
    }

    /// The ids of the subscriptions at TitanX, with a name for each. The name of one does not change.
    fn names_of_subscriptions(&self) -> Vec<(String, String)> {
        let known = self.names.iter().map(|(id, _)| id.clone());
        let listed = self.test.system.api.subscriptions().into_iter();
        let mut names: Vec<(String, String)> = Vec::new();
        for id in known.chain(listed.map(|it| it.id)) {
            if names.iter().all(|(named, _)| *named != id) {
                let name = format!("SUBSCRIPTION-{}", names.len() + 1);
                names.push((id, name));
            }
        }
        names
    }

    /// A text with names for what differs from run to run.
    fn stable(&self, text: &str) -> String {
        let mut text = text.replace(JOB, "JOB");
        for (id, name) in self.names_of_subscriptions() {
            text = text.replace(&id, &name);
        }
        let text = replaced(&text, "00000000-0000-0000-0000-000000000000", "UUID");
        let text = replaced(&text, "0000-00-00T00:00:00Z", "TIME");
        let text = replaced(&text, "titanx-webhook-000000", "titanx-webhook-SUFFIX");
        let text = replaced(&text, "127.0.0.1:00000", "127.0.0.1:PORT");
        replaced(&text, "127.0.0.1:0000", "127.0.0.1:PORT")
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
fn assert_fails_with(
    printed: &mut Printed,
    prepare: impl Fn() -> (DoctorTest, String),
    outcomes: &[Outcome],
) {
    assert_each_fails_with(printed, || Rc::new(Prepared::new(prepare())), outcomes);
}

/// The same for a command that changes nothing, so that one system is enough.
fn assert_reading_fails_with(
    printed: &mut Printed,
    prepared: (DoctorTest, String),
    outcomes: &[Outcome],
) {
    let prepared = Rc::new(Prepared::new(prepared));
    let again = || {
        prepared.proxies.iter().for_each(FaultProxy::heal);
        prepared.test.control.restart(None);
        Rc::clone(&prepared)
    };
    assert_each_fails_with(printed, again, outcomes);
}

fn assert_each_fails_with(
    printed: &mut Printed,
    prepare: impl Fn() -> Rc<Prepared>,
    outcomes: &[Outcome],
) {
    let whole = prepare();
    let run = whole.run();
    let usual = whole.stable(&format!("{}{}", run.stdout, run.stderr));
    let calls_to_aws = whole.proxies.each_ref().map(|proxy| {
        let calls = proxy.calls().into_iter();
        calls.map(|it| it.operation).collect::<Vec<_>>()
    });
    let calls_to_control = whole.test.control.calls();
    let calls_to_titanx = whole.requests_to_titanx().into_iter();
    let calls_to_titanx: Vec<_> = calls_to_titanx.map(|it| whole.stable(&it)).collect();
    drop(whole);
    let mut met = vec![false; outcomes.len()];
    let mut check = |failing: &Prepared, name: &str, place: usize, reason: &str| {
        let run = failing.run();
        let call = format!("{name} {place}");
        let said = format!("{}{}", run.stdout, run.stderr);
        let line = failing.stable(&failing.line);
        printed.add(line, name, &failing.stable(&said), &usual);
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
            check(&failing, &calls[place], place, "injected by the proxy");
        }
    }
    let calls = calls_to_control;
    for place in places(&calls) {
        let failing = prepare();
        failing.test.control.restart(Some(place));
        check(
            &failing,
            &calls[place],
            place,
            "refused by the control plane",
        );
    }
    let calls = calls_to_titanx;
    for place in places(&calls) {
        let failing = prepare();
        let api = &failing.test.system.api;
        api.fail_after(place, "", Failure::Status(403));
        check(&failing, &calls[place], place, "TitanX answered 403");
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
    let mut printed = Printed::default();
    assert_fails_with(&mut printed, || plain("subscribe --settle 0"), &[]);
    insta::assert_snapshot!(printed);
}

#[test]
fn of_rotate() {
    let mut printed = Printed::default();
    let line = "rotate --settle 0 --grace 0 --yes";
    assert_fails_with(&mut printed, || subscribed(line), &[]);
    insta::assert_snapshot!(printed);
}

/// That something else is unknown keeps nobody from pausing.
#[test]
fn of_the_commands_on_a_subscription() {
    let mut printed = Printed::default();
    assert_reading_fails_with(&mut printed, subscribed("subscriptions"), &[]);
    assert_fails_with(&mut printed, || subscribed("resume ID"), &[]);
    let unknown = "it is unknown whether this is the live subscription of the stack (";
    for line in ["pause ID --yes", "delete ID --yes"] {
        let outcomes = [
            ("DescribeStacks", 0, unknown),
            ("GET /webhooks", 0, unknown),
        ];
        assert_fails_with(&mut printed, || subscribed(line), &outcomes);
    }
    insta::assert_snapshot!(printed);
}

#[test]
fn of_status() {
    let mut printed = Printed::default();
    let prepared = (status::with(&[]), "status".to_owned());
    assert_reading_fails_with(&mut printed, prepared, &[]);
    insta::assert_snapshot!(printed);
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
    let mut printed = Printed::default();
    for line in ["jobs", "jobs JOB"] {
        assert_reading_fails_with(&mut printed, with_job(line), &[]);
    }
    insta::assert_snapshot!(printed);
}

/// A backfill repeats a claim, a message and a mark, as the function does.
#[test]
fn of_reconcile() {
    let mut printed = Printed::default();
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
    assert_reading_fails_with(&mut printed, with_job("reconcile JOB"), &named);
    let queued = "2 missing: 2 queued, 0 queued before, 0 failed";
    let outcomes = [("PutItem", 0, queued), ("SendMessage", 0, queued)];
    assert_fails_with(&mut printed, || with_job("reconcile JOB --yes"), &outcomes);
    insta::assert_snapshot!(printed);
}

#[test]
fn of_heal() {
    let mut printed = Printed::default();
    assert_reading_fails_with(&mut printed, with_job("heal --due --dry-run"), &[]);
    let healed = "2 contacts at TitanX: 0 received, 2 backfilled, 0 unscored, 0 missing";
    let outcomes = [("PutItem", 0, healed), ("SendMessage", 0, healed)];
    for line in ["heal --job JOB", "heal --due"] {
        assert_fails_with(&mut printed, || with_job(line), &outcomes);
    }
    insta::assert_snapshot!(printed);
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
    let mut printed = Printed::default();
    for (state, line) in [
        ("COMPLETED", "delivery delivery-1"),
        ("INPROGRESS", "delivery delivery-1 --release --yes"),
        ("COMPLETED", "delivery delivery-1 --forget --yes"),
    ] {
        assert_fails_with(&mut printed, || with_delivery(state, line), &[]);
    }
    insta::assert_snapshot!(printed);
}

#[test]
fn of_contacts_redrive() {
    let mut printed = Printed::default();
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
    assert_fails_with(&mut printed, prepare, &[]);
    insta::assert_snapshot!(printed);
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
    let mut printed = Printed::default();
    let hidden = " stays hidden from all commands for 60 s: ";
    let outcomes = [("ChangeMessageVisibility", 0, hidden)];
    for line in ["quarantine list", "quarantine show ID"] {
        assert_fails_with(&mut printed, || with_quarantined(line), &outcomes);
    }
    for line in ["quarantine redrive --all", "quarantine redrive ID"] {
        assert_fails_with(&mut printed, || with_quarantined(line), &[]);
    }
    insta::assert_snapshot!(printed);
}

#[test]
fn of_send() {
    let mut printed = Printed::default();
    assert_fails_with(&mut printed, || plain("send --count 1"), &[]);
    insta::assert_snapshot!(printed);
}

/// Doctor goes on, and tells what it does not know.
#[test]
fn of_doctor() {
    let mut printed = Printed::default();
    let prepared = (Well::new().test, "doctor".to_owned());
    prepared.0.operator.run(&prepared.1).exits(0);
    let outcomes = [
        ("DescribeStacks 0", 1, "refused by the control plane"),
        // Every other.
        ("", 3, "no problem, 1 unknown, "),
    ];
    assert_reading_fails_with(&mut printed, prepared, &outcomes);
    insta::assert_snapshot!(printed);
}
