//! The live webhook secrets.
//!
//! A 401 is final for TitanX, so before one leaves, secrets that are kept in Secrets Manager are
//! read again: a rotation is taken up without a new deployment and without losing an event.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValueError, GetSecretValueInput,
};
use aws_smithy_types::error::operation::BuildError;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    aws::{CallError, SecretsManager},
    gateway::Request,
    signature::{Verified, Verifier},
};

/// Secrets are read again at most once in this time, whatever strangers send.
pub const REREAD_INTERVAL: Duration = Duration::from_secs(30);

/// The live secrets, wherever they are kept.
#[derive(Debug)]
pub struct Secrets {
    live: RwLock<Option<Arc<Verifier>>>,
    /// `None` when the secrets are part of the configuration.
    store: Option<Store>,
}

#[derive(Debug)]
struct Store {
    secrets_manager: SecretsManager,
    arn: String,
    last_reread: Mutex<Option<Reread>>,
}

#[derive(Debug)]
struct Reread {
    at: Instant,
    succeeded: bool,
}

impl Secrets {
    /// The secrets given by the configuration; they live as long as the process.
    #[must_use]
    pub fn fixed(secrets: &[String]) -> Self {
        Self {
            live: RwLock::new(Some(verifier(secrets))),
            store: None,
        }
    }

    /// The secrets kept in Secrets Manager under `arn`. Nothing is read yet.
    #[must_use]
    pub fn stored(secrets_manager: SecretsManager, arn: String) -> Self {
        Self {
            live: RwLock::new(None),
            store: Some(Store {
                secrets_manager,
                arn,
                last_reread: Mutex::new(None),
            }),
        }
    }

    /// Reads the secrets for the first time, if they are stored and were not read.
    ///
    /// # Errors
    ///
    /// When they cannot be read; the next verification will try again.
    pub async fn load(&self) -> Result<(), SecretsError> {
        self.newer_than(None).await.map(|_| ())
    }

    /// Forgets stored secrets that were read; the next verification reads them again.
    pub fn forget(&self) {
        if self.store.is_some() {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            *live = None;
        }
    }

    /// Verifies a request against every live secret, and on a mismatch against those read anew.
    /// `None` when it is certain that none of them made the signature.
    ///
    /// # Errors
    ///
    /// [`SecretsError`] when this is uncertain, because the secrets cannot be read.
    pub async fn verify<'a>(
        &self,
        request: &'a Request,
    ) -> Result<Option<Verified<'a>>, SecretsError> {
        let (Some(body), Some(signature)) = (&request.body, &request.signature) else {
            return Ok(None);
        };
        let live = self.live();
        if let Some(verified) = live.as_deref().and_then(|it| it.verify(body, signature)) {
            return Ok(Some(verified));
        }
        let newer = self.newer_than(live.as_ref()).await?;
        Ok(newer.and_then(|newer| newer.verify(body, signature)))
    }

    fn live(&self) -> Option<Arc<Verifier>> {
        let live = self.live.read();
        live.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Secrets other than those `known`, or `None` when it is certain that there are none.
    ///
    /// # Errors
    ///
    /// When they had to be read and could not be.
    async fn newer_than(
        &self,
        known: Option<&Arc<Verifier>>,
    ) -> Result<Option<Arc<Verifier>>, SecretsError> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        // Whoever comes while another is reading waits for what that one finds.
        let mut last_reread = store.last_reread.lock().await;
        let live = self.live();
        if live.as_ref().map(Arc::as_ptr) != known.map(Arc::as_ptr) {
            return Ok(live);
        }
        if let (Some(_), Some(last)) = (known, &*last_reread)
            && last.at.elapsed() < REREAD_INTERVAL
        {
            return if last.succeeded {
                Ok(None)
            } else {
                Err(SecretsError::NotReadLately)
            };
        }
        if known.is_some() {
            // Written down first, so that a read that hangs until its caller gives up counts too.
            *last_reread = Some(Reread {
                at: Instant::now(),
                succeeded: false,
            });
        }
        let newer = verifier(&store.read().await?);
        if let Some(reread) = &mut *last_reread {
            reread.succeeded = true;
        }
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        *live = Some(Arc::clone(&newer));
        Ok(Some(newer))
    }
}

