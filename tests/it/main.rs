//! The tests against the emulators, one module for each part of the system.

mod emulators;
mod events;
mod receiver;
mod support;
