//! Which contacts were received: each record stands for one contact.

use std::collections::{HashMap, HashSet};

use serde_json::value::RawValue;
use titanx_receiver::contact::{Contact, KEY_KINDS};

use crate::records::Record;

/// The records that no contact has been recognised in yet.
pub(super) struct Pool {
    records: Vec<Record>,
    taken: Vec<bool>,
    /// Which records have a key.
    by_key: HashMap<String, Vec<usize>>,
    /// The kinds of keys to compare by, the strongest first.
    kinds: Vec<&'static str>,
}

/// What came of one job.
pub(super) struct Matched<'a> {
    pub(super) missing: Vec<Missing<'a>>,
    /// Contacts recognised in records that name no job.
    pub(super) without_job: usize,
    /// Records of the job that fit none of its contacts.
    pub(super) unrecognised: usize,
}

/// A contact that was not received.
pub(super) struct Missing<'a> {
    pub(super) contact: &'a RawValue,
    pub(super) keys: Vec<String>,
    /// Of contacts with the very same keys, which one this is.
    pub(super) ordinal: usize,
}

impl Pool {
    /// Compares by `kinds`, or by all if there are none.
    pub(super) fn new(records: Vec<Record>, kinds: &[String]) -> Self {
        let chosen = |kind: &&str| kinds.is_empty() || kinds.iter().any(|it| it == kind);
        let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, record) in records.iter().enumerate() {
            for key in &record.keys {
                by_key.entry(key.clone()).or_default().push(index);
            }
        }
        // Records that name their job are taken first.
        for indices in by_key.values_mut() {
            indices.sort_by_key(|&index| records[index].job_id.is_none());
        }
        Self {
            taken: vec![false; records.len()],
            records,
            by_key,
            kinds: KEY_KINDS.into_iter().filter(chosen).collect(),
        }
    }

    /// Takes the records of a job's contacts.
    pub(super) fn take<'a>(&mut self, job: &str, contacts: &'a [Box<RawValue>]) -> Matched<'a> {
        let mut matched = Matched {
            missing: Vec::new(),
            without_job: 0,
            unrecognised: 0,
        };
        let mut ordinals: HashMap<Vec<String>, usize> = HashMap::new();
        for contact in contacts {
            let keys = keys(contact);
            let next = ordinals.entry(keys.clone()).or_default();
            let ordinal = *next;
            *next += 1;
            match self.find(job, &keys) {
                Some(index) => {
                    self.taken[index] = true;
                    matched.without_job += usize::from(self.records[index].job_id.is_none());
                }
                None => matched.missing.push(Missing {
                    contact,
                    keys,
                    ordinal,
                }),
            }
        }
        let left = self.records.iter().zip(&self.taken);
        let of_job = left.filter(|(it, taken)| !**taken && it.job_id.as_deref() == Some(job));
        matched.unrecognised = of_job.count();
        matched
    }

    fn find(&self, job: &str, keys: &[String]) -> Option<usize> {
        let keys: Vec<_> = self
            .kinds
            .iter()
            .filter_map(|kind| of_kind(keys, kind))
            .collect();
        keys.iter().find_map(|key| {
            let candidates = self.by_key.get(*key)?.iter().copied();
            let mut candidates = candidates.filter(|&index| !self.taken[index]);
            candidates.find(|&index| {
                let record = &self.records[index];
                record.job_id.as_deref().is_none_or(|it| it == job)
                    && strongest_in_common(&keys, &record.keys) == Some(key)
            })
        })
    }
}

/// The key of the strongest kind that both have, if it is the same.
fn strongest_in_common<'k>(
    keys: &'k [&'k String],
    record: &HashSet<String>,
) -> Option<&'k &'k String> {
    let has = |key: &str| {
        let kind = key.split(':').next();
        record.iter().any(|it| it.split(':').next() == kind)
    };
    let strongest = keys.iter().find(|key| has(key))?;
    record.contains(*strongest).then_some(strongest)
}

