//! A sender that follows TitanX's contract. It signs each body, waits ten seconds for an answer, and
//! regards any 2xx as success. It retries after a 408, 429, 5xx or no answer, and drops the event
//! after any other 4xx. Its retry window is shortened from three days to seconds.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use sha2::Sha256;
use tokio::time::{sleep, timeout};

use crate::{
    error::Error,
    screen::{Screen, Tone},
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// The shortened retry window. It is more than twice as long as a lease.
const RETRY_WINDOW: Duration = Duration::from_secs(20);

/// The sender, with all its attempts so far.
pub(crate) struct TitanxSender {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    screen: Screen,
    started: Instant,
    attempts: Mutex<Vec<Attempt>>,
}

/// A delivery.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) kind: Kind,
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

/// The kind of a delivery, which determines its expected result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Contact,
    CompletedJob,
    NotUnderstood { reason: &'static str },
    Forged,
}

/// One request, with its answer if there was one.
pub(crate) struct Attempt {
    pub(crate) delivery: Delivery,
    pub(crate) answer: Option<Answer>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) retry_after: Option<String>,
}

impl Delivery {
    pub(crate) fn signed(mut self, secret: &str) -> Self {
        self.signature = Some(sign(secret, &self.body));
        self
    }
}

/// `Base64(HMAC-SHA256(secret, body))` as in TitanX's contract. It shares no code with the receiver.
#[expect(
    clippy::disallowed_methods,
    reason = "the sender computes a signature and compares nothing"
)]
pub(crate) fn sign(secret: &str, body: &str) -> String {
    let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mac = key.expect("HMAC takes a key of any length");
    BASE64_STANDARD.encode(mac.chain_update(body).finalize().into_bytes())
}

impl Answer {
    /// Whether TitanX retries after this answer.
    fn is_retried(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..)
    }

    /// Whether the member `name` of the body is true.
    pub(crate) fn has_flag(&self, name: &str) -> bool {
        serde_json::from_str::<Value>(&self.body).is_ok_and(|body| body[name] == true)
    }

    /// The outcome as the receiver logs it.
    fn outcome(&self) -> (&'static str, Tone) {
        match self.status {
            200 if self.has_flag("duplicate") => ("duplicate", Tone::Faint),
            200 if self.has_flag("quarantined") => ("quarantined", Tone::Warning),
            200 => ("accepted", Tone::Good),
            401 => ("refused", Tone::Bad),
            429 => ("in flight", Tone::Warning),
            503 => ("unavailable", Tone::Warning),
            _ => ("?", Tone::Bad),
        }
    }
}

impl TitanxSender {
    pub(crate) fn new(url: &str, screen: Screen) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
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
        let end = Instant::now() + RETRY_WINDOW;
        let mut backoff = FIRST_BACKOFF;
        let mut number = 1;
        while self.attempt(delivery, number).await && Instant::now() < end {
            sleep(backoff).await;
            backoff = MAX_BACKOFF.min(2 * backoff);
            number += 1;
        }
    }

    /// Sends the delivery once. Returns whether to retry.
    async fn attempt(&self, delivery: &Delivery, number: u32) -> bool {
        let answer = match timeout(ANSWER_TIMEOUT, self.post(delivery)).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(_)) | Err(_) => None,
        };
        self.show(delivery, number, answer.as_ref());
        let retry = answer.as_ref().is_none_or(Answer::is_retried);
        let attempts = self.attempts.lock();
        attempts
            .unwrap_or_else(PoisonError::into_inner)
            .push(Attempt {
                delivery: delivery.clone(),
                answer,
            });
        retry
    }

    async fn post(&self, delivery: &Delivery) -> Result<Answer, Error> {
        let mut request = Request::post(format!("{}{}", self.url, delivery.url_suffix))
            .header("content-type", "application/json")
            .header("user-agent", "TitanX-Webhooks/1.0");
        if let Some(signature) = &delivery.signature {
            request = request.header("x-titanx-signature", signature);
        }
        let request = request.body(Full::from(delivery.body.clone()))?;
        let (head, body) = self.client.request(request).await?.into_parts();
        let retry_after = head.headers.get("retry-after");
        Ok(Answer {
            status: head.status.as_u16(),
            body: String::from_utf8(body.collect().await?.to_bytes().into())?,
            retry_after: retry_after
                .map(|seconds| seconds.to_str().map(ToOwned::to_owned))
                .transpose()?,
        })
    }

    fn show(&self, delivery: &Delivery, number: u32, answer: Option<&Answer>) {
        let (outcome, tone) = answer.map_or(("no answer", Tone::Warning), Answer::outcome);
        let status = answer.map_or_else(|| "---".to_owned(), |answer| answer.status.to_string());
        self.screen.text(&format!(
            "  {:6.3} s   {:<22} attempt {number:<2}   {}",
            self.started.elapsed().as_secs_f64(),
            delivery.name,
            self.screen.tone(tone, &format!("{status} {outcome}")),
        ));
    }
}
