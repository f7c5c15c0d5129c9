//! What the documents say of jobs, contacts and records.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use sha2::{Digest, Sha256};

use super::{
    Contact, Doubt, Found, Identity, KINDS, List, ListEnd, Paging, Reading, Record, Sent, Status,
    stable,
};
use crate::titanx_api::PagingStyle;

impl Reading {
    /// The next page, whose new contacts are returned. Reading stops at the end that TitanX tells, and at a page that is empty or repeats
    /// the one before. Only the former proves that the list is whole.
    pub fn next(&mut self, list: &mut List, paging: Paging) -> Vec<Contact> {
        let Paging {
            style,
            size,
            max_pages,
        } = paging;
        let all = &list.contacts;
        let from = if style == PagingStyle::Repeating {
            0
        } else {
            (self.pages * size).min(all.len())
        };
        let to = if style == PagingStyle::NoMetadata {
            all.len()
        } else {
            (from + size).min(all.len())
        };
        let page = all[from..to].to_vec();
        let is_last = to == all.len();
        let repeats = self.last_page.as_ref() == Some(&page);
        self.pages += 1;
        if !repeats {
            self.contacts.extend(page.iter().cloned());
            self.last_page = Some(page.clone());
        }
        self.total = match style {
            PagingStyle::Total => Some(all.len()),
            PagingStyle::BelowTotal => Some(all.len() + 1),
            _ => None,
        };
        let goes_on = match style {
            PagingStyle::NoMetadata => false,
            PagingStyle::Repeating | PagingStyle::ForeignLink => true,
            _ => self
                .total
                .map_or(!is_last, |total| self.contacts.len() < total),
        };
        self.end = if repeats
            || style == PagingStyle::NoMetadata
            || goes_on && (page.is_empty() || self.pages == max_pages)
        {
            Some(ListEnd::NotProven)
        } else if !goes_on {
            Some(ListEnd::Proven)
        } else {
            (style == PagingStyle::ForeignLink).then_some(ListEnd::Unreadable)
        };
        if let Some((_, contact)) = list.insertion.take_if(|(after, _)| *after == self.pages) {
            list.contacts.insert(0, contact);
        }
        if repeats { Vec::new() } else { page }
    }
}

/// Compares the contacts of jobs with the records, by the keys of these kinds. `None` if the result depends on the order in which the
/// records are read, or the contacts are sent.
pub fn compare(
    jobs: &[(&str, &[Contact])],
    records: &[Record],
    kinds: &[usize],
) -> Option<Vec<Found>> {
    let mut free: Vec<_> = records
        .iter()
        .filter(|it| it.identity.is_some_and(|it| it.iter().any(Option::is_some)))
        .collect();
    let each = jobs
        .iter()
        .map(|&(job, contacts)| compare_job(job, contacts, &mut free, kinds));
    each.collect()
}

fn compare_job(
    job: &str,
    contacts: &[Contact],
    free: &mut Vec<&Record>,
    kinds: &[usize],
) -> Option<Found> {
    let mut matched: Vec<Option<&Record>> = vec![None; contacts.len()];
    for (scored, unfinished) in [(true, false), (true, true), (false, false), (false, true)] {
        for &kind in kinds {
            for (index, contact) in contacts.iter().enumerate() {
                if matched[index].is_some() || contact.scored != scored {
                    continue;
                }
                let is_same = |record: &Record| {
                    let theirs = record.identity.unwrap_or_default();
                    let common = kinds
                        .iter()
                        .find(|&&kind| contact.identity[kind].and(theirs[kind]).is_some());
                    common == Some(&kind)
                        && contact.identity[kind] == theirs[kind]
                        && (record.status != Status::Completed) == unfinished
                };
                let of_job = |record: &&&Record| {
                    is_same(record) && record.job.as_deref().is_some_and(|it| is_job(it, job))
                };
                let of_none = |record: &&&Record| is_same(record) && record.job.is_none() && scored;
                let mut fit: Vec<_> = free.iter().filter(of_job).copied().collect();
                if fit.is_empty() {
                    fit = free.iter().filter(of_none).copied().collect();
                }
                let kind_of = |it: &Record| {
                    (
                        it.identity,
                        it.delivery_id.starts_with("backfill-"),
                        unfinished.then(|| it.delivery_id.clone()),
                    )
                };
                if fit.iter().any(|it| kind_of(it) != kind_of(fit[0])) {
                    return None;
                }
                matched[index] = fit.first().copied();
                free.retain(|it| {
                    fit.first()
                        .is_none_or(|taken| taken.delivery_id != it.delivery_id)
                });
            }
        }
    }
    let unmatched = free.iter().filter(|it| {
        it.status == Status::Completed && it.job.as_deref().is_some_and(|it| is_job(it, job))
    });
    let mut found = Found {
        unmatched: unmatched.count(),
        ..Found::default()
    };
    for (index, (contact, record)) in contacts.iter().zip(&matched).enumerate() {
        found.scored += usize::from(contact.scored);
        match record {
            None if !contact.scored => found.unscored += 1,
            // Another contact with the same keys may have been queued under one of these ids.
            None => {
                let is_taken = |id: &str| {
                    let of_same = |it: &&Record| it.identity == Some(contact.identity);
                    let mut others = matched.iter().flatten().copied().filter(of_same);
                    others.any(|it| it.delivery_id == id)
                };
                let is_free = |id: &String| {
                    !is_taken(id) && !found.missing.iter().any(|(_, other)| other == id)
                };
                let mut ids = (0..).map(|ordinal| backfill_id(job, contact, ordinal));
                let id = ids.find(is_free).expect("there is always a further one");
                found.missing.push((index, id));
            }
            Some(record) if contact.scored && record.status != Status::Completed => {
                found.missing.push((index, record.delivery_id.clone()));
            }
            Some(record) => {
                let is_backfill = record.delivery_id.starts_with("backfill-")
                    && record.status == Status::Completed;
                found.received += 1;
                found.without_job += usize::from(record.job.is_none());
                found.backfilled += usize::from(is_backfill);
                found.received_unscored += usize::from(!contact.scored);
            }
        }
    }
    Some(found)
}

