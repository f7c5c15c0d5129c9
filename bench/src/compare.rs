//! The comparison: every contender in every scene, in alternating rounds.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::contenders::{self, Contender, EARLIER, RECEIVER, Size};
use crate::cpu::{Awake, Method, Share};
use crate::endpoints::Transport;
use crate::environment::{Environment, Host};
use crate::instructions::{self, Instructions};
use crate::invocations::Took;
use crate::kept;
use crate::machine::Machine;
use crate::statistics::{median, micros, percentile};
use crate::workload::{Request, Workload};

/// All results, as they are stored.
#[derive(Serialize, Deserialize)]
pub struct Results {
    pub machine: Machine,
    pub method: Method,
    pub rounds: usize,
    /// File name of the earlier build, if one was measured.
    pub earlier: Option<String>,
    pub sizes: BTreeMap<String, Size>,
    /// Of the receiver and of its earlier build.
    pub instructions: BTreeMap<String, Instructions>,
    /// Allocations of one new contact of 3 KB with services that answer at once, where they were counted.
    pub allocations: Option<f64>,
    /// Bytes that the receiver logs for one new contact.
    pub log_bytes: Option<f64>,
    /// Bytes of the receiver's archive for arm64, where that was built.
    pub arm64_zip: Option<u64>,
    pub scenes: Vec<SceneResults>,
}

/// The conditions under which functions run, and the number of their deliveries.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    pub name: String,
    pub transport: Transport,
    /// The latency added to each AWS call.
    pub delay_ms: u64,
    pub share: Share,
    /// Between two deliveries.
    pub idle_ms: u64,
    /// Whether processors are kept awake after the first delivery.
    #[serde(default)]
    pub awake: bool,
    /// Warm deliveries before any is measured.
    pub warm_up: usize,
    /// Warm deliveries that are measured.
    pub deliveries: BTreeMap<Workload, usize>,
}

/// One scene's figures: for each contender, one start in each round.
#[derive(Serialize, Deserialize)]
pub struct SceneResults {
    pub scene: Scene,
    #[serde(with = "kept::by_figure")]
    pub starts: BTreeMap<String, Vec<Start>>,
}

/// One start of one contender, and what followed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Start {
    pub init_ms: f64,
    /// First delivery, until it was answered.
    pub first_answer_ms: f64,
    /// First delivery, until the next event was asked for.
    pub first_next_ms: f64,
    /// CPU of init and first delivery together.
    pub cold_cpu_ms: f64,
    /// After the new contacts.
    pub rss_mb: f64,
    /// At the end, after bodies of 200 KB too.
    pub peak_rss_mb: f64,
    pub warm: BTreeMap<Workload, Warm>,
}

/// Warm deliveries of one workload.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Warm {
    /// Until the answer was posted.
    pub answer_median_us: f64,
    pub answer_p99_us: f64,
    /// Until the next event was asked for.
    pub next_median_us: f64,
    pub next_p99_us: f64,
    /// For each delivery, work after the answer included.
    pub cpu_us: f64,
}

impl Warm {
    fn of(took: &[Took], cpu: Duration) -> Self {
        let answer = micros(took.iter().map(|took| took.answer));
        let next = micros(took.iter().map(|took| took.next));
        Self {
            answer_median_us: median(&answer),
            answer_p99_us: percentile(&answer, 99),
            next_median_us: median(&next),
            next_p99_us: percentile(&next, 99),
            cpu_us: cpu.as_secs_f64() * 1e6 / took.len() as f64,
        }
    }
}

