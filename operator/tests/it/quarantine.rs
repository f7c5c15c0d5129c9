use serde_json::{Value, json};

use titanx_testbed::{
    emulators::{Fault, FaultProxy, Harm, When},
    front_door,
    titanx::{envelope, signed},
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
        assert!(
            run.stderr
                .contains("1 messages are still in the quarantine queue"),
            "{}",
            run.stderr
        );
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

#[test]
fn does_not_show_an_envelope_member_that_is_not_a_scalar() {
    let system = System::start(Form::Schema);
    let body = json!({"eventType": ["private@example.com"], "timestamp": {"a": "5550100"}});
    let attributes = [("reason", "not_envelope"), ("encoding", "text")];
    system
        .emulators
        .quarantine
        .put(&body.to_string(), &attributes);
    let line = format!("quarantine show {}", ids(&system)[0]);
    let run = system.operator.run(&line).exits(0);
    run.does_not_contain(&["private@example.com", "5550100"]);
}

/// Each of these is quarantined in another encoding, and again by the redrive.
#[tokio::test(flavor = "multi_thread")]
async fn redrives_every_encoding_byte_for_byte() {
    let notes = "Sample text. ".repeat(100_000);
    let large = envelope("delivery-1", "job.contact.scored", &json!({"notes": notes}));
    let bodies = [
        String::new(),
        "not json".to_owned(),
        "\u{FFFE}".to_owned(),
        large,
    ];
    let system = system_with_quarantined(&bodies).await;
    let messages = || {
        let messages = system.emulators.quarantine.messages();
        let mut messages: Vec<_> = messages
            .iter()
            .map(|it| {
                let attribute = |name| it.attribute(name).map(str::to_owned);
                (attribute("encoding"), attribute("reason"), it.body.clone())
            })
            .collect();
        messages.sort();
        messages
    };
    let (parked, ids_before) = (messages(), ids(&system));
    let encodings: Vec<_> = parked.iter().filter_map(|it| it.0.as_deref()).collect();
    assert_eq!(encodings, ["base64", "empty", "gzip-base64", "text"]);

    system.operator.run("quarantine redrive --all").exits(3);
    assert_eq!(messages(), parked);
    assert!(ids(&system).iter().all(|id| !ids_before.contains(id)));
}
