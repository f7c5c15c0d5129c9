use titanx_testbed::emulators::{Fault, FaultProxy, Harm, SIGNING_SECRET, When};

use crate::{
    System,
    operator::Run,
    titanx_api::{Failure, Form, Subscription},
};

const ROTATE: &str = "rotate --settle 0";
const ROTATE_WITHOUT_GRACE: &str = "rotate --settle 0 --grace 0 --yes";

/// A system in which only the secret of the operator's subscription is live.
fn subscribed(form: Form) -> (System, Subscription) {
    let system = System::start(form);
    system.operator.run("subscribe --settle 0").exits(0);
    let subscription = system.api.only_subscription();
    system.emulators.secret.rotate(&subscription.secret);
    (system, subscription)
}

/// Asserts that the secrets of all active subscriptions are live, so that no event is lost.
#[track_caller]
fn assert_nothing_is_lost(system: &System) {
    let live = system.live_secrets();
    let active = system.api.active();
    assert!(!active.is_empty());
    for subscription in active {
        assert!(live.contains(&subscription.secret), "{subscription:?}");
    }
}

/// Asserts that a rotation has replaced `old` and removed its secret.
#[track_caller]
fn assert_rotated(system: &System, old: &Subscription) {
    let [new] = &system.api.active()[..] else {
        panic!("{:?}", system.api.subscriptions())
    };
    assert_ne!(new.id, old.id);
    assert_eq!(system.live_secrets(), [new.secret.as_str()]);
    assert_eq!(new.events, old.events);
    assert_eq!(new.url, old.url);
}

/// The old one would be deactivated for one whose events nobody receives.
#[test]
fn a_rotation_is_resumed_only_if_the_receiver_answers_at_the_url() {
    let (system, old) = subscribed(Form::Schema);
    let refused = Failure::Status(403);
    system.api.fail_after(1, "POST /webhooks", refused);
    system.operator.run(ROTATE).exits(1);
    let System {
        api,
        gateway,
        operator,
        emulators: _emulators,
    } = system;
    assert_eq!(api.subscriptions().len(), 2);
    drop(gateway);
    let run = operator.run(ROTATE).exits(1);
    let new = &api.subscriptions()[1].id;
    run.tells(&format!(
        "Resuming the rotation to the subscription {new} …"
    ));
    let [active] = &api.active()[..] else {
        panic!("{:?}", api.subscriptions())
    };
    assert_eq!(active.id, old.id);
}

#[test]
fn replaces_the_subscription_and_keeps_the_old_secret_for_the_grace_period() {
    for form in [Form::Schema, Form::Prose] {
        let (system, old) = subscribed(form);
        let run = system.operator.run(&format!("--json {ROTATE}")).exits(0);
        let [new] = &system.api.active()[..] else {
            panic!()
        };
        assert_ne!(new.id, old.id);
        assert_eq!(
            system.live_secrets(),
            [&old.secret, &new.secret].map(String::as_str)
        );
        assert_eq!(run.json()["finished"], false);
        assert!(run.json()["old_secret_removable_at"].is_i64());
        run.does_not_contain(&[&old.secret, &new.secret]);

        // Before the end of the grace period, nothing changes.
        system.operator.run(ROTATE).exits(0);
        assert_eq!(system.live_secrets().len(), 2);
        assert_eq!(system.api.subscriptions().len(), 2);

        system.operator.run(ROTATE_WITHOUT_GRACE).exits(0);
        assert_rotated(&system, &old);
    }
}

#[test]
fn a_grace_period_shorter_than_the_retry_window_needs_yes() {
    let (system, old) = subscribed(Form::Schema);
    let run = system.operator.run("rotate --settle 0 --grace 71").exits(1);
    assert!(run.stderr.contains("--yes"), "{}", run.stderr);
    assert_eq!(system.api.subscriptions(), [old]);
}

