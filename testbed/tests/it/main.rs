//! Tests that the emulators behave like the AWS services, in everything that the receiver and its
//! operator depend on.
//!
//! The same tests run against other implementations if `CROSS_CHECK_DYNAMODB`, `CROSS_CHECK_SQS` and
//! `CROSS_CHECK_SECRETS_MANAGER` name their endpoints: see `scripts/cross-check`. Modules `documented`
//! test behaviour that AWS documents but those implementations lack.

mod dynamodb;
mod fault_proxy;
mod receiver;
mod secrets_manager;
mod sqs;
mod state;

use titanx_testbed::emulators::Emulators;

/// An SDK client for an endpoint, without retries.
macro_rules! client {
    ($sdk:ident, $url:expr) => {{
        use $sdk::config::retry::RetryConfig;
        use $sdk::config::{BehaviorVersion, Credentials, Region};
        let config = $sdk::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::from_keys("emulators", "emulators", None))
            .endpoint_url($url)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(RetryConfig::disabled())
            .build();
        $sdk::Client::from_conf(config)
    }};
}
pub(crate) use client;

/// A client, with the emulators unless it uses another implementation.
struct Service<C> {
    client: C,
    emulators: Option<Emulators>,
}

impl<C> Service<C> {
    fn start(reference: &str, url: fn(&Emulators) -> &str, client: fn(&str) -> C) -> Self {
        if let Ok(url) = std::env::var(reference) {
            return Self {
                client: client(&url),
                emulators: None,
            };
        }
        let emulators = Emulators::start();
        Self {
            client: client(url(&emulators)),
            emulators: Some(emulators),
        }
    }

    /// The emulators, for direct access.
    fn emulators(&self) -> &Emulators {
        let emulators = self.emulators.as_ref();
        emulators.expect("the test does not run against other implementations")
    }
}

impl<C> std::ops::Deref for Service<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.client
    }
}

/// A name that no other test uses.
fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4())
}
