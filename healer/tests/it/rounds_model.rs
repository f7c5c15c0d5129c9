//! Rounds in small random worlds, compared with a model of what `docs/healing.md` says. A world that is not as it should be is printed with
//! its seed.

use std::{env, fmt, ops::Range, time::Duration};

use serde_json::{Value, json};
use titanx_healer::{
    Healer,
    checks::Checks,
    report::{End, JobResult, State},
};
use titanx_testbed::{
    emulators::{AttributeValue, Item},
    reconciliation::{
        Contact, Dice, Doubt, Found, HOUR_MS, Identity, List, ListEnd, Paging, Reading, Record,
        Sent, Status, backfill_job_id, compare, is_job, is_same, lines, message, messages, ordinal,
        put, send, stored,
    },
    titanx_api::{Failure, PagingStyle},
};

use crate::system::{System, Told, now_ms, result, run};

const WORLDS: Range<u64> = 0..60;
/// Worlds at a time: some wait for a lease to end.
const AT_ONCE: usize = 8;
/// Pages after which a position is saved.
const SAVED_AFTER: usize = 50;

#[derive(Clone)]
struct World {
    jobs: Vec<Job>,
    records: Vec<Record>,
    paging: Paging,
    retention_h: i64,
    delay_h: i64,
    round_h: i64,
    max_contacts: usize,
    dry_run: bool,
    round: Option<Round>,
    /// What a run has asked and sent.
    requests: Vec<String>,
    sent: Vec<String>,
    /// The requests that TitanX answers before its limit of the day is used up.
    limit: Option<usize>,
}

#[derive(Clone, Debug)]
struct Job {
    /// As TitanX writes it.
    id: String,
    record: Option<JobRecord>,
    list: List,
    /// What TitanX tells of the job.
    told: Value,
    /// How long ago it was created and last changed, and whether it has one of the two last states.
    created: Option<i64>,
    modified: Option<i64>,
    is_last: bool,
}

