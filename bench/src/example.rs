//! Results for tests: three rounds, figures that are easy to reckon with.

use serde_json::{Value, json};

use crate::compare::Results;

/// One contender's starts by figure: times to answer of the rounds in µs; all times to the next request are 1 ms later.
pub fn starts(answer_us: [f64; 3], cpu_us: [f64; 3]) -> Value {
    let next_us = answer_us.map(|us| us + 1e3);
    let milliseconds = |us: [f64; 3]| us.map(|us| us / 1e3);
    let warm = json!({
        "answer_median_us": answer_us, "answer_p99_us": answer_us.map(|us| us * 2.0),
        "next_median_us": next_us, "next_p99_us": next_us.map(|us| us * 2.0),
        "cpu_us": cpu_us,
    });
    json!({
        "init_ms": [1.0, 1.0, 1.0],
        "first_answer_ms": milliseconds(answer_us), "first_next_ms": milliseconds(next_us),
        "cold_cpu_ms": [1.0, 1.0, 1.0], "rss_mb": [6.0, 6.0, 6.0], "peak_rss_mb": [7.0, 7.0, 7.0],
        "warm": {"new": warm.clone(), "duplicate": warm.clone(), "forged": warm},
    })
}

/// The same starts in every scene that targets are set for.
pub fn results(starts: &Value, earlier: Option<&str>) -> Results {
    let scene = |name: &str, delay_ms: u64, share: Value, awake: bool| {
        json!({
            "scene": {
                "name": name, "transport": "tls", "delay_ms": delay_ms, "share": share, "idle_ms": 0,
                "awake": awake, "warm_up": 1, "deliveries": {"new": 1, "duplicate": 1, "forged": 1},
            },
            "starts": starts,
        })
    };
    let counted =
        |warm: f64| json!({"init": 5.0, "init_unprimed": 1.0, "init_and_first": 7.0, "warm": warm});
    let names = starts.as_object().expect("an object").keys();
    let sizes = names.map(|name| (name.clone(), json!({"binary": 4_000_000, "zip": 2_000_000})));
    let mut results = json!({
        "machine": {
            "date": "", "commit": "", "cpu": "", "sha_instructions": true, "cores": 2, "memory_mb": 1, "kernel": "", "load": "", "rustc": "",
            "python": "", "node": "", "python_packages": [], "node_packages": [],
        },
        "method": "cgroup_v2", "rounds": 3, "earlier": earlier,
        "sizes": sizes.collect::<serde_json::Map<_, _>>(),
        "instructions": {"receiver": counted(2.2)},
        "allocations": 501.0, "log_bytes": 168.0, "arm64_zip": 1_810_000,
        "scenes": [
            scene("tls", 0, json!("full"), false),
            scene("tls-awake", 0, json!("full"), true),
            scene("5ms-128", 5, json!({"megabytes": 128}), false),
        ],
    });
    if earlier.is_some() {
        results["instructions"]["earlier"] = counted(2.0);
    }
    serde_json::from_value(results).expect("results")
}
