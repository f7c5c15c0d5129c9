//! The time that one invocation may spend, shared by all its steps.

use std::{
    error::Error as StdError,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::{Instant, timeout_at};

/// The most that one delivery may take. TitanX waits ten seconds, and the function's timeout is eight.
pub const BUDGET: Duration = Duration::from_secs(6);

/// Attempts of one call to AWS. Three that time out take half the budget, which leaves the other half to the
/// steps that follow.
pub const ATTEMPTS: u32 = 3;
/// Timeout of one attempt, connecting included.
pub const ATTEMPT_TIMEOUT: Duration = BUDGET.checked_div(2 * ATTEMPTS).expect("not by zero");

/// Time reserved for cleanup: releasing the claim and answering.
const CLEANUP: Duration = Duration::from_millis(750);

/// How long a lease outlives its invocation: a call may still be on its way, and clocks differ.
const LEASE_MARGIN_MS: i64 = 1_000;

/// The time of one invocation.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// When the invocation began, in Unix milliseconds.
    pub began_ms: i64,
    /// When a claim of this invocation expires, in Unix milliseconds: shortly after Lambda ends the
    /// invocation. So nobody takes over while it can still act, and nobody waits longer than needed.
    pub lease_ends_ms: i64,
    began: Instant,
    end: Instant,
}

/// The steps of a delivery that call another service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading the webhook secrets.
    LoadSecrets,
    /// Claiming the delivery id.
    Claim,
    /// Sending the contact to its queue.
    Send,
    /// Marking the job completed.
    CompleteJob,
    /// Sending the delivery to quarantine.
    Park,
    /// Marking the delivery completed.
    Complete,
    /// Releasing the claim.
    Release,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::LoadSecrets => "cannot load the webhook secrets",
            Self::Claim => "cannot claim the delivery",
            Self::Send => "cannot send the contact",
            Self::CompleteJob => "cannot mark the job completed",
            Self::Park => "cannot put the delivery in quarantine",
            Self::Complete => "cannot mark the delivery completed",
            Self::Release => "cannot release the delivery",
        })
    }
}

/// A step that failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct Unavailable {
    /// The step.
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

/// The budget of the invocation is spent.
#[derive(Debug, thiserror::Error)]
#[error("no time is left in this invocation")]
pub struct BudgetSpent;

impl Budget {
    /// Begins now, for an invocation that is cut off at `deadline_ms` (Unix milliseconds).
    #[must_use]
    pub fn begin(deadline_ms: u64) -> Self {
        let began_ms = now_ms();
        let deadline_ms = plausible(deadline_ms, began_ms);
        let left_ms = u64::try_from(deadline_ms.saturating_sub(began_ms)).unwrap_or(0);
        let left = Duration::from_millis(left_ms).saturating_sub(CLEANUP);
        let began = Instant::now();
        Self {
            began_ms,
            lease_ends_ms: deadline_ms.saturating_add(LEASE_MARGIN_MS),
            began,
            end: began + BUDGET.min(left),
        }
    }

    /// Runs `work`, which is `step`, until the budget is spent.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], which names the step: when `work` fails, or when no time is left for it. It
    /// may have taken effect in both cases.
    pub async fn spend<T, E>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Unavailable>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        run_until(self.end, step, work).await
    }

    /// Runs `work`, which is `step`, until no more is left than the time reserved for cleanup.
    ///
    /// # Errors
    ///
    /// As [`Self::spend`].
    pub async fn spend_before_cleanup<T, E>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Unavailable>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        run_until(self.end - CLEANUP, step, work).await
    }

    /// The time since the invocation began.
    #[must_use]
    pub fn spent(&self) -> Duration {
        self.began.elapsed()
    }

    /// The time that is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

async fn run_until<T, E>(
    end: Instant,
    step: Step,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Unavailable>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    // `timeout_at` polls the work once even after its end, which may be enough to send a request.
    if end <= Instant::now() {
        return Err(Unavailable::new(step, BudgetSpent));
    }
    match timeout_at(end, work).await {
        Ok(result) => result.map_err(|error| Unavailable::new(step, error)),
        Err(_elapsed) => Err(Unavailable::new(step, BudgetSpent)),
    }
}

/// The deadline, if it can be one. `cargo lambda watch` sends the number 600,000, which is no point in
/// time: whatever passed long before the invocation began is replaced by the function's usual timeout.
/// A deadline later than Lambda allows is cut to that, since a lease must end.
fn plausible(deadline_ms: u64, began_ms: i64) -> i64 {
    const LONG_MS: i64 = 60_000;
    const USUAL_TIMEOUT_MS: i64 = 8_000;
    const LONGEST_TIMEOUT_MS: i64 = 15 * 60 * 1_000;
    let deadline_ms = i64::try_from(deadline_ms).unwrap_or(i64::MAX);
    if deadline_ms < began_ms.saturating_sub(LONG_MS) {
        began_ms.saturating_add(USUAL_TIMEOUT_MS)
    } else {
        deadline_ms.min(began_ms.saturating_add(LONGEST_TIMEOUT_MS))
    }
}

/// The wall clock, in Unix milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_767_614_400_000;

    #[test]
    fn attempts_that_all_time_out_take_half_the_budget() {
        assert_eq!(ATTEMPTS * ATTEMPT_TIMEOUT, BUDGET / 2);
    }

    #[test]
    fn a_deadline_is_taken_as_it_is_even_if_it_just_passed() {
        for deadline_ms in [NOW_MS + 8_000, NOW_MS, NOW_MS - 1, NOW_MS - 60_000] {
            let given = u64::try_from(deadline_ms).unwrap();
            assert_eq!(plausible(given, NOW_MS), deadline_ms);
        }
        assert_eq!(plausible(u64::MAX, NOW_MS), NOW_MS + 900_000);
    }

    #[test]
    fn what_is_no_point_in_time_is_no_deadline() {
        for no_deadline_ms in [0, 600_000, 1_767_614_339_999] {
            assert_eq!(plausible(no_deadline_ms, NOW_MS), NOW_MS + 8_000);
        }
    }

    #[test]
    fn a_budget_and_a_lease_are_given_however_far_the_deadline_is_off() {
        for deadline_ms in [0, u64::MAX] {
            let budget = Budget::begin(deadline_ms);
            assert!(budget.end > Instant::now());
            assert!(budget.lease_ends_ms > now_ms());
        }
    }

    #[tokio::test]
    async fn once_the_budget_is_spent_nothing_is_even_begun() {
        let spent = Budget {
            end: Instant::now(),
            ..Budget::begin(0)
        };
        let mut begun = false;
        let work = async {
            begun = true;
            Ok::<_, BudgetSpent>(())
        };
        assert!(spent.spend(Step::Claim, work).await.is_err());
        assert!(!begun);
    }

    #[test]
    fn every_step_has_a_text_of_its_own() {
        let steps = [
            Step::LoadSecrets,
            Step::Claim,
            Step::Send,
            Step::CompleteJob,
            Step::Park,
            Step::Complete,
            Step::Release,
        ];
        let texts: std::collections::HashSet<_> = steps.iter().map(Step::to_string).collect();
        assert_eq!(texts.len(), steps.len());
    }
}
