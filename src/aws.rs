//! The way to AWS: one connector, and so one pool of connections, for all clients.

use std::time::Duration;

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_runtime::{
    invocation_id::InvocationIdInterceptor, request_info::RequestInfoInterceptor,
    user_agent::UserAgentInterceptor,
};
use aws_sdk_dynamodb::config::{
    BehaviorVersion, IdentityCache, Region, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{
            HttpConnector, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
            http_client_fn,
        },
        interceptors::{
            Intercept, SharedInterceptor, context::BeforeSerializationInterceptorContextRef,
            disable_interceptor, dyn_dispatch_hint,
        },
        orchestrator::HttpRequest,
    },
    shared::IntoShared,
};
use aws_smithy_types::{
    config_bag::ConfigBag, endpoint::Endpoint, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_types::SdkConfig;

use crate::budget::BUDGET;

/// The roots that AWS's own endpoints are certified under, as Amazon Trust Services publishes them.
/// To read a system's hundred and more instead takes four times the instructions of all else at start.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// Three attempts of one step, each slow past its timeout, take half the budget: the steps after
/// it still have theirs.
const ATTEMPTS: u32 = 3;
const ATTEMPT_TIMEOUT: Duration = BUDGET.checked_div(2 * ATTEMPTS).expect("not by zero");
const CONNECT_TIMEOUT: Duration = ATTEMPT_TIMEOUT;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// Where AWS is, and as whom to speak to it.
#[derive(Debug, Clone)]
pub struct Account {
    /// The region, for example `us-east-1`.
    pub region: String,
    /// The function's own credentials.
    pub credentials: Credentials,
    /// Certificates to trust instead of Amazon's roots (PEM).
    pub ca_bundle: Option<Vec<u8>>,
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

/// Clients of the services that the receiver uses, made once.
#[derive(Debug)]
pub struct Aws {
    sdk: SdkConfig,
    connector: SharedHttpConnector,
    account: Account,
}

impl Aws {
    /// Prepares the way; nothing is connected yet.
    ///
    /// # Panics
    ///
    /// When [`Account::ca_bundle`] holds what is not a certificate.
    #[must_use]
    pub fn new(account: Account) -> Self {
        let connector = connector(account.ca_bundle.as_deref());
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(account.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(account.credentials.clone()))
            .http_client(shared(connector.clone()))
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(FIRST_BACKOFF),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .build(),
            )
            // An attempt is given up, its answer's body included, before any stream counts as stalled.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // The credentials are those of the process, for as long as it lives.
            .identity_cache(IdentityCache::no_cache())
            .build();
        Self {
            sdk,
            connector,
            account,
        }
    }

    /// A client of DynamoDB.
    #[must_use]
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.sdk);
        config.set_endpoint_url(self.account.endpoints.dynamodb.clone());
        config.push_interceptor(SharedInterceptor::new(NoStatistics));
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// A client of SQS.
    #[must_use]
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let mut config = aws_sdk_sqs::config::Builder::from(&self.sdk);
        config.set_endpoint_url(self.account.endpoints.sqs.clone());
        config.push_interceptor(SharedInterceptor::new(NoStatistics));
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// A client of Secrets Manager.
    #[must_use]
    pub fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        let mut config = aws_sdk_secretsmanager::config::Builder::from(&self.sdk);
        config.set_endpoint_url(self.account.endpoints.secrets_manager.clone());
        aws_sdk_secretsmanager::Client::from_conf(config.build())
    }

    /// Connects to DynamoDB and SQS ahead of the first delivery, while Lambda still lends a whole
    /// processor: a handshake at the share of 128 MB takes longer than everything else together.
    /// `GET /ping` needs no permission. Whatever fails here is left to the first delivery.
    pub async fn connect(&self) {
        tokio::join!(
            self.ping(self.dynamodb_endpoint()),
            self.ping(self.sqs_endpoint())
        );
    }

    async fn ping(&self, endpoint: impl Future<Output = Result<Endpoint, BoxError>>) {
        let Ok(endpoint) = endpoint.await else { return };
        let url = format!("{}/ping", endpoint.url().trim_end_matches('/'));
        if let Ok(request) = HttpRequest::get(url) {
            let ping = self.connector.call(request);
            let _best_effort = tokio::time::timeout(CONNECT_TIMEOUT, ping).await;
        }
    }

    async fn dynamodb_endpoint(&self) -> Result<Endpoint, BoxError> {
        use aws_sdk_dynamodb::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
        let params = Params::builder()
            .region(&self.account.region)
            .set_endpoint(self.account.endpoints.dynamodb.clone())
            .build()?;
        DefaultResolver::new().resolve_endpoint(&params).await
    }

    async fn sqs_endpoint(&self) -> Result<Endpoint, BoxError> {
        use aws_sdk_sqs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
        let params = Params::builder()
            .region(&self.account.region)
            .set_endpoint(self.account.endpoints.sqs.clone())
            .build()?;
        DefaultResolver::new().resolve_endpoint(&params).await
    }
}

