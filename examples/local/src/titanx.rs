//! A sender that follows TitanX's contract. Its retry window is shortened from three days to seconds.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use titanx_testbed::{
    answer::Answer,
    promises::Destination,
    sender::{Attempts, Decision, Sender, backoff},
    titanx::signature,
};

use crate::screen::{Screen, Tone};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// The shortened retry window: about 20 seconds, more than twice as long as a lease.
const MAX_ATTEMPTS: u32 = 25;

/// The sender, with all its attempts so far.
pub(crate) struct TitanxSender {
    sender: Sender,
    url: String,
    screen: Screen,
    started: Instant,
    attempts: Mutex<Vec<Attempt>>,
}

/// A delivery.
#[derive(Clone)]
pub(crate) struct Delivery {
    /// Where the event has to be durable; `None` for a forged request.
    pub(crate) destination: Option<Destination>,
    /// The name that is printed.
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) body: String,
    /// What is put after the webhook URL, as in a subscription with a mistyped URL.
    pub(crate) url_suffix: &'static str,
    /// The value of the signature header, if it has one.
    pub(crate) signature: Option<String>,
    /// Personal data, which may appear only in the message on the contacts queue.
    pub(crate) personal: Vec<String>,
}

/// One request, with its answer if there was one.
pub(crate) struct Attempt {
    pub(crate) delivery: Delivery,
    pub(crate) answer: Option<Answer>,
    /// From the request to the answer.
    pub(crate) took: Duration,
}

impl Delivery {
    pub(crate) fn signed(mut self, secret: &str) -> Self {
        self.signature = Some(signature(secret, self.body.as_bytes()));
        self
    }
}

/// How an attempt ended, by its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Duplicate,
    Quarantined,
    Refused,
    Unrecognised,
    InFlight,
    Unavailable,
    /// An answer that no delivery here is meant to get.
    Unexpected,
    NoAnswer,
}

impl Outcome {
    pub(crate) fn of(answer: Option<&Answer>) -> Self {
        let Some(answer) = answer else {
            return Self::NoAnswer;
        };
        match answer.status {
            200 if answer.has_flag("duplicate") => Self::Duplicate,
            200 if answer.has_flag("quarantined") => Self::Quarantined,
            200 => Self::Accepted,
            401 => Self::Refused,
            429 if answer.body["error"] == "Already in progress" => Self::InFlight,
            429 => Self::Unrecognised,
            503 => Self::Unavailable,
            _ => Self::Unexpected,
        }
    }

    /// The receiver's name for it, if the receiver knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
            Self::Unrecognised => "unrecognised",
            Self::InFlight => "in flight",
            Self::Unavailable => "unavailable",
            Self::Unexpected => "unexpected",
            Self::NoAnswer => "no answer",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Accepted => Tone::Good,
            Self::Duplicate => Tone::Faint,
            Self::Refused | Self::Unexpected => Tone::Bad,
            Self::Quarantined
            | Self::Unrecognised
            | Self::InFlight
            | Self::Unavailable
            | Self::NoAnswer => Tone::Warning,
        }
    }
}

impl TitanxSender {
    pub(crate) fn new(url: &str, screen: Screen) -> Self {
        Self {
            sender: Sender::new(ANSWER_TIMEOUT),
            url: url.to_owned(),
            screen,
            started: Instant::now(),
            attempts: Mutex::default(),
        }
    }

    /// All attempts, in the order in which they ended.
    pub(crate) fn attempts(self) -> Vec<Attempt> {
        let attempts = self.attempts.into_inner();
        attempts.unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the delivery, and retries until there is a final answer or the retry window ends.
    pub(crate) async fn deliver(&self, delivery: &Delivery) {
        let url = format!("{}{}", self.url, delivery.url_suffix);
        let signature = delivery.signature.as_deref();
        let mut attempts = Attempts::new(MAX_ATTEMPTS, backoff(FIRST_BACKOFF, MAX_BACKOFF));
        loop {
            let began = Instant::now();
            let answer = self.sender.post(&url, &delivery.body, signature).await;
            let took = began.elapsed();
            self.show(delivery, attempts.made() + 1, answer.as_ref());
            self.record(Attempt {
                delivery: delivery.clone(),
                answer: answer.clone(),
                took,
            });
            if attempts.after(answer.as_ref()).await != Decision::Retries {
                return;
            }
        }
    }

    fn record(&self, attempt: Attempt) {
        let attempts = self.attempts.lock();
        attempts
            .unwrap_or_else(PoisonError::into_inner)
            .push(attempt);
    }

    fn show(&self, delivery: &Delivery, number: u32, answer: Option<&Answer>) {
        let outcome = Outcome::of(answer);
        let status = answer.map_or_else(|| "---".to_owned(), |answer| answer.status.to_string());
        self.screen.text(&format!(
            "  {:6.3} s   {:<22} attempt {number:<2}   {}",
            self.started.elapsed().as_secs_f64(),
            delivery.name,
            self.screen
                .tone(outcome.tone(), &format!("{status} {}", outcome.name())),
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use serde_json::json;
    use titanx_testbed::server::{self, Server};

    use super::*;

    /// Whether a call can have been given up in it is told by its own time, not by that of the delivery.
    #[tokio::test(flavor = "multi_thread")]
    async fn each_attempt_takes_its_own_time() {
        const SLOW: Duration = Duration::from_secs(2);
        let requests = Arc::new(AtomicUsize::new(0));
        let server = Server::start("slow-at-first", move |_| {
            let first = requests.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if !first {
                    return Some(server::json(200, &json!({"received": true})));
                }
                tokio::time::sleep(SLOW).await;
                Some(server::json(503, &json!({"error": "Try again."})))
            }
        });
        let titanx = TitanxSender::new(&server.origin, Screen::new());
        let delivery = Delivery {
            destination: None,
            name: "contact 1".to_owned(),
            id: "delivery-1".to_owned(),
            body: "{}".to_owned(),
            url_suffix: "",
            signature: None,
            personal: Vec::new(),
        };
        titanx.deliver(&delivery).await;
        let [first, second] = &titanx.attempts()[..] else {
            panic!("it was answered finally at the second attempt");
        };
        assert!(first.took >= SLOW);
        assert!(second.took < first.took);
    }
}
