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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_credential_types::provider::error::CredentialsError;

    use super::*;

    /// Gives one answer after the other: credentials for so many seconds, for ever, or none.
    #[derive(Debug)]
    struct Chain {
        answers: Vec<Result<Option<u64>, ()>>,
        asked: AtomicUsize,
    }

    impl ProvideCredentials for Chain {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.asked.fetch_add(1, Ordering::Relaxed);
            future::ProvideCredentials::ready(match self.answers[asked] {
                Ok(seconds) => {
                    let expiry = seconds.map(|it| SystemTime::now() + Duration::from_secs(it));
                    Ok(Credentials::new(
                        asked.to_string(),
                        "key",
                        None,
                        expiry,
                        "test",
                    ))
                }
                Err(()) => Err(CredentialsError::not_loaded("nobody is logged in")),
            })
        }
    }

    /// The numbers of the answers that four calls are signed by; none where there were no credentials.
    async fn signed_by(answers: &[Result<Option<u64>, ()>]) -> Vec<Option<String>> {
        let kept = Kept::new(SharedCredentialsProvider::new(Chain {
            answers: answers.to_owned(),
            asked: AtomicUsize::new(0),
        }));
        let mut signed_by = Vec::new();
        for _ in 0..4 {
            let credentials = kept.provide_credentials().await.ok();
            signed_by.push(credentials.map(|it| it.access_key_id().to_owned()));
        }
        signed_by
    }

    #[tokio::test]
    async fn credentials_are_asked_for_again_shortly_before_they_expire() {
        let number = |it: usize| Some(it.to_string());
        assert_eq!(signed_by(&[Ok(None)]).await, [0; 4].map(number));
        assert_eq!(signed_by(&[Ok(Some(3_600))]).await, [0; 4].map(number));
        let expiring = [Ok(Some(59)), Ok(Some(0)), Err(()), Ok(Some(3_600))];
        assert_eq!(
            signed_by(&expiring).await,
            [number(0), number(1), None, number(3)]
        );
    }
}
