//! What the receiver is tested with, and what stands in for all that surrounds it.
//!
//! | module | what it stands in for |
//! |---|---|
//! | [`emulators`] | DynamoDB, SQS and Secrets Manager, and proxies that break calls on their way |
//! | [`titanx`] | TitanX as a sender: bodies, signatures, and the gateway events around them |
//! | [`lambda`], [`interface`] | Lambda around the function's own program |
//! | [`front_door`], [`gateway`] | a receiver in this process, asked with events or behind a URL |
//!
//! [`kill`] and [`soak`] drive the function's program through deaths and faults and judge what
//! became of every event; [`checks`] holds what is true of every input, whoever made it.

pub mod answer;
pub mod checks;
pub mod emulators;
pub mod front_door;
pub mod gateway;
pub mod interface;
pub mod kill;
pub mod lambda;
pub mod release;
pub mod soak;
pub mod surroundings;
pub mod titanx;
