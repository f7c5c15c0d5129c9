//! The function as it is deployed: the release build.

use std::{env, path::PathBuf, process::Command};

/// Builds it, beside the program that asks, and tells where it is.
pub fn receiver() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked"])
        .args(["--package", "titanx-receiver", "--bin", "receiver"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "the function does not build"
    );
    // target/release/<this program>
    let this = env::current_exe().expect("a running program has a path");
    let target = this
        .ancestors()
        .nth(2)
        .expect("programs lie two levels deep");
    target.join("release").join("receiver")
}
