use titanx_testbed::emulators::{Fault, FaultProxy, Harm, SIGNING_SECRET, When};

use crate::{
    System,
    titanx_api::{Failure, Form, Subscription},
};

const ROTATE: &str = "rotate --settle 0";
const AT_ONCE: &str = "rotate --settle 0 --grace 0 --yes";

/// A system subscribed by the operator, whose first secret is out of the way.
fn subscribed(form: Form) -> (System, Subscription) {
    let system = System::start(form);
    system.operator.run("subscribe --settle 0").exits(0);
    let [subscription] = &system.api.subscriptions()[..] else {
        panic!()
    };
    system.emulators.secret.rotate(&subscription.secret);
    let subscription = subscription.clone();
    (system, subscription)
}

/// Makes sure that what TitanX may sign with can be verified: nothing is lost at this moment.
#[track_caller]
fn nothing_is_lost(system: &System) {
    let live = system.live_secrets();
    let active = system.api.active();
    assert!(!active.is_empty());
    for subscription in active {
        assert!(live.contains(&subscription.secret), "{subscription:?}");
    }
}

/// Makes sure that a rotation away from `old` has come to its end.
#[track_caller]
fn is_rotated(system: &System, old: &Subscription) {
    let [new] = &system.api.active()[..] else {
        panic!("{:?}", system.api.subscriptions())
    };
    assert_ne!(new.id, old.id);
    assert_eq!(system.live_secrets(), [new.secret.as_str()]);
    assert_eq!(new.events, old.events);
    assert_eq!(new.url, old.url);
}

#[test]
fn a_new_subscription_takes_over_and_the_old_secret_stays_for_the_retries() {
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
        run.tells_nothing_of(&[&old.secret, &new.secret]);

        // Too early: nothing changes.
        system.operator.run(ROTATE).exits(0);
        assert_eq!(system.live_secrets().len(), 2);
        assert_eq!(system.api.subscriptions().len(), 2);

        system.operator.run(AT_ONCE).exits(0);
        is_rotated(&system, &old);
    }
}

#[test]
fn a_grace_shorter_than_the_retries_must_be_meant() {
    let (system, old) = subscribed(Form::Schema);
    let run = system.operator.run("rotate --settle 0 --grace 71").exits(1);
    assert!(run.stderr.contains("--yes"), "{}", run.stderr);
    assert_eq!(system.api.subscriptions(), [old]);
}

#[test]
fn a_failure_at_any_call_to_titanx_loses_nothing_and_is_gone_on_from() {
    // The list, the creation, the activation and the deactivation.
    for call in [
        "GET /webhooks",
        "POST /webhooks",
        "POST /webhooks/",
        "POST /webhooks/OLD",
    ] {
        for failure in [Failure::Answer(403), Failure::Lost] {
            let (system, old) = subscribed(Form::Schema);
            system
                .api
                .fail(&call.replace("OLD", &old.id), failure.clone());
            let run = system.operator.run(ROTATE);
            nothing_is_lost(&system);
            // A lost answer is asked for again, but not a creation's.
            let repeated = matches!(failure, Failure::Lost) && call != "POST /webhooks";
            run.exits(i32::from(!repeated));

            system.operator.run(ROTATE).exits(0);
            nothing_is_lost(&system);
            system.operator.run(AT_ONCE).exits(0);
            is_rotated(&system, &old);
        }
    }
}

#[test]
fn a_failure_at_any_write_of_secrets_loses_nothing_and_is_gone_on_from() {
    // Both secrets; the ledger: begun, activated, deactivated; the new secret alone; the ledger.
    for nth in 1..=6 {
        for harm in [Fault::Before(Harm::ServerError), Fault::After(Harm::Reset)] {
            let (system, old) = subscribed(Form::Schema);
            let proxy = FaultProxy::start(&system.emulators.secrets_manager_url, 1);
            proxy.inject(When::NthOf(nth, "PutSecretValue"), harm);
            let behind = system.operator.clone();
            let behind = behind.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &proxy.url);
            behind
                .run(AT_ONCE)
                .exits(1)
                .tells_nothing_of(&[&old.secret]);
            nothing_is_lost(&system);

            behind.run(AT_ONCE).exits(0);
            nothing_is_lost(&system);
            is_rotated(&system, &old);
        }
    }
}

#[test]
fn what_the_ledger_does_not_know_is_found_by_its_url() {
    let (system, old) = subscribed(Form::Schema);
    // As if the secret had been stored by hand.
    let by_hand = System {
        emulators: titanx_testbed::emulators::Emulators::start(),
        ..system
    };
    by_hand.emulators.secret.rotate(&old.secret);
    let operator = crate::operator::Operator::of_titanx(&by_hand.api)
        .of_system(&by_hand.emulators, &by_hand.gateway);
    operator.run(AT_ONCE).exits(0);
    is_rotated(&by_hand, &old);
}

#[test]
fn nothing_is_begun_before_it_is_known_what_to_replace() {
    let system = System::start(Form::Prose);
    system.api.manages_nothing();
    let run = system.operator.run(ROTATE).exits(1);
    assert!(run.stderr.contains("say --old ID"), "{}", run.stderr);
    assert!(system.api.subscriptions().is_empty());
    assert_eq!(system.live_secrets(), [SIGNING_SECRET]);
}