impl Found {
    /// The doubts about a job whose contacts may have been delivered since so many milliseconds.
    pub fn doubts(&self, delivered_ms: Option<i64>, retention_ms: i64) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        if !self.missing.is_empty() {
            match delivered_ms {
                None => doubts.push(Doubt::AgeUnknown),
                Some(age) if age > retention_ms => doubts.push(Doubt::Expired),
                Some(_) => {}
            }
            if self.unmatched > 0 {
                doubts.push(Doubt::Unmatched(self.unmatched));
            }
        }
        if self.unscored > 0 && (self.scored == 0 || self.received_unscored > 0) {
            doubts.push(Doubt::ScoresNotShown(self.received_unscored));
        }
        doubts
    }
}

/// Claims a backfill's delivery, sends the contact and completes the record, as the receiver would.
pub fn send(
    records: &mut Vec<Record>,
    job: &str,
    contact: &Contact,
    delivery_id: &str,
    retention_h: i64,
) -> Sent {
    let old = records.iter().position(|it| it.delivery_id == delivery_id);
    let lives = old.filter(|&old| records[old].expires_h > 0);
    match lives.map(|old| records[old].status) {
        Some(Status::Completed) => return Sent::Before,
        Some(Status::Unknown) => return Sent::Failed,
        // A lease that is not over yet is waited for.
        Some(Status::Unfinished(_)) | None => {}
    }
    if let Some(old) = old {
        records.remove(old);
    }
    records.push(Record {
        delivery_id: delivery_id.to_owned(),
        job: Some(job.to_owned()),
        identity: Some(contact.identity),
        status: Status::Completed,
        expires_h: retention_h,
    });
    Sent::Queued
}

/// Whether both are the same job's id: case and hyphens do not matter.
pub fn is_job(one: &str, other: &str) -> bool {
    job_key(one) == job_key(other)
}

fn job_key(id: &str) -> String {
    id.to_lowercase().chars().filter(|it| *it != '-').collect()
}

/// The position among the job's scored contacts with the same keys; of those without a key, with the same bytes.
pub fn ordinal(contacts: &[Contact], index: usize) -> usize {
    let ours = &contacts[index];
    contacts[..index]
        .iter()
        .filter(|it| it.scored && is_same(it, ours))
        .count()
}

pub fn is_same(one: &Contact, other: &Contact) -> bool {
    let keyless = one.identity == [None; 6];
    one.identity == other.identity && (!keyless || one.json == other.json)
}

pub(super) fn backfill_id(job: &str, contact: &Contact, ordinal: usize) -> String {
    let keys = keys(contact.identity).into_iter().map(|key| key + "\0");
    let keys: String = keys.collect();
    let recognised = if keys.is_empty() {
        contact.json.to_string()
    } else {
        keys
    };
    let hash = Sha256::digest(format!("{}\0{recognised}{ordinal}", job_key(job)));
    format!("backfill-{}", URL_SAFE_NO_PAD.encode(&hash[..16]))
}

/// The delivery id of a job whose completion was never received.
pub fn backfill_job_id(job: &str) -> String {
    let hash = Sha256::digest(job_key(job));
    format!("backfill-job-{}", URL_SAFE_NO_PAD.encode(&hash[..16]))
}

pub(super) fn keys(identity: Identity) -> Vec<String> {
    let each = KINDS.into_iter().zip(identity).enumerate();
    let each = each.filter_map(|(index, (kind, value))| {
        let value = value?;
        let text = if index < 5 {
            value.to_string()
        } else {
            stable(value)
        };
        Some(format!(
            "{kind}:{}",
            STANDARD_NO_PAD.encode(&Sha256::digest(text)[..16])
        ))
    });
    each.collect()
}
