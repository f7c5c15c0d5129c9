//! What is confidential stays out of what the commands print, of the ledger, of files that others can
//! read, and off the wire unless it is encrypted. Beside these tests, no run of any other test prints
//! the API key, a secret or a contact: see `Operator::run_with`.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use titanx_testbed::{
    confidential::Finder,
    emulators::{Fault, FaultProxy, Harm, When},
    titanx::contact,
};

use crate::{
    System,
    operator::{Operator, Run},
    titanx_api::{API_KEY, Failure, Form},
};

const JOB: &str = "11111111-2222-4333-8444-555555555555";

/// Values that stand nowhere else, so that to find one is to have found a leak.
const PERSONAL: [(&str, &str); 8] = [
    ("firstName", "Quorvexia"),
    ("lastName", "Zylthandrow-Öbrenkjöld"),
    ("email", "quorvexia.zylthandrow@vexmail.example"),
    ("phone", "+1 202-555-0147"),
    ("title", "Chief Wyvernkeeper"),
    ("linkedInUrl", "https://vexmail.example/in/qzylthandrow"),
    ("companyAccount", "Brundlewick Oxyhydrates"),
    ("customerContactId", "cust-Kvothmjold-9f3c7"),
];

fn finder() -> Finder {
    let mut finder = Finder::default();
    for (_, value) in PERSONAL {
        finder.keep_secret(value);
    }
    finder
}

