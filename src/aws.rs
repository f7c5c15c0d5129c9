//! The way to AWS: one connector, and so one pool of connections, for all services.

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::HttpRequest,
    },
    shared::IntoShared,
};

use self::service::{ATTEMPT_TIMEOUT, Api};
pub use self::service::{CallError, Done, Refusal, Service};

pub mod dynamodb;
mod service;
mod signer;

/// The roots that AWS's own endpoints are certified under, as Amazon Trust Services publishes them.
/// To read a system's hundred and more instead takes eight million instructions more at start.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

const CONNECT_TIMEOUT: Duration = ATTEMPT_TIMEOUT;

const DYNAMODB: Api = Api {
    name: "dynamodb",
    target: "DynamoDB_20120810",
    content_type: "application/x-amz-json-1.0",
};
const SQS: Api = Api {
    name: "sqs",
    target: "AmazonSQS",
    content_type: "application/x-amz-json-1.0",
};
const SECRETS_MANAGER: Api = Api {
    name: "secretsmanager",
    target: "secretsmanager",
    content_type: "application/x-amz-json-1.1",
};

/// Where AWS is, and as whom to speak to it.
#[derive(Debug, Clone)]
pub struct Account {
    /// The region, for example `us-east-1`.
    pub region: String,
    /// Asked for credentials before each call.
    pub credentials: SharedCredentialsProvider,
    /// Endpoints to use instead of the region's own, for emulators.
    pub endpoints: Endpoints,
}

/// One endpoint a service, where it is not the region's own.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// `AWS_ENDPOINT_URL_DYNAMODB`
    pub dynamodb: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`
    pub sqs: Option<String>,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`
    pub secrets_manager: Option<String>,
}

/// The services that the receiver uses.
#[derive(Debug)]
pub struct Aws {
    connector: SharedHttpConnector,
    account: Account,
}

impl Aws {
    /// The services of `account`, reached through `connector`. Nothing is connected yet.
    #[must_use]
    pub fn new(connector: SharedHttpConnector, account: Account) -> Self {
        Self { connector, account }
    }

    /// DynamoDB.
    #[must_use]
    pub fn dynamodb(&self) -> Service {
        self.service(&DYNAMODB, self.account.endpoints.dynamodb.as_deref())
    }

    /// SQS.
    #[must_use]
    pub fn sqs(&self) -> Service {
        self.service(&SQS, self.account.endpoints.sqs.as_deref())
    }

    /// Secrets Manager.
    #[must_use]
    pub fn secrets_manager(&self) -> Service {
        let endpoint = self.account.endpoints.secrets_manager.as_deref();
        self.service(&SECRETS_MANAGER, endpoint)
    }

    fn service(&self, api: &'static Api, endpoint: Option<&str>) -> Service {
        let region = &self.account.region;
        let endpoint = endpoint.map(|it| it.trim_end_matches('/').to_owned());
        Service {
            api,
            connector: self.connector.clone(),
            endpoint: endpoint.unwrap_or_else(|| regional_endpoint(api.name, region)),
            region: region.clone(),
            credentials: self.account.credentials.clone(),
        }
    }

    /// Connects to DynamoDB and SQS ahead of the first delivery, while Lambda still lends a whole
    /// processor: a handshake at the share of 128 MB takes longer than everything else together.
    /// `GET /ping` needs no permission. Whatever fails here is left to the first delivery.
    pub async fn connect(&self) {
        tokio::join!(self.ping(self.dynamodb()), self.ping(self.sqs()));
    }

    async fn ping(&self, service: Service) {
        if let Ok(request) = HttpRequest::get(format!("{}/ping", service.endpoint)) {
            let ping = self.connector.call(request);
            let _best_effort = tokio::time::timeout(CONNECT_TIMEOUT, ping).await;
        }
    }
}

/// Where `service` is in `region`: the partition's domain follows from how the region's name begins.
fn regional_endpoint(service: &str, region: &str) -> String {
    /// Those that are not the first one, as the SDK has them.
    const PARTITIONS: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("us-iso-", "c2s.ic.gov"),
    ];
    let partition = PARTITIONS.iter().find(|it| region.starts_with(it.0));
    let domain = partition.map_or("amazonaws.com", |it| it.1);
    format!("https://{service}.{region}.{domain}")
}

/// A connector that trusts `ca_bundle` (PEM), or Amazon's roots.
///
/// # Panics
///
/// When `ca_bundle` holds what is not a certificate.
#[must_use]
pub fn connector(ca_bundle: Option<&[u8]>) -> SharedHttpConnector {
    let roots = TrustStore::empty().with_pem_certificate(ca_bundle.unwrap_or(AMAZON_ROOTS));
    let tls = TlsContext::builder()
        .with_trust_store(roots)
        .build()
        .expect("a trust store is all there is to it");
    Connector::builder()
        .sleep_impl(TokioSleep::new())
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .connector_settings(
            HttpConnectorSettings::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        )
        .build()
        .into_shared()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::endpoint as dynamodb;
    use aws_sdk_secretsmanager::config::endpoint as secrets_manager;
    use aws_sdk_sqs::config::endpoint as sqs;

    use super::*;

    #[tokio::test]
    async fn every_region_has_the_endpoints_that_the_sdk_would_call() {
        macro_rules! endpoint {
            ($service:ident, $region:expr) => {{
                use $service::{DefaultResolver, Params, ResolveEndpoint};
                let params = Params::builder().region($region).build().unwrap();
                let resolver = DefaultResolver::new();
                let endpoint = resolver.resolve_endpoint(&params).await.unwrap();
                endpoint.url().to_owned()
            }};
        }
        for region in [
            "us-east-1",
            "eu-central-2",
            "ap-southeast-7",
            "mx-central-1",
            "cn-north-1",
            "cn-northwest-1",
            "us-gov-east-1",
            "us-gov-west-1",
            "us-iso-east-1",
            "us-iso-west-1",
            "us-isob-east-1",
            "us-isof-south-1",
            "eu-isoe-west-1",
            "eusc-de-east-1",
        ] {
            let ours = |service| regional_endpoint(service, region);
            assert_eq!(ours("dynamodb"), endpoint!(dynamodb, region));
            assert_eq!(ours("sqs"), endpoint!(sqs, region));
            assert_eq!(ours("secretsmanager"), endpoint!(secrets_manager, region));
        }
    }
}
