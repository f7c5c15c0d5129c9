//! What waits on a queue: `contacts`, `quarantine`, `listen`.

use serde_json::json;
use titanx_testbed::{
    emulators::{Fault, FaultProxy, Harm, When},
    server::{Server, json as respond},
    titanx::{contact, envelope},
};

use super::{Screens, now_ms};
use crate::{
    System,
    contacts::DeadLetters,
    listen::{self, Endpoint},
    titanx_api::Form,
};

#[tokio::test(flavor = "multi_thread")]
async fn contacts() {
    const RUNNING: &str =
        r#"{"Results": [{"Status": "RUNNING", "ApproximateNumberOfMessagesMoved": 1}]}"#;
    const FAILED: &str = r#"{"Results": [{"Status": "FAILED", "ApproximateNumberOfMessagesMoved": 2, "FailureReason": "a reason"}]}"#;
    const CANCELLED: &str =
        r#"{"Results": [{"Status": "CANCELLED", "ApproximateNumberOfMessagesMoved": 3}]}"#;
    let dead = DeadLetters::new(&["a", "b", "c", "d"], false).await;
    let mut screens = Screens::of(&dead.system);
    let system = System::start(Form::Schema);
    let without = &system.operator;
    screens = screens.with(&system.emulators.sqs_url, "<another sqs>");
    let proxy = FaultProxy::start(&dead.system.emulators.sqs_url, 1);
    let operator = dead.operator.clone();
    let behind = operator.clone().set("AWS_ENDPOINT_URL_SQS", &proxy.url);
    let (dry, line) = ("contacts redrive", "contacts redrive --yes");
    let answers = |tasks: &[&'static str]| {
        proxy.heal();
        for (nth, task) in (1..).zip(tasks) {
            let when = When::NthOf(nth, "ListMessageMoveTasks");
            proxy.inject(when, Fault::Before(Harm::Answer(task)));
        }
    };

    screens.show("Four dead letters", &operator, dry);
    answers(&[RUNNING]);
    screens.show("SQS moves them already", &behind, dry);
    answers(&[RUNNING, FAILED]);
    screens.show("And stops", &behind, line);
    answers(&[RUNNING, CANCELLED]);
    screens.show("And somebody cancels it", &behind, line);
    screens.show("It moves them", &operator, line);
    screens.show("None is left", &operator, dry);
    screens.show("None is left", &operator, line);
    screens.show("There is no dead-letter queue", without, dry);
    dead.queue.put(&contact("e"), &[]);
    screens.show("One dead letter", &operator, dry);
    screens.show("It moves it", &operator, line);
    screens.compare("contacts");
}

/// Quarantines a body, a millisecond and more after the one before, since they are listed by time.
fn put(system: &System, body: &str, attributes: &[(&str, &str)]) -> String {
    let queue = &system.emulators.quarantine;
    let before = now_ms();
    while now_ms() == before {
        std::hint::spin_loop();
    }
    queue.put(body, attributes);
    queue.messages().last().unwrap().id.clone()
}

