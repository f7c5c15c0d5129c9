//! How long the commands wait, and from when on they act. The times that they compare with their clock
//! are moved, since the clock of another process cannot be.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_smithy_types::{DateTime, date_time::Format};
use serde_json::{Value, json};
use tempfile::TempDir;
use titanx_testbed::emulators::{AttributeValue, Item};

use crate::{
    System,
    operator::Operator,
    titanx_api::{Failure, Form},
};

const SECOND_MS: i64 = 1_000;
const HOUR_MS: i64 = 60 * 60 * SECOND_MS;

fn now_ms() -> i64 {
    ms(SystemTime::now())
}

fn ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

/// A system with a subscription, whose secret and ledger are files.
struct Files {
    system: System,
    _folder: TempDir,
    secret: PathBuf,
}

impl Files {
    fn subscribed() -> Self {
        let folder = TempDir::new().unwrap();
        let files = Self {
            system: System::start(Form::Schema),
            secret: folder.path().join("secret"),
            _folder: folder,
        };
        files.run("subscribe --settle 0", 0);
        files
    }

    fn run(&self, line: &str, status: i32) -> Value {
        let line = format!("--json {line} --secret-file {}", self.secret.display());
        let run = self.system.operator.run(&line).exits(status);
        if status == 0 { run.json() } else { Value::Null }
    }

    fn ledger_file(&self) -> PathBuf {
        let mut name = self.secret.clone().into_os_string();
        name.push(".ledger");
        name.into()
    }

    fn ledger(&self) -> Value {
        read(&self.ledger_file())
    }

    fn change_ledger(&self, change: impl FnOnce(&mut Value)) {
        let mut ledger = self.ledger();
        change(&mut ledger);
        fs::write(self.ledger_file(), ledger.to_string()).unwrap();
    }

