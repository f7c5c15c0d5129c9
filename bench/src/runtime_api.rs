//! The Lambda Runtime API, as the function sees it: `GET …/invocation/next`, `POST …/{id}/response`.
//!
//! The clock of an invocation starts when the event is about to be written. It is read twice: when the whole answer has
//! been received, and when the function asks for its next event. All three are taken on the connection's own thread, so
//! that the driver's threads are not in the figures.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

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
    answers: Receiver<Answer>,
    count: AtomicU64,
    stopped: Arc<AtomicBool>,
}

struct Event {
    request_id: String,
    body: Arc<[u8]>,
}

/// What a function posted for one event.
pub struct Answer {
    handed_out: Instant,
    posted: Instant,
    /// The body of the response, or of the error.
    pub response: std::result::Result<Vec<u8>, String>,
}

impl Answer {
    /// From handing out the event until the answer was posted.
    pub fn took(&self) -> Duration {
        self.posted - self.handed_out
    }
}

/// How long one invocation took, from handing out its event.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// Until the answer was posted: the caller waits for this.
    pub answer: Duration,
    /// Until the function asked for its next event: this is billed.
    pub next: Duration,
}

struct Shared {
    events: Mutex<Receiver<Event>>,
    handed_out: Mutex<HashMap<String, Instant>>,
    polls: Sender<Instant>,
    answers: Sender<Answer>,
}

impl RuntimeApi {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (events, received) = mpsc::channel();
        let (polls_in, polls) = mpsc::channel();
        let (answers_in, answers) = mpsc::channel();
        let shared = Arc::new(Shared {
            events: Mutex::new(received),
            handed_out: Mutex::default(),
            polls: polls_in,
            answers: answers_in,
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
            answers,
            count: AtomicU64::default(),
            stopped,
        })
    }

    /// When the function next asked, or asks, for an event. Each request for one is reported once.
    pub fn poll(&self) -> Result<Instant> {
        self.polls
            .recv_timeout(PATIENCE)
            .context("the function did not ask for an event")
    }

    /// Hands one event to the waiting function, and returns when it waits for the next one. For functions that serve one
    /// event at a time.
    pub fn invoke(&self, event: &Arc<[u8]>) -> Result<(Answer, Took)> {
        self.submit(event)?;
        let answer = self.answer()?;
        let polled = self.poll()?;
        ensure!(
            polled >= answer.posted,
            "the function asked for its next event before it had answered"
        );
        let took = Took {
            answer: answer.took(),
            next: polled - answer.handed_out,
        };
        Ok((answer, took))
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

    /// The next answer to an event that was submitted. The function may still be at work on that event.
    pub fn answer(&self) -> Result<Answer> {
        self.answers
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
        self.handed_out
            .lock()
            .expect("no panic")
            .insert(event.request_id, Instant::now());
        connection.write(&response)?;
        Ok(())
    }

    fn take_answer(&self, path: &str, request: &Request) -> Result<()> {
        let posted = Instant::now();
        let text = || String::from_utf8_lossy(&request.body).into_owned();
        let (id, response) = match path.split('/').collect::<Vec<_>>()[..] {
            ["invocation", id, "response"] => (id, Ok(request.body.clone())),
            ["invocation", id, "error"] => (id, Err(text())),
            ["init", "error"] => bail!("the function could not start: {}", text()),
            _ => bail!("not the Runtime API: {path}"),
        };
        let handed_out = self
            .handed_out
            .lock()
            .expect("no panic")
            .remove(id)
            .context("unknown invocation")?;
        self.answers.send(Answer {
            handed_out,
            posted,
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};

    use super::*;

    /// A function's connection to the Runtime API.
    struct Client(BufReader<TcpStream>);

    impl Client {
        fn open(address: SocketAddr) -> Self {
            Self(BufReader::new(TcpStream::connect(address).unwrap()))
        }

        fn poll(&mut self) {
            let request = format!("GET {PREFIX}invocation/next HTTP/1.1\r\n\r\n");
            self.0.get_mut().write_all(request.as_bytes()).unwrap();
        }

        /// The request id of the event that was polled for.
        fn event(&mut self) -> String {
            self.answered("lambda-runtime-aws-request-id")
        }

        fn post(&mut self, id: &str) {
            let request = format!(
                "POST {PREFIX}invocation/{id}/response HTTP/1.1\r\ncontent-length: 2\r\n\r\n{{}}"
            );
            self.0.get_mut().write_all(request.as_bytes()).unwrap();
            self.answered("content-type");
        }

        /// Reads an answer whole, for the value of one of its headers.
        fn answered(&mut self, wanted: &str) -> String {
            let (mut line, mut length, mut found) = (String::new(), 0, String::new());
            while self.0.read_line(&mut line).unwrap() > 2 {
                match line.trim_end().split_once(": ") {
                    Some(("content-length", value)) => length = value.parse().unwrap(),
                    Some((name, value)) if name == wanted => value.clone_into(&mut found),
                    _ => {}
                }
                line.clear();
            }
            self.0.read_exact(&mut vec![0; length]).unwrap();
            found
        }
    }

    #[test]
    fn work_after_the_answer_counts_until_the_next_request_and_not_to_the_answer() {
        const BEFORE: Duration = Duration::from_millis(30);
        const AFTER: Duration = Duration::from_millis(70);
        let api = RuntimeApi::start().unwrap();
        let mut function = Client::open(api.address);
        let worked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&worked);
        thread::spawn(move || {
            loop {
                function.poll();
                let id = function.event();
                thread::sleep(BEFORE);
                function.post(&id);
                thread::sleep(AFTER);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        api.poll().unwrap();
        let event: Arc<[u8]> = Arc::from(&b"{}"[..]);
        for number in 1..=2 {
            let (answer, took) = api.invoke(&event).unwrap();
            assert_eq!(worked.load(Ordering::SeqCst), number, "returned too early");
            assert_eq!(answer.response, Ok(b"{}".to_vec()));
            assert!(took.answer >= BEFORE, "{took:?}");
            assert!(took.next >= took.answer + AFTER, "{took:?}");
        }
    }

    #[test]
    fn a_function_that_polls_before_it_answers_is_not_timed() {
        let api = RuntimeApi::start().unwrap();
        let mut polls_at_once = [Client::open(api.address), Client::open(api.address)];
        polls_at_once.iter_mut().for_each(Client::poll);
        api.poll().unwrap();
        // The event goes to one of the two, which answers long after the other's poll has come.
        for mut client in polls_at_once {
            thread::spawn(move || {
                let id = client.event();
                thread::sleep(Duration::from_millis(200));
                client.post(&id);
            });
        }
        let error = api.invoke(&Arc::from(&b"{}"[..])).err().unwrap();
        assert!(
            error.to_string().contains("before it had answered"),
            "{error}"
        );
    }
}
