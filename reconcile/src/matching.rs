//! Matches the contacts at TitanX with the delivery records. Each record matches one contact.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use serde_json::value::RawValue;

use crate::{
    delivery_records::DeliveryRecords,
    keys::{KeyTable, Keys, Kind, Kinds},
    scored::is_scored,
};

/// The contacts of one job, in the order of TitanX's list.
#[derive(Debug, Default)]
pub struct Contacts {
    keys: KeyTable,
    scored: Vec<bool>,
}

impl Contacts {
    /// The contacts as TitanX returned them.
    #[must_use]
    pub fn read(contacts: &[Box<RawValue>]) -> Self {
        let mut read = Self::default();
        for contact in contacts {
            read.push(&Keys::of_contact(contact), is_scored(contact));
        }
        read
    }

    /// Appends a contact, with its keys and whether TitanX has scored it.
    pub fn push(&mut self, keys: &Keys, scored: bool) {
        self.keys.push(keys);
        self.scored.push(scored);
    }

    /// The number of contacts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scored.len()
    }

    /// Whether there is no contact.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scored.is_empty()
    }

    /// The keys of the contact with this index.
    #[must_use]
    pub fn keys(&self, index: usize) -> Keys {
        self.keys.get(index)
    }

    /// Whether TitanX has scored the contact with this index.
    #[must_use]
    pub fn is_scored(&self, index: usize) -> bool {
        self.scored[index]
    }

    /// The keys of all contacts.
    #[must_use]
    pub fn all_keys(&self) -> &[u64] {
        self.keys.all()
    }

    /// The indices of the contacts that TitanX has scored, or of the others.
    fn indices(&self, scored: bool) -> impl Iterator<Item = usize> + '_ {
        let indices = 0..self.len();
        indices.filter(move |&index| self.scored[index] == scored)
    }
}

/// The result of matching the contacts of one job.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MatchResult {
    /// The scored contacts that match no completed record.
    pub missing: Vec<MissingContact>,
    /// Digests of delivery ids of backfills, whose records match other contacts with the keys of a missing
    /// one. That one needs [another id](crate::contact_ids::ContactIds).
    pub taken_ids: Vec<u64>,
    /// The number of contacts that match the record of a backfill.
    pub backfilled: usize,
    /// The number of contacts that match a completed record without a job id.
    pub without_job: usize,
    /// The number of completed records of the job that match none of its contacts.
    pub unmatched_records: usize,
    /// The number of contacts that TitanX has scored.
    pub scored: usize,
    /// The number of contacts that TitanX has not scored and that match no record.
    pub unscored: usize,
    /// The number of contacts without a score that match a record of the job. TitanX delivers scored
    /// contacts only, so its list does not show the scores of these.
    pub received_unscored: usize,
}

/// A scored contact that matches no completed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingContact {
    /// Its index in the list.
    pub index: usize,
    /// The position among the job's scored contacts with the same keys, from 0.
    pub ordinal: usize,
    /// The delivery id of an unfinished record that it matches. The contact may be on the queue under
    /// this id, so a backfill has to use it.
    pub delivery_id: Option<String>,
}

/// The delivery records, each either unmatched or matched to a contact.
#[derive(Debug)]
pub struct RecordPool {
    records: DeliveryRecords,
    /// Whether the record at the same index is matched.
    matched: Vec<bool>,
    /// The positions of the keys in the records, in the order of [`Rank`].
    sorted: Vec<u32>,
    /// How many of the first records of a range are matched, by where the range starts.
    matched_first: HashMap<usize, usize>,
    /// How many completed records of a job are not matched yet.
    unmatched: HashMap<usize, usize>,
    kinds: Kinds,
}

/// The order of the records with one key: completed deliveries and unfinished ones apart, then by job,
/// then as they were scanned.
type Rank = (bool, Option<usize>, usize);

impl RecordPool {
    /// Compares the `kinds` of keys.
    #[must_use]
    pub fn new(records: DeliveryRecords, kinds: Kinds) -> Self {
        let all = records.keys.all();
        let positions = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let mut sorted: Vec<u32> = (0..positions).collect();
        sorted.sort_unstable_by_key(|&position| all[position as usize]);
        let mut pool = Self {
            matched: vec![false; records.len()],
            matched_first: HashMap::new(),
            unmatched: records.completed_by_job(),
            sorted,
            records,
            kinds,
        };
        pool.sort_within_keys();
        pool
    }

