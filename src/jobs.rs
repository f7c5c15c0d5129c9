//! The jobs table: one record for each completed job. Records do not expire, and the table has a stream
//! that a user interface or a pipe can follow.

use std::fmt::Write;

use aws_sdk_dynamodb::{
    operation::update_item::{UpdateItemError, UpdateItemInput},
    types::AttributeValue,
};
use aws_smithy_types::error::operation::BuildError;

use crate::{
    aws::{CallError, DynamoDb},
    event::{CompletedJob, Event},
};

/// The table's key attribute.
pub const JOB_ID: &str = "job_id";
/// The job's name, where TitanX gives one.
pub const NAME: &str = "name";
/// The job's type, for example `scoring`.
pub const TYPE: &str = "type";
/// The status that TitanX gives the job, verbatim.
pub const STATUS: &str = "status";
/// When TitanX last changed the job (ISO 8601, verbatim).
pub const MODIFIED_AT: &str = "modified_at";
/// The event's timestamp, in Unix milliseconds.
pub const COMPLETED_AT: &str = "completed_at";
/// The delivery that reported it.
pub const DELIVERY_ID: &str = "delivery_id";

/// The table of jobs.
#[derive(Debug, Clone)]
pub struct Jobs {
    dynamodb: DynamoDb,
    table: String,
}

impl Jobs {
    /// The table called `table`.
    #[must_use]
    pub fn new(dynamodb: DynamoDb, table: String) -> Self {
        Self { dynamodb, table }
    }

    /// Marks `job` completed, as `event` reports it. The job need not be known before. A record of a newer
    /// event is left as it is, and that is a success.
    ///
    /// # Errors
    ///
    /// When DynamoDB refuses, fails or does not answer. The record may have been written all the same;
    /// repeating the call is safe.
    pub async fn mark_completed(
        &self,
        job: &CompletedJob<'_>,
        event: &Event<'_>,
    ) -> Result<(), JobsError> {
        let attributes = [
            ("#name", ":name", NAME, job.job_name.as_deref()),
            ("#type", ":type", TYPE, job.job_type.as_deref()),
            ("#status", ":status", STATUS, job.job_status.as_deref()),
            (
                "#modified_at",
                ":modified_at",
                MODIFIED_AT,
                job.modified_at.as_deref(),
            ),
            (
                "#delivery_id",
                ":delivery_id",
                DELIVERY_ID,
                Some(event.id.as_str()),
            ),
        ];
        let mut update = UpdateItemInput::builder()
            .table_name(&self.table)
            .key(JOB_ID, AttributeValue::S(job.job_id.to_string()))
            .condition_expression(
                "attribute_not_exists(#completed_at) OR #completed_at <= :completed_at",
            )
            .expression_attribute_names("#completed_at", COMPLETED_AT)
            .expression_attribute_values(
                ":completed_at",
                AttributeValue::N(event.timestamp_ms.to_string()),
            );
        let mut expression = String::from("SET #completed_at = :completed_at");
        for (name_placeholder, placeholder, name, value) in attributes {
            let Some(value) = value else { continue };
            write!(expression, ", {name_placeholder} = {placeholder}").expect("a String grows");
            update = update
                .expression_attribute_names(name_placeholder, name)
                .expression_attribute_values(placeholder, AttributeValue::S(value.to_owned()));
        }
        let update = update.update_expression(expression).build()?;
        match self.dynamodb.update_item.call(update).await {
            Ok(_) => Ok(()),
            Err(error) => match error.service_error() {
                // The record is of a newer event.
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(error.into()),
            },
        }
    }
}

/// Why a job's record could not be written.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// DynamoDB refused, failed or did not answer.
    #[error(transparent)]
    Update(#[from] CallError<UpdateItemError>),
    /// The SDK does not take the request.
    #[error(transparent)]
    Request(#[from] BuildError),
}
