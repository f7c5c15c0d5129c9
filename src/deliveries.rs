//! The deliveries table: which delivery ids were seen, and how far each one came.
//!
//! A record says that an invocation is at work (`INPROGRESS`, under a lease) or that the event is
//! durable (`COMPLETED`). Attributes are named as Powertools for AWS Lambda names them.
//!
//! ```text
//! claim ──▶ INPROGRESS ──complete──▶ COMPLETED ──retention──▶ forgotten
//!               │  └──release──▶ absent
//!               └──lease over──▶ INPROGRESS of another claimer
//! ```

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    operation::{
        delete_item::{DeleteItemError, DeleteItemInput},
        put_item::{PutItemError, PutItemInput},
    },
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use uuid::Uuid;

use crate::{
    aws::DynamoDb,
    error::{Step, Unavailable},
    event::{Event, Kind},
};

/// The table's key attribute.
pub const DELIVERY_ID: &str = "delivery_id";
/// `INPROGRESS` or `COMPLETED`.
pub const STATUS: &str = "status";
/// When the lease ends, in Unix milliseconds.
pub const IN_PROGRESS_EXPIRATION: &str = "in_progress_expiration";
/// When the record may be forgotten, in Unix seconds: the table's TTL attribute.
pub const EXPIRATION: &str = "expiration";
/// The claimer, random for each claim.
pub const CLAIMED_BY: &str = "claimed_by";
/// The job that a contact belongs to; of completed contacts that name one.
pub const JOB_ID: &str = "job_id";
/// By what a contact can be recognised again; of completed contacts.
pub const CONTACT_KEYS: &str = "contact_keys";
/// The digest of event type and payload.
pub const VALIDATION: &str = "validation";

const IN_PROGRESS: &str = "INPROGRESS";
const COMPLETED: &str = "COMPLETED";

/// The table of deliveries.
#[derive(Debug, Clone)]
pub struct Deliveries {
    dynamodb: DynamoDb,
    table: String,
    retention: Duration,
}

/// What a claim comes to.
#[derive(Debug)]
pub enum Claim {
    /// The delivery is ours until the lease ends.
    Granted(Lease),
    /// An earlier attempt completed it.
    Completed {
        /// Whether that attempt carried the same event; if not, the id was used twice.
        same_event: bool,
    },
    /// Another invocation is at work on it.
    InFlight {
        /// When that one's lease ends, in Unix milliseconds.
        lease_ends_ms: i64,
    },
}

/// The right to act on one delivery, for a limited time. Only a granted claim makes one.
#[derive(Debug)]
pub struct Lease {
    delivery_id: String,
    digest: String,
    claimed_by: String,
    ends_ms: i64,
}

/// A completion mark that is due, and what it records. Only a lease becomes one, and it can no
/// longer be released then.
#[derive(Debug)]
#[must_use = "until the mark is written, a second attempt sends a second message"]
pub struct Completion {
    lease: Lease,
    job_id: Option<String>,
    contact_keys: Vec<String>,
}

impl Completion {
    /// The delivery that it is for.
    #[must_use]
    pub fn delivery_id(&self) -> &str {
        &self.lease.delivery_id
    }
}

impl Lease {
    /// The delivery that it is for.
    #[must_use]
    pub fn delivery_id(&self) -> &str {
        &self.delivery_id
    }

    /// Turns the lease into the completion mark of `event`, which is durable now. The mark of a
    /// contact also records by what the contact can be recognised when its job is reconciled; the
    /// record stays under the kilobyte that a write costs anyway.
    pub fn into_completion(self, event: &Event<'_>) -> Completion {
        /// TitanX's job ids are UUIDs. One of unforeseen length is not worth a second kilobyte.
        const MAX_JOB_ID: usize = 128;
        let (job_id, contact_keys) = match &event.kind {
            Kind::ContactScored(contact) => (contact.job_id.as_deref(), contact.keys()),
            Kind::JobCompleted(_) => (None, Vec::new()),
        };
        Completion {
            lease: self,
            job_id: job_id
                .filter(|id| id.len() <= MAX_JOB_ID)
                .map(str::to_owned),
            contact_keys,
        }
    }

    /// What is left of it at `now_ms` (Unix milliseconds); zero once it is over.
    #[must_use]
    pub fn left(&self, now_ms: i64) -> Duration {
        let left_ms = u64::try_from(self.ends_ms.saturating_sub(now_ms)).unwrap_or(0);
        Duration::from_millis(left_ms)
    }
}

impl Deliveries {
    /// The table called `table`, which remembers a delivery for `retention`.
    #[must_use]
    pub fn new(dynamodb: DynamoDb, table: String, retention: Duration) -> Self {
        Self {
            dynamodb,
            table,
            retention,
        }
    }

