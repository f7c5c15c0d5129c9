//! `operator reconcile` in small random worlds, compared with a model of what its help and `docs/` say. A world that is not as it should be
//! is printed with its seed.

use std::{env, path::Path};

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{AttributeValue, Item},
    front_door::now_ms,
    reconciliation::{
        Contact, Dice, Doubt, Found, HOUR_MS, KINDS, List, ListEnd, Paging, Reading, Record, Sent,
        compare, is_job, lines, message, messages, put, send, stored,
    },
};

use crate::{
    System,
    titanx_api::{Failure, Form},
};

/// Enough to meet each of some fifty planted mistakes several times.
const WORLDS: u64 = 90;
/// Worlds at a time: some wait for a lease to end.
const AT_ONCE: usize = 8;

struct World {
    jobs: Vec<Job>,
    /// Job ids on the command line.
    asked: Vec<String>,
    records: Vec<Record>,
    paging: Paging,
    retention_days: i64,
    yes: bool,
    despite_doubts: bool,
    match_by: Vec<usize>,
    checkpoint: bool,
    /// The request for a page that TitanX does not answer at first.
    breaks_at: Option<usize>,
    /// The pages that the checkpoint has.
    read: usize,
}

#[derive(Debug)]
struct Job {
    /// As TitanX writes it.
    id: String,
    /// The records in the jobs table: a spelling, and how long ago it was completed, in milliseconds.
    recorded: Vec<(String, Option<i64>)>,
    /// Who has the job, by its records, and for how many milliseconds.
    holder: Option<&'static str>,
    held_ms: i64,
    /// The record that nobody has any more.
    released: Option<String>,
    contacts: Vec<Contact>,
    /// What TitanX tells of the job.
    told: Value,
    /// How long ago TitanX says that it was created, and completed.
    created: Option<i64>,
    completed: Option<i64>,
}

/// What a run should do.
#[derive(Debug, Default)]
struct Expected {
    status: i32,
    /// `None` if the command fails before it has a result.
    reports: Option<Vec<Report>>,
    requests: Vec<String>,
    sent: Vec<String>,
}

#[derive(Debug)]
struct Report {
    job: String,
    contacts: usize,
    found: Found,
    queued: usize,
    before: usize,
    failed: usize,
    proven: bool,
    doubts: Vec<Doubt>,
    retention_days: i64,
}

/// The index of a job, the id that is used for it, and its list.
type ReadList = (usize, String, Reading);

impl World {
    fn new(dice: &mut Dice) -> Self {
        let retention_days = dice.of(&[7, 7, 9]);
        let mut records = Vec::new();
        let jobs: Vec<_> = (1..=1 + dice.below(3))
            .map(|number| {
                let job = Job::new(format!("Job-{number}"), retention_days * 24 * HOUR_MS, dice);
                dice.records(&job.id, &job.contacts, &mut records);
                job
            })
            .collect();
        let mut asked: Vec<_> = jobs
            .iter()
            .map(|job| {
                if job.recorded.is_empty() && !dice.one_in(20) {
                    job.id.clone()
                } else {
                    dice.spelled(&job.id)
                }
            })
            .collect();
        if dice.one_in(4) {
            asked.push(dice.spelled(&jobs[0].id));
        }
        let all = (0..KINDS.len()).collect();
        Self {
            jobs,
            asked,
            records,
            paging: dice.paging(),
            retention_days,
            yes: !dice.one_in(4),
            despite_doubts: dice.one_in(3),
            match_by: dice.of(&[all, vec![0, 1, 2, 3, 4], vec![5], vec![2, 5]]),
            checkpoint: dice.one_in(2),
            breaks_at: dice.one_in(4).then(|| dice.below(5)),
            read: 0,
        }
    }

