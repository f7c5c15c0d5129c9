//! The receiver for TitanX webhooks on AWS: start with [`receiver`], the life of a delivery.
//!
//! Whoever imports whom: the function's binary → { [`config`], [`lambda`] } → [`receiver`] → { [`deliveries`],
//! [`jobs`], [`queue`], [`secrets`] } → [`aws`]; and [`event`] → { [`contact`], [`signature`] }. There is no arrow back.
//!
//! What is deliberately absent: no trait stands between the receiver and AWS (what can go wrong
//! there is on the network, and so are the tests' faults); nothing outside [`answer`] knows an HTTP
//! status that is answered; nothing reads a clock but [`budget`] and the signing of calls; nothing
//! logs but [`log`] and the two best-effort steps of [`receiver`].

pub mod answer;
pub mod aws;
pub mod budget;
pub mod config;
pub mod contact;
pub mod deliveries;
pub mod error;
pub mod event;
pub mod gateway;
pub mod jobs;
pub mod lambda;
pub mod log;
pub mod queue;
pub mod receiver;
pub mod secrets;
pub mod shutdown;
pub mod signature;
