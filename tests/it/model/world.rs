//! What may happen, and in which world.

use stateright::{Model, Property};

use super::state::{
    ATTEMPTS, CALENDAR, Day, Invocation, LAST_RETRY, Owner, Record, Request, Sender, State, Step,
};

/// What becomes of one attempt of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    /// It takes no effect: connection refused, 500, throttled.
    Refused,
    /// It takes effect, and the caller does not learn so.
    AnswerLost,
    /// The caller gives it up while it is under way: it takes effect at any later moment, or never.
    Late,
}

/// One attempt of a call; `ahead` is by how many ticks the caller's clock is ahead of the lease's
/// owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub fate: Fate,
    pub ahead: u8,
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The event reaches the function, which makes its first attempt to claim it with `left` ticks
    /// to live: TitanX's first delivery, a retry, a second one at the same time, or, after the last
    /// retry, anybody's replay.
    Deliver {
        stamped: Day,
        left: u8,
        attempt: Attempt,
    },
    /// An invocation makes the next attempt of the call it is at.
    Call {
        owner: Owner,
        attempt: Attempt,
    },
    /// An invocation dies.
    Kill(Owner),
    /// A request that nobody waits for takes effect.
    Land(Request),
    /// A request that nobody waits for is lost.
    Vanish(Request),
    /// A 200 that has left reaches TitanX.
    AnswerArrives,
    Tick,
    /// The calendar moves on, over a world at rest.
    DaysPass,
    /// DynamoDB removes the expired record, at any time after its expiry.
    TtlRemoves,
}

/// Mistakes that receivers make, to see that each is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The id is marked as seen before the send, for good.
    MarkBeforeSend,
    /// There is a lease, but the completion mark comes before the send.
    CompleteBeforeSend,
    /// The answer is posted as soon as the delivery is claimed.
    AnswerBeforeSend,
    /// The invocation ends with its answer, and no completion mark is asked for: a return too
    /// early, a task that is dropped.
    NoMarkAfterAnswer,
    UnconditionalRelease,
    DuplicateWhileHeld,
    ConflictWhileHeld,
    DuplicateWhenStoreIsDown,
    LeaseShorterThanTheWork,
    LeaseWithoutEnd,
    /// No `claimed_by`: a release asks for `INPROGRESS` alone, and one's own claim looks like
    /// another's.
    NoOwner,
    /// Completion updates the status instead of writing every attribute.
    CompleteByUpdate,
    RetentionShorterThanRetries,
    NoAgeLimit,
    /// An event becomes stale a day before its record expires, and not three: as if every record
    /// were as old as the latest `timestamp` sent under its id.
    AgeLimitOfRetentionLessADay,
}

/// The faults that promise 3 names; all others may always happen.
#[derive(Clone, Copy)]
pub(super) struct Faults {
    /// An invocation dies.
    pub deaths: bool,
    /// A send takes effect unanswered.
    pub unanswered_sends: bool,
    /// A completion fails at its last attempt, too.
    pub unwritten_marks: bool,
}

/// What is fixed before the first delivery: bounds, clocks, TitanX's habits, faults, a mistake.
#[derive(Clone)]
pub(super) struct World {
    /// Invocations that may be alive at one time.
    pub at_once: usize,
    /// Ticks that an invocation may live.
    pub lifetime: u8,
    /// Requests that may be under way, unwaited for, at one time.
    pub under_way: usize,
    /// The most, in ticks, by which two clocks differ.
    pub clocks_apart: u8,
    /// Whether the calendar moves.
    pub days: bool,
    /// Whether TitanX puts the time of the attempt, not of the event, into `timestamp`.
    pub restamps: bool,
    pub faults: Faults,
    /// Whether a completion mark that could not be written allows a second message.
    pub unwritten_mark_excuses: bool,
    pub mistake: Option<Mistake>,
    /// What is asked.
    pub properties: Vec<Property<World>>,
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::at_first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.deliveries(state, actions);
        self.work(state, actions);
        Self::late_requests(state, actions);
        self.passing_time(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let next = self.happen(state, action).state;
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.properties.clone()
    }
}

