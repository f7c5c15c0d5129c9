//! The jobs table: which jobs are finished. One record a job, never deleted, so that a user
//! interface or a pipe can follow the table's stream.

use std::fmt::Write;

use aws_sdk_dynamodb::{
    operation::update_item::{UpdateItemError, UpdateItemInput},
    types::AttributeValue,
};

use crate::{
    aws::DynamoDb,
    error::{Step, Unavailable},
    event::{Event, FinishedJob},
};

/// The table's key attribute.
pub const JOB_ID: &str = "job_id";
/// The job's name, where TitanX gives one.
pub const NAME: &str = "name";
/// The job's type, for example `scoring`.
pub const TYPE: &str = "type";
/// TitanX's own word for how the job ended.
pub const STATUS: &str = "status";
/// When TitanX last changed the job, as it writes it (ISO 8601).
pub const MODIFIED_AT: &str = "modified_at";
/// The event's timestamp, in Unix milliseconds.
pub const COMPLETED_AT: &str = "completed_at";
/// The delivery that told of it.
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

    /// Marks `job` done, as `event` tells it. A job never seen before is recorded all the same; a
    /// record made by a newer event stays as it is, which is success too.
    ///
    /// # Errors
    ///
    /// When the table cannot be written. It may have been all the same; to say it again is safe.
    pub async fn mark_done(
        &self,
        job: &FinishedJob<'_>,
        event: &Event<'_>,
    ) -> Result<(), Unavailable> {
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
        let update = update
            .update_expression(expression)
            .build()
            .map_err(|error| Unavailable::new(Step::MarkDone, error))?;
        match self.dynamodb.update_item.call(update).await {
            Ok(_) => Ok(()),
            Err(error) => match error.service_error() {
                // The record was made by a newer event.
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(Unavailable::new(Step::MarkDone, error)),
            },
        }
    }
}
