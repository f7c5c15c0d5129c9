//! The features with which cargo compiles each dependency.

use std::collections::BTreeSet;
use std::process::Command;

use super::root;

/// A dependency whose features differ between the two commands of the README would be compiled a second time, and with it
/// everything that depends on it. The list of features in `Cargo.toml` prevents that.
#[test]
fn the_tests_reuse_the_dependencies_of_the_local_run() {
    let (local, tests) = (features(&[]), features(&["--workspace"]));
    assert!(local.len() > 200, "{local:#?}");
    let again = local.difference(&tests).map(|it| {
        let package = it.split('[').next().expect("a name");
        let also = tests.iter().find(|other| other.starts_with(package));
        format!("{it}, but with --workspace {also:?}\n")
    });
    let again = again.collect::<String>();
    assert!(again.is_empty(), "compiled twice:\n{again}");
}

/// Each dependency with its version and features, as compiled for these packages with their tests and examples.
fn features(packages: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none"])
        .args(["--edges", "normal,build,dev", "--format", "{p} [{f}]"])
        .args(packages)
        .current_dir(root())
        .output()
        .expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = text.lines().map(|it| it.trim_end_matches(" (*)"));
    lines.map(str::to_owned).collect()
}
