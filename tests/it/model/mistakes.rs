//! The model has teeth: each mistake that receivers make is found, with the promise it breaks and
//! the shortest story that shows it.

use super::promises::{
    A_RETRY_CAN_SUCCEED, COMPLETED_STAYS, DUPLICATES_ARE_EXPLAINED, NOTHING_ACKNOWLEDGED_IS_LOST,
    RECORDS_EXPIRE, promise,
};
use super::world::{Mistake, World};
use super::{broken, in_small, shortest};

#[test]
fn marking_before_the_send_answers_duplicate_for_what_was_never_sent() {
    assert_found(
        &in_small().with(Mistake::MarkBeforeSend),
        &[NOTHING_ACKNOWLEDGED_IS_LOST, A_RETRY_CAN_SUCCEED],
        &[
            "A claims: claimed",
            "B claims: already completed, answers 200 duplicate",
        ],
    );
}

/// A mark that fails before the send excuses no second message: nothing kept a mark from following
/// the send.
#[test]
fn completing_before_the_send_loses_the_event_in_spite_of_the_lease() {
    assert_found(
        &in_small().with(Mistake::CompleteBeforeSend),
        &[
            NOTHING_ACKNOWLEDGED_IS_LOST,
            A_RETRY_CAN_SUCCEED,
            DUPLICATES_ARE_EXPLAINED,
        ],
        &[
            "A claims: claimed",
            "A completes: completed",
            "B claims: already completed, answers 200 duplicate",
        ],
    );
}

#[test]
fn answering_before_the_send_acknowledges_what_may_never_be_sent() {
    assert_found(
        &in_small().with(Mistake::AnswerBeforeSend),
        &[NOTHING_ACKNOWLEDGED_IS_LOST, A_RETRY_CAN_SUCCEED],
        &["A claims: claimed, answers 200"],
    );
}

/// TitanX sends again only if the answer does not reach it. Nobody died, SQS answered, and no mark
/// failed: the window allows no second message here.
#[test]
fn forgetting_the_mark_once_the_answer_has_left_sends_every_later_retry_again() {
    assert_found(
        &in_small().with(Mistake::NoMarkAfterAnswer),
        &[DUPLICATES_ARE_EXPLAINED],
        &[
            "A claims: claimed",
            "A sends: first message, answers 200",
            "tick",
            "B claims by a clock 1 ahead: taken over",
            "B sends: another message, answers 200",
        ],
    );
}

#[test]
fn an_unconditional_release_deletes_what_a_later_holder_completed() {
    assert_found(
        &in_small().with(Mistake::UnconditionalRelease),
        &[COMPLETED_STAYS, DUPLICATES_ARE_EXPLAINED],
        &[
            "A claims: claimed",
            "A sends, refused",
            "A sends, refused",
            "A releases, answer lost: released",
            "B claims: claimed",
            "B sends: first message, answers 200",
            "B completes: completed",
            "A releases: a completed record is deleted, answers 503",
        ],
    );
}

#[test]
fn answering_duplicate_for_a_live_lease_acknowledges_what_its_holder_may_never_send() {
    assert_found(
        &in_small().with(Mistake::DuplicateWhileHeld),
        &[NOTHING_ACKNOWLEDGED_IS_LOST, A_RETRY_CAN_SUCCEED],
        &[
            "A claims: claimed",
            "B claims: held by another, answers 200 duplicate",
        ],
    );
}

#[test]
fn answering_409_for_a_live_lease_makes_titanx_drop_what_its_holder_may_never_send() {
    assert_found(
        &in_small().with(Mistake::ConflictWhileHeld),
        &[A_RETRY_CAN_SUCCEED],
        &[
            "A claims: claimed",
            "B claims: held by another, answers 409",
            "tick, A is ended",
            "tick",
        ],
    );
}

#[test]
fn answering_duplicate_while_the_store_is_down_acknowledges_without_a_send() {
    assert_found(
        &in_small().with(Mistake::DuplicateWhenStoreIsDown),
        &[NOTHING_ACKNOWLEDGED_IS_LOST, A_RETRY_CAN_SUCCEED],
        &[
            "A claims, refused",
            "A claims, refused, answers 200 duplicate",
        ],
    );
}

