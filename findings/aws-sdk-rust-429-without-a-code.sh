#!/usr/bin/env bash
# The AWS SDK for Rust makes one attempt at a service that answers 429 without an error code.
#
# Expected, written down before the first run: HTTP 429 (Too Many Requests) is throttling, so the standard retry mode
# retries it, as it retries 503.
# Observed: 503 with an empty body is tried three times, 429 with an empty body once. The SDK retries by the status alone
# only for 500, 502, 503 and 504. It recognises throttling by an error code in the body or in a header. So if a proxy or
# gateway between client and service answers 429 without such a code, the call fails at once.
# Versions: aws-sdk-dynamodb 1.136.0, aws-smithy-runtime 1.16.2. Needs a Rust toolchain of 1.95 or later.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "bare-429"
version = "0.0.0"
edition = "2024"

[dependencies]
aws-credential-types = { version = "=1.3.1", features = ["hardcoded-credentials"] }
aws-sdk-dynamodb = { version = "=1.136.0", default-features = false, features = ["rt-tokio"] }
aws-smithy-http-client = { version = "=1.5.2", features = ["default-client"] }
aws-smithy-runtime = { version = "=1.16.2", features = ["client"] }
tokio = { version = "1", features = ["macros", "net", "io-util", "rt"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::{Client, config::{BehaviorVersion, Config, Region, retry::RetryConfig}};
use aws_smithy_http_client::Builder;
use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::TcpListener};

async fn attempts(status: u16) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8_192];
            let _ = stream.read(&mut request).await;
            seen.fetch_add(1, Ordering::SeqCst);
            let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("id", "key", None))
        .endpoint_url(url)
        .http_client(Builder::new().build_http())
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .build();
    Client::from_conf(config).list_tables().send().await.unwrap_err();
    requests.load(Ordering::SeqCst)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("503: {} attempts", attempts(503).await);
    println!("429: {} attempts", attempts(429).await);
}
RUST
seen=$(cd "$folder" && cargo run --quiet)
echo "$seen"
[ "$seen" = "503: 3 attempts
429: 1 attempts" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
