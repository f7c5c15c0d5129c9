//! What follows from what happens: the receiver, and the services it calls. [`World::happen`] is
//! the page to start with.

use super::state::{
    ATTEMPTS, Day, Invocation, LAST_RETRY, Owner, RETENTION, Record, Request, Sender, State, Step,
};
use super::world::{Action, Attempt, Fate, Mistake, World, next_day};

/// Ticks by which a lease outlasts its holder's deadline.
const MARGIN: u8 = 1;

/// What a request found, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Claimed,
    TookOver,
    /// The old item bears the claimant's own `claimed_by`.
    AlreadyOurs,
    HeldByAnother,
    AlreadyCompleted,
    FirstMessage,
    AnotherMessage,
    Marked,
    MarkedForEver,
    Released,
    NothingToRelease,
    DeletedCompleted,
}

/// What the function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Duplicate,
    Quarantined,
    /// 429.
    Held,
    /// 409, which is final for TitanX.
    Conflict,
    /// 503.
    Unavailable,
}

impl Answer {
    pub(super) fn acknowledges(self) -> bool {
        matches!(self, Self::Accepted | Self::Duplicate | Self::Quarantined)
    }
}

/// What an invocation does next.
#[derive(Clone, Copy)]
enum Next {
    Call(Step),
    /// It posts its answer, and lives on for another call.
    AnswerThenCall(Answer, Step),
    /// It posts its answer and ends.
    Answer(Answer),
    /// It ends. Its answer was posted before.
    End,
}

impl Next {
    fn ends(self) -> bool {
        matches!(self, Self::Answer(_) | Self::End)
    }
}

/// What follows from an action.
pub(super) struct Consequence {
    pub state: State,
    pub reply: Option<Reply>,
    pub answer: Option<Answer>,
}

impl World {
    /// What the world comes to when `action` happens in it, and what that looks like from outside.
    pub(super) fn happen(&self, before: &State, action: Action) -> Consequence {
        let mut state = before.clone();
        let (reply, answer) = match action {
            Action::Deliver {
                stamped,
                left,
                attempt,
            } => self.deliver(&mut state, stamped, left, attempt),
            Action::Call { owner, attempt } => self.call(&mut state, owner, attempt),
            Action::Kill(owner) => quietly(|| state.end(owner)),
            Action::Land(request) => (Some(self.land(&mut state, request)), None),
            Action::Vanish(request) => quietly(|| remove(&mut state.under_way, request)),
            Action::AnswerArrives => quietly(|| state.sender = Sender::Satisfied),
            Action::Tick => quietly(|| tick(&mut state)),
            Action::DaysPass => {
                quietly(|| state.today = next_day(state.today).expect("there is a next day"))
            }
            Action::TtlRemoves => quietly(|| state.record = Record::Absent),
        };
        tell_sender(&mut state, answer);
        self.forget_the_spent(&mut state);
        Consequence {
            state,
            reply,
            answer,
        }
    }

    /// A signed event: its age is looked at before any claim, since the id of an old one may be
    /// forgotten.
    fn deliver(
        &self,
        state: &mut State,
        stamped: Day,
        left: u8,
        attempt: Attempt,
    ) -> (Option<Reply>, Option<Answer>) {
        state.stamped = state.stamped.max(stamped);
        if self.is_stale(state, stamped) {
            state.parked = true;
            return (None, Some(Answer::Quarantined));
        }
        let owner = state.unused_owner();
        state.invocations.push(Invocation {
            owner,
            step: Step::Claim,
            attempts: ATTEMPTS,
            deadline: left,
        });
        self.call(state, owner, attempt)
    }

    fn is_stale(&self, state: &State, stamped: Day) -> bool {
        let age_limit = match self.mistake {
            Some(Mistake::NoAgeLimit) => return false,
            Some(Mistake::AgeLimitOfRetentionLessADay) => RETENTION - 1,
            _ => RETENTION - LAST_RETRY,
        };
        state.today - stamped > age_limit
    }

    fn call(
        &self,
        state: &mut State,
        owner: Owner,
        attempt: Attempt,
    ) -> (Option<Reply>, Option<Answer>) {
        let request = self.request(state, owner);
        match attempt.fate {
            Fate::Answered => {
                let reply = self.perform(state, request, attempt.ahead);
                let step = state.living(owner).step;
                let next = self.after(step, reply);
                // No mark will follow, and no fault prevented one.
                state.history.settled |= step == Step::Send && next.ends();
                (Some(reply), go_on(state, owner, next))
            }
            Fate::AnswerLost => {
                let reply = self.perform(state, request, attempt.ahead);
                (Some(reply), self.try_again(state, owner))
            }
            Fate::Refused => (None, self.try_again(state, owner)),
            Fate::Late => {
                state.under_way.push(request);
                (None, self.try_again(state, owner))
            }
        }
    }

    fn request(&self, state: &State, owner: Owner) -> Request {
        let invocation = state.find(owner).expect("only the living call");
        match invocation.step {
            Step::Claim => Request::Claim {
                owner,
                lease: self.lease(invocation),
            },
            Step::Send => Request::Send {
                settled: state.history.settled || state.is_being_marked(),
            },
            Step::Complete => Request::Complete { owner },
            Step::Release => Request::Release { owner },
        }
    }

