//! Help texts, as they are seen.

use crate::support::operator::Operator;

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
        "subscribe",
        "rotate",
        "subscriptions",
        "pause",
        "resume",
        "delete",
        "jobs",
        "reconcile",
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
