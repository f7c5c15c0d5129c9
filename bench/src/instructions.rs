//! User-space instructions of init and of a delivery, counted by callgrind. The counts do not depend on the machine's load.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use titanx_testbed::titanx::SIGNING_SECRET;

use crate::contenders::Contender;
use crate::endpoints::Transport;
use crate::environment::{Environment, Extras, Host};
use crate::workload::{Request, Workload, contact};

/// Millions of instructions, over TLS.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Instructions {
    /// Until the function requests its first event.
    pub init: f64,
    /// Init if no service can be reached, so that no connection is opened.
    pub init_unprimed: f64,
    pub init_and_first: f64,
    /// One new contact, as the mean of the deliveries 101 to 200.
    pub warm: f64,
}

/// Counts the instructions. Callgrind's output stays in `directory`, for `callgrind_annotate`.
pub fn count(host: &Host, contender: &Contender, directory: &Path) -> Result<Instructions> {
    const MANY: usize = 100;
    let counted = |name: &str, deliveries, variables: &[_]| {
        let requests = Workload::New.requests(0, deliveries);
        let output = directory.join(name);
        run(
            host,
            contender,
            Workload::New,
            &requests,
            variables,
            &output,
        )
    };
    let nobody = "https://127.0.0.1:1".to_owned();
    let unreachable = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SQS"]
        .map(|name| (name.to_owned(), nobody.clone()));
    let before = counted("hundred.callgrind", MANY, &[])?;
    Ok(Instructions {
        init: counted("init.callgrind", 0, &[])?,
        init_unprimed: counted("unprimed.callgrind", 0, &unreachable)?,
        init_and_first: counted("first.callgrind", 1, &[])?,
        warm: (counted("two-hundred.callgrind", 2 * MANY, &[])? - before) / MANY as f64,
    })
}

/// Checks that the work grows linearly with the body. The table has the thousands of instructions for each further KB,
/// from 100 to 200 KB and from 200 to 400 KB.
///
/// # Errors
///
/// If the second figure is more than a tenth above the first.
pub fn growth(host: &Host, contender: &Contender, directory: &Path) -> Result<String> {
    let mut table = String::from("thousands for each further KB 100–200 KB  200–400 KB\n");
    for (workload, secret) in [
        (Workload::New, SIGNING_SECRET),
        (Workload::Forged, "another"),
    ] {
        let counted = |kilobytes: usize| {
            let body = contact("00000000-0000-4000-8009-000000000000", kilobytes * 1_000);
            let requests = [Request::new(&body, secret, false)];
            let output = directory.join(format!("{kilobytes}-kb.callgrind"));
            run(host, contender, workload, &requests, &[], &output)
        };
        let (small, middle, large) = (counted(100)?, counted(200)?, counted(400)?);
        let (first, second) = ((middle - small) * 10.0, (large - middle) * 5.0);
        let _ = writeln!(table, "{:<28}{first:>12.1}{second:>12.1}", workload.title());
        ensure!(
            second < 1.1 * first,
            "{table}\nthe work grows faster than linearly with the body"
        );
    }
    Ok(table)
}

/// Millions of instructions of init and of these deliveries.
fn run(
    host: &Host,
    contender: &Contender,
    workload: Workload,
    requests: &[Request],
    variables: &[(String, String)],
    output: &Path,
) -> Result<f64> {
    host.endpoints.clear();
    let wrapper = [
        "valgrind",
        "-q",
        "--tool=callgrind",
        &format!("--callgrind-out-file={}", output.display()),
    ];
    let extras = Extras {
        wrapper: wrapper.map(str::to_owned).to_vec(),
        variables: variables.to_vec(),
    };
    let environment = Environment::start_with(host, contender, Transport::Tls, &extras)?;
    // Each time until the function asks for its next event, so that what it does after the answer is counted.
    for request in requests {
        environment.invoke(&request.event, contender.status(workload))?;
    }
    // What the function still does after that request is part of the start, and must not depend on when it is ended.
    environment.come_to_rest()?;
    environment.terminate()?;
    let (made, due) = (
        host.endpoints.take_calls(),
        contender.calls(workload) * requests.len() as u64,
    );
    ensure!(made == due, "{made} AWS calls were counted, {due} were due");
    total(output)
}

/// By how much a count may differ from its baseline before somebody has to say why.
const TOLERANCE: f64 = 0.03;

impl Instructions {
    /// Name, count of `other`, own count.
    pub fn beside(&self, other: &Self) -> [(&'static str, f64, f64); 4] {
        [
            ("init", other.init, self.init),
            ("init, unprimed", other.init_unprimed, self.init_unprimed),
            (
                "init + first delivery",
                other.init_and_first,
                self.init_and_first,
            ),
            ("warm delivery", other.warm, self.warm),
        ]
    }

    /// A table of both builds, and what the newer takes as a multiple of the earlier.
    pub fn ratios(&self, earlier: &Self) -> String {
        let mut table = format!(
            "{:<24}{:>12}{:>12}{:>10}\n",
            "millions", "earlier", "new", "ratio"
        );
        for (name, before, now) in self.beside(earlier) {
            let ratio = now / before;
            let _ = writeln!(table, "{name:<24}{before:>12.3}{now:>12.3}{ratio:>10.3}");
        }
        table
    }

    /// A table beside the baseline.
    ///
    /// # Errors
    ///
    /// When a count differs by more than the tolerance: also a smaller one, since a baseline that is
    /// out of date would let the next growth pass.
    pub fn compare(&self, baseline: &Self) -> Result<String> {
        let mut table = format!(
            "{:<24}{:>12}{:>12}{:>10}\n",
            "millions", "baseline", "counted", "change"
        );
        let mut beyond = Vec::new();
        for (name, before, now) in self.beside(baseline) {
            let change = now / before - 1.0;
            let percent = 100.0 * change;
            let _ = writeln!(table, "{name:<24}{before:>12.3}{now:>12.3}{percent:>+9.1}%");
            if change.abs() > TOLERANCE {
                beyond.push(name);
            }
        }
        ensure!(
            beyond.is_empty(),
            "{table}\nmore than {:.0} % from the baseline: {}. If it is meant so, keep the new counts with a commit \
             that says why.",
            100.0 * TOLERANCE,
            beyond.join(", ")
        );
        Ok(table)
    }
}

fn total(output: &Path) -> Result<f64> {
    let text = fs::read_to_string(output).context("callgrind wrote nothing")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .context("no total")?;
    let total: f64 = line.trim().parse()?;
    Ok(total / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_new_count_over_the_earlier() {
        let counted = Instructions {
            warm: 2.2,
            init: 3.0,
            ..BASELINE
        };
        let table = counted.ratios(&BASELINE);
        let last_of = |name: &str| {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().last().unwrap().to_owned()
        };
        assert_eq!(last_of("warm delivery"), "1.100");
        assert_eq!(last_of("init "), "0.500");
        assert_eq!(last_of("init, unprimed"), "1.000");
    }

    const BASELINE: Instructions = Instructions {
        init: 6.0,
        init_unprimed: 1.5,
        init_and_first: 8.0,
        warm: 2.0,
    };

    #[test]
    fn a_count_may_differ_by_three_percent_either_way() {
        for warm in [1.95, 2.0, 2.05] {
            let counted = Instructions { warm, ..BASELINE };
            assert!(counted.compare(&BASELINE).is_ok(), "{warm}");
        }
        for warm in [1.9, 2.07] {
            let counted = Instructions { warm, ..BASELINE };
            let error = counted.compare(&BASELINE).unwrap_err().to_string();
            assert!(error.contains("baseline: warm delivery."), "{error}");
        }
    }
}
