//! The results as tables, in Markdown so that they can be kept as they are printed.

use std::fmt::Write;

use crate::compare::{Results, SceneResults, Warm};
use crate::contenders::Contender;
use crate::cpu::Method;
use crate::endpoints::Transport;
use crate::figures::{self, Figure};
use crate::targets::{self, Bound, Target};
use crate::workload::Workload;

/// Everything, as it is printed.
pub fn report(results: &Results, contenders: &[Contender]) -> String {
    let mut report = machine(results);
    for scene in &results.scenes {
        report.push_str(&scene_tables(scene, contenders));
    }
    report.push_str(&sizes(results, contenders));
    report.push_str(&ratios(results));
    report.push_str(&targets_table(results));
    report
}

fn machine(results: &Results) -> String {
    let it = &results.machine;
    let method = match results.method {
        Method::CgroupV2 | Method::CgroupV1 => {
            "the kernel's bandwidth control, in periods of 20 ms as on Lambda"
        }
        Method::StopAndContinue => "stopping and continuing the process in periods of 20 ms",
    };
    format!(
        "Medians of {} alternating rounds. {} ({} cores, {} MB), Linux {}, load {}; {}; {}; Node {}; commit {}; {} UTC.\n\
         Shares of a CPU are kept by {method}.\n",
        results.rounds,
        it.cpu,
        it.cores,
        it.memory_mb,
        it.kernel,
        it.load,
        it.rustc,
        it.python,
        it.node,
        it.commit,
        it.date,
    )
}

fn scene_tables(scene: &SceneResults, contenders: &[Contender]) -> String {
    let columns: &[(&str, Figure)] = &[
        ("init ms", figures::init),
        ("first delivery ms", figures::first),
        ("CPU of both ms", figures::cold_cpu),
        ("warm median ms", figures::warm_median_ms),
        ("warm p99 ms", figures::warm_p99_ms),
        ("CPU µs / delivery", figures::warm_cpu),
        ("RSS MB", figures::rss),
        ("peak RSS MB", figures::peak_rss),
    ];
    let present = contenders
        .iter()
        .filter(|it| scene.starts.contains_key(it.name));
    let rows = present.clone().map(|it| {
        let cells = columns
            .iter()
            .map(|(_, figure)| number(scene.median(it.name, figure)));
        (it.title, cells.collect())
    });
    let titles = columns
        .iter()
        .map(|(title, _)| (*title).to_owned())
        .collect::<Vec<_>>();
    let mut tables = format!("\n## {}\n\n{}", title(scene), table(&titles, rows));

    let others = scene
        .scene
        .deliveries
        .keys()
        .filter(|it| **it != Workload::New)
        .collect::<Vec<_>>();
    if !others.is_empty() {
        let titles = others
            .iter()
            .map(|it| it.title().to_owned())
            .collect::<Vec<_>>();
        let rows = present.map(|contender| {
            let cell = |workload: &&Workload| other_workload(scene, contender, **workload);
            (contender.title, others.iter().map(cell).collect())
        });
        tables.push_str("\nOther requests: warm median / p99 / CPU, µs\n\n");
        tables.push_str(&table(&titles, rows));
    }
    tables
}

fn other_workload(scene: &SceneResults, contender: &Contender, workload: Workload) -> String {
    let figures: [fn(&Warm) -> f64; 3] = [
        |warm| warm.median_us,
        |warm| warm.p99_us,
        |warm| warm.cpu_us,
    ];
    let cells = figures.map(|figure| {
        number(scene.median(contender.name, |start| {
            figure(&figures::warm(start, workload))
        }))
    });
    if contender.takes(workload) {
        cells.join(" / ")
    } else {
        "–".to_owned()
    }
}

fn title(results: &SceneResults) -> String {
    let scene = &results.scene;
    let transport = match scene.transport {
        Transport::Tls => "TLS",
        Transport::Plain => "Plain HTTP",
    };
    let delay = match scene.delay_ms {
        0 => "no added latency".to_owned(),
        delay => format!("{delay} ms a call"),
    };
    let idle = match scene.idle_ms {
        0 => String::new(),
        idle => format!(", {idle} ms idle before each delivery"),
    };
    let awake = if scene.awake {
        ", processors kept awake"
    } else {
        ""
    };
    let share = scene.share.title();
    format!("{transport}, {delay}, {share}{idle}{awake}")
}

