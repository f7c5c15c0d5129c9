//! The life of a delivery, top to bottom. Read this page first: everything else is a noun it uses.
//!
//! ```text
//! request ─verify─▶ parse ─claim─▶ dispatch ─▶ 200 ─▶ complete (before the next request is asked for)
//!            │        │      │         │                └ fails: warn and count, the event is durable
//!            │        │      │         └ fails: release the claim, 503
//!            │        │      └ completed: 200 duplicate · in flight: 429 · table unavailable: 503
//!            │        └ signed but not understood: park it in quarantine, 200
//!            └ wrong or missing signature: 401 · no secret can be loaded: 503
//! ```
//!
//! [`Receiver::handle`] is all that stands before the answer, [`Receiver::finish`] what follows it.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;

use crate::{
    answer::{Receipt, answer},
    budget::{Budget, now_ms},
    deliveries::{Claim, Completion, Deliveries, Lease},
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
    /// It always does: a panic is answered too, and so is a spent budget. The answer is to leave at
    /// once, and [`Self::finish`] to do what follows.
    pub async fn handle(&self, request: Request, deadline_ms: u64) -> (Response, FollowUp) {
        let budget = Budget::begin(deadline_ms);
        let mut log = Log::default();
        let received = AssertUnwindSafe(self.receive(&request, budget, &mut log));
        let (outcome, completion) = match received.catch_unwind().await {
            Ok(Ok((receipt, completion))) => (Ok(receipt), completion),
            Ok(Err(error)) => (Err(error), None),
            Err(_panic) => (Err(Error::Panicked), None),
        };
        let answer = answer(&outcome, now_ms());
        let follow_up = FollowUp {
            completion,
            budget,
            log,
            outcome,
            status: answer.status,
        };
        (request.respond(answer), follow_up)
    }

    /// Does what follows the answer: the completion mark, then the log line. Whether or not the
    /// answer could be handed over, since the event is durable.
    pub async fn finish(&self, follow_up: FollowUp) {
        if let Some(completion) = follow_up.completion {
            self.complete(completion, follow_up.budget).await;
        }
        follow_up.log.answered(&follow_up.outcome, follow_up.status);
    }

    /// Verifies and parses: nothing of a request is read, kept or told before it is verified. What
    /// was accepted for the first time comes with the mark that is now due.
    async fn receive(
        &self,
        request: &Request,
        budget: Budget,
        log: &mut Log,
    ) -> Result<(Receipt, Option<Completion>), Error> {
        let verify = self.secrets.verify(request);
        let body = budget.spend(Step::LoadSecrets, verify).await?;
        let receipt = match Event::parse(body, self.oldest_ms(budget.began_ms)) {
            Ok(event) => {
                log.understood(&event);
                match self.accept(&event, Source::Webhook, budget).await? {
                    Acceptance::First(completion) => {
                        return Ok((Receipt::Accepted, Some(completion)));
                    }
                    Acceptance::Duplicate => Receipt::Duplicate,
                    Acceptance::IdReused => {
                        let id = Some(&event.id);
                        self.park(body, Reason::IdReused, id, budget, log).await?
                    }
                }
            }
            Err(NotUnderstood { reason, id }) => {
                self.park(body, reason, id.as_ref(), budget, log).await?
            }
        };
        Ok((receipt, None))
    }

    /// Claims the delivery and makes the event durable. [`Self::complete`] is to follow. A backfill
    /// takes this way too.
    ///
    /// # Errors
    ///
    /// Whatever stands between the event and durability; another attempt may take it over then. The
    /// claim is given back before the error is answered, so that whoever comes again on this answer
    /// finds the delivery free, and is not told to wait for the lease.
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
            Ok(()) => Ok(Acceptance::First(lease.into_completion(event))),
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

    /// Writes the completion mark. The event is durable, so a failure, or a panic, costs a second
    /// message at worst, and only if TitanX comes again.
    pub async fn complete(&self, completion: Completion, budget: Budget) {
        let delivery_id = completion.delivery_id().to_owned();
        let complete = self.deliveries.complete(completion, now_ms());
        let complete = AssertUnwindSafe(budget.spend(Step::Complete, complete));
        let failure = match complete.catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(unavailable)) => Error::Unavailable(unavailable),
            Err(_panic) => Error::Panicked,
        };
        tracing::warn!(delivery_id, error = %Chain(&failure), "completion mark failed");
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

/// What is left of an invocation once its answer is known: the completion mark, if one is due, and
/// the log line. It is done before the next request is asked for, inside the same budget.
#[derive(Debug)]
#[must_use = "without it a delivery is neither marked completed nor logged"]
pub struct FollowUp {
    completion: Option<Completion>,
    budget: Budget,
    log: Log,
    outcome: Result<Receipt, Error>,
    status: u16,
}

/// The result of accepting an event.
#[derive(Debug)]
#[must_use]
pub enum Acceptance {
    /// It is durable now, and its completion mark is due.
    First(Completion),
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
