//! Receivers that break one promise each. The checks have to notice, or they are worth nothing.
//!
//! Nothing of the receiver is replaced: it is configured wrongly, or AWS answers what it never would.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{Emulators, SIGNING_SECRET},
    server::{Server, json as respond},
};

use crate::{exit_status, log::LogLines, run, screen::Screen, system::System};

/// The name of the planted mistake, for the process that runs with it.
const PLANTED: &str = "PLANTED_MISTAKE";
/// Set for the process that prints the receiver's log, too.
const VERBOSE: &str = "PLANTED_VERBOSE";
type Environment = BTreeMap<&'static str, String>;

/// The answer of SQS to a message that it has stored.
fn stored() -> Value {
    json!({"MessageId": "1"})
}

/// An SQS that answers that it has a message, and drops it.
fn forgetful_queues() -> Server {
    Server::start("forgetful-queues", |_| async {
        Some(respond(200, &stored()))
    })
}

/// A DynamoDB that carries out every claim, as if there had never been another.
fn forgetful_tables() -> Server {
    Server::start("forgetful-tables", |_| async {
        Some(respond(200, &json!({})))
    })
}

/// An SQS that quotes the first message in an error.
fn quoting_queues() -> Server {
    let quoted = Arc::new(AtomicBool::new(false));
    Server::start("quoting-queues", move |request: Request<Bytes>| {
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let first = body["MessageBody"].is_string() && !quoted.swap(true, Ordering::SeqCst);
        let error = json!({
            "__type": "InvalidMessageContents",
            "message": format!("not allowed: {}", body["MessageBody"]),
        });
        let (status, answer) = if first { (400, error) } else { (200, stored()) };
        async move { Some(respond(status, &answer)) }
    })
}

/// A Secrets Manager that fails when the secret is read again, so that a forgery is not refused at once.
fn failing_secret() -> Server {
    const ATTEMPTS: usize = 3;
    let reads = Arc::new(AtomicUsize::new(0));
    Server::start("failing-secret", move |request: Request<Bytes>| {
        let reads_secret = request.headers().contains_key("x-amz-target");
        let earlier = reads.fetch_add(usize::from(reads_secret), Ordering::SeqCst);
        let secret = json!({"SecretString": SIGNING_SECRET});
        let error = json!({"__type": "InternalServiceError"});
        let fails = (1..=ATTEMPTS).contains(&earlier);
        let (status, answer) = if fails { (500, error) } else { (200, secret) };
        async move { Some(respond(status, &answer)) }
    })
}

/// Changes the environment so that the receiver has this mistake. Also returns what has to run.
fn plant(mistake: &str, environment: &mut Environment) -> Option<Server> {
    let secrets = |environment: &mut Environment, secrets: &str| {
        environment.remove("TITANX_WEBHOOK_SECRET_ARN");
        environment.insert("TITANX_WEBHOOK_SECRET", secrets.to_owned());
    };
    let (service, server) = match mistake {
        "none" | "heals without a key of TitanX" | "heals in vain" => return None,
        "refuses what is signed" => {
            secrets(environment, "wh_sk_of_somebody_else");
            return None;
        }
        "accepts what is forged" => {
            secrets(environment, &format!("{SIGNING_SECRET}\nwh_sk_guessed"));
            return None;
        }
        "loses messages" => ("AWS_ENDPOINT_URL_SQS", forgetful_queues()),
        "forgets deliveries" => ("AWS_ENDPOINT_URL_DYNAMODB", forgetful_tables()),
        "refuses too late" => ("AWS_ENDPOINT_URL_SECRETS_MANAGER", failing_secret()),
        "logs contacts" => ("AWS_ENDPOINT_URL_SQS", quoting_queues()),
        other => panic!("there is no mistake called {other:?}"),
    };
    environment.insert(service, server.origin.clone());
    Some(server)
}

