use crate::{
    System,
    titanx_api::{Failure, Form},
};

#[test]
fn lists_pauses_resumes_and_deletes_subscriptions() {
    for form in [Form::Schema, Form::Prose] {
        let system = System::start(form);
        system.operator.run("subscribe --settle 0").exits(0);
        let id = system.api.subscriptions()[0].id.clone();

        let listed = system.operator.run("--json subscriptions").exits(0).json();
        assert_eq!(listed[0]["id"], id.as_str());
        assert_eq!(listed[0]["status"], "active");
        assert_eq!(
            listed[0]["events"],
            serde_json::json!(["job.contact.scored", "job.completed"])
        );
        let table = system.operator.run("subscriptions").exits(0).stdout;
        assert!(table.contains(&id) && table.contains("active"), "{table}");

        system.operator.run(&format!("pause {id} --yes")).exits(0);
        assert!(system.api.active().is_empty());
        system.operator.run(&format!("resume {id}")).exits(0);
        assert_eq!(system.api.active().len(), 1);
        system.operator.run(&format!("delete {id} --yes")).exits(0);
        assert!(system.api.subscriptions().is_empty());
    }
}

#[test]
fn pause_and_delete_need_yes() {
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let id = system.api.subscriptions()[0].id.clone();
    for command in ["pause", "delete"] {
        let printed = system
            .operator
            .run(&format!("--json {command} {id}"))
            .exits(3)
            .json();
        assert_eq!(printed["id"], id.as_str());
        assert_eq!(printed["action"], command);
        assert_eq!(printed["done"], false);
        assert_eq!(printed["live"], true);
    }
    assert_eq!(system.api.active().len(), 1);
}

#[test]
fn reports_a_404_as_not_supported() {
    let system = System::start(Form::Prose);
    system.api.disable_management();
    for (command, request) in [
        ("subscriptions", "GET /webhooks"),
        ("delete some-id --yes", "DELETE /webhooks/some-id"),
        ("pause some-id --yes", "POST /webhooks/some-id/inactive"),
        ("resume some-id", "POST /webhooks/some-id/active"),
    ] {
        let run = system.operator.run(command).exits(1);
        run.tells(&format!(
            "error: {request}: not supported by TitanX, or no such id (TitanX answered 404)"
        ));
    }
}

#[test]
fn reports_a_405_as_not_supported() {
    let system = System::start(Form::Schema);
    system.api.fail("GET /webhooks", Failure::Status(405));
    let run = system.operator.run("subscriptions").exits(1);
    run.tells("error: GET /webhooks: not supported by TitanX, or no such id (TitanX answered 405)");
}

#[test]
fn waits_until_a_rate_limit_resets() {
    let system = System::start(Form::Schema);
    let limited = Failure::RateLimited {
        window: "minute",
        reset_s: 2,
    };
    system.api.fail("GET /webhooks", limited);
    system.operator.run("subscriptions").exits(0);
    assert_eq!(system.api.requests().len(), 2);
    // The header has whole seconds.
    assert!(system.api.time_between_requests().as_millis() > 1000);
}

#[test]
fn fails_if_a_rate_limit_resets_later_than_patience() {
    let system = System::start(Form::Schema);
    system.api.fail(
        "GET /webhooks",
        Failure::RateLimited {
            window: "day",
            reset_s: 86_400,
        },
    );
    let run = system.operator.run("subscriptions --patience 30").exits(1);
    assert!(
        run.stderr
            .contains("TitanX's rate limit is exhausted and resets in"),
        "{}",
        run.stderr
    );
    assert_eq!(system.api.requests().len(), 1);
}

#[test]
fn reports_a_wrong_api_key_without_printing_it() {
    let system = System::start(Form::Schema);
    let unauthorized = system
        .operator
        .clone()
        .set("TITANX_API_KEY", "another-synthetic-key");
    let run = unauthorized.run("subscriptions").exits(1);
    assert!(run.stderr.contains("401"), "{}", run.stderr);
    let cause = "it does not accept the API key";
    assert!(run.stderr.contains(cause), "{}", run.stderr);
    run.does_not_contain(&["another-synthetic-key"]);
}

#[test]
fn pause_and_delete_say_whether_the_subscription_is_the_live_one() {
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let live = system.api.subscriptions()[0].id.clone();
    let other = "subscribe --settle 0 --skip-probe --url https://example.com/webhooks/titanx";
    system.operator.run(other).exits(0);
    let other = system.api.subscriptions()[1].id.clone();
    for command in ["pause", "delete"] {
        let says = |id: &str, said: &str| {
            let run = system.operator.run(&format!("{command} {id}")).exits(3);
            let would = format!("would {command} the subscription {id}: re-run with --yes");
            assert_eq!(run.stdout, format!("{would}\n{said}\n"));
        };
        says(
            &live,
            "it is the live subscription of this stack, and the only one: without it, no events \
             arrive, and TitanX presumably drops them; `operator reconcile` recovers their contacts",
        );
        says(
            &other,
            "it posts to https://example.com/webhooks/titanx, which is not this stack's webhook URL",
        );
        says("unheard-of", "TitanX lists no subscription unheard-of");
    }
    let second = "subscribe --settle 0 --another --secret-file";
    let folder = tempfile::tempdir().unwrap();
    let second = format!("{second} {}", folder.path().join("secret").display());
    system.operator.run(&second).exits(0);
    let third = system.api.subscriptions()[2].id.clone();
    let run = system.operator.run(&format!("pause {live} --yes")).exits(0);
    let said =
        format!("it is a live subscription of this stack; events still arrive through {third}");
    let paused = format!("paused the subscription {live}");
    assert_eq!(run.stdout, format!("{paused}\n{said}\n"));
    let would = |id: &str| format!("would pause the subscription {id}: re-run with --yes");
    let run = system.operator.run(&format!("pause {live}")).exits(3);
    let said = "it is inactive, so it delivers no events";
    assert_eq!(run.stdout, format!("{}\n{said}\n", would(&live)));
    system.api.disable_management();
    let run = system.operator.run(&format!("pause {third}")).exits(3);
    let said = "it is unknown whether this is the live subscription of the stack (GET /webhooks: not \
                supported by TitanX, or no such id (TitanX answered 404)); TitanX presumably drops the \
                events of a subscription that is not active";
    assert_eq!(run.stdout, format!("{}\n{said}\n", would(&third)));
}
