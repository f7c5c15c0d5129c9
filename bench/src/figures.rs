//! Figures computed from results: medians over the rounds, and ratios paired by round.

use std::collections::BTreeMap;

use crate::compare::{Results, Scene, SceneResults, Start, Warm};
use crate::statistics::median;
use crate::workload::Workload;

/// A figure of a start; NaN if it was not measured.
pub type Figure = fn(&Start) -> f64;

pub fn init(start: &Start) -> f64 {
    start.init_ms
}

pub fn cold_answer(start: &Start) -> f64 {
    start.init_ms + start.first_answer_ms
}

pub fn cold_next(start: &Start) -> f64 {
    start.init_ms + start.first_next_ms
}

pub fn first_answer(start: &Start) -> f64 {
    start.first_answer_ms
}

pub fn first_next(start: &Start) -> f64 {
    start.first_next_ms
}

pub fn cold_cpu(start: &Start) -> f64 {
    start.cold_cpu_ms
}

pub fn rss(start: &Start) -> f64 {
    start.rss_mb
}

pub fn peak_rss(start: &Start) -> f64 {
    start.peak_rss_mb
}

pub fn warm_answer_ms(start: &Start) -> f64 {
    warm(start, Workload::New).answer_median_us / 1e3
}

pub fn warm_answer_p99_ms(start: &Start) -> f64 {
    warm(start, Workload::New).answer_p99_us / 1e3
}

pub fn warm_next_ms(start: &Start) -> f64 {
    warm(start, Workload::New).next_median_us / 1e3
}

pub fn warm_next_p99_ms(start: &Start) -> f64 {
    warm(start, Workload::New).next_p99_us / 1e3
}

pub fn warm_cpu(start: &Start) -> f64 {
    warm(start, Workload::New).cpu_us
}

pub fn warm(start: &Start, workload: Workload) -> Warm {
    const UNKNOWN: Warm = Warm {
        answer_median_us: f64::NAN,
        answer_p99_us: f64::NAN,
        next_median_us: f64::NAN,
        next_p99_us: f64::NAN,
        cpu_us: f64::NAN,
    };
    start.warm.get(&workload).copied().unwrap_or(UNKNOWN)
}

impl Results {
    pub fn scene(&self, name: &str) -> Option<&SceneResults> {
        self.scenes
            .iter()
            .find(|results| results.scene.name == name)
    }
}

impl SceneResults {
    pub fn new(scene: &Scene) -> Self {
        Self {
            scene: scene.clone(),
            starts: BTreeMap::new(),
        }
    }

    /// The median of a figure over the rounds.
    pub fn median(&self, contender: &str, figure: impl Fn(&Start) -> f64) -> Option<f64> {
        known_median(self.starts.get(contender)?.iter().map(figure))
    }

    /// The median over the rounds of a function of two contenders' starts in a round.
    pub fn paired(
        &self,
        one: &str,
        other: &str,
        combine: impl Fn(&Start, &Start) -> f64,
    ) -> Option<f64> {
        let pairs = self.starts.get(one)?.iter().zip(self.starts.get(other)?);
        known_median(pairs.map(|(one, other)| combine(one, other)))
    }

    /// The median ratio `one` ÷ `other`, paired by round.
    pub fn ratio(&self, one: &str, other: &str, figure: impl Fn(&Start) -> f64) -> Option<f64> {
        self.paired(one, other, |one, other| figure(one) / figure(other))
    }
}

fn known_median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values = values.collect::<Vec<_>>();
    let known = !values.is_empty() && values.iter().all(|value| value.is_finite());
    known.then(|| median(&values))
}
