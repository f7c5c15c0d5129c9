//! Test support for the receiver: replacements for everything around it.
//!
//! | module | replaces |
//! |---|---|
//! | [`emulators`] | DynamoDB, SQS and Secrets Manager; also proxies that inject faults |
//! | [`titanx`] | TitanX as a sender: request bodies, signatures and gateway events |
//! | [`lambda`], [`interface`] | Lambda, which runs the function's program |
//! | [`front_door`], [`gateway`] | Lambda and API Gateway, for a receiver in the same process |
//!
//! [`kill`] and [`soak`] run the function's program, kill it and inject faults, and check the result
//! of every event. [`checks`] contains properties that hold for every input.

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
