//! The targets, and the measured figures.

use crate::compare::{Results, SceneResults};
use crate::contenders::{EARLIER, FLOOR, NODE, NOOP, PYTHON, RECEIVER};
use crate::figures::{
    Figure, cold_answer, cold_cpu, cold_next, first_answer, first_next, rss, warm, warm_answer_ms,
    warm_answer_p99_ms, warm_cpu, warm_next_ms, warm_next_p99_ms,
};
use crate::workload::Workload::{Duplicate, Forged};

/// One line of the table of targets.
#[derive(Clone, Copy)]
pub struct Target {
    pub title: &'static str,
    pub bound: Bound,
    /// Whether the bound applies only with processors kept awake.
    pub only_awake: bool,
    pub measured: Measured,
    /// The same with processors that are kept awake.
    pub awake: Measured,
}

#[derive(Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Measured figures of a target; `None` if this run did not measure them.
#[derive(Clone, Copy, Default)]
pub struct Measured {
    /// The figure that the bound applies to. Times are times until the answer.
    pub figure: Option<f64>,
    /// If the figure is a time: the same until the next request for an event.
    pub next: Option<f64>,
}

impl From<Option<f64>> for Measured {
    fn from(figure: Option<f64>) -> Self {
        Self { figure, next: None }
    }
}

/// A time, measured until the answer and until the next request.
struct Time {
    answer: Figure,
    next: Figure,
}

const COLD: Time = Time {
    answer: cold_answer,
    next: cold_next,
};
const FIRST: Time = Time {
    answer: first_answer,
    next: first_next,
};
const FIRST_TO_WARM: Time = Time {
    answer: |start| start.first_answer_ms / warm_answer_ms(start),
    next: |start| start.first_next_ms / warm_next_ms(start),
};
const WARM: Time = Time {
    answer: warm_answer_ms,
    next: warm_next_ms,
};
const WARM_P99: Time = Time {
    answer: warm_answer_p99_ms,
    next: warm_next_p99_ms,
};

impl SceneResults {
    fn own(&self, contender: &str, time: &Time) -> Measured {
        Measured {
            figure: self.median(contender, time.answer),
            next: self.median(contender, time.next),
        }
    }

    fn times(&self, one: &str, other: &str, time: &Time) -> Measured {
        Measured {
            figure: self.ratio(one, other, time.answer),
            next: self.ratio(one, other, time.next),
        }
    }
}

fn at_least(bound: f64, title: &'static str, measured: impl Into<Measured>) -> Target {
    Target {
        title,
        bound: Bound::AtLeast(bound),
        only_awake: false,
        measured: measured.into(),
        awake: Measured::default(),
    }
}

fn at_most(bound: f64, title: &'static str, measured: impl Into<Measured>) -> Target {
    Target {
        bound: Bound::AtMost(bound),
        ..at_least(bound, title, measured)
    }
}

fn only_awake(target: Target) -> Target {
    Target {
        only_awake: true,
        ..target
    }
}

/// Ratios are paired by round; every figure is a median over the rounds.
pub fn all(results: &Results) -> Vec<Target> {
    let mut targets = at_full_cpu(results.scene("tls"), results.scene("plain"));
    let awake = at_full_cpu(results.scene("tls-awake"), results.scene("plain-awake"));
    for awake in awake {
        match targets.iter_mut().find(|it| it.title == awake.title) {
            Some(same) => same.awake = awake.measured,
            None => targets.push(Target {
                awake: awake.measured,
                measured: Measured::default(),
                ..awake
            }),
        }
    }
    if let Some(share) = results.scene("5ms-128") {
        targets.extend(at_the_smallest_share(share));
    }
    targets.extend(without_rounds(results));
    targets
}

fn at_full_cpu(tls: Option<&SceneResults>, plain: Option<&SceneResults>) -> Vec<Target> {
    let mut targets = Vec::new();
    if let Some(tls) = tls {
        if tls.starts.contains_key(EARLIER) {
            targets.extend(beside_earlier(tls));
        }
        targets.extend(over_tls(tls));
    }
    targets.extend(plain.map(|plain| {
        at_most(
            48.0,
            "CPU of an AWS call above the no-op, plain HTTP, µs",
            call_above_noop(plain),
        )
    }));
    targets
}

