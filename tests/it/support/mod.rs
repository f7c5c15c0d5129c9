//! What the tests stand on.

pub(crate) mod answer;
pub(crate) mod emulators;
pub(crate) mod front_door;
pub(crate) mod interface;
pub(crate) mod lambda;
pub(crate) mod surroundings;
pub(crate) mod titanx;
