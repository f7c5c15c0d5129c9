//! Why a run failed.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::SdkError;
use titanx_reconcile::{backfill::BackfillError, delivery_records::ScanError};

/// Why a run failed. The next run continues where this one was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table of checks cannot be read or written.
    #[error("cannot use the table of checks")]
    Checks(#[source] Box<dyn StdError + Send + Sync>),
    /// The jobs table cannot be read or written.
    #[error("cannot use the jobs table")]
    Jobs(#[source] Box<dyn StdError + Send + Sync>),
    /// The deliveries table cannot be read.
    #[error("cannot scan the deliveries table")]
    Deliveries(#[from] ScanError),
    /// A run's time is not enough for a scan of the deliveries table.
    #[error("a run is too short for a scan of the deliveries table: raise HealerMemorySize")]
    ScanTooSlow,
    /// TitanX does not accept the API key. The client's own advice is for whoever has the key in the environment, so it
    /// is left out.
    #[error("TitanX does not accept the API key: store another one ({})", answer(.0))]
    ApiKey(titanx_client::Error),
    /// A job that TitanX lists cannot be marked completed.
    #[error("cannot mark a job completed")]
    CompleteJob(#[source] BackfillError),
    /// An item of the table of checks is of another version.
    #[error("an item of the table of checks is of unknown form: {0}")]
    UnknownItem(String),
    /// Another run has taken the round over.
    #[error("another run has taken the round over")]
    RoundLost,
}

/// What TitanX answered to which request.
fn answer(error: &titanx_client::Error) -> String {
    match error {
        titanx_client::Error::ApiKey {
            request,
            status,
            message,
        } => format!("{request}: TitanX answered {status}{message}"),
        other => other.to_string(),
    }
}

impl Error {
    pub(crate) fn checks<E: StdError + Send + Sync + 'static>(error: SdkError<E>) -> Self {
        Self::Checks(Box::new(error))
    }

    pub(crate) fn jobs<E: StdError + Send + Sync + 'static>(error: SdkError<E>) -> Self {
        Self::Jobs(Box::new(error))
    }
}
