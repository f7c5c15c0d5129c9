//! The configuration of the function, from environment variables, and the healer that is built from it.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
};
use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValueError, GetSecretValueInput,
};
use aws_smithy_runtime_api::client::http::http_client_fn;
use titanx_client::{
    BASE_URL, TitanxClient,
    http::{CaBundleError, HttpClient},
};
use titanx_receiver::{
    aws::{Aws, AwsConfig, CallError, HttpPool, NoEndpoint, connector},
    config::{Config as ReceiverConfig, Mistakes},
    deliveries::Deliveries,
    intake::Intake,
    jobs::Jobs,
    queue::Queue,
};

use crate::{
    checks::Checks,
    job_records::JobRecords,
    run::Healer,
    settings::{DEFAULT_DELAY, DEFAULT_ROUND, Settings},
};

/// The longest wait for TitanX's rate limit. Before a later reset no run calls TitanX.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// A page of a scan has a megabyte, which a small function does not read within a second.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration of the function.
#[derive(Debug, Clone)]
pub struct Config {
    deliveries_table: String,
    jobs_table: String,
    checks_table: String,
    contacts_queue_url: String,
    api_key_arn: String,
    titanx_url: String,
    settings: Settings,
    aws: AwsConfig,
    credentials: Credentials,
    ca_bundle: Option<Vec<u8>>,
}

/// Why the function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Variables of AWS's clients have mistakes.
    #[error(transparent)]
    Aws(#[from] Mistakes),
    /// Variables of the healer have mistakes.
    #[error("the configuration has mistakes: {0}")]
    Healer(String),
    /// AWS has no endpoint for the region.
    #[error(transparent)]
    NoEndpoint(#[from] NoEndpoint),
    /// The certificates cannot be read.
    #[error(transparent)]
    CaBundle(#[from] CaBundleError),
    /// The API key cannot be read.
    #[error("cannot read TitanX's API key")]
    ApiKey(#[from] CallError<GetSecretValueError>),
    /// The secret has no API key.
    #[error("no API key of TitanX is stored: put it into the secret {0}")]
    NoApiKey(String),
    /// TitanX's URL is not one to send an API key to.
    #[error(transparent)]
    Titanx(#[from] titanx_client::Error),
}

impl Config {
    /// Reads the configuration through `lookup`, which gives a variable's value if it is set.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming each mistake.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String> + Copy) -> Result<Self, ConfigError> {
        let (aws, ca_bundle) = ReceiverConfig::aws_from_env(lookup)?;
        let mut env = Env {
            lookup: &lookup,
            mistakes: Vec::new(),
        };
        let retention = env.hours("DELIVERY_RETENTION_DAYS", Duration::from_hours(7 * 24), 24);
        let mut settings = Settings::new(retention);
        settings.delay = env.hours("HEALER_DELAY_HOURS", DEFAULT_DELAY, 1);
        settings.round = env.hours("HEALER_ROUND_HOURS", DEFAULT_ROUND, 1);
        if settings.delay + Duration::from_hours(48) > retention {
            let mistake = "HEALER_DELAY_HOURS must be at most the retention less 48 hours";
            env.mistakes.push(mistake.to_owned());
        }
        let config = Self {
            deliveries_table: env.required("DELIVERIES_TABLE"),
            jobs_table: env.required("JOBS_TABLE"),
            checks_table: env.required("CHECKS_TABLE"),
            contacts_queue_url: env.required("CONTACTS_QUEUE_URL"),
            api_key_arn: env.required("TITANX_API_KEY_ARN"),
            titanx_url: env
                .optional("TITANX_API_URL")
                .unwrap_or_else(|| BASE_URL.to_owned()),
            credentials: Credentials::new(
                env.required("AWS_ACCESS_KEY_ID"),
                env.required("AWS_SECRET_ACCESS_KEY"),
                env.optional("AWS_SESSION_TOKEN"),
                None,
                "Environment",
            ),
            settings,
            aws,
            ca_bundle,
        };
        if env.mistakes.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Healer(env.mistakes.join("; ")))
        }
    }

    /// Builds the healer, with the API key that is stored now.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]
    pub async fn build(&self) -> Result<Healer, ConfigError> {
        let ca_bundle = self.ca_bundle.clone();
        let pool = HttpPool::new(move || connector(ca_bundle.as_deref()));
        let aws = Aws::new(pool, &self.aws)?;
        let key = self.api_key(&aws).await?;
        let client = self.client();
        Ok(Healer {
            titanx: TitanxClient::new(HttpClient::new()?, &self.titanx_url, key, MAX_WAIT)?,
            intake: Intake {
                deliveries: Deliveries::new(
                    aws.dynamodb(),
                    self.deliveries_table.clone(),
                    self.settings.retention,
                ),
                jobs: Jobs::new(aws.dynamodb(), self.jobs_table.clone()),
                contacts: Queue::new(aws.sqs(), self.contacts_queue_url.clone()),
            },
            jobs: JobRecords {
                client: client.clone(),
                table: self.jobs_table.clone(),
            },
            deliveries_table: self.deliveries_table.clone(),
            checks: Checks::Table {
                client: client.clone(),
                table: self.checks_table.clone(),
            },
            dynamodb: client,
            settings: self.settings.clone(),
        })
    }

    async fn api_key(&self, aws: &Aws) -> Result<String, ConfigError> {
        let missing = || ConfigError::NoApiKey(self.api_key_arn.clone());
        let get = GetSecretValueInput::builder().secret_id(&self.api_key_arn);
        let get = get.build().map_err(|_| missing())?;
        let got = aws.secrets_manager().get_secret_value.call(get).await;
        let value = match got {
            Ok(value) => value.secret_string.unwrap_or_default(),
            Err(error) => match error.service_error() {
                Some(GetSecretValueError::ResourceNotFoundException(_)) => return Err(missing()),
                _ => return Err(error.into()),
            },
        };
        let key = value.trim();
        if key.is_empty() {
            return Err(missing());
        }
        Ok(key.to_owned())
    }

    /// The client for what the receiver does not do: to scan, and to read and update items.
    fn client(&self) -> Client {
        let connector = connector(self.ca_bundle.as_deref());
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT);
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.aws.region.clone()))
            .credentials_provider(self.credentials.clone())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts.build());
        if let Some(endpoint) = &self.aws.endpoints.dynamodb {
            config = config.endpoint_url(endpoint);
        }
        config.set_use_fips(Some(self.aws.endpoints.use_fips));
        config.set_use_dual_stack(Some(self.aws.endpoints.use_dual_stack));
        Client::from_conf(config.build())
    }
}