/// Leaves out the headers that AWS keeps statistics by: who calls with which SDK, and how often a
/// call was tried. To write, sign and send them took a twentieth of a delivery's instructions.
#[derive(Debug)]
struct NoStatistics;

#[dyn_dispatch_hint]
impl Intercept for NoStatistics {
    fn name(&self) -> &'static str {
        "NoStatistics"
    }

    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        const CAUSE: &str = "no statistics are wanted";
        let state = config.interceptor_state();
        state.store_put(disable_interceptor::<UserAgentInterceptor>(CAUSE));
        state.store_put(disable_interceptor::<InvocationIdInterceptor>(CAUSE));
        state.store_put(disable_interceptor::<RequestInfoInterceptor>(CAUSE));
        Ok(())
    }
}

/// A connector that trusts `ca_bundle` (PEM), or Amazon's roots.
fn connector(ca_bundle: Option<&[u8]>) -> SharedHttpConnector {
    let roots = TrustStore::empty().with_pem_certificate(ca_bundle.unwrap_or(AMAZON_ROOTS));
    let tls = TlsContext::builder()
        .with_trust_store(roots)
        .build()
        .expect("a trust store is all there is to it");
    Connector::builder()
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

/// A client that hands the same connector to all, whatever settings they ask for.
fn shared(connector: SharedHttpConnector) -> SharedHttpClient {
    http_client_fn(move |_, _| connector.clone())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    fn at(dynamodb: String) -> Aws {
        Aws::new(Account {
            region: "us-east-1".to_owned(),
            credentials: Credentials::from_keys("id", "key", None),
            ca_bundle: None,
            endpoints: Endpoints {
                dynamodb: Some(dynamodb),
                ..Endpoints::default()
            },
        })
    }

    #[tokio::test]
    async fn an_answer_whose_body_never_comes_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let attempts = thread::spawn(move || {
            // Kept, or they would be closed.
            let streams = (0..ATTEMPTS).map(|_| {
                let (mut stream, _) = listener.accept().unwrap();
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
                assert!(stream.read(&mut [0; 8_192]).unwrap() > 0);
                stream.write_all(head.as_bytes()).unwrap();
                stream
            });
            streams.collect::<Vec<_>>()
        });
        assert!(at(url).dynamodb().list_tables().send().await.is_err());
        assert_eq!(attempts.join().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_call_is_signed_and_carries_no_statistics() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let request = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 8_192];
            let length = stream.read(&mut request).unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).to_lowercase()
        });
        let call = at(url).dynamodb().list_tables().send();
        call.await.unwrap();
        let request = request.join().unwrap();
        assert!(request.contains("authorization: aws4-hmac-sha256"));
        for counted in ["user-agent", "amz-sdk-invocation-id", "amz-sdk-request"] {
            assert!(!request.contains(counted), "{request}");
        }
    }

    #[test]
    fn three_slow_attempts_of_a_step_leave_half_the_budget() {
        assert_eq!(ATTEMPTS * ATTEMPT_TIMEOUT, BUDGET / 2);
    }
}
