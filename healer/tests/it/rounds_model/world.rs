//! A world, and what it looks like to a healer.

use std::fmt;

use serde_json::{Value, json};
use titanx_healer::{
    Healer,
    checks::Checks,
    report::{JobResult, State},
};
use titanx_testbed::{
    emulators::{AttributeValue, Item},
    reconciliation::{Dice, Found, HOUR_MS, List, Paging, Reading, Record, put},
    titanx_api::PagingStyle,
};

use crate::system::{System, now_ms, result};

#[derive(Clone)]
pub(super) struct World {
    pub(super) jobs: Vec<Job>,
    pub(super) records: Vec<Record>,
    pub(super) paging: Paging,
    pub(super) retention_h: i64,
    pub(super) delay_h: i64,
    pub(super) round_h: i64,
    pub(super) max_contacts: usize,
    pub(super) dry_run: bool,
    pub(super) round: Option<Round>,
    /// What a run has asked and sent.
    pub(super) requests: Vec<String>,
    pub(super) sent: Vec<String>,
    /// The requests that TitanX answers before its limit of the day is used up.
    pub(super) limit: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    /// As TitanX writes it.
    pub(super) id: String,
    pub(super) record: Option<JobRecord>,
    pub(super) list: List,
    /// What TitanX tells of the job.
    pub(super) told: Value,
    /// How long ago it was created and last changed, and whether it has one of the two last states.
    pub(super) created: Option<i64>,
    pub(super) modified: Option<i64>,
    pub(super) is_last: bool,
}

/// A record in the jobs table. Times are ages in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct JobRecord {
    pub(super) id: String,
    pub(super) completed: Option<i64>,
    pub(super) checked: Option<i64>,
    pub(super) state: Option<State>,
    /// For how long somebody has it.
    pub(super) held_ms: Option<i64>,
    pub(super) result: Option<JobResult>,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(super) enum Step {
    List,
    Compare,
    Backfill,
    Done,
}

#[derive(Clone)]
pub(super) struct Round {
    pub(super) step: Step,
    pub(super) checks: Vec<Check>,
    pub(super) began: i64,
    pub(super) more: bool,
}

#[derive(Clone)]
pub(super) struct Check {
    pub(super) job: usize,
    pub(super) step: Step,
    /// What was saved of the list, and the total of its first page.
    pub(super) reading: Reading,
    pub(super) first_total: Option<usize>,
    pub(super) was_reread: bool,
    pub(super) proven: bool,
    pub(super) found: Found,
    pub(super) doubt: Option<&'static str>,
    /// What was saved of the backfill.
    pub(super) sent: SentPages,
}

#[derive(Clone, Default)]
pub(super) struct SentPages {
    pub(super) pages: usize,
    pub(super) queued: usize,
    pub(super) failed: usize,
}

/// How long the round has a job that it has taken.
pub(super) const BY_ROUND: i64 = i64::MAX;

/// TitanX's limit is used up.
pub(super) struct Limited;

impl World {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let retention_h = dice.of(&[7, 7, 8]) * 24;
        let delay_h = dice.of(&[73, 73, 99]);
        let round_h = dice.of(&[24, 24, 48]);
        // The only form that shows a change of the list while it is read.
        let totals = Paging {
            style: PagingStyle::Total,
            size: 2,
            max_pages: 1_000,
        };
        let mut world = Self {
            jobs: Vec::new(),
            records: Vec::new(),
            paging: if dice.one_in(4) {
                totals
            } else {
                dice.paging()
            },
            retention_h,
            delay_h,
            round_h,
            max_contacts: dice.of(&[1_000_000, 1_000_000, 1, 2, 3, 4]),
            dry_run: false,
            round: None,
            requests: Vec::new(),
            sent: Vec::new(),
            limit: None,
        };
        if dice.one_in(8) {
            world.add_long_job(dice);
            return world;
        }
        for number in 1..=1 + dice.below(4) {
            let job = Job::new(format!("Job-{number}"), &world, dice);
            dice.records(&job.id, &job.list.contacts, &mut world.records);
            world.jobs.push(job);
        }
        world
    }

    fn add_long_job(&mut self, dice: &mut Dice) {
        self.paging = Paging {
            style: dice.of(&PagingStyle::COMPLETE),
            size: 1,
            max_pages: 1_000,
        };
        let id = "Job-1".to_owned();
        self.jobs.push(Job {
            record: Some(JobRecord {
                id: id.clone(),
                completed: Some(self.delay_h * HOUR_MS + 60_000),
                ..JobRecord::default()
            }),
            list: List {
                contacts: dice.long_list(&id, &mut self.records),
                insertion: None,
            },
            told: Value::Null,
            created: None,
            modified: None,
            is_last: false,
            id,
        });
    }

    /// Whether the positions in a list are saved while it is read.
    pub(super) fn is_long(&self) -> bool {
        self.jobs[0].list.contacts.len() > 40
    }
}

