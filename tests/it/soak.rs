//! Runs a short soak test. `cargo run --release -p titanx-testbed --bin soak` runs a long one.

use std::time::Duration;

use titanx_testbed::soak::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_short_soak_loses_nothing_and_explains_every_second_message() {
    let report = run(Plan {
        deliveries: 500,
        jobs: 10,
        faults: 0.2,
        kills: 3,
        mistakes: Duration::from_secs(2),
        concurrency: 6,
        seed: 1,
        binary: env!("CARGO_BIN_EXE_receiver").into(),
    })
    .await;
    assert_eq!(report.wrong(), [""; 0], "{report}");
}