#[test]
fn resumes_without_loss_after_any_failed_request_to_titanx() {
    // List, creation, activation and deactivation.
    for call in [
        "GET /webhooks",
        "POST /webhooks",
        "POST /webhooks/",
        "POST /webhooks/OLD",
    ] {
        for failure in [Failure::Status(403), Failure::LostResponse] {
            let (system, old) = subscribed(Form::Schema);
            system
                .api
                .fail(&call.replace("OLD", &old.id), failure.clone());
            let run = system.operator.run(ROTATE);
            assert_nothing_is_lost(&system);
            // After a lost response, every request but a creation is retried.
            let retried = matches!(failure, Failure::LostResponse) && call != "POST /webhooks";
            run.exits(i32::from(!retried));

            system.operator.run(ROTATE).exits(0);
            assert_nothing_is_lost(&system);
            system.operator.run(ROTATE_WITHOUT_GRACE).exits(0);
            assert_rotated(&system, &old);
        }
    }
}

/// It may have been paused since, by somebody who had a reason.
#[test]
fn a_subscription_that_was_activated_is_not_activated_again() {
    let (system, old) = subscribed(Form::Schema);
    let deactivation = format!("POST /webhooks/{}", old.id);
    system.api.fail(&deactivation, Failure::Status(403));
    system.operator.run(ROTATE).exits(1);
    system.operator.run(ROTATE).exits(0);
    let activations = system.api.requests().into_iter();
    let activations = activations.filter(|it| it.ends_with("/active"));
    // That of `subscribe`, and one of the rotation.
    assert_eq!(activations.count(), 2);
}

#[test]
fn resumes_without_loss_after_any_failed_write_to_secrets_manager() {
    // Both secrets; the ledger (started, activated, deactivated); the new secret; the ledger.
    for nth in 1..=6 {
        for harm in [Fault::Before(Harm::ServerError), Fault::After(Harm::Reset)] {
            let (system, old) = subscribed(Form::Schema);
            let proxy = FaultProxy::start(&system.emulators.secrets_manager_url, 1);
            proxy.inject(When::NthOf(nth, "PutSecretValue"), harm);
            let behind = system.operator.clone();
            let behind = behind.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &proxy.url);
            behind
                .run(ROTATE_WITHOUT_GRACE)
                .exits(1)
                .does_not_contain(&[&old.secret]);
            assert_nothing_is_lost(&system);

            behind.run(ROTATE_WITHOUT_GRACE).exits(0);
            assert_nothing_is_lost(&system);
            assert_rotated(&system, &old);
        }
    }
}

#[test]
fn finds_a_subscription_that_is_not_in_the_ledger_by_its_url() {
    let (system, old) = subscribed(Form::Schema);
    // A second Secrets Manager has the secret, but no ledger.
    let without_ledger = System {
        emulators: titanx_testbed::emulators::Emulators::start(),
        ..system
    };
    without_ledger.emulators.secret.rotate(&old.secret);
    let operator = crate::operator::Operator::with_titanx(&without_ledger.api)
        .with_system(&without_ledger.emulators, &without_ledger.gateway);
    operator.run(ROTATE_WITHOUT_GRACE).exits(0);
    assert_rotated(&without_ledger, &old);
}

#[test]
fn creates_nothing_if_the_subscription_to_replace_is_unknown() {
    let system = System::start(Form::Prose);
    system.api.disable_management();
    let run = system.operator.run(ROTATE).exits(1);
    let url = &system.gateway.url;
    run.tells(&format!(
        "error: no subscription for {url} is known to replace: re-run with --old ID"
    ));
    assert!(system.api.subscriptions().is_empty());
    assert_eq!(system.live_secrets(), [SIGNING_SECRET]);
}

#[test]
fn replaces_the_subscription_named_by_old_if_titanx_lists_none() {
    let (system, old) = subscribed(Form::Prose);
    system.api.disable_management();
    system
        .operator
        .run(&format!("{ROTATE_WITHOUT_GRACE} --old {}", old.id))
        .exits(0);
    assert_rotated(&system, &old);
}