impl Results {
    /// Whether further rounds measure the same programs in the same scenes.
    fn ensure_same(&self, contenders: &[Contender], scenes: &[Scene], facts: &Facts) -> Result<()> {
        let sizes = contenders
            .iter()
            .map(|it| Ok((it.name.to_owned(), it.size()?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        ensure!(sizes == self.sizes, "other contenders were driven before");
        ensure!(self.earlier == facts.earlier, "another earlier build");
        let kept = self.scenes.iter().map(|it| &it.scene);
        ensure!(kept.eq(scenes), "other scenes were driven before");
        Ok(())
    }
}

/// What a comparison measures beside the rounds.
pub struct Facts {
    /// File name of the earlier build.
    pub earlier: Option<String>,
    /// Allocations of one new contact.
    pub allocations: Option<f64>,
}

/// The scenes; a quick run takes a tenth of the deliveries.
pub fn scenes(quick: bool) -> Vec<Scene> {
    use Workload::{Base64, Duplicate, Forged, Large, New};
    let scale = |count: usize| if quick { count.div_ceil(10) } else { count };
    let deliveries =
        |counts: &[(Workload, usize)]| counts.iter().map(|(it, n)| (*it, scale(*n))).collect();
    let scene = |name: &str, transport, delay_ms, share| Scene {
        name: name.to_owned(),
        transport,
        delay_ms,
        share,
        idle_ms: 0,
        awake: false,
        warm_up: scale(200),
        deliveries: deliveries(&[(New, 500), (Duplicate, 200), (Forged, 200)]),
    };
    // These mostly wait, so they get fewer deliveries.
    let slow = |name: &str, transport, delay_ms, share| Scene {
        warm_up: scale(20),
        deliveries: deliveries(&[(New, 50), (Duplicate, 20), (Forged, 20)]),
        ..scene(name, transport, delay_ms, share)
    };
    let mut tls = scene("tls", Transport::Tls, 0, Share::Full);
    tls.deliveries
        .extend([(Base64, scale(200)), (Large, scale(40))]);
    let idle = Scene {
        idle_ms: 20,
        deliveries: deliveries(&[(New, 50)]),
        ..slow("idle", Transport::Tls, 0, Share::Full)
    };
    let awake = |name: &str, transport| Scene {
        awake: true,
        ..scene(name, transport, 0, Share::Full)
    };
    vec![
        tls,
        awake("tls-awake", Transport::Tls),
        scene("plain", Transport::Plain, 0, Share::Full),
        awake("plain-awake", Transport::Plain),
        idle,
        slow("plain-5ms", Transport::Plain, 5, Share::Full),
        slow("5ms", Transport::Tls, 5, Share::Full),
        slow("5ms-512", Transport::Tls, 5, Share::Megabytes(512)),
        slow("5ms-256", Transport::Tls, 5, Share::Megabytes(256)),
        slow("5ms-128", Transport::Tls, 5, Share::Megabytes(128)),
    ]
}

/// Runs the comparison up to `rounds`, and passes on the results after each round. Every second round has the
/// opposite order of contenders. An interrupted comparison continues after its last complete round.
pub fn run(
    host: &Host,
    contenders: &[Contender],
    scenes: &[Scene],
    rounds: usize,
    facts: Facts,
    cut_off: Option<Results>,
    mut keep: impl FnMut(&Results) -> Result<()>,
) -> Result<Results> {
    let mut results = match cut_off {
        Some(results) => {
            results.ensure_same(contenders, scenes, &facts)?;
            results
        }
        None => without_rounds(host, contenders, scenes, facts)?,
    };
    for round in results.rounds..rounds {
        for scene in &mut results.scenes {
            eprintln!("round {} of {rounds}: {}", round + 1, scene.scene.name);
            let mut order = contenders.iter().collect::<Vec<_>>();
            if round % 2 == 1 {
                order.reverse();
            }
            for contender in order {
                let start = measure(host, contender, &scene.scene)
                    .with_context(|| format!("{} in {}", contender.name, scene.scene.name))?;
                let starts = scene.starts.entry(contender.name.to_owned());
                starts.or_default().push(start);
            }
        }
        results.rounds = round + 1;
        results.machine = Machine::describe()?;
        keep(&results)?;
    }
    Ok(results)
}

/// The parts of the result that do not depend on the round.
fn without_rounds(
    host: &Host,
    contenders: &[Contender],
    scenes: &[Scene],
    facts: Facts,
) -> Result<Results> {
    let sizes = contenders
        .iter()
        .map(|it| Ok((it.name.to_owned(), it.size()?)));
    let receiver = contenders.iter().find(|it| it.name == RECEIVER);
    let instructions = contenders
        .iter()
        .filter(|it| [RECEIVER, EARLIER].contains(&it.name))
        .map(|it| {
            let counted = instructions::count(host, it, &host.directory)?;
            Ok((it.name.to_owned(), counted))
        });
    Ok(Results {
        machine: Machine::describe()?,
        method: host.limiter.method,
        rounds: 0,
        earlier: facts.earlier,
        sizes: sizes.collect::<Result<_>>()?,
        instructions: instructions.collect::<Result<_>>()?,
        allocations: facts.allocations,
        log_bytes: receiver.map(|it| log_bytes(host, it)).transpose()?,
        arm64_zip: contenders::arm64_zip()?,
        scenes: scenes.iter().map(SceneResults::new).collect(),
    })
}

/// What the receiver writes to its log for each new contact.
fn log_bytes(host: &Host, receiver: &Contender) -> Result<f64> {
    const DELIVERIES: usize = 100;
    host.endpoints.clear();
    host.endpoints.delay(Duration::ZERO);
    let environment = Environment::start(host, receiver, Transport::Tls)?;
    let before = environment.logged()?;
    for request in Workload::New.requests(0, DELIVERIES) {
        environment.invoke(&request.event, receiver.status(Workload::New))?;
    }
    Ok((environment.logged()? - before) as f64 / DELIVERIES as f64)
}

/// One start of one contender.
fn measure(host: &Host, contender: &Contender, scene: &Scene) -> Result<Start> {
    host.endpoints.clear();
    host.endpoints.delay(Duration::from_millis(scene.delay_ms));
    let mut environment = Environment::start(host, contender, scene.transport)?;
    environment.limit(&host.limiter, scene.share)?;
    let count = scene
        .deliveries
        .get(&Workload::New)
        .copied()
        .unwrap_or_default();
    let mut contacts = Workload::New.requests(0, 1 + scene.warm_up + count);
    let session = Session {
        host,
        contender,
        environment: &environment,
        scene,
    };
    let first = session.deliver(&contacts[..1], Workload::New)?;
    let cold_cpu = environment.cpu()?;
    let _awake = scene.awake.then(Awake::keep).transpose()?;
    session.deliver(&contacts[1..=scene.warm_up], Workload::New)?;

    let mut warm = BTreeMap::new();
    let mut rss_mb = f64::NAN;
    contacts.drain(..=scene.warm_up);
    for (workload, count) in scene
        .deliveries
        .iter()
        .filter(|(workload, _)| contender.takes(**workload))
    {
        let requests = match workload {
            Workload::New => std::mem::take(&mut contacts),
            _ => workload.requests(1 + scene.warm_up, *count),
        };
        warm.insert(*workload, session.measure(&requests, *workload)?);
        if *workload == Workload::New {
            rss_mb = megabytes(environment.memory()?.resident);
        }
    }
    Ok(Start {
        init_ms: environment.init.as_secs_f64() * 1e3,
        first_answer_ms: first[0].answer.as_secs_f64() * 1e3,
        first_next_ms: first[0].next.as_secs_f64() * 1e3,
        cold_cpu_ms: cold_cpu.as_secs_f64() * 1e3,
        rss_mb,
        peak_rss_mb: megabytes(environment.memory()?.peak),
        warm,
    })
}

/// A running contender in its scene.
struct Session<'a> {
    host: &'a Host,
    contender: &'a Contender,
    environment: &'a Environment,
    scene: &'a Scene,
}

impl Session<'_> {
    fn measure(&self, requests: &[Request], workload: Workload) -> Result<Warm> {
        let before = self.environment.cpu()?;
        let took = self.deliver(requests, workload)?;
        let cpu = self.environment.cpu()?.saturating_sub(before);
        Ok(Warm::of(&took, cpu))
    }

    /// Delivers one after the other, and checks that all the work was done.
    fn deliver(&self, requests: &[Request], workload: Workload) -> Result<Vec<Took>> {
        let mut took = Vec::with_capacity(requests.len());
        for request in requests {
            thread::sleep(Duration::from_millis(self.scene.idle_ms));
            took.push(
                self.environment
                    .invoke(&request.event, self.contender.status(workload))?,
            );
        }
        let calls = self.contender.calls(workload) * requests.len() as u64;
        let made = self.host.endpoints.take_calls();
        ensure!(
            made == calls,
            "{made} AWS calls were made for {}, {calls} were due",
            workload.title()
        );
        let sent = self.host.endpoints.take_messages();
        let due = if self.contender.calls(workload) < 3 {
            &[]
        } else {
            requests
        };
        let whole = sent.iter().eq(due.iter().map(|request| &request.digest));
        ensure!(
            whole,
            "the queue did not get what was delivered ({})",
            workload.title()
        );
        Ok(took)
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
