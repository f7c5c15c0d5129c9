//! The life of a delivery, top to bottom. Read this page first: everything else is a noun it uses.
//!
//! ```text
//! request ─verify─▶ parse ─claim─▶ dispatch ─▶ 200 ─▶ complete (before the next request is asked for)
//!            │        │      │         │                └ fails: warn and count, the event is durable
//!            │        │      │         └ fails: release the claim, 503
//!            │        │      └ completed: 200 duplicate · in flight: 429 · table unavailable: 503
//!            │        └ signed but not understood: park it in quarantine, 200
//!            └ certainly of no live secret, or missing: 401 · perhaps of one: 429 · no secret known: 503
//! ```
//!
//! [`Receiver::handle`] does everything that precedes the answer, [`Receiver::finish`] everything
//! that follows it. From the claim on, the steps are those of [`Intake`].

use std::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::FutureExt;

use crate::{
    answer::{Receipt, answer},
    aws::counting_retries,
    budget::{Budget, Step, now_ms},
    deliveries::Completion,
    error::Error,
    event::{Event, NotUnderstood, Reason},
    gateway::{Request, Response},
    intake::{Acceptance, Intake},
    log::Log,
    quarantine::Quarantine,
    queue::Source,
    secrets::{Secrets, Verification},
};

/// Receives deliveries. Built once at start and shared by all invocations.
#[derive(Debug)]
pub struct Receiver {
    /// The live webhook secrets.
    pub secrets: Secrets,
    /// Makes events durable, each of them once.
    pub intake: Intake,
    /// Keeps what is signed but not understood.
    pub quarantine: Quarantine,
    /// Whether a request has come.
    warm: AtomicBool,
}

impl Receiver {
    /// A receiver that no request has come to.
    #[must_use]
    pub fn new(secrets: Secrets, intake: Intake, quarantine: Quarantine) -> Self {
        Self {
            secrets,
            intake,
            quarantine,
            warm: AtomicBool::new(false),
        }
    }

    /// Answers the request of the invocation `request_id`, which Lambda ends at `deadline_ms` (Unix
    /// milliseconds). There is always an answer, even after a panic or once the budget is spent.
    /// Send it at once, then call [`Self::finish`].
    pub async fn handle(
        &self,
        mut request: Request,
        request_id: String,
        deadline_ms: u64,
    ) -> (Response, FollowUp) {
        let budget = Budget::begin(deadline_ms);
        let mut log = Log::new(request_id, request.gateway_id.take());
        if !self.warm.swap(true, Ordering::Relaxed) {
            log.cold_start();
        }
        let received = AssertUnwindSafe(self.receive(&request, budget, &mut log));
        let (received, retries) = counting_retries(received.catch_unwind()).await;
        log.retried(retries);
        let (outcome, completion) = match received {
            Ok(Ok((receipt, completion))) => (Ok(receipt), completion),
            Ok(Err(error)) => (Err(error), None),
            Err(_panic) => (Err(Error::Panicked), None),
        };
        let answer = answer(&outcome, now_ms());
        log.answered_after(budget.spent());
        let follow_up = FollowUp {
            completion,
            budget,
            log,
            outcome,
        };
        (request.respond(answer), follow_up)
    }

    /// Writes the completion mark, then the log line. Call it even if the answer could not be sent:
    /// the event is durable.
    pub async fn finish(&self, follow_up: FollowUp) {
        let FollowUp {
            completion,
            budget,
            mut log,
            outcome,
        } = follow_up;
        if let Some(completion) = completion {
            let complete = self.intake.complete(completion, budget, &log);
            let ((), retries) = counting_retries(complete).await;
            log.retried(retries);
        }
        log.write(&outcome);
    }

    /// Verifies, then parses: nothing of a request is read, kept or logged before it is verified.
    /// The completion mark of a newly accepted event is returned, since it is due after the answer.
    async fn receive(
        &self,
        request: &Request,
        budget: Budget,
        log: &mut Log,
    ) -> Result<(Receipt, Option<Completion>), Error> {
        let verify = self.secrets.verify(request, budget.began_ms);
        let body = match budget.spend(Step::LoadSecrets, verify).await? {
            Verification::Verified {
                body,
                learned,
                read,
            } => {
                log.signature_checked(learned, read);
                body
            }
            Verification::Invalid { read } => {
                log.signature_checked(None, read);
                return Err(Error::InvalidSignature);
            }
            Verification::Undecided { retry_at_ms } => {
                return Err(Error::UnknownSignature { retry_at_ms });
            }
        };
        let (reason, id) = match Event::parse(body, self.intake.oldest_ms(budget.began_ms)) {
            Ok(event) => {
                log.understood(&event, budget.began_ms);
                let accept = self.intake.accept(&event, Source::Webhook, budget, log);
                let reason = match accept.await {
                    Ok(Acceptance::New(completion)) => {
                        return Ok((Receipt::Accepted, Some(completion)));
                    }
                    Ok(Acceptance::Duplicate) => return Ok((Receipt::Duplicate, None)),
                    Ok(Acceptance::IdReused) => Reason::IdReused,
                    Err(Error::TooLarge(_)) => Reason::TooLarge,
                    Err(error) => return Err(error),
                };
                (reason, Some(event.id))
            }
            Err(NotUnderstood { reason, id }) => (reason, id),
        };
        log.not_understood(reason, id.as_ref());
        let park = self.quarantine.park(body, reason, id.as_ref(), budget);
        park.await.map(|()| (Receipt::Quarantined, None))
    }
}

/// The rest of an invocation once its answer is known: the completion mark, if one is due, and the
/// log line. Both are written before the next request is asked for, within the same budget.
#[derive(Debug)]
#[must_use = "without it a delivery is neither marked completed nor logged"]
pub struct FollowUp {
    completion: Option<Completion>,
    budget: Budget,
    log: Log,
    outcome: Result<Receipt, Error>,
}