/// A record in the jobs table. Times are ages in milliseconds.
#[derive(Clone, Debug, Default)]
struct JobRecord {
    id: String,
    completed: Option<i64>,
    checked: Option<i64>,
    state: Option<State>,
    /// For how long somebody has it.
    held_ms: Option<i64>,
    result: Option<JobResult>,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Step {
    List,
    Compare,
    Backfill,
    Done,
}

#[derive(Clone)]
struct Round {
    step: Step,
    checks: Vec<Check>,
    began: i64,
    more: bool,
}

#[derive(Clone)]
struct Check {
    job: usize,
    step: Step,
    /// What was saved of the list, and the total of its first page.
    reading: Reading,
    first_total: Option<usize>,
    was_reread: bool,
    proven: bool,
    found: Found,
    doubt: Option<&'static str>,
    /// What was saved of the backfill.
    sent: SentPages,
}

#[derive(Clone, Default)]
struct SentPages {
    pages: usize,
    queued: usize,
    failed: usize,
}

/// How long the round has a job that it has taken.
const BY_ROUND: i64 = i64::MAX;

/// TitanX's limit is used up.
struct Limited;

impl World {
    fn new(dice: &mut Dice) -> Self {
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
    fn is_long(&self) -> bool {
        self.jobs[0].list.contacts.len() > 40
    }

    fn ask(&mut self, request: String) -> Result<(), Limited> {
        self.requests.push(request);
        self.limit = match self.limit {
            Some(0) => return Err(Limited),
            limit => limit.map(|left| left - 1),
        };
        Ok(())
    }

    /// One run. `None` if the result depends on the order of the records.
    fn run(&mut self) -> Option<(End, Told)> {
        let mut told = Told::default();
        let idle =
            |it: &Round| it.step == Step::Done && !it.more && it.began < self.round_h * HOUR_MS;
        if self.round.as_ref().is_some_and(idle) {
            return Some((End::Idle, told));
        }
        let end = match self.steps(&mut told) {
            Ok(true) => End::RoundFinished {
                more: self.round.as_ref()?.more,
            },
            Ok(false) => return None,
            Err(Limited) => End::RateLimited { until: 0 },
        };
        Some((end, told))
    }

    fn steps(&mut self, told: &mut Told) -> Result<bool, Limited> {
        if self.round.as_ref().is_none_or(|it| it.step == Step::Done) {
            self.find(told)?;
        }
        let mut round = self.round.take().expect("it was found");
        let done = self.steps_of(&mut round, told);
        self.round = Some(round);
        done
    }

    fn steps_of(&mut self, round: &mut Round, told: &mut Told) -> Result<bool, Limited> {
        if round.step == Step::List {
            self.list(round, told)?;
            round.step = Step::Compare;
        }
        if round.step == Step::Compare {
            if self.compare(round, told).is_none() {
                return Ok(false);
            }
            round.step = Step::Backfill;
        }
        for check in &mut round.checks {
            if check.step == Step::Backfill {
                self.backfill(check, told)?;
            }
        }
        round.step = Step::Done;
        Ok(true)
    }

    fn find(&mut self, told: &mut Told) -> Result<(), Limited> {
        let as_item = |job: &Job| Contact {
            identity: [None; 6],
            scored: false,
            json: job.told.clone(),
        };
        let mut list = List {
            contacts: self.jobs.iter().map(as_item).collect(),
            insertion: None,
        };
        let mut reading = Reading::default();
        while reading.end.is_none() {
            self.ask("GET /jobs".to_owned())?;
            reading.next(&mut list, self.paging);
        }
        let (delay, retention) = (self.delay_h * HOUR_MS, self.retention_h * HOUR_MS);
        let (mut completed, mut undecided) = (0, 0);
        let mut due = Vec::new();
        for index in 0..self.jobs.len() {
            let job = &mut self.jobs[index];
            let is_listed =
                !job.told.is_null() && reading.contacts.iter().any(|it| it.json == job.told);
            if let Some(record) = &job.record {
                if record.is_due(delay, retention, self.round_h * HOUR_MS) {
                    due.push((record.completed, record.id.clone(), index));
                }
                continue;
            } else if !is_listed {
                continue;
            }
            let Some(modified) = job.modified.filter(|_| job.is_last) else {
                undecided += 1;
                continue;
            };
            if (delay..=retention).contains(&modified) {
                completed += 1;
                due.push((Some(modified), job.id.clone(), index));
                let record = JobRecord {
                    id: job.id.clone(),
                    completed: Some(modified),
                    ..JobRecord::default()
                };
                if !self.dry_run {
                    self.records.push(Record {
                        delivery_id: backfill_job_id(&job.id),
                        job: None,
                        identity: None,
                        status: Status::Completed,
                        expires_h: self.retention_h,
                    });
                }
                job.record = Some(record);
            }
        }
        due.sort_by(|a, b| (b.0, &a.1).cmp(&(a.0, &b.1)));
        told.began.push((due.len(), completed, undecided));
        let checks = due
            .into_iter()
            .map(|(_, _, job)| Check::new(job))
            .collect::<Vec<_>>();
        let step = if checks.is_empty() {
            Step::Done
        } else {
            Step::List
        };
        self.round = Some(Round {
            step,
            checks,
            began: 0,
            more: false,
        });
        Ok(())
    }

    fn list(&mut self, round: &mut Round, told: &mut Told) -> Result<(), Limited> {
        let mut contacts = 0;
        for number in 0..round.checks.len() {
            if contacts >= self.max_contacts {
                round.more = true;
                round.checks.truncate(number);
                break;
            }
            let check = &mut round.checks[number];
            if check.step == Step::List {
                self.list_job(check, told)?;
            }
            if check.step == Step::Compare {
                contacts += check.reading.contacts.len();
            }
        }
        Ok(())
    }

    fn list_job(&mut self, check: &mut Check, told: &mut Told) -> Result<(), Limited> {
        let job = &mut self.jobs[check.job];
        let record = job.record.as_mut().expect("a job that is due");
        let id = record.id.clone();
        let is_known = id == job.id;
        if !self.dry_run && record.held_ms.is_some_and(|ms| ms > 0 && ms != BY_ROUND) {
            told.held.push(id);
            check.step = Step::Done;
            return Ok(());
        }
        if !self.dry_run {
            (record.state, record.held_ms) = (Some(State::Waiting), Some(BY_ROUND));
        }
        if check.reading.pages == 0 && !check.was_reread {
            self.ask(format!("GET /jobs/{id}"))?;
        }
        loop {
            let mut reading = check.reading.clone();
            while reading.end.is_none() {
                self.ask(format!("GET /jobs/{id}/contacts"))?;
                if !is_known {
                    self.finish(
                        check,
                        told,
                        result(State::Unproven, Some("not_listed"), [0; 5]),
                    );
                    return Ok(());
                }
                reading.next(&mut self.jobs[check.job].list, self.paging);
                if reading.pages == 1 {
                    check.first_total = reading.total;
                }
                if reading.pages.is_multiple_of(SAVED_AFTER) {
                    check.reading = reading.clone();
                }
            }
            if reading.end == Some(ListEnd::Unreadable) {
                self.finish(
                    check,
                    told,
                    result(State::Unproven, Some("titanx_failed"), [0; 5]),
                );
                return Ok(());
            }
            let has_changed = reading.total != check.first_total;
            if !has_changed || check.was_reread {
                check.proven = reading.end == Some(ListEnd::Proven) && !has_changed;
                check.reading = reading;
                check.step = Step::Compare;
                return Ok(());
            }
            check.was_reread = true;
            check.reading = Reading::default();
        }
    }

    fn compare(&mut self, round: &mut Round, told: &mut Told) -> Option<()> {
        let listed: Vec<_> = round
            .checks
            .iter()
            .filter(|it| it.step == Step::Compare)
            .collect();
        if listed.is_empty() {
            return Some(());
        }
        let jobs: Vec<_> = listed
            .iter()
            .map(|it| (self.jobs[it.job].id.as_str(), &it.reading.contacts[..]))
            .collect();
        let has_key = |record: &Record| {
            // Ids of two kinds may have the same text.
            let parts = |it: Identity| [it[..5].to_vec(), it[5..].to_vec()];
            let theirs = parts(record.identity.unwrap_or_default());
            let mut all = jobs.iter().flat_map(|(_, contacts)| *contacts);
            all.any(|contact| {
                let mut both = parts(contact.identity).into_iter().zip(&theirs);
                both.any(|(ours, theirs)| ours.iter().any(|it| it.is_some() && theirs.contains(it)))
            })
        };
        let is_kept = |record: &&Record| {
            let has_keys = record.identity.is_some_and(|it| it != [None; 6]);
            has_keys
                && record.job.as_ref().map_or_else(
                    || has_key(record),
                    |id| jobs.iter().any(|(job, _)| is_job(job, id)),
                )
        };
        let kept = self.records.iter().filter(is_kept).count();
        told.scans.push((self.records.len() as u64, kept, 0.0));
        let found = compare(&jobs, &self.records, &[0, 1, 2, 3, 4, 5])?;
        let checks = round
            .checks
            .iter_mut()
            .filter(|it| it.step == Step::Compare);
        for (check, found) in checks.zip(found) {
            let job = &self.jobs[check.job];
            let completed = job.record.as_ref()?.completed.map(|age| age + 24 * HOUR_MS);
            let doubts = found.doubts(job.created.or(completed), self.retention_h * HOUR_MS);
            check.doubt = doubts.first().map(|doubt| match doubt {
                Doubt::Expired => "records_expired",
                Doubt::AgeUnknown => "age_unknown",
                Doubt::Unmatched(_) => "unmatched_records",
                Doubt::ScoresNotShown(_) => "scores_not_shown",
            });
            check.found = found;
            let may_send = check.doubt.is_none() && check.proven;
            if may_send && !check.found.missing.is_empty() && !self.dry_run {
                check.step = Step::Backfill;
                continue;
            }
            let dry_run = (may_send && !check.found.missing.is_empty()).then_some("dry_run");
            let result = check.result(dry_run);
            self.finish(check, told, result);
        }
        Some(())
    }

    fn backfill(&mut self, check: &mut Check, told: &mut Told) -> Result<(), Limited> {
        let id = self.jobs[check.job].id.clone();
        let compared = &check.reading.contacts;
        let missing = check
            .found
            .missing
            .iter()
            .map(|(index, id)| (&compared[*index], ordinal(compared, *index), id));
        let mut missing: Vec<_> = missing.collect();
        let mut reading = Reading::default();
        let mut now = check.sent.clone();
        let mut first_total = None;
        while reading.end.is_none() {
            self.ask(format!("GET /jobs/{id}/contacts"))?;
            let before = reading.contacts.len();
            reading.next(&mut self.jobs[check.job].list, self.paging);
            first_total = if reading.pages == 1 {
                reading.total
            } else {
                first_total
            };
            for index in before..reading.contacts.len() {
                let contact = &reading.contacts[index];
                let nth = ordinal(&reading.contacts, index);
                let is_it = |(other, ordinal, _): &(&Contact, usize, _)| {
                    is_same(other, contact) && *ordinal == nth
                };
                let Some(place) = missing.iter().position(is_it).filter(|_| contact.scored) else {
                    continue;
                };
                let (_, _, delivery_id) = missing.remove(place);
                if reading.pages <= check.sent.pages {
                    continue;
                }
                match send(
                    &mut self.records,
                    &id,
                    contact,
                    delivery_id,
                    self.retention_h,
                ) {
                    Sent::Failed => {
                        now.failed += 1;
                        told.failed.push((id.clone(), delivery_id.clone()));
                    }
                    sent => {
                        now.queued += 1;
                        self.sent.extend(
                            (sent == Sent::Queued).then(|| message(&id, contact, delivery_id)),
                        );
                    }
                }
            }
            if reading.pages % SAVED_AFTER == 0 {
                now.pages = reading.pages;
                check.sent = now.clone();
            }
        }
        let is_as_before = reading.contacts.len() == compared.len()
            && reading.total == first_total
            && reading.end == Some(ListEnd::Proven)
            && missing.is_empty();
        check.sent = now;
        let result = check.result((!is_as_before).then_some("list_changed"));
        self.finish(check, told, result);
        Ok(())
    }

    fn finish(&mut self, check: &mut Check, told: &mut Told, result: JobResult) {
        check.step = Step::Done;
        let record = self.jobs[check.job]
            .record
            .as_mut()
            .expect("a job that was checked");
        told.checked.push((record.id.clone(), result.clone()));
        if !self.dry_run {
            (record.state, record.checked) = (Some(result.state), Some(0));
            (record.held_ms, record.result) = (None, Some(result));
        }
    }
}

impl Check {
    fn new(job: usize) -> Self {
        Self {
            job,
            step: Step::List,
            reading: Reading::default(),
            first_total: None,
            was_reread: false,
            proven: false,
            found: Found::default(),
            doubt: None,
            sent: SentPages::default(),
        }
    }