    /// Reads the list of each job that is asked for. Returns the requests, and if all goes well, the jobs with the ids that are used.
    fn lists(&self) -> (Vec<String>, Option<Vec<ReadList>>) {
        let (mut requests, mut lists) = (Vec::new(), Vec::<ReadList>::new());
        for asked in &self.asked {
            let index = self.jobs.iter().position(|job| is_job(&job.id, asked));
            let job = &self.jobs[index.expect("another spelling of a job's id")];
            let id = job.spelling(asked);
            if lists.iter().any(|(_, other, _)| is_job(other, &id)) {
                continue;
            }
            let mut list = List {
                contacts: job.contacts.clone(),
                insertion: None,
            };
            let mut reading = Reading::default();
            while reading.end.is_none() {
                requests.push(format!("GET /jobs/{id}/contacts"));
                if id != job.id {
                    return (requests, None);
                }
                reading.next(&mut list, self.paging);
            }
            if reading.end == Some(ListEnd::Unreadable) {
                return (requests, None);
            }
            lists.push((index.unwrap_or_default(), id, reading));
        }
        (requests, Some(lists))
    }

    /// What the command does, and what it leaves. `None` if that depends on the order of the records.
    fn run(&mut self) -> Option<Expected> {
        let (requests, lists) = self.lists();
        let mut expected = Expected {
            status: 1,
            requests: requests[self.read..].to_vec(),
            ..Expected::default()
        };
        let is_answered = |request: &&String| {
            self.jobs
                .iter()
                .any(|job| **request == format!("GET /jobs/{}/contacts", job.id))
        };
        self.read = if self.checkpoint {
            requests.iter().filter(is_answered).count()
        } else {
            0
        };
        let Some(lists) = lists else {
            return Some(expected);
        };
        let read: Vec<_> = lists
            .iter()
            .map(|(_, id, list)| (id.as_str(), &list.contacts[..]))
            .collect();
        let found = compare(&read, &self.records, &self.match_by)?;
        let mut reports = Vec::new();
        for ((index, id, list), found) in lists.iter().zip(found) {
            let job = &mut self.jobs[*index];
            let mut report = Report {
                job: id.clone(),
                contacts: list.contacts.len(),
                found,
                queued: 0,
                before: 0,
                failed: 0,
                proven: list.end == Some(ListEnd::Proven),
                doubts: Vec::new(),
                retention_days: self.retention_days,
            };
            if !report.found.missing.is_empty() || report.found.unscored > 0 {
                expected.requests.push(format!("GET /jobs/{id}"));
                report.doubts = report
                    .found
                    .doubts(job.delivered(id), self.retention_days * 24 * HOUR_MS);
            }
            let allowed = self.yes && (self.despite_doubts || report.doubts.is_empty());
            if allowed && !report.found.missing.is_empty() {
                if job.recorded.iter().any(|it| it.0 == *id) {
                    if job
                        .held(id)
                        .is_some_and(|owner| owner != "operator" && job.held_ms > 0)
                    {
                        return Some(expected);
                    }
                    job.released = Some(id.clone());
                }
                for (index, delivery_id) in &report.found.missing {
                    let contact = &list.contacts[*index];
                    match send(
                        &mut self.records,
                        id,
                        contact,
                        delivery_id,
                        self.retention_days * 24,
                    ) {
                        Sent::Queued => {
                            report.queued += 1;
                            expected.sent.push(message(id, contact, delivery_id));
                        }
                        Sent::Before => report.before += 1,
                        Sent::Failed => report.failed += 1,
                    }
                }
            }
            reports.push(report);
        }
        let failed = reports.iter().any(|it| it.failed > 0);
        self.read = if failed { self.read } else { 0 };
        expected.status = if failed {
            1
        } else if reports.iter().any(Report::needs_action) {
            3
        } else {
            0
        };
        expected.reports = Some(reports);
        Some(expected)
    }

