//! Emulators of the AWS services that the receiver uses: DynamoDB, SQS and Secrets Manager, with the
//! tables, queues and secret of `template.yaml`. They run in this process and listen on the loopback
//! interface. Clients use them through `AWS_ENDPOINT_URL_…`, without changes to their code.
//!
//! Start with [`Emulators::start`]. A [`FaultProxy`] between a client and an emulator injects faults.

mod dynamodb;
mod fault_proxy;
mod protocol;
mod secrets_manager;
mod sqs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use self::dynamodb::{AttributeValue, Item, Table};
pub use self::fault_proxy::{Call, Fault, FaultProxy, Harm, Served, When};
use self::secrets_manager::SecretsManager;
use self::sqs::Sqs;
pub use self::sqs::{Attribute, Message};
use crate::background::Background;
pub use crate::titanx::SIGNING_SECRET;
use crate::titanx_api::API_KEY;

/// The running emulators, with their tables, queues and secret. They stop when this is dropped.
pub struct Emulators {
    pub dynamodb_url: String,
    pub sqs_url: String,
    pub secrets_manager_url: String,
    pub deliveries: Table,
    pub jobs: Table,
    pub checks: Table,
    pub contacts: Queue,
    pub contacts_fifo: Queue,
    pub quarantine: Queue,
    pub secret: SigningSecret,
    /// The secret with the API key of TitanX.
    pub api_key_arn: String,
    sqs: Arc<Sqs>,
    _background: Background,
}

impl Emulators {
    /// Starts new emulators. Tables and queues are empty, and the signing secret is stored.
    pub fn start() -> Self {
        let background = Background::start("emulators");

        let database = dynoxide::Database::memory().expect("SQLite opens in memory");
        let (listener, dynamodb_url) = background.listen();
        background.spawn(dynoxide::server::serve_on(listener, database.clone()));

        let (listener, sqs_url) = background.listen();
        let sqs = Arc::new(Sqs::new(sqs_url.clone()));
        background.spawn(protocol::serve(listener, Arc::clone(&sqs)));

        let (listener, secrets_manager_url) = background.listen();
        let secrets = Arc::new(SecretsManager::default());
        background.spawn(protocol::serve(listener, Arc::clone(&secrets)));

        Self {
            dynamodb_url,
            sqs_url,
            secrets_manager_url,
            deliveries: Table::deliveries(&database),
            jobs: Table::jobs(&database),
            checks: Table::checks(&database),
            contacts: Queue::standard(&sqs, "contacts"),
            contacts_fifo: Queue::fifo(&sqs, "contacts.fifo"),
            quarantine: Queue::standard(&sqs, "quarantine"),
            secret: SigningSecret::create(Arc::clone(&secrets)),
            api_key_arn: secrets.create("titanx-api-key", API_KEY),
            sqs,
            _background: background,
        }
    }

    /// The environment variables with which a receiver or a healer uses the emulators. They name the standard
    /// contacts queue and the secret in Secrets Manager. Insert other values for the FIFO queue,
    /// another secret or a [`FaultProxy`].
    pub fn environment(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "emulators".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "emulators".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb_url.clone()),
            ("AWS_ENDPOINT_URL_SQS", self.sqs_url.clone()),
            (
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                self.secrets_manager_url.clone(),
            ),
            ("DELIVERIES_TABLE", self.deliveries.name.to_owned()),
            ("JOBS_TABLE", self.jobs.name.to_owned()),
            ("CONTACTS_QUEUE_URL", self.contacts.url.clone()),
            ("QUARANTINE_QUEUE_URL", self.quarantine.url.clone()),
            ("TITANX_WEBHOOK_SECRET_ARN", self.secret.arn.clone()),
            ("CHECKS_TABLE", self.checks.name.to_owned()),
            ("TITANX_API_KEY_ARN", self.api_key_arn.clone()),
        ])
    }

    /// Creates another FIFO queue, such as a dead-letter queue.
    pub fn create_fifo_queue(&self, name: &'static str) -> Queue {
        Queue::fifo(&self.sqs, name)
    }

    /// Creates another standard queue, such as a dead-letter queue.
    pub fn create_queue(&self, name: &'static str) -> Queue {
        Queue::standard(&self.sqs, name)
    }

    /// Advances the clock of all queues: visibility timeouts, delays and deduplication end earlier.
    /// The tables have no clock, since the receiver compares the times in records with its own clock.
    pub fn advance_queues(&self, by: Duration) {
        self.sqs.advance(by);
    }
}

