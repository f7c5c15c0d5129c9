//! A certificate authority of this run's own, and a server under it that costs its clients what Amazon's do: RSA keys of
//! 2048 bits, root, intermediate and leaf, and AES-128 before AES-256 whatever the client would rather have.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rcgen::PKCS_RSA_SHA256;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;

/// Writes the root's certificate to `authority` and returns a server's configuration under it.
pub fn server(authority: &Path) -> Result<ServerConfig> {
    let root_key = rsa_key()?;
    let root = certificate_authority("Bench Root")?;
    fs::write(authority, root.self_signed(&root_key)?.pem())?;
    let root = Issuer::new(root, root_key);

    let intermediate_key = rsa_key()?;
    let intermediate_params = certificate_authority("Bench Intermediate")?;
    let intermediate = intermediate_params.signed_by(&intermediate_key, &root)?;
    let issuer = Issuer::new(intermediate_params, intermediate_key);

    let key = rsa_key()?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let chain = vec![leaf.der().clone(), intermediate.der().clone()];
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());

    let mut provider = ring::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| format!("{:?}", suite.suite()).contains("AES_256"));
    let mut server = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.ignore_client_order = true;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(server)
}

/// ring signs with RSA keys, but cannot generate them.
fn rsa_key() -> Result<KeyPair> {
    let openssl = Command::new("openssl")
        .args(["genpkey", "-quiet", "-algorithm", "RSA"])
        .args(["-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .context("openssl generates the keys of the test authority")?;
    let errors = String::from_utf8_lossy(&openssl.stderr);
    ensure!(openssl.status.success(), "openssl genpkey: {errors}");
    let pem = String::from_utf8(openssl.stdout)?;
    Ok(KeyPair::from_pkcs8_pem_and_sign_algo(
        &pem,
        &PKCS_RSA_SHA256,
    )?)
}

fn certificate_authority(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}
