//! `operator doctor`

mod monitoring;
mod resources;
mod secret;
mod subscription;

use anyhow::Context;
use aws_smithy_types::{DateTime, date_time::Format};
use clap::Args;
use serde::Serialize;
use titanx_client::http::HttpClient;
use titanx_receiver::budget::now_ms;

use crate::{
    commands::CommandStatus,
    plain_error::{PlainError, hint},
    screen::{BAD, GOOD, NOTICE, Screen, styled, wrapped},
    secret_store::SecretSource,
    stack::{Stack, StackOptions},
    titanx::TitanxOptions,
};

/// Check the stack and this machine's clock for problems
///
/// Checks the function's timeout, environment and permissions, the tables' keys and TTL, the
/// queues' types, retention and dead-letter queues, the format of the stored secret, the alarms and
/// who is told of them, the log, and this machine's clock. With an API key, also asks TitanX whether an active subscription posts
/// all event types to this stack. Changes nothing. Whatever cannot be read is reported as unknown.
///
/// Prints what is wrong first. Checks without a problem are only counted, unless --verbose is given.
///
/// Exit status 0: no problem was found. 3: there is a problem, or a check could not be made.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator doctor --stack titanx-receiver
  operator doctor --stack titanx-receiver --json | jq '.[] | select(.verdict == \"problem\")'")]
pub(crate) struct Doctor {
    /// Also show the checks without a problem
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    secret: SecretSource,
    #[command(flatten)]
    titanx: TitanxOptions,
    #[command(flatten)]
    stack: StackOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Fine,
    /// Not wrong, but worth knowing.
    Note,
    /// The check could not be made.
    Unknown,
    Problem,
}

/// The result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    /// The resource that was checked.
    subject: &'static str,
    verdict: Verdict,
    /// What was found.
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

    fn note(subject: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        Self {
            verdict: Verdict::Note,
            ..Self::problem(subject, found, advice)
        }
    }

    fn unknown(subject: &'static str, error: &anyhow::Error) -> Self {
        let found = PlainError(error.as_ref()).to_string();
        let advice = hint(&found);
        Self {
            subject,
            verdict: Verdict::Unknown,
            found,
            advice: advice.or(Some(
                "give your credentials permission to read it, or name the resource with its option",
            )),
        }
    }

    /// [`Self::fine`] if the check has `passed`, else [`Self::problem`].
    fn check(
        passed: bool,
        subject: &'static str,
        found: impl Into<String>,
        advice: &'static str,
    ) -> Self {
        if passed {
            Self::fine(subject, found)
        } else {
            Self::problem(subject, found, advice)
        }
    }
}

/// The findings about a subject. An error becomes one finding with the verdict unknown.
fn or_unknown(subject: &'static str, findings: anyhow::Result<Vec<Finding>>) -> Vec<Finding> {
    findings.unwrap_or_else(|error| vec![Finding::unknown(subject, &error)])
}

impl Doctor {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let stack = self.stack.connect().await?;
        // If the stack cannot be read, every check would fail with the same error.
        stack.values().await?;
        let forms = resources::key_forms(&stack).await;
        let secret = async { secret::check(&self.secret.open(&self.stack).await?, forms).await };
        let findings = [
            or_unknown("secret", secret.await),
            or_unknown(
                "subscription",
                subscription::check(&self.titanx, &stack).await,
            ),
            or_unknown("function", resources::function(&stack).await),
            or_unknown("permissions", resources::permissions(&stack).await),
            or_unknown("deliveries table", resources::deliveries(&stack).await),
            or_unknown("jobs table", resources::jobs(&stack).await),
            or_unknown("contacts queue", resources::contacts(&stack).await),
            or_unknown("quarantine queue", resources::quarantine(&stack).await),
            or_unknown("alarms", monitoring::alarms(&stack).await),
            or_unknown("alarm topic", monitoring::topic(&stack).await),
            or_unknown("log", monitoring::log(&stack).await),
            or_unknown("clock", clock(&stack).await),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
        screen.result(&findings, || self.print(&findings))?;
        let wrong = |it: &Finding| matches!(it.verdict, Verdict::Problem | Verdict::Unknown);
        Ok(CommandStatus::action_needed_if(findings.iter().any(wrong)))
    }
}

