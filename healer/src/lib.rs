//! The healer: finds the contacts of completed jobs that TitanX never delivered, and backfills them.
//!
//! A second Lambda function of the stack, the binary `healer`, runs this on a schedule; `operator heal`
//! runs the same on an operator's machine. `docs/healing.md` describes it. Start reading with
//! [`Healer::run`]: a run continues the round where an earlier one has left it.
//!
//! ```text
//! find ──▶ list ──▶ compare ──▶ backfill ──▶ done
//! due jobs  their     one scan     what is      for HealerRoundHours
//!           contacts  of records   missing
//! ```
//!
//! Nothing in this library logs or prints. What happens is told to whoever calls it as a
//! [`report::Event`], and no event, error or stored item contains personal data.

mod backfill;
pub mod checks;
mod codec;
mod compare;
pub mod config;
pub mod error;
mod find;
mod healer;
pub mod job_records;
mod list;
pub mod report;
mod run;
pub mod settings;

pub use run::Healer;