    fn line(&self, json: bool, checkpoint: &Path) -> String {
        let max_pages = self.paging.max_pages.to_string();
        let mut line = vec!["reconcile".to_owned(), "--max-pages".to_owned(), max_pages];
        line.extend(self.asked.iter().cloned());
        for (option, is_given) in [
            ("--json", json),
            ("--yes", self.yes),
            ("--despite-doubts", self.despite_doubts),
        ] {
            line.extend(is_given.then(|| option.to_owned()));
        }
        if self.match_by.len() < KINDS.len() {
            let kinds: Vec<_> = self.match_by.iter().map(|&kind| KINDS[kind]).collect();
            line.extend(["--match-by".to_owned(), kinds.join(",")]);
        }
        if self.checkpoint {
            line.extend(["--checkpoint".to_owned(), checkpoint.display().to_string()]);
        }
        line.join(" ")
    }

    /// In a line for each part.
    fn told(&self) -> String {
        let jobs = self.jobs.iter().map(|it| format!("{it:?}"));
        let records = self.records.iter().map(|it| format!("{it:?}"));
        let parts: Vec<_> = jobs.chain(records).collect();
        format!(
            "{:?}, retention of {} days, TitanX fails at {:?}\n{}",
            self.paging,
            self.retention_days,
            self.breaks_at,
            parts.join("\n"),
        )
    }

    fn set_up(&self, system: &System) {
        put(&system.emulators, &self.records);
        system.api.set_paging(self.paging.style);
        system.api.set_page_size(self.paging.size);
        for job in &self.jobs {
            let contacts: Vec<_> = job.contacts.iter().map(|it| it.json.clone()).collect();
            system.api.put_job(&job.id, job.told.clone(), &contacts);
            for (id, completed) in &job.recorded {
                let number = |ms: i64| {
                    AttributeValue::N((i64::try_from(now_ms()).unwrap() + ms).to_string())
                };
                let mut item = Item::from([("job_id".to_owned(), AttributeValue::S(id.clone()))]);
                item.extend(completed.map(|age| ("completed_at".to_owned(), number(-age))));
                if let Some(holder) = job.holder {
                    item.insert(
                        "checked_by".to_owned(),
                        AttributeValue::S(holder.to_owned()),
                    );
                    item.insert("check_ends".to_owned(), number(job.held_ms));
                }
                system.emulators.jobs.put(&item);
            }
        }
    }
}

impl Job {
    fn new(id: String, retention_ms: i64, dice: &mut Dice) -> Self {
        let day = 24 * HOUR_MS;
        let mut age = || (!dice.one_in(3)).then(|| dice.age(&[retention_ms, retention_ms - day]));
        let [created, completed, first, second] = [age(), age(), age(), age()];
        let now = i64::try_from(now_ms()).unwrap();
        let at = |age: Option<i64>| age.map(|age| now - age);
        let name = dice.of(&["completedAt", "modifiedAt", "updatedAt"]);
        let told =
            json!({"id": id, "createdAt": dice.time(at(created)), name: dice.time(at(completed))});
        let recorded = match dice.below(4) {
            0 => vec![],
            1 => vec![
                (id.to_uppercase(), first.map(|age| age + HOUR_MS)),
                (id.clone(), Some(second.unwrap_or_default())),
            ],
            _ => vec![(id.clone(), first)],
        };
        Self {
            recorded,
            holder: dice.of(&[None, None, Some("operator"), Some("healer")]),
            held_ms: dice.of(&[-1_000, -1_000, 60_000]),
            released: None,
            contacts: dice.contacts(0..6),
            told: dice.of(&[told.clone(), told, Value::Null]),
            created,
            completed,
            id,
        }
    }

    /// The spelling by which the job is worked on: as asked if there is such a record, else that of the record that was completed last.
    fn spelling(&self, asked: &str) -> String {
        let exact = self.recorded.iter().find(|it| it.0 == asked);
        let last = exact.or_else(|| {
            self.recorded
                .iter()
                .min_by_key(|it| it.1.unwrap_or(i64::MAX))
        });
        last.map_or(asked, |it| &it.0).to_owned()
    }

