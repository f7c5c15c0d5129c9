//! Calls over TLS to servers whose certificates only `AWS_CA_BUNDLE` makes trusted, as behind a
//! company's proxy that inspects TLS.

use std::{fs, net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::TlsAcceptor;

use crate::{System, titanx_api::Form};

/// A new certificate authority, as PEM, and the configuration of a server under it.
fn authority() -> (String, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new([]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = root.self_signed(&key).unwrap().pem();
    let root = Issuer::new(root, key);

    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let chain = vec![leaf.signed_by(&key, &root).unwrap().der().clone()];
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (pem, server)
}

/// Accepts TLS on a free port and forwards what it carries to the origin of `url`. Returns `url` with
/// its origin replaced.
fn terminate_tls(background: &Runtime, server: &ServerConfig, url: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let upstream: SocketAddr = authority.parse().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server.clone()));
    let listener = background
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let origin = format!("https://{}", listener.local_addr().unwrap());
    background.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate ends the handshake.
                let Ok(mut client) = acceptor.accept(stream).await else {
                    return;
                };
                let mut server = TcpStream::connect(upstream).await.unwrap();
                let _closed = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    origin + path
}

/// Writes a file of certificates. Returns its path.
fn write(folder: &TempDir, name: &str, pem: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, pem).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn every_call_trusts_the_certificates_in_aws_ca_bundle_and_no_others() {
    let system = System::start(Form::Schema);
    let background = Runtime::new().unwrap();
    let (bundle, server) = authority();
    let (stranger, _) = authority();
    let folder = TempDir::new().unwrap();
    let file = |name, pem| write(&folder, name, pem);
    let bundle = file("bundle.pem", &bundle);
    let stranger = file("stranger.pem", &stranger);

    // Each call alone goes over TLS: one of AWS, one of TitanX, one of the webhook.
    for (line, variable, url) in [
        (
            "jobs",
            "AWS_ENDPOINT_URL_DYNAMODB",
            &system.emulators.dynamodb_url,
        ),
        ("subscriptions", "TITANX_API_URL", &system.api.url),
        ("send --count 1", "WEBHOOK_URL", &system.gateway.url),
    ] {
        let url = terminate_tls(&background, &server, url);
        let operator = system.operator.clone().set(variable, url);
        let trusting = operator.clone().set("AWS_CA_BUNDLE", &bundle);
        trusting.run(line).exits(0);
        for distrusting in [operator.clone(), operator.set("AWS_CA_BUNDLE", &stranger)] {
            let run = distrusting.run(line).exits(1);
            let said = run.stdout + &run.stderr;
            assert!(said.contains("invalid peer certificate"), "{line}: {said}");
            // A send tells the reason beside each delivery.
            let hinted = said.contains("hint: ") && said.contains("AWS_CA_BUNDLE");
            assert!(hinted || line.starts_with("send"), "{line}: {said}");
        }
    }
}

/// `SSL_CERT_FILE` stands for the system's certificates. The AWS CLI trusts only those in
/// `AWS_CA_BUNDLE` where the variable is set; TitanX and the webhook are not AWS.
#[test]
fn beside_aws_ca_bundle_the_certificates_of_the_system_count_for_all_but_aws() {
    let system = System::start(Form::Schema);
    let background = Runtime::new().unwrap();
    let (of_system, server) = authority();
    let (of_bundle, _) = authority();
    let folder = TempDir::new().unwrap();
    let file = |name, pem| write(&folder, name, pem);
    let operator = system
        .operator
        .clone()
        .set("SSL_CERT_FILE", file("system.pem", &of_system));
    let with_bundle = operator
        .clone()
        .set("AWS_CA_BUNDLE", file("bundle.pem", &of_bundle));
    for (line, variable, url, status) in [
        (
            "jobs",
            "AWS_ENDPOINT_URL_DYNAMODB",
            &system.emulators.dynamodb_url,
            1,
        ),
        ("subscriptions", "TITANX_API_URL", &system.api.url, 0),
        ("send --count 1", "WEBHOOK_URL", &system.gateway.url, 0),
    ] {
        let url = terminate_tls(&background, &server, url);
        operator.clone().set(variable, &url).run(line).exits(0);
        with_bundle
            .clone()
            .set(variable, url)
            .run(line)
            .exits(status);
    }
}

#[test]
fn a_bundle_without_a_certificate_is_an_error_however_long_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("bundle.pem");
    let text =
        "-----BEGIN PRIVATE KEY-----\nof no use here, and longer than the line that is sought\n";
    fs::write(&path, text).unwrap();
    let system = System::start(Form::Schema);
    let operator = system.operator.set("AWS_CA_BUNDLE", path.to_str().unwrap());
    for line in ["jobs", "subscriptions"] {
        let run = operator.run(line).exits(1);
        assert!(
            run.stderr.contains("contains no PEM certificate"),
            "{line}: {}",
            run.stderr
        );
    }
}