#[test]
fn keeps_the_old_secret_if_the_new_one_is_no_longer_stored() {
    let (system, old) = subscribed(Form::Schema);
    system.operator.run(ROTATE).exits(0);
    system.emulators.secret.rotate(&old.secret);
    let run = system.operator.run(ROTATE_WITHOUT_GRACE).exits(1);
    let new = &system.api.active()[0].id;
    run.tells(&format!(
        "error: no secret was removed, because the secret of the new subscription {new} is no longer \
         stored"
    ));
    assert_eq!(system.live_secrets(), [old.secret]);
}

/// Deletes a subscription. Without `has_management`, TitanX lists no subscriptions afterwards.
fn delete(system: &System, id: &str, has_management: bool) {
    system.operator.run(&format!("delete {id} --yes")).exits(0);
    if !has_management {
        system.api.disable_management();
    }
}

#[test]
fn rotates_although_the_old_subscription_was_deleted() {
    for has_management in [true, false] {
        // Deleted before the rotation, and created again.
        let (system, old) = subscribed(Form::Schema);
        system
            .operator
            .run(&format!("delete {} --yes", old.id))
            .exits(0);
        system.operator.run("subscribe --settle 0").exits(0);
        let again = system.api.active()[0].clone();
        if !has_management {
            system.api.disable_management();
        }
        system.operator.run(ROTATE_WITHOUT_GRACE).exits(0);
        assert_rotated(&system, &again);

        // Deleted during the rotation.
        let (system, old) = subscribed(Form::Schema);
        let call = format!("POST /webhooks/{}", old.id);
        system.api.fail(&call, Failure::Status(403));
        system.operator.run(ROTATE).exits(1);
        delete(&system, &old.id, has_management);
        let run = system.operator.run(ROTATE_WITHOUT_GRACE).exits(0);
        run.tells(&format!(
            "warning: the subscription {} is already deleted",
            old.id
        ));
        assert_rotated(&system, &old);
    }
}

#[test]
fn starts_a_new_rotation_if_the_new_subscription_was_deleted() {
    for has_management in [true, false] {
        let (system, old) = subscribed(Form::Schema);
        system.api.fail("POST /webhooks/", Failure::Status(403));
        system.operator.run(ROTATE).exits(1);
        let new = &system.api.subscriptions()[1].id;
        delete(&system, new, has_management);
        let run = system.operator.run(ROTATE).exits(1);
        run.tells(&format!(
            "error: nothing was replaced, because the new subscription {new} was deleted before its \
             activation: run this command again to start a new rotation: POST /webhooks/{new}/active: \
             not supported by TitanX, or no such id (TitanX answered 404)"
        ));
        assert_nothing_is_lost(&system);
        system.operator.run(ROTATE_WITHOUT_GRACE).exits(0);
        assert_rotated(&system, &old);
    }
}

#[test]
fn keeps_a_subscription_for_another_url_and_its_secret() {
    let (system, old) = subscribed(Form::Schema);
    let other_url = "https://example.com/webhooks/titanx";
    system
        .operator
        .run(&format!(
            "subscribe --settle 0 --skip-probe --url {other_url}"
        ))
        .exits(0);
    system.operator.run(ROTATE_WITHOUT_GRACE).exits(0);
    assert_nothing_is_lost(&system);
    let mut urls: Vec<_> = system.api.active().into_iter().map(|it| it.url).collect();
    urls.sort();
    let mut expected = [old.url.clone(), other_url.to_owned()];
    expected.sort();
    assert_eq!(urls, expected);
    assert_eq!(system.live_secrets().len(), 2);
    assert!(!system.live_secrets().contains(&old.secret));
}

