//! The emulators do what the services do, as far as the receiver and its operators depend on it.
//!
//! The same tests run against other implementations where `CROSS_CHECK_DYNAMODB`, `CROSS_CHECK_SQS`
//! and `CROSS_CHECK_SECRETS_MANAGER` name their endpoints: see `scripts/cross-check`. What only the
//! documentation of AWS says, and those implementations leave out, is in modules `documented`.

mod dynamodb;
mod fault_proxy;
mod receiver;
mod secrets_manager;
mod sqs;
mod state;

use titanx_testbed::emulators::Emulators;

/// A client of the SDK at an endpoint, which asks once and gives up.
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

/// A client and what it talks to: an emulator, or the implementation to compare it with.
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

    /// The emulators themselves, for what no client can do.
    fn emulators(&self) -> &Emulators {
        let emulators = self.emulators.as_ref();
        emulators.expect("this test is not for other implementations")
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