fn of_kind<'k>(keys: &'k [String], kind: &str) -> Option<&'k String> {
    keys.iter().find(|key| key.split(':').next() == Some(kind))
}

/// A contact's keys; none for what is no object, which then is found missing.
fn keys(contact: &RawValue) -> Vec<String> {
    let contact = serde_json::from_str::<Contact>(contact.get());
    contact.map(|contact| contact.keys()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts(json: &[&str]) -> Vec<Box<RawValue>> {
        let raw = |json: &&str| RawValue::from_string((*json).to_owned()).unwrap();
        json.iter().map(raw).collect()
    }

    fn record(job_id: Option<&str>, json: &str) -> Record {
        let contact: Contact = serde_json::from_str(json).unwrap();
        Record {
            job_id: job_id.map(str::to_owned),
            keys: contact.keys().into_iter().collect(),
        }
    }

    /// The missing contacts of `job`, their ordinals, and the job's records that fit none.
    fn missing(records: Vec<Record>, at_titanx: &[&str]) -> (Vec<(String, usize)>, usize) {
        let contacts = contacts(at_titanx);
        let matched = Pool::new(records, &[]).take("job", &contacts);
        let missing = matched.missing.iter();
        let missing = missing
            .map(|it| (it.contact.get().to_owned(), it.ordinal))
            .collect();
        (missing, matched.unrecognised)
    }

    const A: &str = r#"{"id": "a", "email": "a@example.com"}"#;
    const B: &str = r#"{"id": "b", "email": "a@example.com"}"#;
    const PLAIN: &str = r#"{"email": "a@example.com"}"#;

    #[test]
    fn a_contact_is_recognised_by_its_id_before_its_digest() {
        let records = vec![record(Some("job"), A)];
        assert_eq!(missing(records, &[B, A]), (vec![(B.to_owned(), 0)], 0));
    }

    #[test]
    fn the_digest_counts_where_one_side_has_no_id() {
        assert_eq!(missing(vec![record(Some("job"), PLAIN)], &[A]), (vec![], 0));
        assert_eq!(missing(vec![record(Some("job"), A)], &[PLAIN]), (vec![], 0));
    }

    #[test]
    fn two_like_contacts_need_two_records() {
        let one = vec![record(Some("job"), PLAIN)];
        let expected = vec![(PLAIN.to_owned(), 1), (PLAIN.to_owned(), 2)];
        assert_eq!(missing(one, &[PLAIN, PLAIN, PLAIN]), (expected, 0));
        let two = vec![record(Some("job"), PLAIN), record(None, PLAIN)];
        assert_eq!(missing(two, &[PLAIN, PLAIN]), (vec![], 0));
    }

    #[test]
    fn records_of_another_job_do_not_count() {
        let other = vec![record(Some("other"), A)];
        assert_eq!(missing(other, &[A]), (vec![(A.to_owned(), 0)], 0));
    }

    #[test]
    fn records_that_name_no_job_are_left_to_those_who_need_them() {
        let records = vec![record(None, A), record(Some("job"), A)];
        let contacts = contacts(&[A]);
        let mut pool = Pool::new(records, &[]);
        assert_eq!(pool.take("job", &contacts).without_job, 0);
        assert_eq!(pool.take("other", &contacts).without_job, 1);
        assert_eq!(pool.take("third", &contacts).missing.len(), 1);
    }

    #[test]
    fn records_that_fit_no_contact_are_counted() {
        let records = vec![record(Some("job"), A)];
        assert_eq!(missing(records, &[B]), (vec![(B.to_owned(), 0)], 1));
    }

    #[test]
    fn kinds_that_are_not_chosen_are_not_compared() {
        let contacts = contacts(&[B]);
        let mut pool = Pool::new(vec![record(Some("job"), A)], &["digest".to_owned()]);
        assert!(pool.take("job", &contacts).missing.is_empty());
    }

    #[test]
    fn what_is_no_contact_is_missing() {
        assert_eq!(missing(vec![], &["5"]), (vec![("5".to_owned(), 0)], 0));
    }
}
