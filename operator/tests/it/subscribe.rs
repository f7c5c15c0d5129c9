use std::{fs, os::unix::fs::PermissionsExt};

use titanx_testbed::emulators::{Fault, FaultProxy, Harm, SIGNING_SECRET, When};

use crate::{
    System,
    operator::Operator,
    titanx_api::{Failure, Form, TitanxApi},
};

const URL: &str = "https://example.com/webhooks/titanx";
const SUBSCRIBE: &str = "subscribe --settle 0";

#[test]
fn the_secret_goes_into_a_file_of_its_owner_and_onto_no_screen() {
    for form in [Form::Schema, Form::Prose] {
        let api = TitanxApi::start(form);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let line = format!("{SUBSCRIBE} --url {URL} --secret-file {}", file.display());
        let run = Operator::of_titanx(&api).run(&line).exits(0);
        let [subscription] = &api.subscriptions()[..] else {
            panic!()
        };
        run.tells_nothing_of(&[&subscription.secret]);
        assert!(subscription.active);
        assert_eq!(subscription.url, URL);
        assert_eq!(subscription.events, ["job.contact.scored", "job.completed"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), subscription.secret);
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn the_secret_goes_into_secrets_manager_beside_those_that_are_live() {
    let system = System::start(Form::Schema);
    let run = system.operator.run("--json subscribe --settle 0").exits(0);
    let [subscription] = &system.api.subscriptions()[..] else {
        panic!()
    };
    let told = run.json();
    assert_eq!(told["id"], subscription.id.as_str());
    assert_eq!(told["live_secrets"], 2);
    assert!(subscription.active);
    assert_eq!(
        system.live_secrets(),
        [SIGNING_SECRET, &subscription.secret]
    );
    run.tells_nothing_of(&[&subscription.secret, SIGNING_SECRET]);
}

#[test]
fn the_secret_is_stored_before_anything_can_be_signed_with_it() {
    let system = System::start(Form::Schema);
    system.api.fail("POST /webhooks/", Failure::Answer(403));
    let run = system.operator.run(SUBSCRIBE).exits(1);
    let [subscription] = &system.api.subscriptions()[..] else {
        panic!()
    };
    assert!(!subscription.active);
    assert!(system.live_secrets().contains(&subscription.secret));
    assert!(run.stderr.contains(&subscription.id), "{}", run.stderr);
}

#[test]
fn a_run_after_a_failed_activation_activates_the_same_subscription() {
    let system = System::start(Form::Schema);
    system.api.fail("POST /webhooks/", Failure::Answer(403));
    system.operator.run(SUBSCRIBE).exits(1);
    system.operator.run(SUBSCRIBE).exits(0);
    system.operator.run(SUBSCRIBE).exits(0);
    let [subscription] = &system.api.subscriptions()[..] else {
        panic!()
    };
    assert!(subscription.active);
    assert_eq!(
        system.live_secrets(),
        [SIGNING_SECRET, &subscription.secret]
    );
}

#[test]
fn a_subscription_whose_secret_cannot_be_stored_is_deactivated_and_named() {
    let system = System::start(Form::Prose);
    let proxy = FaultProxy::start(&system.emulators.secrets_manager_url, 1);
    proxy.inject(
        When::Every("PutSecretValue"),
        Fault::Before(Harm::ServerError),
    );
    let behind = system
        .operator
        .clone()
        .set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &proxy.url);
    let run = behind.run(SUBSCRIBE).exits(1);
    let [subscription] = &system.api.subscriptions()[..] else {
        panic!()
    };
    assert!(!subscription.active);
    assert!(
        run.stderr
            .contains(&format!("operator delete {}", subscription.id))
    );
    assert_eq!(system.live_secrets(), [SIGNING_SECRET]);
    let calls = system.api.calls();
    assert_eq!(
        *calls.last().unwrap(),
        format!("POST /webhooks/{}/inactive", subscription.id)
    );
    run.tells_nothing_of(&[&subscription.secret]);

    proxy.heal();
    let again = behind.run(SUBSCRIBE).exits(0);
    assert!(
        again
            .stderr
            .contains(&format!("operator delete {}", subscription.id))
    );
    let [active] = &system.api.active()[..] else {
        panic!()
    };
    assert_eq!(system.live_secrets(), [SIGNING_SECRET, &active.secret]);
}

#[test]
fn a_stored_secret_that_could_not_be_noted_is_told() {
    let system = System::start(Form::Schema);
    let proxy = FaultProxy::start(&system.emulators.secrets_manager_url, 1);
    proxy.inject(
        When::NthOf(2, "PutSecretValue"),
        Fault::Before(Harm::ServerError),
    );
    let behind = system
        .operator
        .clone()
        .set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &proxy.url);
    let run = behind.run(SUBSCRIBE).exits(1);
    let [subscription] = &system.api.subscriptions()[..] else {
        panic!()
    };
    assert!(!subscription.active);
    assert!(
        run.stderr
            .contains(&format!("operator delete {}", subscription.id))
    );
}