    fn live_secrets(&self) -> usize {
        match fs::read_to_string(&self.secret).unwrap() {
            array if array.starts_with('[') => {
                serde_json::from_str::<Vec<String>>(&array).unwrap().len()
            }
            _ => 1,
        }
    }
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// TitanX's retries are signed with the old secret for 72 hours.
#[test]
fn removing_the_old_secret_before_the_retries_are_over_has_a_warning() {
    for (option, hours_ago, warns) in [
        ("--grace 72", 73, false),
        ("--grace 71 --yes", 72, true),
        // It is not removed yet.
        ("--grace 71 --yes", 1, false),
    ] {
        let files = Files::subscribed();
        files.run("rotate --settle 0", 0);
        let deactivated_ms = now_ms() - hours_ago * HOUR_MS;
        files.change_ledger(|it| it["rotation"]["deactivated_ms"] = deactivated_ms.into());
        let line = format!("rotate {option} --secret-file {}", files.secret.display());
        let run = files.system.operator.run(&line).exits(0);
        let warning = "warning: an instance of the function that has read the old secret";
        assert_eq!(run.stderr.contains(warning), warns, "{}", run.stderr);
    }
}

#[test]
fn the_old_secret_is_removed_when_the_grace_period_is_over_and_not_before() {
    for (option, hours) in [("", 96), ("--grace 72", 72), ("--grace 97", 97)] {
        let files = Files::subscribed();
        let rotate = format!("rotate --settle 0 {option}");
        let before = now_ms();
        let report = files.run(&rotate, 0);
        let after = now_ms();
        let deactivated_ms = files.ledger()["rotation"]["deactivated_ms"]
            .as_i64()
            .unwrap();
        assert!(
            (before..=after).contains(&deactivated_ms),
            "{deactivated_ms}"
        );
        let removable_at = deactivated_ms + hours * HOUR_MS;
        assert_eq!(report["old_secret_removable_at"], removable_at);
        assert_eq!(report["finished"], false);

        let started = |ms: i64| {
            files.change_ledger(|it| it["rotation"]["deactivated_ms"] = ms.into());
            let report = files.run(&rotate, 0);
            (report["finished"].as_bool().unwrap(), files.live_secrets())
        };
        // Half a minute, in which the command starts.
        assert_eq!(
            started(now_ms() - hours * HOUR_MS + 30 * SECOND_MS),
            (false, 2)
        );
        assert_eq!(started(now_ms() - hours * HOUR_MS), (true, 1));
    }
}

/// When the last subscription was activated, in Unix milliseconds.
fn activated_ms(system: &System) -> i64 {
    let requests = system.api.times().into_iter().rev();
    let mut activations = requests.filter(|(call, _)| call.ends_with("/active"));
    ms(activations.next().expect("it was activated").1)
}

/// Runs `line` after an earlier run that stored the secret and got no further. Returns how long
/// after the secret was stored the subscription was activated.
fn settled_ms(line: &str, stored_ago_ms: i64) -> i64 {
    let files = Files::subscribed();
    let entry = |ledger: &mut Value, stored_ms: i64| {
        if line.starts_with("rotate") {
            ledger["rotation"]["new"]["stored_ms"] = stored_ms.into();
        } else {
            ledger["subscriptions"][0]["stored_ms"] = stored_ms.into();
        }
    };
    if line.starts_with("rotate") {
        files
            .system
            .api
            .fail("POST /webhooks/", Failure::Status(403));
        files.run("rotate --settle 0", 1);
    } else {
        let id = files.system.api.subscriptions()[0].id.clone();
        files
            .system
            .operator
            .run(&format!("pause {id} --yes"))
            .exits(0);
    }
    let stored_ms = now_ms() - stored_ago_ms;
    files.change_ledger(|it| entry(it, stored_ms));
    files.run(line, 0);
    assert_eq!(files.system.api.active().len(), 1);
    activated_ms(&files.system) - stored_ms
}

/// The reads of a receiver are 30 s apart, and Secrets Manager gets 5 s.
#[test]
fn a_new_secret_settles_for_35_seconds_before_its_subscription_is_activated() {
    for line in ["subscribe", "rotate"] {
        let settled = settled_ms(line, 33 * SECOND_MS);
        // Not before, and as soon as the command got that far.
        assert!(
            (35 * SECOND_MS..45 * SECOND_MS).contains(&settled),
            "{line}: {settled} ms"
        );
        // Nothing is left to wait for.
        let settled = settled_ms(line, 300 * SECOND_MS);
        assert!(settled < 310 * SECOND_MS, "{line}: {settled} ms");
        let settled = settled_ms(&format!("{line} --settle 2"), 0);
        assert!(
            (2 * SECOND_MS..12 * SECOND_MS).contains(&settled),
            "{line}: {settled} ms"
        );
    }
}

/// Another machine's clock may be ahead, so the time of its write lies in the future here. What has not passed does not
/// count.
#[test]
fn a_secret_of_the_future_settles_as_long_as_one_of_now() {
    for line in ["subscribe --settle 2", "rotate --settle 2"] {
        let ahead = 3_600 * SECOND_MS;
        let settled = settled_ms(line, -ahead) + ahead;
        assert!(
            (2 * SECOND_MS..12 * SECOND_MS).contains(&settled),
            "{line}: {settled} ms"
        );
    }
}

/// The same where the secret is stored by the same run.
#[test]
fn the_settling_begins_when_the_secret_is_stored() {
    let files = Files::subscribed();
    let begun = now_ms();
    files.run("rotate --settle 2", 0);
    let stored_ms = files.ledger()["rotation"]["new"]["stored_ms"]
        .as_i64()
        .unwrap();
    assert!(stored_ms >= begun);
    let settled = activated_ms(&files.system) - stored_ms;
    assert!(
        (2 * SECOND_MS..12 * SECOND_MS).contains(&settled),
        "{settled} ms"
    );
    // The first secret of a stack is live as soon as it is stored: nobody has read another.
    let first = System::start(Form::Schema);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    let line = format!("subscribe --settle 60 --secret-file {}", file.display());
    let begun = now_ms();
    first.operator.run(&line).exits(0);
    assert!(activated_ms(&first) - begun < 30 * SECOND_MS);
}

/// The time between a refused request and the next one.
fn waited(system: &System) -> Duration {
    let times = system.api.times();
    let [(_, first), (_, second), ..] = &times[..] else {
        panic!("{times:?}")
    };
    second.duration_since(*first).unwrap()
}

#[test]
fn a_refused_request_is_repeated_when_titanx_says() {
    let system = System::start(Form::Schema);
    system.api.fail("GET /webhooks", Failure::RetryAfter(2));
    system.operator.run("subscriptions").exits(0);
    let waited = waited(&system);
    let told = Duration::from_secs(2)..Duration::from_secs(12);
    assert!(told.contains(&waited), "{waited:?}");
    // A wait as long as the patience is still waited for; a longer one is not.
    let system = System::start(Form::Schema);
    system.api.fail("GET /webhooks", Failure::RetryAfter(1));
    system.operator.run("subscriptions --patience 1").exits(0);
    assert_eq!(system.api.requests().len(), 2);
    system.api.fail("GET /webhooks", Failure::RetryAfter(2));
    let run = system.operator.run("subscriptions --patience 1").exits(1);
    run.tells(
        "error: GET /webhooks: TitanX's rate limit is exhausted and resets in 2 s: run the command \
         again later, or raise --patience",
    );
    assert_eq!(system.api.requests().len(), 3);
}

/// The backoff doubles, from half a second, by half at least.
#[test]
fn a_failed_request_is_repeated_with_a_growing_pause() {
    for failure in [Failure::Status(502), Failure::LostResponse] {
        let system = System::start(Form::Schema);
        for _ in 0..3 {
            system.api.fail("GET /webhooks", failure.clone());
        }
        system.operator.run("subscriptions").exits(0);
        let times = system.api.times();
        let pauses: Vec<_> = times
            .windows(2)
            .map(|pair| pair[1].1.duration_since(pair[0].1).unwrap())
            .collect();
        assert_eq!(pauses.len(), 3);
        for (pause, longest_ms) in pauses.iter().zip([500, 1_000, 2_000]) {
            // The machine may be slow, the command not too fast.
            let expected =
                Duration::from_millis(longest_ms / 2)..Duration::from_millis(longest_ms + 5_000);
            assert!(expected.contains(pause), "{failure:?}: {pauses:?}");
        }
    }
}

const JOB: &str = "11111111-2222-4333-8444-555555555555";

/// Where the time of a job is told.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    /// TitanX tells when it was created.
    Created,
    /// TitanX tells when it was completed.
    Completed,
    /// The jobs table has the time of its completion.
    InTable,
}

