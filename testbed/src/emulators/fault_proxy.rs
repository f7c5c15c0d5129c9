//! A proxy that injects faults between the SDK and a service.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

use crate::background::Background;

/// A fault of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// An outage of this duration: connections are refused, and open ones are closed when idle. With
    /// [`When::Nth`], the connection of the call itself is refused. With any other condition, the proxy
    /// must read the call to match it, so it resets the call and then starts the outage.
    Refuse(Duration),
    /// The harm is done before the service gets the call.
    Before(Harm),
    /// The harm is done to the response, after the call took effect.
    After(Harm),
}

/// What is done to a call or to its response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Harm {
    /// The connection is reset.
    Reset,
    /// Status 500.
    ServerError,
    /// The throttling error of the service.
    Throttle,
    /// A delay. The call continues afterwards, even if the client has timed out.
    Delay(Duration),
    /// The call waits until [`FaultProxy::heal`], and is then reset. See [`FaultProxy::stopped`].
    Stop,
    /// Status 200 with this JSON, such as an old figure.
    Answer(&'static str),
}

/// The calls that a fault applies to, counted from its injection. A call is a request with an
/// `X-Amz-Target` header. Other requests have no faults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    Always,
    /// The n-th call, from 1.
    Nth(usize),
    /// Every call of this operation, for example `PutItem`.
    Every(&'static str),
    /// The n-th call of this operation.
    NthOf(usize, &'static str),
    /// A random share of all calls, with the seed given to [`FaultProxy::start`].
    Share(f64),
}

/// A call that reached the proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub operation: String,
    pub fault: Option<Fault>,
    /// The status of the service's response, if the service got the call and has answered.
    pub served: Option<u16>,
}

/// A call that the service answered.
#[derive(Debug)]
pub struct Served {
    pub operation: String,
    pub request: Bytes,
    pub status: u16,
    /// When the service answered.
    pub at: Instant,
    /// Whether the client got the service's own response.
    pub answered: bool,
    /// The time from the arrival of the call to its end.
    pub took: Duration,
}

type Observer = Box<dyn Fn(&Served) + Send + Sync>;

/// The running proxy in front of one service. It stops when this is dropped.
pub struct FaultProxy {
    pub url: String,
    proxy: Arc<Proxy>,
    _background: Background,
}

impl FaultProxy {
    /// Starts a proxy to the service at `upstream`, without faults. `seed` is for [`When::Share`].
    pub fn start(upstream: &str, seed: u64) -> Self {
        let background = Background::start("fault-proxy");
        let proxy = {
            let _context = background.handle().enter();
            Arc::new(Proxy::new(upstream, seed).expect("a loopback port is free"))
        };
        background.spawn(Arc::clone(&proxy).run());
        Self {
            url: format!("http://{}", proxy.gate.address),
            proxy,
            _background: background,
        }
    }

    /// Injects a fault. If several faults match a call, the first one injected applies.
    pub fn inject(&self, when: When, fault: Fault) {
        if let (When::Nth(1), Fault::Refuse(duration)) = (when, fault) {
            return self.proxy.gate.close_for(duration);
        }
        let seen = 0;
        self.proxy.script().rules.push(Rule { when, fault, seen });
    }

    /// Removes all faults, ends an outage, and resets the stopped calls.
    pub fn heal(&self) {
        self.proxy.script().rules.clear();
        self.proxy.stopped.send_replace(0);
        self.proxy.gate.open();
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.proxy.script().calls.clone()
    }

    /// Calls `observer` for every call that the service answers from now on.
    pub fn observe(&self, observer: impl Fn(&Served) + Send + Sync + 'static) {
        let observer: Observer = Box::new(observer);
        let _only_the_first = self.proxy.observer.set(observer);
    }

    /// Waits until a call is stopped by [`Harm::Stop`].
    pub async fn stopped(&self) {
        let mut stopped = self.proxy.stopped.subscribe();
        let standing = stopped.wait_for(|&calls| calls > 0).await;
        standing.expect("the proxy lives as long as this");
    }
}

struct Rule {
    when: When,
    fault: Fault,
    /// The number of calls so far that the condition counts.
    seen: usize,
}

impl Rule {
    fn matches(&mut self, operation: &str, random: &mut fastrand::Rng) -> bool {
        let named = match self.when {
            When::Every(name) | When::NthOf(_, name) => name == operation,
            _ => true,
        };
        self.seen += usize::from(named);
        match self.when {
            When::Nth(n) | When::NthOf(n, _) => named && self.seen == n,
            When::Share(share) => random.f64() < share,
            When::Always | When::Every(_) => named,
        }
    }

    /// The duration of an outage that has to start before the next call.
    fn outage_ahead(&self) -> Option<Duration> {
        match (self.when, self.fault) {
            (When::Nth(n), Fault::Refuse(duration)) if self.seen + 1 == n => Some(duration),
            _ => None,
        }
    }
}

