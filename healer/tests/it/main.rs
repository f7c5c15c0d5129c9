//! The healer against a TitanX that drops deliveries, with the emulated AWS services.

mod kills;
mod lists;
mod rounds;
mod system;
