//! The integration tests, one module for each part of the system.

mod alarms;
mod aws_calls;
mod cloudwatch;
mod crash;
mod dashboard;
mod entrances;
mod environment;
mod events;
mod fair_queues;
mod healer;
mod hostile;
mod house;
mod kill;
mod lambda;
mod lines;
mod model;
mod overload;
mod receiver;
mod resources;
mod runbook;
mod runtime;
mod secrecy;
mod soak;
mod stored_records;
mod template;