fn personal() -> Value {
    PERSONAL
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

/// A job of which every contact is missing: one that is scored, one with a text that is too long, and
/// values that are none.
fn system() -> System {
    let system = System::start(Form::Schema);
    let mut scored = personal();
    scored["leadStatus"] = "High".into();
    let mut nested = scored.clone();
    nested["unmappedFields"] = scored.clone();
    nested["email"] = "zylthandrow.quorvexia@vexmail.example".into();
    let odd = [
        json!("Quorvexia"),
        json!([PERSONAL[1].1]),
        json!({"phone": {"a": PERSONAL[3].1}}),
    ];
    let contacts = [&[scored, nested][..], &odd[..]].concat();
    let job = json!({"id": JOB, "modifiedAt": "2100-01-05T12:00:00Z"});
    system.api.put_job(JOB, job, &contacts);
    system
}

#[track_caller]
fn assert_tells_nothing(finder: &Finder, run: &Run) {
    for text in [&run.stdout, &run.stderr] {
        assert_eq!(finder.find(text), None);
    }
}

/// The lines that a backfill writes when a step of it fails, those of the receiver's intake among them.
#[test]
fn a_backfill_that_fails_tells_nothing_of_the_contacts() {
    let finder = finder();
    for (service, faults, said) in [
        (
            "DYNAMODB",
            // The first of each contact is its claim.
            (3..40).map(|nth| When::NthOf(nth, "PutItem")).collect(),
            "completion mark failed",
        ),
        (
            "SQS",
            vec![When::Every("SendMessage")],
            "could not be queued",
        ),
        (
            "DYNAMODB",
            vec![When::Every("PutItem")],
            "could not be queued",
        ),
    ] {
        let system = system();
        let url = match service {
            "SQS" => &system.emulators.sqs_url,
            _ => &system.emulators.dynamodb_url,
        };
        let proxy = FaultProxy::start(url, 1);
        for when in faults {
            proxy.inject(when, Fault::Before(Harm::ServerError));
        }
        let mut operator = system.operator.clone();
        operator = operator.set(&format!("AWS_ENDPOINT_URL_{service}"), &proxy.url);
        // The claim is released, but nobody is told so.
        let records = FaultProxy::start(&system.emulators.dynamodb_url, 1);
        if service == "SQS" {
            records.inject(When::Every("DeleteItem"), Fault::After(Harm::ServerError));
            operator = operator.set("AWS_ENDPOINT_URL_DYNAMODB", &records.url);
        }
        let run = operator.run(&format!("--json reconcile {JOB} --yes"));
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
        if service == "SQS" {
            let said = "release of the claim failed";
            assert!(run.stderr.contains(said), "{}", run.stderr);
        }
        assert_tells_nothing(&finder, &run);
    }
}

#[test]
fn reconcile_and_quarantine_tell_nothing_of_the_contacts() {
    let finder = finder();
    let system = system();
    let attributes = [("reason", "not_envelope"), ("encoding", "text")];
    let quarantine = &system.emulators.quarantine;
    quarantine.put(&personal().to_string(), &attributes);
    quarantine.put(
        PERSONAL[0].1,
        &[("reason", "not_json"), ("encoding", "base64")],
    );
    let id = &quarantine.messages()[0].id;
    for line in [
        format!("reconcile {JOB}"),
        "quarantine list".to_owned(),
        format!("quarantine show {id}"),
        "quarantine redrive --all".to_owned(),
        format!("reconcile {JOB} --yes --despite-doubts"),
        format!("reconcile {JOB}"),
        "jobs --count".to_owned(),
    ] {
        for format in ["", "--json "] {
            let run = system.operator.run(&format!("{format}{line}"));
            assert_tells_nothing(&finder, &run);
        }
    }
    // The finder does find what is shown on demand.
    quarantine.put(&personal().to_string(), &attributes);
    let id = &quarantine.messages().pop().unwrap().id;
    let shown = system
        .operator
        .run(&format!("quarantine show --reveal {id}"))
        .exits(0);
    assert!(finder.find(&shown.stdout).is_some(), "{}", shown.stdout);
}

/// What TitanX or AWS answers may quote what it was asked.
#[test]
fn an_answer_that_quotes_the_api_key_is_not_printed_whole() {
    let system = System::start(Form::Schema);
    for status in [400, 401, 403, 404, 409, 422] {
        let quoting = Failure::Quoting { status };
        system.api.fail("GET /webhooks", quoting);
        let run = system.operator.run("subscriptions").exits(1);
        // `run` has searched for the key already.
        assert!(run.stderr.contains(&status.to_string()), "{}", run.stderr);
    }
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_with_secrets_and_contacts_are_their_owners_whatever_was_there_before() {
    let system = system();
    let folder = TempDir::new().unwrap();
    let secret = folder.path().join("secret");
    let ledger = folder.path().join("secret.ledger");
    let checkpoint = folder.path().join("checkpoint");
    for file in [&secret, &ledger, &checkpoint] {
        fs::write(
            file,
            if *file == secret {
                "wh_sk_synthetic"
            } else {
                "{}"
            },
        )
        .unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
    }
    fs::write(&ledger, r#"{"subscriptions": [], "rotation": null}"#).unwrap();
    let at = format!("--secret-file {}", secret.display());
    for line in [
        "subscribe --settle 0",
        "rotate --settle 0",
        "rotate --settle 0 --grace 0 --yes",
    ] {
        system.operator.run(&format!("{line} {at}")).exits(0);
        assert_eq!([mode(&secret), mode(&ledger)], [0o600, 0o600], "{line}");
        assert_holds_no_secret(&fs::read_to_string(&ledger).unwrap(), &system);
    }
    // Interrupted after one page.
    let pages = format!("GET /jobs/{JOB}/contacts");
    system.api.fail_after(1, &pages, Failure::Status(403));
    let line = format!("reconcile {JOB} --checkpoint {}", checkpoint.display());
    system.operator.run(&line).exits(1);
    assert!(
        fs::read_to_string(&checkpoint)
            .unwrap()
            .contains(PERSONAL[0].1)
    );
    assert_eq!(mode(&checkpoint), 0o600);
    // Nothing else is left behind.
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["checkpoint", "secret", "secret.ledger"]);
}

/// A ledger has fingerprints, from which no secret can be found.
#[track_caller]
fn assert_holds_no_secret(ledger: &str, system: &System) {
    let mut finder = Finder::default();
    let subscriptions = system.api.subscriptions();
    for subscription in &subscriptions {
        // The prefix and the length of a secret are public.
        finder.keep_secret(&subscription.secret[7..]);
        assert!(
            ledger.contains(&subscription.id) || !subscription.active,
            "{ledger}"
        );
    }
    finder.keep_secret(API_KEY);
    let ids = subscriptions.iter().map(|it| it.id.as_str());
    let without_ids = ids.fold(ledger.to_owned(), |text, id| text.replace(id, ""));
    assert_eq!(finder.find(&without_ids), None);
}

#[test]
fn the_ledger_in_secrets_manager_holds_no_secret_at_any_step() {
    let system = System::start(Form::Schema);
    let ledger = || system.emulators.secret.staged("OPERATOR_LEDGER").unwrap();
    for line in [
        "subscribe --settle 0",
        "rotate --settle 0",
        "rotate --settle 0 --grace 0 --yes",
    ] {
        system.operator.run(line).exits(0);
        assert_holds_no_secret(&ledger(), &system);
        // The function reads the current version, which is never the ledger.
        assert!(
            !system.emulators.secret.value().contains("subscriptions"),
            "{line}"
        );
    }
}

/// A proxy that answers nothing, and keeps what it is sent.
struct Eavesdropper {
    url: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Eavesdropper {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let writer = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut bytes = [0; 4096];
                let length = stream.read(&mut bytes).unwrap_or(0);
                writer.lock().unwrap().extend_from_slice(&bytes[..length]);
                let _gone =
                    stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
            }
        });
        Self { url, heard }
    }

    /// The operator's command with every request to another machine through here.
    fn between(&self, operator: &Operator) -> Operator {
        operator
            .clone()
            .set("HTTP_PROXY", &self.url)
            .set("HTTPS_PROXY", &self.url)
            .set("NO_PROXY", "127.0.0.1")
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

/// A signed body is what a stranger needs to send it again, and the API key is the account.
#[test]
fn nothing_confidential_leaves_this_machine_unencrypted() {
    let system = system();
    system.operator.run("subscribe --settle 0").exits(0);
    let attributes = [("reason", "unknown_event_type"), ("encoding", "text")];
    system
        .emulators
        .quarantine
        .put(&contact("delivery-1"), &attributes);
    system
        .emulators
        .contacts
        .put(&contact("delivery-3"), &[("deliveryId", "delivery-3")]);
    let before = system.api.requests();
    let folder = TempDir::new().unwrap();
    let body = folder.path().join("body.json");
    fs::write(&body, contact("delivery-2")).unwrap();
    let send = format!("send {}", body.display());
    let eavesdropper = Eavesdropper::start();
    let insecure = [
        "http://example.com/webhooks/titanx",
        "HTTP://example.com/webhooks/titanx",
        "http://localhost.example.com/webhooks/titanx",
        "http://127.0.0.1@example.com/webhooks/titanx",
    ];
    let operator = eavesdropper.between(&system.operator);
    let refused = |variable: &str, url: &str, line: &str| {
        let run = operator.clone().set(variable, url).run(line).exits(1);
        let said = "is not an https:// URL";
        assert!(run.stderr.contains(said), "{line}: {}", run.stderr);
    };
    for line in [
        "send --count 1",
        &send,
        "quarantine redrive --all",
        "subscribe --settle 0",
        "rotate --settle 0 --old an-id",
    ] {
        refused("WEBHOOK_URL", insecure[0], line);
    }
    let reconcile = format!("reconcile {JOB}");
    for line in [
        "subscriptions",
        "subscribe --settle 0",
        "rotate --settle 0",
        "pause an-id --yes",
        "resume an-id",
        "delete an-id --yes",
        &reconcile,
    ] {
        refused("TITANX_API_URL", insecure[0], line);
    }
    for url in insecure {
        refused(
            "WEBHOOK_URL",
            url,
            &format!("listen --take --forward-to {url}"),
        );
    }
    for url in &insecure[1..] {
        refused("WEBHOOK_URL", url, "send --count 1");
        refused("TITANX_API_URL", url, "subscriptions");
    }
    assert_eq!(eavesdropper.heard(), "");
    assert_eq!(system.api.requests(), before);
    assert_eq!(system.emulators.quarantine.len(), 1);
    assert_eq!(system.emulators.contacts.len(), 1);
    // It would have heard them: an encrypted connection begins with a request to the proxy.
    let secure = operator
        .clone()
        .set("WEBHOOK_URL", "https://example.com/webhooks/titanx");
    secure.run("send --count 1").exits(1);
    let heard = eavesdropper.heard();
    assert!(heard.starts_with("CONNECT example.com:443 "), "{heard}");
    assert!(!heard.contains("payload"), "{heard}");
}