impl Job {
    fn new(id: String, world: &World, dice: &mut Dice) -> Self {
        let [delay, retention, round] =
            [world.delay_h, world.retention_h, world.round_h].map(|it| it * HOUR_MS);
        let limits = [delay, retention, retention - 24 * HOUR_MS, 120 * HOUR_MS];
        let mut age = |some_in: usize| (!dice.one_in(some_in)).then(|| dice.age(&limits[..]));
        let [completed, created, modified] = [age(12), age(2), age(6)];
        let now = now_ms() / 1_000 * 1_000;
        let at = |age: Option<i64>| age.map(|age| now - age);
        let status = dice.of(&[
            "Finalized",
            "Finalized",
            "Not Enriched",
            "finalized",
            "Processing",
        ]);
        let (id_member, status_member) = dice.of(&[("id", "status"), ("jobId", "jobStatus")]);
        let told = json!({
            id_member: id, status_member: status,
            "createdAt": dice.time(at(created)), "modifiedAt": dice.time(at(modified)),
        });
        let is_told = !dice.one_in(6);
        let limits = [completed.unwrap_or_default(), round / 2];
        let checked = dice.one_in(2).then(|| dice.age(&limits));
        let state = dice.of(&[
            State::Complete,
            State::Incomplete,
            State::Unproven,
            State::Waiting,
        ]);
        let reason = (state != State::Complete).then_some("failed");
        let spelled = if dice.one_in(10) {
            dice.spelled(&id)
        } else {
            id.clone()
        };
        let record = JobRecord {
            id: spelled,
            completed,
            checked,
            state: checked.map(|_| state),
            held_ms: dice.of(&[None, None, None, Some(-1_000), Some(60_000)]),
            result: checked.map(|_| result(state, reason, [3, 1, 1, 1, 0])),
        };
        let contacts = dice.contacts(0..6);
        let inserted = dice.contacts(1..2).pop();
        let insertion = inserted
            .filter(|_| dice.one_in(5))
            .map(|it| (1 + dice.below(2), it));
        Self {
            record: (!dice.one_in(4)).then_some(record),
            list: List {
                contacts,
                insertion,
            },
            told: if is_told { told } else { Value::Null },
            created: created.filter(|_| is_told),
            modified,
            is_last: matches!(status, "Finalized" | "Not Enriched"),
            id,
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            paging,
            retention_h,
            delay_h,
            round_h,
            max_contacts,
            ..
        } = self;
        writeln!(
            f,
            "{paging:?}, hours: retention {retention_h}, delay {delay_h}, round {round_h}; {max_contacts} contacts at most"
        )?;
        self.jobs
            .iter()
            .try_for_each(|job| writeln!(f, "{job:?}"))?;
        self.records
            .iter()
            .try_for_each(|record| writeln!(f, "{record:?}"))
    }
}

impl World {
    pub(super) fn set_up(&self, system: &System) {
        put(&system.emulators, &self.records);
        system.api.set_paging(self.paging.style);
        system.api.set_page_size(self.paging.size);
        for job in &self.jobs {
            let contacts: Vec<_> = job.list.contacts.iter().map(|it| it.json.clone()).collect();
            system.api.put_job(&job.id, job.told.clone(), &contacts);
            if let Some((page, contact)) = &job.list.insertion {
                system
                    .api
                    .insert_after_page(&job.id, *page, contact.json.clone());
            }
            let Some(record) = &job.record else { continue };
            let text = |text: &str| Some(AttributeValue::S(text.to_owned()));
            let attributes = [
                ("job_id", text(&record.id)),
                ("completed_at", record.completed.map(ago)),
                ("checked_at", record.checked.map(ago)),
                ("state", record.state.and_then(|it| text(it.as_str()))),
                ("checked_by", record.held_ms.and_then(|_| text("somebody"))),
                ("check_ends", record.held_ms.map(|ms| ago(-ms))),
            ];
            let result = record.result.iter();
            let attributes = attributes.into_iter().chain(result.flat_map(recorded));
            let given = attributes.filter_map(|(name, value)| Some((name.to_owned(), value?)));
            system.emulators.jobs.put(&given.collect::<Item>());
        }
    }

    pub(super) async fn healer(&self, system: &System) -> Healer {
        let variables = [
            ("DELIVERY_RETENTION_DAYS", self.retention_h / 24),
            ("HEALER_DELAY_HOURS", self.delay_h),
            ("HEALER_ROUND_HOURS", self.round_h),
        ];
        let variables = variables.map(|(name, value)| (name, value.to_string()));
        let mut healer = system.healer_with(&variables).await;
        let settings = &mut healer.settings;
        settings.max_contacts = self.max_contacts as u64;
        settings.paging.max_pages = u32::try_from(self.paging.max_pages).unwrap();
        settings.dry_run = self.dry_run;
        if self.dry_run {
            healer.checks = Checks::in_memory();
        }
        healer
    }
}

/// The attributes of an earlier result.
fn recorded(result: &JobResult) -> [(&'static str, Option<AttributeValue>); 6] {
    let count = |count: u64| Some(AttributeValue::N(count.to_string()));
    [
        ("state_reason", result.reason.clone().map(AttributeValue::S)),
        ("contacts_at_titanx", count(result.contacts_at_titanx)),
        ("received", count(result.received)),
        ("backfilled", count(result.backfilled)),
        ("unscored", count(result.unscored)),
        ("missing", count(result.missing)),
    ]
}

pub(super) fn ago(age: i64) -> AttributeValue {
    AttributeValue::N((now_ms() / 1_000 * 1_000 - age).to_string())
}
