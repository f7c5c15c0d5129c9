//! Reasons why contacts that look missing may have been received.

use std::time::Duration;

use crate::matching::MatchResult;

/// A reason why some missing contacts of a job may have been received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The job is older than the retention, so records of its contacts may be deleted.
    RecordsExpired {
        /// When the job was completed, in Unix milliseconds.
        completed_at: i64,
    },
    /// The age of the job is unknown, so records of its contacts may be deleted.
    AgeUnknown,
    /// Records of the job match none of its contacts at TitanX: the two sides may use other ids.
    UnmatchedRecords(usize),
}

/// The doubts about the missing contacts of a job that was completed at `completed_at`, at `now_ms`
/// (both Unix milliseconds). The deliveries table keeps a record for `retention`.
#[must_use]
pub fn doubts(
    completed_at: Option<i64>,
    now_ms: i64,
    retention: Duration,
    result: &MatchResult<'_>,
) -> Vec<Doubt> {
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let age = match completed_at {
        Some(completed_at) if completed_at < now_ms.saturating_sub(retention_ms) => {
            Some(Doubt::RecordsExpired { completed_at })
        }
        Some(_) => None,
        None => Some(Doubt::AgeUnknown),
    };
    let unmatched = result.unmatched_records;
    let unmatched = (unmatched > 0).then_some(Doubt::UnmatchedRecords(unmatched));
    age.into_iter().chain(unmatched).collect()
}
