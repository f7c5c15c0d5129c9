//! Help texts, as they are seen.

use crate::{
    operator::Operator,
    titanx_api::{Form, TitanxApi},
};

#[track_caller]
fn help(command: &str) -> String {
    let help = Operator::default().run(&format!("{command} --help"));
    help.exits(0).stdout
}

#[test]
fn every_help_text_is_as_it_was_reviewed() {
    for command in [
        "",
        "subscribe",
        "rotate",
        "subscriptions",
        "pause",
        "resume",
        "delete",
        "jobs",
        "reconcile",
        "quarantine",
        "quarantine list",
        "quarantine show",
        "quarantine redrive",
        "send",
        "verify-sample",
        "doctor",
        "completions",
    ] {
        let name = if command.is_empty() {
            "operator"
        } else {
            command
        };
        insta::assert_snapshot!(name.replace(' ', "-"), help(command));
    }
}

#[test]
fn every_command_shows_examples() {
    for command in [
        "",
        "subscribe",
        "rotate",
        "subscriptions",
        "pause",
        "resume",
        "delete",
        "jobs",
        "reconcile",
        "quarantine",
        "quarantine list",
        "quarantine show",
        "quarantine redrive",
        "send",
        "verify-sample",
        "doctor",
        "completions",
    ] {
        assert!(help(command).contains("Examples:\n  operator"), "{command}");
    }
}

#[test]
fn wrong_usage_has_a_status_of_its_own() {
    let operator = Operator::default();
    for line in [
        "",
        "unsubscribe",
        "reconcile",
        "send",
        "pause",
        "verify-sample",
        "jobs a b",
    ] {
        operator.run(line).exits(2);
    }
}

#[test]
fn a_pipe_gets_no_colours() {
    let run = Operator::default().run("subscriptions").exits(1);
    assert!(
        run.stderr.starts_with("error: set TITANX_API_KEY"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains('\x1b'));
}

#[test]
fn a_command_whose_output_nobody_reads_does_its_work_all_the_same() {
    assert_eq!(Operator::default().run_unread("completions bash"), Some(0));
    let api = TitanxApi::start(Form::Schema);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let url = "https://example.com/webhooks/titanx";
    let line = |command: &str| format!("{command} --url {url} --secret-file {}", file.display());
    let operator = Operator::of_titanx(&api);
    assert_eq!(operator.run_unread(&line("subscribe --settle 0")), Some(0));
    assert_eq!(operator.run_unread(&line("rotate --settle 0")), Some(0));
    assert_eq!(operator.run_unread("--json subscriptions"), Some(0));
    assert_eq!(api.active().len(), 1);
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    for line in ["completions zsh", "--json delete an-id"] {
        let run = Operator::default().run_into("/dev/full", line).exits(1);
        let told = run.stderr.starts_with("error: cannot write the result");
        assert!(told, "{}", run.stderr);
    }
}

/// On a machine that is none of Amazon's, the SDK warns of each way to a region that leads nowhere.
#[test]
fn an_error_stands_alone() {
    let run = Operator::default()
        .set("AWS_EC2_METADATA_DISABLED", "false")
        .set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
        .run("jobs")
        .exits(1);
    assert_eq!(run.stderr, "error: say --stack or --jobs-table\n");
}

#[test]
fn who_lacks_a_region_or_credentials_is_told_how_to_give_them() {
    let operator = Operator::default();
    let run = operator.clone().set("AWS_REGION", "us-east-1");
    let run = run.run("jobs --stack titanx-receiver").exits(1);
    assert!(
        run.stderr.contains("\nhint: say --profile"),
        "{}",
        run.stderr
    );
    let known = operator
        .set("AWS_ACCESS_KEY_ID", "synthetic")
        .set("AWS_SECRET_ACCESS_KEY", "synthetic");
    let run = known.run("jobs --stack titanx-receiver").exits(1);
    assert!(
        run.stderr.contains("\nhint: say --region"),
        "{}",
        run.stderr
    );
}
