//! The AWS services that the function calls. Each operation has a type of its own, so the client of a
//! queue cannot be passed to a table.

use aws_sdk_dynamodb::operation::{
    delete_item::{DeleteItem, DeleteItemError, DeleteItemInput, DeleteItemOutput},
    put_item::{PutItem, PutItemError, PutItemInput, PutItemOutput},
    update_item::{UpdateItem, UpdateItemError, UpdateItemInput, UpdateItemOutput},
};
use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValue, GetSecretValueError, GetSecretValueInput, GetSecretValueOutput,
};
use aws_sdk_sqs::operation::send_message::{
    SendMessage, SendMessageError, SendMessageInput, SendMessageOutput,
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::endpoint::Endpoint;
use futures_util::FutureExt;

use self::operation::{Service, Session};
pub use self::{
    credentials::Identity,
    http::{HttpPool, connector},
    operation::{CallError, Operation},
    retries::counting_retries,
};

mod credentials;
mod http;
mod operation;
mod retries;

/// Region, credentials and endpoint overrides.
#[derive(Debug, Clone)]
pub struct AwsConfig {
    /// The region, for example `us-east-1`.
    pub region: String,
    /// The credentials that sign each call.
    pub identity: Identity,
    /// Endpoints other than the region's own.
    pub endpoints: Endpoints,
}

impl AwsConfig {
    /// The endpoint of `service` where it is known without the SDK's rules: the configured one, or that of
    /// an ordinary region of the `aws` partition. The rules, with their table of partitions and its
    /// regular expressions, take 375,000 instructions for each service, a sixth of a start. Every other
    /// region and setting is resolved by them.
    fn known_endpoint(&self, service: &str, configured: Option<&String>) -> Option<Endpoint> {
        const AREAS: [&str; 9] = ["af", "ap", "ca", "eu", "il", "me", "mx", "sa", "us"];
        if self.endpoints.use_fips || self.endpoints.use_dual_stack {
            return None;
        }
        if let Some(url) = configured {
            return Some(Endpoint::builder().url(url.clone()).build());
        }
        let mut parts = self.region.split('-');
        let area = AREAS.contains(&parts.next()?);
        let direction = parts.next()?.bytes().all(|it| it.is_ascii_lowercase());
        let number = parts.next()?.bytes().all(|it| it.is_ascii_digit());
        let ordinary = area && direction && number && parts.next().is_none();
        ordinary.then(|| {
            let url = format!("https://{service}.{}.amazonaws.com", self.region);
            Endpoint::builder().url(url).build()
        })
    }
}

/// Overrides of the region's ordinary endpoints.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// `AWS_ENDPOINT_URL_DYNAMODB`
    pub dynamodb: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`
    pub sqs: Option<String>,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`
    pub secrets_manager: Option<String>,
    /// `AWS_USE_FIPS_ENDPOINT`
    pub use_fips: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT`
    pub use_dual_stack: bool,
}

/// The SDK's endpoint rules have no endpoint for this region and these settings.
#[derive(Debug, thiserror::Error)]
#[error("no endpoint for {service} in region {region:?}")]
pub struct NoEndpoint {
    service: &'static str,
    region: String,
    source: BoxError,
}

/// The operations of DynamoDB that the function calls.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    /// `PutItem`
    pub put_item: Operation<PutItemInput, PutItemOutput, PutItemError>,
    /// `UpdateItem`
    pub update_item: Operation<UpdateItemInput, UpdateItemOutput, UpdateItemError>,
    /// `DeleteItem`
    pub delete_item: Operation<DeleteItemInput, DeleteItemOutput, DeleteItemError>,
}

/// The operations of SQS that the function calls.
#[derive(Debug, Clone)]
pub struct Sqs {
    /// `SendMessage`
    pub send_message: Operation<SendMessageInput, SendMessageOutput, SendMessageError>,
}

/// The operations of Secrets Manager that the function calls.
#[derive(Debug, Clone)]
pub struct SecretsManager {
    /// `GetSecretValue`
    pub get_secret_value: Operation<GetSecretValueInput, GetSecretValueOutput, GetSecretValueError>,
}

/// The services of one account and region, over one pool of connections.
#[derive(Debug)]
pub struct Aws {
    pool: HttpPool,
    dynamodb: DynamoDb,
    sqs: Sqs,
    secrets_manager: SecretsManager,
    /// The URLs of DynamoDB, SQS and Secrets Manager.
    endpoints: [String; 3],
    session: Session,
}

impl Aws {
    /// The services of `config`, reached through `pool`. Nothing is connected or called.
    ///
    /// # Errors
    ///
    /// [`NoEndpoint`] when the SDK's rules have none for the region and the kind of endpoint.
    pub fn new(pool: HttpPool, config: &AwsConfig) -> Result<Self, NoEndpoint> {
        /// The endpoint by the rules in the service's SDK crate.
        macro_rules! resolve {
            ($sdk:ident, $name:literal, $instead:ident) => {{
                use $sdk::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
                let params = Params::builder()
                    .region(config.region.as_str())
                    .use_fips(config.endpoints.use_fips)
                    .use_dual_stack(config.endpoints.use_dual_stack)
                    .set_endpoint(config.endpoints.$instead.clone())
                    .build();
                params.map_err(BoxError::from).and_then(|params| {
                    let resolver = DefaultResolver::new();
                    let resolved = resolver.resolve_endpoint(&params).now_or_never();
                    resolved.expect("rules are evaluated at once")
                })
            }};
        }
        macro_rules! service {
            ($sdk:ident, $name:literal, $instead:ident) => {{
                let known = config.known_endpoint($name, config.endpoints.$instead.as_ref());
                let endpoint = known.map_or_else(|| resolve!($sdk, $name, $instead), Ok);
                let endpoint = endpoint.map_err(|source| NoEndpoint {
                    service: $name,
                    region: config.region.clone(),
                    source,
                })?;
                Service::new($name, endpoint, &pool, config)
            }};
        }
        let session = Session::default();
        let dynamodb = service!(aws_sdk_dynamodb, "dynamodb", dynamodb);
        let sqs = service!(aws_sdk_sqs, "sqs", sqs);
        let secrets_manager = service!(aws_sdk_secretsmanager, "secretsmanager", secrets_manager);
        Ok(Self {
            endpoints: [&dynamodb, &sqs, &secrets_manager].map(|it| it.url().to_owned()),
            dynamodb: DynamoDb {
                put_item: dynamodb.operation("PutItem", &PutItem::new(), &session),
                update_item: dynamodb.operation("UpdateItem", &UpdateItem::new(), &session),
                delete_item: dynamodb.operation("DeleteItem", &DeleteItem::new(), &session),
            },
            sqs: Sqs {
                send_message: sqs.operation("SendMessage", &SendMessage::new(), &session),
            },
            secrets_manager: SecretsManager {
                get_secret_value: secrets_manager.operation(
                    "GetSecretValue",
                    &GetSecretValue::new(),
                    &session,
                ),
            },
            pool,
            session,
        })
    }

    /// DynamoDB.
    #[must_use]
    pub fn dynamodb(&self) -> DynamoDb {
        self.dynamodb.clone()
    }

    /// SQS.
    #[must_use]
    pub fn sqs(&self) -> Sqs {
        self.sqs.clone()
    }

    /// Secrets Manager.
    #[must_use]
    pub fn secrets_manager(&self) -> SecretsManager {
        self.secrets_manager.clone()
    }

    /// Connects to DynamoDB and SQS ahead of the first delivery, while the function still has a whole
    /// processor. With the CPU share of 128 MB a TLS handshake takes longer than everything else in a
    /// delivery. `GET /ping` needs no permission. Best effort: the first delivery connects otherwise.
    pub async fn connect(&self) {
        let [dynamodb, sqs, _secrets_manager] = &self.endpoints;
        tokio::join!(self.pool.ping(dynamodb), self.pool.ping(sqs));
    }

    /// Closes the pooled connections, which do not survive a snapshot of the environment.
    pub fn disconnect(&self) {
        self.pool.renew();
    }

    /// Whether AWS has answered that the credentials' session has expired. Credentials from the
    /// environment are never renewed, so no later call of this process can succeed.
    #[must_use]
    pub fn session_expired(&self) -> bool {
        self.session.expired()
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_sdk_dynamodb::config::endpoint as dynamodb;
    use aws_sdk_secretsmanager::config::endpoint as secrets_manager;
    use aws_sdk_sqs::config::endpoint as sqs;

    use super::*;

    /// Regions of every partition, ordinary ones and others, and what may be mistaken for one.
    const REGIONS: [&str; 58] = [
        "af-south-1",
        "ap-east-1",
        "ap-east-2",
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-south-2",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "ap-southeast-6",
        "ap-southeast-7",
        "ca-central-1",
        "ca-west-1",
        "eu-central-1",
        "eu-central-2",
        "eu-north-1",
        "eu-south-1",
        "eu-south-2",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "il-central-1",
        "me-central-1",
        "me-south-1",
        "mx-central-1",
        "sa-east-1",
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
        "cn-north-1",
        "cn-northwest-1",
        "us-gov-east-1",
        "us-gov-west-1",
        "us-iso-east-1",
        "us-iso-west-1",
        "us-isob-east-1",
        "us-isob-west-1",
        "us-isof-east-1",
        "us-isof-south-1",
        "eu-isoe-west-1",
        "eusc-de-east-1",
        "aws-global",
        "aws-cn-global",
        "us-future-12",
        "sa-west-7",
        "xx-east-1",
        "us-east",
        "us-east-1a",
        "us",
        "local",
        "us-East-1",
        "us--1",
        "us east 1",
    ];

    fn config(region: &str, change: impl FnOnce(&mut Endpoints)) -> AwsConfig {
        let mut endpoints = Endpoints::default();
        change(&mut endpoints);
        AwsConfig {
            region: region.to_owned(),
            identity: Identity::fixed(Credentials::from_keys("id", "key", None)),
            endpoints,
        }
    }

    fn urls(config: &AwsConfig) -> Option<[String; 3]> {
        let aws = Aws::new(HttpPool::new(|| connector(None)), config).ok()?;
        Some(aws.endpoints)
    }

    #[tokio::test]
    async fn every_region_has_the_endpoints_that_the_sdks_rules_give_it() {
        macro_rules! url {
            ($sdk:ident, $config:expr) => {{
                use $sdk::{DefaultResolver, Params, ResolveEndpoint};
                let params = Params::builder()
                    .region($config.region.as_str())
                    .use_fips($config.endpoints.use_fips)
                    .use_dual_stack($config.endpoints.use_dual_stack);
                match params.build() {
                    Ok(params) => {
                        let resolver = DefaultResolver::new();
                        let endpoint = resolver.resolve_endpoint(&params).await;
                        endpoint.map(|it| it.url().to_owned()).ok()
                    }
                    Err(_) => None,
                }
            }};
        }
        for region in REGIONS {
            for (use_fips, use_dual_stack) in [(false, false), (true, false), (false, true)] {
                let config = config(region, |it| {
                    it.use_fips = use_fips;
                    it.use_dual_stack = use_dual_stack;
                });
                let rules = [
                    url!(dynamodb, config),
                    url!(sqs, config),
                    url!(secrets_manager, config),
                ];
                let rules: Option<Vec<_>> = rules.into_iter().collect();
                let ours = urls(&config).map(Vec::from);
                assert_eq!(ours, rules, "{region} {use_fips} {use_dual_stack}");
            }
        }
        // An ordinary one does not need the rules.
        let ordinary = config("us-east-1", |_| ()).known_endpoint("sqs", None);
        assert!(ordinary.is_some());
    }

    #[test]
    fn a_pool_is_printed_with_the_number_of_those_before_it() {
        let pool = HttpPool::new(|| connector(None));
        assert_eq!(format!("{pool:?}"), "HttpPool(0)");
        pool.renew();
        assert_eq!(format!("{pool:?}"), "HttpPool(1)");
    }

    #[test]
    fn a_configured_endpoint_is_the_one_that_is_called() {
        let config = config("nowhere", |it| {
            it.dynamodb = Some("http://127.0.0.1:1".to_owned());
            it.sqs = Some("http://127.0.0.1:2".to_owned());
            it.secrets_manager = Some("http://127.0.0.1:3".to_owned());
        });
        let expected = [1, 2, 3].map(|port| format!("http://127.0.0.1:{port}"));
        assert_eq!(urls(&config), Some(expected));
    }
}