#[test]
fn an_answer_lost_while_storing_loses_nothing() {
    let system = System::start(Form::Schema);
    let proxy = FaultProxy::start(&system.emulators.secrets_manager_url, 1);
    proxy.inject(When::NthOf(1, "PutSecretValue"), Fault::After(Harm::Reset));
    let behind = system.operator.clone();
    let behind = behind
        .set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &proxy.url)
        .set("AWS_MAX_ATTEMPTS", "3");
    behind.run(SUBSCRIBE).exits(0);
    let [subscription] = &system.api.active()[..] else {
        panic!()
    };
    assert_eq!(
        system.live_secrets(),
        [SIGNING_SECRET, &subscription.secret]
    );
}

#[test]
fn a_creation_of_unknown_outcome_is_not_repeated() {
    for failure in [Failure::Answer(500), Failure::Answer(503), Failure::Lost] {
        let system = System::start(Form::Schema);
        system.api.fail("POST /webhooks", failure);
        let run = system.operator.run(SUBSCRIBE).exits(1);
        assert!(
            run.stderr
                .contains("it is not known whether TitanX made the subscription")
        );
        let creations = system
            .api
            .calls()
            .into_iter()
            .filter(|call| call == "POST /webhooks");
        assert_eq!(creations.count(), 1);
        assert_eq!(system.live_secrets(), [SIGNING_SECRET]);
        assert!(system.api.active().is_empty());
    }
}

#[test]
fn a_creation_refused_for_its_rate_is_repeated() {
    let system = System::start(Form::Schema);
    system.api.fail("POST /webhooks", Failure::RetryAfter(1));
    system.operator.run(SUBSCRIBE).exits(0);
    assert_eq!(system.api.active().len(), 1);
}

#[test]
fn a_refusal_that_does_not_name_the_event_types_is_final() {
    let system = System::start(Form::Schema);
    system.api.fail("POST /webhooks", Failure::Answer(422));
    let run = system.operator.run(SUBSCRIBE).exits(1);
    assert!(run.stderr.contains("422"), "{}", run.stderr);
    assert!(system.api.subscriptions().is_empty());
}

