//! An execution environment as Lambda provides it: a process with its variables and its Runtime API.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use serde::Deserialize;
use titanx_testbed::titanx::SIGNING_SECRET;

use crate::contenders::Contender;
use crate::cpu::{self, Limit, Limiter, Share};
use crate::endpoints::{Endpoints, Transport};
use crate::invocations::{Answer, Invocations, Took};

/// What all functions share: endpoints, Runtime API, directories.
pub struct Host {
    pub endpoints: Endpoints,
    pub limiter: Limiter,
    /// Directory for logs and the test authority's certificate.
    pub directory: PathBuf,
}

impl Host {
    pub fn new() -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("titanx-bench-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        Ok(Self {
            endpoints: Endpoints::start(&directory)?,
            limiter: Limiter::new(),
            directory,
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A running function that has requested its first event.
pub struct Environment {
    /// Time from before the process was created until it requested an event.
    pub init: Duration,
    invocations: Invocations,
    child: Child,
    log: PathBuf,
    limit: Option<Limit>,
}

/// Additions for one function: wrapper programs and variables.
#[derive(Default)]
pub struct Extras {
    /// Programs (and arguments) to run the function under.
    pub wrapper: Vec<String>,
    pub variables: Vec<(String, String)>,
}

impl Environment {
    pub fn start(host: &Host, contender: &Contender, transport: Transport) -> Result<Self> {
        Self::start_with(host, contender, transport, &Extras::default())
    }

    pub fn start_with(
        host: &Host,
        contender: &Contender,
        transport: Transport,
        extras: &Extras,
    ) -> Result<Self> {
        let invocations = Invocations::start()?;
        let log = host.directory.join(format!(
            "{}-{}.log",
            contender.name,
            invocations.address().port()
        ));
        let mut command = command(contender, extras);
        let variables = variables(host, contender, transport, invocations.address());
        command
            .envs(variables)
            .envs(extras.variables.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        let began = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {:?}", contender.command))?;
        let mut environment = Self {
            init: Duration::ZERO,
            invocations,
            child,
            log,
            limit: None,
        };
        host.limiter.admit(environment.process())?;
        environment.init = environment.with_log(environment.invocations.poll())? - began;
        Ok(environment)
    }

    /// Limits the function to this share of a CPU from now on. On Lambda, init has a whole CPU.
    pub fn limit(&mut self, limiter: &Limiter, share: Share) -> Result<()> {
        self.limit = Some(limiter.limit(self.process(), share)?);
        Ok(())
    }

    /// Sends one event, and returns when the function requests the next one.
    pub fn invoke(&self, event: &Arc<[u8]>, status: u16) -> Result<Took> {
        let (answer, took) = self.with_log(self.invocations.invoke(event))?;
        self.with_log(check(&answer, status))?;
        Ok(took)
    }

    /// Queues an event without waiting.
    pub fn submit(&self, event: &Arc<[u8]>) -> Result<()> {
        self.invocations.submit(event)
    }

    /// Waits for the next answer to a queued event, and returns the time from event to answer. Work after the answer may
    /// not be finished; [`Self::settle`] waits for it.
    pub fn finish(&self, status: u16) -> Result<Duration> {
        let answer = self.with_log(self.invocations.answer())?;
        self.with_log(check(&answer, status))?;
        Ok(answer.took())
    }

    /// Waits until the function has requested `count` more events.
    pub fn settle(&self, count: usize) -> Result<()> {
        (0..count).try_for_each(|_| self.with_log(self.invocations.poll()).map(drop))
    }

    /// Waits until the process is idle.
    ///
    /// # Errors
    ///
    /// If it still uses CPU after a minute.
    pub fn come_to_rest(&self) -> Result<()> {
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        const PATIENCE: Duration = Duration::from_mins(1);
        let began = Instant::now();
        let mut before = self.cpu()?;
        loop {
            thread::sleep(LOOK_EVERY);
            let now = self.cpu()?;
            if now == before {
                return Ok(());
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "the function works without an event"
            );
            before = now;
        }
    }

    /// CPU time since the process began.
    pub fn cpu(&self) -> Result<Duration> {
        cpu::used(self.process())
    }

    /// Resident memory: current and peak.
    pub fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        Ok(Memory {
            resident: kilobytes(&status, "VmRSS:")? * 1024,
            peak: kilobytes(&status, "VmHWM:")? * 1024,
        })
    }

    /// Bytes written to the log so far.
    pub fn logged(&self) -> Result<u64> {
        Ok(fs::metadata(&self.log)?.len())
    }

    fn process(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Ends the process with `SIGTERM` and waits until it has ended, so that a tool that observes it can write its results.
    pub fn terminate(mut self) -> Result<()> {
        nix::sys::signal::kill(self.process(), nix::sys::signal::Signal::SIGTERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Adds the function's last output to an error.
    fn with_log<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines = log.lines().collect::<Vec<_>>();
            let last = lines[lines.len().saturating_sub(20)..].join("\n");
            format!("the function's last words:\n{last}")
        })
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// Resident memory.
#[derive(Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    pub peak: u64,
}

fn kilobytes(status: &str, name: &str) -> Result<u64> {
    let line = status
        .lines()
        .find(|line| line.starts_with(name))
        .context("no memory in status")?;
    let number = line.split_whitespace().nth(1).context("a number")?;
    Ok(number.parse()?)
}

fn command(contender: &Contender, extras: &Extras) -> Command {
    let mut words = extras
        .wrapper
        .iter()
        .map(PathBuf::from)
        .chain(contender.command.iter().cloned());
    let mut command = Command::new(words.next().expect("a program"));
    command
        .args(words)
        .current_dir(&contender.directory)
        .env_clear();
    command
}

/// The variables that Lambda sets, and the function's own.
fn variables(
    host: &Host,
    contender: &Contender,
    transport: Transport,
    runtime_api: SocketAddr,
) -> Vec<(&'static str, String)> {
    let transport = contender.transport(transport);
    let sqs = host.endpoints.sqs_url(transport);
    let authority = host.endpoints.authority.display().to_string();
    let task_root = contender.directory.display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut variables = vec![
        ("DELIVERIES_TABLE", "deliveries".to_owned()),
        ("JOBS_TABLE", "jobs".to_owned()),
        ("CONTACTS_QUEUE_URL", format!("{sqs}/000000000000/contacts")),
        (
            "QUARANTINE_QUEUE_URL",
            format!("{sqs}/000000000000/quarantine"),
        ),
        ("TITANX_WEBHOOK_SECRET", SIGNING_SECRET.to_owned()),
        (
            "AWS_ENDPOINT_URL_DYNAMODB",
            host.endpoints.dynamodb_url(transport),
        ),
        ("AWS_ENDPOINT_URL_SQS", sqs),
        ("AWS_CA_BUNDLE", authority.clone()),
        ("NODE_EXTRA_CA_CERTS", authority),
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string()),
        ("AWS_ACCESS_KEY_ID", "ASIAAAAAAAAAAAAAAAAA".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "synthetic".to_owned()),
        // As long as the ones that Lambda gives: it is sent, and signed, with every call.
        ("AWS_SESSION_TOKEN", "synthetic".repeat(80)),
        ("LAMBDA_TASK_ROOT", task_root),
        ("_HANDLER", contender.handler.to_owned()),
        ("PATH", path),
        ("TZ", ":UTC".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
    ];
    variables.extend(
        [
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_LAMBDA_FUNCTION_NAME", "receiver"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/receiver"),
            (
                "AWS_LAMBDA_LOG_STREAM_NAME",
                "2026/01/05/[$LATEST]00000000000000000000000000000000",
            ),
        ]
        .map(|(name, value)| (name, value.to_owned())),
    );
    variables
}

fn check(answer: &Answer, status: u16) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        status_code: u16,
    }
    let body = answer
        .response
        .as_ref()
        .map_err(|error| anyhow::anyhow!("the function failed: {error}"))?;
    let text = String::from_utf8_lossy(body);
    let head: Head =
        serde_json::from_slice(body).with_context(|| format!("not an answer: {text}"))?;
    ensure!(
        head.status_code == status,
        "answered {} where {status} was due: {text}",
        head.status_code
    );
    Ok(())
}
