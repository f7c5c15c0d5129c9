//! An in-memory Secrets Manager: secrets with a current version, a previous version, and versions with
//! the client's own staging labels.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::protocol::{Refusal, Service, read};

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
/// The maximum length of a value, in bytes.
const MAX_LENGTH: usize = 65_536;

/// The service, with secrets by name.
#[derive(Default)]
pub(crate) struct SecretsManager {
    secrets: Mutex<BTreeMap<String, Secret>>,
}

struct Secret {
    arn: String,
    name: String,
    description: Option<String>,
    created: Duration,
    changed: Duration,
    /// Oldest first.
    versions: Vec<Version>,
}

struct Version {
    id: String,
    value: Content,
    created: Duration,
    stages: Vec<String>,
}

/// A value, which is a string, or binary in Base64.
#[derive(Clone, PartialEq)]
struct Content {
    /// The name of its member in requests and responses.
    field: &'static str,
    value: String,
}

impl SecretsManager {
    /// Creates a secret with one version, and returns its ARN.
    pub(crate) fn create(&self, name: &str, value: &str) -> String {
        let request = json!({ "Name": name, "SecretString": value });
        let created = read(request).and_then(|request| self.create_secret(request));
        let created = created.expect("no secret has this name");
        created["ARN"].as_str().expect("an ARN is text").to_owned()
    }

    /// Stores a new current version of a secret.
    pub(crate) fn rotate(&self, secret: &str, value: &str) {
        self.put(json!({ "SecretId": secret, "SecretString": value }));
    }

    /// Stores a version of a secret with this staging label alone.
    pub(crate) fn stage(&self, secret: &str, label: &str, value: &str) {
        self.put(json!({ "SecretId": secret, "SecretString": value, "VersionStages": [label] }));
    }

    fn put(&self, request: Value) {
        let put = read(request).and_then(|request| self.put_value(request));
        put.expect("the secret exists");
    }

    /// The value of a secret's version with this staging label, or of the current one, if it is a
    /// string.
    pub(crate) fn value(&self, secret: &str, label: Option<&str>) -> Option<String> {
        let request = json!({ "SecretId": secret, "VersionStage": label });
        let answer = read(request)
            .and_then(|request| self.get_value(&request))
            .ok()?;
        Some(answer["SecretString"].as_str()?.to_owned())
    }

    fn create_secret(&self, request: Write) -> Result<Value, Refusal> {
        let content = request.content()?;
        let name = request.name.unwrap_or_default();
        if name.is_empty() {
            return Err(Refusal::new(
                "ValidationException",
                "A secret needs a name.",
            ));
        }
        let mut secrets = self.secrets();
        if secrets.contains_key(&name) {
            return Err(exists("A secret of this name already exists."));
        }
        let mut secret = Secret::new(name, request.description);
        if let Some(content) = content {
            secret.put(request.client_request_token, content, None)?;
        }
        let answer = secret.changed_answer();
        secrets.insert(secret.name.clone(), secret);
        Ok(answer)
    }

    fn put_value(&self, request: Write) -> Result<Value, Refusal> {
        let Some(content) = request.content()? else {
            let message = "You must provide either SecretString or SecretBinary.";
            return Err(Refusal::new("InvalidRequestException", message));
        };
        self.with_secret(request.secret_id.as_deref(), |secret| {
            let stages = request.version_stages;
            let answered = stages.clone();
            secret.put(request.client_request_token, content, stages)?;
            let mut answer = secret.changed_answer();
            answer["VersionStages"] =
                answered.map_or_else(|| json!([CURRENT]), |stages| json!(stages));
            Ok(answer)
        })
    }

    fn update(&self, request: Write) -> Result<Value, Refusal> {
        let content = request.content()?;
        self.with_secret(request.secret_id.as_deref(), |secret| {
            if request.description.is_some() {
                secret.description = request.description;
            }
            if let Some(content) = content {
                secret.put(request.client_request_token, content, None)?;
            }
            Ok(secret.changed_answer())
        })
    }

    fn get_value(&self, request: &Get) -> Result<Value, Refusal> {
        self.with_secret(Some(&request.secret_id), |secret| {
            let stage = request.version_stage.as_deref();
            let version = match &request.version_id {
                Some(id) => secret.versions.iter().find(|version| version.id == *id),
                None => secret.staged(stage.unwrap_or(CURRENT)),
            };
            let version = version.ok_or_else(|| no_such_version(stage.unwrap_or(CURRENT)))?;
            let mut answer = json!({
                "ARN": secret.arn,
                "Name": secret.name,
                "CreatedDate": version.created.as_secs_f64(),
                "VersionId": version.id,
                "VersionStages": version.stages,
            });
            answer[version.value.field] = json!(version.value.value);
            Ok(answer)
        })
    }

