//! How old an event may be: a model of whole days and nothing else.
//!
//! An event is quarantined as stale when its `timestamp` is older than a limit, because its record
//! may have expired by then and a replay would be sent again. The limit is the retention less the
//! three days for which TitanX retries. With a longer limit a replay can be young enough after the
//! record has expired. With a limit under four days TitanX's own retries become stale: three days,
//! and the one by which the first attempt may be late.
//!
//! # What may happen
//!
//! TitanX makes its first attempt on the day of the event or a day later, and comes again on any of
//! the three days after that. It stamps each attempt with the day of the event or with that of the
//! attempt. It never receives an answer, so it may retry to the end: the later the retry, the more it
//! is worth to a replayer. Any attempt may fail; the first that succeeds writes the record. A replayer
//! captures every attempt, failed ones included, and sends it again on any day from then on, any
//! number of times. TTL removes an expired record on any later day, or never.
//!
//! # How the space is kept small
//!
//! - Claim, send and completion are one step. [`World`](super::world::World) has the failures in
//!   between.
//! - Only the request with the latest stamp is replayed: an earlier one is stale sooner, and differs
//!   in nothing else.
//! - The calendar ends on the first day on which everything captured is stale: nothing can be sent
//!   from then on.
//!
//! # What the bounds leave out
//!
//! Fractions of a day, which would matter only if a replay had to pass two strict comparisons: it
//! passes one, the record's expiry (an age of exactly the limit is not stale). Clocks that differ,
//! and the seconds between the check of the age and the claim (see [`super`]). A first attempt more
//! than a day after its event, or a retry more than three days after the first attempt.

use std::collections::BTreeSet;

use stateright::{Checker, Model, Property};

use super::explore;
use super::state::Day;

/// Days after its first attempt on which TitanX comes again.
const RETRY_WINDOW: Day = 3;
/// The latest day of a first attempt; the event is of day 0.
const LATEST_FIRST_ATTEMPT: Day = 1;
/// The least retention that the function starts with.
const LEAST_RETENTION: Day = 7;

const SENT_ONCE: &str = "no event is sent twice";
const NEVER_TOO_OLD_FOR_TITANX: &str = "nothing as young as a retry of TitanX's is stale";

/// Days for which records are kept, and the age past which an event is stale.
#[derive(Clone)]
struct Rule {
    retention: Day,
    age_limit: Day,
    properties: Vec<Property<Self>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    today: Day,
    first_attempt: Option<Day>,
    /// The latest `timestamp` of an attempt of TitanX's.
    captured: Option<Day>,
    /// When the completed record was written.
    record: Option<Day>,
    /// 2 stands for any more.
    messages: u8,
    /// An attempt of TitanX's, or a replay no older than TitanX's retries get, was quarantined.
    refused_too_early: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Attempt { stamped: Day, fails: bool },
    Replay { stamped: Day },
    NextDay,
    TtlRemoves,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Sent,
    SentAgain,
    Duplicate,
    Stale,
    Failed,
}

impl Rule {
    fn new(retention: Day, age_limit: Day) -> Self {
        let properties = vec![
            Property::always(SENT_ONCE, |_, state: &State| state.messages < 2),
            Property::always(NEVER_TOO_OLD_FOR_TITANX, |_, state: &State| {
                !state.refused_too_early
            }),
        ];
        Self {
            retention,
            age_limit,
            properties,
        }
    }

    fn as_specified(retention: Day) -> Self {
        Self::new(retention, retention - RETRY_WINDOW)
    }

    /// What follows from an action, and what whoever sent a request comes to.
    fn happen(&self, before: &State, action: Action) -> (State, Option<Outcome>) {
        let mut state = before.clone();
        let outcome = match action {
            Action::Attempt { stamped, fails } => {
                state.first_attempt.get_or_insert(state.today);
                state.captured = state.captured.max(Some(stamped));
                Some(if fails {
                    Outcome::Failed
                } else {
                    self.receive(&mut state, stamped)
                })
            }
            Action::Replay { stamped } => Some(self.receive(&mut state, stamped)),
            Action::NextDay => {
                state.today += 1;
                None
            }
            Action::TtlRemoves => {
                state.record = None;
                None
            }
        };
        let from_titanx = matches!(action, Action::Attempt { .. });
        let young =
            matches!(action, Action::Replay { stamped } if before.today - stamped <= RETRY_WINDOW);
        state.refused_too_early |= outcome == Some(Outcome::Stale) && (from_titanx || young);
        (state, outcome)
    }

