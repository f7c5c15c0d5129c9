//! Rounds in small random worlds, compared with a model of what `docs/healing.md` says. A world that is not as it should be is printed with
//! its seed.

mod expected;
mod world;

use std::{env, ops::Range, time::Duration};

use serde_json::Value;
use titanx_healer::report::End;
use titanx_testbed::{
    emulators::{AttributeValue, Item},
    reconciliation::{Dice, HOUR_MS, lines, messages, stored},
    titanx_api::Failure,
};

use self::world::{World, ago};
use crate::system::{System, now_ms, run};

const WORLDS: Range<u64> = 0..60;
/// Worlds at a time: some wait for a lease to end.
const AT_ONCE: usize = 8;
/// Pages after which a position is saved.
const SAVED_AFTER: usize = 50;

impl World {
    /// Compares what the tables and the queue have with the model.
    fn assert_left(&self, system: &System, at: &str) {
        assert_eq!(stored(&system.emulators), lines(&self.records), "{at}");
        let mut sent = self.sent.clone();
        sent.sort();
        assert_eq!(
            messages(&system.emulators.contacts.messages()),
            sent,
            "{at}"
        );
        let recorded = self.jobs.iter().filter_map(|job| job.record.as_ref());
        assert_eq!(
            system.emulators.jobs.len(),
            recorded.clone().count(),
            "{at}"
        );
        for record in recorded {
            let told = |name: &str| system.recorded(&record.id, name);
            let names = [
                "contacts_at_titanx",
                "received",
                "backfilled",
                "unscored",
                "missing",
            ];
            let line = format!(
                "{:?} {:?}",
                told("state"),
                (told("state_reason"), names.map(told))
            );
            assert_eq!(line, record.line(), "{at}");
            let is_checked =
                told("checked_at").is_some_and(|it| it.parse::<i64>().unwrap() > now_ms() - 60_000);
            assert_eq!(
                is_checked,
                record.checked.is_some_and(|age| age < 60_000),
                "{}: {at}",
                record.id
            );
            assert_eq!(
                told("check_ends").is_some(),
                record.held_ms.is_some(),
                "{}: {at}",
                record.id
            );
        }
    }

    /// One run, compared with the model. `None` if there is more than one right result.
    async fn check_run(&mut self, system: &System, at: &str) -> Option<End> {
        let asked = system.api.requests().len();
        let before = self.requests.len();
        let (end, mut expected) = self.run()?;
        let (ended, mut told) = run(&self.healer(system).await, Duration::from_mins(15)).await;
        let ended = match ended {
            Ok(End::RateLimited { .. }) => End::RateLimited { until: 0 },
            ended => ended.unwrap_or_else(|error| panic!("{error:?}: {at}")),
        };
        let at = format!("{at}\nexpected {end:?}: {expected:?}\n{ended:?}: {told:?}");
        assert_eq!(
            system.api.requests()[asked..],
            self.requests[before..],
            "{at}"
        );
        assert_eq!(ended, end, "{at}");
        told.failed.sort();
        expected.failed.sort();
        let failed = told.failed.iter().zip(&expected.failed);
        assert!(
            failed
                .clone()
                .all(|(told, expected)| told.0 == expected.0 && told.1.contains(&expected.1)),
            "{at}"
        );
        assert_eq!(told.failed.len(), expected.failed.len(), "{at}");
        assert_eq!(told.checked, expected.checked, "{at}");
        let scans = told.scans.iter().map(|(records, kept, _)| (records, kept));
        let expected_scans = expected.scans.iter();
        let expected_scans = expected_scans.map(|(records, kept, _)| (records, kept));
        assert!(scans.eq(expected_scans), "{at}");
        assert_eq!(
            (told.held, told.began),
            (expected.held, expected.began),
            "{at}"
        );
        assert_eq!(told.changed, expected.changed, "{at}");
        self.assert_left(system, &at);
        Some(end)
    }

