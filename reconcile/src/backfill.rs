//! Sends missing contacts to the contacts queue through the receiver's intake.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{Stream, StreamExt, stream};
use sha2::{Digest, Sha256};
use titanx_receiver::{
    budget::{Budget, now_ms},
    error::Error,
    event::{API_VERSION, CONTACT_SCORED, Event},
    intake::{Acceptance, Intake},
    log::Log,
    queue::Source,
};

use crate::{job_id::JobId, matching::MissingContact};

/// Contacts that are sent concurrently.
const CONCURRENCY: usize = 8;
/// Time limit for one attempt, as for an invocation of the function.
const INVOCATION_MS: u64 = 8_000;
const MAX_ATTEMPTS: u32 = 3;

/// The result of backfilling one contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillResult {
    /// This run queued the contact.
    Queued,
    /// Another backfill had queued the contact.
    AlreadyQueued,
}

/// A contact could not be queued. It may have been queued all the same; a later backfill finds out.
#[derive(Debug, thiserror::Error)]
#[error("the contact with delivery id {delivery_id} could not be queued")]
pub struct BackfillError {
    /// The delivery id of the backfilled contact.
    pub delivery_id: String,
    source: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    /// With the name of the reason.
    #[error("TitanX's value is not a contact ({0})")]
    NotAContact(&'static str),
    #[error(transparent)]
    Intake(#[from] Error),
}

/// Backfills the missing contacts of a job, several at once, and yields each result in the order in
/// which they are known.
pub fn backfill<'a>(
    intake: &'a Intake,
    job: &'a JobId,
    missing: &'a [MissingContact<'a>],
) -> impl Stream<Item = Result<BackfillResult, BackfillError>> + 'a {
    let each = missing.iter().map(async move |missing| {
        let delivery_id = delivery_id(job, missing);
        let result = backfill_contact(intake, job, missing, &delivery_id).await;
        result.map_err(|source| BackfillError {
            delivery_id,
            source,
        })
    });
    stream::iter(each).buffer_unordered(CONCURRENCY)
}

async fn backfill_contact(
    intake: &Intake,
    job: &JobId,
    missing: &MissingContact<'_>,
    delivery_id: &str,
) -> Result<BackfillResult, Cause> {
    let envelope = envelope(missing, delivery_id);
    let event = Event::backfilled(&envelope, job.as_str());
    let event = event.map_err(|it| Cause::NotAContact(it.reason.as_str()))?;
    for _ in 1..MAX_ATTEMPTS {
        match accept(intake, &event).await {
            // The holder may have failed. When its lease ends, the next attempt can claim.
            Err(Error::InFlight { lease_ends_ms }) => {
                let left = u64::try_from(lease_ends_ms.saturating_sub(now_ms())).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(left) + Duration::from_secs(1)).await;
            }
            Err(Error::Unavailable(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
            result => return Ok(result?),
        }
    }
    Ok(accept(intake, &event).await?)
}

/// Accepts one contact and writes its completion mark, so that the next run finds the record.
async fn accept(intake: &Intake, event: &Event<'_>) -> Result<BackfillResult, Error> {
    let budget = budget();
    let mut log = Log::default();
    match intake
        .accept(event, Source::Backfill, budget, &mut log)
        .await?
    {
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

/// The envelope of the contact as TitanX would have sent it, but with a backfill's delivery id.
fn envelope(missing: &MissingContact<'_>, delivery_id: &str) -> String {
    format!(
        r#"{{"payload":{},"eventType":"{CONTACT_SCORED}","timestamp":{},"apiVersion":"{API_VERSION}","id":"{delivery_id}"}}"#,
        missing.contact.get(),
        now_ms(),
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
