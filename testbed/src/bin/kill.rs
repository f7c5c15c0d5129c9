//! Kills the release build of the function at every call to AWS that it makes, and prints what
//! became of every event: `cargo run --release --example kill`. Exit status 0 only if nothing was
//! lost and nothing was done twice outside promise 3.

use std::process::ExitCode;

#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests, which use all of it"
)]
#[path = "../tests/it/support"]
mod support {
    pub(crate) mod answer;
    pub(crate) mod emulators;
    pub(crate) mod lambda;
    pub(crate) mod release;
    pub(crate) mod surroundings;
    pub(crate) mod titanx;
}

#[path = "../tests/it/kill.rs"]
mod kill;

#[tokio::main]
async fn main() -> ExitCode {
    let report = kill::run(&support::release::receiver(), 1).await;
    println!("{report}");
    println!(
        "{} kills, {} lost, {} second messages, {} wrong",
        report.kills(),
        report.lost(),
        report.duplicates(),
        report.wrong().len()
    );
    for wrong in report.wrong() {
        println!("{wrong}");
    }
    ExitCode::from(u8::from(!report.wrong().is_empty()))
}
