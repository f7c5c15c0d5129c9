//! The error of everything here that can fail.

/// Whatever went wrong; it ends the run.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
