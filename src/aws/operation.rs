//! One of the SDK's operations, prepared once and called for every delivery.
//!
//! Serializers, parsers, error types, retry classifiers, signing with correction of clock skew, the
//! token bucket and the orchestrator that runs them are the SDK's, assembled by its
//! [`operation::Operation`]. Left out is what a generated client adds to each call: headers that
//! describe the caller, endpoint rules, telemetry, and a guard for streamed bodies. `docs/aws-calls.md` has the figures; `tests/it/aws_calls.rs` makes the same
//! calls through ordinary clients and compares what both send and how both react.

use std::{
    error::Error as StdError,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_runtime::{
    auth::sigv4::{SCHEME_ID, SigV4AuthScheme},
    service_clock_skew::ServiceClockSkewInterceptor,
};
use aws_smithy_async::{rt::sleep::TokioSleep, time::SystemTimeSource};
use aws_smithy_runtime::client::{
    http::connection_poisoning::ConnectionPoisoningInterceptor,
    orchestrator::operation,
    retries::{RetryPartition, classifiers::HttpStatusCodeClassifier},
};
use aws_smithy_runtime_api::client::{
    auth::static_resolver::StaticAuthSchemeOptionResolver,
    endpoint::{EndpointFuture, EndpointResolverParams, ResolveEndpoint},
    http::SharedHttpClient,
    interceptors::context::{Error, Input, Output},
    orchestrator::{HttpResponse, OrchestratorError},
    result::SdkError,
    runtime_components::RuntimeComponentsBuilder,
    runtime_plugin::{RuntimePlugin, StaticRuntimePlugin},
    ser_de::{
        DeserializeResponse, SerializeRequest, SharedRequestSerializer, SharedResponseDeserializer,
    },
};
use aws_smithy_types::{
    config_bag::{ConfigBag, FrozenLayer, Layer},
    endpoint::Endpoint,
    error::metadata::ProvideErrorMetadata,
    retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_types::{
    SigningName,
    region::{Region, SigningRegion},
    request_id::RequestId,
};

use super::{AwsConfig, HttpPool, retries::count_call};
use crate::budget::{ATTEMPT_TIMEOUT, ATTEMPTS};

/// The longest backoff after the first attempt. It doubles with each further one.
const INITIAL_BACKOFF: Duration = Duration::from_millis(50);
/// The longest wait that a service may request with `x-amz-retry-after`.
const MAX_BACKOFF: Duration = ATTEMPT_TIMEOUT;

/// Whether AWS answered that the session of the credentials has expired.
#[derive(Debug, Clone, Default)]
pub(super) struct Session(Arc<AtomicBool>);

impl Session {
    pub(super) fn expired(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The parts that all operations of a service share.
#[derive(Debug)]
pub(super) struct Service {
    name: &'static str,
    endpoint: Endpoint,
    components: RuntimeComponentsBuilder,
    http_client: SharedHttpClient,
    region: SigningRegion,
    /// The token bucket that bounds what is retried, for all operations of the service.
    retry_partition: RetryPartition,
}

impl Service {
    pub(super) fn new(
        name: &'static str,
        endpoint: Endpoint,
        pool: &HttpPool,
        config: &AwsConfig,
    ) -> Self {
        let (credentials, cache) = config.identity.clone().into_parts();
        let components = RuntimeComponentsBuilder::new("receiver")
            .with_auth_scheme(SigV4AuthScheme::new())
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![
                SCHEME_ID,
            ])))
            .with_identity_cache(Some(cache))
            .with_identity_resolver(SCHEME_ID, credentials)
            .with_endpoint_resolver(Some(Resolved(endpoint.clone())))
            .with_retry_classifier(HttpStatusCodeClassifier::default())
            .with_interceptor(ConnectionPoisoningInterceptor::new())
            .with_interceptor(ServiceClockSkewInterceptor::new())
            .with_time_source(Some(SystemTimeSource::new()))
            .with_sleep_impl(Some(TokioSleep::new()));
        Self {
            name,
            endpoint,
            components,
            http_client: pool.client(),
            region: SigningRegion::from(Region::new(config.region.clone())),
            retry_partition: RetryPartition::custom(name).build(),
        }
    }

    /// The URL of the endpoint.
    pub(super) fn url(&self) -> &str {
        self.endpoint.url()
    }

    /// Prepares one of the SDK's operations. `plugin` provides its serializer, its parser and its retry
    /// classifiers. Its interceptors are left out: they prepare the endpoint rules, which were evaluated
    /// at start, guard streamed bodies, and record telemetry.
    pub(super) fn operation<I, O, E>(
        &self,
        name: &'static str,
        plugin: &impl RuntimePlugin,
        session: &Session,
    ) -> Operation<I, O, E>
    where
        I: fmt::Debug + Send + Sync + 'static,
        O: fmt::Debug + Send + Sync + 'static,
        E: StdError + fmt::Debug + Send + Sync + 'static,
    {
        let config = plugin.config().expect("a generated operation has one");
        let serializer = config
            .load::<SharedRequestSerializer>()
            .expect("and its serializer");
        let (serializer, parser) = (serializer.clone(), Parser(config.clone()));
        let mut components = self.components.clone();
        components.extend_retry_classifiers(
            plugin
                .runtime_components(&self.components)
                .retry_classifiers(),
        );
        let mut shared = Layer::new("receiver");
        shared
            .store_put(SigningName::from_static(self.name))
            .store_put(self.region.clone())
            .store_put(EndpointResolverParams::new(()))
            .store_put(self.retry_partition.clone());
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(INITIAL_BACKOFF)
            .with_max_backoff(MAX_BACKOFF);
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT);
        let call = operation::Operation::builder()
            .service_name(self.name)
            .operation_name(name)
            .standard_retry(&retries)
            .timeout_config(timeouts.build())
            .http_client(self.http_client.clone())
            .runtime_plugin(StaticRuntimePlugin::new().with_config(shared.freeze()))
            .runtime_plugin(
                StaticRuntimePlugin::new()
                    .with_config(config)
                    .with_runtime_components(components),
            )
            .serializer(move |input: I| {
                serializer.serialize_input(Input::erase(input), &mut ConfigBag::base())
            })
            .deserializer_impl(parser)
            .build();
        Operation {
            call: Arc::new(call),
            session: session.clone(),
        }
    }
}

