//! Measures the receiver and compares it with lower bounds and common alternatives.

mod allocations;
mod compare;
mod contenders;
mod cpu;
mod endpoints;
mod environment;
#[cfg(test)]
mod example;
mod figures;
mod instructions;
mod invocations;
mod kept;
mod machine;
mod plot;
mod report;
mod scale;
mod statistics;
mod targets;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::compare::{Facts, Results};
use crate::contenders::EARLIER;
use crate::environment::Host;

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure every contender in every scene, print the tables, and store the figures and the chart.
    Compare(Compare),
    /// Print the tables and draw the chart from stored figures.
    Report {
        /// The file that `compare` wrote.
        results: PathBuf,
    },
    /// Show how latency and CPU of the receiver grow.
    Scale {
        #[command(flatten)]
        common: Common,
    },
    /// Count the receiver's instructions under callgrind.
    Instructions {
        #[command(flatten)]
        common: Common,
        /// Count an earlier build of the receiver too, and print the ratios.
        #[arg(long, value_name = "EXECUTABLE")]
        beside: Option<PathBuf>,
        /// Keep callgrind's output in this directory, for `callgrind_annotate`.
        #[arg(long)]
        callgrind: Option<PathBuf>,
        /// Compare with the counts in this file, and fail if one differs by more than 3 %.
        #[arg(long)]
        baseline: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Common {
    /// The receiver's executable [default: the package's release build].
    #[arg(long, value_name = "EXECUTABLE")]
    receiver: Option<PathBuf>,
    /// Measure a tenth of the deliveries. For a functional check; the figures are not reliable.
    #[arg(long)]
    quick: bool,
    /// Directory for figures and charts.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    keep: PathBuf,
}

#[derive(Args)]
struct Compare {
    #[command(flatten)]
    common: Common,
    /// Measure an earlier build of the receiver in the same rounds, and print the ratios.
    #[arg(long, value_name = "EXECUTABLE")]
    beside: Option<PathBuf>,
    /// What `cargo bench --bench delivery` printed: the allocations of a new contact are read from it.
    #[arg(long, value_name = "FILE")]
    allocations: Option<PathBuf>,
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Continue an interrupted comparison after its last complete round.
    #[arg(long)]
    resume: bool,
    /// Only these contenders (comma-separated names).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these scenes (comma-separated names).
    #[arg(long, value_delimiter = ',')]
    scenes: Vec<String>,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Compare(options) => compare(&options),
        Command::Report { results } => {
            show(&read(&results)?, results.parent().unwrap_or(Path::new(".")))
        }
        Command::Scale { common } => scale(&common),
        Command::Instructions {
            common,
            beside,
            callgrind,
            baseline,
        } => count_instructions(&common, beside, callgrind.as_deref(), baseline.as_deref()),
    }
}

fn compare(options: &Compare) -> Result<()> {
    let chosen =
        |chosen: &[String], name: &str| chosen.is_empty() || chosen.iter().any(|it| it == name);
    let earlier = options.beside.as_deref().map(executable).transpose()?;
    let earlier_name = earlier.as_deref().map(file_name);
    let mut contenders = contenders::all(receiver(&options.common)?, earlier);
    contenders.retain(|it| chosen(&options.only, it.name));
    let facts = Facts {
        earlier: earlier_name.filter(|_| contenders.iter().any(|it| it.name == EARLIER)),
        allocations: options
            .allocations
            .as_deref()
            .map(allocations::of_a_new_contact)
            .transpose()?,
    };
    let mut scenes = compare::scenes(options.common.quick);
    scenes.retain(|it| chosen(&options.scenes, &it.name));
    let file = options.common.keep.join("compare.json");
    let cut_off = options.resume.then(|| read(&file)).transpose()?;
    let keep_round = |results: &Results| keep(&file, &kept::json(results)?);
    let results = compare::run(
        &Host::new()?,
        &contenders,
        &scenes,
        options.rounds,
        facts,
        cut_off,
        keep_round,
    )?;
    show(&results, &options.common.keep)
}

/// Prints the tables, and writes the chart beside the figures.
fn show(results: &Results, directory: &Path) -> Result<()> {
    let receiver = contenders::release_build();
    let mut contenders = contenders::all(receiver.clone(), Some(receiver));
    contenders.retain(|it| results.sizes.contains_key(it.name));
    println!("{}", report::report(results, &contenders));
    // The picture is about the peers.
    contenders.retain(|it| it.name != EARLIER);
    keep(
        &directory.join("compare.svg"),
        &plot::svg(results, &contenders),
    )
}

fn scale(options: &Common) -> Result<()> {
    let receiver = contenders::receiver(receiver(options)?);
    let scale = scale::run(&Host::new()?, &receiver, options.quick)?;
    println!("{}", scale::report(&scale));
    keep(&options.keep.join("scale.json"), &kept::json(&scale)?)
}

fn count_instructions(
    options: &Common,
    beside: Option<PathBuf>,
    callgrind: Option<&Path>,
    baseline: Option<&Path>,
) -> Result<()> {
    let host = Host::new()?;
    let directory = callgrind.unwrap_or(&host.directory);
    let contender = contenders::receiver(receiver(options)?);
    let counted = instructions::count(&host, &contender, directory)?;
    println!("{}", serde_json::to_string_pretty(&counted)?);
    if let Some(beside) = beside {
        let earlier = contenders::earlier(executable(&beside)?);
        let directory = directory.join(earlier.name);
        fs::create_dir_all(&directory)?;
        let earlier = instructions::count(&host, &earlier, &directory)?;
        eprintln!("\n{}", counted.ratios(&earlier));
    }
    eprintln!("\n{}", instructions::growth(&host, &contender, directory)?);
    if let Some(baseline) = baseline {
        let baseline = serde_json::from_slice(&fs::read(baseline)?)?;
        eprintln!("\n{}", counted.compare(&baseline)?);
    }
    Ok(())
}

fn receiver(options: &Common) -> Result<PathBuf> {
    let given = options.receiver.as_deref();
    given.map_or_else(|| Ok(contenders::release_build()), executable)
}

/// Functions are started in directories of their own, so a path must not be relative.
fn executable(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| path.display().to_string())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn read(file: &Path) -> Result<Results> {
    let text = fs::read(file).with_context(|| file.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| file.display().to_string())
}

fn keep(file: &Path, text: &str) -> Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(file, text).with_context(|| file.display().to_string())?;
    eprintln!("kept {}", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
