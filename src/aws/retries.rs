//! How many attempts the SDK has repeated, counted for the log.

use std::cell::Cell;

tokio::task_local! {
    /// The calls and attempts of the work that this task counts.
    static COUNT: Cell<Count>;
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    calls: u32,
    attempts: u32,
}

/// Does `work` and counts the attempts of its calls beyond the first one of each.
pub async fn counting_retries<T>(work: impl Future<Output = T>) -> (T, u32) {
    let counted = async {
        let output = work.await;
        let Count { calls, attempts } = COUNT.with(Cell::get);
        (output, attempts.saturating_sub(calls))
    };
    COUNT.scope(Cell::default(), counted).await
}

/// Counts a call of an operation.
pub(super) fn count_call() {
    count(|count| count.calls += 1);
}

/// Counts a request over the network, with which a call makes one attempt.
pub(super) fn count_attempt() {
    count(|count| count.attempts += 1);
}

fn count(one: impl FnOnce(&mut Count)) {
    // Calls that nobody counts are those at start and those of the operator.
    let _uncounted = COUNT.try_with(|cell| {
        let mut count = cell.get();
        one(&mut count);
        cell.set(count);
    });
}
