//! The CPU that a function has used, and the share of a CPU that it may use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Lambda gives one whole virtual CPU at this much memory, and less in proportion below it.
const MEGABYTES_OF_ONE_CPU: f64 = 1769.0;
/// The period of Lambda's CPU quota, as observed inside a function.
const PERIOD: Duration = Duration::from_millis(20);

/// Prefix of the control groups' names, followed by the process id of this run.
const PREFIX: &str = "titanx-bench-";

/// User and system time of all threads of a process since its start, in nanoseconds.
pub fn used(process: Pid) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(process).context("the process is gone")?;
    Ok(clock_gettime(clock)?.into())
}

/// Keeps every processor awake, with work at the lowest priority.
///
/// An idle virtual processor goes to sleep, and its wake-up time is charged to the process that is woken. A
/// function that waits for an answer pays this at each call, and the amount depends on the machine.
pub struct Awake(Vec<Child>);

impl Awake {
    pub fn keep() -> Result<Self> {
        let mut loops = Self(Vec::new());
        for _ in 0..thread::available_parallelism()?.get() {
            let mut one = Command::new("nice");
            let one = one.args(["-n", "19", "sh", "-c", "while :; do :; done"]);
            loops.0.push(one.spawn().context("nice")?);
        }
        Ok(loops)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for one in &mut self.0 {
            let _ = one.kill();
            let _ = one.wait();
        }
    }
}

/// The CPU quota of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    Full,
    /// The quota that Lambda gives a function with this much memory.
    Megabytes(u32),
}

impl Share {
    pub fn title(self) -> String {
        match self {
            Self::Full => "full CPU".to_owned(),
            Self::Megabytes(size) => format!("{size} MB share"),
        }
    }

    /// CPU time in each period; none when there is no limit.
    fn quota(self) -> Option<Duration> {
        match self {
            Self::Full => None,
            Self::Megabytes(size) => Some(PERIOD.mul_f64(f64::from(size) / MEGABYTES_OF_ONE_CPU)),
        }
    }
}

/// How a CPU share is enforced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The kernel's bandwidth control, as on Lambda: `cpu.max`.
    CgroupV2,
    /// The same under its older name: `cpu.cfs_quota_us`.
    CgroupV1,
    /// The driver sends `SIGSTOP` when the quota of a period is used up. Less precise, but needs no privileges.
    StopAndContinue,
}

/// Assigns functions to control groups, so that their CPU can be limited.
pub struct Limiter {
    pub method: Method,
    group: PathBuf,
}

impl Limiter {
    /// Selects the most precise method that is available.
    pub fn new() -> Self {
        let name = format!("{PREFIX}{}", std::process::id());
        let groups = [
            (Method::CgroupV2, Path::new("/sys/fs/cgroup"), "cpu.max"),
            (
                Method::CgroupV1,
                Path::new("/sys/fs/cgroup/cpu"),
                "cpu.cfs_quota_us",
            ),
        ];
        for (method, root, file) in groups {
            remove_leftovers(root);
            let group = root.join(&name);
            if root.join("cgroup.procs").exists() && fs::create_dir(&group).is_ok() {
                if group.join(file).exists() {
                    return Self { method, group };
                }
                let _ = fs::remove_dir(&group);
            }
        }
        Self {
            method: Method::StopAndContinue,
            group: PathBuf::new(),
        }
    }

    /// Puts a new process into a group of its own, without a limit.
    pub fn admit(&self, process: Pid) -> Result<()> {
        if self.method == Method::StopAndContinue {
            return Ok(());
        }
        self.set(None)?;
        self.outweigh_the_rest();
        fs::write(self.group.join("cgroup.procs"), process.to_string()).context("cgroup.procs")
    }

    /// Limits a process that was admitted, until the returned limit is dropped.
    pub fn limit(&self, process: Pid, share: Share) -> Result<Limit> {
        let stopper = match (share.quota(), self.method) {
            (Some(quota), Method::StopAndContinue) => Some(Stopper::start(process, quota)),
            (quota, _) => {
                self.set(quota)?;
                None
            }
        };
        Ok(Limit { _stopper: stopper })
    }

    /// Gives the function priority over other processes, if permitted.
    fn outweigh_the_rest(&self) {
        let (file, weight) = match self.method {
            Method::CgroupV2 => ("cpu.weight", "10000"),
            _ => ("cpu.shares", "262144"),
        };
        let _ = fs::write(self.group.join(file), weight);
    }

    fn set(&self, quota: Option<Duration>) -> Result<()> {
        let period = PERIOD.as_micros();
        match self.method {
            Method::CgroupV2 => {
                let quota = quota.map_or("max".to_owned(), |quota| quota.as_micros().to_string());
                fs::write(self.group.join("cpu.max"), format!("{quota} {period}"))
                    .context("cpu.max")
            }
            Method::CgroupV1 => {
                let quota = quota.map_or("-1".to_owned(), |quota| quota.as_micros().to_string());
                fs::write(self.group.join("cpu.cfs_period_us"), period.to_string())
                    .context("period")?;
                fs::write(self.group.join("cpu.cfs_quota_us"), quota).context("quota")
            }
            Method::StopAndContinue => Ok(()),
        }
    }
}

/// Removes groups left behind by interrupted runs.
fn remove_leftovers(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let run = name
            .strip_prefix(PREFIX)
            .map(|run| Path::new("/proc").join(run));
        if run.is_some_and(|run| !run.exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        if self.method != Method::StopAndContinue {
            // The last process of the group may still be on its way out.
            for _ in 0..100 {
                if fs::remove_dir(&self.group).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// An active limit; dropping it lifts the limit.
pub struct Limit {
    _stopper: Option<Stopper>,
}

/// Stops a process when it has used its quota in a period, and continues it in the next.
struct Stopper {
    done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Stopper {
    fn start(process: Pid, quota: Duration) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&done);
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) && hold_for_one_period(process, quota).is_ok() {}
            let _ = kill(process, Signal::SIGCONT);
        });
        Self {
            done,
            thread: Some(thread),
        }
    }
}

fn hold_for_one_period(process: Pid, quota: Duration) -> Result<()> {
    const LOOK_EVERY: Duration = Duration::from_micros(100);
    let end = Instant::now() + PERIOD;
    let allowed = used(process)? + quota;
    kill(process, Signal::SIGCONT)?;
    while Instant::now() < end {
        if used(process)? >= allowed {
            kill(process, Signal::SIGSTOP)?;
            thread::sleep(end.saturating_duration_since(Instant::now()));
        } else {
            thread::sleep(LOOK_EVERY);
        }
    }
    Ok(())
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
