use serde_json::{Value, json};

use titanx_testbed::{
    emulators::{Fault, FaultProxy, Harm, When},
    front_door,
    titanx::{envelope, signed},
};

use crate::{System, titanx_api::Form};

/// A system with a delivery in quarantine that this version of the receiver does not understand.
async fn with_parked(bodies: &[String]) -> System {
    let system = System::start(Form::Schema);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    for body in bodies {
        let answer = front_door::deliver(&receiver, &signed(body)).await;
        assert_eq!(answer, front_door::Answer::quarantined());
    }
    system
}

fn of_unknown_type(id: &str) -> String {
    envelope(
        id,
        "job.unheard_of",
        &json!({"email": "private@example.com", "phones": ["5550100"]}),
    )
}

/// Puts a contact in quarantine that the receiver would understand now.
fn park_understandable(system: &System, id: &str) {
    let body = titanx_testbed::titanx::contact(id);
    let attributes = [("reason", "unknown_event_type"), ("encoding", "text")];
    system.emulators.quarantine.put(&body, &attributes);
}

fn ids(system: &System) -> Vec<String> {
    let messages = system.emulators.quarantine.messages();
    messages.into_iter().map(|message| message.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_quarantine_is_listed_without_personal_data() {
    let system = with_parked(&[of_unknown_type("delivery-1"), "not json".to_owned()]).await;
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
    run.tells_nothing_of(&["private@example.com", "not json"]);
    let table = system.operator.run("quarantine list").exits(0);
    assert!(table.stdout.contains("delivery-1"), "{}", table.stdout);
    table.tells_nothing_of(&["private@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_shown_by_its_form_and_revealed_only_when_asked() {
    let body = of_unknown_type("delivery-1");
    let system = with_parked(std::slice::from_ref(&body)).await;
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
    run.tells_nothing_of(&["private@example.com", "5550100"]);
    let plain = system
        .operator
        .run(&format!("quarantine show {id}"))
        .exits(0);
    plain.tells_nothing_of(&["private@example.com"]);
    let revealed = system
        .operator
        .run(&format!("--json quarantine show {id} --reveal"))
        .exits(0);
    assert_eq!(revealed.json()["body"], Value::from(body));
    system.operator.run("quarantine show another").exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_understood_now_leaves_quarantine_for_the_contacts_queue() {
    let system = with_parked(&[of_unknown_type("delivery-1")]).await;
    park_understandable(&system, "delivery-2");
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
    // A second run finds it gone.
    system.operator.run(&line).exits(1);
    assert_eq!(system.emulators.contacts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_not_understood_is_parked_anew_and_told() {
    for body in [
        of_unknown_type("delivery-1"),
        "\u{1}\u{2}".to_owned(),
        String::new(),
    ] {
        let system = with_parked(std::slice::from_ref(&body)).await;
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
async fn what_is_not_received_is_kept() {
    let system = with_parked(&[of_unknown_type("delivery-1")]).await;
    let before = ids(&system);
    // Refused, and not to be reached.
    let stranger = system
        .operator
        .clone()
        .set("TITANX_WEBHOOK_SECRET", "another");
    let nowhere = system
        .operator
        .clone()
        .set("WEBHOOK_URL", "http://127.0.0.1:9/webhooks/titanx");
    for operator in [stranger, nowhere] {
        let run = operator.run("quarantine redrive --all").exits(1);
        assert!(
            run.stderr.contains("1 stay in quarantine"),
            "{}",
            run.stderr
        );
        assert_eq!(ids(&system), before);
    }
    // It can be seen again at once.
    let listed = system
        .operator
        .run("--json quarantine list")
        .exits(0)
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_received_but_not_removed_is_a_duplicate_the_next_time() {
    let system = System::start(Form::Schema);
    park_understandable(&system, "delivery-1");
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
async fn many_are_read_in_several_goes() {
    let system = System::start(Form::Schema);
    for number in 0..25 {
        park_understandable(&system, &format!("delivery-{number}"));
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
fn a_member_of_the_envelope_is_shown_only_if_it_can_be_what_it_is_called() {
    let system = System::start(Form::Schema);
    let body = json!({"eventType": ["private@example.com"], "timestamp": {"a": "5550100"}});
    let attributes = [("reason", "not_envelope"), ("encoding", "text")];
    system
        .emulators
        .quarantine
        .put(&body.to_string(), &attributes);
    let line = format!("quarantine show {}", ids(&system)[0]);
    let run = system.operator.run(&line).exits(0);
    run.tells_nothing_of(&["private@example.com", "5550100"]);
}
