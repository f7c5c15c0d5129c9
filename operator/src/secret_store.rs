//! Stores the signing secrets, and the operator's ledger of the subscriptions that they belong to.
//!
//! In Secrets Manager, the secrets are the current version of the secret, which the function reads.
//! The [`Ledger`] is another version of the same secret with its own staging label. For local use,
//! secrets and ledger are two files that only their owner can read.

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

use crate::stack::StackOptions;

/// The staging label of the ledger's version.
const LEDGER_LABEL: &str = "OPERATOR_LEDGER";
/// How many times new secrets are read back before they count as not stored.
const READ_BACK_ATTEMPTS: u32 = 5;

// The options that select where the secrets are stored. Not a doc comment: clap would use it as the
// description of every command that flattens this.
#[derive(Debug, Args)]
#[command(next_help_heading = "Secret")]
pub(crate) struct SecretSource {
    /// File (mode 600) that stores the secrets instead of Secrets Manager, for local use
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// Where the secrets are stored.
pub(crate) enum SecretStore {
    SecretsManager { client: Client, arn: String },
    File(PathBuf),
}

/// What the operator records about subscriptions and rotations. It never contains a secret.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// The subscriptions whose secrets are live.
    pub(crate) subscriptions: Vec<KnownSubscription>,
    /// The rotation in progress.
    pub(crate) rotation: Option<Rotation>,
}

/// A subscription that the operator created, with the fingerprint of its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownSubscription {
    pub(crate) id: String,
    pub(crate) url: String,
    /// The [`fingerprint`] of its secret.
    #[serde(rename = "secret")]
    pub(crate) fingerprint: String,
    /// When the secret was stored, in Unix milliseconds.
    pub(crate) stored_ms: i64,
}

/// A rotation in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    /// The new subscription. Its secret is stored.
    pub(crate) new: KnownSubscription,
    /// The ids of the subscriptions that it replaces.
    pub(crate) old: Vec<String>,
    /// Whether the new subscription has been activated.
    pub(crate) activated: bool,
    /// When the old subscriptions were deactivated, in Unix milliseconds.
    pub(crate) deactivated_ms: Option<i64>,
}

impl SecretSource {
    pub(crate) async fn open(&self, options: &StackOptions) -> anyhow::Result<SecretStore> {
        if let Some(path) = &self.secret_file {
            return Ok(SecretStore::File(path.clone()));
        }
        let stack = options.connect().await?;
        let arn = stack.secret_arn().await;
        Ok(SecretStore::SecretsManager {
            client: stack.secrets_manager(),
            arn: arn.context(
                "cannot find the stored secrets (for local use, --secret-file names a file)",
            )?,
        })
    }

    /// The live secrets. Without `--secret-file`, those in `TITANX_WEBHOOK_SECRET` have precedence,
    /// as in the function.
    pub(crate) async fn live_secrets(&self, options: &StackOptions) -> anyhow::Result<Vec<String>> {
        const VARIABLE: &str = "TITANX_WEBHOOK_SECRET";
        if let (None, Ok(secrets)) = (&self.secret_file, std::env::var(VARIABLE)) {
            return parse_lines(&secrets).context(VARIABLE);
        }
        let store = self.open(options).await?;
        let secrets = store.secrets().await?;
        if secrets.is_empty() {
            bail!(
                "no secret is stored in {}: run `operator subscribe` first",
                store.name()
            );
        }
        Ok(secrets)
    }

    /// The secret to sign with. This is the oldest live secret, because the receiver is sure to have
    /// read it already.
    pub(crate) async fn signing_secret(&self, options: &StackOptions) -> anyhow::Result<String> {
        Ok(self.live_secrets(options).await?.swap_remove(0))
    }
}

impl SecretStore {
    /// The ARN of the secret, or the path of the file.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::SecretsManager { arn, .. } => arn.clone(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// What is stored under this label: another file, or another version of the same secret.
    fn name_of(&self, label: Option<&str>) -> String {
        match (self, label) {
            (Self::File(path), _) => path_with_label(path, label).display().to_string(),
            (Self::SecretsManager { arn, .. }, Some(label)) => format!("{label} of {arn}"),
            (Self::SecretsManager { arn, .. }, None) => arn.clone(),
        }
    }

