//! Delivery ids of backfills. They depend only on the job and on what recognises the contact, so that no
//! two runs queue the same contact twice.

use std::collections::HashSet;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use titanx_receiver::contact::Contact;

use crate::{
    job_id::JobId,
    keys::{Keys, first_eight},
    matching::Ordinals,
};

const PREFIX: &str = "backfill-";

/// Whether this is the delivery id of a backfill.
#[must_use]
pub fn is_backfill(delivery_id: &str) -> bool {
    delivery_id.starts_with(PREFIX)
}

/// Chooses the delivery ids of a job's missing contacts.
///
/// Of contacts with the same keys, each gets an id of its own: the first whose record matches no other one. Else a
/// contact could get the id under which an earlier run has queued an equal one, and would count as queued.
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
            let id = of_contact(self.job, contact, self.ordinals.next(identity));
            if !self.taken.contains(&digest(&id)) {
                return id;
            }
        }
    }
}

/// Eight bytes that stand for a delivery id.
pub(crate) fn digest(delivery_id: &str) -> u64 {
    first_eight(&Sha256::digest(delivery_id))
}

/// The delivery id of a contact. `ordinal` tells contacts with the same keys apart; those without a key
/// are recognised by their bytes.
fn of_contact(job: &JobId, contact: &RawValue, ordinal: usize) -> String {
    let parsed = serde_json::from_str::<Contact>(contact.get());
    let keys = parsed.map(|parsed| parsed.keys()).unwrap_or_default();
    let hash = Sha256::new().chain_update(job.key()).chain_update([0]);
    let hash = if keys.is_empty() {
        hash.chain_update(contact.get())
    } else {
        let chain = |hash: Sha256, key| hash.chain_update(key).chain_update([0]);
        keys.iter().fold(hash, chain)
    };
    encoded(PREFIX, hash.chain_update(ordinal.to_string()))
}

/// The delivery id of the completion of a job, whose event was never received.
#[must_use]
pub fn of_job(job: &JobId) -> String {
    encoded("backfill-job-", Sha256::new().chain_update(job.key()))
}

fn encoded(prefix: &str, hash: Sha256) -> String {
    let hash = hash.finalize();
    format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(&hash[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else a contact that an earlier version has queued would be queued again.
    #[test]
    fn ids_stay_as_they_are() {
        let id = |json: &str, ordinal| {
            let contact = RawValue::from_string(json.to_owned()).unwrap();
            of_contact(&"JOB-1".into(), &contact, ordinal)
        };
        // printf 'job1\0contactCrmId:5uL7v5SzpdYP2MFkPrKKMg\0%s' 0 | openssl dgst -sha256 -binary | head -c 16 | base64
        let crm = r#"{"contactCrmId": "crm-1"}"#;
        assert_eq!(id(crm, 0), CRM_0);
        assert_ne!(id(crm, 1), CRM_0);
        // printf 'job1\0{}%s' 0 | openssl dgst -sha256 -binary | head -c 16 | base64
        assert_eq!(id("{}", 0), EMPTY_0);
        assert!(is_backfill(CRM_0) && is_backfill(&of_job(&"job-1".into())));
        assert_eq!(of_job(&"job-1".into()), of_job(&"JOB1".into()));
    }

    #[test]
    fn equal_contacts_get_the_ids_that_no_other_one_has() {
        let job = "JOB-1".into();
        let [contact, other] = [r#"{"contactCrmId": "crm-1"}"#, "{}"]
            .map(|json| RawValue::from_string(json.to_owned()).unwrap());
        let own = |ordinal| of_contact(&job, &contact, ordinal);
        let taken = [own(1), own(3)].map(|id| digest(&id));
        let mut ids = ContactIds::new(&job, taken);
        assert_eq!(ids.next(&contact), CRM_0);
        assert_eq!(ids.next(&other), EMPTY_0);
        assert_eq!(ids.next(&contact), own(2));
        assert_eq!(ids.next(&contact), own(4));
    }

    const CRM_0: &str = "backfill-Uy9G586wTTzehuYd1dYMYA";
    const EMPTY_0: &str = "backfill-OvH8vMJa_SLZzO51jNAcEA";
}
