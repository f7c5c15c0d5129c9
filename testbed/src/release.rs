//! The release build of the function.

use std::{env, path::PathBuf, process::Command};

/// Builds the function in the target directory of the running program, and returns its path.
pub fn receiver() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked"])
        .args(["--package", "titanx-receiver", "--bin", "receiver"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "the build of the function failed"
    );
    // target/release/<this program>
    let this = env::current_exe().expect("a running program has a path");
    let target = this
        .ancestors()
        .nth(2)
        .expect("the program is two levels below the target directory");
    target.join("release").join("receiver")
}