    fn held(&self, id: &str) -> Option<&'static str> {
        self.holder.filter(|_| self.released.as_deref() != Some(id))
    }

    /// How long ago the first contact may have been delivered.
    fn delivered(&self, id: &str) -> Option<i64> {
        let told = |age: Option<i64>| age.filter(|_| !self.told.is_null());
        let recorded = self
            .recorded
            .iter()
            .find(|it| it.0 == id)
            .and_then(|it| it.1);
        let completed = recorded.or(told(self.completed));
        told(self.created).or(completed.map(|age| age + 24 * HOUR_MS))
    }
}

impl Report {
    fn scores_in_doubt(&self) -> bool {
        self.doubts
            .iter()
            .any(|it| matches!(it, Doubt::ScoresNotShown(_)))
    }

    fn needs_action(&self) -> bool {
        self.queued + self.before < self.found.missing.len()
            || self.scores_in_doubt()
            || !self.proven
    }

    fn json(&self) -> Value {
        json!({
            "job_id": self.job,
            "contacts": self.contacts,
            "received": self.found.received,
            "received_without_job": self.found.without_job,
            "missing": self.found.missing.len(),
            "unscored": self.found.unscored,
            "queued": self.queued,
            "queued_before": self.before,
            "failed": self.failed,
            "completeness": if self.proven { "proven" } else { "not_proven" },
            "doubts": self.doubts(),
        })
    }

    /// What each doubt's text contains.
    fn doubts(&self) -> Vec<String> {
        let days = self.retention_days;
        let text = |doubt: &Doubt| match doubt {
            Doubt::Expired => {
                format!("deliveries table keeps records for {days} days: the contacts may")
            }
            Doubt::AgeUnknown => "the completion time of the job is unknown".to_owned(),
            Doubt::Unmatched(count) => {
                format!("{count} records of this job match none of its contacts")
            }
            Doubt::ScoresNotShown(0) => "may not show scores: no contact in it has one".to_owned(),
            Doubt::ScoresNotShown(count) => {
                format!("may not show scores: {count} contacts that were received have none")
            }
        };
        self.doubts.iter().map(text).collect()
    }

    /// What each line of the text contains.
    fn text(&self) -> Vec<String> {
        let Self {
            job,
            contacts,
            queued,
            before,
            failed,
            ..
        } = self;
        let Found {
            received,
            without_job,
            unscored,
            ..
        } = self.found;
        let missing = self.found.missing.len();
        let mut text = vec![format!(
            "job {job}: {contacts} contacts at TitanX, {received} received"
        )];
        if without_job > 0 {
            text.push(format!(
                "  {without_job} of them match records without a job id"
            ));
        }
        if missing > 0 && queued + before + failed > 0 {
            text.push(format!(
                "  {missing} missing: {queued} queued, {before} queued before, {failed} failed"
            ));
        } else if missing > 0 {
            let more = if self.doubts.is_empty() {
                ""
            } else {
                " --despite-doubts"
            };
            text.push(format!(
                "  {missing} missing: re-run with --yes{more} to backfill them"
            ));
        } else if !self.scores_in_doubt() {
            text.push("  nothing is missing".to_owned());
        }
        if unscored > 0 {
            text.push(format!("  {unscored} unscored: "));
        }
        text.extend(self.doubts());
        if !self.proven {
            text.push("  completeness not proven: ".to_owned());
        }
        text
    }
}