    /// The live secrets, or none if nothing is stored yet.
    pub(crate) async fn secrets(&self) -> anyhow::Result<Vec<String>> {
        let value = self.read(None).await?;
        let secrets = value.map(|value| parse_stored(&value)).transpose();
        let secrets = secrets.with_context(|| format!("the value of {}", self.name()))?;
        Ok(secrets.unwrap_or_default())
    }

    /// The stored value, not parsed.
    pub(crate) async fn raw_value(&self) -> anyhow::Result<Option<String>> {
        self.read(None).await
    }

    /// Stores the live secrets, and waits until a read returns them. Writes nothing that the function
    /// could not read, since it would then know no secret at all.
    pub(crate) async fn put_secrets(&self, secrets: &[String]) -> anyhow::Result<()> {
        let value = match secrets {
            [secret] => secret.clone(),
            secrets => serde_json::to_string(secrets)?,
        };
        if parse_stored(&value).ok().as_deref() != Some(secrets) {
            bail!(
                "the function could not read the new secret, so {} is left as it was",
                self.name()
            );
        }
        self.write(None, &value).await?;
        // Secrets Manager is eventually consistent.
        for _ in 0..READ_BACK_ATTEMPTS {
            if self.secrets().await? == secrets {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bail!(
            "the secrets were written to {}, but a read returns other secrets",
            self.name()
        )
    }

    /// Reads the ledger. It is empty if none is stored yet.
    pub(crate) async fn ledger(&self) -> anyhow::Result<Ledger> {
        let ledger = self.read(Some(LEDGER_LABEL)).await?;
        let ledger = ledger
            .map(|ledger| serde_json::from_str(&ledger))
            .transpose();
        let name = || self.name_of(Some(LEDGER_LABEL));
        let ledger = ledger.with_context(|| format!("cannot parse the ledger {}", name()))?;
        Ok(ledger.unwrap_or_default())
    }

    /// Writes the ledger. Secrets must be stored already: Secrets Manager makes the first version of
    /// a secret the current one, whatever its label.
    pub(crate) async fn put_ledger(&self, ledger: &Ledger) -> anyhow::Result<()> {
        self.write(Some(LEDGER_LABEL), &serde_json::to_string(ledger)?)
            .await
    }

    async fn read(&self, label: Option<&str>) -> anyhow::Result<Option<String>> {
        match self {
            Self::SecretsManager { client, arn } => read_version(client, arn, label).await,
            Self::File(path) => match fs::read_to_string(path_with_label(path, label)) {
                Ok(value) => Ok(Some(value)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => {
                    Err(error).with_context(|| format!("cannot read {}", self.name_of(label)))
                }
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
            Self::File(path) => {
                replace_file(&path_with_label(path, label), value).map_err(Into::into)
            }
        };
        written.with_context(|| format!("cannot write {}", self.name_of(label)))
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
        Err(error) if error.as_service_error().is_some_and(is_missing_version) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read the secret {arn}")),
    }
}

/// Whether the secret exists but has no version with the label. Only the error message distinguishes
/// this from a secret that does not exist.
fn is_missing_version(error: &GetSecretValueError) -> bool {
    error.is_resource_not_found_exception()
        && error
            .message()
            .is_some_and(|message| message.contains("staging label"))
}

fn path_with_label(path: &Path, label: Option<&str>) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if label.is_some() {
        name.push(".ledger");
    }
    name.into()
}

/// Replaces a file atomically. Only the owner can ever read the new file.
fn replace_file(path: &Path, value: &str) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    file.write_all(value.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A digest that identifies a secret without revealing it.
pub(crate) fn fingerprint(secret: &str) -> String {
    let hash = Sha256::digest(secret);
    BASE64_STANDARD_NO_PAD.encode(&hash[..9])
}