    /// The receiver: the age is looked at before the record.
    fn receive(&self, state: &mut State, stamped: Day) -> Outcome {
        if state.today - stamped > self.age_limit {
            return Outcome::Stale;
        }
        if state.record.is_some() && !self.has_expired(state) {
            return Outcome::Duplicate;
        }
        state.record = Some(state.today);
        if state.messages == 0 {
            state.messages = 1;
            return Outcome::Sent;
        }
        state.messages = 2;
        Outcome::SentAgain
    }

    fn has_expired(&self, state: &State) -> bool {
        state
            .record
            .is_some_and(|written| state.today > written + self.retention)
    }

    /// The outcome of a replay that comes now, if there is anything to replay.
    fn replay(&self, state: &State) -> Option<Outcome> {
        let stamped = state.captured?;
        self.happen(state, Action::Replay { stamped }).1
    }

    /// The first day on which all that TitanX has ever sent is stale.
    fn last_day(&self) -> Day {
        LATEST_FIRST_ATTEMPT + RETRY_WINDOW + self.age_limit + 1
    }
}

impl Model for Rule {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            today: 0,
            first_attempt: None,
            captured: None,
            record: None,
            messages: 0,
            refused_too_early: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let last_attempt = match state.first_attempt {
            Some(first) => first + RETRY_WINDOW,
            None => LATEST_FIRST_ATTEMPT,
        };
        if state.today <= last_attempt {
            for stamped in BTreeSet::from([0, state.today]) {
                for fails in [false, true] {
                    actions.push(Action::Attempt { stamped, fails });
                }
            }
        }
        if let Some(stamped) = state.captured {
            actions.push(Action::Replay { stamped });
        }
        if self.has_expired(state) {
            actions.push(Action::TtlRemoves);
        }
        if state.today < self.last_day() {
            actions.push(Action::NextDay);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let (next, _) = self.happen(state, action);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.properties.clone()
    }
}

fn broken(rule: Rule) -> BTreeSet<&'static str> {
    explore(rule).discoveries().into_keys().collect()
}

/// The shortest way to break the promise, without the days on which nothing happens.
fn story(rule: &Rule, promise: &'static str) -> Vec<String> {
    let mut rule = rule.clone();
    rule.properties.retain(|property| property.name == promise);
    let path = explore(rule.clone()).assert_any_discovery(promise);
    let story: Vec<_> = path
        .into_vec()
        .into_iter()
        .filter_map(|(state, action)| tell(&rule, &state, action?))
        .collect();
    println!("{promise}:\n    {}", story.join("\n    "));
    story
}

fn tell(rule: &Rule, before: &State, action: Action) -> Option<String> {
    let what = match action {
        Action::Attempt { stamped, .. } => format!("TitanX sends, stamped day {stamped}"),
        Action::Replay { stamped } => format!("a replay, stamped day {stamped}"),
        Action::TtlRemoves => "TTL removes the record".to_owned(),
        Action::NextDay => return None,
    };
    let outcome = match rule.happen(before, action).1 {
        Some(Outcome::Sent) => ": sent",
        Some(Outcome::SentAgain) => ": sent again",
        Some(Outcome::Duplicate) => ": a duplicate",
        Some(Outcome::Stale) => ": stale",
        Some(Outcome::Failed) => ": fails",
        None => "",
    };
    Some(format!("day {}: {what}{outcome}", before.today))
}

#[test]
fn a_limit_of_retention_less_the_retries_lets_nothing_in_twice_and_keeps_no_retry_out() {
    for retention in LEAST_RETENTION..=10 {
        assert!(broken(Rule::as_specified(retention)).is_empty());
    }
}

