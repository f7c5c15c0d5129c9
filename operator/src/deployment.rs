//! The deployed system: what its pieces are called, and the clients to reach them with.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, anyhow};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use aws_types::service_config::ServiceConfigKey;
use clap::Args;
use titanx_receiver::{
    aws::{Aws, AwsConfig, Endpoints, HttpPool, Identity},
    deliveries::Deliveries,
    intake::Intake,
    jobs::Jobs,
    queue::Queue,
};
use tokio::sync::OnceCell;

use crate::http::connector;

const DEFAULT_RETENTION_DAYS: &str = "7";

// No doc comment: it would stand as the description of every command with it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Deployed system")]
pub(crate) struct Deployment {
    /// CloudFormation stack whose outputs name all pieces
    #[arg(long, env = "RECEIVER_STACK", value_name = "NAME")]
    pub(crate) stack: Option<String>,
    /// AWS profile, instead of AWS_PROFILE
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// AWS region, instead of AWS_REGION or the profile's
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Where TitanX sends its events, instead of the stack's
    #[arg(long, env = "WEBHOOK_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Table of deliveries, instead of the stack's
    #[arg(
        long,
        env = "DELIVERIES_TABLE",
        value_name = "NAME",
        hide_short_help = true
    )]
    deliveries_table: Option<String>,
    /// Table of jobs, instead of the stack's
    #[arg(long, env = "JOBS_TABLE", value_name = "NAME", hide_short_help = true)]
    jobs_table: Option<String>,
    /// Queue of contacts, instead of the stack's
    #[arg(
        long,
        env = "CONTACTS_QUEUE_URL",
        value_name = "URL",
        hide_short_help = true
    )]
    contacts_queue_url: Option<String>,
    /// Quarantine queue, instead of the stack's
    #[arg(
        long,
        env = "QUARANTINE_QUEUE_URL",
        value_name = "URL",
        hide_short_help = true
    )]
    quarantine_queue_url: Option<String>,
    /// Secret in Secrets Manager, instead of the stack's
    #[arg(
        long,
        env = "TITANX_WEBHOOK_SECRET_ARN",
        value_name = "ARN",
        hide_short_help = true
    )]
    secret_arn: Option<String>,
    /// Days for which a delivery is remembered, instead of the stack's (else 7)
    #[arg(
        long,
        env = "DELIVERY_RETENTION_DAYS",
        value_name = "DAYS",
        hide_short_help = true
    )]
    delivery_retention_days: Option<String>,
}

/// The deployed system, reachable.
pub(crate) struct Cloud<'a> {
    deployment: &'a Deployment,
    connector: SharedHttpConnector,
    pub(crate) sdk: SdkConfig,
    /// The stack's outputs and parameters.
    stack: OnceCell<BTreeMap<String, String>>,
}

impl Deployment {
    /// Where TitanX sends its events. AWS is asked only if that was not said.
    pub(crate) async fn webhook_url(&self) -> anyhow::Result<String> {
        match &self.url {
            Some(url) => Ok(url.clone()),
            None => self.connect().await?.url().await,
        }
    }

    /// Finds credentials and region along the SDK's whole chain. Nothing is called yet.
    pub(crate) async fn connect(&self) -> anyhow::Result<Cloud<'_>> {
        let ca_bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
        let ca_bundle = ca_bundle.map(fs::read).transpose();
        let ca_bundle = ca_bundle.context("cannot read the file that AWS_CA_BUNDLE names")?;
        let connector = connector(ca_bundle.as_deref());
        let shared = connector.clone();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client_fn(move |_, _| shared.clone()));
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        Ok(Cloud {
            deployment: self,
            connector,
            sdk: loader.load().await,
            stack: OnceCell::new(),
        })
    }
}

