//! The Lambda Runtime API (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>) for one
//! process of a function.
//!
//! A [`Driver`] decides which event the function gets and what happens to its answers. The benchmark's
//! driver measures times; the driver of [`lambda`](crate::lambda) holds answers back and kills. Each
//! connection has a thread that calls the driver directly, so that the measured times contain only the
//! function's work.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::http::{Connection, Request, Response};

const PREFIX: &str = "/2018-06-01/runtime/";

/// Decides which events a function gets, and what happens to its answers. Every method is called on the
/// thread of the connection, and may block it.
pub trait Driver: Send + Sync + 'static {
    /// The function asked for an event at `asked`. Blocks until there is one. If there is none, the
    /// connection is closed.
    fn next(&self, asked: Instant, function: &Peer<'_>) -> Option<Event>;

    /// Called immediately before the event is written.
    fn hands_out(&self, _request_id: String) {}

    /// The function posted its result for an event, a response or an error. It was received completely at
    /// `received`.
    fn posted(&self, request_id: &str, received: Instant, result: Result<Vec<u8>, String>)
    -> Reply;

    /// The function waits to be restored from its snapshot. Returns after the restoration, or `false` if
    /// there are no snapshots.
    fn restored(&self) -> bool {
        false
    }
}

/// An event, and the id of its invocation.
pub struct Event {
    pub request_id: String,
    pub body: Arc<[u8]>,
}

/// The response to a posted result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Accepted,
    /// No invocation with this id waits for a result.
    Unknown,
    ServerError,
    /// No response: the connection is closed.
    Nothing,
}

/// The function's end of a connection.
pub struct Peer<'a>(&'a TcpStream);

impl Peer<'_> {
    /// Whether the function has closed the connection, or has ended.
    pub fn is_gone(&self) -> bool {
        let Self(stream) = self;
        if stream.set_nonblocking(true).is_err() {
            return true;
        }
        let is_gone = match stream.peek(&mut [0]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        is_gone || stream.set_nonblocking(false).is_err()
    }
}

/// The API for one process of a function. It stops when this is dropped.
pub struct RuntimeApi {
    pub address: SocketAddr,
    connections: Arc<Connections>,
    listening: Option<JoinHandle<()>>,
}

/// The open connections, which other threads can close.
#[derive(Default)]
struct Connections {
    closed: AtomicBool,
    open: Mutex<HashMap<usize, TcpStream>>,
}

impl RuntimeApi {
    /// Starts the API on a free port. Each event gets a deadline after `timeout`.
    pub fn start(driver: Arc<impl Driver>, timeout: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let connections = Arc::<Connections>::default();
        let accepted = Arc::clone(&connections);
        let listening = thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                if accepted.closed.load(Ordering::SeqCst) {
                    break;
                }
                if let Ok(handle) = stream.try_clone() {
                    accepted.open().insert(number, handle);
                }
                let (driver, connections) = (Arc::clone(&driver), Arc::clone(&accepted));
                thread::spawn(move || {
                    serve(&*driver, timeout, stream);
                    connections.open().remove(&number);
                });
            }
        });
        Ok(Self {
            address,
            connections,
            listening: Some(listening),
        })
    }

    /// Closes every connection, and refuses new ones.
    pub fn close(&mut self) {
        let Some(listening) = self.listening.take() else {
            return;
        };
        self.connections.closed.store(true, Ordering::SeqCst);
        // Wakes the listening thread, which then ends.
        let _ = TcpStream::connect(self.address);
        let _ = listening.join();
        for (_, stream) in self.connections.open().drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.close();
    }
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, HashMap<usize, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one connection until either side closes it.
fn serve(driver: &impl Driver, timeout: Duration, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut connection = Connection::new(stream);
    // There is an error if the function has ended.
    while let Ok(Some(request)) = connection.read() {
        if answer(driver, timeout, request, &mut connection).is_err() {
            break;
        }
    }
    let _ = connection.stream().shutdown(Shutdown::Both);
}

fn answer(
    driver: &impl Driver,
    timeout: Duration,
    request: Request,
    connection: &mut Connection<TcpStream>,
) -> io::Result<()> {
    let received = Instant::now();
    let path = request.path.strip_prefix(PREFIX).unwrap_or_default();
    if path == "invocation/next" {
        return give_next(driver, received, timeout, connection);
    }
    let reply = match path.split('/').collect::<Vec<_>>()[..] {
        ["invocation", id, "response"] => driver.posted(id, received, Ok(request.body)),
        ["invocation", id, "error"] => {
            let error = String::from_utf8_lossy(&request.body).into_owned();
            driver.posted(id, received, Err(error))
        }
        // The function ends after this request.
        ["init", "error"] => Reply::Accepted,
        ["restore", "next"] if driver.restored() => {
            return connection.write(&Response::new(200, ""));
        }
        _ => return connection.write(&Response::new(404, "")),
    };
    let response = match reply {
        Reply::Accepted => Response::new(202, r#"{"status":"OK"}"#),
        Reply::Unknown => Response::new(400, r#"{"errorType":"InvalidRequestID"}"#),
        Reply::ServerError => Response::new(500, r#"{"errorType":"InternalServerError"}"#),
        Reply::Nothing => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    connection.write(&response.with("content-type", "application/json"))
}

fn give_next(
    driver: &impl Driver,
    asked: Instant,
    timeout: Duration,
    connection: &mut Connection<TcpStream>,
) -> io::Result<()> {
    let event = driver.next(asked, &Peer(connection.stream()));
    let event = event.ok_or(io::ErrorKind::ConnectionAborted)?;
    let response = invocation(&event, timeout);
    driver.hands_out(event.request_id);
    connection.write(&response)
}

/// The response with an event, and with the headers that Lambda sends.
fn invocation(event: &Event, timeout: Duration) -> Response {
    let deadline = (SystemTime::now() + timeout).duration_since(UNIX_EPOCH);
    let deadline_ms = deadline.expect("the clock stands after 1970").as_millis();
    Response::new(200, event.body.to_vec())
        .with("content-type", "application/json")
        .with("lambda-runtime-aws-request-id", event.request_id.clone())
        .with("lambda-runtime-deadline-ms", deadline_ms.to_string())
        .with(
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:receiver",
        )
        .with(
            "lambda-runtime-trace-id",
            "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0",
        )
}