    /// How long a delivery is remembered.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Claims the event's delivery id at `now_ms` until `lease_ends_ms`, both in Unix milliseconds.
    ///
    /// # Errors
    ///
    /// When the table cannot be asked, or its answer is no record of ours. The claim may stand all
    /// the same; it ends with its lease.
    pub async fn claim(
        &self,
        event: &Event<'_>,
        now_ms: i64,
        lease_ends_ms: i64,
    ) -> Result<Claim, Unavailable> {
        let lease = Lease {
            delivery_id: event.id.to_string(),
            digest: event.digest(),
            claimed_by: Uuid::new_v4().simple().to_string(),
            ends_ms: lease_ends_ms,
        };
        let put = PutItemInput::builder()
            .table_name(&self.table)
            .set_item(Some(self.record(&lease, IN_PROGRESS, now_ms)))
            .condition_expression(CLAIMABLE)
            .expression_attribute_names("#status", STATUS)
            .set_expression_attribute_values(Some(attributes([
                (":now_s", number(now_ms / 1000)),
                (":now_ms", number(now_ms)),
                (":in_progress", text(IN_PROGRESS)),
            ])))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Unavailable::new(Step::Claim, error))?;
        match self.dynamodb.put_item.call(put).await {
            Ok(_) => Ok(Claim::Granted(lease)),
            Err(error) => match error.service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    lease.against(failed.item())
                }
                _ => Err(Unavailable::new(Step::Claim, error)),
            },
        }
    }

    /// Marks the delivery completed. Unconditional: the event is already durable, whoever owns the
    /// claim by now. And it writes the record anew, since an update of one that was released
    /// meanwhile would leave a record that never expires.
    ///
    /// # Errors
    ///
    /// When the table cannot be written; the event itself is durable.
    pub async fn complete(&self, completion: Completion, now_ms: i64) -> Result<(), Unavailable> {
        let Completion {
            lease,
            job_id,
            contact_keys,
        } = completion;
        let mut item = self.record(&lease, COMPLETED, now_ms);
        if let Some(job_id) = job_id {
            item.insert(JOB_ID.to_owned(), AttributeValue::S(job_id));
        }
        if !contact_keys.is_empty() {
            item.insert(CONTACT_KEYS.to_owned(), AttributeValue::Ss(contact_keys));
        }
        let put = PutItemInput::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .build()
            .map_err(|error| Unavailable::new(Step::Complete, error))?;
        let put = self.dynamodb.put_item.call(put).await;
        put.map(|_| ())
            .map_err(|error| Unavailable::new(Step::Complete, error))
    }

    /// Gives the claim back, so that the next attempt need not wait for the lease to end. Only if
    /// it is still ours and in progress, lest it delete what a later holder completed.
    ///
    /// # Errors
    ///
    /// When the table cannot be written; the claim then ends with its lease.
    pub async fn release(&self, lease: &Lease) -> Result<(), Unavailable> {
        let delete = DeleteItemInput::builder()
            .table_name(&self.table)
            .key(DELIVERY_ID, text(&lease.delivery_id))
            .condition_expression("claimed_by = :us AND #status = :in_progress")
            .expression_attribute_names("#status", STATUS)
            .set_expression_attribute_values(Some(attributes([
                (":us", text(&lease.claimed_by)),
                (":in_progress", text(IN_PROGRESS)),
            ])))
            .build()
            .map_err(|error| Unavailable::new(Step::Release, error))?;
        match self.dynamodb.delete_item.call(delete).await {
            Ok(_) => Ok(()),
            Err(error) => match error.service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(Unavailable::new(Step::Release, error)),
            },
        }
    }

    fn record(&self, lease: &Lease, status: &str, now_ms: i64) -> Item {
        let retention_s = i64::try_from(self.retention.as_secs()).unwrap_or(i64::MAX);
        let expiration = (now_ms / 1000).saturating_add(retention_s);
        attributes([
            (DELIVERY_ID, text(&lease.delivery_id)),
            (STATUS, text(status)),
            (IN_PROGRESS_EXPIRATION, number(lease.ends_ms)),
            (EXPIRATION, number(expiration)),
            (CLAIMED_BY, text(&lease.claimed_by)),
            (VALIDATION, text(&lease.digest)),
        ])
    }
}

type Item = HashMap<String, AttributeValue>;

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn attributes<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// Who may claim, along the life of a record: nobody has it yet; or it is past its retention, and
/// TTL, which lags by days, has not deleted it; or its claimer has let the lease run out.
///
/// Of the attributes only `status` is a reserved word and needs a placeholder; each placeholder is
/// hashed and signed with every claim.
const CLAIMABLE: &str = "attribute_not_exists(delivery_id) \
    OR expiration < :now_s \
    OR (#status = :in_progress AND in_progress_expiration < :now_ms)";

impl Lease {
    /// What this claim comes to against the record that stood in its way.
    fn against(self, record: Option<&Item>) -> Result<Claim, Unavailable> {
        let attribute = |name: &str| record?.get(name)?.as_s().ok().map(String::as_str);
        // A write of ours was repeated because its answer was lost.
        if attribute(CLAIMED_BY) == Some(&self.claimed_by) {
            return Ok(Claim::Granted(self));
        }
        let lease_ends_ms = record
            .and_then(|record| record.get(IN_PROGRESS_EXPIRATION)?.as_n().ok())
            .and_then(|number| number.parse().ok());
        match (attribute(STATUS), lease_ends_ms) {
            (Some(COMPLETED), _) => Ok(Claim::Completed {
                same_event: attribute(VALIDATION).is_none_or(|digest| digest == self.digest),
            }),
            (Some(IN_PROGRESS), Some(lease_ends_ms)) => Ok(Claim::InFlight { lease_ends_ms }),
            _ => Err(Unavailable::new(Step::Claim, ForeignRecord)),
        }
    }
}

/// A record that this program did not write. It is not for us to say what it means.
#[derive(Debug, thiserror::Error)]
#[error("the table holds a record of unknown form under this delivery id")]
struct ForeignRecord;
