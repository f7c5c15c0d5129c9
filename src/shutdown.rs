//! The request to end the process, made anywhere and heeded by the function's binary.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

/// A request to end the process. Clones share it; the first reason given is the one that counts.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(Arc<Requested>);

#[derive(Debug, Default)]
struct Requested {
    reason: OnceLock<String>,
    notify: Notify,
}

impl Shutdown {
    /// Asks for the end of the process, because of `reason`.
    pub fn request(&self, reason: impl Into<String>) {
        if self.0.reason.set(reason.into()).is_ok() {
            self.0.notify.notify_one();
        }
    }

    /// Why the end was asked for, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.get().map(String::as_str)
    }

    /// Waits until the end was asked for, and returns the reason. For one task only.
    pub async fn requested(&self) -> &str {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            self.0.notify.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_counts_whether_it_was_awaited_or_not() {
        let shutdown = Shutdown::default();
        shutdown.clone().request("first");
        shutdown.request("second");
        assert_eq!(shutdown.requested().await, "first");
        assert_eq!(shutdown.requested().await, "first");

        let shutdown = Shutdown::default();
        let later = shutdown.clone();
        let (reason, ()) = tokio::join!(shutdown.requested(), async move {
            tokio::task::yield_now().await;
            later.request("later");
        });
        assert_eq!(reason, "later");
    }
}
