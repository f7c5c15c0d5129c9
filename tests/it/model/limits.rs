//! Where the promises end: what they take for granted about clocks, stores and TitanX, and what it
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
fn a_completion_mark_that_could_not_be_written_belongs_to_the_window() {
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

/// It is not known whether TitanX stamps a retry anew. If it does, and someone replays such a
/// retry, an age limit of retention less one day lets it in when the record is already forgotten.
#[test]
fn a_replayed_retry_that_was_stamped_anew_outlives_the_record() {
    assert_only_a_second_message(
        &restamped(6),
        &[
            "A claims: claimed",
            "A sends: first message, answers 200",
            "A completes: completed",
            "days pass",
            "on day 3 B, stamped day 3, claims: already completed, answers 200 duplicate",
            "days pass",
            "on day 7 C, stamped day 3, claims: claimed",
            "C sends: another message, answers 200",
        ],
    );
}

/// Three days and a half, which are three here: what the retries need, and no more than leaves
/// their own length until the record expires.
#[test]
fn an_age_limit_of_half_the_retention_stops_that_replay() {
    assert!(broken(restamped(3)).is_empty());
}

fn restamped(age_limit: u8) -> World {
    World {
        restamps: true,
        days: true,
        age_limit,
        ..in_small()
    }
}

fn assert_only_a_second_message(world: &World, story: &[&str]) {
    assert_eq!(broken(world.clone()), [DUPLICATES_ARE_EXPLAINED].into());
    assert_eq!(shortest(world, promise(DUPLICATES_ARE_EXPLAINED)), story);
}
