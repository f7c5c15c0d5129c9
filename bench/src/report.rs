//! The results as Markdown tables.

use std::fmt::Write;

use crate::compare::{Results, SceneResults, Warm};
use crate::contenders::{Contender, EARLIER, RECEIVER, Size};
use crate::cpu::Method;
use crate::endpoints::Transport;
use crate::figures::{self, Figure};
use crate::instructions::Instructions;
use crate::targets::{self, Bound, Measured, Target};
use crate::workload::Workload;

/// All tables, as they are printed.
pub fn report(results: &Results, contenders: &[Contender]) -> String {
    let mut report = machine(results);
    for scene in &results.scenes {
        report.push_str(&scene_tables(scene, contenders));
    }
    report.push_str(&sizes(results, contenders));
    report.push_str(&beside_earlier(results));
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
    let earlier = results.earlier.iter();
    let earlier = earlier.map(|name| format!("\nThe earlier build is {name}."));
    let earlier = earlier.collect::<String>();
    let sha = if it.sha_instructions {
        "with SHA instructions"
    } else {
        "without SHA instructions"
    };
    format!(
        "Medians of {} alternating rounds. {} ({sha}, {} cores, {} MB), Linux {}, load {}; {}; {}; Node {}; commit {}; {} UTC.\n\
         CPU shares are enforced by {method}.{earlier}\n\
         *Answer* is the time until the answer was posted, *next* the time until the next event was requested.\n",
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
        ("first answer ms", figures::first_answer),
        ("first next ms", figures::first_next),
        ("CPU of both ms", figures::cold_cpu),
        ("warm answer ms", figures::warm_answer_ms),
        ("answer p99 ms", figures::warm_answer_p99_ms),
        ("warm next ms", figures::warm_next_ms),
        ("next p99 ms", figures::warm_next_p99_ms),
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
        tables.push_str("\nOther requests: warm answer / answer p99 / next / CPU, µs\n\n");
        tables.push_str(&table(&titles, rows));
    }
    tables
}

fn other_workload(scene: &SceneResults, contender: &Contender, workload: Workload) -> String {
    let figures: [fn(&Warm) -> f64; 4] = [
        |warm| warm.answer_median_us,
        |warm| warm.answer_p99_us,
        |warm| warm.next_median_us,
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

/// The receiver's figures divided by the earlier build's; empty if none was measured.
fn beside_earlier(results: &Results) -> String {
    if results.sizes.contains_key(EARLIER) && results.sizes.contains_key(RECEIVER) {
        let (scenes, facts) = (scene_ratios(results), fact_ratios(results));
        format!("\n## The earlier build = 1\n\n{scenes}\n{facts}")
    } else {
        String::new()
    }
}

/// Ratios paired by round, for each scene.
fn scene_ratios(results: &Results) -> String {
    let columns: &[(&str, Figure)] = &[
        ("init", figures::init),
        ("first answer", figures::first_answer),
        ("first next", figures::first_next),
        ("CPU of both", figures::cold_cpu),
        ("warm answer", figures::warm_answer_ms),
        ("answer p99", figures::warm_answer_p99_ms),
        ("warm next", figures::warm_next_ms),
        ("next p99", figures::warm_next_p99_ms),
        ("CPU", figures::warm_cpu),
        ("RSS", figures::rss),
        ("peak RSS", figures::peak_rss),
    ];
    let rows = results.scenes.iter().map(|scene| {
        let ratio = |(_, figure): &(&str, Figure)| number(scene.ratio(RECEIVER, EARLIER, figure));
        (title(scene), columns.iter().map(ratio).collect())
    });
    let titles = columns.iter().map(|(title, _)| (*title).to_owned());
    table(&titles.collect::<Vec<_>>(), rows)
}

/// Ratios of figures that do not depend on the round: instructions and sizes.
fn fact_ratios(results: &Results) -> String {
    let counted = |name| results.instructions.get(name);
    let instructions = counted(RECEIVER).zip(counted(EARLIER)).into_iter();
    let instructions = instructions.flat_map(|(new, earlier)| instruction_rows(new, earlier));
    let weighed = |name| results.sizes.get(name);
    let sizes = weighed(RECEIVER).zip(weighed(EARLIER)).into_iter();
    let sizes = sizes.flat_map(|(new, earlier)| size_rows(*new, *earlier));
    let rows = instructions.chain(sizes).map(|(title, earlier, new)| {
        let cells = [earlier, new, new / earlier].map(|it| number(Some(it)));
        (title, cells.to_vec())
    });
    table(&["earlier", "new", "ratio"].map(str::to_owned), rows)
}

/// Title, figure of the earlier build, figure of the new one.
type Fact = (String, f64, f64);

fn instruction_rows<'a>(
    new: &'a Instructions,
    earlier: &'a Instructions,
) -> impl Iterator<Item = Fact> + 'a {
    let rows = new.beside(earlier).into_iter();
    rows.map(|(name, earlier, new)| (format!("instructions of {name}, millions"), earlier, new))
}

fn size_rows(new: Size, earlier: Size) -> Vec<Fact> {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let binary = new.binary.zip(earlier.binary);
    let binary = binary.map(|(new, earlier)| ("binary, MB".to_owned(), earlier, new));
    let zip = Some(("zip, MB".to_owned(), earlier.zip, new.zip));
    let rows = binary.into_iter().chain(zip);
    rows.map(|(title, earlier, new)| (title, megabytes(earlier), megabytes(new)))
        .collect()
}