struct Script {
    rules: Vec<Rule>,
    random: fastrand::Rng,
    calls: Vec<Call>,
}

impl Script {
    /// Records a call, and selects its fault.
    fn enter(&mut self, operation: &str) -> (usize, Option<Fault>) {
        let mut fault = None;
        // Every rule counts every call, even if an earlier rule applies.
        for rule in &mut self.rules {
            if rule.matches(operation, &mut self.random) {
                fault = fault.or(Some(rule.fault));
            }
        }
        self.calls.push(Call {
            operation: operation.to_owned(),
            fault,
            served: None,
        });
        (self.calls.len() - 1, fault)
    }
}

struct Proxy {
    upstream: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
    script: Mutex<Script>,
    gate: Arc<Gate>,
    /// The number of stopped calls.
    stopped: watch::Sender<usize>,
    observer: OnceLock<Observer>,
}

/// The connection of the call is reset.
#[derive(Debug, thiserror::Error)]
#[error("reset by the proxy")]
struct Reset;

type Answer = Response<Full<Bytes>>;

impl Proxy {
    fn new(upstream: &str, seed: u64) -> io::Result<Self> {
        let upstream: Uri = upstream.parse().expect("the upstream's URL is valid");
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self {
            upstream: upstream.authority().cloned().expect("a URL has a host"),
            client: Client::builder(TokioExecutor::new()).build(connector),
            script: Mutex::new(Script {
                rules: Vec::new(),
                random: fastrand::Rng::with_seed(seed),
                calls: Vec::new(),
            }),
            gate: Arc::new(Gate::new()?),
            stopped: watch::Sender::new(0),
            observer: OnceLock::new(),
        })
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        loop {
            let stream = self.gate.accept().await;
            tokio::spawn(Arc::clone(&self).serve(stream));
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut outages = self.gate.outages.subscribe();
        let service = service_fn(|request| Arc::clone(&self).pass(request));
        let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            _ = outages.changed() => None,
        };
        let ended = if let Some(ended) = ended {
            ended
        } else {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        };
        if ended.is_err() {
            // Makes the close send a reset instead of the end of the stream.
            let stream = connection.into_parts().io.into_inner();
            let _ = stream.set_zero_linger();
        }
    }

    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Reset> {
        let Some(target) = Target::of(&request) else {
            return self.forward(whole(request).await?).await;
        };
        let began = Instant::now();
        let (call, fault) = self.script().enter(&target.operation);
        match fault {
            Some(Fault::Refuse(duration)) => {
                self.gate.close_for(duration);
                return Err(Reset);
            }
            Some(Fault::Before(Harm::Reset)) => return Err(Reset),
            _ => {}
        }
        let request = whole(request).await?;
        let (answer, awaited) = oneshot::channel();
        // In its own task, so that the call takes effect even if the client closes the connection.
        tokio::spawn(async move {
            let sent = request.body().clone();
            let effect = OnceLock::new();
            let carried_out = self.carry_out(fault, &target, request, &effect).await;
            let own_answer = carried_out.is_ok() && !changes_the_answer(fault);
            let carried_out = carried_out.map(|answer| self.close_ahead(answer));
            let status = effect.get().map(|&(status, _)| status);
            self.script().calls[call].served = status;
            let received = answer.send(carried_out).is_ok();
            if let (Some(observer), Some(&(status, at))) = (self.observer.get(), effect.get()) {
                observer(&Served {
                    operation: target.operation,
                    request: collected(sent).await,
                    status,
                    at,
                    answered: own_answer && received,
                    took: began.elapsed(),
                });
            }
        });
        awaited.await.unwrap_or(Err(Reset))
    }

    async fn carry_out(
        &self,
        fault: Option<Fault>,
        target: &Target,
        request: Request<Full<Bytes>>,
        effect: &OnceLock<(u16, Instant)>,
    ) -> Result<Answer, Reset> {
        if let Some(Fault::Before(harm)) = fault
            && let Some(answer) = self.harm(harm, target).await?
        {
            return Ok(answer);
        }
        let answer = self.forward(request).await?;
        let _once = effect.set((answer.status().as_u16(), Instant::now()));
        match fault {
            Some(Fault::After(harm)) => Ok(self.harm(harm, target).await?.unwrap_or(answer)),
            _ => Ok(answer),
        }
    }

    /// Does the harm. Returns another response if there is one, or an error for a reset.
    async fn harm(&self, harm: Harm, target: &Target) -> Result<Option<Answer>, Reset> {
        match harm {
            Harm::Reset => Err(Reset),
            Harm::ServerError => Ok(Some(error(500, "InternalServerError"))),
            Harm::Throttle => Ok(Some(target.throttled())),
            Harm::Answer(json) => Ok(Some(Response::new(json.into()))),
            Harm::Delay(duration) => {
                tokio::time::sleep(duration).await;
                Ok(None)
            }
            Harm::Stop => {
                let mut stopped = self.stopped.subscribe();
                self.stopped.send_modify(|calls| *calls += 1);
                let _ = stopped.wait_for(|&calls| calls == 0).await;
                Err(Reset)
            }
        }
    }

    async fn forward(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, Reset> {
        let mut uri = request.uri().clone().into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.upstream.clone());
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Reset)?;
        let answer = self.client.request(request).await.map_err(|_| Reset)?;
        let (mut parts, body) = answer.into_parts();
        // These headers belong to the connection, not to the response.
        parts.headers.remove(CONNECTION);
        parts.headers.remove(TRANSFER_ENCODING);
        let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
        Ok(Response::from_parts(parts, Full::new(body)))
    }

    /// If the next call has to be refused, starts the outage and closes the connection of this call.
    fn close_ahead(&self, mut answer: Answer) -> Answer {
        let mut script = self.script();
        let mut rules = script.rules.iter();
        let outage = rules.position(|rule| rule.outage_ahead().is_some());
        if let Some(outage) = outage.map(|position| script.rules.remove(position))
            && let Some(duration) = outage.outage_ahead()
        {
            self.gate.close_for(duration);
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        answer
    }
}