/// The doubts about a missing contact of a job whose time is so long ago.
fn doubts(completed_ago_ms: i64, told: Told, option: &str) -> usize {
    let system = System::start(Form::Schema);
    let completed_ms = now_ms() - completed_ago_ms;
    let modified_at = DateTime::from_millis(completed_ms)
        .fmt(Format::DateTime)
        .unwrap();
    let contact = json!({"customerContactId": "contact-1", "leadStatus": "High"});
    let mut job = json!({"id": JOB});
    if told == Told::InTable {
        let record = [
            ("job_id", AttributeValue::S(JOB.to_owned())),
            ("completed_at", AttributeValue::N(completed_ms.to_string())),
        ];
        let record = record.map(|(name, value)| (name.to_owned(), value));
        system.emulators.jobs.put(&Item::from(record));
    } else {
        let created = told == Told::Created;
        let member = if created { "createdAt" } else { "modifiedAt" };
        job[member] = modified_at.into();
    }
    system.api.put_job(JOB, job, &[contact]);
    let run = system
        .operator
        .run(&format!("--json reconcile {JOB} {option}"))
        .exits(3);
    assert_eq!(run.json()[0]["missing"], 1);
    run.json()[0]["doubts"].as_array().unwrap().len()
}

/// Of a job that took longer than a day, only TitanX knows that its first records may have expired. A request
/// that failed is no answer; one that TitanX does not support is.
#[test]
fn nothing_is_queued_while_titanx_fails_to_tell_when_the_job_was_created() {
    for (status, exit, queued) in [
        (400, 1, 0),
        (403, 1, 0),
        (404, 0, 1),
        (405, 0, 1),
        (422, 1, 0),
    ] {
        let system = System::start(Form::Schema);
        let contact = json!({"customerContactId": "contact-1", "leadStatus": "High"});
        system.api.put_job(JOB, json!({"id": JOB}), &[contact]);
        let record = [
            ("job_id", AttributeValue::S(JOB.to_owned())),
            ("completed_at", AttributeValue::N(now_ms().to_string())),
        ];
        let record = record.map(|(name, value)| (name.to_owned(), value));
        system.emulators.jobs.put(&Item::from(record));
        // The contacts are asked for first.
        for _ in 0..5 {
            let asked = format!("GET /jobs/{JOB}");
            system.api.fail_after(1, &asked, Failure::Status(status));
        }
        let run = system.operator.run(&format!("reconcile {JOB} --yes"));
        let run = run.exits(exit);
        if exit == 1 {
            let said = format!("error: cannot read the job {JOB} from TitanX: GET /jobs/{JOB}: ");
            assert!(run.stderr.contains(&said), "{}", run.stderr);
        }
        assert_eq!(system.emulators.contacts.len(), queued, "{status}");
    }
}

