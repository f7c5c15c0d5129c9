//! The deliveries table: one record for each delivery id.
//!
//! A record says that an invocation works on the delivery (`INPROGRESS`, until its lease ends) or that
//! the event is durable (`COMPLETED`). The attributes have the names that Powertools for AWS Lambda
//! gives them. `docs/design.md` describes the record, field by field.
//!
//! The lease is what lets a delivery be taken over after a crash without two invocations acting at
//! once: it ends after the deadline of its invocation, which Lambda has killed by then. It is *not*
//! what makes a second message impossible. A claimer that dies after its send leaves a lease that runs
//! out, and the next attempt sends again, under the same delivery id.
//!
//! ```text
//! claim ──▶ INPROGRESS ──complete──▶ COMPLETED ──retention──▶ deleted by TTL
//!               │  └──release──▶ absent
//!               └──lease over──▶ INPROGRESS of another claimer
//! ```

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    operation::{
        delete_item::{DeleteItemError, DeleteItemInput},
        put_item::{PutItemError, PutItemInput},
    },
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use aws_smithy_types::error::operation::BuildError;
use uuid::Uuid;

use crate::{
    aws::{CallError, DynamoDb},
    event::{Event, Kind},
};

/// The table's key attribute.
pub const DELIVERY_ID: &str = "delivery_id";
/// `INPROGRESS` or `COMPLETED`.
pub const STATUS: &str = "status";
/// When the lease ends, in Unix milliseconds.
pub const IN_PROGRESS_EXPIRATION: &str = "in_progress_expiration";
/// When the record expires, in Unix seconds: the table's TTL attribute.
pub const EXPIRATION: &str = "expiration";
/// A random id of the claim.
pub const CLAIMED_BY: &str = "claimed_by";
/// The contact's job, where it names one. Records that an earlier version claimed and did not complete
/// lack it.
pub const JOB_ID: &str = "job_id";
/// The keys by which a contact is recognised when its job is reconciled. Records that an earlier
/// version claimed and did not complete lack them.
pub const CONTACT_KEYS: &str = "contact_keys";
/// The digest of event type and payload.
pub const VALIDATION: &str = "validation";

/// The status of a record whose delivery an invocation works on, or has worked on.
pub const IN_PROGRESS: &str = "INPROGRESS";
/// The status of a record whose event is durable.
pub const COMPLETED: &str = "COMPLETED";

/// The table of deliveries.
#[derive(Debug, Clone)]
pub struct Deliveries {
    dynamodb: DynamoDb,
    table: String,
    retention: Duration,
}

/// The result of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The claim holds until the lease ends.
    Granted(Lease),
    /// An earlier attempt completed the delivery.
    Completed {
        /// Whether it was the same event. If not, two events have one delivery id.
        same_event: bool,
    },
    /// Another invocation works on the delivery.
    InFlight {
        /// When its lease ends, in Unix milliseconds.
        lease_ends_ms: i64,
    },
}

/// The right to act on one delivery, for a limited time. Only a granted claim constructs one.
#[derive(Debug)]
pub struct Lease {
    claimed: Claimed,
    taken_over: bool,
}

/// What a claim writes, and its completion mark again.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_field_names,
    reason = "the name of the record's attribute"
)]
struct Claimed {
    delivery_id: String,
    digest: String,
    claimed_by: String,
    lease_ends_ms: i64,
    job_id: Option<String>,
    contact_keys: Vec<String>,
}

/// A completion mark that is due. Only a lease turns into one, and can then no longer be released.
#[derive(Debug)]
#[must_use = "until the mark is written, a second attempt sends a second message"]
pub struct Completion {
    claimed: Claimed,
}

impl Completion {
    /// The id of the delivery.
    #[must_use]
    pub fn delivery_id(&self) -> &str {
        &self.claimed.delivery_id
    }
}