impl Store {
    async fn read(&self) -> Result<Vec<String>, SecretsError> {
        let get = GetSecretValueInput::builder()
            .secret_id(&self.arn)
            .build()?;
        let value = self.secrets_manager.get_secret_value.call(get).await?;
        Ok(parse_stored(value.secret_string().unwrap_or_default())?)
    }
}

fn verifier(secrets: &[String]) -> Arc<Verifier> {
    Arc::new(Verifier::new(secrets.iter().map(String::as_str)))
}

/// A secret's value holds no secret that can be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnusableSecret {
    /// There is nothing in it, or an empty one among others.
    #[error("a webhook secret is empty")]
    Empty,
    /// It begins as a JSON array and is none of strings.
    #[error("the value begins with '[' and is not a JSON array of strings")]
    NotAnArray,
}

/// Why the secrets could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Secrets Manager refused, failed or did not answer.
    #[error(transparent)]
    Get(#[from] CallError<GetSecretValueError>),
    /// The SDK does not take the request.
    #[error(transparent)]
    Request(#[from] BuildError),
    /// The stored value holds no secret that can be used.
    #[error(transparent)]
    Unusable(#[from] UnusableSecret),
    /// The last re-read failed, and it is too early for the next.
    #[error("the webhook secrets could not be read again a moment ago")]
    NotReadLately,
}

/// The secrets in an environment variable: one a line.
///
/// # Errors
///
/// [`UnusableSecret::Empty`] when there is none.
pub fn parse_lines(value: &str) -> Result<Vec<String>, UnusableSecret> {
    let lines: Vec<_> = value
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return Err(UnusableSecret::Empty);
    }
    if value.ends_with('\n') {
        warn_trimmed();
    }
    lines.into_iter().map(trimmed).collect()
}

/// The secrets in a stored value: one secret, or a JSON array of them.
///
/// # Errors
///
/// [`UnusableSecret`] when it is neither.
pub fn parse_stored(value: &str) -> Result<Vec<String>, UnusableSecret> {
    let secrets = if value.trim_start().starts_with('[') {
        serde_json::from_str(value).map_err(|_| UnusableSecret::NotAnArray)?
    } else {
        vec![value.to_owned()]
    };
    if secrets.is_empty() {
        return Err(UnusableSecret::Empty);
    }
    secrets.iter().map(|secret| trimmed(secret)).collect()
}

/// Consoles and shells add newlines and blanks, and no signature would ever match with them.
fn trimmed(secret: &str) -> Result<String, UnusableSecret> {
    let trimmed = secret.trim();
    if trimmed.is_empty() {
        return Err(UnusableSecret::Empty);
    }
    if trimmed.len() != secret.len() {
        warn_trimmed();
    }
    Ok(trimmed.to_owned())
}

fn warn_trimmed() {
    tracing::warn!("a newline or blank around a webhook secret was trimmed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_holds_one_secret_a_line() {
        assert_eq!(parse_lines("wh_sk_a").unwrap(), ["wh_sk_a"]);
        assert_eq!(parse_lines("a\nb\r\n\n c \n").unwrap(), ["a", "b", "c"]);
        for empty in ["", " ", "\n", " \r\n\t"] {
            assert_eq!(parse_lines(empty), Err(UnusableSecret::Empty), "{empty:?}");
        }
    }

    #[test]
    fn a_stored_value_is_one_secret_or_an_array_of_them() {
        assert_eq!(parse_stored("whsec_a+/=").unwrap(), ["whsec_a+/="]);
        assert_eq!(parse_stored(" a\n").unwrap(), ["a"]);
        assert_eq!(parse_stored(r#" ["a", "b\n"]"#).unwrap(), ["a", "b"]);
        assert_eq!(parse_stored(r#""quoted""#).unwrap(), [r#""quoted""#]);
        assert_eq!(parse_stored(r#"{"a": "b"}"#).unwrap(), [r#"{"a": "b"}"#]);
    }

    #[test]
    fn a_stored_value_without_a_secret_is_refused() {
        for empty in ["", " \n", "[]", r#"["a", ""]"#, r#"[" "]"#] {
            assert_eq!(parse_stored(empty), Err(UnusableSecret::Empty), "{empty:?}");
        }
        for broken in ["[", r#"["a""#, "[1]", r#"["a"] x"#, "[[]]"] {
            assert_eq!(
                parse_stored(broken),
                Err(UnusableSecret::NotAnArray),
                "{broken:?}"
            );
        }
    }
}
