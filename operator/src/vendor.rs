//! The way to TitanX's API.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    http::Http,
    titanx::{BASE_URL, Titanx},
};

// TitanX's API. No doc comment: it would stand as the description of every command with it.
#[derive(Debug, Args)]
#[command(next_help_heading = "TitanX")]
pub(crate) struct Vendor {
    /// Where TitanX's API is
    #[arg(long, env = "TITANX_API_URL", value_name = "URL", default_value = BASE_URL)]
    titanx_url: String,
    /// File that holds the API key; else it is taken from TITANX_API_KEY, so that it never stands
    /// among a process's arguments
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Longest wait for a rate limit, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
}

impl Vendor {
    pub(crate) fn connect(&self) -> anyhow::Result<Titanx> {
        let key = match &self.api_key_file {
            Some(path) => fs::read_to_string(path)
                .with_context(|| format!("cannot read the API key in {}", path.display()))?,
            None => std::env::var("TITANX_API_KEY")
                .context("set TITANX_API_KEY, or name a file with --api-key-file")?,
        };
        let key = key.trim().to_owned();
        if key.is_empty() {
            bail!("the API key is empty");
        }
        let patience = Duration::from_secs(self.patience);
        Ok(Titanx::new(Http::new(), &self.titanx_url, key, patience)?)
    }
}