/// Direct access to a queue, without a request.
pub struct Queue {
    pub url: String,
    name: &'static str,
    sqs: Arc<Sqs>,
}

impl Queue {
    fn standard(sqs: &Arc<Sqs>, name: &'static str) -> Self {
        Self::create(sqs, name, BTreeMap::new())
    }

    fn fifo(sqs: &Arc<Sqs>, name: &'static str) -> Self {
        let attributes = [("FifoQueue".to_owned(), "true".to_owned())];
        Self::create(sqs, name, attributes.into())
    }

    fn create(sqs: &Arc<Sqs>, name: &'static str, attributes: BTreeMap<String, String>) -> Self {
        let url = sqs.create(name, attributes);
        Self {
            url: url.expect("a queue may be named so"),
            name,
            sqs: Arc::clone(sqs),
        }
    }

    /// All messages in the order in which they were sent, including those in flight. Does not change
    /// the queue.
    pub fn messages(&self) -> Vec<Message> {
        self.sqs.messages(self.name)
    }

    /// Sends a copy of each message that is sent to this queue from now on to the returned one.
    pub fn copy_to(&self, name: &'static str) -> Self {
        let copy = Self::standard(&self.sqs, name);
        self.sqs.copy(self.name, name);
        copy
    }

    /// Sends a message with string attributes.
    pub fn put(&self, body: &str, attributes: &[(&str, &str)]) {
        self.sqs.put(&self.url, body, attributes);
    }

    pub fn len(&self) -> usize {
        self.sqs.len(self.name)
    }

    /// Receives every message until the redrive policy has moved it, as a consumer that always fails does.
    pub fn exhaust(&self) {
        self.sqs.exhaust(&self.url);
    }

    /// Configures the queue to take messages of this size at most, in bytes.
    pub fn set_maximum_message_size(&self, bytes: usize) {
        self.set_attribute("MaximumMessageSize", &bytes.to_string());
    }

    /// Configures an attribute of the queue, by its name in SQS.
    pub fn set_attribute(&self, name: &str, value: &str) {
        self.sqs.set_attribute(self.name, name, value);
    }

    pub fn arn(&self) -> String {
        sqs::arn(self.name)
    }
}

/// Direct access to the signing secret in Secrets Manager, without a request.
pub struct SigningSecret {
    pub arn: String,
    secrets: Arc<SecretsManager>,
}

impl SigningSecret {
    fn create(secrets: Arc<SecretsManager>) -> Self {
        Self {
            arn: secrets.create("titanx-webhook", SIGNING_SECRET),
            secrets,
        }
    }

    /// Stores a new value: one secret, or a JSON array of secrets.
    pub fn rotate(&self, value: &str) {
        self.secrets.rotate(&self.arn, value);
    }

    /// Stores a version with this staging label, beside the current one.
    pub fn stage(&self, label: &str, value: &str) {
        self.secrets.stage(&self.arn, label, value);
    }

    pub fn value(&self) -> String {
        let value = self.secrets.value(&self.arn, None);
        value.expect("only text was ever put there")
    }

    /// The value of the version with this staging label, if there is one.
    pub fn staged(&self, label: &str) -> Option<String> {
        self.secrets.value(&self.arn, Some(label))
    }
}
