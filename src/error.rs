//! Why a delivery is not accepted.

use std::{error::Error as StdError, fmt};

use crate::{
    budget::Unavailable,
    queue::{QueueError, TooLarge},
};

/// Why a delivery is not accepted. [`crate::answer`] says what each is answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The signature is missing or malformed, or for certain none of the live secrets made it.
    #[error("the signature is missing, malformed or wrong")]
    InvalidSignature,
    /// No known secret made the signature, but the secrets may have changed since they were read, and
    /// they cannot be read again before the given Unix milliseconds.
    #[error("no known webhook secret made the signature, and the secrets cannot be read again yet")]
    UnknownSignature {
        /// When they can be read again.
        retry_at_ms: i64,
    },
    /// Another invocation holds the delivery, until the given Unix milliseconds at the latest.
    #[error("another invocation holds this delivery")]
    InFlight {
        /// When its lease ends.
        lease_ends_ms: i64,
    },
    /// No SQS message can hold the body.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// A step failed, or its service did not answer in time.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A bug, which another attempt may not run into.
    #[error("the handling of the delivery panicked")]
    Panicked,
}

impl Error {
    /// The error of a step that sends a message. A queue that refuses the message for its size will do so
    /// again, so that is no reason to retry.
    #[must_use]
    pub fn of_a_message(error: Unavailable) -> Self {
        match error.source.downcast_ref() {
            Some(QueueError::TooLarge(_)) => Self::TooLarge(TooLarge),
            _ => Self::Unavailable(error),
        }
    }
}

/// Displays an error with all its sources on one line, which `Display` of the SDK's errors does not.
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{BudgetSpent, Step};

    #[test]
    fn an_error_is_printed_with_all_its_causes() {
        let cause = Unavailable::new(Step::LoadSecrets, BudgetSpent);
        let error = Error::Unavailable(Unavailable::new(Step::Claim, cause));
        assert_eq!(
            Chain(&error).to_string(),
            "cannot claim the delivery: cannot load the webhook secrets: \
             no time is left in this invocation"
        );
    }
}
