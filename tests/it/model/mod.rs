//! The delivery protocol, model-checked: every order of events that one delivery can meet, within
//! the bounds below, is visited by [`stateright`], and the promises are asked of every state.
//!
//! ```sh
//! cargo test --test it model:: -- --nocapture --test-threads 1   # prints figures and stories
//! ```
//!
//! What is modelled is the protocol, not the code: that the code does what the protocol says is for
//! the failure matrix to show. Read [`world::World::happen`] first, then [`promises`]; [`holds`],
//! [`mistakes`] and [`limits`] are the tests. [`replay`] is a second, small model, for the one rule
//! that takes days to break: how old an event may be.
//!
//! # What may happen
//!
//! TitanX delivers the event, once or several times at once, and again for as long as it has
//! received neither a 200 nor a final 4xx: after a 429, a 503, a timeout, or an answer that was
//! lost. Every attempt of every call may be answered; take effect with the answer lost; be refused;
//! or be given up and *late*, to take effect at any later moment, even after its sender's death, or
//! never. The SDK then makes its second attempt. An invocation may be killed anywhere, and is ended
//! at its deadline. Clocks differ. Days pass, records expire and are removed some time later, and
//! somebody replays an old request. None of this is limited in number.
//!
//! # Time
//!
//! Two scales. *Ticks* order what a lease must order: an invocation lives two ticks at most, its
//! lease runs until its deadline and one tick more, two clocks are one tick apart at most. Within a
//! tick every order of events is tried, so a tick has no length in seconds: a lease of two ticks is
//! any lease that outlasts its holder by the clocks' difference. *Days* order what the retention
//! must order: day 0, TitanX's last retry on day 3, and the first days on which a record of either
//! has expired, 8 and 11. They pass only where nothing runs and nothing is under way, since AWS
//! refuses a signed request some minutes after its signature. TitanX stamps each retry anew, which
//! no document rules out and which is what serves a replayer best. That a TitanX that keeps the
//! event's own time does no harm either, and what happens on the days in between, is for [`replay`].
//!
//! # How the space is kept small
//!
//! - An invocation begins with its first attempt to claim, with any number of ticks left: before
//!   that it touches nothing that is shared.
//! - An answer is posted together with the reply to the last call before it. A death between the
//!   two is the same as a death in that call after it took effect. After a send the invocation lives
//!   on to write its completion mark, a separate step: deaths, lost answers, late marks and
//!   duplicates between answer and mark are all explored.
//! - Owners are random and only compared, so their names do not tell states apart
//!   ([`state::State`]'s hash).
//! - A late request that can change nothing any more is forgotten.
//! - A lease is measured on its owner's clock; of a claimant's clock only those two readings are
//!   tried that see it differently. A clock that is behind is not tried: it answers 429 where it
//!   could have taken over, and whoever is answered 429 leaves the same state as whoever is killed.
//!
//! # What the bounds leave out
//!
//! More than three invocations alive at once, two attempts of a call, two late requests at a time,
//! and the difference between two messages and more. Other ids (they share no item); the same id
//! with another payload; the jobs table, whose update is a send that does no harm when repeated;
//! SQS's own duplicates and a FIFO queue's deduplication; failures of the quarantine queue.
//! Of the days: a delivery's age and its record's expiry are read at one moment, off a clock that
//! agrees with TitanX's. In truth the claim comes seconds after the check of the age, on clocks that
//! differ by about as much, so a retry stamped in the last seconds of TitanX's three days could be
//! replayed for that long. A TitanX that stamps ahead of time, or retries for more than three days,
//! widens this by as much.
//! DynamoDB and SQS are taken at their word: a conditional put is atomic, a message accepted is
//! kept. The checker knows a state by a hash of 64 bits: among *n* states, two are taken for one
//! with a probability of about *n*²/2⁶⁵.

mod holds;
mod limits;
mod mistakes;
mod promises;
mod protocol;
mod replay;
mod state;
mod story;
mod world;

use std::collections::BTreeSet;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, Model, Property};

use promises::{A_RETRY_CAN_SUCCEED, promises};
use world::{Faults, World};

/// The receiver as specified, in a world where everything may happen, three invocations at a time.
fn as_specified() -> World {
    World {
        at_once: 3,
        lifetime: 2,
        under_way: 2,
        clocks_apart: 1,
        days: true,
        restamps: true,
        faults: Faults {
            deaths: true,
            unanswered_sends: true,
            unwritten_marks: true,
        },
        unwritten_mark_excuses: true,
        mistake: None,
        properties: promises(),
    }
}

/// A smaller world, in which what breaks a promise breaks it already: two invocations at a time, one
/// tick to live, one late request, and a single day unless a test sets the calendar going.
fn in_small() -> World {
    World {
        at_once: 2,
        lifetime: 1,
        under_way: 1,
        days: false,
        ..as_specified()
    }
}

/// Visits every state there is, unless everything asked is decided before.
fn explore<M>(world: M) -> impl Checker<M>
where
    M: Model<State: Clone + Hash + PartialEq + Send + Sync, Action: Clone + PartialEq>
        + Send
        + Sync
        + 'static,
{
    let started = Instant::now();
    let checker = world.checker().spawn_bfs().join();
    println!(
        "{} states, {} transitions, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f32(),
    );
    checker
}

/// Every promise that is broken somewhere.
fn broken(world: World) -> BTreeSet<&'static str> {
    explore(world).discoveries().into_keys().collect()
}

/// The shortest story that decides the property: breadth first, and nothing else is asked.
fn shortest(world: &World, property: Property<World>) -> Vec<String> {
    let name = property.name;
    let world = World {
        properties: vec![property],
        ..world.clone()
    };
    let path = explore(world.clone()).assert_any_discovery(name);
    let story = match name {
        A_RETRY_CAN_SUCCEED => story::tell_with_retry(&world, path),
        _ => story::tell(&world, path),
    };
    println!("{name}:\n    {}", story.join("\n    "));
    story
}