/// The peers' figures divided by the receiver's, paired by round.
fn ratios(results: &Results) -> String {
    let columns: &[(&str, &str, Figure)] = &[
        ("init + first answer", "tls", figures::cold_answer),
        ("init + first next", "tls", figures::cold_next),
        ("CPU of both", "tls", figures::cold_cpu),
        ("warm answer", "tls", figures::warm_answer_ms),
        ("answer p99", "tls", figures::warm_answer_p99_ms),
        ("warm next", "tls", figures::warm_next_ms),
        ("next p99", "tls", figures::warm_next_p99_ms),
        ("CPU", "tls", figures::warm_cpu),
        ("CPU after 20 ms idle", "idle", figures::warm_cpu),
        ("RSS", "tls", figures::rss),
        ("128 MB: first answer", "5ms-128", figures::first_answer),
        ("128 MB: warm answer", "5ms-128", figures::warm_answer_ms),
        ("128 MB: warm next", "5ms-128", figures::warm_next_ms),
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
                        .and_then(|scene| scene.ratio(name, RECEIVER, figure)),
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
    let titles = [
        "target",
        "measured",
        "verdict",
        "awake",
        "verdict",
        "to next",
        "to next, awake",
    ];
    format!(
        "\n## Targets\n\nTimes are times to answer; *to next* is the same figure for the time to the next request, which \
         has no target.\n\n{}",
        table(&titles.map(str::to_owned), rows)
    )
}

fn target_cells(target: &Target) -> Vec<String> {
    let bound = match target.bound {
        Bound::AtLeast(bound) => format!("≥ {bound}"),
        Bound::AtMost(bound) => format!("≤ {bound}"),
    };
    let judged = |measured: Measured, applies: bool| {
        let judged = measured.figure.filter(|_| applies);
        let verdict = judged.map_or_else(|| "–".to_owned(), |it| verdict(target.bound, it));
        [number(measured.figure), verdict]
    };
    let nexts = [target.measured, target.awake].map(|it| number(it.next));
    [bound]
        .into_iter()
        .chain(judged(target.measured, !target.only_awake))
        .chain(judged(target.awake, true))
        .chain(nexts)
        .collect()
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

fn table<T: AsRef<str>>(
    columns: &[String],
    rows: impl Iterator<Item = (T, Vec<String>)>,
) -> String {
    let mut table = format!(
        "| | {} |\n|---|{}\n",
        columns.join(" | "),
        "--:|".repeat(columns.len())
    );
    for (title, cells) in rows {
        let title = match title.as_ref() {
            RECEIVER => "**receiver**",
            title => title,
        };
        let _ = writeln!(table, "| {title} | {} |", cells.join(" | "));
    }
    table
}

/// Formats a figure with about three significant digits.
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contenders;
    use crate::example::{results, starts};

    fn printed(results: &Results) -> String {
        let receiver = contenders::release_build();
        let mut contenders = contenders::all(receiver.clone(), Some(receiver));
        contenders.retain(|it| results.sizes.contains_key(it.name));
        report(results, &contenders)
    }

    fn cells<'a>(report: &'a str, title: &str) -> Vec<&'a str> {
        let line = report.lines().find(|line| line.contains(title));
        let cells = line.expect(title).split('|').map(str::trim);
        cells.skip(2).filter(|cell| !cell.is_empty()).collect()
    }

    #[test]
    fn the_earlier_build_is_printed_where_one_was_driven_and_else_not_mentioned() {
        let receiver = starts([6e2, 6e2, 6e2], [2.0, 2.0, 2.0]);
        let earlier = starts([1e3, 1e3, 1e3], [1.0, 1.0, 1.0]);
        let both = json!({"receiver": receiver, "earlier": earlier});
        let report = printed(&results(&both, Some("receiver-old")));
        assert!(report.contains("The earlier build is receiver-old."));
        assert!(report.contains("| receiver (earlier build) | 1.00 | 1.00 | 2.00 |"));
        assert_eq!(
            cells(&report, "instructions of warm delivery"),
            ["2.00", "2.20", "1.10"]
        );
        let (_, ratios) = report.split_once("## The earlier build = 1").unwrap();
        // init, first answer and next, CPU of both, warm answer, its p99, next, its p99, CPU, RSS, peak.
        assert_eq!(
            cells(ratios, "TLS, 5 ms a call, 128 MB share")[..],
            [
                "1.00", "0.60", "0.80", "1.00", "0.60", "0.60", "0.80", "0.80", "2.00", "1.00",
                "1.00"
            ]
        );

        let alone = json!({"receiver": receiver});
        let report = printed(&results(&alone, None));
        assert!(!report.to_lowercase().contains("earlier"), "{report}");
    }

    #[test]
    fn a_target_tells_bound_figures_verdicts_and_the_times_to_the_next_request() {
        let driven = json!({
            "receiver": starts([9.5e2, 9.5e2, 9.5e2], [1.2, 1.2, 1.2]),
            "earlier": starts([1e3, 1e3, 1e3], [1.0, 1.0, 1.0]),
        });
        let report = printed(&results(&driven, Some("receiver-old")));
        let (_, targets) = report.split_once("## Targets").unwrap();
        let missed = "**missed by 6 %**";
        assert_eq!(
            cells(targets, "| time to answer: new"),
            ["≤ 0.9", "0.95", missed, "0.95", missed, "0.97", "0.97"]
        );
        assert_eq!(
            cells(targets, "CPU of a warm delivery: new"),
            ["≤ 1.3", "1.20", "–", "1.20", "met", "–", "–"]
        );
        assert_eq!(
            cells(targets, "allocations")[..3],
            ["≤ 500", "501", "**missed by 1 %**"]
        );
    }
}
