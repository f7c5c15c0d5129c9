//! Chooses the delivery ids of backfills.

use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::{backfill_id, job_id::JobId, keys::Keys, matching::Ordinals};

/// Chooses the delivery ids of a job's missing contacts.
///
/// A missing contact gets the first id, in a fixed order, under which no other contact with the same keys
/// is queued. Under the id of another one it would count as queued, and never be.
#[derive(Debug)]
pub struct ContactIds<'a> {
    job: &'a JobId,
    taken: HashSet<u64>,
    ordinals: Ordinals,
}

impl<'a> ContactIds<'a> {
    /// `taken` are the ids of other contacts, as [`MatchResult::taken_ids`] lists them.
    ///
    /// [`MatchResult::taken_ids`]: crate::matching::MatchResult::taken_ids
    #[must_use]
    pub fn new(job: &'a JobId, taken: impl IntoIterator<Item = u64>) -> Self {
        Self {
            job,
            taken: taken.into_iter().collect(),
            ordinals: Ordinals::default(),
        }
    }

    /// The delivery id of the next missing contact, in the order of TitanX's list.
    pub fn next(&mut self, contact: &RawValue) -> String {
        let identity = Keys::of_contact(contact).identity();
        loop {
            let id = backfill_id::of_contact(self.job, contact, self.ordinals.next(identity));
            if !self.taken.contains(&backfill_id::digest(&id)) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contacts_get_the_ids_that_no_other_one_has() {
        let job = "JOB-1".into();
        let [contact, other] = [r#"{"contactCrmId": "crm-1"}"#, "{}"]
            .map(|json| RawValue::from_string(json.to_owned()).unwrap());
        let own = |ordinal| backfill_id::of_contact(&job, &contact, ordinal);
        let taken = [own(1), own(3)].map(|id| backfill_id::digest(&id));
        let mut ids = ContactIds::new(&job, taken);
        assert_eq!(ids.next(&contact), own(0));
        assert_eq!(ids.next(&other), backfill_id::of_contact(&job, &other, 0));
        assert_eq!(ids.next(&contact), own(2));
        assert_eq!(ids.next(&contact), own(4));
    }
}
