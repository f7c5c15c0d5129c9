//! The healer against a TitanX that drops deliveries, with the emulated AWS services.

mod function;
mod kills;
mod lists;
mod rounds;
mod rounds_model;
mod system;
mod updates;
