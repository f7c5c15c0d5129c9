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
    /// Parks a body. One that is too large for a message as it is is parked as gzip.
    ///
    /// # Errors
    ///
    /// - [`Error::TooLarge`] when the queue does not take it even so: it can be kept nowhere.
    /// - [`Error::Unavailable`] when the queue refuses, fails or does not answer.
    pub async fn park(
        &self,
        body: Verified<'_>,
        reason: Reason,
        id: Option<&DeliveryId<'_>>,
        budget: Budget,
    ) -> Result<(), Error> {
        let send = async |message| {
            let sent = budget.spend(Step::Park, self.queue.send(message)).await;
            sent.map_err(Error::of_a_message)
        };
        let parked = match Message::quarantined(body.bytes(), reason, id) {
            Ok(message) => send(message).await,
            Err(too_large) => Err(too_large.into()),
        };
        match parked {
            Err(Error::TooLarge(_)) => send(Message::compressed(body.bytes(), reason, id)?).await,
            parked => parked,
        }
    }
}
