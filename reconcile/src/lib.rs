//! Reconciliation of a job: compares TitanX's contacts of the job with the records of received
//! contacts, and backfills those that are missing.
//!
//! ```text
//! contacts at TitanX ─┐
//!                     ├─ match, one record per contact ─▶ missing ─claim─▶ send ─complete─▶
//! delivery records ───┘
//! ```
//!
//! [`delivery_records`] reads the deliveries table, [`matching`] finds the missing contacts, of which
//! [`scored`] leaves out those that TitanX has not scored, [`doubts`] tells why some of them may have
//! been received all the same, [`contact_ids`] chooses the delivery ids, and [`backfill`] sends the
//! contacts through the receiver's own intake. Whoever calls these decides what to do about a doubt.
//! What they compare are [`keys`] of eight bytes, so that millions of contacts and records fit into a
//! small function.
//!
//! Nothing here logs or prints, and no error contains personal data.

pub mod backfill;
pub mod backfill_id;
pub mod contact_ids;
pub mod delivery_records;
pub mod doubts;
pub mod job_id;
pub mod keys;
pub mod matching;
pub mod scored;

pub use job_id::JobId;
