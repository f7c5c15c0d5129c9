//! The answer table: the one place where outcomes become HTTP status codes.

use crate::{error::Error, gateway::Answer};

/// What a 2xx acknowledges. It is durable before the answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// The contact is on its queue, or the job is marked completed.
    Accepted,
    /// An earlier delivery of the same event was accepted.
    Duplicate,
    /// The delivery was signed but not understood, and is in quarantine.
    Quarantined,
}

/// `Retry-After` for a failure of unknown length, in seconds.
const RETRY_AFTER_FAILURE: u64 = 5;

/// The answer for an outcome. TitanX drops an event for good on any 4xx other than 408 and 429, so
/// only an invalid signature and an event that no message can hold are answered with one.
#[must_use]
pub fn answer(outcome: &Result<Receipt, Error>, now_ms: i64) -> Answer {
    let (status, body, retry_after) = match outcome {
        Ok(Receipt::Accepted) => (200, r#"{"received": true}"#, None),
        Ok(Receipt::Duplicate) => (200, r#"{"received": true, "duplicate": true}"#, None),
        Ok(Receipt::Quarantined) => (200, r#"{"received": true, "quarantined": true}"#, None),
        Err(Error::InvalidSignature) => (401, r#"{"error": "Invalid signature"}"#, None),
        Err(Error::TooLarge(_)) => (413, r#"{"error": "Too large"}"#, None),
        Err(Error::UnknownSignature { retry_at_ms }) => (
            429,
            r#"{"error": "Signature not recognised yet"}"#,
            Some(seconds_until(*retry_at_ms, now_ms)),
        ),
        Err(Error::InFlight { lease_ends_ms }) => (
            429,
            r#"{"error": "Already in progress"}"#,
            Some(seconds_until(*lease_ends_ms, now_ms)),
        ),
        Err(Error::Unavailable(_) | Error::Panicked) => (
            503,
            r#"{"error": "Unavailable"}"#,
            Some(RETRY_AFTER_FAILURE),
        ),
    };
    Answer {
        status,
        body,
        retry_after,
    }
}

/// Whole seconds until `end_ms`, rounded up so that the lease is over by then; at least one.
fn seconds_until(end_ms: i64, now_ms: i64) -> u64 {
    let left_ms = u64::try_from(end_ms.saturating_sub(now_ms)).unwrap_or(0);
    left_ms.div_ceil(1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{BudgetSpent, Step, Unavailable};

    #[test]
    fn a_lease_is_waited_for_in_whole_seconds_rounded_up() {
        let retry_after = |lease_ends_ms, now_ms| {
            answer(&Err(Error::InFlight { lease_ends_ms }), now_ms).retry_after
        };
        assert_eq!(retry_after(10_001, 1_000), Some(10));
        assert_eq!(retry_after(10_000, 1_000), Some(9));
        assert_eq!(retry_after(1_000, 1_000), Some(1));
        assert_eq!(retry_after(0, i64::MAX), Some(1));
        assert_eq!(retry_after(i64::MAX, i64::MIN), Some(9_223_372_036_854_776));
    }

    #[test]
    fn every_body_is_json_and_says_the_same_as_the_status() {
        let unavailable = Unavailable::new(Step::Claim, BudgetSpent);
        let outcomes = [
            Ok(Receipt::Accepted),
            Ok(Receipt::Duplicate),
            Ok(Receipt::Quarantined),
            Err(Error::InvalidSignature),
            Err(Error::UnknownSignature { retry_at_ms: 1 }),
            Err(Error::InFlight { lease_ends_ms: 1 }),
            Err(Error::TooLarge(crate::queue::TooLarge)),
            Err(Error::Unavailable(unavailable)),
            Err(Error::Panicked),
        ];
        for outcome in outcomes {
            let Answer { status, body, .. } = answer(&outcome, 0);
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body.get("received").is_some(), status == 200, "{outcome:?}");
            assert_eq!(body.get("error").is_some(), status != 200, "{outcome:?}");
        }
    }
}