    /// Until the invocation's own deadline, and the margin.
    fn lease(&self, invocation: Invocation) -> u8 {
        if self.makes(Mistake::LeaseShorterThanTheWork) {
            return invocation.deadline - 1;
        }
        invocation.deadline + MARGIN
    }

    /// Nobody waits for the answer. A late claim is judged by the fastest clock, whatever its
    /// sender's own was: more is granted than in truth.
    fn land(&self, state: &mut State, request: Request) -> Reply {
        remove(&mut state.under_way, request);
        self.perform(state, request, self.clocks_apart)
    }

    /// The request takes effect.
    fn perform(&self, state: &mut State, request: Request, ahead: u8) -> Reply {
        match request {
            Request::Claim { owner, lease } => self.claim(state, owner, lease, ahead),
            Request::Send { settled } => send(state, settled),
            Request::Complete { owner } => self.complete(state, owner),
            Request::Release { owner } => self.release(state, owner),
        }
    }

    /// One conditional put: absent, expired by the clock, or in progress with its lease over.
    fn claim(&self, state: &mut State, owner: Owner, lease: u8, ahead: u8) -> Reply {
        let reply = match state.record {
            Record::Absent => Reply::Claimed,
            record if self.has_expired(record, state.today) => Reply::Claimed,
            Record::InProgress { lease, .. }
                if lease <= ahead && !self.makes(Mistake::LeaseWithoutEnd) =>
            {
                Reply::TookOver
            }
            record if record.is_claimed_by(owner) && !self.makes(Mistake::NoOwner) => {
                return Reply::AlreadyOurs;
            }
            Record::InProgress { .. } => return Reply::HeldByAnother,
            Record::Completed { .. } => return Reply::AlreadyCompleted,
        };
        let written = state.today;
        state.record = match self.mistake {
            Some(Mistake::MarkBeforeSend) => Record::Completed {
                written: Some(written),
            },
            _ => Record::InProgress {
                owner,
                lease,
                written,
            },
        };
        reply
    }

    /// The record may still be there: TTL deletion lags.
    pub(super) fn has_expired(&self, record: Record, today: Day) -> bool {
        let retention = if self.makes(Mistake::RetentionShorterThanRetries) {
            LAST_RETRY - 1
        } else {
            RETENTION
        };
        match record {
            Record::InProgress { written, .. }
            | Record::Completed {
                written: Some(written),
            } => today > written + retention,
            Record::Absent | Record::Completed { written: None } => false,
        }
    }

    /// Not conditional on the owner: it is true, whoever holds the claim by now.
    fn complete(&self, state: &mut State, owner: Owner) -> Reply {
        let anew = Some(state.today);
        let written = match state.record {
            _ if !self.makes(Mistake::CompleteByUpdate) => anew,
            Record::InProgress { written, .. } => Some(written),
            Record::Completed { written } => written,
            Record::Absent => None,
        };
        state.record = Record::Completed { written };
        state.history.settled |=
            state.is_marking(owner) && !self.makes(Mistake::CompleteBeforeSend);
        if written.is_some() {
            Reply::Marked
        } else {
            Reply::MarkedForEver
        }
    }

    /// Conditional on the owner and on `INPROGRESS`.
    fn release(&self, state: &mut State, owner: Owner) -> Reply {
        let anything = self.makes(Mistake::UnconditionalRelease);
        let anyone = anything || self.makes(Mistake::NoOwner);
        let reply = match state.record {
            Record::InProgress { owner: holder, .. } if holder == owner || anyone => {
                Reply::Released
            }
            Record::Completed { .. } if anything => Reply::DeletedCompleted,
            _ => return Reply::NothingToRelease,
        };
        state.record = Record::Absent;
        state.history.completed_deleted |= reply == Reply::DeletedCompleted;
        reply
    }

    /// What the receiver does when a call was answered.
    fn after(&self, step: Step, reply: Reply) -> Next {
        match (step, reply) {
            (Step::Claim, Reply::AlreadyCompleted) => Next::Answer(Answer::Duplicate),
            (Step::Claim, Reply::HeldByAnother) => Next::Answer(self.answer_while_held()),
            (Step::Claim, _) if self.makes(Mistake::CompleteBeforeSend) => {
                Next::Call(Step::Complete)
            }
            (Step::Claim, _) if self.makes(Mistake::AnswerBeforeSend) => {
                Next::AnswerThenCall(Answer::Accepted, Step::Send)
            }
            (Step::Claim, _) => Next::Call(Step::Send),
            (Step::Send, _) => self.after_send(),
            (Step::Complete, _) => self.after_complete(),
            (Step::Release, _) => self.after_release(),
        }
    }

    /// What the receiver does when a call has failed.
    fn after_failure(&self, step: Step) -> Next {
        match step {
            Step::Claim if self.makes(Mistake::DuplicateWhenStoreIsDown) => {
                Next::Answer(Answer::Duplicate)
            }
            Step::Send if !self.makes(Mistake::MarkBeforeSend) => Next::Call(Step::Release),
            Step::Complete => self.after_complete(),
            Step::Release => self.after_release(),
            Step::Claim | Step::Send => Next::Answer(Answer::Unavailable),
        }
    }