/// What may happen.
impl World {
    fn deliveries(&self, state: &State, actions: &mut Vec<Action>) {
        if state.invocations.len() == self.at_once {
            return;
        }
        let attempts = self.attempts(state, Step::Claim, ATTEMPTS);
        for stamped in self.stamps(state) {
            for left in 1..=self.lifetime {
                actions.extend(attempts.iter().map(|&attempt| Action::Deliver {
                    stamped,
                    left,
                    attempt,
                }));
            }
        }
    }

    /// The days that the `timestamp` of a request may bear that arrives now.
    fn stamps(&self, state: &State) -> Vec<Day> {
        let replayed = state.today > LAST_RETRY;
        match state.sender {
            _ if replayed && state.stamped > CALENDAR[0] => vec![CALENDAR[0], state.stamped],
            _ if replayed => vec![CALENDAR[0]],
            Sender::Retrying if self.restamps => vec![state.today],
            Sender::Retrying => vec![CALENDAR[0]],
            Sender::Satisfied | Sender::GaveUp => vec![],
        }
    }

    fn work(&self, state: &State, actions: &mut Vec<Action>) {
        for &Invocation {
            owner,
            step,
            attempts,
            ..
        } in &state.invocations
        {
            let attempts = self.attempts(state, step, attempts);
            actions.extend(
                attempts
                    .into_iter()
                    .map(|attempt| Action::Call { owner, attempt }),
            );
            if self.faults.deaths {
                actions.push(Action::Kill(owner));
            }
        }
    }

    fn attempts(&self, state: &State, step: Step, left: u8) -> Vec<Attempt> {
        let fates = [Fate::Answered, Fate::Refused, Fate::AnswerLost, Fate::Late];
        let possible = fates
            .into_iter()
            .filter(|&fate| self.is_possible(state, step, left, fate));
        let clocks = self.clocks_that_matter(state, step);
        possible
            .flat_map(|fate| clocks.iter().map(move |&ahead| Attempt { fate, ahead }))
            .collect()
    }

    fn is_possible(&self, state: &State, step: Step, left: u8, fate: Fate) -> bool {
        let must_be_answered = match step {
            Step::Send => fate != Fate::Refused && !self.faults.unanswered_sends,
            Step::Complete => left == 1 && !self.faults.unwritten_marks,
            Step::Claim | Step::Release => false,
        };
        let has_room = state.under_way.len() < self.under_way;
        fate == Fate::Answered || !must_be_answered && (fate != Fate::Late || has_room)
    }

    /// The two clocks that see a lease differently: one for which it has just not ended, one for
    /// which it just has.
    fn clocks_that_matter(&self, state: &State, step: Step) -> Vec<u8> {
        match state.record {
            Record::InProgress { lease, .. }
                if step == Step::Claim && (1..=self.clocks_apart).contains(&lease) =>
            {
                vec![lease - 1, lease]
            }
            _ => vec![0],
        }
    }

    fn late_requests(state: &State, actions: &mut Vec<Action>) {
        for &request in &state.under_way {
            actions.push(Action::Land(request));
            actions.push(Action::Vanish(request));
        }
    }

    fn passing_time(&self, state: &State, actions: &mut Vec<Action>) {
        let kills = state
            .invocations
            .iter()
            .any(|invocation| invocation.deadline == 1);
        if self.faults.deaths || !kills {
            actions.push(Action::Tick);
        }
        if state.acknowledged && state.sender == Sender::Retrying {
            actions.push(Action::AnswerArrives);
        }
        if self.days && state.is_at_rest() && next_day(state.today).is_some() {
            actions.push(Action::DaysPass);
        }
        if self.has_expired(state.record, state.today) {
            actions.push(Action::TtlRemoves);
        }
    }
}

pub(super) fn next_day(today: Day) -> Option<Day> {
    CALENDAR.into_iter().find(|&day| day > today)
}
