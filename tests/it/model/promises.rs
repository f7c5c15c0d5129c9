//! The promises, as properties that hold in every state, and the turns that the protocol must be
//! able to take.

use stateright::{Model, Property};

use super::protocol::{Answer, Consequence, Reply};
use super::state::{LAST_RETRY, Record, Request, Sender, State};
use super::world::{Action, Fate, World};

pub(super) const NOTHING_ACKNOWLEDGED_IS_LOST: &str = "nothing acknowledged is lost";
pub(super) const A_RETRY_CAN_SUCCEED: &str = "a retry can always succeed";
pub(super) const DUPLICATES_ARE_EXPLAINED: &str = "a second message comes only through the window";
pub(super) const COMPLETED_STAYS: &str = "no release deletes a completed record";
pub(super) const RECORDS_EXPIRE: &str = "every record expires";

pub(super) fn promises() -> Vec<Property<World>> {
    let promise = Property::<World>::always;
    vec![
        promise(NOTHING_ACKNOWLEDGED_IS_LOST, |_, state| {
            !state.acknowledged || state.is_durable()
        }),
        promise(A_RETRY_CAN_SUCCEED, a_retry_can_succeed),
        promise(DUPLICATES_ARE_EXPLAINED, |_, state| {
            !state.history.unexplained
        }),
        promise(COMPLETED_STAYS, |_, state| !state.history.completed_deleted),
        promise(RECORDS_EXPIRE, |_, state| {
            state.record != Record::Completed { written: None }
        }),
    ]
}

pub(super) fn promise(name: &str) -> Property<World> {
    promises()
        .into_iter()
        .find(|promise| promise.name == name)
        .expect("a promise of that name")
}

/// Asked of the states at rest alone, which is enough: every state leads to one of them when
/// whoever lives is killed, whatever is under way is lost and time passes, and each of these is an
/// action that is always possible.
fn a_retry_can_succeed(world: &World, state: &State) -> bool {
    match state.sender {
        _ if !state.is_at_rest() || state.today > LAST_RETRY => true,
        Sender::Satisfied | Sender::GaveUp => state.is_durable(),
        Sender::Retrying => {
            let steps = undisturbed_retry(world, state);
            let mut steps = steps.iter().map(|(_, consequence)| consequence);
            let answered = steps.find(|it| it.answer.is_some());
            answered.is_some_and(|it| {
                it.answer.is_some_and(Answer::acknowledges) && it.state.is_durable()
            })
        }
    }
}

/// A delivery to a world at rest of which every call is answered at once, action by action.
pub(super) fn undisturbed_retry(world: &World, at_rest: &State) -> Vec<(Action, Consequence)> {
    let mut steps = Vec::new();
    let mut state = at_rest.clone();
    while steps.is_empty() || !state.invocations.is_empty() {
        let action = undisturbed_action(world, &state);
        let consequence = world.happen(&state, action);
        state = consequence.state.clone();
        steps.push((action, consequence));
    }
    steps
}

fn undisturbed_action(world: &World, state: &State) -> Action {
    let in_hand = !state.invocations.is_empty();
    let undisturbed = |action: &Action| match action {
        Action::Deliver { attempt, .. } => !in_hand && attempt.fate == Fate::Answered,
        Action::Call { attempt, .. } => attempt.fate == Fate::Answered,
        _ => false,
    };
    possible_actions(world, state)
        .into_iter()
        .find(undisturbed)
        .expect("a retry is always possible")
}

/// Each is reached somewhere, so that no promise holds merely because nothing ever happens.
pub(super) fn turns() -> Vec<Property<World>> {
    let turn = Property::<World>::sometimes;
    vec![
        turn("three invocations are alive", |_, state| {
            state.invocations.len() == 3
        }),
        turn("a lapsed claim is taken over", |world, state| {
            replies(world, state, Reply::TookOver)
        }),
        turn(
            "a claim whose answer was lost is known by its owner",
            |world, state| {
                can_happen(world, state, |action, then| {
                    matches!(action, Action::Call { .. }) && then.reply == Some(Reply::AlreadyOurs)
                })
            },
        ),
        turn("a live claim is answered 429", |world, state| {
            answers(world, state, Answer::Held)
        }),
        turn(
            "a completed delivery is answered 200, duplicate",
            |world, state| answers(world, state, Answer::Duplicate),
        ),
        turn(
            "TitanX has its 200 before the mark is written",
            |_, state| state.sender == Sender::Satisfied && is_answered_and_unmarked(state),
        ),
        turn(
            "a duplicate between the answer and the mark is answered 429",
            |world, state| is_answered_and_unmarked(state) && answers(world, state, Answer::Held),
        ),
        turn(
            "an invocation dies between its answer and its mark",
            |world, state| {
                is_answered_and_unmarked(state)
                    && can_happen(
                        world,
                        state,
                        |action, _| matches!(action, Action::Kill(owner) if state.is_marking(owner)),
                    )
            },
        ),
        turn("a release gives the claim back", |world, state| {
            replies(world, state, Reply::Released)
        }),
        turn("a release finds the delivery completed", |world, state| {
            is_completed(state) && replies(world, state, Reply::NothingToRelease)
        }),
        turn(
            "a second message comes through the window",
            |world, state| replies(world, state, Reply::AnotherMessage),
        ),
        turn(
            "a late claim outlives its sender",
            a_late_claim_outlives_its_sender,
        ),
        turn(
            "a late completion ends another's claim",
            a_late_completion_ends_anothers_claim,
        ),
        turn("an old event is quarantined", |world, state| {
            answers(world, state, Answer::Quarantined)
        }),
        turn("TTL removes an expired record", |world, state| {
            can_happen(world, state, |action, _| action == Action::TtlRemoves)
        }),
    ]
}

fn a_late_claim_outlives_its_sender(world: &World, state: &State) -> bool {
    can_happen(world, state, |action, then| match action {
        Action::Land(Request::Claim { owner, .. }) => {
            state.find(owner).is_none() && then.state.record.is_claimed_by(owner)
        }
        _ => false,
    })
}

fn a_late_completion_ends_anothers_claim(world: &World, state: &State) -> bool {
    can_happen(world, state, |action, _| match (action, state.record) {
        (Action::Land(Request::Complete { owner }), Record::InProgress { owner: holder, .. }) => {
            holder != owner && state.find(holder).is_some()
        }
        _ => false,
    })
}

fn is_answered_and_unmarked(state: &State) -> bool {
    state.acknowledged && state.is_being_marked() && !is_completed(state)
}

fn is_completed(state: &State) -> bool {
    matches!(state.record, Record::Completed { .. })
}

fn replies(world: &World, state: &State, reply: Reply) -> bool {
    can_happen(world, state, |_, then| then.reply == Some(reply))
}

fn answers(world: &World, state: &State, answer: Answer) -> bool {
    can_happen(world, state, |_, then| then.answer == Some(answer))
}

fn can_happen(world: &World, state: &State, sought: impl Fn(Action, &Consequence) -> bool) -> bool {
    possible_actions(world, state)
        .into_iter()
        .any(|action| sought(action, &world.happen(state, action)))
}

fn possible_actions(world: &World, state: &State) -> Vec<Action> {
    let mut actions = Vec::new();
    world.actions(state, &mut actions);
    actions
}
