//! Help texts and command-line errors.

use crate::{
    operator::Operator,
    titanx_api::{Form, TitanxApi},
};

/// Every command; the first is `operator` itself.
const COMMANDS: [&str; 23] = [
    "",
    "subscribe",
    "rotate",
    "subscriptions",
    "pause",
    "resume",
    "delete",
    "status",
    "jobs",
    "delivery",
    "reconcile",
    "heal",
    "contacts",
    "contacts redrive",
    "quarantine",
    "quarantine list",
    "quarantine show",
    "quarantine redrive",
    "send",
    "listen",
    "verify-sample",
    "doctor",
    "completions",
];

#[track_caller]
fn help(command: &str) -> String {
    let help = Operator::default().run(&format!("{command} --help"));
    help.exits(0).stdout
}

#[test]
fn help_texts_match_the_reviewed_snapshots() {
    for command in COMMANDS {
        let name = if command.is_empty() {
            "operator"
        } else {
            command
        };
        insta::assert_snapshot!(name.replace(' ', "-"), help(command));
    }
}

#[test]
fn every_help_text_has_examples() {
    for command in COMMANDS {
        assert!(help(command).contains("Examples:\n  operator"), "{command}");
    }
}

#[test]
fn invalid_usage_exits_with_2() {
    let operator = Operator::default();
    for line in [
        "",
        "unsubscribe",
        "reconcile",
        "send",
        "pause",
        "verify-sample",
        "jobs a b",
        "listen --take",
        "listen --forward-to http://127.0.0.1:9",
        "listen --take --forward-to http://127.0.0.1:9 --count 0",
        "delivery",
        "delivery a --yes",
        "delivery a --release --forget",
        "contacts",
        "contacts redrive --per-second 501",
        "status --watch 0",
    ] {
        operator.run(line).exits(2);
    }
}

#[test]
fn output_to_a_pipe_has_no_colours() {
    let run = Operator::default().run("subscriptions").exits(1);
    assert!(
        run.stderr
            .starts_with("error: no API key: set TITANX_API_KEY"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains('\x1b'));
}

#[test]
fn a_closed_pipe_does_not_interrupt_a_command() {
    assert_eq!(
        Operator::default().run_with_closed_pipes("completions bash"),
        Some(0)
    );
    let api = TitanxApi::start(Form::Schema);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let url = "https://example.com/webhooks/titanx";
    let line = |command: &str| format!("{command} --url {url} --secret-file {}", file.display());
    let operator = Operator::with_titanx(&api);
    assert_eq!(
        operator.run_with_closed_pipes(&line("subscribe --settle 0 --skip-probe")),
        Some(0)
    );
    assert_eq!(
        operator.run_with_closed_pipes(&line("rotate --settle 0 --skip-probe")),
        Some(0)
    );
    assert_eq!(
        operator.run_with_closed_pipes("--json subscriptions"),
        Some(0)
    );
    assert_eq!(api.active().len(), 1);
}

#[test]
fn a_result_that_cannot_be_written_fails_the_command() {
    for line in ["completions zsh", "--json delete an-id"] {
        let run = Operator::default()
            .run_with_output_to("/dev/full", line)
            .exits(1);
        run.tells("error: cannot write the result: No space left on device (os error 28)");
    }
}

/// Outside of AWS, the SDK logs a warning for each region provider that has no value.
#[test]
fn an_error_is_printed_without_warnings_of_the_sdk() {
    let run = Operator::default()
        .set("AWS_EC2_METADATA_DISABLED", "false")
        .set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
        .run("jobs")
        .exits(1);
    assert_eq!(
        run.stderr,
        "error: JobsTable is not set: use --stack or --jobs-table\n"
    );
}

#[test]
fn a_missing_region_or_missing_credentials_print_a_hint() {
    let operator = Operator::default();
    let run = operator.clone().set("AWS_REGION", "us-east-1");
    let run = run.run("jobs --stack titanx-receiver").exits(1);
    assert!(
        run.stderr.contains("\nhint: use --profile"),
        "{}",
        run.stderr
    );
    let known = operator
        .set("AWS_ACCESS_KEY_ID", "synthetic")
        .set("AWS_SECRET_ACCESS_KEY", "synthetic");
    let run = known.run("jobs --stack titanx-receiver").exits(1);
    assert!(
        run.stderr.contains("\nhint: use --region"),
        "{}",
        run.stderr
    );
}
