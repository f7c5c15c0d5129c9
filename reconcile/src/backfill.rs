//! Sends missing contacts to the contacts queue through the receiver's intake.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use serde_json::value::RawValue;
use titanx_receiver::{
    budget::{Budget, now_ms},
    error::Error,
    event::{API_VERSION, CONTACT_SCORED, Event, JOB_COMPLETED},
    intake::{Acceptance, Intake},
    log::Log,
    queue::Source,
};

use crate::{backfill_id, job_id::JobId};

/// Contacts that are sent concurrently.
const CONCURRENCY: usize = 8;
/// Time limit for one attempt, as for an invocation of the function.
const INVOCATION_MS: u64 = 8_000;
const MAX_ATTEMPTS: u32 = 3;

/// The result of backfilling one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillResult {
    /// This run made the event durable.
    Queued,
    /// An earlier backfill, or a delivery in the meantime, had made it durable.
    AlreadyQueued,
}

/// An event could not be made durable. It may be durable all the same; a later backfill finds out.
#[derive(Debug, thiserror::Error)]
#[error("the event with delivery id {delivery_id} could not be queued")]
pub struct BackfillError {
    /// The delivery id of the backfill.
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

/// A contact to backfill.
#[derive(Debug)]
pub struct Backfill<'a> {
    /// The contact as TitanX returned it.
    pub contact: &'a RawValue,
    /// The delivery id of an unfinished record of the contact, which may have been sent under it; else the
    /// one that [`ContactIds`](crate::contact_ids::ContactIds) chose.
    pub delivery_id: String,
}

/// Backfills missing contacts of a job, several at once, and yields each result in the order in which
/// they are known.
pub fn backfill<'a>(
    intake: &'a Intake,
    job: &'a JobId,
    missing: Vec<Backfill<'a>>,
) -> impl Stream<Item = Result<BackfillResult, BackfillError>> + 'a {
    let each = missing.into_iter().map(async move |missing| {
        let Backfill {
            contact,
            delivery_id,
        } = missing;
        let result = backfill_contact(intake, job, contact, &delivery_id).await;
        result.map_err(|source| BackfillError {
            delivery_id,
            source,
        })
    });
    stream::iter(each).buffer_unordered(CONCURRENCY)
}

/// Marks a job completed of which TitanX's event was never received, as if it had come at
/// `completed_at` (Unix milliseconds). A record of a later event stays as it is.
///
/// # Errors
///
/// [`BackfillError`] if the job could not be marked. Repeating the call is safe.
pub async fn complete_job(
    intake: &Intake,
    job: &JobId,
    payload: &RawValue,
    completed_at: i64,
) -> Result<BackfillResult, BackfillError> {
    let delivery_id = backfill_id::of_job(job);
    let envelope = envelope(JOB_COMPLETED, payload, completed_at, &delivery_id);
    let result = backfill_event(intake, job, &envelope).await;
    result.map_err(|source| BackfillError {
        delivery_id,
        source,
    })
}

async fn backfill_contact(
    intake: &Intake,
    job: &JobId,
    contact: &RawValue,
    delivery_id: &str,
) -> Result<BackfillResult, Cause> {
    let envelope = envelope(CONTACT_SCORED, contact, now_ms(), delivery_id);
    backfill_event(intake, job, &envelope).await
}

async fn backfill_event(
    intake: &Intake,
    job: &JobId,
    envelope: &str,
) -> Result<BackfillResult, Cause> {
    let event = Event::backfilled(envelope, job.as_str());
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

/// The envelope as TitanX would have sent it, but with a backfill's delivery id.
fn envelope(event_type: &str, payload: &RawValue, timestamp: i64, delivery_id: &str) -> String {
    format!(
        r#"{{"payload":{},"eventType":"{event_type}","timestamp":{timestamp},"apiVersion":"{API_VERSION}","id":"{delivery_id}"}}"#,
        payload.get(),
    )
}
