//! What a healer is set to.

use std::time::Duration;

use titanx_client::PagingParameters;

/// TitanX retries for 72 hours. A contact that it delivers after its backfill arrives twice, under two
/// ids.
pub const DEFAULT_DELAY: Duration = Duration::from_hours(73);
/// Each round scans the deliveries table once.
pub const DEFAULT_ROUND: Duration = Duration::from_hours(24);

/// The settings of a healer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long after its completion a job is due.
    pub delay: Duration,
    /// The least time between the beginnings of two rounds, if the first has left no job.
    pub round: Duration,
    /// How long the deliveries table keeps a record.
    pub retention: Duration,
    /// How TitanX's lists are read.
    pub paging: PagingParameters,
    /// Contacts after which a round takes no further job.
    pub max_contacts: u64,
    /// Reads and compares, but neither writes nor queues anything.
    pub dry_run: bool,
}

impl Settings {
    /// The defaults, for a table that keeps records for `retention`.
    #[must_use]
    pub fn new(retention: Duration) -> Self {
        Self {
            delay: DEFAULT_DELAY,
            round: DEFAULT_ROUND,
            retention,
            paging: PagingParameters::default(),
            max_contacts: 1_000_000,
            dry_run: false,
        }
    }
}

/// A duration in milliseconds.
pub(crate) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