/// Whether the client gets another response than the service's own.
fn changes_the_answer(fault: Option<Fault>) -> bool {
    match fault {
        Some(Fault::After(harm)) => !matches!(harm, Harm::Delay(_)),
        _ => false,
    }
}

/// The bytes of a body that is already in memory.
async fn collected(body: Full<Bytes>) -> Bytes {
    let Ok(collected) = body.collect().await;
    collected.to_bytes()
}

/// The request with its whole body.
async fn whole(request: Request<Incoming>) -> Result<Request<Full<Bytes>>, Reset> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
    Ok(Request::from_parts(parts, Full::new(body)))
}

/// The service and the operation in `X-Amz-Target`.
struct Target {
    service: String,
    operation: String,
}

impl Target {
    fn of(request: &Request<Incoming>) -> Option<Self> {
        let target = request.headers().get("x-amz-target")?.to_str().ok()?;
        let (service, operation) = target.split_once('.')?;
        Some(Self {
            service: service.to_owned(),
            operation: operation.to_owned(),
        })
    }

    fn throttled(&self) -> Answer {
        if self.service.starts_with("DynamoDB") {
            error(400, "ProvisionedThroughputExceededException")
        } else if self.service == "AmazonSQS" {
            let mut answer = error(400, "RequestThrottled");
            let code = HeaderValue::from_static("RequestThrottled;Sender");
            answer.headers_mut().insert("x-amzn-query-error", code);
            answer
        } else {
            error(400, "ThrottlingException")
        }
    }
}

fn error(status: u16, kind: &str) -> Answer {
    let body = json!({ "__type": kind, "message": "injected by the proxy" });
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a valid status");
    answer
}

/// A port that can be closed, so that connections are refused.
struct Gate {
    address: SocketAddr,
    /// Bound but not listening, to reserve the port while it is closed.
    _reservation: TcpSocket,
    listener: Mutex<Option<TcpListener>>,
    opened: Notify,
    outages: watch::Sender<usize>,
    runtime: Handle,
}

impl Gate {
    fn new() -> io::Result<Self> {
        let reservation = socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = reservation.local_addr()?;
        Ok(Self {
            address,
            _reservation: reservation,
            listener: Mutex::new(Some(socket(address)?.listen(1024)?)),
            opened: Notify::new(),
            outages: watch::Sender::new(0),
            runtime: Handle::current(),
        })
    }

    fn listener(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn accept(&self) -> TcpStream {
        loop {
            tokio::select! {
                stream = poll_fn(|context| self.poll_accept(context)) => return stream,
                () = self.opened.notified() => {}
            }
        }
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<TcpStream> {
        match &*self.listener() {
            Some(listener) => match listener.poll_accept(context) {
                Poll::Ready(Ok((stream, _))) => Poll::Ready(stream),
                Poll::Ready(Err(_)) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            },
            None => Poll::Pending,
        }
    }

    fn close_for(self: &Arc<Self>, duration: Duration) {
        *self.listener() = None;
        self.outages.send_modify(|outages| *outages += 1);
        let outage = *self.outages.borrow();
        let gate = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(duration).await;
            // Stays closed if another outage has started.
            if *gate.outages.borrow() == outage {
                gate.open();
            }
        });
    }

    fn open(&self) {
        let mut listener = self.listener();
        if listener.is_none() {
            let _context = self.runtime.enter();
            let socket = socket(self.address).and_then(|socket| socket.listen(1024));
            *listener = Some(socket.expect("the port is reserved"));
            self.opened.notify_one();
        }
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Lets the listener share the port with its reservation.
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}
