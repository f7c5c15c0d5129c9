//! The invocations of one environment, each with the times it took.
//!
//! The clock of an invocation starts when the event is about to be written. It is read twice: when the whole answer has
//! been received, and when the function asks for its next event. All three are taken on the connection's own thread, so
//! that the driver's threads are not in the figures.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use titanx_testbed::runtime_api::{Driver, Event, Peer, Reply, RuntimeApi};

/// Longer than any invocation may take. A function that does not answer within it has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// The function's timeout in the template: the deadline that it is told.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Hands events to one environment of one function, and takes its answers.
pub struct Invocations {
    api: RuntimeApi,
    events: Sender<Event>,
    polls: Receiver<Instant>,
    answers: Receiver<Answer>,
    count: AtomicU64,
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

impl Invocations {
    pub fn start() -> Result<Self> {
        let (events, received) = mpsc::channel();
        let (polls_in, polls) = mpsc::channel();
        let (answers_in, answers) = mpsc::channel();
        let stopwatch = Arc::new(Stopwatch {
            events: Mutex::new(received),
            handed_out: Mutex::default(),
            polls: polls_in,
            answers: answers_in,
        });
        Ok(Self {
            api: RuntimeApi::start(stopwatch, TIMEOUT)?,
            events,
            polls,
            answers,
            count: AtomicU64::default(),
        })
    }

    /// The address of the Runtime API.
    pub fn address(&self) -> SocketAddr {
        self.api.address
    }

    /// Waits for the function's next request for an event and returns its time. Each request is reported once.
    pub fn poll(&self) -> Result<Instant> {
        self.polls
            .recv_timeout(PATIENCE)
            .context("the function did not ask for an event")
    }

    /// Sends one event to the waiting function, and returns when it requests the next one. Only for functions that serve
    /// one event at a time.
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

    /// Queues an event for any of the open polls.
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

    /// Waits for the next answer to a submitted event. Work after the answer may not be finished.
    pub fn answer(&self) -> Result<Answer> {
        self.answers
            .recv_timeout(PATIENCE)
            .context("the function did not answer")
    }
}

/// Records the times. If a send fails, the environment was dropped, and the connection is closed.
struct Stopwatch {
    events: Mutex<Receiver<Event>>,
    handed_out: Mutex<HashMap<String, Instant>>,
    polls: Sender<Instant>,
    answers: Sender<Answer>,
}

impl Driver for Stopwatch {
    fn next(&self, asked: Instant, _: &Peer<'_>) -> Option<Event> {
        self.polls.send(asked).ok()?;
        self.events.lock().expect("no panic").recv().ok()
    }

    fn hands_out(&self, request_id: String) {
        let mut handed_out = self.handed_out.lock().expect("no panic");
        handed_out.insert(request_id, Instant::now());
    }

    fn posted(
        &self,
        request_id: &str,
        received: Instant,
        result: std::result::Result<Vec<u8>, String>,
    ) -> Reply {
        let handed_out = self.handed_out.lock().expect("no panic").remove(request_id);
        let Some(handed_out) = handed_out else {
            return Reply::Unknown;
        };
        let answer = Answer {
            handed_out,
            posted: received,
            response: result,
        };
        match self.answers.send(answer) {
            Ok(()) => Reply::Accepted,
            Err(_) => Reply::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;
    use std::thread;

    use super::*;

    /// A function's connection to the Runtime API.
    struct Client(BufReader<TcpStream>);

    impl Client {
        fn open(address: SocketAddr) -> Self {
            Self(BufReader::new(TcpStream::connect(address).unwrap()))
        }

        fn poll(&mut self) {
            let request = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n";
            self.0.get_mut().write_all(request).unwrap();
        }

        /// The request id of the event that was polled for.
        fn event(&mut self) -> String {
            self.answered("lambda-runtime-aws-request-id")
        }

        fn post(&mut self, id: &str) {
            let request = format!(
                "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\ncontent-length: 2\r\n\r\n{{}}"
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
        let invocations = Invocations::start().unwrap();
        let mut function = Client::open(invocations.address());
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
        invocations.poll().unwrap();
        let event: Arc<[u8]> = Arc::from(&b"{}"[..]);
        for number in 1..=2 {
            let (answer, took) = invocations.invoke(&event).unwrap();
            assert_eq!(worked.load(Ordering::SeqCst), number, "returned too early");
            assert_eq!(answer.response, Ok(b"{}".to_vec()));
            assert!(took.answer >= BEFORE, "{took:?}");
            assert!(took.next >= took.answer + AFTER, "{took:?}");
        }
    }

    #[test]
    fn a_function_that_polls_before_it_answers_is_not_timed() {
        let invocations = Invocations::start().unwrap();
        let mut polls_at_once = [(); 2].map(|()| Client::open(invocations.address()));
        polls_at_once.iter_mut().for_each(Client::poll);
        invocations.poll().unwrap();
        // The event goes to one of the two, which answers long after the other's poll has come.
        for mut client in polls_at_once {
            thread::spawn(move || {
                let id = client.event();
                thread::sleep(Duration::from_millis(200));
                client.post(&id);
            });
        }
        let error = invocations.invoke(&Arc::from(&b"{}"[..])).err().unwrap();
        assert!(
            error.to_string().contains("before it had answered"),
            "{error}"
        );
    }
}
