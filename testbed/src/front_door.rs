//! Invokes a receiver in this process, built from environment variables, with gateway events.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use titanx_receiver::{
    config::Config,
    gateway::Request,
    receiver::{FollowUp, Receiver},
};

use crate::emulators::Emulators;

pub use super::{
    answer::{Answer, read},
    surroundings::{Proxies, environment},
    titanx::now_ms,
};

/// The function's timeout.
pub const TIMEOUT: Duration = Duration::from_secs(8);

/// Builds a receiver from these environment variables.
pub fn receiver(environment: &BTreeMap<&'static str, String>) -> Receiver {
    let config = Config::from_env(|name| environment.get(name).cloned()).unwrap();
    config.build().unwrap().0
}

/// Builds a receiver whose calls to AWS go through fault proxies. It has the secret in a variable.
pub fn receiver_behind_proxies(emulators: &Emulators) -> (Receiver, Proxies) {
    let mut environment = environment(emulators);
    let proxies = Proxies::between(&mut environment, emulators);
    (receiver(&environment), proxies)
}

/// The Lambda request id of every invocation.
pub const REQUEST_ID: &str = "7e3f0001-0000-4000-8000-000000000000";

/// Invokes the receiver with a gateway's event and the function's [`TIMEOUT`].
pub async fn deliver(receiver: &Receiver, event: &Value) -> Answer {
    deliver_within(receiver, event, TIMEOUT).await
}

/// Invokes the receiver with a gateway's event, with a deadline after `timeout`, and finishes the
/// invocation.
pub async fn deliver_within(receiver: &Receiver, event: &Value, timeout: Duration) -> Answer {
    let (answer, follow_up) = answer_within(receiver, event, timeout).await;
    receiver.finish(follow_up).await;
    answer
}

/// As [`deliver_within`], but returns after the answer, with the rest of the invocation.
pub async fn answer_within(
    receiver: &Receiver,
    event: &Value,
    timeout: Duration,
) -> (Answer, FollowUp) {
    let handled = handle(receiver, event, REQUEST_ID.to_owned(), timeout);
    let (response, follow_up) = handled.await;
    (read(&response), follow_up)
}

/// As [`answer_within`], with this Lambda request id. Returns the response as the gateway gets it.
pub(crate) async fn handle(
    receiver: &Receiver,
    event: &Value,
    request_id: String,
    timeout: Duration,
) -> (Value, FollowUp) {
    let request = Request::from_event(&event.to_string()).expect("JSON");
    let deadline_ms = now_ms() + u64::try_from(timeout.as_millis()).unwrap();
    let (response, follow_up) = receiver.handle(request, request_id, deadline_ms).await;
    (serde_json::to_value(response).unwrap(), follow_up)
}