/// The environment, and the mistakes found in it so far.
struct Env<'a, F> {
    lookup: &'a F,
    mistakes: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Env<'_, F> {
    fn optional(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    }

    fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.mistakes.push(format!("{name} is missing"));
            String::new()
        })
    }

    /// A whole number of `unit` hours, at least one.
    fn hours(&mut self, name: &str, default: Duration, unit: u64) -> Duration {
        match self.optional(name).map(|value| value.parse::<u32>()) {
            None => default,
            Some(Ok(number)) if number > 0 => Duration::from_hours(u64::from(number) * unit),
            Some(_) => {
                self.mistakes
                    .push(format!("{name} must be a whole number of at least 1"));
                default
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let complete = [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "key"),
            ("DELIVERIES_TABLE", "deliveries"),
            ("JOBS_TABLE", "jobs"),
            ("CHECKS_TABLE", "checks"),
            ("CONTACTS_QUEUE_URL", "https://sqs.example/1/contacts"),
            ("TITANX_API_KEY_ARN", "arn:a"),
        ];
        let all = [&complete[..], changes].concat();
        let last = |name: &str| all.iter().rev().find(|it| it.0 == name);
        Config::from_env(|name| Some(last(name)?.1.to_owned()))
    }

    fn mistakes(changes: &[(&str, &str)]) -> Option<String> {
        config(changes).err().map(|error| error.to_string())
    }

    #[test]
    fn each_time_has_the_unit_of_its_variable() {
        let changes = [
            ("DELIVERY_RETENTION_DAYS", "9"),
            ("HEALER_DELAY_HOURS", "30"),
            ("HEALER_ROUND_HOURS", "20"),
        ];
        let settings = config(&changes).unwrap().settings;
        assert_eq!(settings.retention.as_secs(), 9 * 86_400);
        assert_eq!(settings.delay.as_secs(), 30 * 3_600);
        assert_eq!(settings.round.as_secs(), 20 * 3_600);
    }

    #[test]
    fn the_delay_leaves_two_days_of_the_retention() {
        assert_eq!(mistakes(&[]), None);
        assert_eq!(mistakes(&[("HEALER_DELAY_HOURS", "120")]), None);
        let longer = mistakes(&[("HEALER_DELAY_HOURS", "121")]).unwrap();
        let said = "the configuration has mistakes: HEALER_DELAY_HOURS must be at most the retention less \
                    48 hours";
        assert_eq!(longer, said);
        let changes = [
            ("HEALER_DELAY_HOURS", "121"),
            ("DELIVERY_RETENTION_DAYS", "8"),
        ];
        assert_eq!(mistakes(&changes), None);
    }

    /// The SDK names the kind that an endpoint of one's own cannot have.
    #[tokio::test]
    async fn the_client_calls_endpoints_of_the_kind_that_is_set() {
        for (variable, kind) in [
            ("AWS_USE_FIPS_ENDPOINT", "FIPS"),
            ("AWS_USE_DUALSTACK_ENDPOINT", "Dualstack"),
        ] {
            let mut config = config(&[(variable, "true")]).unwrap();
            config.aws.endpoints.dynamodb = Some("http://127.0.0.1:9".to_owned());
            let error = config.client().list_tables().send().await.unwrap_err();
            let told = format!("{:?}", error.into_source().unwrap());
            let said = format!("{kind} and custom endpoint are not supported");
            assert!(told.contains(&said), "{told}");
        }
    }

    #[test]
    fn one_error_names_every_mistake() {
        let changes = [("CHECKS_TABLE", " "), ("HEALER_ROUND_HOURS", "0")];
        let found = mistakes(&changes).unwrap();
        let expected = "the configuration has mistakes: HEALER_ROUND_HOURS must be a whole number of at least \
                        1; CHECKS_TABLE is missing";
        assert_eq!(found, expected);
    }
}
