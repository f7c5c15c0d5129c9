//! Runs the function's program as Lambda does: with the Lambda Runtime API, and with processes that
//! can be killed. Invocations survive the processes.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Display,
    fs,
    future::pending,
    io::{self, BufRead, BufReader, Read},
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot, watch},
    task::JoinSet,
    time::sleep,
};

const API: &str = "/2018-06-01/runtime/";

/// The outcome of an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The function posted this response.
    Answered(Value),
    /// The runtime reported an error, as it does if the handler returns one.
    Failed(String),
    /// The process was killed during the invocation.
    Cut,
    /// The invocation took longer than the function's timeout. Lambda would kill the process.
    TimedOut,
}

/// A fault when the function posts a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Posting {
    /// The connection is closed before the response takes effect.
    ResetBefore,
    /// The connection is closed after the response took effect.
    ResetAfter,
    /// The Runtime API answers 500, and the response has no effect.
    ServerError,
    /// The function waits, and the response takes effect only when released. See
    /// [`Process::stands_at_answer`].
    StopBefore,
    /// The response takes effect, but the function waits until released.
    StopAfter,
}

/// A deployed function, with a queue of invocations that its processes take.
pub struct Lambda {
    timeout: Duration,
    waiting: mpsc::UnboundedSender<Invocation>,
    queue: Arc<AsyncMutex<mpsc::UnboundedReceiver<Invocation>>>,
}

struct Invocation {
    event: Bytes,
    outcome: oneshot::Sender<Outcome>,
}

impl Lambda {
    pub fn new(timeout: Duration) -> Self {
        let (waiting, queue) = mpsc::unbounded_channel();
        Self {
            timeout,
            waiting,
            queue: Arc::new(AsyncMutex::new(queue)),
        }
    }

    /// Invokes the function with a gateway's event. If the future is dropped before a process takes
    /// the invocation, no process takes it.
    pub async fn invoke(&self, event: &(impl Display + ?Sized)) -> Outcome {
        let (outcome, ended) = oneshot::channel();
        let event = Bytes::from(event.to_string());
        let invocation = Invocation { event, outcome };
        self.waiting.send(invocation).expect("held by this itself");
        ended.await.unwrap_or(Outcome::Cut)
    }

