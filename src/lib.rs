//! The receiver for TitanX webhooks on AWS: a Lambda function that verifies each delivery, claims its
//! id in DynamoDB, sends every scored contact to SQS and marks a job completed on `job.completed`.
//!
//! The program is the binary `receiver`; this library is what it is made of. The operator's command,
//! the tests and the local run use it too. Start reading with [`receiver`], the life of a delivery.
//!
//! # Quick start
//!
//! ```sh
//! cargo run --example local                    # the whole system on this machine
//! sam build && sam deploy --guided             # the whole system on AWS
//! ```
//!
//! # Configuration
//!
//! [`config::Config::from_env`] reads these variables, and names every mistake in one error.
//!
//! | variable | meaning |
//! |---|---|
//! | `DELIVERIES_TABLE`, `JOBS_TABLE` | table names |
//! | `CONTACTS_QUEUE_URL` | queue of scored contacts: FIFO if it ends in `.fifo` |
//! | `QUARANTINE_QUEUE_URL` | standard queue of what is signed but not understood |
//! | `TITANX_WEBHOOK_SECRET` | the webhook secret, or several: one a line |
//! | `TITANX_WEBHOOK_SECRET_ARN` | instead of it: a secret in Secrets Manager |
//! | `DELIVERY_RETENTION_DAYS` | how long a delivery id is remembered |
//! | `AWS_LAMBDA_LOG_LEVEL` | log level, `INFO` by default |
//! | `AWS_REGION` and the other variables of the AWS SDKs | region, credentials, endpoints, proxies |
//!
//! # Modules
//!
//! The function's binary uses [`config`], [`lambda`] and [`shutdown`]. They use [`receiver`], which
//! uses [`secrets`], [`intake`] and [`quarantine`]; intake uses [`deliveries`], [`jobs`] and [`queue`]; and
//! these use [`aws`]. [`event`] uses [`contact`] and [`signature`]. No module uses one above it, and none of the
//! four that keep something uses another. `tests/it/house.rs` draws the imports and checks this.
//!
//! What is deliberately absent, and checked there too:
//!
//! - No trait stands between the receiver and AWS. What can go wrong there goes wrong on the network,
//!   and that is where the tests inject faults.
//! - No module but [`answer`] chooses an HTTP status.
//! - [`signature`], [`event`] and [`contact`] do no I/O and read no clock; the time is an argument.
//! - Only [`log`] writes a line about a delivery.

pub mod answer;
pub mod aws;
pub mod budget;
pub mod config;
pub mod contact;
pub mod deliveries;
pub mod error;
pub mod event;
pub mod gateway;
pub mod intake;
pub mod jobs;
mod json;
pub mod lambda;
pub mod log;
pub mod quarantine;
pub mod queue;
pub mod receiver;
pub mod secrets;
pub mod shutdown;
pub mod signature;