/// So that nothing above holds merely because nothing happens.
#[test]
fn every_branch_is_reached() {
    let turn = Property::<Rule>::sometimes;
    let properties = vec![
        turn("a retry is stamped anew on the last day", |_, state| {
            state.captured == Some(LATEST_FIRST_ATTEMPT + RETRY_WINDOW)
        }),
        turn(
            "TitanX's last attempt is the first to succeed",
            |_, state| {
                let last = state.first_attempt.map(|first| first + RETRY_WINDOW);
                state.record.is_some() && state.record == last
            },
        ),
        turn("a replay is a duplicate", |rule, state| {
            rule.replay(state) == Some(Outcome::Duplicate)
        }),
        turn("a replay of what never succeeded is sent", |rule, state| {
            rule.replay(state) == Some(Outcome::Sent)
        }),
        turn("a replay is stale while its record lives", |rule, state| {
            state.record.is_some()
                && !rule.has_expired(state)
                && rule.replay(state) == Some(Outcome::Stale)
        }),
        turn(
            "a replay is stale and its record has expired",
            |rule, state| rule.has_expired(state) && rule.replay(state) == Some(Outcome::Stale),
        ),
        turn(
            "a replay is stale and its record is removed",
            |rule, state| {
                state.messages > 0
                    && state.record.is_none()
                    && rule.replay(state) == Some(Outcome::Stale)
            },
        ),
    ];
    let rule = Rule {
        properties,
        ..Rule::as_specified(LEAST_RETENTION)
    };
    explore(rule).assert_properties();
}

/// The rule that the function once had.
#[test]
fn a_limit_of_retention_less_a_day_lets_a_replay_in_after_the_record_is_forgotten() {
    for retention in LEAST_RETENTION..=10 {
        let rule = Rule::new(retention, retention - 1);
        assert_eq!(broken(rule), [SENT_ONCE].into());
    }
    assert_eq!(
        story(&Rule::new(7, 6), SENT_ONCE),
        [
            "day 0: TitanX sends, stamped day 0: sent",
            "day 2: TitanX sends, stamped day 2: a duplicate",
            "day 8: a replay, stamped day 2: sent again",
        ]
    );
}

/// It allowed four days of retention, too, which leave a replayer who waits five.
#[test]
fn that_limit_is_no_better_with_a_retention_of_four_days() {
    let rule = Rule::new(4, 3);
    assert_eq!(
        broken(rule.clone()),
        [SENT_ONCE, NEVER_TOO_OLD_FOR_TITANX].into()
    );
    assert_eq!(
        story(&rule, SENT_ONCE),
        [
            "day 0: TitanX sends, stamped day 0: sent",
            "day 2: TitanX sends, stamped day 2: a duplicate",
            "day 5: a replay, stamped day 2: sent again",
        ]
    );
}

/// A day longer than specified, a replay gets in; shorter than four days, a retry is kept out.
#[test]
fn no_other_limit_does_better() {
    for retention in LEAST_RETENTION..=8 {
        for age_limit in 0..=retention {
            let mut expected = BTreeSet::new();
            if age_limit > retention - 3 {
                expected.insert(SENT_ONCE);
            }
            if age_limit < 4 {
                expected.insert(NEVER_TOO_OLD_FOR_TITANX);
            }
            let found = broken(Rule::new(retention, age_limit));
            assert_eq!(found, expected, "{retention} days, limit {age_limit}");
        }
    }
}

#[test]
fn seven_days_are_the_least_retention_that_keeps_no_retry_out() {
    for retention in RETRY_WINDOW..LEAST_RETENTION {
        let rule = Rule::as_specified(retention);
        assert_eq!(broken(rule), [NEVER_TOO_OLD_FOR_TITANX].into());
    }
    assert_eq!(
        story(&Rule::as_specified(6), NEVER_TOO_OLD_FOR_TITANX),
        [
            "day 1: TitanX sends, stamped day 0: sent",
            "day 4: TitanX sends, stamped day 0: stale",
        ]
    );
}
