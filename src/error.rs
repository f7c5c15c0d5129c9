//! What can go wrong with a delivery.

use std::{error::Error as StdError, fmt};

use crate::queue::TooLarge;

/// Why a delivery was not taken. What each is answered stands in [`crate::answer`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The signature is missing, malformed or made with none of the live secrets.
    #[error("the signature is missing, malformed or wrong")]
    InvalidSignature,
    /// Another invocation holds the delivery, until the given Unix milliseconds at the latest.
    #[error("another invocation holds this delivery")]
    InFlight {
        /// When its lease ends.
        lease_ends_ms: i64,
    },
    /// No SQS message can hold the body, so it can be kept nowhere.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Something that is needed is down, slow or refusing.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The program has a fault, which another attempt may not meet.
    #[error("the handling of the delivery panicked")]
    Panicked,
}

/// A step that could not be taken now, and why.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct Unavailable {
    /// What was being done.
    pub step: Step,
    /// Why it failed.
    pub source: Box<dyn StdError + Send + Sync>,
}

impl Unavailable {
    /// `step` failed because of `source`.
    pub fn new(step: Step, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            step,
            source: source.into(),
        }
    }
}

/// The steps of a delivery that need another service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading the webhook secrets.
    LoadSecrets,
    /// Claiming the delivery id.
    Claim,
    /// Putting the contact on its queue.
    Send,
    /// Marking the job done.
    MarkDone,
    /// Putting what was not understood in quarantine.
    Park,
    /// Marking the delivery completed.
    Complete,
    /// Giving the claim back.
    Release,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::LoadSecrets => "cannot load the webhook secrets",
            Self::Claim => "cannot claim the delivery",
            Self::Send => "cannot send the contact",
            Self::MarkDone => "cannot mark the job done",
            Self::Park => "cannot put the delivery in quarantine",
            Self::Complete => "cannot mark the delivery completed",
            Self::Release => "cannot release the delivery",
        })
    }
}

/// The budget of the invocation is spent.
#[derive(Debug, thiserror::Error)]
#[error("no time is left for it in this invocation")]
pub struct BudgetSpent;

/// Prints an error with all its causes on one line, which the SDK's own errors do not.
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

    #[test]
    fn an_error_is_printed_with_all_its_causes() {
        let cause = Unavailable::new(Step::LoadSecrets, BudgetSpent);
        let error = Error::Unavailable(Unavailable::new(Step::Claim, cause));
        assert_eq!(
            Chain(&error).to_string(),
            "cannot claim the delivery: cannot load the webhook secrets: \
             no time is left for it in this invocation"
        );
    }

    #[test]
    fn every_step_is_told_from_the_others() {
        let steps = [
            Step::LoadSecrets,
            Step::Claim,
            Step::Send,
            Step::MarkDone,
            Step::Park,
            Step::Complete,
            Step::Release,
        ];
        let names: std::collections::HashSet<_> = steps.iter().map(Step::to_string).collect();
        assert_eq!(names.len(), steps.len());
    }
}
