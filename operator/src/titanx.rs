//! The options that select TitanX's API.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use titanx_client::{BASE_URL, TitanxClient, http::HttpClient};

// The options of TitanX's API. Not a doc comment: clap would use it as the description of every
// command that flattens this.
#[derive(Debug, Args)]
#[command(next_help_heading = "TitanX")]
pub(crate) struct TitanxOptions {
    /// Base URL of TitanX's API
    #[arg(long, env = "TITANX_API_URL", value_name = "URL", default_value = BASE_URL)]
    titanx_url: String,
    /// File that contains the API key [default: the key in TITANX_API_KEY]
    ///
    /// No option takes the key itself, because other users can see the arguments of a process.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Longest time to wait for a rate limit to reset, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
}

impl TitanxOptions {
    /// Whether an API key is given.
    pub(crate) fn has_key(&self) -> bool {
        self.api_key_file.is_some() || std::env::var_os("TITANX_API_KEY").is_some()
    }

    /// Creates a client with the API key. Sends no request.
    pub(crate) fn connect(&self) -> anyhow::Result<TitanxClient> {
        let key = match &self.api_key_file {
            Some(path) => fs::read_to_string(path)
                .with_context(|| format!("cannot read the API key from {}", path.display()))?,
            None => std::env::var("TITANX_API_KEY")
                .context("no API key: set TITANX_API_KEY or use --api-key-file")?,
        };
        let key = key.trim().to_owned();
        if key.is_empty() {
            bail!("the API key is empty: check TITANX_API_KEY or the file of --api-key-file");
        }
        let max_wait = Duration::from_secs(self.patience);
        Ok(TitanxClient::new(
            HttpClient::new()?,
            &self.titanx_url,
            key,
            max_wait,
        )?)
    }
}