/// One of the SDK's operations, ready to be called.
#[derive(Debug)]
pub struct Operation<I, O, E> {
    call: Arc<operation::Operation<I, O, E>>,
    session: Session,
}

impl<I, O, E> Clone for Operation<I, O, E> {
    fn clone(&self) -> Self {
        Self {
            call: Arc::clone(&self.call),
            session: self.session.clone(),
        }
    }
}

impl<I, O, E> Operation<I, O, E>
where
    I: fmt::Debug + Send + Sync + 'static,
    O: fmt::Debug + Send + Sync + 'static,
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    /// Calls the service, in up to three attempts with a timeout each.
    ///
    /// # Errors
    ///
    /// [`CallError`] when the service refuses, or fails or does not answer in every attempt. The call may
    /// have taken effect all the same.
    pub async fn call(&self, input: I) -> Result<O, CallError<E>> {
        count_call();
        // On the heap, since the orchestrator's future is large and callers move this one.
        let called = Box::pin(self.call.invoke(input)).await;
        called.map_err(|error| {
            let error = CallError(Box::new(error));
            if error.says_session_expired() {
                self.session.0.store(true, Ordering::Relaxed);
            }
            error
        })
    }
}

/// Why a call failed. Displays as one line: the service's answer with AWS's request id, or why there is
/// no answer.
#[derive(Debug)]
pub struct CallError<E>(Box<SdkError<E, HttpResponse>>);

impl<E: StdError + ProvideErrorMetadata + 'static> CallError<E> {
    /// The error that the service answered, if it did.
    #[must_use]
    pub fn service_error(&self) -> Option<&E> {
        self.0.as_service_error()
    }

    /// `ExpiredTokenException` is what DynamoDB and Secrets Manager answer, `ExpiredToken` SQS.
    fn says_session_expired(&self) -> bool {
        let code = self.service_error().and_then(|error| error.code());
        matches!(code, Some("ExpiredTokenException" | "ExpiredToken"))
    }
}

impl<E: StdError + ProvideErrorMetadata + 'static> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Some(error) = self.service_error() else {
            return write!(f, "{}", self.0);
        };
        let status = self.0.raw_response().map(|it| it.status().as_u16());
        write!(f, "the service answered {}", status.unwrap_or_default())?;
        let said = [error.code(), error.message()].into_iter().flatten();
        said.filter(|it| !it.is_empty())
            .try_for_each(|it| write!(f, " {it}"))?;
        match self.0.request_id() {
            Some(request_id) => write!(f, " (request id {request_id})"),
            None => Ok(()),
        }
    }
}

impl<E: StdError + ProvideErrorMetadata + 'static> StdError for CallError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.service_error() {
            Some(_) => None,
            None => self.0.source(),
        }
    }
}

/// The parser in a generated operation's configuration.
#[derive(Debug)]
struct Parser(FrozenLayer);

impl DeserializeResponse for Parser {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        config: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let parser = self.0.load::<SharedResponseDeserializer>();
        let parser = parser.expect("a generated operation has one");
        parser.deserialize_nonstreaming_with_config(response, config)
    }
}

/// The endpoint that was resolved at start.
#[derive(Debug)]
struct Resolved(Endpoint);

impl ResolveEndpoint for Resolved {
    fn resolve_endpoint<'a>(&'a self, _: &'a EndpointResolverParams) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(self.0.clone()))
    }
}
