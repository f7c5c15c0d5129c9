//! The life of a delivery, top to bottom. Read this page first: everything else is a noun it uses.
//!
//! ```text
//! request ─verify─▶ parse ─claim─▶ dispatch ─complete─▶ 200
//!            │        │      │         │          └ fails: 200 all the same, the event is durable
//!            │        │      │         └ fails: release the claim, 503
//!            │        │      └ completed: 200 duplicate · in flight: 429 · table unavailable: 503
//!            │        └ signed but not understood: park it in quarantine, 200
//!            └ wrong or missing signature: 401 · no secret can be loaded: 503
//! ```

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;

use crate::{
    answer::{Receipt, answer, unavailable},
    budget::{Budget, now_ms},
    deliveries::{Claim, Deliveries, Lease},
    error::{Chain, Error, Step},
    event::{DeliveryId, Event, FinishedJob, Kind, NotUnderstood, Reason},
    gateway::{Request, Response},
    jobs::Jobs,
    log::Log,
    queue::{Message, Queue, Source, TooLarge},
    secrets::Secrets,
    signature::Verified,
};

/// Receives deliveries. Made once at start; any number of invocations share it.
#[derive(Debug)]
pub struct Receiver {
    /// The live webhook secrets.
    pub secrets: Secrets,
    /// Which deliveries were seen.
    pub deliveries: Deliveries,
    /// Which jobs are finished.
    pub jobs: Jobs,
    /// Where scored contacts go.
    pub contacts: Queue,
    /// Where everything goes that is signed but not understood.
    pub quarantine: Queue,
}

impl Receiver {
    /// Answers one request of an invocation that is cut off at `deadline_ms` (Unix milliseconds).
    /// It always does: a panic is answered too, and so is a spent budget.
    pub async fn handle(&self, request: Request, deadline_ms: u64) -> Response {
        let mut log = Log::default();
        let received = self.receive(&request, Budget::begin(deadline_ms), &mut log);
        let answer = match AssertUnwindSafe(received).catch_unwind().await {
            Ok(outcome) => {
                let answer = answer(&outcome, now_ms());
                log.answered(&outcome, answer.status);
                answer
            }
            Err(_panic) => {
                let answer = unavailable();
                log.panicked(answer.status);
                answer
            }
        };
        request.respond(answer)
    }

    /// Verifies and parses: nothing of a request is read, kept or told before it is verified.
    async fn receive(
        &self,
        request: &Request,
        budget: Budget,
        log: &mut Log,
    ) -> Result<Receipt, Error> {
        let verify = self.secrets.verify(request);
        let body = budget.spend(Step::LoadSecrets, verify).await?;
        match Event::parse(body, self.oldest_ms(budget.began_ms)) {
            Ok(event) => {
                log.understood(&event);
                match self.accept(&event, Source::Webhook, budget).await? {
                    Acceptance::First => Ok(Receipt::Accepted),
                    Acceptance::Duplicate => Ok(Receipt::Duplicate),
                    Acceptance::IdReused => {
                        let id = Some(&event.id);
                        self.park(body, Reason::IdReused, id, budget, log).await
                    }
                }
            }
            Err(NotUnderstood { reason, id }) => {
                self.park(body, reason, id.as_ref(), budget, log).await
            }
        }
    }

    /// Claims the delivery, makes the event durable, and marks the delivery completed. A backfill
    /// takes this way too.
    ///
    /// # Errors
    ///
    /// Whatever stands between the event and durability; another attempt may take it over then.
    pub async fn accept(
        &self,
        event: &Event<'_>,
        source: Source,
        budget: Budget,
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
        match self.dispatch(effect, event, &lease, budget).await {
            Ok(()) => {
                self.complete(lease, event, budget).await;
                Ok(Acceptance::First)
            }
            Err(error) => {
                self.release(lease, budget).await;
                Err(error)
            }
        }
    }

    /// Makes the event durable, if enough of lease and budget is left to see it through.
    async fn dispatch(
        &self,
        effect: Effect<'_>,
        event: &Event<'_>,
        lease: &Lease,
        budget: Budget,
    ) -> Result<(), Error> {
        budget.covers_effect(effect.step(), lease)?;
        match effect {
            Effect::Send(message) => {
                let send = self.contacts.send(message);
                budget.spend_on_effect(Step::Send, send).await?;
            }
            Effect::MarkDone(job) => {
                let mark_done = self.jobs.mark_done(job, event);
                budget.spend_on_effect(Step::MarkDone, mark_done).await?;
            }
        }
        Ok(())
    }

    /// The event is durable, so a failure costs a second message at worst, and the answer is 200.
    async fn complete(&self, lease: Lease, event: &Event<'_>, budget: Budget) {
        let complete = self.deliveries.complete(&lease, event, now_ms());
        if let Err(error) = budget.spend(Step::Complete, complete).await {
            let delivery_id = lease.delivery_id();
            tracing::warn!(delivery_id, error = %Chain(&error), "completion mark failed");
        }
    }

    /// Best effort: a claim that is not given back ends with its lease.
    async fn release(&self, lease: Lease, budget: Budget) {
        let release = self.deliveries.release(&lease);
        if let Err(error) = budget.spend(Step::Release, release).await {
            let delivery_id = lease.delivery_id();
            tracing::warn!(delivery_id, error = %Chain(&error), "release failed");
        }
    }

    /// Keeps what was signed but not understood, whole, for a person to look at.
    async fn park(
        &self,
        body: Verified<'_>,
        reason: Reason,
        id: Option<&DeliveryId<'_>>,
        budget: Budget,
        log: &mut Log,
    ) -> Result<Receipt, Error> {
        log.not_understood(reason, id);
        let message = Message::quarantined(body.bytes(), reason, id)?;
        budget
            .spend(Step::Park, self.quarantine.send(message))
            .await?;
        Ok(Receipt::Quarantined)
    }

    /// What is older could repeat an id that the deliveries table has forgotten since. A day is
    /// taken off, so that neither clocks nor time under way can matter.
    fn oldest_ms(&self, now_ms: i64) -> i64 {
        const DAY: Duration = Duration::from_hours(24);
        let age = self.deliveries.retention().saturating_sub(DAY);
        now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    }
}

/// What accepting an event comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is durable now.
    First,
    /// It was before.
    Duplicate,
    /// Its delivery id was used before, by another event.
    IdReused,
}

/// What makes an event durable.
enum Effect<'a> {
    Send(Message<'a>),
    MarkDone(&'a FinishedJob<'a>),
}

impl<'a> Effect<'a> {
    fn of(event: &'a Event<'_>, source: Source) -> Result<Self, TooLarge> {
        match &event.kind {
            Kind::ContactScored(contact) => {
                Message::contact(event, contact.job_id.as_deref(), source).map(Self::Send)
            }
            Kind::JobCompleted(job) => Ok(Self::MarkDone(job)),
        }
    }

    fn step(&self) -> Step {
        match self {
            Self::Send(_) => Step::Send,
            Self::MarkDone(_) => Step::MarkDone,
        }
    }
}
