//! Matches the contacts at TitanX with the delivery records. Each record matches one contact.

use std::collections::{HashMap, HashSet};

use serde_json::value::RawValue;
use titanx_receiver::contact::{Contact, KEY_KINDS};

use crate::{delivery_records::DeliveryRecord, job_id::JobId, scored::is_scored};

/// The delivery records, each either unmatched or matched to a contact.
#[derive(Debug)]
pub struct RecordPool {
    records: Vec<DeliveryRecord>,
    /// Whether the record at the same index is matched.
    matched: Vec<bool>,
    /// The indices of the records that have a key.
    by_key: HashMap<String, Vec<usize>>,
    /// The kinds of keys to compare, the strongest first.
    kinds: Vec<&'static str>,
}

/// The result of matching the contacts of one job.
#[derive(Debug)]
pub struct MatchResult<'a> {
    /// The scored contacts that match no record.
    pub missing: Vec<MissingContact<'a>>,
    /// The number of contacts that match a record without a job id.
    pub without_job: usize,
    /// The number of records of the job that match none of its contacts.
    pub unmatched_records: usize,
    /// The number of contacts that TitanX has scored.
    pub scored: usize,
    /// The number of contacts that TitanX has not scored and that match no record.
    pub unscored: usize,
    /// The number of contacts without a score that match a record of the job. TitanX delivers scored
    /// contacts only, so its list does not show the scores of these.
    pub received_unscored: usize,
}

/// A scored contact that matches no record.
#[derive(Debug)]
pub struct MissingContact<'a> {
    /// The contact as TitanX returned it.
    pub contact: &'a RawValue,
    /// Its keys, the strongest first.
    pub keys: Vec<String>,
    /// The position among the job's scored contacts with the same keys, from 0.
    pub ordinal: usize,
}

impl RecordPool {
    /// Compares the `kinds` of keys, or all kinds if none is given.
    #[must_use]
    pub fn new(records: Vec<DeliveryRecord>, kinds: &[String]) -> Self {
        let selected = |kind: &&str| kinds.is_empty() || kinds.iter().any(|it| it == kind);
        let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, record) in records.iter().enumerate() {
            for key in &record.keys {
                by_key.entry(key.clone()).or_default().push(index);
            }
        }
        // Records with a job id are matched first.
        for indices in by_key.values_mut() {
            indices.sort_by_key(|&index| records[index].job_id.is_none());
        }
        Self {
            matched: vec![false; records.len()],
            records,
            by_key,
            kinds: KEY_KINDS.into_iter().filter(selected).collect(),
        }
    }

    /// Matches the contacts of a job, and marks their records as matched.
    pub fn match_job<'a>(&mut self, job: &JobId, contacts: &'a [Box<RawValue>]) -> MatchResult<'a> {
        // The scored contacts first: of two equal ones TitanX may have rejected one, and the record is
        // of the other.
        let (scored, unscored): (Vec<_>, Vec<_>) = contacts.iter().partition(|it| is_scored(it));
        let mut result = MatchResult {
            missing: Vec::new(),
            without_job: 0,
            unmatched_records: 0,
            scored: scored.len(),
            unscored: 0,
            received_unscored: 0,
        };
        let mut ordinals: HashMap<Vec<String>, usize> = HashMap::new();
        for contact in scored {
            let keys = keys(contact);
            let next = ordinals.entry(keys.clone()).or_default();
            let ordinal = *next;
            *next += 1;
            match self.find(&keys, |it| it.is_none_or(|it| it == job)) {
                Some(index) => {
                    self.matched[index] = true;
                    result.without_job += usize::from(self.records[index].job_id.is_none());
                }
                None => result.missing.push(MissingContact {
                    contact,
                    keys,
                    ordinal,
                }),
            }
        }
        for contact in unscored {
            // A record without a job id may be of the same contact in another job, where it was scored.
            match self.find(&keys(contact), |it| it == Some(job)) {
                Some(index) => {
                    self.matched[index] = true;
                    result.received_unscored += 1;
                }
                None => result.unscored += 1,
            }
        }
        let records = self.records.iter().zip(&self.matched);
        let unmatched =
            records.filter(|(it, matched)| !**matched && it.job_id.as_ref() == Some(job));
        result.unmatched_records = unmatched.count();
        result
    }

    /// An unmatched record with these keys and a job id that `is_of_job` accepts.
    fn find(&self, keys: &[String], is_of_job: impl Fn(Option<&JobId>) -> bool) -> Option<usize> {
        let keys: Vec<_> = self
            .kinds
            .iter()
            .filter_map(|kind| of_kind(keys, kind))
            .collect();
        keys.iter().find_map(|key| {
            let candidates = self.by_key.get(*key)?.iter().copied();
            let mut candidates = candidates.filter(|&index| !self.matched[index]);
            candidates.find(|&index| {
                let record = &self.records[index];
                is_of_job(record.job_id.as_ref())
                    && strongest_in_common(&keys, &record.keys) == Some(key)
            })
        })
    }
}

/// The key of the strongest kind that contact and record both have, if the two keys are equal.
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