    fn describe(&self, request: &Get) -> Result<Value, Refusal> {
        self.with_secret(Some(&request.secret_id), |secret| {
            let staged = secret
                .versions
                .iter()
                .filter(|version| !version.stages.is_empty());
            let staged = staged.map(|version| (version.id.clone(), json!(version.stages)));
            Ok(json!({
                "ARN": secret.arn,
                "Name": secret.name,
                "Description": secret.description,
                "CreatedDate": secret.created.as_secs_f64(),
                "LastChangedDate": secret.changed.as_secs_f64(),
                "VersionIdsToStages": staged.collect::<serde_json::Map<_, _>>(),
            }))
        })
    }

    /// Calls `act` with the secret that has this name or ARN.
    fn with_secret<T>(
        &self,
        id: Option<&str>,
        act: impl FnOnce(&mut Secret) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let id = id.unwrap_or_default();
        let mut secrets = self.secrets();
        let mut secrets = secrets.values_mut();
        let secret = secrets.find(|secret| secret.name == id || secret.arn == id);
        act(secret.ok_or_else(not_found)?)
    }

    fn secrets(&self) -> MutexGuard<'_, BTreeMap<String, Secret>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for SecretsManager {
    async fn call(&self, operation: &str, request: Value) -> Result<Value, Refusal> {
        match operation {
            "CreateSecret" => self.create_secret(read(request)?),
            "DescribeSecret" => self.describe(&read(request)?),
            "GetSecretValue" => self.get_value(&read(request)?),
            "PutSecretValue" => self.put_value(read(request)?),
            "UpdateSecret" => self.update(read(request)?),
            _ => Err(Refusal::unknown_operation()),
        }
    }
}

impl Secret {
    fn new(name: String, description: Option<String>) -> Self {
        // Secrets Manager appends six random characters to an ARN, so that a secret created again under
        // the same name has another ARN.
        let suffix = Uuid::new_v4().simple().to_string();
        Self {
            arn: format!(
                "arn:aws:secretsmanager:us-east-1:000000000000:secret:{name}-{}",
                &suffix[..6]
            ),
            name,
            description,
            created: now(),
            changed: now(),
            versions: Vec::new(),
        }
    }

    fn staged(&self, stage: &str) -> Option<&Version> {
        let mut versions = self.versions.iter();
        versions.find(|version| version.stages.iter().any(|it| it == stage))
    }

    /// Adds a version with these staging labels, by default as the current one. The current version then
    /// becomes the previous one. A request with a known token changes nothing.
    fn put(
        &mut self,
        token: Option<String>,
        value: Content,
        stages: Option<Vec<String>>,
    ) -> Result<(), Refusal> {
        let id = token.unwrap_or_else(|| Uuid::new_v4().to_string());
        if let Some(version) = self.versions.iter().find(|version| version.id == id) {
            return if version.value == value {
                Ok(())
            } else {
                Err(exists("A version of this token already has another value."))
            };
        }
        let mut stages = stages.unwrap_or_else(|| vec![CURRENT.to_owned()]);
        let is_first = self.versions.is_empty();
        if is_first && !stages.iter().any(|stage| stage == CURRENT) {
            stages.push(CURRENT.to_owned());
        }
        let becomes_current = stages.iter().any(|stage| stage == CURRENT);
        for version in &mut self.versions {
            let was_current = version.stages.iter().any(|stage| stage == CURRENT);
            version.stages.retain(|stage| !stages.contains(stage));
            if becomes_current {
                version.stages.retain(|stage| stage != PREVIOUS);
                version
                    .stages
                    .extend(was_current.then(|| PREVIOUS.to_owned()));
            }
        }
        self.changed = now();
        self.versions.push(Version {
            id,
            value,
            created: self.changed,
            stages,
        });
        Ok(())
    }

    fn changed_answer(&self) -> Value {
        json!({
            "ARN": self.arn,
            "Name": self.name,
            "VersionId": self.staged(CURRENT).map(|version| &version.id),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Get {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Write {
    name: Option<String>,
    secret_id: Option<String>,
    description: Option<String>,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
    version_stages: Option<Vec<String>>,
}

impl Write {
    fn content(&self) -> Result<Option<Content>, Refusal> {
        let text = self.secret_string.clone();
        let content = text.map(|value| ("SecretString", value));
        let binary = self.secret_binary.clone();
        let content = content.or_else(|| binary.map(|value| ("SecretBinary", value)));
        match content {
            Some((_, value)) if !(1..=MAX_LENGTH).contains(&value.len()) => {
                let message = "A secret's value has between 1 and 65536 bytes.";
                Err(Refusal::new("ValidationException", message))
            }
            content => Ok(content.map(|(field, value)| Content { field, value })),
        }
    }
}

fn not_found() -> Refusal {
    let message = "Secrets Manager can't find the specified secret.";
    Refusal::new("ResourceNotFoundException", message)
}

fn no_such_version(stage: &str) -> Refusal {
    let message = "Secrets Manager can't find the specified secret value for staging label: ";
    Refusal::new("ResourceNotFoundException", format!("{message}{stage}"))
}

fn exists(message: &str) -> Refusal {
    Refusal::new("ResourceExistsException", message)
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock stands after 1970")
}
