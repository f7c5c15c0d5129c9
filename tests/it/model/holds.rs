//! The protocol as specified keeps its promises, and not because nothing happens.

use stateright::{Checker, Property};

use super::promises::turns;
use super::state::State;
use super::world::{Faults, World};
use super::{as_specified, broken, explore, in_small, shortest};

const NO_FAULT: Faults = Faults {
    deaths: false,
    unanswered_sends: false,
    unwritten_marks: false,
};

#[test]
fn every_promise_holds_in_every_state() {
    explore(as_specified()).assert_properties();
}

#[test]
fn every_branch_of_the_protocol_is_reached() {
    let world = World {
        under_way: 1,
        properties: turns(),
        ..as_specified()
    };
    explore(world).assert_properties();
}

/// The window once more, without the bookkeeping by which the promise tells a second message that
/// is allowed.
#[test]
fn without_a_fault_between_send_and_mark_there_is_no_second_message() {
    let at_most_one =
        Property::always("at most one message", |_, state: &State| state.messages < 2);
    let world = World {
        faults: NO_FAULT,
        properties: vec![at_most_one],
        ..as_specified()
    };
    assert!(broken(world).is_empty());
}

#[test]
fn a_kill_alone_can_cause_a_second_message() {
    let faults = Faults {
        deaths: true,
        ..NO_FAULT
    };
    assert_eq!(
        second_message(faults),
        [
            "A claims: claimed",
            "A sends: first message, answers 200",
            "tick, A is ended",
            "B claims by a clock 1 ahead: taken over",
            "B sends: another message, answers 200",
        ]
    );
}

#[test]
fn an_unanswered_send_alone_can_cause_a_second_message() {
    let faults = Faults {
        unanswered_sends: true,
        ..NO_FAULT
    };
    assert_eq!(
        second_message(faults),
        [
            "A claims: claimed",
            "A sends, answer lost: first message",
            "A sends: another message, answers 200",
        ]
    );
}

#[test]
fn an_unwritten_completion_mark_alone_can_cause_a_second_message() {
    let faults = Faults {
        unwritten_marks: true,
        ..NO_FAULT
    };
    assert_eq!(
        second_message(faults),
        [
            "A claims: claimed",
            "A sends: first message, answers 200",
            "A completes, refused",
            "A completes, refused",
            "tick",
            "B claims by a clock 1 ahead: taken over",
            "B sends: another message, answers 200",
        ]
    );
}

fn second_message(faults: Faults) -> Vec<String> {
    let two = Property::sometimes("a second message", |_, state: &State| state.messages == 2);
    shortest(
        &World {
            faults,
            ..in_small()
        },
        two,
    )
}