/// The keys of a contact. A value that is not a contact has none.
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

    fn record(job_id: Option<&str>, json: &str) -> DeliveryRecord {
        let contact: Contact = serde_json::from_str(json).unwrap();
        DeliveryRecord {
            job_id: job_id.map(JobId::from),
            keys: contact.keys().into_iter().collect(),
        }
    }

    /// The missing contacts of `job` with their ordinals, and the number of unmatched records.
    fn missing(records: Vec<DeliveryRecord>, at_titanx: &[&str]) -> (Vec<(String, usize)>, usize) {
        let contacts = contacts(at_titanx);
        let result = RecordPool::new(records, &[]).match_job(&"job".into(), &contacts);
        let missing = result.missing.iter();
        let missing = missing
            .map(|it| (it.contact.get().to_owned(), it.ordinal))
            .collect();
        (missing, result.unmatched_records)
    }

    const A: &str = r#"{"id": "a", "email": "a@example.com", "leadStatus": "Low"}"#;
    const B: &str = r#"{"id": "b", "email": "a@example.com", "leadStatus": "Low"}"#;
    const PLAIN: &str = r#"{"email": "a@example.com", "leadStatus": "Low"}"#;

    #[test]
    fn matches_by_id_before_digest() {
        let records = vec![record(Some("job"), A)];
        assert_eq!(missing(records, &[B, A]), (vec![(B.to_owned(), 0)], 0));
    }

    #[test]
    fn matches_by_digest_if_one_side_has_no_id() {
        assert_eq!(missing(vec![record(Some("job"), PLAIN)], &[A]), (vec![], 0));
        assert_eq!(missing(vec![record(Some("job"), A)], &[PLAIN]), (vec![], 0));
    }

    #[test]
    fn equal_contacts_need_one_record_each() {
        let one = vec![record(Some("job"), PLAIN)];
        let expected = vec![(PLAIN.to_owned(), 1), (PLAIN.to_owned(), 2)];
        assert_eq!(missing(one, &[PLAIN, PLAIN, PLAIN]), (expected, 0));
        let two = vec![record(Some("job"), PLAIN), record(None, PLAIN)];
        assert_eq!(missing(two, &[PLAIN, PLAIN]), (vec![], 0));
    }

    #[test]
    fn a_record_of_another_job_does_not_match() {
        let other = vec![record(Some("other"), A)];
        assert_eq!(missing(other, &[A]), (vec![(A.to_owned(), 0)], 0));
    }

    #[test]
    fn records_with_a_job_id_match_before_those_without() {
        let records = vec![record(None, A), record(Some("job"), A)];
        let contacts = contacts(&[A]);
        let mut pool = RecordPool::new(records, &[]);
        assert_eq!(pool.match_job(&"job".into(), &contacts).without_job, 0);
        assert_eq!(pool.match_job(&"other".into(), &contacts).without_job, 1);
        assert_eq!(pool.match_job(&"third".into(), &contacts).missing.len(), 1);
    }

    #[test]
    fn counts_records_that_match_no_contact() {
        let records = vec![record(Some("job"), A)];
        assert_eq!(missing(records, &[B]), (vec![(B.to_owned(), 0)], 1));
    }

    #[test]
    fn compares_only_the_selected_kinds_of_keys() {
        let contacts = contacts(&[B]);
        let mut pool = RecordPool::new(vec![record(Some("job"), A)], &["digest".to_owned()]);
        assert!(pool.match_job(&"job".into(), &contacts).missing.is_empty());
    }

    /// Missing, unscored, received without a score, and unmatched records.
    fn counts(records: Vec<DeliveryRecord>, at_titanx: &[&str]) -> [usize; 4] {
        let contacts = contacts(at_titanx);
        let result = RecordPool::new(records, &[]).match_job(&"job".into(), &contacts);
        assert_eq!(
            result.scored,
            contacts
                .iter()
                .filter(|it| it.get().contains("Status"))
                .count()
        );
        [
            result.missing.len(),
            result.unscored,
            result.received_unscored,
            result.unmatched_records,
        ]
    }

    const UNSCORED: &str = r#"{"email": "a@example.com"}"#;

    #[test]
    fn a_contact_without_a_score_is_not_missing() {
        assert_eq!(counts(vec![], &[UNSCORED, PLAIN, "5"]), [1, 2, 0, 0]);
        let received = vec![record(Some("job"), PLAIN)];
        assert_eq!(counts(received, &[UNSCORED]), [0, 0, 1, 0]);
    }

    #[test]
    fn a_record_is_of_the_scored_one_of_two_equal_contacts() {
        let one = || vec![record(Some("job"), PLAIN)];
        assert_eq!(counts(one(), &[UNSCORED, PLAIN]), [0, 1, 0, 0]);
        assert_eq!(counts(one(), &[UNSCORED, PLAIN, PLAIN]), [1, 1, 0, 0]);
    }

    #[test]
    fn a_record_without_a_job_id_is_not_of_a_contact_without_a_score() {
        assert_eq!(counts(vec![record(None, PLAIN)], &[UNSCORED]), [0, 1, 0, 0]);
    }

    /// Else a contact that is scored later could get the delivery id of an equal one.
    #[test]
    fn a_contact_without_a_score_does_not_change_the_ordinals_of_others() {
        let expected = vec![(PLAIN.to_owned(), 0), (PLAIN.to_owned(), 1)];
        assert_eq!(
            missing(vec![], &[UNSCORED, PLAIN, UNSCORED, PLAIN]),
            (expected, 0)
        );
    }
}