/// Runs the command, and compares what it has said, asked, queued and left with the model.
fn check_run(world: &mut World, system: &System, line: &str, at: &str) -> Option<()> {
    let asked = system.api.requests().len();
    let queued = system.emulators.contacts.messages().len();
    let expected = world.run()?;
    let run = system.operator.run(line);
    let at = format!("{at}\n{line}\n{}{}{expected:?}", run.stdout, run.stderr);
    assert_eq!(run.status, expected.status, "{at}");
    assert_eq!(system.api.requests()[asked..], expected.requests, "{at}");
    let sent = messages(&system.emulators.contacts.messages()[queued..]);
    let mut expected_sent = expected.sent.clone();
    expected_sent.sort();
    assert_eq!(sent, expected_sent, "{at}");
    assert_eq!(stored(&system.emulators), lines(&world.records), "{at}");
    for job in &world.jobs {
        for (id, _) in &job.recorded {
            let record = system.emulators.jobs.get(id).unwrap();
            let owner = record
                .get("checked_by")
                .map(|it| it == &AttributeValue::S("healer".to_owned()));
            let expected = job.held(id).map(|owner| owner == "healer");
            assert_eq!(
                (owner, record.contains_key("check_ends")),
                (expected, expected.is_some()),
                "{id}: {at}"
            );
        }
    }
    let Some(reports) = &expected.reports else {
        assert_eq!(run.stdout, "", "{at}");
        return Some(());
    };
    if line.contains("--json") {
        let mut told = run.json();
        for (told, report) in told.as_array_mut().unwrap().iter_mut().zip(reports) {
            for (told, text) in told["doubts"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .zip(report.doubts())
            {
                let is_so = told.as_str().unwrap().contains(&text);
                *told = if is_so { text.into() } else { told.clone() };
            }
        }
        let reports: Vec<_> = reports.iter().map(Report::json).collect();
        assert_eq!(told, json!(reports), "{at}");
    } else {
        let text: Vec<_> = reports.iter().flat_map(Report::text).collect();
        let is_so = run
            .stdout
            .lines()
            .zip(&text)
            .all(|(line, text)| line.contains(text));
        assert!(
            is_so && run.stdout.lines().count() == text.len(),
            "{text:#?}\n{at}"
        );
    }
    Some(())
}

/// Runs the command twice or more in a world. `None` if the world has more than one right result.
fn check(seed: u64) -> Option<()> {
    let mut dice = Dice::new(seed);
    let mut world = World::new(&mut dice);
    let system = System::start(Form::Schema);
    world.set_up(&system);
    let system = System {
        operator: system
            .operator
            .clone()
            .set("DELIVERY_RETENTION_DAYS", world.retention_days.to_string()),
        ..system
    };
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("checkpoint.json");
    let at = format!("SEED={seed}: {}", world.told());
    if let Some(after) = world.breaks_at {
        let (requests, _) = world.lists();
        if after < requests.len() {
            system
                .api
                .fail_after(after, "GET /jobs/", Failure::Status(404));
            let run = system.operator.run(&world.line(false, &checkpoint));
            assert_eq!((run.status, &run.stdout[..]), (1, ""), "{at}");
            assert_eq!(system.api.requests(), requests[..=after], "{at}");
            world.read = if world.checkpoint { after } else { 0 };
        }
    }
    for turn in 0..2 {
        let line = world.line(dice.one_in(2), &checkpoint);
        check_run(&mut world, &system, &line, &at)?;
        assert_eq!(checkpoint.exists(), world.read > 0, "{turn}: {at}");
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn does_in_random_worlds_what_the_documents_say() {
    let seeds = match env::var("SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).expect("a number"),
        Err(_) => 0..WORLDS,
    };
    let each = (0..AT_ONCE).map(|first| {
        let seeds = seeds.clone().skip(first).step_by(AT_ONCE);
        tokio::task::spawn_blocking(|| seeds.filter_map(check).count())
    });
    let mut met = 0;
    for some in each.collect::<Vec<_>>() {
        met += some.await.unwrap();
    }
    // The others depend on the order of the records. Were they many, little would be compared.
    let all = seeds.count();
    assert!(4 * met >= 3 * all, "{met} of {all} worlds are compared");
}