    fn answer_while_held(&self) -> Answer {
        match self.mistake {
            Some(Mistake::DuplicateWhileHeld) => Answer::Duplicate,
            Some(Mistake::ConflictWhileHeld) => Answer::Conflict,
            _ => Answer::Held,
        }
    }

    /// The event is durable: the answer does not wait for the completion mark.
    fn after_send(&self) -> Next {
        match self.mistake {
            Some(
                Mistake::MarkBeforeSend | Mistake::CompleteBeforeSend | Mistake::NoMarkAfterAnswer,
            ) => Next::Answer(Answer::Accepted),
            Some(Mistake::AnswerBeforeSend) => Next::Call(Step::Complete),
            _ => Next::AnswerThenCall(Answer::Accepted, Step::Complete),
        }
    }

    /// The same whether or not the mark was written, since the answer has been posted.
    fn after_complete(&self) -> Next {
        match self.mistake {
            Some(Mistake::CompleteBeforeSend) => Next::Call(Step::Send),
            _ => Next::End,
        }
    }

    /// The same whether or not the claim was released.
    fn after_release(&self) -> Next {
        match self.mistake {
            Some(Mistake::AnswerBeforeSend) => Next::End,
            _ => Next::Answer(Answer::Unavailable),
        }
    }

    /// An attempt went unanswered: the SDK tries again, or the call has failed.
    fn try_again(&self, state: &mut State, owner: Owner) -> Option<Answer> {
        let invocation = state.living(owner);
        invocation.attempts -= 1;
        if invocation.attempts > 0 {
            return None;
        }
        let step = invocation.step;
        state.history.settled |= step == Step::Complete && !self.unwritten_mark_excuses;
        go_on(state, owner, self.after_failure(step))
    }

    /// A request that can change nothing any more, whenever it lands, is dropped: fewer states, the
    /// same behaviour.
    fn forget_the_spent(&self, state: &mut State) {
        let under_way = std::mem::take(&mut state.under_way);
        let may_matter = |request: &Request| !self.is_spent(state, &under_way, *request);
        state.under_way = under_way.iter().copied().filter(may_matter).collect();
    }

    fn is_spent(&self, state: &State, under_way: &[Request], request: Request) -> bool {
        let deletes_anything = self.makes(Mistake::UnconditionalRelease);
        let expired = self.has_expired(state.record, state.today);
        let done =
            matches!(state.record, Record::Completed { .. }) && !expired && !deletes_anything;
        let will_claim = |owner| {
            under_way
                .iter()
                .any(|other| matches!(other, Request::Claim { owner: of, .. } if *of == owner))
        };
        match request {
            Request::Send { settled } => {
                state.messages == 2 && (state.history.unexplained || !settled)
            }
            Request::Claim { .. } => done,
            Request::Complete { owner } => done && state.find(owner).is_none(),
            Request::Release { .. } if deletes_anything || self.makes(Mistake::NoOwner) => done,
            Request::Release { owner } => !state.record.is_claimed_by(owner) && !will_claim(owner),
        }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}

fn send(state: &mut State, settled: bool) -> Reply {
    state.history.unexplained |= settled;
    if state.messages == 0 {
        state.messages = 1;
        return Reply::FirstMessage;
    }
    state.messages = 2;
    Reply::AnotherMessage
}

fn go_on(state: &mut State, owner: Owner, next: Next) -> Option<Answer> {
    match next {
        Next::Call(step) => {
            state.go_to(owner, step);
            None
        }
        Next::AnswerThenCall(answer, step) => {
            state.go_to(owner, step);
            Some(answer)
        }
        Next::Answer(answer) => {
            state.end(owner);
            Some(answer)
        }
        Next::End => {
            state.end(owner);
            None
        }
    }
}

fn tell_sender(state: &mut State, answer: Option<Answer>) {
    state.acknowledged |= answer.is_some_and(Answer::acknowledges);
    if answer == Some(Answer::Conflict) {
        state.sender = Sender::GaveUp;
    }
}

fn quietly(change: impl FnOnce()) -> (Option<Reply>, Option<Answer>) {
    change();
    (None, None)
}

/// Time passes everywhere alike; the platform ends whoever has reached the deadline.
fn tick(state: &mut State) {
    if let Record::InProgress { lease, .. } = &mut state.record {
        *lease = lease.saturating_sub(1);
    }
    for request in &mut state.under_way {
        if let Request::Claim { lease, .. } = request {
            *lease = lease.saturating_sub(1);
        }
    }
    for invocation in &mut state.invocations {
        invocation.deadline -= 1;
    }
    state
        .invocations
        .retain(|invocation| invocation.deadline > 0);
}

fn remove(under_way: &mut Vec<Request>, request: Request) {
    let position = under_way.iter().position(|&other| other == request);
    under_way.remove(position.expect("only what is under way arrives"));
}
