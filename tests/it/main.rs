//! The tests against the emulators, one module for each part of the system.

mod crash;
mod emulators;
mod events;
mod receiver;
mod support;
