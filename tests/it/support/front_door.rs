//! The receiver as Lambda meets it: built from an environment, asked with a gateway's event.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use titanx_receiver::{config::Config, gateway::Request, receiver::Receiver};

use super::emulators::{Emulators, FaultProxy, SIGNING_SECRET};

/// What Lambda gives one invocation.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(8);

/// An answer as the gateway gets it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) body: Value,
    pub(crate) retry_after: Option<u64>,
}

impl Answer {
    /// The answer of this status and JSON body, without `Retry-After`.
    pub(crate) fn of(status: u64, body: Value) -> Self {
        Self {
            status,
            body,
            retry_after: None,
        }
    }

    pub(crate) fn accepted() -> Self {
        Self::of(200, json!({"received": true}))
    }

    pub(crate) fn duplicate() -> Self {
        Self::of(200, json!({"received": true, "duplicate": true}))
    }

    pub(crate) fn quarantined() -> Self {
        Self::of(200, json!({"received": true, "quarantined": true}))
    }

    pub(crate) fn refused() -> Self {
        Self::of(401, json!({"error": "Invalid signature"}))
    }

    /// Whether it stands in the table of answers.
    pub(crate) fn is_in_the_table(&self) -> bool {
        let received = self.body["received"] == true && self.retry_after.is_none();
        let error = self.body["error"].is_string();
        match self.status {
            200 => received,
            401 | 413 => error && self.retry_after.is_none(),
            429 | 503 => error && self.retry_after.is_some_and(|seconds| seconds >= 1),
            _ => false,
        }
    }
}

/// The environment of a receiver with the secret in it, so that Secrets Manager is not asked.
pub(crate) fn environment(emulators: &Emulators) -> BTreeMap<&'static str, String> {
    let mut environment = emulators.environment();
    environment.remove("TITANX_WEBHOOK_SECRET_ARN");
    environment.insert("TITANX_WEBHOOK_SECRET", SIGNING_SECRET.to_owned());
    environment
}

/// The receiver of this environment.
pub(crate) fn receiver(environment: &BTreeMap<&'static str, String>) -> Receiver {
    let config = Config::from_env(|name| environment.get(name).cloned()).unwrap();
    config.build().0
}

/// Sends all that the receiver says through proxies: to DynamoDB, SQS and Secrets Manager.
pub(crate) struct Proxies {
    pub(crate) dynamodb: FaultProxy,
    pub(crate) sqs: FaultProxy,
    pub(crate) secrets_manager: FaultProxy,
}

impl Proxies {
    pub(crate) fn between(
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

    /// The operations that reached the proxies, those of one service after those of another.
    pub(crate) fn operations(&self) -> Vec<String> {
        [&self.dynamodb, &self.sqs, &self.secrets_manager]
            .into_iter()
            .flat_map(FaultProxy::calls)
            .map(|call| call.operation)
            .collect()
    }

    pub(crate) fn heal(&self) {
        for proxy in [&self.dynamodb, &self.sqs, &self.secrets_manager] {
            proxy.heal();
        }
    }
}

/// Delivers a gateway's event in an invocation of the usual length.
pub(crate) async fn deliver(receiver: &Receiver, event: &Value) -> Answer {
    deliver_within(receiver, event, TIMEOUT).await
}

/// Delivers a gateway's event in an invocation that is cut off after `timeout`.
pub(crate) async fn deliver_within(
    receiver: &Receiver,
    event: &Value,
    timeout: Duration,
) -> Answer {
    let request: Request = serde_json::from_str(&event.to_string()).unwrap();
    let deadline_ms = now_ms() + u64::try_from(timeout.as_millis()).unwrap();
    let response = receiver.handle(request, deadline_ms).await;
    read(&serde_json::to_value(response).unwrap())
}

/// Reads what a gateway would turn into an HTTP response.
pub(crate) fn read(response: &Value) -> Answer {
    let (one, list) = ("/headers/retry-after", "/multiValueHeaders/retry-after/0");
    let retry_after = response.pointer(one).or(response.pointer(list));
    let retry_after = retry_after.and_then(Value::as_str);
    Answer {
        status: response["statusCode"].as_u64().unwrap(),
        body: serde_json::from_str(response["body"].as_str().unwrap()).unwrap(),
        retry_after: retry_after.map(|seconds| seconds.parse().unwrap()),
    }
}

pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}
