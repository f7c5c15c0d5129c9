//! What a run of the healer does in a world, as the document says.

use titanx_healer::report::{End, JobResult, State};
use titanx_testbed::reconciliation::{
    Contact, Doubt, Found, HOUR_MS, Identity, List, ListEnd, Reading, Record, Sent, Status,
    backfill_job_id, compare, is_job, is_same, message, ordinal, send,
};

use super::{
    SAVED_AFTER,
    world::{BY_ROUND, Check, Job, JobRecord, Limited, Round, SentPages, Step, World},
};
use crate::system::{Told, result};

impl World {
    fn ask(&mut self, request: String) -> Result<(), Limited> {
        self.requests.push(request);
        self.limit = match self.limit {
            Some(0) => return Err(Limited),
            limit => limit.map(|left| left - 1),
        };
        Ok(())
    }

    /// One run. `None` if the result depends on the order of the records.
    pub(super) fn run(&mut self) -> Option<(End, Told)> {
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
    pub(super) fn line(&self) -> String {
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
