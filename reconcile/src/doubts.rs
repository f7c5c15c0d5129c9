//! Reasons why the result of matching a job may be wrong.

use std::time::Duration;

use crate::matching::MatchResult;

/// A reason why missing contacts may have been received, or unscored ones may be missing.
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
    /// TitanX's list may not show scores, so that the unscored contacts may be missing: no contact of
    /// the list has a score, or this many received ones have none.
    ScoresNotShown {
        /// The number of contacts without a score that were received.
        received: usize,
    },
}

/// The doubts about the missing and unscored contacts of a job that was completed at `completed_at`, at `now_ms`
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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;

    fn found(completed_at: Option<i64>, counts: [usize; 5]) -> Vec<Doubt> {
        let [
            missing,
            unmatched_records,
            scored,
            unscored,
            received_unscored,
        ] = counts;
        let contact = serde_json::value::RawValue::from_string("{}".to_owned()).unwrap();
        let missing = (0..missing).map(|ordinal| crate::matching::MissingContact {
            contact: &contact,
            keys: Vec::new(),
            ordinal,
        });
        let result = MatchResult {
            missing: missing.collect(),
            without_job: 0,
            unmatched_records,
            scored,
            unscored,
            received_unscored,
        };
        let retention = Duration::from_hours(7 * 24);
        doubts(completed_at, 100 * DAY_MS, retention, &result)
    }

    #[test]
    fn the_age_of_a_job_is_a_doubt_about_missing_contacts_only() {
        let old = 93 * DAY_MS - 1;
        let expired = Doubt::RecordsExpired { completed_at: old };
        assert_eq!(found(Some(old), [1, 0, 1, 0, 0]), [expired]);
        assert_eq!(found(Some(93 * DAY_MS), [1, 0, 1, 0, 0]), []);
        assert_eq!(found(None, [1, 0, 1, 0, 0]), [Doubt::AgeUnknown]);
        assert_eq!(found(None, [0, 2, 1, 0, 0]), []);
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
