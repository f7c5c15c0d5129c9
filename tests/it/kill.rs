//! Runs one in five of the kills of `cargo run --release -p titanx-testbed --bin kill`.

use std::path::Path;

use titanx_testbed::kill::run;

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_call_loses_nothing() {
    let binary = Path::new(env!("CARGO_BIN_EXE_receiver"));
    let report = run(binary, 5).await;
    assert_eq!(report.wrong(), [""; 0], "{report}");
    assert!(report.kills() >= 30, "{report}");
    assert_eq!(report.lost(), 0);
    assert!(report.duplicates() > 0, "the window of promise 3 was met");
}