impl Claimed {
    /// A contact's record has its job and its keys, by which a reconciliation recognises it, even if
    /// its completion mark is never written. It stays under one kilobyte, so that it costs one write
    /// unit.
    fn new(event: &Event<'_>, lease_ends_ms: i64) -> Self {
        /// TitanX's job ids are UUIDs. A longer one is not worth a second write unit.
        const MAX_JOB_ID: usize = 128;
        let (job_id, contact_keys) = match &event.kind {
            Kind::ContactScored(contact) => (contact.job_id.as_deref(), contact.keys()),
            Kind::JobCompleted(_) => (None, Vec::new()),
        };
        Self {
            delivery_id: event.id.to_string(),
            digest: event.digest(),
            claimed_by: Uuid::new_v4().simple().to_string(),
            lease_ends_ms,
            job_id: job_id
                .filter(|id| id.len() <= MAX_JOB_ID)
                .map(str::to_owned),
            contact_keys,
        }
    }
}

impl Lease {
    /// The id of the delivery.
    #[must_use]
    pub fn delivery_id(&self) -> &str {
        &self.claimed.delivery_id
    }

    /// Turns the lease into the completion mark of its event, which must be durable.
    pub fn into_completion(self) -> Completion {
        Completion {
            claimed: self.claimed,
        }
    }

