//! Quarantine: the queue for bodies that are signed but not understood. They are kept byte for byte,
//! until an operator sends them through the receiver again.

use crate::{
    budget::{Budget, Step},
    error::Error,
    event::{DeliveryId, Reason},
    queue::{Message, Queue},
    signature::Verified,
};

/// The quarantine.
#[derive(Debug)]
pub struct Quarantine {
    /// A standard queue.
    pub queue: Queue,
}

impl Quarantine {
    /// Parks a body.
    ///
    /// # Errors
    ///
    /// - [`Error::TooLarge`] when no message can hold the body.
    /// - [`Error::Unavailable`] when the queue refuses, fails or does not answer.
    pub async fn park(
        &self,
        body: Verified<'_>,
        reason: Reason,
        id: Option<&DeliveryId<'_>>,
        budget: Budget,
    ) -> Result<(), Error> {
        let message = Message::quarantined(body.bytes(), reason, id)?;
        let send = self.queue.send(message);
        budget.spend(Step::Park, send).await?;
        Ok(())
    }
}
