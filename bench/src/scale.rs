//! How latency and CPU of the receiver scale with the number of deliveries, the number of environments, the concurrent
//! requests in one environment, and the size of the body.

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use titanx_testbed::titanx::SIGNING_SECRET;

use crate::contenders::Contender;
use crate::endpoints::Transport;
use crate::environment::{Environment, Extras, Host};
use crate::machine::Machine;
use crate::report::number;
use crate::statistics::{median, micros, percentile};
use crate::workload::{Request, Workload, contact};

/// Added latency of an AWS call in the measurements of concurrency.
const DELAY: Duration = Duration::from_millis(5);

#[derive(Serialize, Deserialize)]
pub struct Scale {
    pub machine: Machine,
    /// By the number of earlier deliveries in the same environment; no added latency.
    pub deliveries: Vec<Point>,
    /// By the number of parallel environments, each with one delivery at a time; 5 ms a call.
    pub environments: Vec<Point>,
    /// By the number of concurrent requests in one environment; 5 ms a call.
    pub concurrency: Vec<Point>,
    /// By the size of the body in bytes; no added latency.
    pub body: Vec<Point>,
}

/// The figures at one value of an axis.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Point {
    pub at: usize,
    /// Time until the answer was posted.
    pub answer_median_us: f64,
    pub answer_p99_us: f64,
    /// Time until the next event was requested. `None` with concurrent requests: a request for an event does not say which
    /// invocation has ended.
    pub next_median_us: Option<f64>,
    pub next_p99_us: Option<f64>,
    /// CPU time of a delivery, including the work after its answer.
    pub cpu_us: f64,
    /// Sum over all environments.
    pub rss_mb: f64,
    /// Deliveries per second, summed over all environments.
    pub rate: f64,
}

pub fn run(host: &Host, receiver: &Contender, quick: bool) -> Result<Scale> {
    let scale = |count: usize| if quick { count / 10 } else { count };
    Ok(Scale {
        deliveries: by_deliveries(host, receiver, scale(5_000))?,
        environments: by_environments(host, receiver, scale(500))?,
        concurrency: by_concurrency(host, receiver, scale(2_000))?,
        body: by_body(host, receiver, scale(500))?,
        machine: Machine::describe()?,
    })
}

/// Ten blocks of deliveries in one environment.
fn by_deliveries(host: &Host, receiver: &Contender, block: usize) -> Result<Vec<Point>> {
    host.endpoints.clear();
    host.endpoints.delay(Duration::ZERO);
    let environment = Environment::start(host, receiver, Transport::Tls)?;
    (0..10)
        .map(|number| {
            eprintln!("deliveries: block {} of 10", number + 1);
            let point = deliver(&environment, &Workload::New.requests(number * block, block))?;
            Ok(Point {
                at: (number + 1) * block,
                ..point
            })
        })
        .collect()
}

fn by_environments(host: &Host, receiver: &Contender, each: usize) -> Result<Vec<Point>> {
    [1, 2, 4, 8, 16]
        .into_iter()
        .map(|at| {
            eprintln!("environments: {at}");
            host.endpoints.clear();
            host.endpoints.delay(DELAY);
            let parts = thread::scope(|scope| {
                let part = |number| {
                    move || {
                        let environment = Environment::start(host, receiver, Transport::Tls)?;
                        let requests = Workload::New.requests(number * 2 * each, 2 * each);
                        // Warm-up: only the second half is measured.
                        deliver(&environment, &requests[..each])?;
                        deliver(&environment, &requests[each..])
                    }
                };
                let threads = (0..at)
                    .map(|number| scope.spawn(part(number)))
                    .collect::<Vec<_>>();
                threads
                    .into_iter()
                    .map(|thread| thread.join().expect("no panic"))
                    .collect::<Result<Vec<_>>>()
            })?;
            let over = |figure: fn(&Point) -> f64| parts.iter().map(figure).collect::<Vec<_>>();
            let known = |figure: fn(&Point) -> Option<f64>| {
                let values = parts.iter().map(figure).collect::<Option<Vec<_>>>();
                values.map(|values| median(&values))
            };
            Ok(Point {
                at,
                answer_median_us: median(&over(|it| it.answer_median_us)),
                answer_p99_us: median(&over(|it| it.answer_p99_us)),
                next_median_us: known(|it| it.next_median_us),
                next_p99_us: known(|it| it.next_p99_us),
                cpu_us: median(&over(|it| it.cpu_us)),
                rss_mb: over(|it| it.rss_mb).iter().sum(),
                rate: over(|it| it.rate).iter().sum(),
            })
        })
        .collect()
}

