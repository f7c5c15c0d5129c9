//! What was promised, and what was measured.

use crate::compare::{Results, SceneResults};
use crate::figures::{cold, cold_cpu, first, first_to_warm, rss, warm, warm_cpu, warm_p99};
use crate::workload::Workload::{Duplicate, Forged};

const PYTHON: &str = "python-powertools";
const NODE: &str = "node-powertools";
const RECEIVER: &str = "receiver";

/// One line of the table of targets.
pub struct Target {
    pub title: &'static str,
    pub bound: Bound,
    /// None when this run did not measure it.
    pub measured: Option<f64>,
    /// The same with processors that are kept awake, where that was measured.
    pub awake: Option<f64>,
}

#[derive(Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

fn at_least(bound: f64, title: &'static str, measured: Option<f64>) -> Target {
    Target {
        title,
        bound: Bound::AtLeast(bound),
        measured,
        awake: None,
    }
}

fn at_most(bound: f64, title: &'static str, measured: Option<f64>) -> Target {
    Target {
        title,
        bound: Bound::AtMost(bound),
        measured,
        awake: None,
    }
}

/// Ratios are paired by round; every figure is a median over the rounds.
pub fn all(results: &Results) -> Vec<Target> {
    let mut targets = at_full_cpu(results.scene("tls"), results.scene("plain"));
    let awake = at_full_cpu(results.scene("tls-awake"), results.scene("plain-awake"));
    for awake in awake {
        if let Some(same) = targets.iter_mut().find(|it| it.title == awake.title) {
            same.awake = awake.measured;
        }
    }
    if let Some(share) = results.scene("5ms-128") {
        targets.extend(at_the_smallest_share(share));
    }
    targets.extend(without_rounds(results));
    targets
}

fn at_full_cpu(tls: Option<&SceneResults>, plain: Option<&SceneResults>) -> Vec<Target> {
    let mut targets = tls.map(over_tls).unwrap_or_default();
    targets.extend(plain.map(|plain| {
        at_most(
            48.0,
            "CPU of an AWS call above the no-op, plain HTTP, µs",
            call_above_noop(plain),
        )
    }));
    targets
}

fn over_tls(scene: &SceneResults) -> Vec<Target> {
    let duplicate = |start: &_| warm(start, Duplicate).cpu_us / warm_cpu(start);
    let forged = |start: &_| warm(start, Forged).cpu_us;
    vec![
        at_least(
            40.0,
            "init + first delivery: Python ÷ receiver",
            scene.ratio(PYTHON, RECEIVER, cold),
        ),
        at_least(
            20.0,
            "init + first delivery: Node ÷ receiver",
            scene.ratio(NODE, RECEIVER, cold),
        ),
        at_least(
            60.0,
            "CPU of init + first delivery: Python ÷ receiver",
            scene.ratio(PYTHON, RECEIVER, cold_cpu),
        ),
        at_least(
            28.0,
            "CPU of init + first delivery: Node ÷ receiver",
            scene.ratio(NODE, RECEIVER, cold_cpu),
        ),
        at_least(
            13.0,
            "CPU of a warm delivery: Python ÷ receiver",
            scene.ratio(PYTHON, RECEIVER, warm_cpu),
        ),
        at_least(
            20.0,
            "CPU of a warm delivery: Node ÷ receiver",
            scene.ratio(NODE, RECEIVER, warm_cpu),
        ),
        at_most(
            3.3,
            "CPU of a warm delivery: receiver ÷ floor",
            scene.ratio(RECEIVER, "floor", warm_cpu),
        ),
        at_least(
            9.0,
            "p99 of a warm delivery: Python ÷ receiver",
            scene.ratio(PYTHON, RECEIVER, warm_p99),
        ),
        at_least(
            30.0,
            "p99 of a warm delivery: Node ÷ receiver",
            scene.ratio(NODE, RECEIVER, warm_p99),
        ),
        at_most(
            0.5,
            "CPU of a duplicate ÷ of a new contact",
            scene.median(RECEIVER, duplicate),
        ),
        at_most(
            1.5,
            "CPU of a forged request: receiver ÷ no-op",
            scene.ratio(RECEIVER, "noop", forged),
        ),
        at_most(9.0, "resident memory, MB", scene.median(RECEIVER, rss)),
        at_least(
            6.5,
            "resident memory: Python ÷ receiver",
            scene.ratio(PYTHON, RECEIVER, rss),
        ),
        at_least(
            11.0,
            "resident memory: Node ÷ receiver",
            scene.ratio(NODE, RECEIVER, rss),
        ),
    ]
}

fn at_the_smallest_share(scene: &SceneResults) -> Vec<Target> {
    vec![
        at_most(
            1.1,
            "128 MB: first delivery ÷ own warm median",
            scene.median(RECEIVER, first_to_warm),
        ),
        at_least(
            12.0,
            "128 MB: first delivery: Python ÷ receiver",
            scene.ratio(PYTHON, RECEIVER, first),
        ),
        at_least(
            45.0,
            "128 MB: first delivery: Node ÷ receiver",
            scene.ratio(NODE, RECEIVER, first),
        ),
    ]
}

/// What one of the three calls of a new contact costs beyond receiving and answering.
fn call_above_noop(scene: &SceneResults) -> Option<f64> {
    scene.paired(RECEIVER, "noop", |receiver, noop| {
        (warm_cpu(receiver) - warm_cpu(noop)) / 3.0
    })
}

fn without_rounds(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    if let Some(counted) = results.instructions {
        targets.extend([
            at_most(
                2.0,
                "instructions of init, unprimed, millions",
                Some(counted.init_unprimed),
            ),
            at_most(
                7.0,
                "instructions of init + first delivery, millions",
                Some(counted.init_and_first),
            ),
        ]);
    }
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    targets.push(at_most(
        3.2,
        "zip of the arm64 function, MB",
        results.arm64_zip.map(megabytes),
    ));
    targets
}
