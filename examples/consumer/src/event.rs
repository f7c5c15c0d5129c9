//! What Lambda hands over and takes back: a batch of SQS messages, and those of them that failed.
//!
//! The types of `aws_lambda_events` would do as well, with `SqsEvent` and never with `SqsEventObj<T>`: the
//! latter refuses a whole batch for one body that does not fit `T`. They bring some thirty packages.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// A batch of messages.
#[derive(Debug, Deserialize)]
pub(crate) struct Batch {
    #[serde(rename = "Records")]
    pub(crate) records: Vec<Message>,
}

/// A message. Only what Lambda needs to deliver it again is required.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_field_names,
    reason = "the event's own names, in snake case"
)]
pub(crate) struct Message {
    pub(crate) message_id: String,
    pub(crate) body: Option<String>,
    /// The system's attributes.
    pub(crate) attributes: Option<HashMap<String, String>>,
    pub(crate) message_attributes: Option<HashMap<String, Attribute>>,
    #[serde(rename = "eventSourceARN")]
    pub(crate) event_source_arn: Option<String>,
}

/// An attribute of the message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attribute {
    pub(crate) string_value: Option<String>,
}

/// The messages that SQS is to deliver again. It deletes all others.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    pub(crate) batch_item_failures: Vec<Failed>,
}

/// A message that failed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failed {
    /// Its message id.
    pub(crate) item_identifier: String,
}
