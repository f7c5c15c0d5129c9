//! An HTTP client with the same TLS implementation as the AWS clients, and the connector of both.

use std::{fs, time::Duration};

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

/// Time limit for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for a request, from its start to the end of the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP client.
#[derive(Debug, Clone)]
pub struct HttpClient(SharedHttpConnector);

/// An HTTP response.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

/// How the text of a [`NoResponse`] begins.
pub const NO_RESPONSE: &str = "no response from ";

/// There was no response. It is unknown whether the request took effect.
#[derive(Debug, thiserror::Error)]
#[error("{NO_RESPONSE}{origin}")]
pub struct NoResponse {
    origin: String,
    source: BoxError,
}

/// A URL to which no secret may be sent.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not an https:// URL: secrets are sent only over TLS, or to this machine")]
pub struct InsecureUrl(String);

impl HttpClient {
    /// A client that trusts the system's certificates, and those in `AWS_CA_BUNDLE`: whoever stands
    /// between this machine and AWS stands between it and TitanX, too.
    ///
    /// # Errors
    ///
    /// [`CaBundleError`]
    pub fn new() -> Result<Self, CaBundleError> {
        Ok(Self(connector(Roots::CaBundleAndSystem)?))
    }

    /// Sends one request and reads the whole response.
    ///
    /// # Errors
    ///
    /// [`NoResponse`] if the connection fails or the request times out.
    pub async fn call(
        &self,
        method: &str,
        url: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<HttpResponse, NoResponse> {
        let exchange = tokio::time::timeout(
            REQUEST_TIMEOUT,
            self.exchange(method, url, headers, body.into()),
        );
        let response = exchange.await.unwrap_or_else(|elapsed| Err(elapsed.into()));
        response.map_err(|source| NoResponse {
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
    ) -> Result<HttpResponse, BoxError> {
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
        Ok(HttpResponse {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: body.to_vec(),
        })
    }
}

/// The certificates that a connection trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roots {
    /// Those in `AWS_CA_BUNDLE`, as in the AWS CLI. Without the variable, the system's.
    CaBundleOrSystem,
    /// The system's, and those in `AWS_CA_BUNDLE`.
    CaBundleAndSystem,
}

/// The file that `AWS_CA_BUNDLE` names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaBundleError {
    /// It cannot be read.
    #[error("cannot read {path}, which AWS_CA_BUNDLE names")]
    Read {
        /// The path of the file.
        path: String,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// It contains no certificate. With the path of the file.
    #[error("{0}, which AWS_CA_BUNDLE names, contains no PEM certificate")]
    NoCertificate(String),
}

fn ca_bundle() -> Result<Option<Vec<u8>>, CaBundleError> {
    const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let name = path.to_string_lossy().into_owned();
    let pem = fs::read(&path).map_err(|source| CaBundleError::Read {
        path: name.clone(),
        source,
    })?;
    let mut windows = pem.windows(CERTIFICATE.len());
    if windows.any(|it| it == CERTIFICATE) {
        Ok(Some(pem))
    } else {
        Err(CaBundleError::NoCertificate(name))
    }
}

/// A connector that trusts these `roots`. It uses the proxies that the environment variables name.
///
/// # Errors
///
/// [`CaBundleError`]
///
/// # Panics
///
/// If a TLS context needs more than a trust store. It does not today.
pub fn connector(roots: Roots) -> Result<SharedHttpConnector, CaBundleError> {
    let roots = match ca_bundle()? {
        None => TrustStore::default(),
        Some(pem) => TrustStore::empty()
            .with_native_roots(roots == Roots::CaBundleAndSystem)
            .with_pem_certificate(pem),
    };
    let tls = TlsContext::builder()
        .with_trust_store(roots)
        .build()
        .expect("the trust store is complete");
    let settings = HttpConnectorSettings::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .build();
    let connector = Connector::builder()
        .sleep_impl(TokioSleep::new())
        .proxy_config(ProxyConfig::from_env())
        .connector_settings(settings)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build()
        .into_shared();
    Ok(connector)
}

/// Checks that a secret may be sent to `url`: it uses TLS, or its host is this machine.
///
/// # Errors
///
/// [`InsecureUrl`] otherwise.
pub fn require_secure(url: &str) -> Result<(), InsecureUrl> {
    const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
    let uri: Uri = url.parse().unwrap_or_default();
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Ok(()),
        (Some("http"), Some(host)) if LOOPBACK.contains(&host) => Ok(()),
        _ => Err(InsecureUrl(origin(url).to_owned())),
    }
}

/// The scheme, host and port of `url`.
#[must_use]
pub fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[host..].find(['/', '?', '#']);
    end.map_or(url, |end| &url[..host + end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_https_and_loopback_urls() {
        for url in [
            "https://api.example.com/v2",
            "http://127.0.0.1:8080/x",
            "http://localhost",
            "http://[::1]:9/",
        ] {
            assert!(require_secure(url).is_ok(), "{url}");
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
            assert!(require_secure(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_origin_ends_before_path_and_query() {
        assert_eq!(origin("https://a.example:8/b/c"), "https://a.example:8");
        assert_eq!(origin("https://a.example?b=/c"), "https://a.example");
        assert_eq!(origin("https://a.example"), "https://a.example");
        assert_eq!(origin("http://a/b/c"), "http://a");
        assert_eq!(origin("a/b"), "a");
    }
}
