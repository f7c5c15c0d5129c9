//! The jobs table: which jobs are finished. One record a job, never deleted, so that a user
//! interface or a pipe can follow the table's stream.

use std::{collections::BTreeMap, fmt::Write};

use crate::{
    aws::{
        Done, Service,
        dynamodb::{Condition, OnFailure, UpdateItem, condition_failed, number, text},
    },
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
    dynamodb: Service,
    table: String,
}

impl Jobs {
    /// The table called `table`.
    #[must_use]
    pub fn new(dynamodb: Service, table: String) -> Self {
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
        let mut update_expression = String::from("SET #completed_at = :completed_at");
        let mut names = BTreeMap::from([("#completed_at", COMPLETED_AT)]);
        let mut values = BTreeMap::from([(":completed_at", number(event.timestamp_ms))]);
        for (name_placeholder, placeholder, name, value) in attributes {
            let Some(value) = value else { continue };
            write!(update_expression, ", {name_placeholder} = {placeholder}")
                .expect("a String grows");
            names.insert(name_placeholder, name);
            values.insert(placeholder, text(value));
        }
        let update = UpdateItem {
            table_name: &self.table,
            key: BTreeMap::from([(JOB_ID, text(job.job_id.as_ref()))]),
            update_expression,
            condition: Condition {
                expression: "attribute_not_exists(#completed_at) OR #completed_at <= :completed_at",
                names,
                values,
                on_failure: OnFailure::Nothing,
            },
        };
        match self.dynamodb.call("UpdateItem", &update).await {
            Ok(Done {}) => Ok(()),
            // The record was made by a newer event.
            Err(error) if condition_failed(&error).is_some() => Ok(()),
            Err(error) => Err(Unavailable::new(Step::MarkDone, error)),
        }
    }
}
