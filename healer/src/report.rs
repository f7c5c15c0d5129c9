//! What a run tells about itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether all contacts of a job were received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The job is in a round that has not finished it.
    Waiting,
    /// TitanX's list is proven whole, there is no doubt, and no scored contact is missing.
    Complete,
    /// A scored contact is missing: sending it failed, or a doubt forbids it.
    Incomplete,
    /// Nothing is known to be missing, but TitanX's answers do not prove that.
    Unproven,
}

impl State {
    /// All states.
    pub const ALL: [Self; 4] = [
        Self::Waiting,
        Self::Complete,
        Self::Incomplete,
        Self::Unproven,
    ];

    /// Its name in the job's record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Unproven => "unproven",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The result of checking one job.
///
/// `contacts_at_titanx` = `received` + `backfilled` + `unscored` + `missing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// Whether all contacts were received.
    pub state: State,
    /// Why it is not complete.
    pub reason: Option<String>,
    /// Contacts in TitanX's list.
    pub contacts_at_titanx: u64,
    /// Contacts that TitanX has delivered.
    pub received: u64,
    /// Contacts that a backfill has queued, now or before.
    pub backfilled: u64,
    /// Contacts that TitanX has not scored, and has not delivered. They are never queued.
    pub unscored: u64,
    /// Scored contacts that were neither received nor queued.
    pub missing: u64,
}

/// Something that happened in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A round has begun with this many jobs.
    RoundBegan {
        /// Jobs to check.
        jobs: usize,
        /// Jobs that TitanX lists but whose completion was never received, now marked completed.
        completed: usize,
        /// Jobs at TitanX of which it is not known whether and when they were completed.
        undecided: usize,
    },
    /// A person or another program works on the job, so it is left out.
    JobHeld {
        /// The job's id.
        job_id: &'a str,
    },
    /// The deliveries table was scanned.
    Scanned {
        /// Records that were passed over.
        records: u64,
        /// Records that were compared.
        kept: usize,
        /// Read units that DynamoDB charges.
        units: f64,
    },
    /// A contact could not be queued.
    BackfillFailed {
        /// The job's id.
        job_id: &'a str,
        /// Why, with the delivery id.
        error: &'a titanx_reconcile::backfill::BackfillError,
    },
    /// A job is checked.
    JobChecked {
        /// The job's id.
        job_id: &'a str,
        /// The result.
        result: &'a JobResult,
    },
    /// The job was completed again while it was checked, or somebody else works on it now. It is due
    /// again.
    JobChanged {
        /// The job's id.
        job_id: &'a str,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Another run has the round.
    Held,
    /// TitanX's rate limit resets at this time, or TitanX asked to wait until then, in Unix milliseconds. No run calls TitanX before.
    RateLimited {
        /// Unix milliseconds.
        until: i64,
    },
    /// The next round is not due yet.
    Idle,
    /// The run's time is over. The next run continues the round.
    OutOfTime,
    /// The round is finished.
    RoundFinished {
        /// Whether there are jobs for a further round at once.
        more: bool,
    },
}
