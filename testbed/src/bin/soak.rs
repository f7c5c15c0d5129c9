//! Runs a soak test of the release build of the function, with a misbehaving sender and failing AWS
//! calls: `cargo run --release -p titanx-testbed --bin soak -- --deliveries 100000 --jobs 100
//! --faults 0.2`. The exit status is 0 only if every event is durable, every second message has a
//! cause, every answer is in the answer table, and the function's memory did not grow.

use std::{
    env,
    process::ExitCode,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use titanx_testbed::{release, soak};

const USAGE: &str = "options: --deliveries N, --jobs N, --faults SHARE, --kills N, --mistakes SECONDS, --concurrency N, --seed N";

#[tokio::main]
async fn main() -> ExitCode {
    let Some(plan) = plan(env::args().skip(1).collect()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("seed                  {}", plan.seed);
    let report = soak::run(plan).await;
    println!("{report}");
    ExitCode::from(u8::from(!report.wrong().is_empty()))
}

fn plan(mut options: Vec<String>) -> Option<soak::Plan> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let plan = soak::Plan {
        deliveries: take(&mut options, "--deliveries", 100_000)?,
        jobs: take(&mut options, "--jobs", 100)?,
        faults: take(&mut options, "--faults", 0.2)?,
        kills: take(&mut options, "--kills", 20)?,
        mistakes: Duration::from_secs(take(&mut options, "--mistakes", 60)?),
        concurrency: take(&mut options, "--concurrency", 24)?,
        seed: take(&mut options, "--seed", now.as_secs())?,
        binary: release::receiver(),
    };
    let possible =
        plan.jobs > 0 && plan.jobs <= plan.deliveries && (0.0..1.0).contains(&plan.faults);
    (possible && options.is_empty()).then_some(plan)
}

/// Removes an option and its value from `options`. `None` if the value is missing or invalid.
fn take<T: FromStr>(options: &mut Vec<String>, name: &str, default: T) -> Option<T> {
    let Some(position) = options.iter().position(|option| option == name) else {
        return Some(default);
    };
    options.remove(position);
    if position < options.len() {
        options.remove(position).parse().ok()
    } else {
        None
    }
}