    fn sort_within_keys(&mut self) {
        let mut sorted = std::mem::take(&mut self.sorted);
        let all = self.records.keys.all();
        let equal = |a: &u32, b: &u32| all[*a as usize] == all[*b as usize];
        for range in sorted.chunk_by_mut(equal).filter(|range| range.len() > 1) {
            range.sort_by_cached_key(|&position| self.rank(position));
        }
        self.sorted = sorted;
    }

    fn rank(&self, position: u32) -> Rank {
        let index = self.records.keys.owner(position);
        let unfinished = self.records.is_unfinished(index);
        (unfinished, self.records.job(index), index)
    }

    /// Matches the contacts of the job with this index, and marks their records as matched.
    pub fn match_job(&mut self, job: usize, contacts: &Contacts) -> MatchResult {
        let mut result = MatchResult::default();
        let mut found = vec![None; contacts.len()];
        // The scored contacts first: of two equal ones TitanX may have rejected one, and the record is
        // of the other.
        let scored: Vec<_> = contacts.indices(true).collect();
        self.match_contacts(&scored, contacts, &[Some(job), None], &mut found);
        // A record without a job id may be of the same contact in another job, where it was scored.
        let unscored: Vec<_> = contacts.indices(false).collect();
        self.match_contacts(&unscored, contacts, &[Some(job)], &mut found);

        result.scored = scored.len();
        for &index in &unscored {
            let received = found[index].is_some();
            result.received_unscored += usize::from(received);
            result.unscored += usize::from(!received);
        }
        let matched = found.iter().flatten().copied();
        for record in matched.filter(|&record| !self.records.is_unfinished(record)) {
            result.backfilled += usize::from(self.records.backfill_digest(record).is_some());
            result.without_job += usize::from(self.records.job(record).is_none());
        }
        result.missing = self.missing(&scored, contacts, &found);
        result.taken_ids = self.taken_ids(&result.missing, contacts, &found);
        result.unmatched_records = self.unmatched.get(&job).copied().unwrap_or(0);
        result
    }

    /// Finds a record for each of these contacts. The strongest keys of all contacts are compared before
    /// weaker ones, so that no contact gets the record of one that has a stronger key for it.
    fn match_contacts(
        &mut self,
        indices: &[usize],
        contacts: &Contacts,
        jobs: &[Option<usize>],
        found: &mut [Option<usize>],
    ) {
        for unfinished in [false, true] {
            for kind in self.kinds.each() {
                for &index in indices {
                    if found[index].is_none() {
                        let keys = contacts.keys(index);
                        found[index] = self.find(kind, &keys, unfinished, jobs);
                    }
                }
            }
        }
    }

    /// Marks an unmatched record that these keys match by this kind as matched, and returns it.
    fn find(
        &mut self,
        kind: Kind,
        keys: &Keys,
        unfinished: bool,
        jobs: &[Option<usize>],
    ) -> Option<usize> {
        let range = self.with_key(keys.of_kind(kind)?);
        for &job in jobs {
            let within = self.with_rank(range.clone(), unfinished, job);
            if let Some(index) = self.first_unmatched(within, kind, keys) {
                self.mark_matched(index);
                return Some(index);
            }
        }
        None
    }

    fn mark_matched(&mut self, index: usize) {
        self.matched[index] = true;
        if let Some(job) = self.records.job(index)
            && !self.records.is_unfinished(index)
            && let Some(unmatched) = self.unmatched.get_mut(&job)
        {
            *unmatched -= 1;
        }
    }

    fn with_key(&self, key: u64) -> Range<usize> {
        let all = self.records.keys.all();
        let at = |position: &u32| all[*position as usize];
        let begin = self.sorted.partition_point(|position| at(position) < key);
        let length = self.sorted[begin..].partition_point(|position| at(position) == key);
        begin..begin + length
    }

    fn with_rank(&self, range: Range<usize>, unfinished: bool, job: Option<usize>) -> Range<usize> {
        let rank = |position: &u32| {
            let (unfinished, job, _) = self.rank(*position);
            (unfinished, job)
        };
        let of_key = &self.sorted[range.clone()];
        let begin = of_key.partition_point(|position| rank(position) < (unfinished, job));
        let end = of_key.partition_point(|position| rank(position) <= (unfinished, job));
        range.start + begin..range.start + end
    }

