//! The machine on which the figures were measured.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::Result;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Machine {
    /// UTC, at the end of the run.
    pub date: String,
    pub commit: String,
    pub cpu: String,
    /// Whether it has instructions for SHA-256, which make hashing several times faster.
    pub sha_instructions: bool,
    pub cores: usize,
    pub memory_mb: u64,
    pub kernel: String,
    /// Over the last 1, 5 and 15 minutes, this run included.
    pub load: String,
    pub rustc: String,
    pub python: String,
    pub node: String,
    pub python_packages: Vec<String>,
    pub node_packages: Vec<String>,
}

impl Machine {
    pub fn describe() -> Result<Self> {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = bench
            .join("peers/python/.venv/bin/python")
            .display()
            .to_string();
        let node = fs::read_to_string(bench.join("peers/node/package.json"))?;
        let node: serde_json::Value = serde_json::from_str(&node)?;
        let node_packages = node["dependencies"].as_object().into_iter().flatten();
        Ok(Self {
            date: said("date", &["-u", "+%Y-%m-%d %H:%M"]),
            commit: said(
                "git",
                &[
                    "-C",
                    env!("CARGO_MANIFEST_DIR"),
                    "describe",
                    "--always",
                    "--dirty",
                ],
            ),
            cpu: field("/proc/cpuinfo", "model name"),
            sha_instructions: has_sha_instructions(),
            cores: thread::available_parallelism()?.get(),
            memory_mb: field("/proc/meminfo", "MemTotal")
                .trim_end_matches(" kB")
                .parse::<u64>()?
                / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            load: fs::read_to_string("/proc/loadavg")?
                .split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
            rustc: said("rustc", &["--version"]),
            python: said(&python, &["--version"]),
            node: said("node", &["--version"]),
            python_packages: said(&python, &["-m", "pip", "freeze"])
                .lines()
                .map(str::to_owned)
                .collect(),
            node_packages: node_packages
                .map(|(name, version)| format!("{name}@{version}").replace('"', ""))
                .collect(),
        })
    }
}

/// By Linux's names of the CPU flags on x86 and ARM.
fn has_sha_instructions() -> bool {
    let flags = [
        field("/proc/cpuinfo", "flags"),
        field("/proc/cpuinfo", "Features"),
    ];
    let mut flags = flags.iter().flat_map(|flags| flags.split(' '));
    flags.any(|flag| flag == "sha_ni" || flag == "sha2")
}

/// The output of a program; empty if it is not installed.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// The first value of a name in a file of `name: value` lines.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':'))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}
