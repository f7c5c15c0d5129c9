//! User-space instructions of a start and of a delivery, counted by callgrind: the same on a busy machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::contenders::Contender;
use crate::endpoints::Transport;
use crate::environment::{Environment, Extras, Host};
use crate::workload::Workload;

/// Millions of instructions, over TLS.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Instructions {
    /// Until the function asks for work.
    pub init: f64,
    /// The same where nobody listens at the services' addresses, so that no connection is opened.
    pub init_unprimed: f64,
    pub init_and_first: f64,
    /// One more new contact, when a hundred have gone before.
    pub warm: f64,
}

/// Counts, and leaves what callgrind wrote in `directory`, for `callgrind_annotate` to show.
pub fn count(host: &Host, contender: &Contender, directory: &Path) -> Result<Instructions> {
    const MANY: u32 = 100;
    let counted = |name: &str, deliveries, variables: &[_]| {
        run(
            host,
            contender,
            deliveries,
            variables,
            &directory.join(name),
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
        warm: (counted("two-hundred.callgrind", 2 * MANY, &[])? - before) / f64::from(MANY),
    })
}

/// Millions of instructions of a start and so many deliveries.
fn run(
    host: &Host,
    contender: &Contender,
    deliveries: u32,
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
    for request in Workload::New.requests(0, deliveries as usize) {
        environment.invoke(&request.event, contender.status(Workload::New))?;
    }
    environment.terminate()?;
    total(output)
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
