//! Operates the receiver: manages TitanX subscriptions, rotates signing secrets, reconciles jobs
//! and inspects the quarantine queue.
//!
//! Each command has its own file in [`commands`]. The modules beside it are shared by the commands:
//!
//! | module | contents |
//! |---|---|
//! | [`stack`] | options that select the CloudFormation stack, and clients for its resources |
//! | [`titanx`] | options that select TitanX's API |
//! | [`secret_store`] | the stored signing secrets and the ledger of subscriptions |
//! | [`provisioning`] | steps that `subscribe` and `rotate` share |
//! | [`delivery_records`] | scan of the deliveries table with a progress bar |
//! | [`screen`] | output to the terminal |

#![expect(
    clippy::doc_markdown,
    reason = "the doc comments of the commands are their help texts"
)]

// First, because the other modules use its macro.
#[macro_use]
mod screen;

mod commands;
mod delivery_records;
mod plain_error;
mod probe;
mod provisioning;
mod secret_store;
mod stack;
mod titanx;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser};
use tracing_subscriber::{
    Layer, filter::LevelFilter, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{
    commands::{Command, CommandStatus},
    screen::{NOTICE, Screen, styled},
};

/// Operate the receiver for TitanX webhooks
#[derive(Parser)]
#[command(name = "operator", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  operator subscribe --stack titanx-receiver           create a subscription and store its secret
  operator send --stack titanx-receiver --count 3      send three signed, synthetic contacts
  operator reconcile --stack titanx-receiver JOB       list the missing contacts of a job
  operator doctor --stack titanx-receiver --json       check the stack, with JSON output

Exit status:
  0  succeeded, or there was nothing to do
  1  failed
  2  invalid usage
  3  action needed: a problem was found, contacts are missing, or the command needs --yes

Commands find the stack by --stack (or RECEIVER_STACK) and authenticate to TitanX with the API key
in TITANX_API_KEY. See docs/operations.md for step-by-step guides.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen { json: cli.json };
    init_logging();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the runtime can be created");
    match runtime.block_on(cli.command.run(Cli::command(), screen)) {
        Ok(CommandStatus::Success) => ExitCode::SUCCESS,
        Ok(CommandStatus::ActionNeeded) => ExitCode::from(3),
        Err(error) => {
            screen.error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Standard error, with the beginning of a warning.
fn warnings() -> impl Write {
    let mut errors = anstream::stderr();
    let _ignored = write!(errors, "{} ", styled(NOTICE, "warning:"));
    errors
}

/// Prints the warnings of `titanx_receiver` to standard error, in the form of this command's own. The
/// SDK's warnings are left out: they report each credential and region provider that has no value,
/// even if a later provider has one. If none has one, the command fails with an error.
fn init_logging() {
    let filter = Targets::new().with_target("titanx_receiver", LevelFilter::WARN);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(warnings)
        .log_internal_errors(false)
        .with_ansi(false)
        .with_level(false)
        .with_target(false)
        .without_time();
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
