//! Checks that the receiver itself answers at the webhook URL, before TitanX is told to post there: TitanX
//! drops an event for good on most answers of anything else.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};
use titanx_client::http::{HttpClient, HttpResponse};

use crate::{
    plain_error::PlainError,
    screen::{Screen, escape_control},
};

/// A throttled or failing receiver may answer at the next attempt.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

// Not a doc comment: clap would use it as the description of every command that flattens this.
#[derive(Debug, Args)]
pub(crate) struct ProbeOptions {
    /// Do not check that the receiver answers at the webhook URL
    ///
    /// Without this option, an unsigned request is sent to the URL before anything is changed, and the
    /// command stops unless the receiver itself refuses it. Use this option if this machine cannot
    /// reach the URL but TitanX can.
    #[arg(long)]
    skip_probe: bool,
}

impl ProbeOptions {
    /// Sends an unsigned request to the URL, and returns an error unless the receiver refuses it.
    pub(crate) async fn check(&self, url: &str, screen: Screen) -> anyhow::Result<()> {
        if self.skip_probe {
            return Ok(());
        }
        screen.info("Checking that the receiver answers at the webhook URL …");
        let Some((answered, advice)) = probe(url).await? else {
            return Ok(());
        };
        bail!(
            "nothing was changed, because the receiver does not answer at {url}: an unsigned request \
             got {answered}; {advice} (--skip-probe skips this check)"
        )
    }
}

/// What answered, and what to check, unless it is the receiver.
async fn probe(url: &str) -> anyhow::Result<Option<(String, String)>> {
    let http = HttpClient::new()?;
    let body = json!({"probe": "unsigned"}).to_string();
    for attempt in 1.. {
        let headers = [("content-type", "application/json")];
        let response = match http.call("POST", url, &headers, body.clone()).await {
            Ok(response) => response,
            Err(error) => {
                let advice = "check the host name, the TLS certificate, and that this machine can \
                              reach the URL";
                let answered = format!("no answer ({})", PlainError(&error));
                return Ok(Some((answered, advice.to_owned())));
            }
        };
        if is_receivers_refusal(&response) {
            return Ok(None);
        }
        let may_recover = response.status == 429 || response.status >= 500;
        if !may_recover || attempt == ATTEMPTS {
            return Ok(Some((describe(&response), advice(&response))));
        }
        tokio::time::sleep(PAUSE).await;
    }
    unreachable!("the last attempt returns")
}

/// Whether this is the receiver's answer to a request without a signature.
fn is_receivers_refusal(response: &HttpResponse) -> bool {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    response.status == 401 && body == json!({"error": "Invalid signature"})
}

/// The status and the beginning of the body.
fn describe(response: &HttpResponse) -> String {
    const MAX_CHARS: usize = 100;
    let body = String::from_utf8_lossy(&response.body);
    let body: String = body.trim().chars().take(MAX_CHARS).collect();
    let by = response.headers.get("server");
    let by = by.map_or_else(String::new, |it| format!(" from {}", escape_control(it)));
    if body.is_empty() {
        return format!("{}{by}", response.status);
    }
    format!("{}{by}: {}", response.status, escape_control(&body))
}

fn advice(response: &HttpResponse) -> String {
    let text = match response.status {
        200..=299 => {
            "whatever answers there accepts requests that nobody signed: check the host and the path"
        }
        300..=399 => {
            let target = response.headers.get("location").unwrap_or("nowhere");
            return format!(
                "it redirects to {}, and TitanX may not follow: use the URL of the receiver itself",
                escape_control(target)
            );
        }
        401 => "something before the receiver demands authentication: remove its authoriser",
        403 => {
            "something before the receiver refuses it: check firewall, resource policy, and that the \
             function URL needs no IAM authentication"
        }
        404 | 405 => {
            "the gateway has no such route: compare path and stage with the stack's output WebhookUrl"
        }
        429 => "the receiver or its gateway is throttled: check its concurrency limits",
        500.. => {
            "the receiver fails, or is not deployed: check `operator doctor` and the function's log"
        }
        _ => "compare the URL with the stack's output WebhookUrl",
    };
    text.to_owned()
}
