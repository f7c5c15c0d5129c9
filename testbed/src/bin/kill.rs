//! Kills the release build of the function at every call to AWS, and prints the result for every
//! event: `cargo run --release -p titanx-testbed --bin kill`. The exit status is 0 only if no event
//! was lost, and none was processed twice except as promise 3 allows.

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