#[test]
fn a_lease_shorter_than_the_work_lets_two_living_holders_send() {
    assert_found(
        &in_small().with(Mistake::LeaseShorterThanTheWork),
        &[DUPLICATES_ARE_EXPLAINED],
        &[
            "A claims: claimed",
            "B claims: taken over",
            "A sends: first message, answers 200",
            "B sends: another message, answers 200",
        ],
    );
}

#[test]
fn a_lease_without_end_leaves_a_dead_holders_claim_that_no_retry_can_take_over() {
    assert_found(
        &in_small().with(Mistake::LeaseWithoutEnd),
        &[A_RETRY_CAN_SUCCEED],
        &[
            "A claims: claimed",
            "tick, A is ended",
            "tick",
            "retry: B claims: held by another, answers 429",
        ],
    );
}

#[test]
fn without_an_owner_a_repeated_release_frees_another_invocations_claim() {
    assert_found(
        &in_small().with(Mistake::NoOwner),
        &[DUPLICATES_ARE_EXPLAINED],
        &[
            "A claims: claimed",
            "A sends, refused",
            "A sends, refused",
            "A releases, answer lost: released",
            "B claims: claimed",
            "A releases: released, answers 503",
            "C claims: claimed",
            "B sends: first message, answers 200",
            "C sends: another message, answers 200",
        ],
    );
}

#[test]
fn completing_by_update_makes_a_released_record_anew_without_an_expiration() {
    assert_found(
        &in_small().with(Mistake::CompleteByUpdate),
        &[RECORDS_EXPIRE],
        &[
            "A claims: claimed",
            "A sends: first message, answers 200",
            "A completes, late",
            "tick, A is ended",
            "B claims by a clock 1 ahead: taken over",
            "B sends, refused",
            "B sends, refused",
            "B releases: released, answers 503",
            "A's late completion lands: completed for ever",
        ],
    );
}

#[test]
fn a_retention_shorter_than_the_retries_forgets_a_delivery_that_titanx_still_retries() {
    assert_found(
        &over_days().with(Mistake::RetentionShorterThanRetries),
        &[DUPLICATES_ARE_EXPLAINED],
        &[
            "A claims: claimed",
            "A sends: first message, answers 200",
            "A completes: completed",
            "days pass",
            "on day 3 B, stamped day 3, claims: claimed",
            "B sends: another message, answers 200",
        ],
    );
}

#[test]
fn without_an_age_limit_a_replay_of_a_forgotten_delivery_is_sent_again() {
    assert_found(
        &over_days().with(Mistake::NoAgeLimit),
        &[DUPLICATES_ARE_EXPLAINED],
        &[
            "A claims: claimed",
            "A sends: first message, answers 200",
            "A completes: completed",
            "days pass",
            "days pass",
            "on day 8 B, stamped day 0, claims: claimed",
            "B sends: another message, answers 200",
        ],
    );
}

/// The record is as old as the first attempt, and the replay as young as the last retry.
#[test]
fn an_age_limit_of_retention_less_a_day_lets_a_replayed_retry_outlive_the_record() {
    let world = over_days().with(Mistake::AgeLimitOfRetentionLessADay);
    assert_found(
        &world,
        &[DUPLICATES_ARE_EXPLAINED],
        &[
            "A claims: claimed",
            "A sends: first message, answers 200",
            "A completes: completed",
            "days pass",
            "on day 3 B, stamped day 3, claims: already completed, answers 200 duplicate",
            "days pass",
            "on day 8 C, stamped day 3, claims: claimed",
            "C sends: another message, answers 200",
        ],
    );
    let keeps_the_stamp = World {
        restamps: false,
        ..world
    };
    assert!(broken(keeps_the_stamp).is_empty());
}

impl World {
    fn with(self, mistake: Mistake) -> Self {
        Self {
            mistake: Some(mistake),
            ..self
        }
    }
}

fn over_days() -> World {
    World {
        days: true,
        ..in_small()
    }
}

/// These promises are broken and no other, and this is the shortest story of the first.
fn assert_found(world: &World, promises: &[&'static str], story: &[&str]) {
    assert_eq!(broken(world.clone()), promises.iter().copied().collect());
    assert_eq!(shortest(world, promise(promises[0])), story);
}