    /// Starts a process of the function, in a new environment.
    pub async fn start(
        &self,
        binary: &Path,
        environment: &BTreeMap<&'static str, String>,
    ) -> Process {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a loopback port is free");
        let address = listener.local_addr().expect("it is bound");
        let api = Arc::new(RuntimeApi {
            timeout: self.timeout,
            queue: Arc::clone(&self.queue),
            taken: Mutex::new(Some(HashMap::new())),
            postings: Mutex::default(),
            standing: watch::Sender::new(0),
            asked: AtomicUsize::new(0),
            snapshot: AtomicBool::new(false),
            restore: Notify::new(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(Arc::clone(&api).serve(listener));
        let mut child = Command::new(binary)
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
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
            output,
            readers,
            serving,
        }
    }
}

/// Collects the lines of a stream, on a thread that ends with the process.
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

/// A running process of the function. It is killed when this is dropped.
pub struct Process {
    child: Child,
    api: Arc<RuntimeApi>,
    output: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    serving: JoinSet<()>,
}

impl Process {
    /// Injects faults into the next responses, one each. Later responses have none.
    pub fn on_answers(&self, postings: impl IntoIterator<Item = Posting>) {
        lock(&self.api.postings).extend(postings);
    }

    /// Waits until this many responses are stopped.
    pub async fn stands_at_answer(&self, answers: usize) {
        let mut standing = self.api.standing.subscribe();
        let standing = standing.wait_for(|&standing| standing >= answers).await;
        standing.expect("the interface lives as long as this");
    }

    /// Releases all stopped responses.
    pub fn release_answers(&self) {
        self.api.standing.send_replace(0);
    }

    /// How many times the process has asked for the next invocation.
    pub fn asked(&self) -> usize {
        self.api.asked.load(Ordering::SeqCst)
    }

    /// Waits until the process is ready for a snapshot. Only for a process with SnapStart.
    pub async fn is_ready_for_snapshot(&self) {
        while !self.api.snapshot.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets the process continue as after the restore of a snapshot.
    pub fn restore(&self) {
        self.api.restore.notify_one();
    }

    /// Waits until the process has asked for the next invocation this many times.
    pub async fn has_asked(&self, times: usize) {
        while self.asked() < times {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Closes all connections to the Runtime API, and refuses new ones.
    pub async fn lose_interface(&mut self) {
        self.serving.shutdown().await;
    }

    /// Stops the process with `SIGSTOP`, as Lambda freezes an environment, or continues it with
    /// `SIGCONT`.
    pub fn freeze(&self, freeze: bool) {
        let signal = if freeze { "-STOP" } else { "-CONT" };
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// The exit status, if the process exits by itself within `patience`.
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
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills the process with `SIGKILL`.
    pub fn kill(&mut self) {
        let _only_if_gone_already = self.child.kill();
        let _status = self.child.wait();
        *lock(&self.api.taken) = None;
        for reader in self.readers.drain(..) {
            let _at_the_end = reader.join();
        }
    }

    /// Removes and returns the lines that the process has written to standard output and standard
    /// error.
    pub fn take_output(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.output))
    }

    /// The resident memory of the process in KiB, as Linux counts it. `None` after its end.
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

/// The Runtime API of one process.
struct RuntimeApi {
    timeout: Duration,
    queue: Arc<AsyncMutex<mpsc::UnboundedReceiver<Invocation>>>,
    /// The unfinished invocations that the process has taken, by request id. `None` after a kill.
    taken: Mutex<Option<HashMap<String, oneshot::Sender<Outcome>>>>,
    /// The faults of the next responses.
    postings: Mutex<VecDeque<Posting>>,
    /// The number of stopped responses.
    standing: watch::Sender<usize>,
    asked: AtomicUsize,
    /// Whether the process has completed its start and waits for the restore.
    snapshot: AtomicBool,
    restore: Notify,
}

/// The connection is closed without a response.
#[derive(Debug, thiserror::Error)]
#[error("closed by the Runtime API")]
struct Closed;

impl RuntimeApi {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(Arc::clone(&self).serve_connection(stream));
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let answer = service_fn(|request| Arc::clone(&self).answer(request));
        let _ends_with_the_process = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), answer)
            .await;
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Closed> {
        let path = request.uri().path().to_owned();
        let path = path.strip_prefix(API).unwrap_or_default();
        let parts: Vec<&str> = path.split('/').collect();
        let status = match (request.method(), &parts[..]) {
            (&Method::GET, ["invocation", "next"]) => return Ok(self.next().await),
            (&Method::POST, ["invocation", id, "response"]) => {
                let answer = serde_json::from_slice(&whole(request).await);
                let answer = answer.expect("the function answers in JSON");
                self.post(id, Outcome::Answered(answer)).await?
            }
            (&Method::POST, ["invocation", id, "error"]) => {
                let error = String::from_utf8_lossy(&whole(request).await).into_owned();
                self.end(id, Outcome::Failed(error))
            }
            (&Method::GET, ["restore", "next"]) => {
                self.snapshot.store(true, Ordering::SeqCst);
                self.restore.notified().await;
                StatusCode::OK
            }
            _ => StatusCode::NOT_FOUND,
        };
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        Ok(response)
    }

    /// Accepts a response, or applies the next fault.
    async fn post(&self, id: &str, outcome: Outcome) -> Result<StatusCode, Closed> {
        let posting = lock(&self.postings).pop_front();
        match posting {
            None => Ok(self.end(id, outcome)),
            Some(Posting::ResetBefore) => Err(Closed),
            Some(Posting::ResetAfter) => {
                self.end(id, outcome);
                Err(Closed)
            }
            Some(Posting::ServerError) => Ok(StatusCode::INTERNAL_SERVER_ERROR),
            Some(Posting::StopBefore) => {
                self.stand().await;
                Ok(self.end(id, outcome))
            }
            Some(Posting::StopAfter) => {
                let status = self.end(id, outcome);
                self.stand().await;
                Ok(status)
            }
        }
    }

    async fn stand(&self) {
        let mut standing = self.standing.subscribe();
        self.standing.send_modify(|standing| *standing += 1);
        let _released = standing.wait_for(|&standing| standing == 0).await;
    }

    /// Returns the next invocation. The function's timeout starts now.
    async fn next(self: Arc<Self>) -> Response<Full<Bytes>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let invocation = loop {
            let next = self.queue.lock().await.recv().await;
            // The function was dropped, and its processes will be killed.
            let Some(next) = next else {
                return pending().await;
            };
            if !next.outcome.is_closed() {
                break next;
            }
        };
        let id = uuid::Uuid::new_v4().to_string();
        // After a kill, the invocation ends at once, because its sender is dropped.
        if let Some(taken) = &mut *lock(&self.taken) {
            taken.insert(id.clone(), invocation.outcome);
        }
        let deadline_ms = (SystemTime::now() + self.timeout).duration_since(UNIX_EPOCH);
        let deadline_ms = deadline_ms
            .expect("the clock stands after 1970")
            .as_millis();
        let response = Response::builder()
            .header("lambda-runtime-aws-request-id", &id)
            .header("lambda-runtime-deadline-ms", deadline_ms.to_string())
            .header(
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:us-east-1:000000000000:function:titanx-receiver",
            )
            .header("content-type", "application/json")
            .body(Full::new(invocation.event));
        tokio::spawn(async move {
            tokio::time::sleep(self.timeout).await;
            self.end(&id, Outcome::TimedOut);
        });
        response.expect("these are valid headers")
    }

    fn end(&self, id: &str, outcome: Outcome) -> StatusCode {
        let taken = lock(&self.taken).as_mut().and_then(|it| it.remove(id));
        match taken.map(|waiting| waiting.send(outcome)) {
            Some(_) => StatusCode::ACCEPTED,
            None => StatusCode::BAD_REQUEST,
        }
    }
}

async fn whole(request: Request<Incoming>) -> Bytes {
    let body = request.into_body().collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
