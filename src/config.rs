//! The configuration, from environment variables, and the receiver that is built from it.

use std::{error::Error as StdError, fmt, fs, time::Duration};

use aws_credential_types::Credentials;

use crate::{
    aws::{Aws, AwsConfig, Endpoints, HttpPool, Identity, NoEndpoint, connector},
    deliveries::Deliveries,
    intake::Intake,
    jobs::Jobs,
    quarantine::Quarantine,
    queue::{Queue, is_fifo},
    receiver::Receiver,
    secrets::{Secrets, parse_lines},
    signature::KeyForm,
};

/// TitanX retries for three days, and an event is stale three days before its id is forgotten: what
/// is retried to the last must not be stale.
const MIN_RETENTION_DAYS: u32 = 7;
const DEFAULT_RETENTION_DAYS: u32 = 7;

/// The configuration of the function.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DELIVERIES_TABLE`
    pub deliveries_table: String,
    /// `JOBS_TABLE`
    pub jobs_table: String,
    /// `CONTACTS_QUEUE_URL`; a FIFO queue if it ends in `.fifo`.
    pub contacts_queue_url: String,
    /// `QUARANTINE_QUEUE_URL`; a standard queue.
    pub quarantine_queue_url: String,
    /// `TITANX_WEBHOOK_SECRET` or `TITANX_WEBHOOK_SECRET_ARN`.
    pub webhook_secret: WebhookSecret,
    /// `SIGNING_KEY_FORM`: the forms that a signing key may have.
    pub key_forms: Vec<KeyForm>,
    /// `DELIVERY_RETENTION_DAYS`
    pub retention: Duration,
    /// Region, credentials and endpoints, in the variables of the AWS SDKs.
    pub aws: AwsConfig,
    /// Certificates to trust instead of Amazon's roots (PEM), from the file that `AWS_CA_BUNDLE` names.
    pub ca_bundle: Option<Vec<u8>>,
}

/// Where the webhook secrets are.
#[derive(Clone)]
pub enum WebhookSecret {
    /// In the environment itself.
    Fixed(Vec<String>),
    /// In Secrets Manager, under this ARN.
    Stored(String),
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Fixed(_) => f.write_str("Fixed([REDACTED])"),
            Self::Stored(arn) => f.debug_tuple("Stored").field(arn).finish(),
        }
    }
}

/// Every mistake in the configuration.
#[derive(Debug)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the configuration has mistakes: {}", self.0.join("; "))
    }
}

impl StdError for Mistakes {}

impl Config {
    /// Reads the configuration through `lookup`, which gives a variable's value if it is set.
    ///
    /// # Errors
    ///
    /// [`Mistakes`], naming each one.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mut env = Env {
            lookup,
            mistakes: Vec::new(),
        };
        let config = Self {
            deliveries_table: env.required("DELIVERIES_TABLE"),
            jobs_table: env.required("JOBS_TABLE"),
            contacts_queue_url: env.queue_url("CONTACTS_QUEUE_URL"),
            quarantine_queue_url: env.standard_queue_url("QUARANTINE_QUEUE_URL"),
            webhook_secret: env.webhook_secret(),
            key_forms: env.key_forms(),
            retention: env.retention(),
            aws: env.aws(),
            ca_bundle: env.ca_bundle(),
        };
        if env.mistakes.is_empty() {
            Ok(config)
        } else {
            Err(Mistakes(env.mistakes))
        }
    }

    /// Reads what AWS's clients need, and nothing else, for another program of the stack: region,
    /// credentials and endpoints, and the certificates of `AWS_CA_BUNDLE`.
    ///
    /// # Errors
    ///
    /// [`Mistakes`], naming each one.
    pub fn aws_from_env(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<(AwsConfig, Option<Vec<u8>>), Mistakes> {
        let mut env = Env {
            lookup,
            mistakes: Vec::new(),
        };
        let read = (env.aws(), env.ca_bundle());
        if env.mistakes.is_empty() {
            Ok(read)
        } else {
            Err(Mistakes(env.mistakes))
        }
    }

    /// Builds the receiver and the services that it calls. Makes no call.
    ///
    /// # Errors
    ///
    /// [`NoEndpoint`] when AWS has no endpoint for the region with these settings.
    pub fn build(self) -> Result<(Receiver, Aws), NoEndpoint> {
        let Self { ca_bundle, .. } = self;
        let pool = HttpPool::new(move || connector(ca_bundle.as_deref()));
        let aws = Aws::new(pool, &self.aws)?;
        let secrets = match self.webhook_secret {
            WebhookSecret::Fixed(secrets) => Secrets::fixed(&secrets, self.key_forms),
            WebhookSecret::Stored(arn) => {
                Secrets::stored(aws.secrets_manager(), arn, self.key_forms)
            }
        };
        let intake = Intake {
            deliveries: Deliveries::new(aws.dynamodb(), self.deliveries_table, self.retention),
            jobs: Jobs::new(aws.dynamodb(), self.jobs_table),
            contacts: Queue::new(aws.sqs(), self.contacts_queue_url),
        };
        let quarantine = Quarantine {
            queue: Queue::new(aws.sqs(), self.quarantine_queue_url),
        };
        Ok((Receiver::new(secrets, intake, quarantine), aws))
    }
}

