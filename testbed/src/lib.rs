//! What the tests stand on.

pub(crate) mod answer;
pub(crate) mod control_plane;
pub(crate) mod emulators;
pub(crate) mod front_door;
pub(crate) mod gateway;
pub(crate) mod interface;
pub(crate) mod lambda;
pub(crate) mod operator;
pub(crate) mod surroundings;
pub(crate) mod titanx;
pub(crate) mod titanx_api;
