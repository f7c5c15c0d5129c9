//! The time that one invocation may spend, shared by all its steps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, timeout_at};

use crate::{
    deliveries::Lease,
    error::{BudgetSpent, Step, Unavailable},
};

/// What a delivery may take, out of the ten seconds that TitanX waits and the eight after which
/// Lambda cuts the function off.
pub const BUDGET: Duration = Duration::from_secs(6);

/// What is kept back for giving up in good order: to release the claim and to answer.
const GIVING_UP: Duration = Duration::from_millis(750);

/// How long a lease outlives its invocation: requests may still be under way, and clocks differ.
const LEASE_MARGIN_MS: i64 = 1_000;

/// The time of one invocation.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// When it began, in Unix milliseconds.
    pub began_ms: i64,
    /// When a lease taken by this invocation ends, in Unix milliseconds: at its own deadline and a
    /// little later, so that nobody takes over while it may still act, or waits longer than needed.
    pub lease_ends_ms: i64,
    end: Instant,
}

impl Budget {
    /// Begins now, for an invocation that is cut off at `deadline_ms` (Unix milliseconds).
    #[must_use]
    pub fn begin(deadline_ms: u64) -> Self {
        let began_ms = now_ms();
        let deadline_ms = plausible(deadline_ms, began_ms);
        let left_ms = u64::try_from(deadline_ms.saturating_sub(began_ms)).unwrap_or(0);
        let left = Duration::from_millis(left_ms).saturating_sub(GIVING_UP);
        Self {
            began_ms,
            lease_ends_ms: deadline_ms.saturating_add(LEASE_MARGIN_MS),
            end: Instant::now() + BUDGET.min(left),
        }
    }

    /// Works until the budget is spent.
    ///
    /// # Errors
    ///
    /// Those of the work, and [`Unavailable`] when there is no time for it.
    pub async fn spend<T, E: From<Unavailable>>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        give_up_at(self.end, step, work).await
    }

    /// Works while time enough is left to give up in good order.
    ///
    /// # Errors
    ///
    /// Those of the work, and [`Unavailable`] when there is no time for it.
    pub async fn spend_on_effect<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        give_up_at(self.end - GIVING_UP, step, work).await
    }

    /// Makes sure that the lease lasts as long as an effect begun now might take: the process may
    /// have been frozen since the claim, which the budget's clock need not notice.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when it does not.
    pub fn covers_effect(&self, step: Step, lease: &Lease) -> Result<(), Unavailable> {
        let needed = self.end.saturating_duration_since(Instant::now());
        if lease.left(now_ms()) < needed {
            return Err(Unavailable::new(step, BudgetSpent));
        }
        Ok(())
    }
}

async fn give_up_at<T, E: From<Unavailable>>(
    end: Instant,
    step: Step,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let spent = || Err(Unavailable::new(step, BudgetSpent).into());
    // Polled but once, the work may already have sent its request.
    if end <= Instant::now() {
        return spent();
    }
    timeout_at(end, work).await.unwrap_or_else(|_| spent())
}

/// The deadline, unless it passed long before the invocation began: then it is no point in time
/// (`cargo lambda watch` sends the number 600,000), and the function's usual timeout holds. Nor is
/// it later than Lambda allows, lest a lease have no end.
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
            Ok::<_, Unavailable>(())
        };
        assert!(spent.spend(Step::Claim, work).await.is_err());
        assert!(!begun);
    }
}
