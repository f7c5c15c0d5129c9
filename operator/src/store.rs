//! Where the webhook secrets are kept, and beside them what the operator must remember of them.
//!
//! In Secrets Manager the secrets are the current version, which is all that the function reads;
//! the operator's [`Ledger`] is another version of the same secret, under a label of its own. In
//! files, for local use, the ledger is a second file. Neither is readable by others.

use std::{fs, io, io::Write, path::Path, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use aws_sdk_secretsmanager::{
    Client, error::ProvideErrorMetadata, operation::get_secret_value::GetSecretValueError,
};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use clap::Args;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use titanx_receiver::secrets::{parse_lines, parse_stored};

use crate::deployment::Deployment;

/// The label of the ledger's version.
const LEDGER: &str = "OPERATOR_LEDGER";
/// How often it is looked whether what was stored reads back.
const LOOKS: u32 = 5;

// No doc comment: it would stand as the description of every command with it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Secret")]
pub(crate) struct Place {
    /// Keep the secrets in this file (mode 600) instead of Secrets Manager, for local use
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// A place for secrets.
pub(crate) enum Store {
    SecretsManager { client: Client, arn: String },
    File(PathBuf),
}

/// What the operator remembers of the secrets: never one of them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// The subscriptions whose secrets are live.
    pub(crate) subscriptions: Vec<Known>,
    /// A rotation that has not come to its end.
    pub(crate) rotation: Option<Rotation>,
}

/// A subscription and its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) url: String,
    /// Which of the secrets is its own, by its fingerprint.
    pub(crate) secret: String,
    /// When the secret was stored, in Unix milliseconds.
    pub(crate) stored_ms: i64,
}

/// A rotation under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    /// The subscription that takes over; its secret is stored.
    pub(crate) new: Known,
    /// The ids of those that it takes over from.
    pub(crate) old: Vec<String>,
    /// Whether the new one was activated.
    pub(crate) activated: bool,
    /// When the old ones were deactivated, in Unix milliseconds.
    pub(crate) deactivated_ms: Option<i64>,
}

impl Place {
    pub(crate) async fn open(&self, deployment: &Deployment) -> anyhow::Result<Store> {
        if let Some(path) = &self.secret_file {
            return Ok(Store::File(path.clone()));
        }
        let cloud = deployment.connect().await?;
        let arn = cloud.secret_arn().await;
        Ok(Store::SecretsManager {
            client: cloud.secrets_manager(),
            arn: arn
                .context("where are the secrets kept? --secret-file FILE keeps them locally")?,
        })
    }
}

impl Place {
    /// The live secrets: of `TITANX_WEBHOOK_SECRET` if it is set, as the function takes it.
    pub(crate) async fn live_secrets(
        &self,
        deployment: &Deployment,
    ) -> anyhow::Result<Vec<String>> {
        const VARIABLE: &str = "TITANX_WEBHOOK_SECRET";
        if let (None, Ok(secrets)) = (&self.secret_file, std::env::var(VARIABLE)) {
            return parse_lines(&secrets).context(VARIABLE);
        }
        let store = self.open(deployment).await?;
        let secrets = store.secrets().await?;
        if secrets.is_empty() {
            bail!("no secret is stored in {}", store.name());
        }
        Ok(secrets)
    }

    /// The secret to sign with: the first, which is the one that was live the longest, so that the
    /// receiver need not read anew.
    pub(crate) async fn signing_secret(&self, deployment: &Deployment) -> anyhow::Result<String> {
        Ok(self.live_secrets(deployment).await?.swap_remove(0))
    }
}

impl Store {
    /// What the place is called.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::SecretsManager { arn, .. } => arn.clone(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// The live secrets; none when nothing has been stored yet.
    pub(crate) async fn secrets(&self) -> anyhow::Result<Vec<String>> {
        let value = self.read(None).await?;
        let secrets = value.map(|value| parse_stored(&value)).transpose();
        let secrets = secrets.with_context(|| format!("in {}", self.name()))?;
        Ok(secrets.unwrap_or_default())
    }

    /// The stored value as it is, for a look at its form.
    pub(crate) async fn raw(&self) -> anyhow::Result<Option<String>> {
        self.read(None).await
    }

    /// Stores the live secrets, and makes sure that they read back as the same.
    pub(crate) async fn put_secrets(&self, secrets: &[String]) -> anyhow::Result<()> {
        let value = match secrets {
            [secret] if !secret.starts_with('[') => secret.clone(),
            secrets => serde_json::to_string(secrets)?,
        };
        self.write(None, &value).await?;
        // Secrets Manager's own copies may lag behind a moment.
        for _ in 0..LOOKS {
            if self.secrets().await? == secrets {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bail!(
            "what was stored in {} does not read back as the same",
            self.name()
        )
    }

    /// What the operator remembers.
    pub(crate) async fn ledger(&self) -> anyhow::Result<Ledger> {
        let ledger = self.read(Some(LEDGER)).await?;
        let ledger = ledger
            .map(|ledger| serde_json::from_str(&ledger))
            .transpose();
        let ledger = ledger.with_context(|| format!("the ledger of {}", self.name()))?;
        Ok(ledger.unwrap_or_default())
    }

    /// Remembers. Only once there are secrets: the first version of a secret would become the
    /// current one, whatever its label.
    pub(crate) async fn put_ledger(&self, ledger: &Ledger) -> anyhow::Result<()> {
        self.write(Some(LEDGER), &serde_json::to_string(ledger)?)
            .await
    }

    async fn read(&self, label: Option<&str>) -> anyhow::Result<Option<String>> {
        match self {
            Self::SecretsManager { client, arn } => read_version(client, arn, label).await,
            Self::File(path) => match fs::read_to_string(labelled(path, label)) {
                Ok(value) => Ok(Some(value)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).with_context(|| format!("cannot read {}", self.name())),
            },
        }
    }

    async fn write(&self, label: Option<&str>, value: &str) -> anyhow::Result<()> {
        let written = match self {
            Self::SecretsManager { client, arn } => client
                .put_secret_value()
                .secret_id(arn)
                .secret_string(value)
                .set_version_stages(label.map(|label| vec![label.to_owned()]))
                .send()
                .await
                .map(|_| ())
                .map_err(anyhow::Error::from),
            Self::File(path) => replace(&labelled(path, label), value).map_err(Into::into),
        };
        written.with_context(|| format!("cannot write {}", self.name()))
    }
}

async fn read_version(
    client: &Client,
    arn: &str,
    label: Option<&str>,
) -> anyhow::Result<Option<String>> {
    let read = client
        .get_secret_value()
        .secret_id(arn)
        .set_version_stage(label.map(str::to_owned))
        .send()
        .await;
    match read {
        Ok(value) => Ok(value.secret_string().map(str::to_owned)),
        Err(error) if error.as_service_error().is_some_and(is_without_value) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {arn}")),
    }
}

/// Whether the secret exists, but has no version of that label: the message alone tells it from
/// a secret that does not exist.
fn is_without_value(error: &GetSecretValueError) -> bool {
    error.is_resource_not_found_exception()
        && error
            .message()
            .is_some_and(|message| message.contains("staging label"))
}

fn labelled(path: &Path, label: Option<&str>) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if label.is_some() {
        name.push(".ledger");
    }
    name.into()
}

/// Replaces a file as a whole; the new one is readable by its owner alone from its first byte on.
fn replace(path: &Path, value: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(value.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A name for a secret that gives nothing of it away.
pub(crate) fn fingerprint(secret: &str) -> String {
    let hash = Sha256::digest(secret);
    BASE64_STANDARD_NO_PAD.encode(&hash[..9])
}
