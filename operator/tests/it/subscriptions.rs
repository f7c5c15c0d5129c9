use crate::{
    System,
    titanx_api::{Failure, Form},
};

#[test]
fn subscriptions_are_listed_paused_resumed_and_deleted() {
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
fn what_loses_something_waits_for_yes() {
    let system = System::start(Form::Schema);
    system.operator.run("subscribe --settle 0").exits(0);
    let id = system.api.subscriptions()[0].id.clone();
    for command in ["pause", "delete"] {
        let told = system
            .operator
            .run(&format!("--json {command} {id}"))
            .exits(3)
            .json();
        assert_eq!(
            told,
            serde_json::json!({"id": id, "action": command, "done": false})
        );
    }
    assert_eq!(system.api.active().len(), 1);
}

#[test]
fn what_titanx_does_not_know_is_told_as_not_supported() {
    let system = System::start(Form::Prose);
    system.api.manages_nothing();
    for command in [
        "subscriptions",
        "delete some-id --yes",
        "pause some-id --yes",
        "resume some-id",
    ] {
        let run = system.operator.run(command).exits(1);
        assert!(
            run.stderr.contains("not supported by TitanX"),
            "{command}: {}",
            run.stderr
        );
    }
}

#[test]
fn a_405_is_told_as_not_supported_too() {
    let system = System::start(Form::Schema);
    system.api.fail("GET /webhooks", Failure::Answer(405));
    let run = system.operator.run("subscriptions").exits(1);
    assert!(
        run.stderr
            .contains("not supported by TitanX (it answered 405)"),
        "{}",
        run.stderr
    );
}

#[test]
fn rate_limits_are_waited_for_by_their_reset() {
    let system = System::start(Form::Schema);
    let limited = Failure::Limited {
        window: "minute",
        reset_s: 2,
    };
    system.api.fail("GET /webhooks", limited);
    system.operator.run("subscriptions").exits(0);
    assert_eq!(system.api.calls().len(), 2);
    // The reset is told in whole seconds.
    assert!(system.api.pause().as_millis() > 1000);
}

#[test]
fn a_rate_limit_beyond_patience_is_told() {
    let system = System::start(Form::Schema);
    system.api.fail(
        "GET /webhooks",
        Failure::Limited {
            window: "day",
            reset_s: 0,
        },
    );
    let run = system.operator.run("subscriptions --patience 30").exits(1);
    assert!(
        run.stderr
            .contains("TitanX's rate limit is used up for another"),
        "{}",
        run.stderr
    );
    assert_eq!(system.api.calls().len(), 1);
}

#[test]
fn a_wrong_key_is_told_without_showing_it() {
    let system = System::start(Form::Schema);
    let stranger = system
        .operator
        .clone()
        .set("TITANX_API_KEY", "another-synthetic-key");
    let run = stranger.run("subscriptions").exits(1);
    assert!(run.stderr.contains("401"), "{}", run.stderr);
    run.tells_nothing_of(&["another-synthetic-key"]);
}
