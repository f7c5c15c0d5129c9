//! The CloudFormation stack: the names of its resources, and clients for them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput as FunctionConfiguration;
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use aws_types::service_config::ServiceConfigKey;
use clap::Args;
use titanx_client::http::{Roots, connector};
use titanx_receiver::{
    aws::{Aws, AwsConfig, Endpoints, HttpPool, Identity},
    deliveries::Deliveries,
    intake::Intake,
    jobs::Jobs,
    queue::Queue,
};
use tokio::sync::OnceCell;

const DEFAULT_RETENTION_DAYS: &str = "7";
/// TitanX retries for three days, and an event is stale three days before its id is forgotten. The
/// function does not start with less.
pub(crate) const MIN_RETENTION: Duration = Duration::from_hours(7 * 24);

// The options that select the stack or name single resources. Not a doc comment: clap would use it
// as the description of every command that flattens this.
#[derive(Debug, Args)]
#[command(next_help_heading = "Stack")]
pub(crate) struct StackOptions {
    /// CloudFormation stack of the receiver, whose outputs name its resources
    #[arg(
        id = "stack",
        long = "stack",
        env = "RECEIVER_STACK",
        value_name = "NAME"
    )]
    name: Option<String>,
    /// AWS profile [default: AWS_PROFILE]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// AWS region [default: AWS_REGION, or the region of the profile]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Webhook URL that TitanX posts events to [default: from the stack]
    #[arg(long, env = "WEBHOOK_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Deliveries table [default: from the stack]
    #[arg(
        long,
        env = "DELIVERIES_TABLE",
        value_name = "NAME",
        hide_short_help = true
    )]
    deliveries_table: Option<String>,
    /// Jobs table [default: from the stack]
    #[arg(long, env = "JOBS_TABLE", value_name = "NAME", hide_short_help = true)]
    jobs_table: Option<String>,
    /// Contacts queue [default: from the stack]
    #[arg(
        long,
        env = "CONTACTS_QUEUE_URL",
        value_name = "URL",
        hide_short_help = true
    )]
    contacts_queue_url: Option<String>,
    /// Quarantine queue [default: from the stack]
    #[arg(
        long,
        env = "QUARANTINE_QUEUE_URL",
        value_name = "URL",
        hide_short_help = true
    )]
    quarantine_queue_url: Option<String>,
    /// Secret in Secrets Manager [default: from the stack]
    #[arg(
        long,
        env = "TITANX_WEBHOOK_SECRET_ARN",
        value_name = "ARN",
        hide_short_help = true
    )]
    secret_arn: Option<String>,
    /// Days for which the deliveries table keeps a record, at least 7 [default: from the stack, or 7]
    #[arg(
        long,
        env = "DELIVERY_RETENTION_DAYS",
        value_name = "DAYS",
        hide_short_help = true
    )]
    delivery_retention_days: Option<String>,
}

/// A stack whose resource names are looked up when they are needed.
pub(crate) struct Stack<'a> {
    options: &'a StackOptions,
    connector: SharedHttpConnector,
    pub(crate) sdk: SdkConfig,
    /// The stack's parameters and outputs, once they have been read.
    values: OnceCell<BTreeMap<String, String>>,
}

impl StackOptions {
    /// The URL that TitanX posts events to. Calls AWS only if no option names it.
    pub(crate) async fn webhook_url(&self) -> anyhow::Result<String> {
        match &self.url {
            Some(url) => Ok(url.clone()),
            None => self.connect().await?.url().await,
        }
    }

    /// Resolves region and credentials with the SDK's default provider chain. Does not call a
    /// service of the stack yet.
    pub(crate) async fn connect(&self) -> anyhow::Result<Stack<'_>> {
        let connector = connector(Roots::CaBundleOrSystem)?;
        let shared = connector.clone();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client_fn(move |_, _| shared.clone()));
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        Ok(Stack {
            options: self,
            connector,
            sdk: loader.load().await,
            values: OnceCell::new(),
        })
    }
}

