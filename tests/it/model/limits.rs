//! Where the promises end: what they take for granted about clocks and stores, and what it
//! costs if that fails.

use super::promises::{DUPLICATES_ARE_EXPLAINED, promise};
use super::world::World;
use super::{broken, in_small, shortest};

#[test]
fn clocks_further_apart_than_the_margin_cost_a_second_message_but_never_an_event() {
    let world = World {
        clocks_apart: 2,
        ..in_small()
    };
    assert_only_a_second_message(
        &world,
        &[
            "A claims: claimed",
            "B claims by a clock 2 ahead: taken over",
            "A sends: first message, answers 200",
            "B sends: another message, answers 200",
        ],
    );
}

/// The event is on the queue and the 200 has been posted. If that answer is lost as well, a retry
/// after the lease finds no completion mark and sends again. Nobody died, and SQS answered.
#[test]
fn a_completion_mark_that_could_not_be_written_can_cause_a_second_message() {
    let world = World {
        unwritten_mark_excuses: false,
        ..in_small()
    };
    assert_only_a_second_message(
        &world,
        &[
            "A claims: claimed",
            "A sends: first message, answers 200",
            "A completes, refused",
            "A completes, refused",
            "tick",
            "B claims by a clock 1 ahead: taken over",
            "B sends: another message, answers 200",
        ],
    );
}

fn assert_only_a_second_message(world: &World, story: &[&str]) {
    assert_eq!(broken(world.clone()), [DUPLICATES_ARE_EXPLAINED].into());
    assert_eq!(shortest(world, promise(DUPLICATES_ARE_EXPLAINED)), story);
}
