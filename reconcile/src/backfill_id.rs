//! Delivery ids of backfills. They depend only on the job and on what recognises the contact, so that no
//! two runs queue the same contact twice.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use titanx_receiver::contact::Contact;

use crate::{job_id::JobId, keys::first_eight};

const PREFIX: &str = "backfill-";

/// Whether this is the delivery id of a backfill.
#[must_use]
pub fn is_backfill(delivery_id: &str) -> bool {
    delivery_id.starts_with(PREFIX)
}

/// Eight bytes that stand for a delivery id.
pub(crate) fn digest(delivery_id: &str) -> u64 {
    first_eight(&Sha256::digest(delivery_id))
}

/// The delivery id of a contact. `ordinal` tells contacts with the same keys apart; those without a key
/// are recognised by their bytes.
pub(crate) fn of_contact(job: &JobId, contact: &RawValue, ordinal: usize) -> String {
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

    const CRM_0: &str = "backfill-Uy9G586wTTzehuYd1dYMYA";
    const EMPTY_0: &str = "backfill-OvH8vMJa_SLZzO51jNAcEA";
}
