//! Runs the whole system on this machine with only Rust installed: a sender that behaves like
//! TitanX, a gateway, the real receiver, and emulated DynamoDB, SQS and Secrets Manager with
//! injected faults.
//!
//! ```text
//! cargo run --example local                # deliver a job with 40 contacts, and check the promises
//! cargo run --example local -- --verbose   # also print the receiver's log
//! cargo run --example local -- --serve     # then serve on 127.0.0.1:9000 until Ctrl-C
//! ```
//!
//! At last the healer fetches a contact that TitanX never delivers. The exit status is 0 only if every promise held
//! and the contact arrived. Start reading with [`scenario`].

mod containers;
mod error;
mod healing;
mod log;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod printed;
mod promises;
mod scenario;
mod screen;
mod serve;
mod system;
mod titanx;

use std::{env, process::ExitCode, sync::Arc, time::Instant};

use titanx_testbed::gateway::Gateway;

use self::{
    error::Error,
    log::LogLines,
    promises::{Evidence, Promise},
    screen::Screen,
    system::System,
    titanx::TitanxSender,
};

const USAGE: &str = "usage: cargo run --example local [-- [--verbose] [--serve]]";

/// What the command line asks for.
#[derive(Debug, Default, PartialEq)]
struct Options {
    verbose: bool,
    serve: bool,
}

impl Options {
    /// Returns `None` if there is an argument that is not an option.
    fn read(arguments: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut options = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--verbose" => options.verbose = true,
                "--serve" => options.serve = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let Some(Options { verbose, serve }) = Options::read(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    let screen = Screen::new();
    let log = LogLines::collect(verbose.then_some(screen));
    let system = System::start().await?;
    let all_held = run(&system, &log, screen).await;
    if all_held && serve {
        // A new system, so that tables and queues contain only what you deliver.
        serve::forever(System::start().await?, screen).await?;
    }
    Ok(ExitCode::from(exit_status(all_held)))
}

/// The exit status of a run.
fn exit_status(all_held: bool) -> u8 {
    u8::from(!all_held)
}

/// Runs the scenario, and prints its results. Returns whether every promise held, and what TitanX never
/// delivered arrived all the same.
async fn run(system: &System, log: &LogLines, screen: Screen) -> bool {
    let started = Instant::now();
    let gateway = Gateway::start(Arc::clone(&system.receiver));

    screen.title("TitanX → gateway → receiver → DynamoDB and SQS, all in this process");
    let titanx = TitanxSender::new(&gateway.url, screen);
    let (job_id, calls_for_forged) = scenario::run(&titanx, &gateway, system, screen).await;
    gateway.idle().await;

    let evidence = Evidence {
        attempts: titanx.attempts(),
        calls_for_forged,
        lost_sends: system.lost_sends(),
        log_lines: log.lines(),
        emulators: &system.emulators,
    };
    system.show_faults(screen);
    evidence.show_totals(screen);
    let promises = evidence.examine();
    screen.title("The promises");
    for promise in &promises {
        promise.show(screen);
    }
    let mut all_held = promises.iter().all(Promise::held);
    if all_held {
        all_held = match healing::heal(system, &job_id, screen).await {
            Ok(healed) => healed,
            Err(error) => {
                screen.text(&format!("  the healer failed: {error}"));
                false
            }
        };
    }
    let seconds = started.elapsed().as_secs_f64();
    screen.text(&format!("\n  total time: {seconds:.1} s"));
    all_held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_read_for_itself_and_no_other_argument_is_taken() {
        let read = |line: &str| Options::read(line.split_whitespace().map(str::to_owned));
        for (line, verbose, serve) in [
            ("", false, false),
            ("--verbose", true, false),
            ("--serve", false, true),
            ("--serve --verbose", true, true),
        ] {
            assert_eq!(read(line), Some(Options { verbose, serve }), "{line}");
        }
        for line in ["--help", "--verbose serve", "-v"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