impl Stack<'_> {
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
        self.resource(self.options.url.as_ref(), "WebhookUrl", "--url")
            .await
    }

    pub(crate) async fn deliveries_table(&self) -> anyhow::Result<String> {
        let table = self.options.deliveries_table.as_ref();
        self.resource(table, "DeliveriesTable", "--deliveries-table")
            .await
    }

    pub(crate) async fn jobs_table(&self) -> anyhow::Result<String> {
        let table = self.options.jobs_table.as_ref();
        self.resource(table, "JobsTable", "--jobs-table").await
    }

    pub(crate) async fn contacts_queue_url(&self) -> anyhow::Result<String> {
        let url = self.options.contacts_queue_url.as_ref();
        self.resource(url, "ContactsQueueUrl", "--contacts-queue-url")
            .await
    }

    pub(crate) async fn quarantine_queue_url(&self) -> anyhow::Result<String> {
        let url = self.options.quarantine_queue_url.as_ref();
        self.resource(url, "QuarantineQueueUrl", "--quarantine-queue-url")
            .await
    }

    pub(crate) async fn secret_arn(&self) -> anyhow::Result<String> {
        let arn = self.options.secret_arn.as_ref();
        self.resource(arn, "WebhookSecretArn", "--secret-arn").await
    }

    pub(crate) async fn function(&self) -> anyhow::Result<String> {
        self.resource(None, "ReceiverFunction", "--stack").await
    }

    /// The topic that the alarms publish to.
    pub(crate) async fn alarm_topic_arn(&self) -> anyhow::Result<String> {
        self.resource(None, "AlarmTopicArn", "--stack").await
    }

    /// The name of the log group whose lines the metric filters count.
    pub(crate) async fn log_group(&self) -> anyhow::Result<String> {
        self.resource(None, "ReceiverLogGroup", "--stack").await
    }

    /// The name of the dashboard.
    pub(crate) async fn dashboard(&self) -> anyhow::Result<String> {
        self.resource(None, "Dashboard", "--stack").await
    }

    /// The configuration of the version of the function that gets the deliveries.
    pub(crate) async fn function_configuration(&self) -> anyhow::Result<FunctionConfiguration> {
        // A stack of an earlier template has no alias.
        let alias = self.values().await?.get("ReceiverAlias").cloned();
        self.configuration_of(alias).await
    }

    /// The configuration that was deployed last, whether or not it gets deliveries.
    pub(crate) async fn latest_configuration(&self) -> anyhow::Result<FunctionConfiguration> {
        self.configuration_of(None).await
    }

    async fn configuration_of(
        &self,
        alias: Option<String>,
    ) -> anyhow::Result<FunctionConfiguration> {
        let name = self.function().await?;
        let client = aws_sdk_lambda::Client::new(&self.sdk);
        let get = client.get_function_configuration().function_name(&name);
        let got = get.set_qualifier(alias).send().await;
        got.with_context(|| format!("cannot read the function {name}"))
    }

    /// The customer-managed KMS key of the stack, if it has one.
    pub(crate) async fn key_arn(&self) -> anyhow::Result<Option<String>> {
        let arn = self.values().await?.get("KmsKeyArn").cloned();
        Ok(arn.filter(|it| !it.is_empty()))
    }

    /// The function's environment variables, as they are deployed.
    pub(crate) async fn function_environment(&self) -> anyhow::Result<HashMap<String, String>> {
        let function = self.function_configuration().await?;
        let environment = function.environment().and_then(|it| it.variables());
        Ok(environment.cloned().unwrap_or_default())
    }

    pub(crate) fn name(&self) -> anyhow::Result<&str> {
        let name = self.options.name.as_deref();
        name.context("no stack: use --stack or set RECEIVER_STACK")
    }

    pub(crate) async fn retention(&self) -> anyhow::Result<Duration> {
        let days = match &self.options.delivery_retention_days {
            Some(days) => days,
            None => self
                .values()
                .await?
                .get("DeliveryRetentionDays")
                .map_or(DEFAULT_RETENTION_DAYS, String::as_str),
        };
        let days: u32 = days.parse().with_context(|| {
            format!("delivery retention: {days:?} is not a whole number of days")
        })?;
        Ok(Duration::from_secs(u64::from(days) * 24 * 60 * 60))
    }

    /// The receiver's intake, for contacts that do not come from a webhook request.
    pub(crate) async fn intake(&self) -> anyhow::Result<Intake> {
        let aws = self.aws()?;
        let deliveries = self.deliveries_table().await?;
        let jobs = self.jobs_table().await?;
        let retention = self.retention().await?;
        if retention < MIN_RETENTION {
            bail!(
                "the deliveries table keeps records for {} days: set DeliveryRetentionDays to at \
                 least 7 first, because TitanX may repeat a delivery after its record is deleted",
                retention.as_secs() / (24 * 60 * 60)
            );
        }
        Ok(Intake {
            deliveries: Deliveries::new(aws.dynamodb(), deliveries, retention),
            jobs: Jobs::new(aws.dynamodb(), jobs),
            contacts: Queue::new(aws.sqs(), self.contacts_queue_url().await?),
        })
    }

    /// The receiver's own AWS clients, with the region and credentials that the SDK resolved.
    fn aws(&self) -> anyhow::Result<Aws> {
        let region = self
            .sdk
            .region()
            .context("no AWS region: use --region or set AWS_REGION")?;
        let credentials = self.sdk.credentials_provider();
        let credentials =
            credentials.context("no AWS credentials: use --profile or set AWS_PROFILE")?;
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

    /// The endpoint override for a service from the environment or the profile.
    fn endpoint(&self, service_id: &str) -> Option<String> {
        let key = ServiceConfigKey::builder()
            .service_id(service_id)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .expect("the key is complete");
        let configured = self.sdk.service_config();
        let endpoint = configured.and_then(|it| it.load_config(key));
        endpoint.or_else(|| self.sdk.endpoint_url().map(ToOwned::to_owned))
    }

    /// The name of a resource: from its option, else from the stack's outputs.
    async fn resource(
        &self,
        named: Option<&String>,
        output: &str,
        option: &str,
    ) -> anyhow::Result<String> {
        if let Some(name) = named {
            return Ok(name.clone());
        }
        let name = self.values().await?.get(output).cloned();
        name.ok_or_else(|| match &self.options.name {
            Some(stack) if option == "--stack" => {
                anyhow!("the stack {stack} has no output {output}: use the receiver's stack")
            }
            Some(stack) => anyhow!("the stack {stack} has no output {output}: use {option}"),
            None if option == "--stack" => anyhow!("{output} is not set: use --stack"),
            None => anyhow!("{output} is not set: use --stack or {option}"),
        })
    }

    /// The stack's parameters and outputs. Empty if no stack is named.
    pub(crate) async fn values(&self) -> anyhow::Result<&BTreeMap<String, String>> {
        self.values.get_or_try_init(|| self.read_values()).await
    }

    async fn read_values(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let Some(name) = &self.options.name else {
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
