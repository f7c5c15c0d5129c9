//! Reasons why the result of matching a job may be wrong.

use std::time::Duration;

use crate::matching::MatchResult;

/// A reason why missing contacts may have been received, or unscored ones may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Contacts of the job may have been delivered longer ago than the retention, so their records may be
    /// deleted.
    RecordsExpired {
        /// Since when they may have been delivered, in Unix milliseconds.
        since: i64,
    },
    /// The age of the job is unknown, so records of its contacts may be deleted.
    AgeUnknown,
    /// Records of the job match none of its contacts at TitanX: the two sides may use other ids.
    UnmatchedRecords(usize),
    /// TitanX's list may not show scores, so that the unscored contacts may be missing: no contact of
    /// the list has a score, or this many received ones have none.
    ScoresNotShown {
        /// The number of contacts without a score that were received.
        received: usize,
    },
}

/// How long before its completion a job's contacts are assumed to be delivered, if nobody tells when it
/// was created.
const LONGEST_JOB: Duration = Duration::from_hours(24);

/// Since when contacts of a job may have been delivered, in Unix milliseconds as both times.
#[must_use]
pub fn delivered_since(created_at: Option<i64>, completed_at: Option<i64>) -> Option<i64> {
    let longest_ms = i64::try_from(LONGEST_JOB.as_millis()).unwrap_or(i64::MAX);
    created_at.or(completed_at.map(|at| at.saturating_sub(longest_ms)))
}

/// The doubts about the missing and unscored contacts of a job, at `now_ms` (Unix milliseconds). Its contacts
/// may have been delivered `since`, and the deliveries table keeps a record for `retention`.
#[must_use]
pub fn doubts(
    since: Option<i64>,
    now_ms: i64,
    retention: Duration,
    result: &MatchResult,
) -> Vec<Doubt> {
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let age = match since {
        Some(since) if since < now_ms.saturating_sub(retention_ms) => {
            Some(Doubt::RecordsExpired { since })
        }
        Some(_) => None,
        None => Some(Doubt::AgeUnknown),
    };
    let unmatched = result.unmatched_records;
    let unmatched = (unmatched > 0).then_some(Doubt::UnmatchedRecords(unmatched));
    let received = result.received_unscored;
    let shows_scores = result.scored > 0 && received == 0;
    let scores =
        (result.unscored > 0 && !shows_scores).then_some(Doubt::ScoresNotShown { received });
    let about_missing = age.into_iter().chain(unmatched);
    about_missing
        .filter(|_| !result.missing.is_empty())
        .chain(scores)
        .collect()
}

impl Doubt {
    /// Its name in a job's record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RecordsExpired { .. } => "records_expired",
            Self::AgeUnknown => "age_unknown",
            Self::UnmatchedRecords(_) => "unmatched_records",
            Self::ScoresNotShown { .. } => "scores_not_shown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;

    fn found(since: Option<i64>, counts: [usize; 5]) -> Vec<Doubt> {
        let [
            missing,
            unmatched_records,
            scored,
            unscored,
            received_unscored,
        ] = counts;
        let missing = (0..missing).map(|ordinal| crate::matching::MissingContact {
            index: ordinal,
            ordinal,
            delivery_id: None,
        });
        let result = MatchResult {
            missing: missing.collect(),
            unmatched_records,
            scored,
            unscored,
            received_unscored,
            ..MatchResult::default()
        };
        let retention = Duration::from_hours(7 * 24);
        doubts(since, 100 * DAY_MS, retention, &result)
    }

    #[test]
    fn the_age_of_a_job_is_a_doubt_about_missing_contacts_only() {
        let old = 93 * DAY_MS - 1;
        let expired = Doubt::RecordsExpired { since: old };
        assert_eq!(found(Some(old), [1, 0, 1, 0, 0]), [expired]);
        assert_eq!(found(Some(93 * DAY_MS), [1, 0, 1, 0, 0]), []);
        assert_eq!(found(None, [1, 0, 1, 0, 0]), [Doubt::AgeUnknown]);
        assert_eq!(found(None, [0, 2, 1, 0, 0]), []);
    }

    #[test]
    fn contacts_may_have_been_delivered_since_the_creation_of_the_job() {
        assert_eq!(
            delivered_since(Some(5 * DAY_MS), Some(7 * DAY_MS)),
            Some(5 * DAY_MS)
        );
        assert_eq!(delivered_since(None, Some(7 * DAY_MS)), Some(6 * DAY_MS));
        assert_eq!(delivered_since(None, None), None);
    }

    #[test]
    fn records_that_match_nothing_are_a_doubt() {
        let now = Some(100 * DAY_MS);
        assert_eq!(found(now, [1, 2, 1, 0, 0]), [Doubt::UnmatchedRecords(2)]);
    }

    #[test]
    fn a_list_without_scores_is_a_doubt_about_unscored_contacts() {
        let not_shown = |received| Doubt::ScoresNotShown { received };
        let now = Some(100 * DAY_MS);
        // No score at all; some scores, but none of a contact that was received.
        assert_eq!(found(now, [0, 0, 0, 3, 0]), [not_shown(0)]);
        assert_eq!(found(now, [0, 0, 2, 3, 1]), [not_shown(1)]);
        assert_eq!(found(now, [1, 0, 2, 3, 0]), []);
        // Every contact was received, so it does not matter.
        assert_eq!(found(now, [0, 0, 0, 0, 3]), []);
    }
}
