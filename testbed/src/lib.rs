//! Test support for the receiver: replacements for everything around it.
//!
//! | module | replaces |
//! |---|---|
//! | [`emulators`] | DynamoDB, SQS and Secrets Manager; also proxies that inject faults |
//! | [`titanx`], [`sender`] | TitanX as a sender: request bodies and signatures, time limit and retries |
//! | [`titanx_api`] | TitanX's API: subscriptions, jobs and the contacts of jobs |
//! | [`gateway_events`] | the events that gateways send to the function |
//! | [`runtime_api`], [`lambda`] | Lambda, which runs the function's program |
//! | [`interface`] | the same with AWS's own emulator |
//! | [`front_door`], [`gateway`] | Lambda and API Gateway, for a receiver in the same process |
//! | [`server`] | an HTTP server for emulated services |
//! | [`http`] | the HTTP of the Runtime API |
//!
//! [`promises`] checks whether every event is durable, and how often. [`kill`] and [`soak`] run the
//! function's program, kill it and inject faults, and check the promises. [`checks`] contains properties
//! that hold for every input. [`confidential`] finds confidential texts in logs and output.
//!
//! Without its default features the testbed is TitanX, the gateways' events and the Runtime API. The
//! benchmark uses these, with services of its own.

pub mod answer;
pub mod gateway_events;
pub mod http;
pub mod runtime_api;
pub mod samples;
pub mod titanx;

#[cfg(feature = "checks")]
pub mod checks;

#[cfg(feature = "emulators")]
mod background;
#[cfg(feature = "emulators")]
pub mod confidential;
#[cfg(feature = "emulators")]
pub mod emulators;
#[cfg(feature = "emulators")]
pub mod front_door;
#[cfg(feature = "emulators")]
pub mod gateway;
#[cfg(feature = "emulators")]
pub mod interface;
#[cfg(feature = "emulators")]
pub mod kill;
#[cfg(feature = "emulators")]
pub mod lambda;
#[cfg(feature = "emulators")]
pub mod promises;
#[cfg(feature = "emulators")]
pub mod reconciliation;
#[cfg(feature = "emulators")]
pub mod release;
#[cfg(feature = "emulators")]
pub mod sender;
#[cfg(feature = "emulators")]
pub mod server;
#[cfg(feature = "emulators")]
pub mod soak;
#[cfg(feature = "emulators")]
pub mod surroundings;
#[cfg(feature = "emulators")]
pub mod titanx_api;
