//! The answer table: what every delivery is answered, whatever became of it.

use crate::{error::Error, gateway::Answer};

/// What a 2xx promises: it leaves only after this is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// The contact is on its queue, or the job is marked done.
    Accepted,
    /// An earlier delivery of the same event was accepted.
    Duplicate,
    /// It was signed, but not understood, and is kept in quarantine.
    Quarantined,
}

/// When TitanX may come again after a failure that says nothing of its own end, in seconds.
const RETRY_AFTER_FAILURE: u64 = 5;

/// The one place in which outcomes become status codes. TitanX drops an event for good on any 4xx
/// but 408 and 429, so no other failure than these two finals may ever be answered with one.
#[must_use]
pub fn answer(outcome: &Result<Receipt, Error>, now_ms: i64) -> Answer {
    let (status, body, retry_after) = match outcome {
        Ok(Receipt::Accepted) => (200, r#"{"received": true}"#, None),
        Ok(Receipt::Duplicate) => (200, r#"{"received": true, "duplicate": true}"#, None),
        Ok(Receipt::Quarantined) => (200, r#"{"received": true, "quarantined": true}"#, None),
        Err(Error::InvalidSignature) => (401, r#"{"error": "Invalid signature"}"#, None),
        Err(Error::TooLarge(_)) => (413, r#"{"error": "Too large"}"#, None),
        Err(Error::InFlight { lease_ends_ms }) => (
            429,
            r#"{"error": "Already in progress"}"#,
            Some(seconds_until(*lease_ends_ms, now_ms)),
        ),
        Err(Error::Unavailable(_)) => return unavailable(),
    };
    Answer {
        status,
        body,
        retry_after,
    }
}

/// The answer to everything that a later attempt may well survive, a panic included.
#[must_use]
pub fn unavailable() -> Answer {
    Answer {
        status: 503,
        body: r#"{"error": "Unavailable"}"#,
        retry_after: Some(RETRY_AFTER_FAILURE),
    }
}

/// Whole seconds, rounded up so that who waits them finds the lease over; at least one.
fn seconds_until(end_ms: i64, now_ms: i64) -> u64 {
    let left_ms = u64::try_from(end_ms.saturating_sub(now_ms)).unwrap_or(0);
    left_ms.div_ceil(1000).max(1)
}
