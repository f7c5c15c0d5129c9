//! `operator doctor`

mod deployed;
mod secret;

use anyhow::Context;
use aws_smithy_types::{DateTime, date_time::Format};
use clap::Args;
use serde::Serialize;
use titanx_receiver::budget::now_ms;

use crate::{
    commands::Outcome,
    deployment::{Cloud, Deployment},
    http::Http,
    screen::{BAD, GOOD, NOTICE, Screen, styled},
    store::Place,
};

/// Examine the deployed system and this machine's settings
///
/// Reads, and changes nothing. Checks the function's time-out, environment and permissions, the
/// tables' keys and expiry, the queues' types, retention and dead-letter queues, the form of the
/// stored secret, the alarms, and this machine's clock. What may not be read here is a finding too.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator doctor --stack titanx-receiver
  operator doctor --stack titanx-receiver --json | jq '.[] | select(.verdict == \"problem\")'")]
pub(crate) struct Doctor {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    deployment: Deployment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Fine,
    /// Could not be found out.
    Unknown,
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

impl Finding {
    fn fine(subject: &'static str, found: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Fine,
            found: found.into(),
            advice: None,
        }
    }

    fn problem(subject: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        let advice = Some(advice);
        Self {
            subject,
            verdict: Verdict::Problem,
            found: found.into(),
            advice,
        }
    }

    fn unknown(subject: &'static str, error: &anyhow::Error) -> Self {
        Self {
            subject,
            verdict: Verdict::Unknown,
            found: titanx_receiver::error::Chain(error.as_ref()).to_string(),
            advice: Some("give this machine's credentials the permission to read it, or name it"),
        }
    }

    /// Fine if it `holds`, else a problem.
    fn check(
        holds: bool,
        subject: &'static str,
        found: impl Into<String>,
        advice: &'static str,
    ) -> Self {
        if holds {
            Self::fine(subject, found)
        } else {
            Self::problem(subject, found, advice)
        }
    }
}

/// What was found out about a subject, or that it could not be.
fn findings(subject: &'static str, found: anyhow::Result<Vec<Finding>>) -> Vec<Finding> {
    found.unwrap_or_else(|error| vec![Finding::unknown(subject, &error)])
}

impl Doctor {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        let cloud = self.deployment.connect().await?;
        // Without it nothing has a name, and every finding would say the same.
        cloud.stack().await?;
        let secret = async { secret::form(&self.place.open(&self.deployment).await?).await };
        let all = [
            findings("secret", secret.await),
            findings("function", deployed::function(&cloud).await),
            findings("permissions", deployed::permissions(&cloud).await),
            findings("deliveries table", deployed::deliveries(&cloud).await),
            findings("jobs table", deployed::jobs(&cloud).await),
            findings("contacts queue", deployed::contacts(&cloud).await),
            findings("quarantine queue", deployed::quarantine(&cloud).await),
            findings("alarms", deployed::alarms(&cloud).await),
            findings("clock", clock(&cloud).await),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
        screen.result(&all, || all.iter().for_each(Finding::print))?;
        Ok(Outcome::findings_if(
            all.iter().any(|it| it.verdict != Verdict::Fine),
        ))
    }
}

impl Finding {
    fn print(&self) {
        let Self { subject, found, .. } = self;
        let verdict = match self.verdict {
            Verdict::Fine => styled(GOOD, "fine   "),
            Verdict::Unknown => styled(NOTICE, "unknown"),
            Verdict::Problem => styled(BAD, "problem"),
        };
        say!("{verdict}  {subject}: {found}");
        if let Some(advice) = self.advice {
            say!("         → {advice}");
        }
    }
}

/// Compares this machine's clock with the gateway's: leases, and what is too old, go by the clock.
async fn clock(cloud: &Cloud<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "clock";
    const TOLERANCE_MS: i64 = 2_000;
    let url = cloud.url().await?;
    let sent = now_ms();
    // The gateway answers this itself; the webhook takes POST only.
    let answer = match Http::new().call("GET", &url, &[], "").await {
        Ok(answer) => answer,
        Err(error) => {
            let advice = Some("let this machine reach the webhook's URL, or correct --url");
            let unknown = Finding::unknown(SUBJECT, &error.into());
            return Ok(vec![Finding { advice, ..unknown }]);
        }
    };
    let received = now_ms();
    let date = answer
        .headers
        .get("date")
        .context("the gateway's answer has no date")?;
    let theirs = DateTime::from_str(date, Format::HttpDate)?.to_millis()?;
    // The header is in whole seconds.
    let off = (theirs - received).max(sent - theirs - 1_000).max(0);
    Ok(vec![Finding::check(
        off <= TOLERANCE_MS,
        SUBJECT,
        if off == 0 {
            "agrees with AWS".to_owned()
        } else {
            format!("is off by {off} ms")
        },
        "let this machine set its clock by NTP",
    )])
}