    fn result(&self, other: Option<&str>) -> JobResult {
        let missing = self.found.missing.len() - self.sent.queued;
        let failed = (self.sent.failed > 0).then_some("failed");
        let unproven = (!self.proven).then_some("completeness");
        let reason = failed
            .or(self.doubt)
            .or(unproven)
            .or(other)
            .or((missing > 0).then_some("failed"));
        let state = match (missing, reason) {
            (0, None) => State::Complete,
            (0, _) => State::Unproven,
            _ => State::Incomplete,
        };
        let received = self.found.received - self.found.backfilled;
        let backfilled = self.found.backfilled + self.sent.queued;
        let counts = [
            self.reading.contacts.len(),
            received,
            backfilled,
            self.found.unscored,
            missing,
        ];
        result(state, reason, counts.map(|it| it as u64))
    }
}

impl JobRecord {
    fn is_due(&self, delay: i64, retention: i64, round: i64) -> bool {
        let Some(completed) = self.completed.filter(|it| (delay..=retention).contains(it)) else {
            return false;
        };
        let is_complete = self.state == Some(State::Complete);
        let retried =
            |checked| !is_complete && completed <= 5 * 24 * HOUR_MS && checked > round / 2;
        self.checked
            .is_none_or(|checked| checked > completed || retried(checked))
    }

    /// What the record should say of the check.
    fn line(&self) -> String {
        let counts = self.result.as_ref().map(|it| {
            let JobResult {
                reason,
                contacts_at_titanx,
                received,
                backfilled,
                unscored,
                missing,
                ..
            } = it;
            (
                reason.clone(),
                [contacts_at_titanx, received, backfilled, unscored, missing]
                    .map(|it| Some(it.to_string())),
            )
        });
        format!(
            "{:?} {:?}",
            self.state.map(State::as_str),
            counts.unwrap_or_default()
        )
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

fn ago(age: i64) -> AttributeValue {
    AttributeValue::N((now_ms() / 1_000 * 1_000 - age).to_string())
}

impl World {
    fn set_up(&self, system: &System) {
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

    async fn healer(&self, system: &System) -> Healer {
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