/// Lambda Managed Instances send concurrent requests to one environment.
fn by_concurrency(host: &Host, receiver: &Contender, count: usize) -> Result<Vec<Point>> {
    host.endpoints.delay(DELAY);
    [1, 2, 4, 8, 16]
        .into_iter()
        .map(|at: usize| {
            eprintln!("concurrency: {at}");
            host.endpoints.clear();
            let variables = vec![("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), at.to_string())];
            let extras = Extras {
                variables,
                ..Extras::default()
            };
            let environment = Environment::start_with(host, receiver, Transport::Tls, &extras)?;
            // `start` waits for one request for an event; the other workers send theirs later.
            environment.settle(at - 1)?;
            deliver_at_once(&environment, &Workload::New.requests(0, count / 4))?;
            let point = deliver_at_once(&environment, &Workload::New.requests(count, count))?;
            Ok(Point { at, ..point })
        })
        .collect()
}

fn by_body(host: &Host, receiver: &Contender, count: usize) -> Result<Vec<Point>> {
    host.endpoints.delay(Duration::ZERO);
    [
        2_500, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    ]
    .into_iter()
    .map(|size| {
        eprintln!("body: {size} bytes");
        host.endpoints.clear();
        let environment = Environment::start(host, receiver, Transport::Tls)?;
        let request = |number: usize| {
            let body = contact(&format!("00000000-0000-4000-8005-{number:012}"), size);
            Request::new(&body, SIGNING_SECRET, false)
        };
        let requests = (0..2 * count).map(request).collect::<Vec<_>>();
        deliver(&environment, &requests[..count])?;
        Ok(Point {
            at: size,
            ..deliver(&environment, &requests[count..])?
        })
    })
    .collect()
}

/// Delivers sequentially.
fn deliver(environment: &Environment, requests: &[Request]) -> Result<Point> {
    observe(environment, requests.len(), || {
        let took = requests
            .iter()
            .map(|request| environment.invoke(&request.event, Workload::New.status()))
            .collect::<Result<Vec<_>>>()?;
        let (answers, nexts) = took.iter().map(|took| (took.answer, took.next)).unzip();
        Ok((answers, Some(nexts)))
    })
}

/// Queues all requests; the environment takes as many at a time as it has workers.
fn deliver_at_once(environment: &Environment, requests: &[Request]) -> Result<Point> {
    observe(environment, requests.len(), || {
        requests
            .iter()
            .try_for_each(|request| environment.submit(&request.event))?;
        let answers = requests
            .iter()
            .map(|_| environment.finish(Workload::New.status()))
            .collect::<Result<_>>()?;
        environment.settle(requests.len())?;
        Ok((answers, None))
    })
}

/// Times until the answers, and until the next requests for an event (`None` if they cannot be assigned).
type Times = (Vec<Duration>, Option<Vec<Duration>>);

fn observe(
    environment: &Environment,
    count: usize,
    deliver: impl FnOnce() -> Result<Times>,
) -> Result<Point> {
    let (before, began) = (environment.cpu()?, Instant::now());
    let (answers, nexts) = deliver().context("measuring how the receiver scales")?;
    let (cpu, wall) = (environment.cpu()?.saturating_sub(before), began.elapsed());
    let answers = micros(answers.into_iter());
    let nexts = nexts.map(|nexts| micros(nexts.into_iter()));
    Ok(Point {
        at: 0,
        answer_median_us: median(&answers),
        answer_p99_us: percentile(&answers, 99),
        next_median_us: nexts.as_deref().map(median),
        next_p99_us: nexts.as_deref().map(|nexts| percentile(nexts, 99)),
        cpu_us: cpu.as_secs_f64() * 1e6 / count as f64,
        rss_mb: environment.memory()?.resident as f64 / 1e6,
        rate: count as f64 / wall.as_secs_f64(),
    })
}

/// The four axes as Markdown tables.
pub fn report(scale: &Scale) -> String {
    let axes = [
        (
            "Deliveries in one environment, no added latency",
            "deliveries",
            &scale.deliveries,
        ),
        (
            "Environments at once, 5 ms a call",
            "environments",
            &scale.environments,
        ),
        (
            "Requests at once in one environment, 5 ms a call",
            "at once",
            &scale.concurrency,
        ),
        ("Size of the body, no added latency", "bytes", &scale.body),
    ];
    let (base, slope) = line(&scale.body);
    let tables = axes.map(|(title, unit, points)| table(title, unit, points));
    let tables = tables.concat();
    format!("{tables}\nCPU by size, least squares: {base:.0} µs + {slope:.2} µs a KB.\n")
}

fn table(title: &str, unit: &str, points: &[Point]) -> String {
    let mut table = format!("\n## {title}\n\n| {unit} ");
    table.push_str("| answer ms | answer p99 ms | next ms | next p99 ms ");
    table.push_str("| CPU µs / delivery | RSS MB | deliveries / s |\n");
    table.push_str("|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for point in points {
        let times = [
            Some(point.answer_median_us),
            Some(point.answer_p99_us),
            point.next_median_us,
            point.next_p99_us,
        ];
        let times = times.map(|us| us.map(|us| us / 1e3));
        let others = [point.cpu_us, point.rss_mb, point.rate].map(Some);
        let cells = [&times[..], &others].concat().into_iter().map(number);
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let _ = writeln!(table, "| {} | {cells} |", point.at);
    }
    table
}

/// Least-squares line of CPU time over body size: intercept in µs, slope in µs per KB.
fn line(points: &[Point]) -> (f64, f64) {
    let pairs = points
        .iter()
        .map(|point| (point.at as f64 / 1e3, point.cpu_us))
        .collect::<Vec<_>>();
    let count = pairs.len() as f64;
    let mean_x = pairs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = pairs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let covariance = pairs
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum::<f64>();
    let variance = pairs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    let slope = covariance / variance;
    (mean_y - slope * mean_x, slope)
}