    /// The keys of other kinds may have the same text, as TitanX's ids and those of a submitter may.
    fn first_unmatched(&mut self, range: Range<usize>, kind: Kind, keys: &Keys) -> Option<usize> {
        if range.is_empty() {
            return None;
        }
        let first = self.matched_first.get(&range.start).copied().unwrap_or(0);
        let mut all_matched = true;
        for place in range.start + first..range.end {
            let index = self.records.keys.owner(self.sorted[place]);
            if self.matched[index] {
                if all_matched {
                    self.matched_first
                        .insert(range.start, place + 1 - range.start);
                }
                continue;
            }
            all_matched = false;
            let record = self.records.keys.get(index);
            if keys.strongest_in_common(&record, self.kinds) == Some(kind) {
                return Some(index);
            }
        }
        None
    }

    /// The scored contacts for which no completed record was found.
    fn missing(
        &self,
        scored: &[usize],
        contacts: &Contacts,
        found: &[Option<usize>],
    ) -> Vec<MissingContact> {
        let mut ordinals = Ordinals::default();
        let mut missing = Vec::new();
        for &index in scored {
            let ordinal = ordinals.next(contacts.keys(index).identity());
            let unfinished = found[index].filter(|&record| self.records.is_unfinished(record));
            if found[index].is_none() || unfinished.is_some() {
                let id = unfinished.and_then(|it| self.records.unfinished_delivery_id(it));
                missing.push(MissingContact {
                    index,
                    ordinal,
                    delivery_id: id.map(str::to_owned),
                });
            }
        }
        missing
    }

    fn taken_ids(
        &self,
        missing: &[MissingContact],
        contacts: &Contacts,
        found: &[Option<usize>],
    ) -> Vec<u64> {
        let missing = missing.iter().filter(|it| it.delivery_id.is_none());
        let identity = |it: &MissingContact| contacts.keys(it.index).identity();
        let identities: HashSet<_> = missing.map(identity).collect();
        let matched = found.iter().flatten();
        let backfills = matched.filter_map(|&it| Some((it, self.records.backfill_digest(it)?)));
        let of_same = backfills.filter(|(record, _)| {
            let keys = self.records.keys.get(*record);
            identities.contains(&keys.identity())
        });
        of_same.map(|(_, id)| id).collect()
    }
}

/// Counts contacts of a job that have the same keys.
#[derive(Debug, Default)]
pub struct Ordinals(HashMap<u64, usize>);

