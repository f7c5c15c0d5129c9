use std::{io::Read, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{Fault, FaultProxy, Harm, Message, When},
    front_door,
    server::{Server, json as respond},
    titanx::{completed_job, contact, envelope, signed, signed_bytes},
};

use crate::{System, titanx_api::Form};

/// A system whose receiver has quarantined deliveries with these bodies.
async fn system_with_quarantined(bodies: &[String]) -> System {
    let system = System::start(Form::Schema);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    for body in bodies {
        let answer = front_door::deliver(&receiver, &signed(body)).await;
        assert_eq!(answer, front_door::Answer::quarantined());
    }
    system
}

fn unknown_event(id: &str) -> String {
    envelope(
        id,
        "job.unheard_of",
        &json!({"email": "private@example.com", "phones": ["5550100"]}),
    )
}

/// Puts a contact in the quarantine queue that the receiver understands, as after a fix.
fn quarantine_understandable_contact(system: &System, id: &str) {
    let body = titanx_testbed::titanx::contact(id);
    let attributes = [("reason", "unknown_event_type"), ("encoding", "text")];
    system.emulators.quarantine.put(&body, &attributes);
}

fn ids(system: &System) -> Vec<String> {
    let messages = system.emulators.quarantine.messages();
    messages.into_iter().map(|message| message.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_messages_without_personal_data() {
    let system =
        system_with_quarantined(&[unknown_event("delivery-1"), "not json".to_owned()]).await;
    let run = system.operator.run("--json quarantine list").exits(0);
    let listed = run.json();
    let reasons: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["reason"])
        .collect();
    assert_eq!(reasons, ["unknown_event_type", "not_json"]);
    assert_eq!(listed[0]["delivery_id"], "delivery-1");
    run.does_not_contain(&["private@example.com", "not json"]);
    let table = system.operator.run("quarantine list").exits(0);
    assert!(table.stdout.contains("delivery-1"), "{}", table.stdout);
    table.does_not_contain(&["private@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_the_types_of_values_and_the_values_only_with_reveal() {
    let body = unknown_event("delivery-1");
    let system = system_with_quarantined(std::slice::from_ref(&body)).await;
    let id = &ids(&system)[0];
    let run = system
        .operator
        .run(&format!("--json quarantine show {id}"))
        .exits(0);
    let form = &run.json()["form"];
    assert_eq!(form["eventType"], "job.unheard_of");
    assert_eq!(
        form["payload"],
        json!({"email": "string of 19", "phones": ["string of 7"]})
    );
    run.does_not_contain(&["private@example.com", "5550100"]);
    let text = system
        .operator
        .run(&format!("quarantine show {id}"))
        .exits(0);
    text.does_not_contain(&["private@example.com"]);
    let revealed = system
        .operator
        .run(&format!("--json quarantine show {id} --reveal"))
        .exits(0);
    assert_eq!(revealed.json()["body"], Value::from(body));
    system.operator.run("quarantine show another").exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn redrives_a_delivery_that_the_receiver_understands_now() {
    let system = system_with_quarantined(&[unknown_event("delivery-1")]).await;
    quarantine_understandable_contact(&system, "delivery-2");
    let [unknown, understandable] = &ids(&system)[..] else {
        panic!()
    };
    let line = format!("--json quarantine redrive {understandable}");
    let run = system.operator.run(&line).exits(0);
    assert_eq!(run.json()[0]["removed"], true);
    assert_eq!(ids(&system), [unknown.as_str()]);
    let [message] = &system.emulators.contacts.messages()[..] else {
        panic!()
    };
    assert_eq!(message.attribute("deliveryId"), Some("delivery-2"));
    assert_eq!(message.attribute("source"), Some("webhook"));
    // In a second run, the message is no longer in the queue.
    system.operator.run(&line).exits(1);
    assert_eq!(system.emulators.contacts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_of_present_and_absent_messages_tells_what_it_did() {
    let system = System::start(Form::Schema);
    quarantine_understandable_contact(&system, "delivery-1");
    let [present] = &ids(&system)[..] else {
        panic!()
    };
    let line = format!("--json quarantine redrive another {present} third");
    let run = system.operator.run(&line).exits(1);
    let told = &run.json()[0];
    assert_eq!(told["id"], present.as_str());
    assert_eq!(told["removed"], true);
    run.tells(
        "error: not in the quarantine queue: another, third; `operator quarantine list` shows the \
         message ids",
    );
    let run = system.operator.run("quarantine show another").exits(1);
    run.tells("error: the message another is not in the quarantine queue");
    assert_eq!(system.emulators.contacts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_a_delivery_that_is_quarantined_again() {
    for body in [
        unknown_event("delivery-1"),
        "\u{1}\u{2}".to_owned(),
        String::new(),
    ] {
        let system = system_with_quarantined(std::slice::from_ref(&body)).await;
        let before = ids(&system);
        let run = system
            .operator
            .run("--json quarantine redrive --all")
            .exits(3);
        assert_eq!(run.json()[0]["quarantined_again"], true);
        let after = ids(&system);
        assert_eq!(after.len(), 1);
        assert_ne!(after, before);
        let messages = system.emulators.quarantine.messages();
        let id = &after[0];
        let shown = system
            .operator
            .run(&format!("--json quarantine show {id} --reveal"));
        assert_eq!(shown.exits(0).json()["body"], body, "{messages:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_a_message_whose_redrive_fails() {
    let system = system_with_quarantined(&[unknown_event("delivery-1")]).await;
    let before = ids(&system);
    // The receiver refuses the first redrive, and cannot be reached by the second.
    let wrong_secret = system
        .operator
        .clone()
        .set("TITANX_WEBHOOK_SECRET", "another");
    let unreachable = system
        .operator
        .clone()
        .set("WEBHOOK_URL", "http://127.0.0.1:9/webhooks/titanx");
    for operator in [wrong_secret, unreachable] {
        let run = operator.run("quarantine redrive --all").exits(1);
        run.tells("error: 1 message is still in the quarantine queue: run this command again");
        assert_eq!(ids(&system), before);
    }
    // The message is visible again at once.
    let listed = system
        .operator
        .run("--json quarantine list")
        .exits(0)
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

/// A redrive may take longer than the visibility timeout, after which the message is visible by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_visible_already_is_not_called_hidden() {
    let system = system_with_quarantined(&[unknown_event("delivery-1")]).await;
    let system = Arc::new(system);
    let slow = Arc::clone(&system);
    let webhook = Server::start("slow", move |_| {
        slow.emulators.advance_queues(Duration::from_secs(61));
        async { Some(respond(500, &json!({}))) }
    });
    let operator = system.operator.clone().set("WEBHOOK_URL", &webhook.origin);
    let run = operator.run("quarantine redrive --all").exits(1);
    assert!(
        run.stderr.contains("still in the quarantine queue"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("hidden"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_could_not_be_deleted_is_a_duplicate_at_the_next_redrive() {
    let system = System::start(Form::Schema);
    quarantine_understandable_contact(&system, "delivery-1");
    let proxy = FaultProxy::start(&system.emulators.sqs_url, 1);
    proxy.inject(
        When::Every("DeleteMessage"),
        Fault::Before(Harm::ServerError),
    );
    let behind = system
        .operator
        .clone()
        .set("AWS_ENDPOINT_URL_SQS", &proxy.url);
    behind.run("quarantine redrive --all").exits(1);
    assert_eq!(system.emulators.quarantine.len(), 1);
    proxy.heal();
    behind.run("quarantine redrive --all").exits(0);
    assert_eq!(system.emulators.quarantine.len(), 0);
    assert_eq!(system.emulators.contacts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn receives_more_messages_than_fit_in_one_batch() {
    let system = System::start(Form::Schema);
    for number in 0..25 {
        quarantine_understandable_contact(&system, &format!("delivery-{number}"));
    }
    let listed = system
        .operator
        .run("--json quarantine list")
        .exits(0)
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 25);
    system.operator.run("quarantine redrive --all").exits(0);
    assert_eq!(system.emulators.contacts.len(), 25);
    assert_eq!(system.emulators.quarantine.len(), 0);
}

/// The envelope's members that are shown are scalars. Below it, members of the same names may hold anything.
#[test]
fn shows_no_value_below_the_members_of_the_envelope() {
    let private = json!({
        "eventType": "private@example.com", "apiVersion": "5550100", "timestamp": 5_550_100, "a": "5550100",
    });
    let below = [
        private.clone(),
        json!([private]),
        json!({ "deeper": private }),
        json!([["private@example.com"], "5550100"]),
    ];
    let names = ["payload", "eventType", "apiVersion", "timestamp"];
    let system = System::start(Form::Schema);
    let attributes = [("reason", "not_envelope"), ("encoding", "text")];
    for name in names {
        for value in &below {
            let body = json!({ name: value }).to_string();
            system.emulators.quarantine.put(&body, &attributes);
        }
    }
    for option in ["", "--json"] {
        for id in ids(&system) {
            let line = format!("quarantine show {option} {id}");
            let run = system.operator.run(&line).exits(0);
            run.does_not_contain(&["private@example.com", "5550100"]);
        }
    }
}

/// The bytes that a quarantined message holds.
fn held(message: &Message) -> Vec<u8> {
    let decode = || BASE64_STANDARD.decode(&message.body).unwrap();
    match message.attribute("encoding") {
        Some("text") => message.body.clone().into_bytes(),
        Some("base64") => decode(),
        Some("empty") => Vec::new(),
        Some("gzip-base64") => {
            let mut bytes = Vec::new();
            GzDecoder::new(&decode()[..])
                .read_to_end(&mut bytes)
                .unwrap();
            bytes
        }
        other => panic!("{other:?}"),
    }
}

/// A contact whose body is larger than an SQS message may be.
fn large_contact(id: &str) -> String {
    let payload = json!({"jobId": "job-a", "unmappedFields": {"notes": "x".repeat(1_200_000)}});
    envelope(id, "job.contact.scored", &payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn redrives_a_delivery_of_every_reason_byte_for_byte() {
    let old = json!({
        "payload": {"jobId": "job-a"}, "eventType": "job.contact.scored", "apiVersion": "v2",
        "id": "stale", "timestamp": 1_577_836_800_000_u64,
    });
    let version = json!({
        "payload": {}, "eventType": "job.contact.scored", "apiVersion": "v9", "id": "version",
        "timestamp": front_door::now_ms(),
    });
    let bodies: [(&str, &str, Vec<u8>); 11] = [
        ("not_json", "text", b"not json\r\n\t".to_vec()),
        ("not_json", "base64", vec![0, 159, 146, 150, 10]),
        ("not_json", "base64", "\u{FFFF}\u{1}".into()),
        ("not_json", "empty", Vec::new()),
        ("not_envelope", "text", b" {\"id\": \"\\u00e9\"}\n".to_vec()),
        ("unusable_id", "text", contact("a blank").into()),
        ("unknown_api_version", "text", version.to_string().into()),
        ("unknown_event_type", "text", unknown_event("new").into()),
        ("stale", "text", old.to_string().into()),
        ("id_reused", "text", completed_job("reused", "job-b").into()),
        ("too_large", "gzip-base64", large_contact("large").into()),
    ];
    let system = System::start(Form::Schema);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    let first = front_door::deliver(&receiver, &signed(&contact("reused"))).await;
    assert_eq!(first, front_door::Answer::accepted());
    for (reason, _, body) in &bodies {
        let answer = front_door::deliver(&receiver, &signed_bytes(body)).await;
        assert_eq!(answer, front_door::Answer::quarantined(), "{reason}");
    }
    for _ in 0..2 {
        let messages = system.emulators.quarantine.messages();
        assert_eq!(messages.len(), bodies.len());
        for (reason, encoding, body) in &bodies {
            let parked = messages.iter().find(|it| held(it) == *body);
            let parked = parked.unwrap_or_else(|| panic!("{reason} changed its bytes"));
            assert_eq!(parked.attribute("reason"), Some(*reason));
            assert_eq!(parked.attribute("encoding"), Some(*encoding));
        }
        // Each is parked again, as a new message with the same bytes.
        let run = system.operator.run("quarantine redrive --all").exits(3);
        assert_eq!(run.stdout.lines().count(), bodies.len(), "{}", run.stdout);
        for message in &messages {
            let said = match message.attribute("reason").unwrap() {
                "too_large" => "it is larger than the contacts queue takes",
                "stale" => "its timestamp is too old",
                "id_reused" => "another event has its delivery id",
                _ => "the receiver does not understand it",
            };
            let mut lines = run.stdout.lines();
            let line = lines.find(|line| line.starts_with(&message.id)).unwrap();
            assert!(
                line.contains(&format!("quarantined again: {said}")),
                "{line}"
            );
        }
        let again = system.emulators.quarantine.messages();
        assert!(
            again
                .iter()
                .all(|it| messages.iter().all(|old| old.id != it.id))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_fits_the_queue_now_leaves_quarantine() {
    let system = System::start(Form::Schema);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    let payload = json!({"jobId": "job-a", "unmappedFields": {"notes": "x".repeat(300_000)}});
    let body = envelope("delivery-1", "job.contact.scored", &payload);
    system.emulators.contacts.set_maximum_message_size(262_144);
    let answer = front_door::deliver(&receiver, &signed(&body)).await;
    assert_eq!(answer, front_door::Answer::quarantined());
    let listed = system
        .operator
        .run("--json quarantine list")
        .exits(0)
        .json();
    assert_eq!(listed[0]["reason"], "too_large");
    assert_eq!(listed[0]["bytes"], body.len());
    system
        .emulators
        .contacts
        .set_maximum_message_size(1_048_576);
    system.operator.run("quarantine redrive --all").exits(0);
    assert_eq!(system.emulators.quarantine.len(), 0);
    assert_eq!(system.emulators.contacts.messages()[0].body, body);
}

#[test]
fn a_message_that_cannot_be_decoded_is_reported_and_stays() {
    let system = System::start(Form::Schema);
    let body = contact("delivery-1");
    for (text, encoding) in [
        (body.as_str(), Some("zstd-base64")),
        (body.as_str(), None),
        ("not base64!", Some("base64")),
        ("AAAA", Some("gzip-base64")),
        // The first half of a gzip stream.
        ("H4sIAAAAAAAA/0tMBA==", Some("gzip-base64")),
    ] {
        let reason = ("reason", "not_json");
        let encoding = encoding.map(|it| ("encoding", it));
        let attributes: Vec<_> = std::iter::once(reason).chain(encoding).collect();
        system.emulators.quarantine.put(text, &attributes);
    }
    let before = ids(&system);
    let listed = system
        .operator
        .run("--json quarantine list")
        .exits(0)
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 5);
    assert_eq!(listed[0]["bytes"], Value::Null);
    let run = system
        .operator
        .run("--json quarantine redrive --all")
        .exits(1);
    for result in run.json().as_array().unwrap() {
        assert_eq!(result["removed"], false);
        assert_eq!(result["status"], Value::Null);
    }
    let errors = run.json();
    let errors = errors.as_array().unwrap().iter();
    let mut errors: Vec<_> = errors.map(|it| it["error"].as_str().unwrap()).collect();
    errors.sort_unstable();
    let unknown = "this version of the operator does not know the encoding \"zstd-base64\": use the \
                   version that belongs to the deployed receiver";
    let not_gzip = "the message is not gzip, although its encoding attribute says so";
    let expected = [
        "the message has no encoding attribute, so it is unknown which bytes TitanX signed: the \
         receiver did not send it",
        "the message is not Base64, although its encoding attribute says so",
        not_gzip,
        not_gzip,
        unknown,
    ];
    assert_eq!(errors, expected);
    run.tells("error: 5 messages are still in the quarantine queue: run this command again");
    let mut after = ids(&system);
    after.sort();
    let mut expected = before.clone();
    expected.sort();
    assert_eq!(after, expected);
    assert_eq!(system.emulators.contacts.len(), 0);
    let shown = format!("quarantine show {}", before[0]);
    let shown = system.operator.run(&shown).exits(0).stdout;
    assert!(shown.ends_with(&format!("\n\n{unknown}\n")), "{shown}");
}

/// Else they would stay in flight for a minute, in which they look as if they were gone.
#[test]
fn what_a_redrive_leaves_in_the_queue_is_visible_at_once() {
    let system = System::start(Form::Schema);
    for id in ["delivery-1", "delivery-2", "delivery-3"] {
        quarantine_understandable_contact(&system, id);
    }
    let listed = || {
        let run = system.operator.run("--json quarantine list").exits(0);
        let all = run.json();
        let ids = all.as_array().unwrap().iter();
        ids.map(|it| it["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let before = listed();
    assert_eq!(before.len(), 3);
    let line = format!("quarantine redrive {}", before[1]);
    system.operator.run(&line).exits(0);
    assert_eq!(listed(), [before[0].as_str(), &before[2]]);
}
