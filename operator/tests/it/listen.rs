use std::{
    io::{BufRead, BufReader},
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};
use serde_json::{Value, json};
use titanx_testbed::{
    confidential::Finder,
    emulators::{Emulators, Fault, FaultProxy, Harm, Queue, SIGNING_SECRET, When},
    front_door,
    gateway::Gateway,
    server::Server,
    titanx::{contact, envelope, signature, signed},
};

use crate::{System, operator::Run, titanx_api::Form};

const COPY: &str = "contacts-copy";

/// A request to the developer's endpoint.
#[derive(Clone, Debug)]
struct Posted {
    at: Instant,
    delivery_id: String,
    content_type: String,
    user_agent: String,
    signature: String,
    body: Vec<u8>,
}

/// The endpoint of a developer. It repeats what it was posted, as endpoints in development do.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    posted: Arc<Mutex<Vec<Posted>>>,
    _server: Server,
}

impl Endpoint {
    /// `status` decides by the delivery id and the number of this attempt. 0 is no answer at all, 1 none for
    /// minutes, and 2 a 200 after fifteen seconds.
    pub(crate) fn start(status: impl Fn(&str, usize) -> u16 + Send + Sync + 'static) -> Self {
        let posted = Arc::<Mutex<Vec<Posted>>>::default();
        let (seen, status) = (Arc::clone(&posted), Arc::new(status));
        let server = Server::start("endpoint", move |request: Request<Bytes>| {
            let (seen, status) = (Arc::clone(&seen), Arc::clone(&status));
            async move {
                let request = Posted::read(&request);
                let attempt = {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push(request.clone());
                    let same = |it: &&Posted| it.delivery_id == request.delivery_id;
                    seen.iter().filter(same).count()
                };
                let mut status = status(&request.delivery_id, attempt);
                if status == 1 {
                    tokio::time::sleep(Duration::from_mins(5)).await;
                }
                if status == 2 {
                    tokio::time::sleep(Duration::from_secs(15)).await;
                    status = 200;
                }
                let repeated = Full::from(request.body);
                let response = Response::builder().status(status).body(repeated);
                response.ok()
            }
        });
        let url = format!("{}/webhooks", server.origin);
        Self {
            url,
            posted,
            _server: server,
        }
    }

