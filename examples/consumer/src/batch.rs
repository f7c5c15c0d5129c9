//! Partial batch failures: one message that fails must not bring back the others of its batch.

use std::collections::HashSet;

use crate::{
    contact::{Contact, Unreadable},
    event::{Answer, Batch, Failed, Message},
    store::{NotApplied, Store},
};

/// Why a message failed. No variant holds personal data, so it may be logged.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    NotApplied(#[from] NotApplied),
    #[error("an earlier message of its group failed")]
    OutOfTurn,
}

/// Applies the contacts of a batch, and returns the messages that SQS is to deliver again.
pub(crate) async fn process(store: &Store, batch: &Batch) -> Answer {
    let mut answer = Answer::default();
    let mut failed_groups = HashSet::new();
    for message in &batch.records {
        // Only on a FIFO queue does a group have an order: what follows a failed message must wait for it.
        let group = fifo_group(message);
        let applied = match group {
            Some(group) if failed_groups.contains(group) => Err(Failure::OutOfTurn),
            _ => apply(store, message).await,
        };
        if let Err(failure) = applied {
            eprintln!("message {} failed: {failure}", message.message_id);
            failed_groups.extend(group);
            answer.batch_item_failures.push(Failed {
                item_identifier: message.message_id.clone(),
            });
        }
    }
    answer
}

async fn apply(store: &Store, message: &Message) -> Result<(), Failure> {
    let contact = Contact::read(message)?;
    let outcome = store.apply(&contact).await?;
    println!("delivery {}: {outcome}", contact.delivery_id);
    Ok(())
}

fn fifo_group(message: &Message) -> Option<&str> {
    let queue = message.event_source_arn.as_deref()?;
    let group = message.attributes.as_ref()?.get("MessageGroupId")?;
    queue.strip_suffix(".fifo").map(|_| group.as_str())
}
