//! Runs the system: subscribes to TitanX, rotates secrets, reconciles jobs, looks into quarantine.
//! One file for each command in `commands`; what several of them need stands in `deployment`,
//! `vendor`, `store`, `provisioning` and `screen`.

#![expect(
    clippy::doc_markdown,
    reason = "the commands' comments are their help texts"
)]

// First, since the others write with its macro.
#[macro_use]
mod screen;

mod commands;
mod deployment;
mod http;
mod provisioning;
mod records;
mod store;
mod titanx;
mod vendor;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::{
    Layer, filter::LevelFilter, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{
    commands::{Command, Outcome},
    screen::Screen,
};

/// Operate the receiver for TitanX webhooks
#[derive(Parser)]
#[command(name = "operator", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    /// Print one JSON document for machines instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  operator subscribe --stack titanx-receiver           make the subscription, store its secret
  operator send --stack titanx-receiver --count 3      three signed contacts of nobody
  operator reconcile --stack titanx-receiver JOB       what is missing of a job
  operator doctor --stack titanx-receiver --json       all that is amiss, for machines

Exit status:
  0  done, or nothing to do
  1  failed
  2  wrong usage
  3  found something for you to do: a finding, missing contacts, a step that waits for --yes

The deployed system is found by --stack (or RECEIVER_STACK), TitanX by TITANX_API_KEY.
Tasks, step by step: docs/operations.md";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen { json: cli.json };
    warnings();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs no more than this process has");
    match runtime.block_on(cli.command.run(screen)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(3),
        Err(error) => {
            screen.failed(&error);
            ExitCode::FAILURE
        }
    }
}

/// Shows the library's own warnings. Those of the SDK are about ways to credentials and regions
/// that were tried in vain; if none is left, the error says so.
fn warnings() {
    let own = Targets::new().with_target("titanx_receiver", LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .without_time();
    tracing_subscriber::registry()
        .with(lines.with_filter(own))
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