impl Ordinals {
    /// The ordinal of the next contact with this [`Keys::identity`].
    pub fn next(&mut self, identity: u64) -> usize {
        let next = self.0.entry(identity).or_default();
        *next += 1;
        *next - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::delivery_records::DeliveryRecord;

    const JOB: usize = 0;
    const OTHER: usize = 1;

    fn contacts(json: &[&str]) -> Contacts {
        let raw = |json: &&str| RawValue::from_string((*json).to_owned()).unwrap();
        Contacts::read(&json.iter().map(raw).collect::<Vec<_>>())
    }

    fn record(job: Option<usize>, json: &str) -> DeliveryRecord {
        DeliveryRecord {
            job,
            keys: Keys::of_contact(&RawValue::from_string(json.to_owned()).unwrap()),
            delivery_id: "delivery-1".to_owned(),
            unfinished: false,
        }
    }

    fn pool(records: Vec<DeliveryRecord>, kinds: &[String]) -> RecordPool {
        let mut all = DeliveryRecords::default();
        for record in records {
            all.push(record);
        }
        RecordPool::new(all, Kinds::named(kinds))
    }

    fn result(records: Vec<DeliveryRecord>, at_titanx: &[&str]) -> MatchResult {
        pool(records, &[]).match_job(JOB, &contacts(at_titanx))
    }

    /// The missing contacts with their ordinals, and the number of unmatched records.
    fn missing(records: Vec<DeliveryRecord>, at_titanx: &[&str]) -> (Vec<(usize, usize)>, usize) {
        let result = result(records, at_titanx);
        let missing = result.missing.iter();
        let missing = missing.map(|it| (it.index, it.ordinal)).collect();
        (missing, result.unmatched_records)
    }

    const A: &str = r#"{"id": "a", "email": "a@example.com", "leadStatus": "Low"}"#;
    const B: &str = r#"{"id": "b", "email": "a@example.com", "leadStatus": "Low"}"#;
    const PLAIN: &str = r#"{"email": "a@example.com", "leadStatus": "Low"}"#;

    #[test]
    fn matches_by_id_before_digest() {
        let records = vec![record(Some(JOB), A)];
        assert_eq!(missing(records, &[B, A]), (vec![(0, 0)], 0));
    }

    #[test]
    fn matches_by_digest_if_one_side_has_no_id() {
        assert_eq!(missing(vec![record(Some(JOB), PLAIN)], &[A]), (vec![], 0));
        assert_eq!(missing(vec![record(Some(JOB), A)], &[PLAIN]), (vec![], 0));
    }

    /// The record has the first contact's `databaseContactId` as its `contactCrmId`.
    #[test]
    fn an_id_of_another_kind_with_the_same_text_is_no_stronger_key() {
        let first = r#"{"databaseContactId": 7, "contactCrmId": 7, "leadStatus": "Low"}"#;
        let second = r#"{"customerContactId": 1, "leadStatus": "Low"}"#;
        let of_second = r#"{"customerContactId": 1, "contactCrmId": 7}"#;
        let records = vec![record(Some(JOB), of_second)];
        assert_eq!(missing(records, &[first, second]), (vec![(0, 0)], 0));
    }

    #[test]
    fn a_contact_without_an_id_does_not_take_the_record_of_one_that_has_it() {
        for list in [[PLAIN, A], [A, PLAIN]] {
            let missing = missing(vec![record(Some(JOB), A)], &list).0;
            assert_eq!(list[missing[0].0], PLAIN);
            assert_eq!(missing.len(), 1);
        }
    }

    /// Completed deliveries come before unfinished ones, and those of the job before those without a job.
    #[test]
    fn the_order_of_the_scan_does_not_matter() {
        let unfinished = DeliveryRecord {
            unfinished: true,
            ..record(Some(JOB), PLAIN)
        };
        let jobs = [Some(OTHER), None, Some(JOB)];
        let completed = jobs.map(|job| record(job, PLAIN));
        let mut records = vec![unfinished];
        records.extend(completed);
        for turn in 0..2 * records.len() {
            let mut records = records.clone();
            if turn >= records.len() {
                records.reverse();
            }
            records.rotate_left(turn % 4);
            let result = result(records, &[PLAIN; 3]);
            let missing = result.missing.iter();
            let missing: Vec<_> = missing
                .map(|it| (it.index, it.delivery_id.is_some()))
                .collect();
            assert_eq!((missing, result.unmatched_records), (vec![(2, true)], 0));
        }
    }

    #[test]
    fn equal_contacts_need_one_record_each() {
        let one = vec![record(Some(JOB), PLAIN)];
        let expected = vec![(1, 1), (2, 2)];
        assert_eq!(missing(one, &[PLAIN, PLAIN, PLAIN]), (expected, 0));
        let two = vec![record(Some(JOB), PLAIN), record(None, PLAIN)];
        assert_eq!(missing(two, &[PLAIN, PLAIN]), (vec![], 0));
    }

    #[test]
    fn contacts_without_a_key_are_told_apart_by_their_bytes() {
        let [one, two] = [r#"{"leadStatus": "Low"}"#, r#"{"leadStatus": "High"}"#];
        let expected = vec![(0, 0), (1, 0), (2, 1)];
        assert_eq!(missing(vec![], &[one, two, one]), (expected, 0));
    }

    #[test]
    fn a_record_of_another_job_does_not_match() {
        let other = vec![record(Some(OTHER), A)];
        assert_eq!(missing(other, &[A]), (vec![(0, 0)], 0));
    }

    #[test]
    fn records_with_a_job_id_match_before_those_without() {
        let mut pool = pool(vec![record(None, A), record(Some(JOB), A)], &[]);
        let contacts = contacts(&[A]);
        assert_eq!(pool.match_job(JOB, &contacts).without_job, 0);
        assert_eq!(pool.match_job(OTHER, &contacts).without_job, 1);
        assert_eq!(pool.match_job(2, &contacts).missing.len(), 1);
    }

    #[test]
    fn counts_records_that_match_no_contact() {
        let records = vec![record(Some(JOB), A)];
        assert_eq!(missing(records, &[B]), (vec![(0, 0)], 1));
    }

    #[test]
    fn compares_only_the_selected_kinds_of_keys() {
        let mut pool = pool(vec![record(Some(JOB), A)], &["digest".to_owned()]);
        assert!(pool.match_job(JOB, &contacts(&[B])).missing.is_empty());
    }

    #[test]
    fn a_contact_of_an_unfinished_delivery_is_missing_under_the_id_of_that() {
        let unfinished = DeliveryRecord {
            delivery_id: "unfinished-1".to_owned(),
            unfinished: true,
            ..record(Some(JOB), PLAIN)
        };
        // A completed delivery of an equal contact is matched first.
        let records = vec![unfinished, record(None, PLAIN)];
        let result = result(records, &[PLAIN, PLAIN, PLAIN]);
        let ids = result.missing.iter().map(|it| it.delivery_id.as_deref());
        assert_eq!(ids.collect::<Vec<_>>(), [Some("unfinished-1"), None]);
        assert_eq!(result.unmatched_records, 0);
    }

    #[test]
    fn a_completed_delivery_is_matched_before_an_unfinished_one_with_a_stronger_key() {
        let unfinished = DeliveryRecord {
            unfinished: true,
            ..record(Some(JOB), A)
        };
        let records = vec![unfinished, record(Some(JOB), PLAIN)];
        assert_eq!(missing(records, &[A]).0, []);
    }

    #[test]
    fn counts_the_contacts_that_a_backfill_has_queued() {
        let backfill = DeliveryRecord {
            delivery_id: "backfill-x".to_owned(),
            ..record(Some(JOB), A)
        };
        let result = result(vec![backfill, record(Some(JOB), B)], &[A, B]);
        assert_eq!((result.missing.len(), result.backfilled), (0, 1));
    }

    /// The backfill of which a record does not match may be that of the missing contact itself.
    #[test]
    fn a_backfill_takes_its_id_from_equal_contacts_once_its_record_matches_another() {
        let backfill = |json, unfinished| DeliveryRecord {
            delivery_id: "backfill-x".to_owned(),
            unfinished,
            ..record(Some(JOB), json)
        };
        let taken = |records, kinds: &[String]| {
            let contacts = contacts(&[A, A, B]);
            let result = pool(records, kinds).match_job(JOB, &contacts);
            (result.missing.len(), result.taken_ids.len())
        };
        let b = || record(Some(JOB), B);
        assert_eq!(taken(vec![backfill(A, false), b()], &[]), (1, 1));
        assert_eq!(taken(vec![backfill(A, true), b()], &[]), (2, 1));
        assert_eq!(taken(vec![record(Some(JOB), A), b()], &[]), (1, 0));
        assert_eq!(taken(vec![backfill(B, false)], &[]), (2, 0));
        let lead = ["leadId".to_owned()];
        assert_eq!(taken(vec![backfill(A, false)], &lead), (3, 0));
    }

    /// It is missing, so it would be counted twice.
    #[test]
    fn an_unfinished_backfill_has_queued_nothing() {
        let backfill = DeliveryRecord {
            delivery_id: "backfill-x".to_owned(),
            unfinished: true,
            ..record(Some(JOB), A)
        };
        let result = result(vec![backfill, record(Some(JOB), B)], &[A, B]);
        assert_eq!((result.missing.len(), result.backfilled), (1, 0));
    }

    #[test]
    fn an_unfinished_record_without_a_job_id_is_of_no_received_contact() {
        let unfinished = DeliveryRecord {
            unfinished: true,
            ..record(None, A)
        };
        let result = result(vec![unfinished, record(None, B)], &[A, B]);
        assert_eq!((result.missing.len(), result.without_job), (1, 1));
    }

    /// Missing, unscored, received without a score, and unmatched records.
    fn counts(records: Vec<DeliveryRecord>, at_titanx: &[&str]) -> [usize; 4] {
        let result = result(records, at_titanx);
        let scored = at_titanx.iter().filter(|it| it.contains("Status"));
        assert_eq!(result.scored, scored.count());
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
        let received = vec![record(Some(JOB), PLAIN)];
        assert_eq!(counts(received, &[UNSCORED]), [0, 0, 1, 0]);
    }

    #[test]
    fn a_record_is_of_the_scored_one_of_two_equal_contacts() {
        let one = || vec![record(Some(JOB), PLAIN)];
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
        let expected = vec![(1, 0), (3, 1)];
        assert_eq!(
            missing(vec![], &[UNSCORED, PLAIN, UNSCORED, PLAIN]),
            (expected, 0)
        );
    }

    /// A contact, or what a delivery of it may have left: with an id or without, of one of few persons.
    fn contact() -> impl Strategy<Value = (Option<u8>, u8)> {
        (proptest::option::of(0..4_u8), 0..3_u8)
    }

    fn json((id, person): (Option<u8>, u8)) -> String {
        let id = id.map_or(String::new(), |id| format!(r#""id": {id}, "#));
        format!(r#"{{{id}"email": "{person}@example.com", "leadStatus": "Low"}}"#)
    }

    /// How many of the records match a contact, by the rule as `operator reconcile --help` has it: first
    /// by the id, then by the rest where not both have an id.
    fn matched_by_the_rule(
        contacts: &[(Option<u8>, u8)],
        records: &[(Option<u8>, u8)],
    ) -> Vec<bool> {
        let mut free = records.to_vec();
        let mut matched = vec![false; contacts.len()];
        for by_id in [true, false] {
            for (contact, matched) in contacts.iter().zip(&mut matched) {
                let is_same = |record: &(Option<u8>, u8)| match (contact.0, record.0) {
                    (Some(ours), Some(theirs)) => by_id && ours == theirs,
                    _ => !by_id && contact.1 == record.1,
                };
                if !*matched && let Some(index) = free.iter().position(is_same) {
                    free.remove(index);
                    *matched = true;
                }
            }
        }
        matched
    }

    proptest! {
        #[test]
        fn a_contact_is_missing_if_the_rule_finds_no_record(
            contacts_ in proptest::collection::vec(contact(), 0..9),
            received in proptest::collection::vec(contact(), 0..9),
        ) {
            let list: Vec<_> = contacts_.iter().copied().map(json).collect();
            let list: Vec<_> = list.iter().map(String::as_str).collect();
            let records = received.iter().map(|it| record(Some(JOB), &json(*it)));
            let result = result(records.collect(), &list);
            let mut missing = vec![false; contacts_.len()];
            for it in &result.missing {
                missing[it.index] = true;
            }
            let matched = matched_by_the_rule(&contacts_, &received);
            let expected: Vec<_> = matched.iter().map(|matched| !matched).collect();
            prop_assert_eq!(&missing, &expected);
            let matched = matched.iter().filter(|it| **it).count();
            prop_assert_eq!(result.unmatched_records, received.len() - matched);
        }

        /// Whatever is delivered, in whatever order and of whatever jobs: a contact whose delivery has
        /// left a record is not missing, and every other one is.
        #[test]
        fn what_was_received_is_never_missing(
            jobs in proptest::collection::vec(
                proptest::collection::vec((0..1_000_u32, any::<bool>()), 0..12), 1..4),
            names_job in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let text = |job: usize, person: u32, index: usize| format!(
                r#"{{"customerContactId": "{job}-{index}", "lastName": "{person}", "leadStatus": "x"}}"#
            );
            let mut records = Vec::new();
            for (job, contacts) in jobs.iter().enumerate() {
                for (index, (person, delivered)) in contacts.iter().enumerate() {
                    if *delivered {
                        records.push(record(names_job.then_some(job), &text(job, *person, index)));
                    }
                }
            }
            let order = |record: &DeliveryRecord| record.keys.identity().wrapping_mul(seed | 1);
            records.sort_by_key(order);
            let mut pool = pool(records, &[]);
            for (job, list) in jobs.iter().enumerate() {
                let texts: Vec<_> = list.iter().enumerate()
                    .map(|(index, (person, _))| text(job, *person, index)).collect();
                let texts: Vec<_> = texts.iter().map(String::as_str).collect();
                let result = pool.match_job(job, &contacts(&texts));
                let missing: Vec<_> = result.missing.iter().map(|it| it.index).collect();
                let dropped = list.iter().enumerate().filter(|(_, (_, delivered))| !delivered);
                prop_assert_eq!(missing, dropped.map(|(index, _)| index).collect::<Vec<_>>());
                prop_assert_eq!(result.unmatched_records, 0);
            }
        }
    }
}
