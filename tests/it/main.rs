//! The integration tests, one module for each part of the system.

mod crash;
mod emulators;
mod events;
mod hostile;
mod model;
mod receiver;
mod runtime;
mod support;
mod template;
