//! Sends missing contacts to the contacts queue through the receiver's intake.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use titanx_receiver::{
    budget::{Budget, now_ms},
    error::Error,
    event::{API_VERSION, CONTACT_SCORED, Event},
    intake::{Acceptance, Intake},
    log::Log,
    queue::Source,
};

use super::matching::MissingContact;
use crate::{job_id::JobId, plain_error::PlainError, screen::Screen};

/// Contacts that are sent concurrently.
const CONCURRENCY: usize = 8;
/// Time limit for one attempt, as for an invocation of the function.
const INVOCATION_MS: u64 = 8_000;
const MAX_ATTEMPTS: u32 = 3;

/// The result of backfilling one contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BackfillResult {
    /// This run queued the contact.
    Queued,
    /// Another backfill had queued the contact.
    AlreadyQueued,
    Failed,
}

/// Backfills the missing contacts of a job.
pub(super) async fn run(
    intake: &Intake,
    job: &JobId,
    missing: &[MissingContact<'_>],
    bar: &ProgressBar,
    screen: Screen,
) -> Vec<BackfillResult> {
    let each = missing.iter().map(async |missing| {
        let result = backfill_contact(intake, job, missing).await;
        bar.inc(1);
        result.unwrap_or_else(|error| {
            screen.warn(format!(
                "the contact with delivery id {} could not be queued: {error}",
                delivery_id(job, missing)
            ));
            BackfillResult::Failed
        })
    });
    stream::iter(each)
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await
}

async fn backfill_contact(
    intake: &Intake,
    job: &JobId,
    missing: &MissingContact<'_>,
) -> Result<BackfillResult, String> {
    let envelope = envelope(job, missing);
    let event = Event::backfilled(&envelope, job.as_str());
    let event = event.map_err(|it| {
        let reason = it.reason.as_str();
        format!("TitanX's value is not a contact ({reason})")
    })?;
    for _ in 1..MAX_ATTEMPTS {
        match accept(intake, &event).await {
            // The holder may have failed. When its lease ends, the next attempt can claim.
            Err(Error::InFlight { lease_ends_ms }) => {
                let left = u64::try_from(lease_ends_ms.saturating_sub(now_ms())).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(left) + Duration::from_secs(1)).await;
            }
            Err(Error::Unavailable(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
            result => return result.map_err(|error| describe(&error)),
        }
    }
    let result = accept(intake, &event).await;
    result.map_err(|error| describe(&error))
}

/// Accepts one contact and writes its completion mark, so that the next run finds the record.
async fn accept(intake: &Intake, event: &Event<'_>) -> Result<BackfillResult, Error> {
    let budget = budget();
    let log = Log::default();
    match intake.accept(event, Source::Backfill, budget, &log).await? {
        Acceptance::New(completion) => {
            intake.complete(completion, budget, &log).await;
            Ok(BackfillResult::Queued)
        }
        // The id is reused if the contact has changed at TitanX since an earlier backfill.
        Acceptance::Duplicate | Acceptance::IdReused => Ok(BackfillResult::AlreadyQueued),
    }
}

fn budget() -> Budget {
    Budget::begin(u64::try_from(now_ms()).unwrap_or(0) + INVOCATION_MS)
}

fn describe(error: &Error) -> String {
    PlainError(error).to_string()
}

/// The envelope of the contact as TitanX would have sent it, but with a backfill's delivery id.
fn envelope(job: &JobId, missing: &MissingContact<'_>) -> String {
    format!(
        r#"{{"payload":{},"eventType":"{CONTACT_SCORED}","timestamp":{},"apiVersion":"{API_VERSION}","id":"{}"}}"#,
        missing.contact.get(),
        now_ms(),
        delivery_id(job, missing)
    )
}

/// The delivery id of a backfilled contact. It depends only on the job and the contact, so that no
/// two runs queue the same contact twice.
fn delivery_id(job: &JobId, missing: &MissingContact<'_>) -> String {
    let hash = Sha256::new().chain_update(job.key()).chain_update([0]);
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