/// Changes what the healer is told of the services once the receiver has its own. Also returns what has to run.
fn plant_in_healer(mistake: &str, emulators: &mut Emulators) -> Option<Server> {
    match mistake {
        "heals without a key of TitanX" => {
            "of no secret".clone_into(&mut emulators.api_key_arn);
            None
        }
        "heals in vain" => {
            let server = forgetful_queues();
            emulators.sqs_url.clone_from(&server.origin);
            Some(server)
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other tests start it as a process"]
async fn the_local_run() {
    let mistake = std::env::var(PLANTED).expect("it is started with a mistake");
    let (screen, mut servers) = (Screen::new(), Vec::new());
    let verbose = std::env::var_os(VERBOSE).is_some();
    let log = LogLines::collect(verbose.then_some(screen));
    let system = System::start_with(|environment| servers.extend(plant(&mistake, environment)));
    let mut system = system.await.expect("the system starts");
    servers.extend(plant_in_healer(&mistake, &mut system.emulators));
    let all_held = run(&system, &log, screen).await;
    // As the program ends.
    std::process::exit(exit_status(all_held).into());
}

/// What a run came to.
struct Run {
    status: Option<i32>,
    /// The promises that it calls broken.
    broken: Vec<String>,
    /// All that it prints.
    text: String,
}

impl Run {
    fn with(mistake: &str) -> Self {
        Self::start(mistake, &[])
    }

    /// With the receiver's log.
    fn verbose(mistake: &str) -> Self {
        Self::start(mistake, &[VERBOSE])
    }

    fn start(mistake: &str, settings: &[&str]) -> Self {
        let this = std::env::current_exe().expect("the tests are a program");
        let run = Command::new(this)
            .args([
                "--exact",
                "planted::the_local_run",
                "--ignored",
                "--nocapture",
            ])
            .env(PLANTED, mistake)
            .envs(settings.iter().map(|setting| (setting, "")))
            .output()
            .expect("it can be started again");
        let text = String::from_utf8(run.stdout).expect("it prints UTF-8");
        let promises = text.lines().filter_map(|line| {
            let (mark, promise) = line.trim().split_once("  ")?;
            let promise = promise.trim().split("  ").next()?;
            ["held", "BROKEN"]
                .contains(&mark)
                .then(|| (mark, promise.to_owned()))
        });
        let promises: Vec<_> = promises.collect();
        let told = String::from_utf8_lossy(&run.stderr);
        assert_eq!(promises.len(), 5, "{mistake}: {text}\n{told}");
        let broken = promises.into_iter().filter(|(mark, _)| *mark == "BROKEN");
        Self {
            status: run.status.code(),
            broken: broken.map(|(_, promise)| promise).collect(),
            text,
        }
    }

    /// The lines below this title, as far as the next one.
    fn below(&self, title: &str) -> Vec<&str> {
        let lines = self.text.lines().skip_while(|line| *line != title);
        let lines = lines.skip(1);
        lines
            .take_while(|line| line.is_empty() || line.starts_with(' '))
            .filter(|line| !line.is_empty())
            .collect()
    }

    /// The value of each row below this title, by its name.
    fn rows(&self, title: &str) -> BTreeMap<&str, &str> {
        let rows = self.below(title).into_iter();
        rows.filter_map(|row| {
            let (name, rest) = row.trim().split_once("  ")?;
            Some((name, rest.split_whitespace().next()?))
        })
        .collect()
    }

    /// How many log lines it prints before the results.
    fn printed_log_lines(&self) -> usize {
        let lines = self.text.lines();
        let lines = lines.take_while(|line| *line != "Injected faults");
        let is_of_the_log = |line: &&str| serde_json::from_str::<Value>(line).is_ok();
        lines.filter(is_of_the_log).count()
    }

    #[track_caller]
    fn assert_breaks_nothing(&self) {
        let (status, broken) = (self.status, &*self.broken);
        assert_eq!((status, broken), (Some(0), &[][..]), "{}", self.text);
    }

    #[track_caller]
    fn assert_breaks(&self, promise: &str) {
        let Self {
            status,
            broken,
            text,
        } = self;
        assert_eq!(*status, Some(1), "{text}");
        assert!(
            broken.iter().any(|it| it == promise),
            "{promise:?} is not among {broken:?}: {text}"
        );
    }
}

#[track_caller]
fn assert_breaks(mistake: &str, promise: &str) {
    Run::with(mistake).assert_breaks(promise);
}

/// Nor do its tables contradict what was delivered.
#[test]
fn a_receiver_without_a_mistake_breaks_nothing() {
    let run = Run::with("none");
    run.assert_breaks_nothing();
    assert_eq!(run.printed_log_lines(), 0, "{}", run.text);
    assert_story(&run);
    assert_faults(&run);
    assert_totals(&run);
    assert_healed(&run);
}

/// What a run prints beside its attempts to deliver a contact or the job, and the faults: each number is a #.
const STORY: &str = "\
TitanX → gateway → receiver → DynamoDB and SQS, all in this process
TitanX delivers a job's contacts out of order, some of them twice concurrently,
while some calls to DynamoDB and SQS fail.
The job is completed. One of its contacts arrives late, at the URL with a slash at its end.
TitanX delivers some events again, the last one with another timestamp.
An attacker sends forged requests.
#.# s wrong secret attempt # # refused
#.# s not signed attempt # # refused
#.# s body changed attempt # # refused
TitanX delivers signed events that the receiver does not understand.
#.# s unknown event type attempt # # quarantined
#.# s truncated body attempt # # quarantined
#.# s reused id attempt # # quarantined
Injected faults
Summary
sent # requests, including retries
accepted # #: contacts, and the completed job
duplicate # #: an earlier delivery is completed
quarantined # #: signed, but not understood
refused # #: not signed by TitanX
unrecognised # #: no secret fits, and the secrets may not be read again yet
in flight # #: another invocation holds the delivery, TitanX retries
unavailable # #: an AWS service failed, TitanX retries
unexpected # any other answer
no answer # within TitanX's time limit
contacts # messages in the contacts queue
quarantine # messages in the quarantine queue
job Finalized status in the jobs table
The promises
held Nothing acknowledged is lost for each of # answers with #, the event is durable
held Nothing unacknowledged is lost by us # attempts failed, and their last retries succeeded
held Almost always once # second messages, # lost responses of SQS, # failed completion marks
held Nothing unsigned gets in # forged requests were refused, with # calls to DynamoDB and SQS
held No personal data leaves but in the message none in # log lines and # answers
What TitanX never delivers
TitanX lists one contact of the job that it never delivered. The healer compares.
at TitanX # contacts in its list of the job
received # of these, delivered
backfilled # of these, queued by the healer
missing # of these, neither
job complete state in the jobs table
healed the contact that never came is on the queue once, and nothing else was queued
";

fn assert_story(run: &Run) {
    let faults = run.below("Injected faults");
    let mut story = String::new();
    // What the test's harness prints comes before it.
    for line in run
        .text
        .lines()
        .skip_while(|it| !it.starts_with("TitanX →"))
    {
        let is_attempt = line.contains("  attempt ");
        let differs = is_attempt && (line.contains("contact ") || line.contains("job completed"));
        if differs || line.is_empty() || faults.contains(&line) {
            continue;
        }
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let numbers = words.split(|it: char| !it.is_ascii_digit());
        let mut rest = &*words;
        for number in numbers.filter(|it| !it.is_empty()) {
            let (before, after) = rest.split_once(number).unwrap();
            story.extend([before, "#"]);
            rest = after;
        }
        story.extend([rest, "\n"]);
    }
    let (story, total) = story.rsplit_once("total time").unwrap();
    assert_eq!((story, total), (STORY, ": #.# s\n"), "{}", run.text);
}

/// A contact whose completion mark failed is on the queue, and counts as backfilled: under the id of its delivery.
fn assert_healed(run: &Run) {
    let text = &run.text;
    let rows = run.rows("What TitanX never delivers");
    for (name, value) in [("at TitanX", "41"), ("missing", "0"), ("job", "complete")] {
        assert_eq!(rows.get(name), Some(&value), "{name}: {text}");
    }
    let number = |name: &str| -> usize { rows[name].parse().unwrap() };
    let (received, backfilled) = (number("received"), number("backfilled"));
    assert_eq!(received + backfilled, 41, "{text}");
    let (before, _) = text.split_once(" failed completion marks").unwrap();
    let unmarked: usize = before.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((1..=1 + unmarked).contains(&backfilled), "{text}");
}

/// A run in which nothing fails proves little.
fn assert_faults(run: &Run) {
    let faults = run.below("Injected faults").into_iter();
    let mut faults: Vec<_> = faults
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    faults.sort();
    let expected = [
        "DynamoDB PutItem answered 500 before it took effect",
        "DynamoDB PutItem reset after it took effect",
        "DynamoDB PutItem reset before it took effect",
        "DynamoDB PutItem throttled before it took effect",
        "DynamoDB UpdateItem reset after it took effect",
        "SQS SendMessage answered 500 before it took effect",
        "SQS SendMessage outage of 300 ms",
        "SQS SendMessage reset after it took effect",
        "SQS SendMessage reset before it took effect",
        "SQS SendMessage throttled before it took effect",
    ];
    assert_eq!(faults, expected, "{}", run.text);
}

/// How many attempts it takes differs from run to run, but not what becomes of the deliveries.
fn assert_totals(run: &Run) {
    let text = &run.text;
    let rows = run.rows("Summary");
    let number = |name: &str| -> usize {
        let value = rows.get(name).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let final_answers = ["accepted", "duplicate", "quarantined", "refused"];
    let retried = ["unrecognised", "in flight", "unavailable"];
    let ended = final_answers.into_iter().chain(retried).map(number);
    assert_eq!(number("sent"), ended.sum::<usize>(), "{text}");
    // 40 contacts and the job; 8 contacts twice at once, and 4 contacts, the job and the last contact again.
    assert_eq!(number("accepted") + number("duplicate"), 55, "{text}");
    assert!(number("accepted") >= 41, "{text}");
    assert_eq!((number("quarantined"), number("refused")), (3, 3), "{text}");
    assert!(number("contacts") >= 40, "{text}");
    assert!(number("quarantine") >= 3, "{text}");
    assert_eq!(rows.get("job"), Some(&"Finalized"), "{text}");
}

/// With the log on the screen, the same lines are checked as without.
#[test]
fn a_verbose_run_prints_each_log_line_and_checks_it_all_the_same() {
    let run = Run::verbose("none");
    run.assert_breaks_nothing();
    let text = &run.text;
    let printed = run.printed_log_lines();
    assert!(printed >= 58, "{text}");
    assert!(
        text.contains(&format!("none in {printed} log lines")),
        "{text}"
    );

    let run = Run::verbose("logs contacts");
    run.assert_breaks("No personal data leaves but in the message");
}

#[test]
fn a_message_that_is_acknowledged_and_not_kept_is_lost() {
    assert_breaks("loses messages", "Nothing acknowledged is lost");
}

#[test]
fn a_signed_event_that_is_refused_is_lost() {
    assert_breaks(
        "refuses what is signed",
        "Nothing unacknowledged is lost by us",
    );
}

#[test]
fn a_delivery_that_is_sent_again_without_a_cause_is_one_too_many() {
    assert_breaks("forgets deliveries", "Almost always once");
}

#[test]
fn a_forged_event_that_is_accepted_got_in() {
    let run = Run::with("accepts what is forged");
    run.assert_breaks("Nothing unsigned gets in");
    for violation in [
        "\"wrong secret\": not refused",
        "\"wrong secret\": stored",
        "a forged request caused a call to AWS",
    ] {
        assert!(run.text.contains(violation), "{violation}: {}", run.text);
    }
}

#[test]
fn a_forged_event_that_is_not_refused_got_in() {
    assert_breaks("refuses too late", "Nothing unsigned gets in");
}

#[test]
fn a_contact_in_a_log_line_has_left() {
    assert_breaks(
        "logs contacts",
        "No personal data leaves but in the message",
    );
}

/// Every promise was held, but what TitanX never delivered has not arrived.
#[test]
fn a_run_whose_healer_fails_or_heals_nothing_has_failed() {
    for (mistake, said) in [
        ("heals without a key of TitanX", "the healer failed: "),
        ("heals in vain", "NOT HEALED"),
    ] {
        let Run {
            status,
            broken,
            text,
        } = Run::with(mistake);
        assert_eq!((status, broken), (Some(1), Vec::new()), "{mistake}: {text}");
        assert!(text.contains(said), "{mistake}: {text}");
    }
}