    /// Runs until the round is finished and the next is not due.
    async fn check_runs(&mut self, system: &System, limits: &[usize], at: &str) -> Option<()> {
        let mut limits = limits.iter();
        for turn in 0.. {
            assert!(turn < 20, "it never ends: {at}");
            if self.limit.is_none() {
                self.limit = limits.next().copied();
                let failure = Failure::RateLimited {
                    window: "day",
                    reset_s: 3_600,
                };
                self.limit
                    .inspect(|&limit| system.api.fail_after(limit, "GET", failure));
            }
            match self
                .check_run(system, &format!("{at}run {turn}, limit {:?}", self.limit))
                .await?
            {
                End::Idle => return Some(()),
                End::RateLimited { .. } => {
                    self.limit = None;
                    let (asked, early) = (
                        system.api.requests().len(),
                        run(&self.healer(system).await, Duration::from_mins(15)).await,
                    );
                    assert!(
                        matches!(early.0, Ok(End::RateLimited { .. })),
                        "{at}{early:?}"
                    );
                    assert_eq!(system.api.requests().len(), asked, "{at}");
                    change_round(system, |round| {
                        round.insert("not_before".to_owned(), ago(1_000))
                    });
                }
                _ => {}
            }
        }
        None
    }
}

fn change_round<T>(system: &System, change: impl FnOnce(&mut Item) -> T) {
    let mut round = system.emulators.checks.get("round").unwrap_or_default();
    round.insert("check_id".to_owned(), AttributeValue::S("round".to_owned()));
    change(&mut round);
    system.emulators.checks.put(&round);
}

async fn check(seed: u64) -> Option<()> {
    let mut dice = Dice::new(seed);
    let mut world = World::new(&mut dice);
    let system = System::start();
    world.set_up(&system);
    let at = format!("SEED={seed}: {world}");
    if dice.one_in(3) {
        let mut dry = World {
            dry_run: true,
            ..world.clone()
        };
        let (end, expected) = dry.run()?;
        let (ended, told) = run(&dry.healer(&system).await, Duration::from_mins(15)).await;
        assert_eq!(
            (ended.unwrap(), told.checked),
            (end, expected.checked),
            "dry run: {at}"
        );
        assert_eq!(system.api.requests(), dry.requests, "dry run: {at}");
        world.assert_left(&system, &at);
        for (job, dry) in world.jobs.iter_mut().zip(dry.jobs) {
            job.list = dry.list;
        }
    }
    if dice.one_in(4) {
        change_round(&system, |round| {
            round.insert("lease_ends".to_owned(), ago(-60_000))
        });
        let (end, _) = run(&world.healer(&system).await, Duration::from_mins(15)).await;
        assert_eq!(end.unwrap(), End::Held, "{at}");
        change_round(&system, |round| {
            round.insert("lease_ends".to_owned(), ago(1_000))
        });
        let (end, told) = run(&world.healer(&system).await, Duration::ZERO).await;
        assert_eq!((end.unwrap(), told.began), (End::OutOfTime, vec![]), "{at}");
    }
    let first = if world.is_long() { SAVED_AFTER } else { 0 };
    let limits: Vec<_> = (0..dice.below(4)).map(|_| first + dice.below(10)).collect();
    world.check_runs(&system, &limits, &at).await?;

    // Some time later.
    let began = dice.age(&[world.round_h * HOUR_MS]);
    change_round(&system, |round| {
        let Some(AttributeValue::S(json)) = round.get("json").cloned() else {
            panic!("{round:?}")
        };
        let mut json: Value = serde_json::from_str(&json).unwrap();
        json["began_at"] = (now_ms() - began).into();
        round.insert("json".to_owned(), AttributeValue::S(json.to_string()))
    });
    world.round.as_mut()?.began = began;
    for job in &mut world.jobs {
        if let Some(record) = job.record.as_mut().filter(|it| it.checked.is_some()) {
            let checked = dice.age(&[world.round_h * HOUR_MS / 2]);
            record.checked = Some(checked);
            let mut item = system.emulators.jobs.get(&record.id).unwrap();
            item.insert("checked_at".to_owned(), ago(checked));
            system.emulators.jobs.put(&item);
        }
    }
    let at = format!("later, SEED={seed}: {world}");
    world.check_runs(&system, &[], &at).await
}

#[tokio::test(flavor = "multi_thread")]
async fn does_in_random_worlds_what_the_documents_say() {
    let seeds = match env::var("SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).expect("a number"),
        Err(_) => WORLDS,
    };
    let each = (0..AT_ONCE).map(|first| {
        let seeds = seeds.clone().skip(first).step_by(AT_ONCE);
        tokio::spawn(async move {
            let mut met = 0;
            for seed in seeds {
                met += usize::from(check(seed).await.is_some());
            }
            met
        })
    });
    let mut met = 0;
    for some in each.collect::<Vec<_>>() {
        met += some.await.unwrap();
    }
    // The others depend on the order of the records. Were they many, little would be compared.
    let all = seeds.count();
    assert!(4 * met >= 3 * all, "{met} of {all} worlds are compared");
}
