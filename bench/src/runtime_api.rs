//! The Lambda Runtime API, as the function sees it: `GET …/invocation/next`, `POST …/{id}/response`.
//!
//! The clock of an invocation starts when the event is about to be written and stops when the whole response has been
//! read, both on the connection's own thread, so that the driver's threads are not in the figure.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::http::{Connection, Request, Response};

const PREFIX: &str = "/2018-06-01/runtime/";
/// Longer than any invocation may take; a function that is silent for so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// The function's timeout in the template: the deadline that it is told.
const TIMEOUT: Duration = Duration::from_secs(8);

/// The API for one environment of one function.
pub struct RuntimeApi {
    pub address: SocketAddr,
    events: Sender<Event>,
    polls: Receiver<Instant>,
    outcomes: Receiver<Outcome>,
    count: AtomicU64,
    stopped: Arc<AtomicBool>,
}

struct Event {
    request_id: String,
    body: Arc<[u8]>,
}

/// How one invocation ended.
pub struct Outcome {
    pub took: Duration,
    pub response: std::result::Result<Vec<u8>, String>,
}

struct Shared {
    events: Mutex<Receiver<Event>>,
    started: Mutex<HashMap<String, Instant>>,
    polls: Sender<Instant>,
    outcomes: Sender<Outcome>,
}

impl RuntimeApi {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (events, received) = mpsc::channel();
        let (polls_in, polls) = mpsc::channel();
        let (outcomes_in, outcomes) = mpsc::channel();
        let shared = Arc::new(Shared {
            events: Mutex::new(received),
            started: Mutex::default(),
            polls: polls_in,
            outcomes: outcomes_in,
        });
        let stopped = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&stopped);
        thread::spawn(move || {
            let streams = listener.incoming().flatten();
            for stream in streams.take_while(|_| !done.load(Ordering::Relaxed)) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Ok(Self {
            address,
            events,
            polls,
            outcomes,
            count: AtomicU64::default(),
            stopped,
        })
    }

    /// When the function first asked for work.
    pub fn first_poll(&self) -> Result<Instant> {
        self.polls
            .recv_timeout(PATIENCE)
            .context("the function never asked for work")
    }

    /// Hands one event to the waiting function, and returns when it waits again.
    pub fn invoke(&self, event: &Arc<[u8]>) -> Result<Outcome> {
        self.submit(event)?;
        let outcome = self.outcome()?;
        self.polls
            .recv_timeout(PATIENCE)
            .context("the function did not ask for more work")?;
        Ok(outcome)
    }

    /// Queues an event for whichever poll takes it (several may be open at once).
    pub fn submit(&self, event: &Arc<[u8]>) -> Result<()> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let request_id = format!("00000000-0000-4000-8000-{count:012x}");
        let event = Event {
            request_id,
            body: Arc::clone(event),
        };
        self.events
            .send(event)
            .context("the Runtime API has stopped")
    }

    pub fn outcome(&self) -> Result<Outcome> {
        self.outcomes
            .recv_timeout(PATIENCE)
            .context("the function did not answer")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the listening thread, which then sees that it is done.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut connection = Connection::new(stream);
        // An error here is the function's end; the driver sees it as silence.
        while let Ok(Some(request)) = connection.read() {
            if self.answer(&request, &mut connection).is_err() {
                break;
            }
        }
    }

    fn answer(&self, request: &Request, connection: &mut Connection<TcpStream>) -> Result<()> {
        let path = request
            .path
            .strip_prefix(PREFIX)
            .context("not the Runtime API")?;
        if path == "invocation/next" {
            return self.give_next(connection);
        }
        self.take_answer(path, request)?;
        let accepted =
            Response::new(202, r#"{"status":"OK"}"#).with("content-type", "application/json");
        connection.write(&accepted)?;
        Ok(())
    }

    fn give_next(&self, connection: &mut Connection<TcpStream>) -> Result<()> {
        self.polls.send(Instant::now())?;
        let event = self.events.lock().expect("no panic").recv()?;
        let response = invocation(&event)?;
        self.started
            .lock()
            .expect("no panic")
            .insert(event.request_id, Instant::now());
        connection.write(&response)?;
        Ok(())
    }

    fn take_answer(&self, path: &str, request: &Request) -> Result<()> {
        let ended = Instant::now();
        let text = || String::from_utf8_lossy(&request.body).into_owned();
        let (id, response) = match path.split('/').collect::<Vec<_>>()[..] {
            ["invocation", id, "response"] => (id, Ok(request.body.clone())),
            ["invocation", id, "error"] => (id, Err(text())),
            ["init", "error"] => bail!("the function could not start: {}", text()),
            _ => bail!("not the Runtime API: {path}"),
        };
        let started = self
            .started
            .lock()
            .expect("no panic")
            .remove(id)
            .context("unknown invocation")?;
        self.outcomes.send(Outcome {
            took: ended - started,
            response,
        })?;
        Ok(())
    }
}

/// The answer to a poll, with the headers that Lambda sends.
fn invocation(event: &Event) -> Result<Response> {
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH)? + TIMEOUT;
    Ok(Response::new(200, event.body.to_vec())
        .with("content-type", "application/json")
        .with("lambda-runtime-aws-request-id", event.request_id.clone())
        .with(
            "lambda-runtime-deadline-ms",
            deadline.as_millis().to_string(),
        )
        .with(
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:receiver",
        )
        .with(
            "lambda-runtime-trace-id",
            "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0",
        ))
}