/// The environment, and the mistakes found in it so far. After a mistake an empty value is used, so
/// that reading goes on and finds every mistake.
struct Env<F> {
    lookup: F,
    mistakes: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Env<F> {
    /// A variable's value, unless it is blank.
    fn optional(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.mistakes.push(format!("{name} is missing"));
            String::new()
        })
    }

    fn queue_url(&mut self, name: &str) -> String {
        let url = self.required(name);
        if !url.is_empty() && !is_url(&url) {
            self.mistakes
                .push(format!("{name} is not the URL of a queue"));
        }
        url
    }

    fn standard_queue_url(&mut self, name: &str) -> String {
        let url = self.queue_url(name);
        if is_fifo(&url) {
            self.mistakes.push(format!(
                "{name} is a FIFO queue, but must be a standard queue"
            ));
        }
        url
    }

    fn webhook_secret(&mut self) -> WebhookSecret {
        const SECRET: &str = "TITANX_WEBHOOK_SECRET";
        const ARN: &str = "TITANX_WEBHOOK_SECRET_ARN";
        match ((self.lookup)(SECRET), self.optional(ARN)) {
            (Some(_), Some(_)) => {
                self.mistakes
                    .push(format!("both {SECRET} and {ARN} are set: set one"));
                WebhookSecret::Fixed(Vec::new())
            }
            (None, None) => {
                self.mistakes
                    .push(format!("neither {SECRET} nor {ARN} is set: set one"));
                WebhookSecret::Fixed(Vec::new())
            }
            (None, Some(arn)) => WebhookSecret::Stored(arn),
            (Some(secrets), None) => {
                WebhookSecret::Fixed(parse_lines(&secrets).unwrap_or_else(|error| {
                    self.mistakes.push(format!("{SECRET}: {error}"));
                    Vec::new()
                }))
            }
        }
    }

    fn key_forms(&mut self) -> Vec<KeyForm> {
        const NAME: &str = "SIGNING_KEY_FORM";
        let name = self.optional(NAME);
        let Some(name) = name.as_deref().filter(|name| *name != "any") else {
            return KeyForm::ALL.to_vec();
        };
        let form = name.parse();
        if form.is_err() {
            self.mistakes.push(format!(
                "{NAME} must be any, whole, without-prefix or decoded"
            ));
        }
        form.into_iter().collect()
    }

    fn retention(&mut self) -> Duration {
        const NAME: &str = "DELIVERY_RETENTION_DAYS";
        const SECONDS_A_DAY: u64 = 24 * 60 * 60;
        let days = match self.optional(NAME).map(|days| days.parse()) {
            None => DEFAULT_RETENTION_DAYS,
            Some(Ok(days)) if days >= MIN_RETENTION_DAYS => days,
            Some(_) => {
                self.mistakes.push(format!(
                    "{NAME} must be a whole number of at least {MIN_RETENTION_DAYS}"
                ));
                DEFAULT_RETENTION_DAYS
            }
        };
        Duration::from_secs(u64::from(days) * SECONDS_A_DAY)
    }

    fn aws(&mut self) -> AwsConfig {
        let region = self
            .optional("AWS_REGION")
            .or_else(|| self.optional("AWS_DEFAULT_REGION"));
        AwsConfig {
            region: region.unwrap_or_else(|| self.required("AWS_REGION")),
            identity: self.identity(),
            endpoints: Endpoints {
                dynamodb: self.endpoint("AWS_ENDPOINT_URL_DYNAMODB"),
                sqs: self.endpoint("AWS_ENDPOINT_URL_SQS"),
                secrets_manager: self.endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
                use_fips: self.is_true("AWS_USE_FIPS_ENDPOINT"),
                use_dual_stack: self.is_true("AWS_USE_DUALSTACK_ENDPOINT"),
            },
        }
    }

    /// Lambda passes credentials in the environment, or with SnapStart through the container endpoint.
    /// The SDK's chain of other sources is left out: it would cost size and time at start.
    fn identity(&mut self) -> Identity {
        const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
        const CONTAINER: [&str; 2] = [
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        ];
        let is_set = |name: &&str| self.optional(name).is_some();
        if !is_set(&KEY_ID) && CONTAINER.iter().any(is_set) {
            return Identity::container();
        }
        Identity::fixed(Credentials::new(
            self.required(KEY_ID),
            self.required("AWS_SECRET_ACCESS_KEY"),
            self.optional("AWS_SESSION_TOKEN"),
            None,
            "Environment",
        ))
    }

    fn is_true(&self, name: &str) -> bool {
        self.optional(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// An endpoint of one service, or the one for all.
    fn endpoint(&mut self, name: &str) -> Option<String> {
        const ALL: &str = "AWS_ENDPOINT_URL";
        let own = self.optional(name).map(|url| (name, url));
        let (name, url) = own.or_else(|| Some((ALL, self.optional(ALL)?)))?;
        let mistake = format!("{name} is not a URL");
        // The one for all is read once for each service.
        if !is_url(&url) && !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
        Some(url)
    }

    fn ca_bundle(&mut self) -> Option<Vec<u8>> {
        const NAME: &str = "AWS_CA_BUNDLE";
        let path = self.optional(NAME)?;
        match fs::read(&path) {
            Ok(pem)
                if pem
                    .windows(CERTIFICATE.len())
                    .any(|line| line == CERTIFICATE) =>
            {
                Some(pem)
            }
            Ok(_) => {
                self.mistakes
                    .push(format!("{NAME}: no certificate in {path}"));
                None
            }
            Err(error) => {
                self.mistakes
                    .push(format!("{NAME}: cannot read {path}: {error}"));
                None
            }
        }
    }
}

fn is_url(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|it| text.starts_with(it))
}