/// A retention that is guessed would make a doubt of none, or none of a doubt.
#[test]
fn a_retention_that_is_no_number_of_days_is_an_error() {
    let system = System::start(Form::Schema);
    let contact = json!({"customerContactId": "contact-1", "leadStatus": "High"});
    system.api.put_job(JOB, json!({"id": JOB}), &[contact]);
    for days in ["3O", "7d", "7.0", "-7", "seven", "99999999999"] {
        for line in [format!("reconcile {JOB}"), "heal --due".to_owned()] {
            let line = format!("{line} --delivery-retention-days={days}");
            let run = system.operator.run(&line).exits(1);
            let said =
                format!("error: delivery retention: {days:?} is not a whole number of days: ");
            assert!(run.stderr.starts_with(&said), "{line}: {}", run.stderr);
        }
    }
}

/// A host that begins this answer and never ends it, and its URL.
fn endless_host(begun: &'static [u8]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _read = stream.read(&mut request).unwrap();
        stream.write_all(begun).unwrap();
        // It stays open for longer than the limit, but not so long that a command without one seems to hang.
        std::thread::sleep(Duration::from_mins(2));
    });
    url
}

/// It is no answer, so the request is sent again.
#[test]
fn an_answer_that_is_cut_off_is_asked_for_again() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let host = std::thread::spawn(move || {
        for body in ["[", "[]"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let operator = Operator::default().set("TITANX_API_URL", url);
    let operator = operator.set("TITANX_API_KEY", "synthetic-key");
    operator.run("subscriptions").exits(0);
    host.join().unwrap();
}

/// Half a minute, from the request to the end of the answer.
#[test]
fn a_host_that_never_ends_its_answer_is_given_up() {
    let waits = |begun: &'static [u8]| {
        let url = endless_host(begun);
        let operator = Operator::default().set("TITANX_WEBHOOK_SECRET", "synthetic");
        let line = format!("--json send --count 1 --url {url}");
        let report = operator.run(&line).exits(1).json();
        let answer = report[0]["answer"].as_str().unwrap();
        let said = format!("no response from {url}");
        assert!(answer.starts_with(&said), "{answer}");
        let waited_ms = report[0]["milliseconds"].as_u64().unwrap();
        assert!((30_000..60_000).contains(&waited_ms), "{waited_ms} ms");
    };
    let begun: [&[u8]; 3] = [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
    ];
    std::thread::scope(|scope| {
        for begun in begun {
            scope.spawn(move || waits(begun));
        }
    });
}

#[test]
fn a_job_older_than_the_retention_is_a_doubt_and_a_younger_one_is_none() {
    for told in [Told::Created, Told::Completed, Told::InTable] {
        // A day before it was completed, contacts of the job may have been delivered.
        let day_before = i64::from(told != Told::Created);
        for (option, days) in [("", 7), ("--delivery-retention-days 30", 30)] {
            let limit_ms = (days - day_before) * 24 * HOUR_MS;
            let younger = doubts(limit_ms - 60 * SECOND_MS, told, option);
            assert_eq!(younger, 0, "{days} {told:?}");
            let older = doubts(limit_ms + SECOND_MS, told, option);
            assert_eq!(older, 1, "{days} {told:?}");
        }
    }
}
