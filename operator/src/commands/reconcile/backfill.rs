//! Queues what is missing on the way that a delivery takes.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use titanx_receiver::{
    budget::{Budget, now_ms},
    error::{Chain, Error},
    event::{API_VERSION, CONTACT_SCORED, Event},
    intake::{Acceptance, Intake},
    log::Log,
    queue::Source,
};

use super::matching::Missing;
use crate::screen::Screen;

/// Contacts that are queued at once.
const AT_ONCE: usize = 8;
/// What one contact may take, as it may in the function.
const INVOCATION_MS: u64 = 8_000;
const ATTEMPTS: u32 = 3;

/// What became of a missing contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backfilled {
    /// It is queued now.
    Queued,
    /// Somebody's backfill had queued it.
    Before,
    Failed,
}

/// Queues the missing contacts of a job.
pub(super) async fn queue(
    intake: &Intake,
    job: &str,
    missing: &[Missing<'_>],
    bar: &ProgressBar,
    screen: Screen,
) -> Vec<Backfilled> {
    let each = missing.iter().map(async |missing| {
        let done = one(intake, job, missing).await;
        bar.inc(1);
        done.unwrap_or_else(|why| {
            screen.warn(format!(
                "{} could not be queued: {why}",
                delivery_id(job, missing)
            ));
            Backfilled::Failed
        })
    });
    stream::iter(each).buffer_unordered(AT_ONCE).collect().await
}

async fn one(intake: &Intake, job: &str, missing: &Missing<'_>) -> Result<Backfilled, String> {
    let envelope = envelope(job, missing);
    let event = Event::backfilled(&envelope, job);
    let event = event.map_err(|it| format!("it is no contact ({})", it.reason.as_str()))?;
    for _ in 1..ATTEMPTS {
        match accept(intake, &event).await {
            // Whoever held it may have failed: its lease ends soon, and then it is ours.
            Err(Error::InFlight { lease_ends_ms }) => {
                let left = u64::try_from(lease_ends_ms.saturating_sub(now_ms())).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(left) + Duration::from_secs(1)).await;
            }
            Err(Error::Unavailable(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
            outcome => return told(outcome),
        }
    }
    told(accept(intake, &event).await)
}

/// Accepts one contact, and waits for its completion mark: nobody is answered meanwhile, and the
/// next run is to find what this one did.
async fn accept(intake: &Intake, event: &Event<'_>) -> Result<Backfilled, Error> {
    let budget = budget();
    let log = Log::default();
    match intake.accept(event, Source::Backfill, budget, &log).await? {
        Acceptance::New(completion) => {
            intake.complete(completion, budget, &log).await;
            Ok(Backfilled::Queued)
        }
        // A reused id: the contact was changed at TitanX since the earlier backfill.
        Acceptance::Duplicate | Acceptance::IdReused => Ok(Backfilled::Before),
    }
}

fn budget() -> Budget {
    Budget::begin(u64::try_from(now_ms()).unwrap_or(0) + INVOCATION_MS)
}

fn told(outcome: Result<Backfilled, Error>) -> Result<Backfilled, String> {
    outcome.map_err(|error| Chain(&error).to_string())
}

/// The envelope that TitanX would have sent, under an id of our own.
fn envelope(job: &str, missing: &Missing<'_>) -> String {
    format!(
        r#"{{"payload":{},"eventType":"{CONTACT_SCORED}","timestamp":{},"apiVersion":"{API_VERSION}","id":"{}"}}"#,
        missing.contact.get(),
        now_ms(),
        delivery_id(job, missing)
    )
}

/// The same for the same contact of the same job in every run, so that no two runs queue it twice.
fn delivery_id(job: &str, missing: &Missing<'_>) -> String {
    let hash = Sha256::new().chain_update(job).chain_update([0]);
    let hash = if missing.keys.is_empty() {
        hash.chain_update(missing.contact.get())
    } else {
        missing
            .keys
            .iter()
            .fold(hash, |hash, key| hash.chain_update(key).chain_update([0]))
    };
    let hash = hash.chain_update(missing.ordinal.to_string()).finalize();
    format!("backfill-{}", BASE64_URL_SAFE_NO_PAD.encode(&hash[..16]))
}