/// How a certificate begins in a PEM file.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn complete() -> HashMap<&'static str, &'static str> {
        HashMap::from([
            ("DELIVERIES_TABLE", "deliveries"),
            ("JOBS_TABLE", "jobs"),
            ("CONTACTS_QUEUE_URL", "https://sqs.example/1/contacts.fifo"),
            ("QUARANTINE_QUEUE_URL", "https://sqs.example/1/quarantine"),
            ("TITANX_WEBHOOK_SECRET", "wh_sk_a\nwhsec_b\n"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "key"),
        ])
    }

    fn read(changes: &[(&'static str, &'static str)]) -> Result<Config, String> {
        let mut variables = complete();
        variables.extend(changes.iter().copied());
        let lookup = |name: &str| {
            let value = variables.get(name).filter(|value| **value != "-")?;
            Some((*value).to_owned())
        };
        Config::from_env(lookup).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_complete_environment_is_taken_as_it_is() {
        let config = read(&[("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1")]).unwrap();
        assert_eq!(config.deliveries_table, "deliveries");
        assert_eq!(config.jobs_table, "jobs");
        assert_eq!(
            config.contacts_queue_url,
            "https://sqs.example/1/contacts.fifo"
        );
        assert_eq!(
            config.quarantine_queue_url,
            "https://sqs.example/1/quarantine"
        );
        assert_eq!(config.retention, Duration::from_hours(7 * 24));
        assert_eq!(config.aws.region, "eu-central-1");
        assert_eq!(config.aws.endpoints.sqs.unwrap(), "http://127.0.0.1:1");
        assert_eq!(config.aws.endpoints.dynamodb, None);
        let WebhookSecret::Fixed(secrets) = config.webhook_secret else {
            panic!("the secrets are in the environment");
        };
        assert_eq!(secrets, ["wh_sk_a", "whsec_b"]);
    }

    #[test]
    fn one_error_names_every_mistake() {
        let nothing: Vec<_> = complete().into_keys().map(|name| (name, "-")).collect();
        let mistakes = read(&nothing).unwrap_err();
        for name in complete().into_keys() {
            assert!(mistakes.contains(name), "{name} in {mistakes}");
        }
    }

    #[test]
    fn each_mistake_is_named() {
        for (change, mistake) in [
            (("DELIVERIES_TABLE", " "), "DELIVERIES_TABLE is missing"),
            (
                ("AWS_ENDPOINT_URL_SQS", "127.0.0.1:4566"),
                "AWS_ENDPOINT_URL_SQS is not a URL",
            ),
            (
                ("AWS_ENDPOINT_URL", "localhost"),
                "AWS_ENDPOINT_URL is not a URL",
            ),
            (
                ("CONTACTS_QUEUE_URL", "contacts"),
                "CONTACTS_QUEUE_URL is not the URL of a queue",
            ),
            (
                ("QUARANTINE_QUEUE_URL", "https://q.fifo"),
                "QUARANTINE_QUEUE_URL is a FIFO queue, but must be a standard queue",
            ),
            (
                ("TITANX_WEBHOOK_SECRET", " \n"),
                "TITANX_WEBHOOK_SECRET: a webhook secret is empty",
            ),
            (
                ("TITANX_WEBHOOK_SECRET", "-"),
                "neither TITANX_WEBHOOK_SECRET nor",
            ),
            (
                ("TITANX_WEBHOOK_SECRET_ARN", "arn:a"),
                "both TITANX_WEBHOOK_SECRET and TITANX_WEBHOOK_SECRET_ARN are set: set one",
            ),
            (
                ("DELIVERY_RETENTION_DAYS", "6"),
                "whole number of at least 7",
            ),
            (
                ("DELIVERY_RETENTION_DAYS", "-1"),
                "whole number of at least 7",
            ),
            (
                ("DELIVERY_RETENTION_DAYS", "a week"),
                "whole number of at least 7",
            ),
            (
                ("DELIVERY_RETENTION_DAYS", "99999999999"),
                "whole number of at least 7",
            ),
            (
                ("SIGNING_KEY_FORM", "whsec"),
                "SIGNING_KEY_FORM must be any, whole, without-prefix or decoded",
            ),
            (
                ("AWS_CA_BUNDLE", "/nowhere/ca.pem"),
                "AWS_CA_BUNDLE: cannot read",
            ),
            (
                ("AWS_CA_BUNDLE", "/dev/null"),
                "AWS_CA_BUNDLE: no certificate",
            ),
            (
                (
                    "AWS_CA_BUNDLE",
                    concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
                ),
                "AWS_CA_BUNDLE: no certificate",
            ),
        ] {
            let mistakes = read(&[change]).unwrap_err();
            assert!(mistakes.contains(mistake), "{mistake} in {mistakes}");
            assert!(!mistakes.contains(';'), "more than one: {mistakes}");
        }
    }

    #[test]
    fn other_certificates_than_amazons_are_read_whole() {
        let bundle = concat!(env!("CARGO_MANIFEST_DIR"), "/src/amazon-roots.pem");
        let config = read(&[("AWS_CA_BUNDLE", bundle)]).unwrap();
        let certificates = include_bytes!("amazon-roots.pem").to_vec();
        assert_eq!(config.ca_bundle, Some(certificates));
    }

    #[test]
    fn the_shortest_and_the_longest_retention_are_taken() {
        let days = |days| {
            read(&[("DELIVERY_RETENTION_DAYS", days)])
                .unwrap()
                .retention
        };
        assert_eq!(days("7"), Duration::from_hours(7 * 24));
        assert_eq!(days("4294967295"), Duration::from_hours(4_294_967_295 * 24));
    }

    #[test]
    fn every_form_of_the_key_is_tried_unless_one_is_pinned() {
        let forms = |value| read(&[("SIGNING_KEY_FORM", value)]).map(|config| config.key_forms);
        let all = Ok(vec![
            KeyForm::Whole,
            KeyForm::WithoutPrefix,
            KeyForm::Decoded,
        ]);
        assert_eq!(read(&[]).map(|config| config.key_forms), all);
        assert_eq!(forms(" "), all);
        assert_eq!(forms("any"), all);
        assert_eq!(forms("whole"), Ok(vec![KeyForm::Whole]));
        assert_eq!(forms("without-prefix"), Ok(vec![KeyForm::WithoutPrefix]));
        assert_eq!(forms("decoded"), Ok(vec![KeyForm::Decoded]));
    }

    #[test]
    fn secrets_are_not_printed() {
        let printed = format!("{:?}", read(&[]).unwrap());
        assert!(!printed.contains("wh_sk_a"), "{printed}");
        assert!(!printed.contains("whsec_b"), "{printed}");
        assert!(printed.contains("Fixed([REDACTED])"), "{printed}");
    }
}