#[test]
fn the_old_subscription_can_be_named_where_titanx_lists_nothing() {
    let (system, old) = subscribed(Form::Prose);
    system.api.manages_nothing();
    system
        .operator
        .run(&format!("{AT_ONCE} --old {}", old.id))
        .exits(0);
    is_rotated(&system, &old);
}

#[test]
fn the_old_secret_is_not_removed_when_the_new_one_is_gone() {
    let (system, old) = subscribed(Form::Schema);
    system.operator.run(ROTATE).exits(0);
    system.emulators.secret.rotate(&old.secret);
    let run = system.operator.run(AT_ONCE).exits(1);
    assert!(run.stderr.contains("nothing was removed"), "{}", run.stderr);
    assert_eq!(system.live_secrets(), [old.secret]);
}

/// Deletes a subscription, and lets TitanX list nothing from then on if `manages` is not.
fn delete(system: &System, id: &str, manages: bool) {
    system.operator.run(&format!("delete {id} --yes")).exits(0);
    if !manages {
        system.api.manages_nothing();
    }
}

#[test]
fn an_old_subscription_that_was_deleted_is_in_nobodys_way() {
    for manages in [true, false] {
        // Deleted before, and made anew.
        let (system, old) = subscribed(Form::Schema);
        system
            .operator
            .run(&format!("delete {} --yes", old.id))
            .exits(0);
        system.operator.run("subscribe --settle 0").exits(0);
        let again = system.api.active()[0].clone();
        if !manages {
            system.api.manages_nothing();
        }
        system.operator.run(AT_ONCE).exits(0);
        is_rotated(&system, &again);

        // Deleted while the rotation is under way.
        let (system, old) = subscribed(Form::Schema);
        let call = format!("POST /webhooks/{}", old.id);
        system.api.fail(&call, Failure::Answer(403));
        system.operator.run(ROTATE).exits(1);
        delete(&system, &old.id, manages);
        system.operator.run(AT_ONCE).exits(0);
        is_rotated(&system, &old);
    }
}

#[test]
fn a_rotation_whose_new_subscription_was_deleted_begins_anew() {
    for manages in [true, false] {
        let (system, old) = subscribed(Form::Schema);
        system.api.fail("POST /webhooks/", Failure::Answer(403));
        system.operator.run(ROTATE).exits(1);
        let new = &system.api.subscriptions()[1].id;
        delete(&system, new, manages);
        let run = system.operator.run(ROTATE).exits(1);
        assert!(run.stderr.contains("begin anew"), "{}", run.stderr);
        nothing_is_lost(&system);
        system.operator.run(AT_ONCE).exits(0);
        is_rotated(&system, &old);
    }
}

#[test]
fn a_subscription_for_another_url_stays_and_keeps_its_secret() {
    let (system, old) = subscribed(Form::Schema);
    let elsewhere = "https://example.com/webhooks/titanx";
    system
        .operator
        .run(&format!("subscribe --settle 0 --url {elsewhere}"))
        .exits(0);
    system.operator.run(AT_ONCE).exits(0);
    nothing_is_lost(&system);
    let mut urls: Vec<_> = system.api.active().into_iter().map(|it| it.url).collect();
    urls.sort();
    let mut expected = [old.url.clone(), elsewhere.to_owned()];
    expected.sort();
    assert_eq!(urls, expected);
    assert_eq!(system.live_secrets().len(), 2);
    assert!(!system.live_secrets().contains(&old.secret));
}

#[test]
fn an_event_type_is_given_up_only_if_that_is_meant() {
    let (system, old) = subscribed(Form::Schema);
    system.api.grants(&["job.completed"]);
    let run = system.operator.run(ROTATE).exits(1);
    assert!(
        run.stderr.contains("nothing was replaced"),
        "{}",
        run.stderr
    );
    assert_eq!(system.api.active(), std::slice::from_ref(&old));
    assert_eq!(system.live_secrets(), [old.secret.as_str()]);

    let run = system.operator.run(AT_ONCE).exits(3);
    let told = "TitanX did not grant job.contact.scored";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    assert_eq!(system.api.active()[0].events, ["job.completed"]);
}

#[test]
fn a_new_secret_that_was_overwritten_is_not_activated() {
    let (system, old) = subscribed(Form::Schema);
    let mut run = system.operator.start("rotate --settle 2");
    while system.live_secrets().len() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    system.emulators.secret.rotate(&old.secret);
    assert_eq!(run.wait().unwrap().code(), Some(1));
    assert_eq!(system.api.active(), std::slice::from_ref(&old));
    system.operator.run(AT_ONCE).exits(0);
    is_rotated(&system, &old);
}

#[test]
fn rotations_at_the_same_moment_activate_nothing_that_cannot_be_verified() {
    let (system, old) = subscribed(Form::Schema);
    let runs: Vec<_> = (0..3)
        .map(|_| system.operator.start("rotate --settle 8"))
        .collect();
    for mut run in runs {
        run.wait().unwrap();
    }
    nothing_is_lost(&system);
    system.operator.run(AT_ONCE).exits(0);
    nothing_is_lost(&system);
    assert!(!system.live_secrets().contains(&old.secret));
}

#[test]
fn whatever_else_is_active_for_the_url_is_replaced_too() {
    let (system, old) = subscribed(Form::Schema);
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("secret");
    let line = format!("subscribe --another --secret-file {}", elsewhere.display());
    system.operator.run(&line).exits(0);
    assert_eq!(system.api.active().len(), 2);
    system.operator.run(AT_ONCE).exits(0);
    is_rotated(&system, &old);
}