#[test]
fn losing_an_event_type_needs_yes() {
    let (system, old) = subscribed(Form::Schema);
    system.api.set_granted(&["job.completed"]);
    let run = system.operator.run(ROTATE).exits(1);
    let id = &system.api.subscriptions()[1].id;
    run.tells(&format!(
        "error: nothing was replaced, because TitanX did not grant the new subscription {id} all event \
         types of the old one: ask TitanX to grant them, or re-run with --yes to lose their events; \
         `operator delete {id} --yes` deletes the new subscription, which is inactive"
    ));
    assert_eq!(system.api.active(), std::slice::from_ref(&old));
    assert_eq!(system.live_secrets(), [old.secret.as_str()]);

    let run = system.operator.run(ROTATE_WITHOUT_GRACE).exits(3);
    run.tells(
        "warning: TitanX did not grant the event type job.contact.scored: no contacts arrive",
    );
    assert_eq!(system.api.active()[0].events, ["job.completed"]);
}

#[test]
fn does_not_activate_a_subscription_whose_secret_was_overwritten() {
    let (system, old) = subscribed(Form::Schema);
    let run = system.operator.start_with_pipes("rotate --settle 2");
    // The rotation is in the ledger, and the new secret is given time to settle.
    let rotation = || {
        let ledger = system.emulators.secret.staged("OPERATOR_LEDGER").unwrap();
        let ledger: serde_json::Value = serde_json::from_str(&ledger).unwrap();
        ledger["rotation"].clone()
    };
    while rotation().is_null() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    system.emulators.secret.rotate(&old.secret);
    let run = Run::from(run.wait_with_output().unwrap()).exits(1);
    let new = &system.api.subscriptions()[1].id;
    run.tells(&format!(
        "error: the stored secret or the ledger entry of the subscription {new} was overwritten, \
         possibly by a concurrent run of this command; the subscription is inactive: delete it with \
         `operator delete {new} --yes` and run this command again"
    ));
    assert_eq!(system.api.active(), std::slice::from_ref(&old));
    // It cannot go on, so the next run begins another one.
    assert!(rotation().is_null());
    system.operator.run(ROTATE_WITHOUT_GRACE).exits(0);
    assert_rotated(&system, &old);
}

/// A refusal to activate it says nothing about that. Only TitanX's list does.
#[test]
fn a_new_subscription_that_titanx_still_lists_is_not_taken_for_deleted() {
    for status in [404, 405] {
        let (system, old) = subscribed(Form::Schema);
        let activation = "POST /webhooks/";
        system.api.fail(activation, Failure::Status(status));
        let run = system.operator.run(ROTATE_WITHOUT_GRACE).exits(1);
        assert!(!run.stderr.contains("deleted"), "{}", run.stderr);
        assert_eq!(system.api.active(), std::slice::from_ref(&old));
        // The next run goes on with the same one.
        system.operator.run(ROTATE_WITHOUT_GRACE).exits(0);
        assert_eq!(system.api.subscriptions().len(), 2);
        assert_rotated(&system, &old);
    }
}

/// A secret that could not be read is not one that was overwritten.
#[test]
fn a_rotation_goes_on_after_any_failed_read() {
    // Both before the start; the new secret; whether ledger and secret are still there; the live secrets.
    for nth in 1..=6 {
        let (system, old) = subscribed(Form::Schema);
        let proxy = FaultProxy::start(&system.emulators.secrets_manager_url, 1);
        let fails = Fault::Before(Harm::ServerError);
        proxy.inject(When::NthOf(nth, "GetSecretValue"), fails);
        let behind = system.operator.clone();
        let behind = behind.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &proxy.url);
        behind.run(ROTATE).exits(1);
        let begun = system.api.subscriptions().len();
        let run = behind.run(ROTATE_WITHOUT_GRACE).exits(0);
        let resumed = nth > 3;
        assert_eq!(run.stderr.contains("Resuming"), resumed, "{nth}");
        if resumed {
            assert_eq!(system.api.subscriptions().len(), begun, "{nth}");
        }
        assert_rotated(&system, &old);
    }
}

