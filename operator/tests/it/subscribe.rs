use std::{fs, os::unix::fs::PermissionsExt};

use titanx_testbed::emulators::{Fault, FaultProxy, Harm, SIGNING_SECRET, When};

use crate::{
    System,
    operator::Operator,
    titanx_api::{Failure, Form, TitanxApi},
};

const URL: &str = "https://example.com/webhooks/titanx";
const SUBSCRIBE: &str = "subscribe --settle 0";

/// The operator behind a proxy that fails these calls to Secrets Manager.
fn behind_failing_writes(system: &System, when: When) -> (Operator, FaultProxy) {
    let proxy = FaultProxy::start(&system.emulators.secrets_manager_url, 1);
    proxy.inject(when, Fault::Before(Harm::ServerError));
    let operator = system.operator.clone();
    let behind = operator.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &proxy.url);
    (behind, proxy)
}

#[test]
fn stores_the_secret_in_a_file_with_mode_600_and_does_not_print_it() {
    for form in [Form::Schema, Form::Prose] {
        let api = TitanxApi::start(form);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let line = format!(
            "{SUBSCRIBE} --skip-probe --url {URL} --secret-file {}",
            file.display()
        );
        let run = Operator::with_titanx(&api).run(&line).exits(0);
        let [subscription] = &api.subscriptions()[..] else {
            panic!()
        };
        run.does_not_contain(&[&subscription.secret]);
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
fn stores_the_secret_in_secrets_manager_beside_the_live_ones() {
    let system = System::start(Form::Schema);
    let run = system.operator.run("--json subscribe --settle 0").exits(0);
    let subscription = system.api.only_subscription();
    let result = run.json();
    assert_eq!(result["id"], subscription.id.as_str());
    assert_eq!(result["live_secrets"], 2);
    assert!(subscription.active);
    assert_eq!(
        system.live_secrets(),
        [SIGNING_SECRET, &subscription.secret]
    );
    run.does_not_contain(&[&subscription.secret, SIGNING_SECRET]);
}

#[test]
fn stores_the_secret_before_it_activates_the_subscription() {
    let system = System::start(Form::Schema);
    system.api.fail("POST /webhooks/", Failure::Status(403));
    let run = system.operator.run(SUBSCRIBE).exits(1);
    let subscription = system.api.only_subscription();
    assert!(!subscription.active);
    assert!(system.live_secrets().contains(&subscription.secret));
    assert!(run.stderr.contains(&subscription.id), "{}", run.stderr);
}

#[test]
fn activates_the_same_subscription_after_a_failed_activation() {
    let system = System::start(Form::Schema);
    system.api.fail("POST /webhooks/", Failure::Status(403));
    system.operator.run(SUBSCRIBE).exits(1);
    let id = system.api.only_subscription().id;
    let earlier = format!("An earlier run created the subscription {id} for this URL.");
    system.operator.run(SUBSCRIBE).exits(0).tells(&earlier);
    system.operator.run(SUBSCRIBE).exits(0).tells(&earlier);
    let subscription = system.api.only_subscription();
    assert!(subscription.active);
    assert_eq!(
        system.live_secrets(),
        [SIGNING_SECRET, &subscription.secret]
    );
}

#[test]
fn deactivates_and_reports_a_subscription_whose_secret_cannot_be_stored() {
    let system = System::start(Form::Prose);
    let (behind, proxy) = behind_failing_writes(&system, When::Every("PutSecretValue"));
    let run = behind.run(SUBSCRIBE).exits(1);
    let subscription = system.api.only_subscription();
    assert!(!subscription.active);
    assert!(
        run.stderr
            .contains(&format!("operator delete {}", subscription.id))
    );
    assert_eq!(system.live_secrets(), [SIGNING_SECRET]);
    let calls = system.api.requests();
    assert_eq!(
        *calls.last().unwrap(),
        format!("POST /webhooks/{}/inactive", subscription.id)
    );
    run.does_not_contain(&[&subscription.secret]);

    proxy.heal();
    let id = &subscription.id;
    behind.run(SUBSCRIBE).exits(0).tells(&format!(
        "warning: the subscription {id} for this URL is inactive, possibly because an earlier run \
         failed: `operator delete {id} --yes` deletes it"
    ));
    let [active] = &system.api.active()[..] else {
        panic!()
    };
    assert_eq!(system.live_secrets(), [SIGNING_SECRET, &active.secret]);
}

/// What is said of a subscription that is useless is what TitanX answered.
#[test]
fn says_whether_a_useless_subscription_could_be_deactivated() {
    for (fails, said) in [
        (false, "is inactive"),
        (
            true,
            "could not be deactivated (POST /webhooks/ID/inactive: TitanX answered 403: No.: it does \
             not accept the API key for this; check TITANX_API_KEY or the file of --api-key-file)",
        ),
    ] {
        let system = System::start(Form::Prose);
        let (behind, _proxy) = behind_failing_writes(&system, When::Every("PutSecretValue"));
        if fails {
            system.api.fail("POST /webhooks/", Failure::Status(403));
        }
        let run = behind.run(SUBSCRIBE).exits(1);
        let id = system.api.only_subscription().id;
        let arn = &system.emulators.secret.arn;
        run.tells(&format!(
            "error: the secret of the new subscription {id} could not be stored and is lost; the \
             subscription {}: delete it with `operator delete {id} --yes` and run this command again: \
             cannot write {arn}: InternalServerError: injected by the proxy",
            said.replace("ID", &id)
        ));
    }
}

#[test]
fn reports_a_subscription_that_could_not_be_written_to_the_ledger() {
    let system = System::start(Form::Schema);
    let (behind, _proxy) = behind_failing_writes(&system, When::NthOf(2, "PutSecretValue"));
    let run = behind.run(SUBSCRIBE).exits(1);
    let subscription = system.api.only_subscription();
    assert!(!subscription.active);
    assert!(
        run.stderr
            .contains(&format!("operator delete {}", subscription.id))
    );
}

#[test]
fn a_lost_response_from_secrets_manager_does_not_lose_the_secret() {
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
fn does_not_retry_a_creation_with_unknown_outcome() {
    for failure in [
        Failure::Status(500),
        Failure::Status(503),
        Failure::LostResponse,
    ] {
        let system = System::start(Form::Schema);
        system.api.fail("POST /webhooks", failure);
        let run = system.operator.run(SUBSCRIBE).exits(1);
        assert!(
            run.stderr
                .contains("it is unknown whether TitanX created the subscription")
        );
        let creations = system
            .api
            .requests()
            .into_iter()
            .filter(|call| call == "POST /webhooks");
        assert_eq!(creations.count(), 1);
        assert_eq!(system.live_secrets(), [SIGNING_SECRET]);
        assert!(system.api.active().is_empty());
    }
}

#[test]
fn retries_a_creation_after_a_429() {
    let system = System::start(Form::Schema);
    system.api.fail("POST /webhooks", Failure::RetryAfter(1));
    system.operator.run(SUBSCRIBE).exits(0);
    assert_eq!(system.api.active().len(), 1);
}

#[test]
fn does_not_retry_a_refusal_that_does_not_mention_the_event_types() {
    let system = System::start(Form::Schema);
    system.api.fail("POST /webhooks", Failure::Status(422));
    let run = system.operator.run(SUBSCRIBE).exits(1);
    assert!(run.stderr.contains("422"), "{}", run.stderr);
    assert!(system.api.subscriptions().is_empty());
}

#[test]
fn reports_event_types_that_titanx_did_not_grant() {
    let system = System::start(Form::Schema);
    system.api.set_granted(&["job.completed"]);
    let run = system.operator.run(SUBSCRIBE).exits(3);
    run.tells(
        "warning: TitanX did not grant the event type job.contact.scored: no contacts arrive",
    );
}

#[test]
fn subscribes_to_a_single_event_type() {
    let system = System::start(Form::Prose);
    system
        .operator
        .run("subscribe --settle 0 --event job.completed")
        .exits(0);
    assert_eq!(system.api.active()[0].events, ["job.completed"]);
}

fn already_posts(id: &str) -> String {
    format!(
        "error: the active subscription {id} already posts to this URL: replace its secret with \
         `operator rotate`, or re-run with --another"
    )
}

#[test]
fn a_second_active_subscription_for_a_url_needs_another() {
    let api = TitanxApi::start(Form::Schema);
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::with_titanx(&api);
    let line = |file: &str| {
        let file = folder.path().join(file);
        format!(
            "{SUBSCRIBE} --skip-probe --url {URL} --secret-file {}",
            file.display()
        )
    };
    operator.run(&line("one")).exits(0);
    let run = operator.run(&line("two")).exits(1);
    run.tells(&already_posts(&api.subscriptions()[0].id));
    assert_eq!(api.subscriptions().len(), 1);
    operator.run(&format!("{} --another", line("two"))).exits(0);
    assert_eq!(api.active().len(), 2);

    // An inactive one before it hides it from nobody.
    let [first, second] = [0, 1].map(|index| api.subscriptions()[index].id.clone());
    operator.run(&format!("pause {first} --yes")).exits(0);
    let run = operator.run(&line("three")).exits(1);
    run.tells(&already_posts(&second));
    assert_eq!(api.subscriptions().len(), 2);
}

#[test]
fn creates_a_new_subscription_after_the_first_was_deleted() {
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
fn subscribes_although_titanx_lists_no_subscriptions() {
    let system = System::start(Form::Prose);
    system.api.disable_management();
    let run = system.operator.run(SUBSCRIBE).exits(0);
    assert!(
        run.stderr.contains("TitanX does not list subscriptions"),
        "{}",
        run.stderr
    );
    assert_eq!(system.api.active().len(), 1);
}

#[test]
fn sends_neither_api_key_nor_secret_unencrypted() {
    let api = TitanxApi::start(Form::Schema);
    let operator = Operator::with_titanx(&api);
    let run = operator
        .run("subscribe --url http://example.com/hook --secret-file none")
        .exits(1);
    run.tells(
        "error: http://example.com is not an https:// URL: secrets are sent only over TLS, or to this \
         machine",
    );
    let insecure = operator.set("TITANX_API_URL", "http://example.com/api");
    insecure
        .run("subscriptions")
        .exits(1)
        .does_not_contain(&["synthetic-api-key"]);
    assert!(api.requests().is_empty());
}

#[test]
fn reports_event_types_that_titanx_did_not_grant_when_it_resumes() {
    let system = System::start(Form::Schema);
    system.api.set_granted(&["job.completed"]);
    system.api.fail("POST /webhooks/", Failure::Status(403));
    system.operator.run(SUBSCRIBE).exits(1);
    let run = system.operator.run(&format!("--json {SUBSCRIBE}")).exits(3);
    assert_eq!(run.json()["events"], serde_json::json!(["job.completed"]));
    assert_eq!(
        run.json()["not_granted"],
        serde_json::json!(["job.contact.scored"])
    );
    assert_eq!(system.api.active().len(), 1);
}

/// A list may leave the event types out. That is no answer to what was granted.
#[test]
fn reports_nothing_as_not_granted_if_the_list_names_no_event_types() {
    let system = System::start(Form::Schema);
    system.api.fail("POST /webhooks/", Failure::Status(403));
    system.operator.run(SUBSCRIBE).exits(1);
    let mut listed = system.api.subscriptions();
    listed[0].events.clear();
    system.api.put_subscriptions(&listed);
    let run = system.operator.run(&format!("--json {SUBSCRIBE}")).exits(0);
    assert_eq!(run.json()["not_granted"], serde_json::json!([]));
    assert_eq!(system.api.active().len(), 1);
    // It is active, which the list does tell, so nothing is left to do.
    let before = system.api.requests().len();
    system.operator.run(SUBSCRIBE).exits(0);
    assert_eq!(system.api.requests()[before..], ["GET /webhooks"]);
}

#[test]
fn deactivates_and_reports_a_subscription_created_without_a_secret() {
    for form in [Form::Schema, Form::Prose] {
        let system = System::start(form);
        system.api.omit_secret();
        let run = system.operator.run(SUBSCRIBE).exits(1);
        let [subscription] = &system.api.subscriptions()[..] else {
            panic!()
        };
        assert!(!subscription.active);
        let id = &subscription.id;
        run.tells(&format!(
            "error: TitanX created the subscription {id} but did not return its secret; the \
             subscription is inactive: delete it with `operator delete {id} --yes` and run this \
             command again"
        ));
        assert_eq!(system.live_secrets(), [SIGNING_SECRET]);
    }
}

#[test]
fn reports_a_deleted_subscription_if_titanx_lists_none() {
    let system = System::start(Form::Schema);
    system.operator.run(SUBSCRIBE).exits(0);
    let id = system.api.subscriptions()[0].id.clone();
    system.operator.run(&format!("delete {id} --yes")).exits(0);
    system.api.disable_management();
    let run = system.operator.run(SUBSCRIBE).exits(1);
    run.tells(&format!(
        "error: the subscription {id} was deleted: re-run with --another to create a new subscription: \
         POST /webhooks/{id}/active: not supported by TitanX, or no such id (TitanX answered 404)"
    ));
    system
        .operator
        .run(&format!("{SUBSCRIBE} --another"))
        .exits(0);
    assert_eq!(system.api.active().len(), 1);
}

#[test]
fn falls_back_to_contacts_if_titanx_does_not_allow_job_completed() {
    for form in [Form::Schema, Form::Prose] {
        let system = System::start(form);
        system.api.set_allowed(&["job.contact.scored"]);
        let run = system.operator.run(&format!("--json {SUBSCRIBE}")).exits(3);
        assert_eq!(
            run.json()["events"],
            serde_json::json!(["job.contact.scored"])
        );
        assert_eq!(
            run.json()["not_granted"],
            serde_json::json!(["job.completed"])
        );
        run.tells(
            "warning: TitanX did not grant the event type job.completed: no job is marked completed; \
             contacts arrive all the same",
        );
        assert_eq!(system.api.active().len(), 1);
        // Nothing else is given up: what was asked for alone is not replaced by the other.
        let alone = "subscribe --settle 0 --another --event job.completed";
        system.operator.run(alone).exits(1);
        assert_eq!(system.api.subscriptions().len(), 1);
    }
}

#[test]
fn a_subscription_for_another_url_is_no_earlier_one() {
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let other = "http://127.0.0.1:9/webhooks/titanx";
    let line = format!("subscribe --settle 0 --skip-probe --url {other}");
    system.operator.run(&line).exits(0);
    let [first, second] = &system.api.active()[..] else {
        panic!("{:?}", system.api.subscriptions())
    };
    assert_eq!(
        [first.url.as_str(), &second.url],
        [&system.gateway.url, other]
    );
    let secrets = system.live_secrets();
    assert!(secrets.contains(&first.secret) && secrets.contains(&second.secret));
}
