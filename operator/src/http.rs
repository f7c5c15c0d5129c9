//! One HTTP request after another, over the same TLS as the AWS clients. For the operator alone.

use std::time::Duration;

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{HttpConnector, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::HttpRequest,
    },
    http::Headers,
    shared::IntoShared,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use http::Uri;

/// How long to wait for a connection, and for an answer. TitanX itself waits ten seconds for ours.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A client.
#[derive(Debug, Clone)]
pub(crate) struct Http(SharedHttpConnector);

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: Headers,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// There was no answer; whether the request took effect is not known.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {origin}")]
pub(crate) struct NoAnswer {
    origin: String,
    source: BoxError,
}

/// An address that no secret may be sent to.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not an https:// address")]
pub(crate) struct NotPrivate(String);

impl Http {
    /// A client over a [`connector`] of its own.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self(connector(None))
    }

    /// Makes one request and waits for its answer.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`].
    pub(crate) async fn call(
        &self,
        method: &str,
        url: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Answer, NoAnswer> {
        let exchange = tokio::time::timeout(
            ANSWER_TIMEOUT,
            self.exchange(method, url, headers, body.into()),
        );
        let answered = exchange.await.unwrap_or_else(|late| Err(late.into()));
        answered.map_err(|source| NoAnswer {
            origin: origin(url).to_owned(),
            source,
        })
    }

    async fn exchange(
        &self,
        method: &str,
        url: &str,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, BoxError> {
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method(method)?;
        request.set_uri(url)?;
        for (name, value) in headers {
            request
                .headers_mut()
                .try_insert(*name, (*value).to_owned())?;
        }
        let mut response = self.0.call(request).await?;
        let body = ByteStream::new(response.take_body()).collect().await?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: body.to_vec(),
        })
    }
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

/// A connector that trusts the system's certificates, or only those in `ca_bundle` (PEM); proxies are
/// those of the environment.
///
/// # Panics
///
/// When `ca_bundle` holds what is not a certificate.
#[must_use]
pub(crate) fn connector(ca_bundle: Option<&[u8]>) -> SharedHttpConnector {
    let roots = match ca_bundle {
        Some(pem) => TrustStore::empty().with_pem_certificate(pem),
        None => TrustStore::default(),
    };
    let tls = TlsContext::builder()
        .with_trust_store(roots)
        .build()
        .expect("a trust store is all there is to it");
    let settings = HttpConnectorSettings::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .build();
    Connector::builder()
        .sleep_impl(TokioSleep::new())
        .proxy_config(ProxyConfig::from_env())
        .connector_settings(settings)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build()
        .into_shared()
}

/// Makes sure that what is sent to `url` can be read by nobody else: over TLS, or on this machine.
///
/// # Errors
///
/// [`NotPrivate`].
pub(crate) fn private(url: &str) -> Result<(), NotPrivate> {
    const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
    let uri: Uri = url.parse().unwrap_or_default();
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Ok(()),
        (Some("http"), Some(host)) if LOOPBACK.contains(&host) => Ok(()),
        _ => Err(NotPrivate(origin(url).to_owned())),
    }
}

/// Scheme, host and port of `url`.
#[must_use]
pub(crate) fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[host..].find(['/', '?', '#']);
    end.map_or(url, |end| &url[..host + end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_over_tls_or_stay_on_this_machine() {
        for url in [
            "https://api.example.com/v2",
            "http://127.0.0.1:8080/x",
            "http://localhost",
            "http://[::1]:9/",
        ] {
            assert!(private(url).is_ok(), "{url}");
        }
        for url in [
            "http://api.example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost@example.com/",
            "http://localhost:80@example.com",
            "ftp://localhost/",
            "localhost",
            "",
        ] {
            assert!(private(url).is_err(), "{url}");
        }
    }

    #[test]
    fn an_origin_ends_before_path_and_query() {
        assert_eq!(origin("https://a.example:8/b/c"), "https://a.example:8");
        assert_eq!(origin("https://a.example?b=/c"), "https://a.example");
        assert_eq!(origin("https://a.example"), "https://a.example");
    }
}