/// Both runs would activate their own subscription, and every event would arrive twice.
#[test]
fn does_not_activate_a_subscription_once_the_ledger_has_another_rotation() {
    for another in [true, false] {
        let (system, old) = subscribed(Form::Schema);
        let mut run = system.operator.start("rotate --settle 2");
        let ledger = || {
            let ledger = system.emulators.secret.staged("OPERATOR_LEDGER").unwrap();
            serde_json::from_str::<serde_json::Value>(&ledger).unwrap()
        };
        while ledger()["rotation"].is_null() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let mut overwritten = ledger();
        if another {
            overwritten["rotation"]["new"]["id"] = "of-another-run".into();
        } else {
            overwritten["rotation"].take();
        }
        let secret = &system.emulators.secret;
        secret.stage("OPERATOR_LEDGER", &overwritten.to_string());
        assert_eq!(run.wait().unwrap().code(), Some(1));
        assert_eq!(system.api.active(), std::slice::from_ref(&old));
        // It is the other run's to write.
        assert_eq!(ledger(), overwritten);
    }
}

#[test]
fn concurrent_rotations_activate_only_subscriptions_whose_secret_is_stored() {
    let (system, old) = subscribed(Form::Schema);
    let runs: Vec<_> = (0..3)
        .map(|_| system.operator.start("rotate --settle 8"))
        .collect();
    for mut run in runs {
        run.wait().unwrap();
    }
    assert_nothing_is_lost(&system);
    system.operator.run(ROTATE_WITHOUT_GRACE).exits(0);
    assert_nothing_is_lost(&system);
    assert!(!system.live_secrets().contains(&old.secret));
}

#[test]
fn replaces_all_active_subscriptions_for_the_url() {
    let (system, old) = subscribed(Form::Schema);
    let folder = tempfile::tempdir().unwrap();
    let other_store = folder.path().join("secret");
    let line = format!(
        "subscribe --another --secret-file {}",
        other_store.display()
    );
    system.operator.run(&line).exits(0);
    assert_eq!(system.api.active().len(), 2);
    system.operator.run(ROTATE_WITHOUT_GRACE).exits(0);
    assert_rotated(&system, &old);
}

#[test]
fn the_new_subscription_has_the_event_types_of_all_that_it_replaces() {
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let one = system.api.only_subscription();
    let with = |id: &str, event: &str| Subscription {
        id: id.to_owned(),
        events: vec![event.to_owned()],
        ..one.clone()
    };
    let contacts = with(&one.id, "job.contact.scored");
    let jobs = with("another", "job.completed");
    system.api.put_subscriptions(&[contacts, jobs]);
    system.operator.run("rotate --settle 0").exits(0);
    let [new] = &system.api.active()[..] else {
        panic!("{:?}", system.api.subscriptions())
    };
    assert_eq!(new.events, ["job.contact.scored", "job.completed"]);
}

#[test]
fn without_a_url_the_one_of_the_known_subscriptions_is_meant() {
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let without_url = system.operator.clone().unset("WEBHOOK_URL");
    without_url.run("rotate --settle 0").exits(0);
    assert_eq!(system.api.active()[0].url, system.gateway.url);

    let system = System::start(Form::Schema);
    for line in ["subscribe --settle 0", "subscribe --settle 0 --another"] {
        system.operator.run(line).exits(0);
    }
    let without_url = system.operator.clone().unset("WEBHOOK_URL");
    without_url.run("rotate --settle 0").exits(0);
    assert_eq!(
        system
            .api
            .active()
            .iter()
            .map(|it| &*it.url)
            .collect::<Vec<_>>(),
        [&*system.gateway.url]
    );

    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let other = "http://127.0.0.1:9/webhooks/titanx";
    let line = format!("subscribe --settle 0 --skip-probe --url {other}");
    system.operator.run(&line).exits(0);
    let without_url = system.operator.clone().unset("WEBHOOK_URL");
    let run = without_url.run("rotate --settle 0").exits(1);
    assert!(run.stderr.contains("--url"), "{}", run.stderr);
    assert_eq!(system.api.subscriptions().len(), 2);
}