#[test]
fn fewer_events_than_asked_for_are_told() {
    let system = System::start(Form::Schema);
    system.api.grants(&["job.completed"]);
    let run = system.operator.run(SUBSCRIBE).exits(3);
    assert!(
        run.stderr
            .contains("TitanX did not grant job.contact.scored"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_single_event_type_can_be_asked_for() {
    let system = System::start(Form::Prose);
    system
        .operator
        .run("subscribe --settle 0 --event job.completed")
        .exits(0);
    assert_eq!(system.api.active()[0].events, ["job.completed"]);
}

#[test]
fn a_second_active_subscription_for_a_url_is_refused_unless_meant() {
    let api = TitanxApi::start(Form::Schema);
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::of_titanx(&api);
    let line = |file: &str| {
        let file = folder.path().join(file);
        format!("{SUBSCRIBE} --url {URL} --secret-file {}", file.display())
    };
    operator.run(&line("one")).exits(0);
    let run = operator.run(&line("two")).exits(1);
    assert!(
        run.stderr.contains(&api.subscriptions()[0].id),
        "{}",
        run.stderr
    );
    assert_eq!(api.subscriptions().len(), 1);
    operator.run(&format!("{} --another", line("two"))).exits(0);
    assert_eq!(api.active().len(), 2);
}

#[test]
fn a_subscription_that_was_deleted_is_made_anew() {
    let system = System::start(Form::Schema);
    system.operator.run(SUBSCRIBE).exits(0);
    let deleted = system.api.subscriptions()[0].id.clone();
    system
        .operator
        .run(&format!("delete {deleted} --yes"))
        .exits(0);
    system.operator.run(SUBSCRIBE).exits(0);
    let [subscription] = &system.api.active()[..] else {
        panic!()
    };
    assert_ne!(subscription.id, deleted);
    assert!(system.live_secrets().contains(&subscription.secret));
}

#[test]
fn subscribing_works_where_titanx_lists_nothing() {
    let system = System::start(Form::Prose);
    system.api.manages_nothing();
    let run = system.operator.run(SUBSCRIBE).exits(0);
    assert!(
        run.stderr.contains("TitanX does not list subscriptions"),
        "{}",
        run.stderr
    );
    assert_eq!(system.api.active().len(), 1);
}

#[test]
fn neither_key_nor_secret_goes_out_in_the_clear() {
    let api = TitanxApi::start(Form::Schema);
    let operator = Operator::of_titanx(&api);
    let run = operator
        .run("subscribe --url http://example.com/hook --secret-file none")
        .exits(1);
    assert!(
        run.stderr
            .contains("http://example.com is not an https:// address")
    );
    let elsewhere = operator.set("TITANX_API_URL", "http://example.com/api");
    elsewhere
        .run("subscriptions")
        .exits(1)
        .tells_nothing_of(&["synthetic-api-key"]);
    assert!(api.calls().is_empty());
}

#[test]
fn fewer_events_than_asked_for_are_told_again_by_the_run_that_goes_on() {
    let system = System::start(Form::Schema);
    system.api.grants(&["job.completed"]);
    system.api.fail("POST /webhooks/", Failure::Answer(403));
    system.operator.run(SUBSCRIBE).exits(1);
    let run = system.operator.run(&format!("--json {SUBSCRIBE}")).exits(3);
    assert_eq!(run.json()["events"], serde_json::json!(["job.completed"]));
    assert_eq!(
        run.json()["not_granted"],
        serde_json::json!(["job.contact.scored"])
    );
    assert_eq!(system.api.active().len(), 1);
}

#[test]
fn a_subscription_whose_secret_titanx_does_not_tell_is_deactivated_and_named() {
    for form in [Form::Schema, Form::Prose] {
        let system = System::start(form);
        system.api.tells_no_secret();
        let run = system.operator.run(SUBSCRIBE).exits(1);
        let [subscription] = &system.api.subscriptions()[..] else {
            panic!()
        };
        assert!(!subscription.active);
        let advice = format!("operator delete {}", subscription.id);
        assert!(run.stderr.contains(&advice), "{}", run.stderr);
        assert_eq!(system.live_secrets(), [SIGNING_SECRET]);
    }
}

#[test]
fn a_deleted_subscription_is_told_where_titanx_lists_nothing() {
    let system = System::start(Form::Schema);
    system.operator.run(SUBSCRIBE).exits(0);
    let id = system.api.subscriptions()[0].id.clone();
    system.operator.run(&format!("delete {id} --yes")).exits(0);
    system.api.manages_nothing();
    let run = system.operator.run(SUBSCRIBE).exits(1);
    assert!(run.stderr.contains("--another"), "{}", run.stderr);
    system
        .operator
        .run(&format!("{SUBSCRIBE} --another"))
        .exits(0);
    assert_eq!(system.api.active().len(), 1);
}
