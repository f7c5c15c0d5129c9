//! The whole system on this machine, with nothing installed but Rust: a sender like TitanX, a
//! gateway, the real receiver, and behind it DynamoDB, SQS and Secrets Manager, emulated in this
//! process and failing now and then.
//!
//! ```text
//! cargo run --example local                # a job of forty contacts: did every promise hold?
//! cargo run --example local -- --verbose   # and what the receiver logs
//! cargo run --example local -- --serve     # then stay up on 127.0.0.1:9000 for a `curl` of yours
//! ```
//!
//! The exit status is 0 only if every promise held. Start reading with [`story`].

mod containers;
mod gateway;
mod log;
mod promises;
mod screen;
mod serve;
mod story;
mod system;
mod titanx;

use std::{env, process::ExitCode, sync::Arc, time::Instant};

use self::{
    log::LogLines,
    promises::{Evidence, Promise},
    screen::Screen,
    system::System,
    titanx::TitanX,
};

type Error = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: cargo run --example local [-- [--verbose] [--serve]]";

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let (mut verbose, mut serve) = (false, false);
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--verbose" => verbose = true,
            "--serve" => serve = true,
            _ => {
                eprintln!("{USAGE}");
                return Ok(ExitCode::from(2));
            }
        }
    }
    let screen = Screen::new();
    let log = LogLines::collect(verbose.then_some(screen));
    let system = System::start().await?;
    let kept = play(&system, &log, screen).await?;
    if kept && serve {
        // With empty queues and tables, so that what arrives is easily found.
        serve::forever(System::start().await?, screen).await?;
    }
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Tells the story, and shows what came of it. Returns whether every promise held.
async fn play(system: &System, log: &LogLines, screen: Screen) -> Result<bool, Error> {
    let began = Instant::now();
    let (listener, url) = gateway::listen(0).await?;
    let gateway = gateway::serve(listener, Arc::clone(&system.receiver), |_, _| ());
    let gateway = tokio::spawn(gateway);

    screen.title("TitanX → gateway → receiver → DynamoDB and SQS, all in this process");
    let titanx = TitanX::new(&url, screen);
    let calls_of_strangers = story::tell(&titanx, system, screen).await;
    gateway.abort();

    let evidence = Evidence {
        attempts: titanx.attempts(),
        calls_of_strangers,
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
    let seconds = began.elapsed().as_secs_f64();
    screen.text(&format!("\n  {seconds:.1} seconds in all"));
    Ok(promises.iter().all(Promise::held))
}