impl Doctor {
    /// Prints what is wrong first, and a count last. The JSON document has every finding, in the order
    /// of the checks.
    fn print(&self, findings: &[Finding]) {
        let of = |verdict| findings.iter().filter(move |it| it.verdict == verdict);
        for verdict in [
            Verdict::Problem,
            Verdict::Unknown,
            Verdict::Note,
            Verdict::Fine,
        ] {
            if verdict != Verdict::Fine || self.verbose {
                of(verdict).for_each(Finding::print);
            }
        }
        let problems = match of(Verdict::Problem).count() {
            0 => styled(GOOD, "no problem"),
            1 => styled(BAD, "1 problem"),
            count => styled(BAD, format!("{count} problems")),
        };
        let unknown = match of(Verdict::Unknown).count() {
            0 => String::new(),
            count => format!(", {count} unknown"),
        };
        let fine = of(Verdict::Fine).count();
        let hint = if self.verbose || fine == 0 {
            ""
        } else {
            " (--verbose shows them)"
        };
        print_line!("{problems}{unknown}, {fine} fine{hint}");
    }
}

/// The width of a verdict.
const VERDICT: usize = 7;

impl Finding {
    fn print(&self) {
        let Self { subject, found, .. } = self;
        let verdict = match self.verdict {
            Verdict::Fine => styled(GOOD, "fine   "),
            Verdict::Note => styled(NOTICE, "note   "),
            Verdict::Unknown => styled(NOTICE, "unknown"),
            Verdict::Problem => styled(BAD, "problem"),
        };
        let indent = " ".repeat(VERDICT + 2);
        let found = format!("{subject}: {found}");
        for (number, line) in wrapped(&found, VERDICT + 2).iter().enumerate() {
            match number {
                0 => print_line!("{verdict}  {line}"),
                _ => print_line!("{indent}{line}"),
            }
        }
        let advice = self.advice.unwrap_or_default();
        for (number, line) in wrapped(advice, VERDICT + 4).iter().enumerate() {
            let arrow = if number == 0 { "→" } else { " " };
            print_line!("{indent}{arrow} {line}");
        }
    }
}

/// Compares this machine's clock with the gateway's. `operator reconcile --yes` takes leases, whose
/// end depends on the clock.
async fn clock(stack: &Stack<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "clock";
    const TOLERANCE_MS: i64 = 2_000;
    let url = stack.url().await?;
    let sent = now_ms();
    // The gateway answers a GET itself: all its routes are POSTs.
    let response = match HttpClient::new()?.call("GET", &url, &[], "").await {
        Ok(response) => response,
        Err(error) => {
            let advice =
                Some("check that this machine can reach the webhook URL, or correct --url");
            let unknown = Finding::unknown(SUBJECT, &error.into());
            return Ok(vec![Finding { advice, ..unknown }]);
        }
    };
    let received = now_ms();
    let date = response
        .headers
        .get("date")
        .context("the gateway's response has no Date header")?;
    let gateway_ms = DateTime::from_str(date, Format::HttpDate)?.to_millis()?;
    // The header is in whole seconds.
    let offset_ms = (gateway_ms - received)
        .max(sent - gateway_ms - 1_000)
        .max(0);
    Ok(vec![Finding::check(
        offset_ms <= TOLERANCE_MS,
        SUBJECT,
        if offset_ms == 0 {
            "agrees with AWS".to_owned()
        } else {
            format!("is off by {offset_ms} ms")
        },
        "synchronise this machine's clock with NTP",
    )])
}
