//! Applies a contact, once.
//!
//! The effect and the mark that it was done are one transaction. With two writes, a process that is
//! killed in between would leave an effect without a mark, which the next message repeats, or a mark
//! without an effect, which nobody makes up for.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Put, TransactWriteItem, Update},
};

use crate::contact::Contact;

/// For how long a delivery is remembered. A message lives for 14 days in its queue and for what is left of
/// them in the dead-letter queue; `operator quarantine redrive` can send a delivery for 14 days more.
const REMEMBERED_SECONDS: u64 = 60 * 24 * 60 * 60;

/// The consumer's own tables.
pub(crate) struct Store {
    pub(crate) dynamodb: Client,
    /// The deliveries that were applied.
    pub(crate) applied: String,
    /// The contacts, and how often each was scored.
    pub(crate) contacts: String,
}

/// What became of a contact that was applied.
pub(crate) enum Outcome {
    Applied,
    /// By an earlier message of the same delivery.
    AppliedBefore,
    /// The stored contact has newer values, which stay.
    Older,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::AppliedBefore => "a second message, applied before",
            Self::Older => "applied, older than what is stored",
        })
    }
}

/// DynamoDB refused or did not answer. The next attempt may succeed.
#[derive(Debug, thiserror::Error)]
#[error("DynamoDB: {0}")]
pub(crate) struct NotApplied(String);

impl Store {
    pub(crate) async fn apply(&self, contact: &Contact) -> Result<Outcome, NotApplied> {
        match self.write(contact, true).await? {
            Written::Yes => Ok(Outcome::Applied),
            Written::AppliedBefore => Ok(Outcome::AppliedBefore),
            // Counted all the same, without its values.
            Written::Older => match self.write(contact, false).await? {
                Written::AppliedBefore => Ok(Outcome::AppliedBefore),
                Written::Yes | Written::Older => Ok(Outcome::Older),
            },
        }
    }

    async fn write(&self, contact: &Contact, values: bool) -> Result<Written, NotApplied> {
        let update = if values {
            self.update(contact)
        } else {
            self.count(contact)
        };
        let written = self
            .dynamodb
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(self.mark(contact)).build())
            .transact_items(TransactWriteItem::builder().update(update).build())
            .send()
            .await;
        match written {
            Ok(_) => Ok(Written::Yes),
            Err(error) => Written::cancelled(&error),
        }
    }

    /// Succeeds for the first message of a delivery only.
    fn mark(&self, contact: &Contact) -> Put {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let expiration = now.map_or(0, |it| it.as_secs()) + REMEMBERED_SECONDS;
        Put::builder()
            .table_name(&self.applied)
            .item(
                "delivery_id",
                AttributeValue::S(contact.delivery_id.clone()),
            )
            .item("expiration", AttributeValue::N(expiration.to_string()))
            .condition_expression("attribute_not_exists(delivery_id)")
            .build()
            .expect("all required members are set")
    }

    /// The effect: the values of the contact, and one more scoring.
    fn update(&self, contact: &Contact) -> Update {
        let mut set = "SET scored_at = :scored_at".to_owned();
        let mut update = Update::builder()
            .table_name(&self.contacts)
            .key("contact_id", AttributeValue::S(contact.id.clone()))
            .condition_expression("attribute_not_exists(scored_at) OR scored_at <= :scored_at")
            .expression_attribute_values(
                ":scored_at",
                AttributeValue::N(contact.scored_at.to_string()),
            )
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        for (name, value) in &contact.fields {
            set.extend([", ", name, " = :", name]);
            update = update
                .expression_attribute_values(format!(":{name}"), AttributeValue::S(value.clone()));
        }
        update
            .update_expression(set + " ADD scorings :one")
            .build()
            .expect("all required members are set")
    }

    /// The effect of a contact that comes after a newer one.
    fn count(&self, contact: &Contact) -> Update {
        Update::builder()
            .table_name(&self.contacts)
            .key("contact_id", AttributeValue::S(contact.id.clone()))
            .update_expression("ADD scorings :one")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .build()
            .expect("all required members are set")
    }
}

/// The result of a transaction.
enum Written {
    Yes,
    AppliedBefore,
    Older,
}

impl Written {
    /// Which condition failed, if it was one. A conflict with another transaction is an error like any
    /// other: SQS delivers the message again.
    fn cancelled(error: &SdkError<TransactWriteItemsError>) -> Result<Self, NotApplied> {
        let failed = |code: Option<&str>| code == Some("ConditionalCheckFailed");
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            error.as_service_error()
        {
            match cancelled.cancellation_reasons() {
                [mark, _] if failed(mark.code()) => return Ok(Self::AppliedBefore),
                [_, update] if failed(update.code()) => return Ok(Self::Older),
                _ => {}
            }
        }
        // Not the message of the error, which may hold values.
        let code = error.as_service_error().and_then(|it| it.meta().code());
        Err(NotApplied(code.unwrap_or("no answer").to_owned()))
    }
}
