//! Environment variables for a receiver, and fault proxies in front of all its services.

use std::collections::BTreeMap;

use super::emulators::{Emulators, FaultProxy, SIGNING_SECRET};

/// The environment of a receiver with the secret in a variable, so that it does not call Secrets
/// Manager.
pub fn environment(emulators: &Emulators) -> BTreeMap<&'static str, String> {
    let mut environment = emulators.environment();
    environment.remove("TITANX_WEBHOOK_SECRET_ARN");
    environment.insert("TITANX_WEBHOOK_SECRET", SIGNING_SECRET.to_owned());
    environment
}

/// Fault proxies in front of DynamoDB, SQS and Secrets Manager.
pub struct Proxies {
    pub dynamodb: FaultProxy,
    pub sqs: FaultProxy,
    pub secrets_manager: FaultProxy,
}

impl Proxies {
    /// Starts the proxies, and points `environment` at them.
    pub fn between(
        environment: &mut BTreeMap<&'static str, String>,
        emulators: &Emulators,
    ) -> Self {
        let proxies = Self {
            dynamodb: FaultProxy::start(&emulators.dynamodb_url, 1),
            sqs: FaultProxy::start(&emulators.sqs_url, 2),
            secrets_manager: FaultProxy::start(&emulators.secrets_manager_url, 3),
        };
        for (name, proxy) in [
            ("AWS_ENDPOINT_URL_DYNAMODB", &proxies.dynamodb),
            ("AWS_ENDPOINT_URL_SQS", &proxies.sqs),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &proxies.secrets_manager),
        ] {
            environment.insert(name, proxy.url.clone());
        }
        proxies
    }

    /// The operations that reached the proxies, grouped by service.
    pub fn operations(&self) -> Vec<String> {
        [&self.dynamodb, &self.sqs, &self.secrets_manager]
            .into_iter()
            .flat_map(FaultProxy::calls)
            .map(|call| call.operation)
            .collect()
    }

    pub fn heal(&self) {
        for proxy in [&self.dynamodb, &self.sqs, &self.secrets_manager] {
            proxy.heal();
        }
    }
}