#[test]
fn quarantine() {
    let system = System::start(Form::Schema);
    let mut screens = Screens::of(&system);
    let operator = &system.operator.clone().set("COLUMNS", "150");
    let (list, all) = ("quarantine list", "quarantine redrive --all");
    screens.show("It is empty", operator, list);
    screens.show("Nothing to redrive", operator, all);
    let payload =
        json!({"email": "a@example.com", "phones": ["5550100", null], "age": 7, "known": true});
    let unknown = |id: &str| envelope(id, "job.unheard_of", &payload);
    let put_known = |reason: &str, id: &str, body: &str| {
        let attributes = [("reason", reason), ("encoding", "text"), ("deliveryId", id)];
        put(&system, body, &attributes)
    };
    let odd = put_known(
        "unknown_event_type",
        "delivery-odd",
        &unknown("delivery-odd"),
    );
    put_known("stale", "delivery-old", &unknown("delivery-old"));
    put_known("id_reused", "delivery-again", &unknown("delivery-again"));
    put_known("too_large", "delivery-large", &unknown("delivery-large"));
    put_known(
        "unknown_event_type",
        "delivery-new",
        &contact("delivery-new"),
    );
    let text = put_known("not_json", "delivery-text", "no JSON");
    let foreign = put(&system, "e30=", &[]);
    let coded = put(
        &system,
        "e30=",
        &[("reason", "not_json"), ("encoding", "zstd")],
    );
    screens.show("Several", operator, list);
    let narrow = operator.clone().set("COLUMNS", "80");
    for (heading, id) in [
        ("One", &*odd),
        ("One that is not JSON", &text),
        ("One of another sender", &foreign),
        ("One of a later version", &coded),
        ("One that is not there", "another"),
    ] {
        screens.show(heading, &narrow, &format!("quarantine show {id}"));
    }
    let line = format!("quarantine show {odd} --reveal");
    screens.show("One, revealed", &narrow, &line);

    let wrong = operator.clone().set("TITANX_WEBHOOK_SECRET", "another");
    let line = format!("quarantine redrive {odd}");
    screens.show("The receiver refuses it", &wrong, &line);
    let fails = Server::start("fails", |_| async { None });
    screens = screens.with(&fails.origin, "<endpoint>");
    let unreachable = operator.clone().set("WEBHOOK_URL", &fails.origin);
    let line = format!("quarantine redrive {odd} {text}");
    screens.show("No answer", &unreachable, &line);
    let accepts = Server::start("accepts", |_| async { Some(respond(200, &json!({}))) });
    let proxy = FaultProxy::start(&system.emulators.sqs_url, 1);
    let refuses = Fault::Before(Harm::ServerError);
    proxy.inject(When::Every("DeleteMessage"), refuses);
    let behind = operator.clone().set("WEBHOOK_URL", &accepts.origin);
    let behind = behind.set("AWS_ENDPOINT_URL_SQS", &proxy.url);
    let line = format!("quarantine redrive {odd}");
    screens.show("It cannot be deleted", &behind, &line);
    screens.show("Several outcomes", operator, all);
    let again = system.emulators.quarantine.messages().pop().unwrap().id;
    let line = format!("quarantine redrive {again} another");
    screens.show("One of two is not there", operator, &line);
    screens.compare("quarantine");
}

/// A message with attributes that differ.
fn attributes(id: &str) -> [(&str, &str); 3] {
    [
        ("deliveryId", id),
        ("eventType", "job.contact.scored"),
        ("jobId", "job-7"),
    ]
}

/// Several contacts are posted at the same time, so their lines come in any order.
#[test]
fn listen() {
    let (system, copy) = listen::copied();
    let operator = &system.operator;
    let endpoint = Endpoint::start(|id, attempt| match (id, attempt) {
        ("refused" | "also-refused", _) | ("taken", 1) => 404,
        ("slow", 1) => 503,
        ("slow", 2) => 0,
        _ => 200,
    });
    let endpoint_origin = endpoint.url.trim_end_matches("/webhooks").to_owned();
    let mut screens = Screens::of(&system).with(&endpoint_origin, "<endpoint>");
    let line = listen::listen(&copy, &endpoint.url);
    for id in ["one", "two", "three", "refused", "also-refused"] {
        copy.put(&contact(id), &attributes(id));
    }
    let several = format!("{line} --count 5");
    screens.show_sorted("Received and dropped", operator, &several);
    copy.put("{}", &[]);
    let one = format!("{line} --count 1");
    screens.show("One of another sender", operator, &one);
    copy.put(&contact("slow"), &attributes("slow"));
    screens.show("Received at the third attempt", operator, &one);
    let contacts = &system.emulators.contacts;
    contacts.put(&contact("taken"), &attributes("taken"));
    let take = format!("listen --take --forward-to {} --count 1", endpoint.url);
    screens.show("Taken from the consumer", operator, &take);
    // Its copy is left.

    let proxy = FaultProxy::start(&system.emulators.sqs_url, 1);
    let refuses = Fault::Before(Harm::ServerError);
    proxy.inject(When::Every("DeleteMessage"), refuses);
    let behind = operator.clone().set("AWS_ENDPOINT_URL_SQS", &proxy.url);
    screens.show("It cannot be deleted", &behind, &one);
    let own = listen::listen(contacts, &endpoint.url);
    screens.show("The contacts queue is no copy", operator, &own);
    let quarantine = listen::listen(&system.emulators.quarantine, &endpoint.url);
    screens.show("Nor is the quarantine queue", operator, &quarantine);
    let elsewhere = listen::listen(&copy, "http://example.com/");
    screens.show("Without TLS", operator, &elsewhere);
    screens.compare("listen");
}
