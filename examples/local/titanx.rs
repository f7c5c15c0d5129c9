//! A sender that keeps to TitanX's contract: it signs each body, waits ten seconds for an answer,
//! takes any 2xx for success, comes again on 408, 429, 5xx and on no answer at all, and drops the
//! event on every other 4xx. Only its three days of retries are compressed, to seconds.

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
    Error,
    screen::{Screen, Tone},
};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// What three days are here: twice as long as a lease lasts.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);

/// The sender, and all that it sent so far.
pub(crate) struct TitanX {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    screen: Screen,
    began: Instant,
    attempts: Mutex<Vec<Attempt>>,
}

/// Something to be delivered.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) what: What,
    /// What it is called on the screen.
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) body: String,
    /// The header's value, if there is one.
    pub(crate) signature: Option<String>,
    /// Values that nobody but a consumer may see.
    pub(crate) personal: Vec<String>,
}

/// What has to become of a delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Contact,
    FinishedJob,
    NotUnderstood { reason: &'static str },
    Forged,
}

/// One request, and what it was answered, if it was.
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

/// `Base64(HMAC-SHA256(secret, body))`, from the contract and not with the receiver's own code.
#[expect(
    clippy::disallowed_methods,
    reason = "the sender's side compares nothing"
)]
pub(crate) fn sign(secret: &str, body: &str) -> String {
    let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mac = key.expect("HMAC takes a key of any length");
    BASE64_STANDARD.encode(mac.chain_update(body).finalize().into_bytes())
}

impl Answer {
    /// Whether TitanX comes again after it.
    fn is_retried(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..)
    }

    /// Whether the body's member `name` is true.
    pub(crate) fn says(&self, name: &str) -> bool {
        serde_json::from_str::<Value>(&self.body).is_ok_and(|body| body[name] == true)
    }

    /// What came of the delivery, in a word.
    fn word(&self) -> (&'static str, Tone) {
        match self.status {
            200 if self.says("duplicate") => ("duplicate", Tone::Faint),
            200 if self.says("quarantined") => ("quarantined", Tone::Warning),
            200 => ("accepted", Tone::Good),
            401 => ("refused", Tone::Bad),
            429 => ("in progress", Tone::Warning),
            503 => ("unavailable", Tone::Warning),
            _ => ("?", Tone::Bad),
        }
    }
}

impl TitanX {
    pub(crate) fn new(url: &str, screen: Screen) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url: url.to_owned(),
            screen,
            began: Instant::now(),
            attempts: Mutex::default(),
        }
    }

    /// Every attempt, in the order of their ends.
    pub(crate) fn attempts(self) -> Vec<Attempt> {
        let attempts = self.attempts.into_inner();
        attempts.unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers until it is answered for good.
    pub(crate) async fn deliver(&self, delivery: &Delivery) {
        let give_up = Instant::now() + GIVE_UP_AFTER;
        let mut backoff = FIRST_BACKOFF;
        let mut number = 1;
        while self.attempt(delivery, number).await && Instant::now() < give_up {
            sleep(backoff).await;
            backoff = LONGEST_BACKOFF.min(2 * backoff);
            number += 1;
        }
    }

    /// Posts it once. Returns whether to come again.
    async fn attempt(&self, delivery: &Delivery, number: u32) -> bool {
        let answer = match timeout(ANSWER_WITHIN, self.post(delivery)).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(_)) | Err(_) => None,
        };
        self.show(delivery, number, answer.as_ref());
        let again = answer.as_ref().is_none_or(Answer::is_retried);
        let attempts = self.attempts.lock();
        attempts
            .unwrap_or_else(PoisonError::into_inner)
            .push(Attempt {
                delivery: delivery.clone(),
                answer,
            });
        again
    }

    async fn post(&self, delivery: &Delivery) -> Result<Answer, Error> {
        let mut request = Request::post(&self.url)
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
        let (word, tone) = answer.map_or(("no answer", Tone::Warning), Answer::word);
        let status = answer.map_or_else(|| "---".to_owned(), |answer| answer.status.to_string());
        self.screen.text(&format!(
            "  {:6.3} s   {:<22} attempt {number:<2}   {}",
            self.began.elapsed().as_secs_f64(),
            delivery.name,
            self.screen.tone(tone, &format!("{status} {word}")),
        ));
    }
}