    fn posted(&self) -> Vec<Posted> {
        let posted = self.posted.lock();
        posted.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait_for(&self, attempts: usize) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.posted().len() < attempts {
            assert!(Instant::now() < until, "{} attempts", self.posted().len());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Posted {
    fn read(request: &Request<Bytes>) -> Self {
        let header = |name| {
            let value = request.headers().get(name);
            value.map_or_else(String::new, |it| it.to_str().unwrap().to_owned())
        };
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        Self {
            at: Instant::now(),
            delivery_id: body["id"].as_str().unwrap_or_default().to_owned(),
            content_type: header("content-type"),
            user_agent: header("user-agent"),
            signature: header("x-titanx-signature"),
            body: request.body().to_vec(),
        }
    }
}

/// A system whose contacts queue is copied, and the copy.
pub(crate) fn copied() -> (System, Queue) {
    let system = System::start(Form::Schema);
    let copy = system.emulators.contacts.copy_to(COPY);
    (system, copy)
}

async fn deliver(system: &System, bodies: &[String]) {
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    for body in bodies {
        let answer = front_door::deliver(&receiver, &signed(body)).await;
        assert_eq!(answer, front_door::Answer::accepted());
    }
}

fn contacts(count: usize) -> Vec<String> {
    (0..count)
        .map(|it| contact(&format!("delivery-{it}")))
        .collect()
}

pub(crate) fn listen(copy: &Queue, to: &str) -> String {
    format!("listen --copy {} --forward-to {to}", copy.url)
}

/// The lines of a run with `--json`.
#[track_caller]
fn lines(run: &Run) -> Vec<Value> {
    let lines = run.stdout.lines();
    lines
        .map(|it| serde_json::from_str(it).expect(it))
        .collect()
}

/// As Ctrl-C in a terminal does.
fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let interrupted = Command::new("kill").args(["-INT", &id]).status();
    assert!(interrupted.unwrap().success());
}

/// The run of a command that is interrupted now. It ends within a few seconds.
#[track_caller]
fn interrupted(child: Child) -> Run {
    let begun = Instant::now();
    interrupt(&child);
    let run = Run::from(child.wait_with_output().unwrap());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn forwards_a_copy_of_each_contact_as_titanx_posts_it() {
    let (system, copy) = copied();
    let bodies = [
        contacts(12),
        vec![envelope(
            "delivery-odd",
            "job.contact.scored",
            &json!({"firstName": "Zoë \u{1F600}"}),
        )],
    ]
    .concat();
    deliver(&system, &bodies).await;
    let endpoint = Endpoint::start(|_, _| 204);
    let line = format!("--json {} --count 13", listen(&copy, &endpoint.url));
    let run = system.operator.run(&line).exits(0);
    assert!(
        run.stderr
            .ends_with("13 received, 0 dropped, 0 still in the queue\n"),
        "{}",
        run.stderr
    );
    let mut posted = endpoint.posted();
    posted.sort_by_key(|it| bodies.iter().position(|body| body.as_bytes() == it.body));
    for (posted, body) in posted.iter().zip(&bodies) {
        assert_eq!(String::from_utf8_lossy(&posted.body), *body);
        assert_eq!(posted.signature, signature(SIGNING_SECRET, body.as_bytes()));
        assert_eq!(posted.content_type, "application/json");
        assert_eq!(posted.user_agent, "TitanX-Webhooks/1.0");
    }
    assert_eq!(posted.len(), 13);
    // The consumer's own queue has all of them, and nobody has received them.
    let contacts = &system.emulators.contacts;
    assert_eq!([contacts.len(), copy.len()], [13, 0]);
    let lines = lines(&run);
    assert_eq!(lines.len(), 13);
    for line in lines {
        assert_eq!(line["status"], 204, "{line}");
        assert_eq!(line["fate"], "received", "{line}");
        assert_eq!(line["attempt"], 1, "{line}");
        assert_eq!(line["event_type"], "job.contact.scored", "{line}");
    }
}

/// What the option is for: another receiver, with its own tables and queues, gets the same traffic.
#[tokio::test(flavor = "multi_thread")]
async fn another_receiver_accepts_what_is_forwarded() {
    let (system, copy) = copied();
    deliver(&system, &contacts(3)).await;
    let others = Emulators::start();
    let other = Gateway::start(Arc::new(front_door::receiver(&front_door::environment(
        &others,
    ))));
    let line = format!("{} --count 3", listen(&copy, &other.url));
    system.operator.run(&line).exits(0);
    let bodies = |emulators: &Emulators| {
        let messages = emulators.contacts.messages().into_iter();
        let mut bodies: Vec<_> = messages.map(|it| it.body).collect();
        bodies.sort();
        bodies
    };
    assert_eq!(bodies(&others), bodies(&system.emulators));
    assert_eq!(bodies(&others).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_repeated_with_a_growing_pause() {
    let (system, copy) = copied();
    deliver(&system, &contacts(1)).await;
    let endpoint = Endpoint::start(|_, attempt| [503, 0, 200][attempt - 1]);
    let line = format!("--json {} --count 1", listen(&copy, &endpoint.url));
    let run = system.operator.run(&line).exits(0);
    let lines = lines(&run);
    let read = |name: &str| lines.iter().map(|it| it[name].clone()).collect::<Vec<_>>();
    assert_eq!(read("status"), [json!(503), Value::Null, json!(200)]);
    assert_eq!(read("fate"), ["kept", "kept", "received"]);
    assert_eq!(read("attempt"), [1, 2, 3]);
    let error = lines[1]["error"].as_str().unwrap();
    assert!(
        error.starts_with("no response from http://127.0.0.1"),
        "{error}"
    );
    let posted = endpoint.posted();
    let pauses: Vec<_> = posted.windows(2).map(|it| it[1].at - it[0].at).collect();
    assert!(pauses[0] >= Duration::from_secs(1), "{pauses:?}");
    assert!(pauses[1] >= Duration::from_secs(2), "{pauses:?}");
    assert_eq!(copy.len(), 0);
}

/// So does TitanX: an endpoint that takes longer here would lose its events there.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_after_ten_seconds_comes_too_late() {
    let (system, copy) = copied();
    deliver(&system, &contacts(1)).await;
    let endpoint = Endpoint::start(|_, attempt| [2, 200][attempt - 1]);
    let line = format!("--json {} --count 1", listen(&copy, &endpoint.url));
    let run = system.operator.run(&line).exits(0);
    let lines = lines(&run);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["status"], Value::Null);
    assert_eq!(lines[0]["error"], "no answer in 10 s");
    assert_eq!([&lines[0]["fate"], &lines[1]["fate"]], ["kept", "received"]);
}

/// A final answer ends a contact of the copy, as it does for TitanX, and is reported.
#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_is_refused_for_good_is_dropped_from_the_copy() {
    let (system, copy) = copied();
    deliver(&system, &contacts(2)).await;
    let endpoint = Endpoint::start(|id, _| if id == "delivery-0" { 404 } else { 200 });
    let line = format!("{} --count 2", listen(&copy, &endpoint.url));
    let run = system.operator.run(&line).exits(3);
    assert!(run.stdout.contains("404  delivery-0"), "{}", run.stdout);
    assert!(
        run.stdout.contains("dropped, as TitanX would"),
        "{}",
        run.stdout
    );
    assert_eq!([copy.len(), system.emulators.contacts.len()], [0, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_from_the_contacts_queue_only_on_request_and_only_what_was_received() {
    let system = System::start(Form::Schema);
    deliver(&system, &contacts(3)).await;
    let contacts = &system.emulators.contacts;
    let endpoint = Endpoint::start(|id, _| match id {
        "delivery-0" => 200,
        "delivery-1" => 404,
        _ => 429,
    });
    let to = format!("--forward-to {}", endpoint.url);
    // Not by default, and not as a copy.
    system.operator.run(&format!("listen {to}")).exits(2);
    let both = format!("listen {to} --take --copy {}", contacts.url);
    system.operator.run(&both).exits(2);
    let run = system
        .operator
        .run(&listen(contacts, &endpoint.url))
        .exits(1);
    run.tells(&format!(
        "error: {} is the contacts queue, not a copy: use --take to take contacts from it",
        contacts.url
    ));
    let quarantine = &system.emulators.quarantine;
    let run = system
        .operator
        .run(&listen(quarantine, &endpoint.url))
        .exits(1);
    run.tells(&format!(
        "error: {} is the quarantine queue: see `operator quarantine`",
        quarantine.url
    ));
    assert_eq!(endpoint.posted().len(), 0);
    assert_eq!(contacts.len(), 3);

    let child = system
        .operator
        .start_with_pipes(&format!("listen {to} --take"));
    endpoint.wait_for(4);
    let run = interrupted(child).exits(3);
    let from = &contacts.url;
    let to = endpoint.url.trim_end_matches("/webhooks");
    let expected = [
        &format!("forwarding {from} to {to} until Ctrl-C"),
        "warning: your consumer does not get the contacts that this command takes",
        "1 received, 0 dropped, 2 still in the queue",
    ];
    assert_eq!(run.stderr.lines().collect::<Vec<_>>(), expected);
    let left = contacts.messages();
    let mut left: Vec<_> = left
        .iter()
        .filter_map(|it| it.attribute("deliveryId"))
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["delivery-1", "delivery-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_at_once_and_returns_what_was_not_answered() {
    let (system, copy) = copied();
    let endpoint = Endpoint::start(|_, _| 1);
    // While it waits for the first contact.
    let child = system
        .operator
        .start_with_pipes(&listen(&copy, &endpoint.url));
    let mut child = child;
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    errors.read_line(&mut first).unwrap();
    assert!(first.starts_with("forwarding http://127.0.0.1:"), "{first}");
    std::thread::sleep(Duration::from_millis(300));
    interrupted(child).exits(0);
    // While an endpoint does not answer.
    deliver(&system, &contacts(2)).await;
    let child = system
        .operator
        .start_with_pipes(&listen(&copy, &endpoint.url));
    endpoint.wait_for(2);
    interrupted(child).exits(0);
    // Both are visible again, without any wait.
    let endpoint = Endpoint::start(|_, _| 200);
    let line = format!("{} --count 2", listen(&copy, &endpoint.url));
    let begun = Instant::now();
    system.operator.run(&line).exits(0);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(copy.len(), 0);
}

/// The answer repeats the whole contact, and the signature would let a stranger post it.
#[tokio::test(flavor = "multi_thread")]
async fn tells_nothing_of_the_contacts() {
    let (system, copy) = copied();
    let personal = [
        "Quorvexia",
        "+1 202-555-0147",
        "quorvexia.zylthandrow@vexmail.example",
    ];
    let mut finder = Finder::default();
    for it in personal {
        finder.keep_secret(it);
    }
    finder.keep_secret(SIGNING_SECRET.trim_end_matches('0'));
    let payload = json!({"jobId": "job-1", "firstName": personal[0], "phone": personal[1], "email": personal[2]});
    let bodies = ["a", "b", "c", "d"].map(|it| envelope(it, "job.contact.scored", &payload));
    let signatures = bodies
        .each_ref()
        .map(|it| signature(SIGNING_SECRET, it.as_bytes()));
    for format in ["", "--json "] {
        for body in &bodies {
            copy.put(body, &[("deliveryId", "delivery")]);
        }
        let endpoint = Endpoint::start(|id, attempt| match (id, attempt) {
            ("a", _) => 404,
            ("b", 1) => 503,
            ("c", 1) => 0,
            _ => 200,
        });
        let line = format!("{format}{} --count 4", listen(&copy, &endpoint.url));
        let run = system.operator.run(&line).exits(3);
        let signatures: Vec<_> = signatures.iter().map(String::as_str).collect();
        let run = run.does_not_contain(&signatures);
        for text in [&run.stdout, &run.stderr] {
            assert_eq!(finder.find(text), None);
        }
    }
    // The finder would find it.
    assert!(finder.find(&bodies[0]).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unencrypted_endpoint_elsewhere_gets_nothing() {
    let (system, copy) = copied();
    deliver(&system, &contacts(1)).await;
    for url in [
        "http://example.com/",
        "http://127.0.0.1@example.com/",
        "http://localhost.example.com/",
    ] {
        let run = system.operator.run(&listen(&copy, url)).exits(1);
        run.tells(&format!(
            "error: {} is not an https:// URL: secrets are sent only over TLS, or to this machine",
            url.trim_end_matches('/')
        ));
    }
    assert_eq!(copy.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_when_nobody_reads_its_output() {
    let (system, copy) = copied();
    deliver(&system, &contacts(1)).await;
    let endpoint = Endpoint::start(|_, _| 200);
    let line = listen(&copy, &endpoint.url);
    assert_eq!(system.operator.run_with_closed_pipes(&line), Some(0));
    let run = system.operator.clone();
    copy.put(&contact("another"), &[]);
    let run = run.run_with_output_to("/dev/full", &line).exits(1);
    run.tells("error: cannot write the result: No space left on device (os error 28)");
}

/// A message whose deletion failed comes again: the user is told.
#[tokio::test(flavor = "multi_thread")]
async fn warns_if_a_forwarded_contact_cannot_be_deleted() {
    let (system, copy) = copied();
    deliver(&system, &contacts(1)).await;
    let proxy = FaultProxy::start(&system.emulators.sqs_url, 1);
    proxy.inject(
        When::Every("DeleteMessage"),
        Fault::Before(Harm::ServerError),
    );
    let operator = system
        .operator
        .clone()
        .set("AWS_ENDPOINT_URL_SQS", &proxy.url);
    let endpoint = Endpoint::start(|_, _| 200);
    let line = format!("{} --count 1", listen(&copy, &endpoint.url));
    let run = operator.run(&line).exits(0);
    run.tells(
        "warning: delivery delivery-0 comes again in 30 s: InternalServerError: injected by the proxy",
    );
    // Without the queue there is nothing to listen to.
    proxy.inject(
        When::Every("ReceiveMessage"),
        Fault::Before(Harm::ServerError),
    );
    let run = operator.run(&line).exits(1);
    run.tells(&format!(
        "error: cannot receive messages from the queue {}: InternalServerError: injected by the proxy",
        copy.url
    ));
}