fn beside_earlier(scene: &SceneResults) -> [Target; 3] {
    [
        at_most(
            0.9,
            "time to answer: new ÷ earlier build",
            scene.times(RECEIVER, EARLIER, &WARM),
        ),
        at_most(
            0.9,
            "p99 of the time to answer: new ÷ earlier build",
            scene.times(RECEIVER, EARLIER, &WARM_P99),
        ),
        only_awake(at_most(
            1.3,
            "CPU of a warm delivery: new ÷ earlier build",
            scene.ratio(RECEIVER, EARLIER, warm_cpu),
        )),
    ]
}

fn over_tls(scene: &SceneResults) -> Vec<Target> {
    let duplicate = |start: &_| warm(start, Duplicate).cpu_us / warm_cpu(start);
    let forged = |start: &_| warm(start, Forged).cpu_us;
    vec![
        at_least(
            40.0,
            "init + first delivery: Python ÷ receiver",
            scene.times(PYTHON, RECEIVER, &COLD),
        ),
        at_least(
            20.0,
            "init + first delivery: Node ÷ receiver",
            scene.times(NODE, RECEIVER, &COLD),
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
        only_awake(at_least(
            11.0,
            "CPU of a warm delivery: Python ÷ receiver",
            scene.ratio(PYTHON, RECEIVER, warm_cpu),
        )),
        only_awake(at_least(
            14.0,
            "CPU of a warm delivery: Node ÷ receiver",
            scene.ratio(NODE, RECEIVER, warm_cpu),
        )),
        at_most(
            3.3,
            "CPU of a warm delivery: receiver ÷ floor",
            scene.ratio(RECEIVER, FLOOR, warm_cpu),
        ),
        at_least(
            9.0,
            "p99 of the time to answer: Python ÷ receiver",
            scene.times(PYTHON, RECEIVER, &WARM_P99),
        ),
        at_least(
            30.0,
            "p99 of the time to answer: Node ÷ receiver",
            scene.times(NODE, RECEIVER, &WARM_P99),
        ),
        at_most(
            0.5,
            "CPU of a duplicate ÷ of a new contact",
            scene.median(RECEIVER, duplicate),
        ),
        at_most(
            1.5,
            "CPU of a forged request: receiver ÷ no-op",
            scene.ratio(RECEIVER, NOOP, forged),
        ),
        at_most(8.0, "resident memory, MB", scene.median(RECEIVER, rss)),
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
    let mut targets = Vec::new();
    if scene.starts.contains_key(EARLIER) {
        targets.push(at_most(
            0.7,
            "128 MB, 5 ms a call: time to answer: new ÷ earlier build",
            scene.times(RECEIVER, EARLIER, &WARM),
        ));
    }
    targets.extend([
        at_least(
            10.0,
            "128 MB, 5 ms a call: time to answer: Python ÷ receiver",
            scene.times(PYTHON, RECEIVER, &WARM),
        ),
        at_least(
            12.0,
            "128 MB, 5 ms a call: time to answer: Node ÷ receiver",
            scene.times(NODE, RECEIVER, &WARM),
        ),
        at_most(
            1.1,
            "128 MB, 5 ms a call: first delivery ÷ own warm median",
            scene.own(RECEIVER, &FIRST_TO_WARM),
        ),
        at_least(
            12.0,
            "128 MB, 5 ms a call: first delivery: Python ÷ receiver",
            scene.times(PYTHON, RECEIVER, &FIRST),
        ),
        at_least(
            45.0,
            "128 MB, 5 ms a call: first delivery: Node ÷ receiver",
            scene.times(NODE, RECEIVER, &FIRST),
        ),
    ]);
    targets
}

/// What one of the three calls of a new contact costs beyond receiving and answering.
fn call_above_noop(scene: &SceneResults) -> Option<f64> {
    scene.paired(RECEIVER, NOOP, |receiver, noop| {
        (warm_cpu(receiver) - warm_cpu(noop)) / 3.0
    })
}

fn without_rounds(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    let counted = |name| results.instructions.get(name);
    if let Some(new) = counted(RECEIVER) {
        targets.push(at_most(
            2.0,
            "instructions of init, unprimed, millions",
            Some(new.init_unprimed),
        ));
        if let Some(earlier) = counted(EARLIER) {
            targets.extend([
                at_most(
                    1.08,
                    "instructions of init + first delivery: new ÷ earlier build",
                    Some(new.init_and_first / earlier.init_and_first),
                ),
                at_most(
                    1.13,
                    "instructions of a warm delivery: new ÷ earlier build",
                    Some(new.warm / earlier.warm),
                ),
            ]);
        }
    }
    targets.push(at_most(
        500.0,
        "allocations of a new contact, services answering at once",
        results.allocations,
    ));
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    targets.push(at_most(
        2.7,
        "zip of the arm64 function, MB",
        results.arm64_zip.map(megabytes),
    ));
    targets
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example::{results, starts};

    fn figures(results: &Results, title: &str) -> (Measured, Measured) {
        let targets = all(results);
        let found = targets.iter().filter(|it| it.title == title);
        let [target] = found.collect::<Vec<_>>()[..] else {
            panic!("not one target: {title}");
        };
        (target.measured, target.awake)
    }

    fn assert_near(measured: Option<f64>, expected: f64) {
        let measured = measured.expect("a figure");
        assert!(
            (measured - expected).abs() < 1e-9,
            "{measured}, not {expected}"
        );
    }

    #[test]
    fn a_ratio_to_the_earlier_build_is_the_median_of_those_of_the_rounds() {
        // Ratios of the rounds: 0.5, 4, 0.6; the ratio of the medians would be 0.75.
        let driven = json!({
            "receiver": starts([1e3, 4e3, 3e3], [1.0, 2.0, 3.0]),
            "earlier": starts([2e3, 1e3, 5e3], [1.0, 1.0, 1.0]),
        });
        let results = results(&driven, Some("receiver-old"));
        for title in [
            "time to answer: new ÷ earlier build",
            "p99 of the time to answer: new ÷ earlier build",
            "128 MB, 5 ms a call: time to answer: new ÷ earlier build",
        ] {
            let (measured, _) = figures(&results, title);
            assert_near(measured.figure, 0.6);
            // 2/3, 5/2 and 4/6.
            assert_near(measured.next, 2.0 / 3.0);
        }
        let (_, awake) = figures(&results, "CPU of a warm delivery: new ÷ earlier build");
        assert_near(awake.figure, 2.0);
        let (counted, _) = figures(
            &results,
            "instructions of a warm delivery: new ÷ earlier build",
        );
        assert_near(counted.figure, 1.1);
    }

    #[test]
    fn the_peers_are_compared_by_both_times() {
        let driven = json!({
            "receiver": starts([1e3, 1e3, 1e3], [1.0, 1.0, 1.0]),
            "python-powertools": starts([9e3, 11e3, 19e3], [12.0, 12.0, 12.0]),
            "node-powertools": starts([21e3, 21e3, 21e3], [15.0, 15.0, 15.0]),
        });
        let results = results(&driven, None);
        let at_128 = |peer| format!("128 MB, 5 ms a call: time to answer: {peer} ÷ receiver");
        let (python, _) = figures(&results, &at_128("Python"));
        assert_near(python.figure, 11.0);
        assert_near(python.next, 6.0);
        let (node, _) = figures(&results, &at_128("Node"));
        assert_near(node.figure, 21.0);
        assert_near(node.next, 11.0);
        let (_, awake) = figures(&results, "CPU of a warm delivery: Python ÷ receiver");
        assert_near(awake.figure, 12.0);
    }

    #[test]
    fn without_an_earlier_build_no_target_speaks_of_one() {
        let driven = json!({"receiver": starts([1e3, 1e3, 1e3], [1.0, 1.0, 1.0])});
        let targets = all(&results(&driven, None));
        assert!(!targets.is_empty());
        for target in targets {
            assert!(!target.title.contains("earlier"), "{}", target.title);
        }
    }
}
