//! Intake: claim → dispatch → complete | release. It makes an event durable, each of them once.
//!
//! A webhook's event enters through [`Receiver`](crate::receiver::Receiver), which verified it. An
//! operator's backfill enters here, since it has neither a signature to verify nor an answer to give.
//!
//! The claim is what makes it once: while its lease lasts, nobody else acts on the delivery. The
//! completion mark is what makes it stay so: without the mark, the lease runs out and the next
//! attempt dispatches the event again, under the same delivery id.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;

use crate::{
    budget::{Budget, BudgetSpent, Step, Unavailable, now_ms},
    deliveries::{Claim, Completion, Deliveries, Lease},
    error::Error,
    event::{CompletedJob, Event, Kind},
    jobs::Jobs,
    log::Log,
    queue::{Message, Queue, Source, TooLarge},
};

/// Makes events durable: contacts on their queue, completed jobs in their table.
#[derive(Debug)]
pub struct Intake {
    /// The deliveries that were received.
    pub deliveries: Deliveries,
    /// The jobs that are completed.
    pub jobs: Jobs,
    /// The queue of scored contacts.
    pub contacts: Queue,
}

/// The result of accepting an event.
#[derive(Debug)]
#[must_use]
pub enum Acceptance {
    /// The event is durable now, and its completion mark is due: see [`Intake::complete`].
    New(Completion),
    /// An earlier attempt made the same event durable.
    Duplicate,
    /// The delivery id was used before, by another event.
    IdReused,
}

impl Intake {
    /// Claims the delivery and makes the event durable. [`Self::complete`] is due afterwards.
    ///
    /// # Errors
    ///
    /// - [`Error::InFlight`] while another invocation holds the delivery.
    /// - [`Error::TooLarge`] when the queue of contacts does not take a message of this size.
    /// - [`Error::Unavailable`] when a step failed. The event may be durable all the same, and a later
    ///   attempt may repeat it. The claim was released first, so that this attempt need not wait for
    ///   the lease to run out.
    pub async fn accept(
        &self,
        event: &Event<'_>,
        source: Source,
        budget: Budget,
        log: &mut Log,
    ) -> Result<Acceptance, Error> {
        let effect = Effect::of(event, source)?;
        let claim = self
            .deliveries
            .claim(event, budget.began_ms, budget.lease_ends_ms);
        let lease = match budget.spend(Step::Claim, claim).await? {
            Claim::Granted(lease) => lease,
            Claim::Completed { same_event: true } => return Ok(Acceptance::Duplicate),
            Claim::Completed { same_event: false } => return Ok(Acceptance::IdReused),
            Claim::InFlight { lease_ends_ms } => return Err(Error::InFlight { lease_ends_ms }),
        };
        if lease.is_taken_over() {
            log.taken_over();
        }
        match self.dispatch(effect, event, &lease, budget).await {
            Ok(()) => Ok(Acceptance::New(lease.into_completion())),
            Err(error) => {
                self.release(lease, budget, log).await;
                Err(Error::of_a_message(error))
            }
        }
    }

    /// Sends the contact, or marks the job completed.
    async fn dispatch(
        &self,
        effect: Effect<'_>,
        event: &Event<'_>,
        lease: &Lease,
        budget: Budget,
    ) -> Result<(), Unavailable> {
        let step = effect.step();
        // The process may have been frozen since the claim, which the budget's clock need not notice.
        // Once the lease is over, another invocation may act.
        if lease.left(now_ms()) < budget.left() {
            return Err(Unavailable::new(step, BudgetSpent));
        }
        match effect {
            Effect::Send(message) => {
                let send = self.contacts.send(message);
                budget.spend_before_cleanup(step, send).await
            }
            Effect::CompleteJob(job) => {
                let mark = self.jobs.mark_completed(job, event);
                budget.spend_before_cleanup(step, mark).await
            }
        }
    }

    /// Writes the completion mark. The event is already durable, so a failure or a panic is only
    /// logged: at worst it costs a second message, if the same delivery comes again.
    pub async fn complete(&self, completion: Completion, budget: Budget, log: &Log) {
        let delivery_id = completion.delivery_id().to_owned();
        let complete = self.deliveries.complete(completion, now_ms());
        let complete = AssertUnwindSafe(budget.spend(Step::Complete, complete));
        match complete.catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log.completion_mark_failed(&delivery_id, &error),
            Err(_panic) => log.completion_mark_failed(&delivery_id, &Error::Panicked),
        }
    }

    /// Releases the claim. Best effort: a claim that stays ends with its lease.
    async fn release(&self, lease: Lease, budget: Budget, log: &Log) {
        let release = self.deliveries.release(&lease);
        if let Err(error) = budget.spend(Step::Release, release).await {
            log.release_failed(lease.delivery_id(), &error);
        }
    }

    /// The oldest timestamp that is accepted at `now_ms` (both Unix milliseconds). An older event could
    /// repeat a delivery id that the table no longer remembers: TitanX may have stamped it anew with its
    /// last retry, three days after the record was written.
    #[must_use]
    pub fn oldest_ms(&self, now_ms: i64) -> i64 {
        const RETRY_WINDOW: Duration = Duration::from_hours(3 * 24);
        let age = self.deliveries.retention().saturating_sub(RETRY_WINDOW);
        now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The one write that makes an event durable.
enum Effect<'a> {
    Send(Message<'a>),
    CompleteJob(&'a CompletedJob<'a>),
}

impl<'a> Effect<'a> {
    fn of(event: &'a Event<'_>, source: Source) -> Result<Self, TooLarge> {
        match &event.kind {
            Kind::ContactScored(contact) => {
                Message::contact(event, contact.job_id.as_deref(), source).map(Self::Send)
            }
            Kind::JobCompleted(job) => Ok(Self::CompleteJob(job)),
        }
    }

    fn step(&self) -> Step {
        match self {
            Self::Send(_) => Step::Send,
            Self::CompleteJob(_) => Step::CompleteJob,
        }
    }
}
