//! One pool of connections for all services.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector, http_client_fn,
        },
        orchestrator::HttpRequest,
    },
    shared::IntoShared,
};

use super::retries::count_attempt;
use crate::budget::ATTEMPT_TIMEOUT;

/// The root certificates of AWS's endpoints, as Amazon Trust Services publishes them. Parsing the
/// hundred and more of an operating system instead takes eight million instructions more at start.
const AMAZON_ROOTS: &[u8] = include_bytes!("../amazon-roots.pem");

/// Makes a connector, and with it an empty pool of connections.
type Connect = dyn Fn() -> SharedHttpConnector + Send + Sync;

/// A pool of connections that is replaced by an empty one when a request in it is given up.
///
/// After a freeze of the environment, many pooled connections may be dead, which shows only when a
/// request on one times out. With the same pool the next attempt could get another dead one.
#[derive(Clone)]
pub struct HttpPool(Arc<Inner>);

struct Inner {
    connect: Box<Connect>,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    connector: SharedHttpConnector,
    generation: u64,
}

impl HttpPool {
    /// A pool that takes its connector from `connect`, and another one each time it is replaced.
    pub fn new(connect: impl Fn() -> SharedHttpConnector + Send + Sync + 'static) -> Self {
        let current = Current {
            connector: connect(),
            generation: 0,
        };
        Self(Arc::new(Inner {
            connect: Box::new(connect),
            current: RwLock::new(current),
        }))
    }

    /// Replaces the pool by an empty one. Requests in flight keep their connections.
    pub fn renew(&self) {
        self.renew_after(self.current().generation);
    }

    /// Replaces the pool if it still is of this generation. A later one has not failed yet.
    fn renew_after(&self, generation: u64) {
        let current = self.0.current.write();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        if current.generation == generation {
            current.connector = (self.0.connect)();
            current.generation += 1;
        }
    }

    fn current(&self) -> Current {
        let current = self.0.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The pool as an HTTP client of the SDK.
    pub(super) fn client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    /// Opens a connection to `endpoint` and leaves it in the pool. Best effort.
    pub(super) async fn ping(&self, endpoint: &str) {
        let url = format!("{}/ping", endpoint.trim_end_matches('/'));
        if let Ok(request) = HttpRequest::get(url) {
            let ping = self.call(request);
            let _best_effort = tokio::time::timeout(ATTEMPT_TIMEOUT, ping).await;
        }
    }
}

impl fmt::Debug for HttpPool {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("HttpPool")
            .field(&self.current().generation)
            .finish()
    }
}

impl HttpConnector for HttpPool {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Current {
            connector,
            generation,
        } = self.current();
        count_attempt();
        let exchange = connector.call(request);
        let given_up = GivenUp {
            pool: self.clone(),
            generation: Some(generation),
        };
        HttpConnectorFuture::new(async move {
            let mut given_up = given_up;
            let answered = exchange.await;
            given_up.generation = None;
            answered
        })
    }
}

/// Replaces the pool when a request is dropped before its answer.
struct GivenUp {
    pool: HttpPool,
    generation: Option<u64>,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some(generation) = self.generation {
            self.pool.renew_after(generation);
        }
    }
}

/// A connector that trusts `ca_bundle` (PEM), or Amazon's roots, and goes through the proxies that
/// the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
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
    let settings = HttpConnectorSettings::builder().connect_timeout(ATTEMPT_TIMEOUT);
    Connector::builder()
        .sleep_impl(TokioSleep::new())
        .proxy_config(ProxyConfig::from_env())
        .connector_settings(settings.build())
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build()
        .into_shared()
}
