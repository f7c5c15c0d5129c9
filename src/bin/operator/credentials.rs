//! Credentials of the operator's own calls.

use std::time::{Duration, SystemTime};

use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, SharedCredentialsProvider, future},
};
use tokio::sync::Mutex;

/// Credentials that are asked for again only shortly before they expire: a chain may have to run a
/// program or ask a server for them, and is asked before every call.
#[derive(Debug)]
pub(crate) struct Kept {
    chain: SharedCredentialsProvider,
    last: Mutex<Option<Credentials>>,
}

impl Kept {
    pub(crate) fn new(chain: SharedCredentialsProvider) -> Self {
        Self {
            chain,
            last: Mutex::new(None),
        }
    }

    async fn credentials(&self) -> provider::Result {
        const SHORTLY: Duration = Duration::from_mins(1);
        let mut last = self.last.lock().await;
        if let Some(credentials) = &*last {
            let expiry = credentials.expiry();
            if expiry.is_none_or(|expiry| SystemTime::now() + SHORTLY < expiry) {
                return Ok(credentials.clone());
            }
        }
        let credentials = self.chain.provide_credentials().await?;
        Ok(last.insert(credentials).clone())
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}
