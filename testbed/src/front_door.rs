//! The receiver as Lambda meets it: built from an environment, asked with a gateway's event.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use titanx_receiver::{
    config::Config,
    gateway::Request,
    receiver::{FollowUp, Receiver},
};

pub use super::{
    answer::{Answer, read},
    surroundings::{Proxies, environment},
};

/// What Lambda gives one invocation.
pub const TIMEOUT: Duration = Duration::from_secs(8);

/// The receiver of this environment.
pub fn receiver(environment: &BTreeMap<&'static str, String>) -> Receiver {
    let config = Config::from_env(|name| environment.get(name).cloned()).unwrap();
    config.build().unwrap().0
}

/// Lambda's request id of every invocation.
pub const REQUEST_ID: &str = "7e3f0001-0000-4000-8000-000000000000";

/// Delivers a gateway's event in an invocation of the usual length.
pub async fn deliver(receiver: &Receiver, event: &Value) -> Answer {
    deliver_within(receiver, event, TIMEOUT).await
}

/// Delivers a gateway's event in an invocation that is cut off after `timeout`, and does what
/// follows its answer.
pub async fn deliver_within(receiver: &Receiver, event: &Value, timeout: Duration) -> Answer {
    let (answer, follow_up) = answer_within(receiver, event, timeout).await;
    receiver.finish(follow_up).await;
    answer
}

/// Delivers a gateway's event as far as its answer.
pub async fn answer_within(
    receiver: &Receiver,
    event: &Value,
    timeout: Duration,
) -> (Answer, FollowUp) {
    let request: Request = serde_json::from_str(&event.to_string()).unwrap();
    let deadline_ms = now_ms() + u64::try_from(timeout.as_millis()).unwrap();
    let handled = receiver.handle(request, REQUEST_ID.to_owned(), deadline_ms);
    let (response, follow_up) = handled.await;
    let answer = read(&serde_json::to_value(response).unwrap());
    (answer, follow_up)
}

pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}
