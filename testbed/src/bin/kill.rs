//! Kills the release build of the function at every call to AWS that it makes, and prints what
//! became of every event: `cargo run --release -p titanx-testbed --bin kill`. Exit status 0 only if
//! nothing was lost and nothing was done twice outside promise 3.

use std::process::ExitCode;

use titanx_testbed::{kill, release};

#[tokio::main]
async fn main() -> ExitCode {
    let report = kill::run(&release::receiver(), 1).await;
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
