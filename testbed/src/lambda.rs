//! Lambda for the function's own program: a queue of invocations, and processes that take them and can
//! be killed.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Display,
    fs,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::runtime_api::{Driver, Event, Peer, Reply, RuntimeApi};

/// The result of an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The function's answer.
    Answered(Value),
    /// The runtime reported an error, for example one that the function's code returned.
    Failed(String),
    /// The process ended before it answered.
    Cut,
    /// It took longer than the function's timeout. Lambda then kills the process.
    TimedOut,
}

/// What happens to an answer that the function posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Posting {
    /// The connection is closed before the answer is accepted.
    ResetBefore,
    /// The answer is accepted, and the connection is closed without a response.
    ResetAfter,
    /// The Runtime API responds with 500 and does not accept the answer.
    ServerError,
    /// The answer is not accepted, and the function waits: see [`Process::stands_at_answer`].
    StopBefore,
    /// The answer is accepted, and the function waits for the response.
    StopAfter,
}

/// A deployed function. Invocations wait until one of its processes takes them.
pub struct Lambda {
    timeout: Duration,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Invocation>>,
    arrived: Condvar,
}

struct Invocation {
    event: Arc<[u8]>,
    taken: oneshot::Sender<()>,
    outcome: oneshot::Sender<Outcome>,
}

impl Lambda {
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            queue: Arc::default(),
        }
    }

    /// Invokes the function with a gateway's event. If the future is dropped before a process takes the
    /// invocation, there is no invocation.
    pub async fn invoke(&self, event: &(impl Display + ?Sized)) -> Outcome {
        let (taken, is_taken) = oneshot::channel();
        let (outcome, ended) = oneshot::channel();
        self.queue.add(Invocation {
            event: event.to_string().into_bytes().into(),
            taken,
            outcome,
        });
        let _by_a_process = is_taken.await;
        // The function's timeout starts here.
        match timeout(self.timeout, ended).await {
            Ok(outcome) => outcome.unwrap_or(Outcome::Cut),
            Err(_) => Outcome::TimedOut,
        }
    }

    /// Starts a process of the function.
    pub fn start(&self, binary: &Path, environment: &BTreeMap<&'static str, String>) -> Process {
        let (driver, api) = self.runtime_api();
        let mut child = Command::new(binary)
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "titanx-receiver")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the function's program can be started");
        let output = Arc::default();
        let readers = vec![
            keep(child.stdout.take(), &output),
            keep(child.stderr.take(), &output),
        ];
        Process {
            child,
            api,
            driver,
            output,
            readers,
        }
    }
}

