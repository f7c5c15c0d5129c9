//! The request to end the process. Any module can make it; the function's binary obeys it.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

/// A request to end the process. Clones share it, and the first reason given is kept.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(Arc<Requested>);

#[derive(Debug, Default)]
struct Requested {
    reason: OnceLock<String>,
    notify: Notify,
}

impl Shutdown {
    /// Requests the end of the process, because of `reason`.
    pub fn request(&self, reason: impl Into<String>) {
        if self.0.reason.set(reason.into()).is_ok() {
            self.0.notify.notify_one();
        }
    }

    /// The reason, once the end is requested.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.get().map(String::as_str)
    }

    /// Waits for the request and returns its reason. Only one task may wait.
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