impl Cloud<'_> {
    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk)
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk)
    }

    pub(crate) fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.sdk)
    }

    pub(crate) async fn url(&self) -> anyhow::Result<String> {
        self.piece(self.deployment.url.as_ref(), "WebhookUrl", "--url")
            .await
    }

    pub(crate) async fn deliveries_table(&self) -> anyhow::Result<String> {
        let table = self.deployment.deliveries_table.as_ref();
        self.piece(table, "DeliveriesTable", "--deliveries-table")
            .await
    }

    pub(crate) async fn jobs_table(&self) -> anyhow::Result<String> {
        let table = self.deployment.jobs_table.as_ref();
        self.piece(table, "JobsTable", "--jobs-table").await
    }

    pub(crate) async fn contacts_queue_url(&self) -> anyhow::Result<String> {
        let url = self.deployment.contacts_queue_url.as_ref();
        self.piece(url, "ContactsQueueUrl", "--contacts-queue-url")
            .await
    }

    pub(crate) async fn quarantine_queue_url(&self) -> anyhow::Result<String> {
        let url = self.deployment.quarantine_queue_url.as_ref();
        self.piece(url, "QuarantineQueueUrl", "--quarantine-queue-url")
            .await
    }

    pub(crate) async fn secret_arn(&self) -> anyhow::Result<String> {
        let arn = self.deployment.secret_arn.as_ref();
        self.piece(arn, "WebhookSecretArn", "--secret-arn").await
    }

    pub(crate) async fn function(&self) -> anyhow::Result<String> {
        self.piece(None, "ReceiverFunction", "--stack").await
    }

    pub(crate) fn stack_name(&self) -> anyhow::Result<&str> {
        self.deployment.stack.as_deref().context("say --stack")
    }

    pub(crate) async fn retention(&self) -> anyhow::Result<Duration> {
        let days = match &self.deployment.delivery_retention_days {
            Some(days) => days,
            None => self
                .stack()
                .await?
                .get("DeliveryRetentionDays")
                .map_or(DEFAULT_RETENTION_DAYS, String::as_str),
        };
        let days: u32 = days
            .parse()
            .with_context(|| format!("{days:?} is not a whole number of days"))?;
        Ok(Duration::from_secs(u64::from(days) * 24 * 60 * 60))
    }

    /// The stack's intake, for contacts that come without a request.
    pub(crate) async fn intake(&self) -> anyhow::Result<Intake> {
        let aws = self.aws()?;
        let deliveries = self.deliveries_table().await?;
        let jobs = self.jobs_table().await?;
        Ok(Intake {
            deliveries: Deliveries::new(aws.dynamodb(), deliveries, self.retention().await?),
            jobs: Jobs::new(aws.dynamodb(), jobs),
            contacts: Queue::new(aws.sqs(), self.contacts_queue_url().await?),
        })
    }

    /// The services as the receiver calls them, with what the SDK found along its chain.
    fn aws(&self) -> anyhow::Result<Aws> {
        let region = self.sdk.region().context("no region: say --region")?;
        let credentials = self.sdk.credentials_provider();
        let credentials = credentials.context("no credentials of AWS were found")?;
        let connector = self.connector.clone();
        let config = AwsConfig {
            region: region.to_string(),
            identity: Identity::cached(credentials),
            endpoints: Endpoints {
                dynamodb: self.endpoint("DynamoDB"),
                sqs: self.endpoint("SQS"),
                secrets_manager: self.endpoint("Secrets Manager"),
                use_fips: self.sdk.use_fips().unwrap_or_default(),
                use_dual_stack: self.sdk.use_dual_stack().unwrap_or_default(),
            },
        };
        Ok(Aws::new(HttpPool::new(move || connector.clone()), &config)?)
    }

    /// The endpoint that environment or profile name for a service, or for all.
    fn endpoint(&self, service_id: &str) -> Option<String> {
        let key = ServiceConfigKey::builder()
            .service_id(service_id)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .expect("all is said");
        let configured = self.sdk.service_config();
        let own = configured.and_then(|it| it.load_config(key));
        own.or_else(|| self.sdk.endpoint_url().map(ToOwned::to_owned))
    }

    /// What a piece is called: as was said, else as the stack says.
    async fn piece(
        &self,
        said: Option<&String>,
        output: &str,
        option: &str,
    ) -> anyhow::Result<String> {
        if let Some(said) = said {
            return Ok(said.clone());
        }
        let named = self.stack().await?.get(output).cloned();
        named.ok_or_else(|| match &self.deployment.stack {
            Some(stack) => anyhow!("the stack {stack} has no output {output}; say {option}"),
            None if option == "--stack" => anyhow!("say --stack"),
            None => anyhow!("say --stack or {option}"),
        })
    }

    /// Outputs and parameters of the stack; none without a stack.
    pub(crate) async fn stack(&self) -> anyhow::Result<&BTreeMap<String, String>> {
        self.stack.get_or_try_init(|| self.read_stack()).await
    }

    async fn read_stack(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let Some(name) = &self.deployment.stack else {
            return Ok(BTreeMap::new());
        };
        let client = aws_sdk_cloudformation::Client::new(&self.sdk);
        let described = client.describe_stacks().stack_name(name).send().await;
        let described = described.with_context(|| format!("cannot read the stack {name}"))?;
        let stack = described.stacks().first();
        let stack = stack.with_context(|| format!("there is no stack {name}"))?;
        let parameters = stack.parameters().iter();
        let parameters = parameters.map(|it| (it.parameter_key(), it.parameter_value()));
        let outputs = stack.outputs().iter();
        let outputs = outputs.map(|it| (it.output_key(), it.output_value()));
        Ok(parameters
            .chain(outputs)
            .filter_map(|(key, value)| Some((key?.to_owned(), value?.to_owned())))
            .collect())
    }
}