impl Lambda {
    /// The Runtime API for one process.
    fn runtime_api(&self) -> (Arc<Handover>, RuntimeApi) {
        let driver = Arc::new(Handover {
            queue: Arc::clone(&self.queue),
            asked: AtomicUsize::new(0),
            state: Mutex::new(State {
                taken: Some(HashMap::new()),
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        let api = RuntimeApi::start(Arc::clone(&driver), self.timeout);
        (driver, api.expect("a loopback port is free"))
    }
}

impl Queue {
    fn add(&self, invocation: Invocation) {
        lock(&self.waiting).push_back(invocation);
        self.arrived.notify_one();
    }

    /// Waits for the next invocation whose caller still waits. Returns `None` as soon as nobody is left to
    /// take it.
    fn take(&self, nobody_is_left: impl Fn() -> bool) -> Option<Invocation> {
        let mut waiting = lock(&self.waiting);
        loop {
            if nobody_is_left() {
                // This thread may have been woken for an invocation that it cannot take.
                self.arrived.notify_one();
                return None;
            }
            while let Some(next) = waiting.pop_front() {
                if !next.outcome.is_closed() {
                    return Some(next);
                }
            }
            let woken = self.arrived.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wakes all waiting threads, which then check whether they may still take an invocation.
    fn wake_all(&self) {
        let _waiting = lock(&self.waiting);
        self.arrived.notify_all();
    }
}

/// Collects the lines of an output, on a thread that ends with the process.
fn keep(
    stream: Option<impl Read + Send + 'static>,
    output: &Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    let stream = BufReader::new(stream.expect("it is piped"));
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in stream.lines().map_while(io::Result::ok) {
            lock(&output).push(line);
        }
    })
}

/// A process of the function. It is killed when this is dropped.
pub struct Process {
    child: Child,
    api: RuntimeApi,
    driver: Arc<Handover>,
    output: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

/// The interval at which a wait checks its condition.
const LOOK_EVERY: Duration = Duration::from_millis(1);

impl Process {
    /// Sets what happens to the next answers, in order. Later answers are accepted.
    pub fn on_answers(&self, postings: impl IntoIterator<Item = Posting>) {
        lock(&self.driver.state).postings.extend(postings);
    }

    /// Waits until this many answers are stopped.
    pub async fn stands_at_answer(&self, answers: usize) {
        while lock(&self.driver.state).standing < answers {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Releases the stopped answers: they are accepted, or their responses are sent.
    pub fn release_answers(&self) {
        self.driver.change(|state| {
            state.standing = 0;
            state.releases += 1;
        });
    }

    /// The number of times the process has asked for an invocation.
    pub fn asked(&self) -> usize {
        self.driver.asked.load(Ordering::SeqCst)
    }

    /// Waits until the process has asked for an invocation this many times.
    pub async fn has_asked(&self, times: usize) {
        while self.asked() < times {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the process is ready for its snapshot. For this, SnapStart has to be on.
    pub async fn is_ready_for_snapshot(&self) {
        while !lock(&self.driver.state).before_snapshot {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Restores the process from its snapshot.
    pub fn restore(&self) {
        self.driver.change(|state| state.restored = true);
    }

    /// Closes all connections to the Runtime API, and refuses new ones.
    pub fn lose_interface(&mut self) {
        self.driver.close();
        self.api.close();
    }

    /// Stops the process (`SIGSTOP`), as Lambda freezes an environment, or continues it (`SIGCONT`).
    pub fn freeze(&self, freeze: bool) {
        let signal = if freeze { "-STOP" } else { "-CONT" };
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// Waits until the process ends by itself. Returns `None` if it still runs after `patience`.
    pub async fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            let status = self
                .child
                .try_wait()
                .expect("it is a child of this process");
            if status.is_some() || Instant::now() > until {
                return status;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Kills the process (`SIGKILL`).
    pub fn kill(&mut self) {
        let _only_if_gone_already = self.child.kill();
        let _status = self.child.wait();
        // The invocations that it had taken end without an answer.
        self.driver.change(|state| state.taken = None);
        self.lose_interface();
        for reader in self.readers.drain(..) {
            let _at_the_end = reader.join();
        }
    }

    /// Takes the lines that the process has written to standard output and standard error.
    pub fn take_output(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.output))
    }

    /// The resident memory of the process in KiB, or `None` if it has ended.
    pub fn resident_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Passes the function's invocations to one process, and accepts its answers.
struct Handover {
    queue: Arc<Queue>,
    /// The number of times the process asked for an invocation.
    asked: AtomicUsize,
    state: Mutex<State>,
    /// Notified after each change of the state that the thread of a connection may wait for.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The invocations in progress, by request id; `None` after the process was killed.
    taken: Option<HashMap<String, oneshot::Sender<Outcome>>>,
    /// What happens to the next answers.
    postings: VecDeque<Posting>,
    /// The number of stopped answers.
    standing: usize,
    /// The number of times the stopped answers were released.
    releases: usize,
    /// Whether the process waits to be restored from its snapshot.
    before_snapshot: bool,
    restored: bool,
    /// Whether the Runtime API refuses connections.
    closed: bool,
}

impl Driver for Handover {
    fn next(&self, _: Instant, function: &Peer<'_>) -> Option<Event> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let nobody_is_left = || lock(&self.state).closed || function.is_gone();
        let invocation = self.queue.take(nobody_is_left)?;
        let request_id = uuid::Uuid::new_v4().to_string();
        // A killed process can take no invocation, so this one ends at once.
        let state = &mut *lock(&self.state);
        let taken = state.taken.as_mut()?;
        taken.insert(request_id.clone(), invocation.outcome);
        let _given_up = invocation.taken.send(());
        Some(Event {
            request_id,
            body: invocation.event,
        })
    }

    /// Accepts a result, unless the next answer is to fail or to stop.
    fn posted(&self, id: &str, _: Instant, result: Result<Vec<u8>, String>) -> Reply {
        let outcome = match result {
            Ok(answer) => {
                let answer = serde_json::from_slice(&answer);
                Outcome::Answered(answer.expect("the function answers in JSON"))
            }
            Err(error) => return self.end(id, Outcome::Failed(error)),
        };
        let posting = lock(&self.state).postings.pop_front();
        match posting {
            None => self.end(id, outcome),
            Some(Posting::ResetAfter) => {
                self.end(id, outcome);
                Reply::Nothing
            }
            Some(Posting::ServerError) => Reply::ServerError,
            Some(Posting::StopBefore) if self.stand() => self.end(id, outcome),
            Some(Posting::ResetBefore | Posting::StopBefore) => Reply::Nothing,
            Some(Posting::StopAfter) => {
                let reply = self.end(id, outcome);
                self.stand();
                reply
            }
        }
    }

    fn restored(&self) -> bool {
        self.change(|state| state.before_snapshot = true);
        self.wait_until(|state| state.restored)
    }
}

impl Handover {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }

    /// Blocks until the condition is true. Returns `false` if the Runtime API is closed first.
    fn wait_until(&self, is_so: impl Fn(&State) -> bool) -> bool {
        let waits = |state: &mut State| !state.closed && !is_so(state);
        let state = self.changed.wait_while(lock(&self.state), waits);
        !state.unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Blocks until the stopped answers are released. Returns `false` if the Runtime API is closed first.
    fn stand(&self) -> bool {
        let releases = {
            let state = &mut *lock(&self.state);
            state.standing += 1;
            state.releases
        };
        self.wait_until(|state| state.releases > releases)
    }

    fn end(&self, id: &str, outcome: Outcome) -> Reply {
        let taken = &mut lock(&self.state).taken;
        match taken.as_mut().and_then(|taken| taken.remove(id)) {
            Some(waiting) => {
                let _given_up = waiting.send(outcome);
                Reply::Accepted
            }
            None => Reply::Unknown,
        }
    }

    /// Ends all waiting.
    fn close(&self) {
        self.change(|state| state.closed = true);
        self.queue.wake_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpStream};

    use super::*;

    /// A connection on which a function has asked for an event.
    async fn ask(api: &RuntimeApi, driver: &Handover) -> TcpStream {
        let before = driver.asked.load(Ordering::SeqCst);
        let mut function = TcpStream::connect(api.address).unwrap();
        let next = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n";
        function.write_all(next).unwrap();
        while driver.asked.load(Ordering::SeqCst) == before {
            sleep(LOOK_EVERY).await;
        }
        function
    }

    /// The number of invocations in progress in a process.
    fn taken(driver: &Handover) -> usize {
        lock(&driver.state).taken.as_ref().unwrap().len()
    }

    #[tokio::test]
    async fn an_invocation_waits_for_a_process_that_is_still_there() {
        let lambda = Lambda::new(Duration::from_secs(8));
        let (driver, api) = lambda.runtime_api();
        drop(ask(&api, &driver).await);
        let event = "{}";
        let invocation = lambda.invoke(event);
        tokio::pin!(invocation);
        let nobody = timeout(Duration::from_millis(100), &mut invocation).await;
        assert!(nobody.is_err(), "{nobody:?}");
        assert_eq!(taken(&driver), 0);

        let _function = ask(&api, &driver).await;
        let is_taken = async {
            while taken(&driver) == 0 {
                sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            outcome = &mut invocation => panic!("{outcome:?}"),
            () = is_taken => {}
        }
        driver.change(|state| state.taken = None);
        assert_eq!(invocation.await, Outcome::Cut);
    }

    #[tokio::test]
    async fn an_invocation_without_an_answer_times_out() {
        let lambda = Lambda::new(Duration::from_millis(50));
        let (driver, api) = lambda.runtime_api();
        let _function = ask(&api, &driver).await;
        assert_eq!(lambda.invoke("{}").await, Outcome::TimedOut);
    }
}
