//! Lambda around the function's own program: a runtime interface that outlives the processes behind
//! it, and those processes, which can be killed.

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

/// What became of an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The function's answer.
    Answered(Value),
    /// The runtime reported an error instead, as it does for one that the function's code returns.
    Failed(String),
    /// The process died on it.
    Cut,
    /// It took longer than the function's timeout, at which Lambda ends the process.
    TimedOut,
}

/// What happens to an answer that the function posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Posting {
    /// The connection is closed before the answer is taken.
    ResetBefore,
    /// The answer is taken, and the connection closed instead of saying so.
    ResetAfter,
    /// The interface answers 500 and takes no answer.
    ServerError,
    /// The answer is not taken, and the function waits; [`Process::stands_at_answer`] tells.
    StopBefore,
    /// The answer is taken, and the function waits to be told so.
    StopAfter,
}

/// A deployed function: invocations wait here until a process of it takes them.
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

    /// Invokes the function with a gateway's event. Dropped before a process takes it, it never
    /// happened.
    pub async fn invoke(&self, event: &(impl Display + ?Sized)) -> Outcome {
        let (outcome, ended) = oneshot::channel();
        let event = Bytes::from(event.to_string());
        let invocation = Invocation { event, outcome };
        self.waiting.send(invocation).expect("held by this itself");
        ended.await.unwrap_or(Outcome::Cut)
    }

    /// Starts a process of the function.
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

/// Keeps every line that comes, on a thread that ends with the process.
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
    api: Arc<RuntimeApi>,
    output: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    serving: JoinSet<()>,
}

impl Process {
    /// What happens to the next answers, one after the other; later ones pass.
    pub fn on_answers(&self, postings: impl IntoIterator<Item = Posting>) {
        lock(&self.api.postings).extend(postings);
    }

    /// Returns once so many answers stand at a stop.
    pub async fn stands_at_answer(&self, answers: usize) {
        let mut standing = self.api.standing.subscribe();
        let standing = standing.wait_for(|&standing| standing >= answers).await;
        standing.expect("the interface lives as long as this");
    }

    /// Lets the answers go on that stand at a stop: to be taken, or to be told that they were.
    pub fn release_answers(&self) {
        self.api.standing.send_replace(0);
    }

    /// How often it has asked for an invocation.
    pub fn asked(&self) -> usize {
        self.api.asked.load(Ordering::SeqCst)
    }

    /// Returns once it stands before its snapshot, where SnapStart is on.
    pub async fn is_ready_for_snapshot(&self) {
        while !self.api.snapshot.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Restores it from its snapshot.
    pub fn restore(&self) {
        self.api.restore.notify_one();
    }

    /// Returns once it has asked for an invocation so often.
    pub async fn has_asked(&self, times: usize) {
        while self.asked() < times {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Closes every connection to the runtime interface, and refuses new ones.
    pub async fn lose_interface(&mut self) {
        self.serving.shutdown().await;
    }

    /// Stops it (`SIGSTOP`), as Lambda freezes an environment, or lets it go on (`SIGCONT`).
    pub fn freeze(&self, freeze: bool) {
        let signal = if freeze { "-STOP" } else { "-CONT" };
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// How it ended by itself, if it does so within `patience`.
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

    /// Ends it by `SIGKILL`, in the middle of whatever it does.
    pub fn kill(&mut self) {
        let _only_if_gone_already = self.child.kill();
        let _status = self.child.wait();
        *lock(&self.api.taken) = None;
        for reader in self.readers.drain(..) {
            let _at_the_end = reader.join();
        }
    }

    /// Takes the lines that it wrote so far to standard output and standard error.
    pub fn take_output(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.output))
    }

    /// The memory it holds, in KiB, as Linux counts it; `None` once it is gone.
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

/// The runtime interface of one process.
struct RuntimeApi {
    timeout: Duration,
    queue: Arc<AsyncMutex<mpsc::UnboundedReceiver<Invocation>>>,
    /// The invocations that the process has taken and not ended, by request id; `None` once it
    /// was killed.
    taken: Mutex<Option<HashMap<String, oneshot::Sender<Outcome>>>>,
    /// What happens to the next answers.
    postings: Mutex<VecDeque<Posting>>,
    /// How many answers stand at a stop.
    standing: watch::Sender<usize>,
    asked: AtomicUsize,
    /// Whether it has asked to be restored, which it does once its start is complete.
    snapshot: AtomicBool,
    restore: Notify,
}

/// The connection is closed instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed by the runtime interface")]
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

    /// Takes an answer, if nothing else is to happen to it.
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

    /// Hands the next invocation out; from here on the function's timeout runs.
    async fn next(self: Arc<Self>) -> Response<Full<Bytes>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let invocation = loop {
            let next = self.queue.lock().await.recv().await;
            // The function is gone, and so will its processes be.
            let Some(next) = next else {
                return pending().await;
            };
            if !next.outcome.is_closed() {
                break next;
            }
        };
        let id = uuid::Uuid::new_v4().to_string();
        // A killed process takes nothing more: what it is handed is cut at once.
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
