//! TitanX's side of the contract: how long it waits for an answer, and what it does after one. The
//! contract's ten seconds and three days are parameters, since no test waits that long.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::{sleep, timeout};

use crate::{answer::Answer, titanx::headers};

/// What TitanX does after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Any 2xx: the event is delivered.
    Acknowledged,
    /// A 408, 429, 5xx, or no answer: the event is delivered again.
    Retries,
    /// Any other status: the event is dropped for good.
    Drops,
    /// No attempt is left: the event is dropped for good.
    GivesUp,
}

/// The attempts to deliver one event.
pub struct Attempts<P> {
    made: u32,
    max: u32,
    pause: P,
}

impl<P: Fn(u32) -> Duration> Attempts<P> {
    /// At most `max` attempts. `pause` maps the number of attempts made to the time until the next.
    pub fn new(max: u32, pause: P) -> Self {
        let made = 0;
        Self { made, max, pause }
    }

    /// The number of attempts made.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// Counts an attempt and decides by its answer. Before a retry, waits for the pause.
    pub async fn after(&mut self, answer: Option<&Answer>) -> Decision {
        self.made += 1;
        match answer.map(|answer| answer.status) {
            Some(200..300) => Decision::Acknowledged,
            Some(408 | 429 | 500..) | None if self.made < self.max => {
                sleep((self.pause)(self.made)).await;
                Decision::Retries
            }
            Some(408 | 429 | 500..) | None => Decision::GivesUp,
            Some(_) => Decision::Drops,
        }
    }
}

/// Exponential backoff: `first`, then twice as long each time, up to `max`.
pub fn backoff(first: Duration, max: Duration) -> impl Fn(u32) -> Duration + Copy {
    move |made| {
        let factor = 1_u32.checked_shl(made.saturating_sub(1));
        first.saturating_mul(factor.unwrap_or(u32::MAX)).min(max)
    }
}

/// An HTTP client that sends requests as TitanX does.
pub struct Sender {
    patience: Duration,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Sender {
    /// `patience` is the time limit for each answer.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Posts the body with this signature header, or with none. Returns `None` if there is no answer
    /// in time, or if it cannot be parsed.
    pub async fn post(&self, url: &str, body: &str, signature: Option<&str>) -> Option<Answer> {
        let answer = timeout(self.patience, self.answer(url, body, signature)).await;
        answer.ok()?.ok()
    }

    async fn answer(
        &self,
        url: &str,
        body: &str,
        signature: Option<&str>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::post(url);
        for (name, value) in headers(signature) {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(body.to_owned()))?;
        let (head, body) = self.client.request(request).await?.into_parts();
        let retry_after = head.headers.get("retry-after");
        let retry_after = retry_after.map(|seconds| seconds.to_str()).transpose()?;
        Ok(Answer {
            status: head.status.as_u16().into(),
            body: serde_json::from_slice(&body.collect().await?.to_bytes())?,
            retry_after: retry_after.map(str::parse).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_backoff_doubles_up_to_its_maximum() {
        let pause = backoff(Duration::from_millis(100), Duration::from_secs(1));
        let pauses = [1, 2, 3, 4, 5, 40, u32::MAX].map(|made| pause(made).as_millis());
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000, 1_000]);
    }

    #[tokio::test]
    async fn an_event_is_retried_where_the_contract_says_so() {
        for (status, decision) in [
            (200, Decision::Acknowledged),
            (204, Decision::Acknowledged),
            (301, Decision::Drops),
            (400, Decision::Drops),
            (401, Decision::Drops),
            (408, Decision::Retries),
            (413, Decision::Drops),
            (429, Decision::Retries),
            (500, Decision::Retries),
            (503, Decision::Retries),
        ] {
            let mut attempts = Attempts::new(2, |_| Duration::ZERO);
            let answer = Answer::of(status, json!({}));
            assert_eq!(attempts.after(Some(&answer)).await, decision, "{status}");
        }
        let mut attempts = Attempts::new(2, |_| Duration::ZERO);
        assert_eq!(attempts.after(None).await, Decision::Retries);
        assert_eq!(attempts.after(None).await, Decision::GivesUp);
        assert_eq!(attempts.made(), 2);
    }
}