    /// Whether the claim replaced one whose lease was over, that of an invocation that died or could not
    /// release it. Not known if the answer to the write was lost and the SDK repeated it.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.taken_over
    }

    /// The time that is left at `now_ms` (Unix milliseconds); zero once the lease is over.
    #[must_use]
    pub fn left(&self, now_ms: i64) -> Duration {
        let left_ms = u64::try_from(self.claimed.lease_ends_ms.saturating_sub(now_ms)).unwrap_or(0);
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
    /// When the table does not answer, or holds a record that this program did not write. The claim may
    /// have been written all the same; it then ends with its lease.
    pub async fn claim(
        &self,
        event: &Event<'_>,
        now_ms: i64,
        lease_ends_ms: i64,
    ) -> Result<Claim, DeliveriesError> {
        let claimed = Claimed::new(event, lease_ends_ms);
        let put = PutItemInput::builder()
            .table_name(&self.table)
            .set_item(Some(self.record(claimed.clone(), IN_PROGRESS, now_ms)))
            .condition_expression(CLAIMABLE)
            .expression_attribute_names("#status", STATUS)
            .set_expression_attribute_values(Some(attributes([
                (":now_s", number(now_ms / 1000)),
                (":now_ms", number(now_ms)),
                (":in_progress", text(IN_PROGRESS)),
            ])))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()?;
        match self.dynamodb.put_item.call(put).await {
            Ok(replaced) => {
                let replaced = replaced.attributes().and_then(|record| record.get(STATUS));
                let taken_over = replaced == Some(&text(IN_PROGRESS));
                Ok(Claim::Granted(Lease {
                    claimed,
                    taken_over,
                }))
            }
            Err(error) => match error.service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    claimed.against(failed.item())
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Marks the delivery completed. Unconditional: the event is already durable, whoever owns the claim.
    /// It replaces the record, since an update of one that was released meanwhile would leave a record
    /// without an expiration.
    ///
    /// # Errors
    ///
    /// When the record could not be written. The event itself is durable.
    pub async fn complete(
        &self,
        completion: Completion,
        now_ms: i64,
    ) -> Result<(), DeliveriesError> {
        let put = PutItemInput::builder()
            .table_name(&self.table)
            .set_item(Some(self.record(completion.claimed, COMPLETED, now_ms)))
            .build()?;
        self.dynamodb.put_item.call(put).await?;
        Ok(())
    }

    /// Releases the claim, so that the next attempt need not wait for the lease to end. Conditional on
    /// the record's being the claim's own and in progress, since another invocation may have completed
    /// the delivery.
    ///
    /// # Errors
    ///
    /// When the record could not be deleted. The claim then ends with its lease.
    pub async fn release(&self, lease: &Lease) -> Result<(), DeliveriesError> {
        let delete = DeleteItemInput::builder()
            .table_name(&self.table)
            .key(DELIVERY_ID, text(&lease.claimed.delivery_id))
            .condition_expression("claimed_by = :us AND #status = :in_progress")
            .expression_attribute_names("#status", STATUS)
            .set_expression_attribute_values(Some(attributes([
                (":us", text(&lease.claimed.claimed_by)),
                (":in_progress", text(IN_PROGRESS)),
            ])))
            .build()?;
        match self.dynamodb.delete_item.call(delete).await {
            Ok(_) => Ok(()),
            Err(error) => match error.service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(error.into()),
            },
        }
    }

    fn record(&self, claimed: Claimed, status: &str, now_ms: i64) -> Item {
        let retention_s = i64::try_from(self.retention.as_secs()).unwrap_or(i64::MAX);
        let expiration = (now_ms / 1000).saturating_add(retention_s);
        let mut record = attributes([
            (DELIVERY_ID, AttributeValue::S(claimed.delivery_id)),
            (STATUS, text(status)),
            (IN_PROGRESS_EXPIRATION, number(claimed.lease_ends_ms)),
            (EXPIRATION, number(expiration)),
            (CLAIMED_BY, AttributeValue::S(claimed.claimed_by)),
            (VALIDATION, AttributeValue::S(claimed.digest)),
        ]);
        if let Some(job_id) = claimed.job_id {
            record.insert(JOB_ID.to_owned(), AttributeValue::S(job_id));
        }
        if !claimed.contact_keys.is_empty() {
            let keys = AttributeValue::Ss(claimed.contact_keys);
            record.insert(CONTACT_KEYS.to_owned(), keys);
        }
        record
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

/// Condition expression of a claim: there is no record; or it has expired, but TTL, which lags by days,
/// has not deleted it yet; or it is in progress and its lease is over.
///
/// `status` is the only reserved word among the attributes. The others need no placeholder, which
/// would be hashed and signed with every claim.
const CLAIMABLE: &str = "attribute_not_exists(delivery_id) \
    OR expiration < :now_s \
    OR (#status = :in_progress AND in_progress_expiration < :now_ms)";

impl Claimed {
    /// The result of this claim when `record` failed its condition.
    fn against(self, record: Option<&Item>) -> Result<Claim, DeliveriesError> {
        let attribute = |name: &str| record?.get(name)?.as_s().ok().map(String::as_str);
        // The SDK repeated the write because the answer to it was lost: the record is this claim's own.
        if attribute(CLAIMED_BY) == Some(&self.claimed_by) {
            return Ok(Claim::Granted(Lease {
                claimed: self,
                taken_over: false,
            }));
        }
        let lease_ends_ms = record
            .and_then(|record| record.get(IN_PROGRESS_EXPIRATION)?.as_n().ok())
            .and_then(|number| number.parse().ok());
        match (attribute(STATUS), lease_ends_ms) {
            (Some(COMPLETED), _) => Ok(Claim::Completed {
                same_event: attribute(VALIDATION).is_none_or(|digest| digest == self.digest),
            }),
            (Some(IN_PROGRESS), Some(lease_ends_ms)) => Ok(Claim::InFlight { lease_ends_ms }),
            _ => Err(DeliveriesError::UnknownRecord),
        }
    }
}

/// Why the deliveries table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DeliveriesError {
    /// A record could not be written.
    #[error(transparent)]
    Put(#[from] CallError<PutItemError>),
    /// A record could not be deleted.
    #[error(transparent)]
    Delete(#[from] CallError<DeleteItemError>),
    /// The SDK does not take the request.
    #[error(transparent)]
    Request(#[from] BuildError),
    /// The table holds a record that this program did not write, so its meaning is unknown.
    #[error("the table holds a record of unknown form under this delivery id")]
    UnknownRecord,
}