fn sizes(results: &Results, contenders: &[Contender]) -> String {
    let megabytes = |bytes: Option<u64>| number(bytes.map(|bytes| bytes as f64 / 1e6));
    let rows = contenders.iter().filter_map(|contender| {
        let size = results.sizes.get(contender.name)?;
        Some((
            contender.title,
            vec![megabytes(size.binary), megabytes(Some(size.zip))],
        ))
    });
    format!(
        "\n## Size\n\n{}",
        table(&["binary MB".to_owned(), "zip MB".to_owned()], rows)
    )
}

/// The peers as multiples of the receiver, paired by round.
fn ratios(results: &Results) -> String {
    let columns: &[(&str, &str, Figure)] = &[
        ("init + first", "tls", figures::cold),
        ("CPU of both", "tls", figures::cold_cpu),
        ("warm median", "tls", figures::warm_median),
        ("p99", "tls", figures::warm_p99),
        ("CPU", "tls", figures::warm_cpu),
        ("CPU after 20 ms idle", "idle", figures::warm_cpu),
        ("RSS", "tls", figures::rss),
        ("128 MB: first", "5ms-128", figures::first),
        ("128 MB: warm median", "5ms-128", figures::warm_median),
    ];
    let peers = [
        ("python-powertools", "Python, Powertools"),
        ("python-boto3", "Python, boto3 alone"),
        ("node-powertools", "Node, Powertools"),
        ("node-sdk", "Node, SDK alone"),
    ];
    let driven = |name: &str| results.scenes.iter().any(|it| it.starts.contains_key(name));
    let rows = peers
        .into_iter()
        .filter(|(name, _)| driven(name))
        .map(|(name, title)| {
            let cell = |(_, scene, figure): &(_, &str, Figure)| {
                number(
                    results
                        .scene(scene)
                        .and_then(|scene| scene.ratio(name, "receiver", figure)),
                )
            };
            (title, columns.iter().map(cell).collect())
        });
    let titles = columns
        .iter()
        .map(|(title, ..)| (*title).to_owned())
        .collect::<Vec<_>>();
    format!("\n## The receiver = 1\n\n{}", table(&titles, rows))
}

fn targets_table(results: &Results) -> String {
    let rows = targets::all(results)
        .into_iter()
        .map(|target| (target.title, target_cells(&target)));
    let titles = ["target", "measured", "verdict", "awake", "verdict"].map(str::to_owned);
    format!("\n## Targets\n\n{}", table(&titles, rows))
}

fn target_cells(target: &Target) -> Vec<String> {
    let bound = match target.bound {
        Bound::AtLeast(bound) => format!("≥ {bound}"),
        Bound::AtMost(bound) => format!("≤ {bound}"),
    };
    let mut cells = vec![bound];
    for measured in [target.measured, target.awake] {
        cells.push(number(measured));
        cells.push(measured.map_or_else(|| "–".to_owned(), |it| verdict(target.bound, it)));
    }
    cells
}

fn verdict(bound: Bound, measured: f64) -> String {
    let short = match bound {
        Bound::AtLeast(bound) => 1.0 - measured / bound,
        Bound::AtMost(bound) => measured / bound - 1.0,
    };
    if short <= 0.0 {
        "met".to_owned()
    } else {
        format!("**missed by {:.0} %**", (short * 100.0).ceil())
    }
}

fn table(columns: &[String], rows: impl Iterator<Item = (&'static str, Vec<String>)>) -> String {
    let mut table = format!(
        "| | {} |\n|---|{}\n",
        columns.join(" | "),
        "--:|".repeat(columns.len())
    );
    for (title, cells) in rows {
        let title = if title == "receiver" {
            "**receiver**"
        } else {
            title
        };
        let _ = writeln!(table, "| {title} | {} |", cells.join(" | "));
    }
    table
}

/// Three digits that mean something.
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}
