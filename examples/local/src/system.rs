//! The receiver with the emulated services and the proxies that inject faults.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use titanx_receiver::{config::Config, receiver::Receiver};
use titanx_testbed::emulators::{Call, Emulators, Fault, FaultProxy, Harm, Served, When};

use crate::{
    error::Error,
    screen::{Screen, Tone},
};

/// The receiver, the emulated services, and a fault proxy in front of DynamoDB and of SQS.
pub(crate) struct System {
    pub(crate) emulators: Emulators,
    dynamodb: FaultProxy,
    sqs: FaultProxy,
    pub(crate) receiver: Arc<Receiver>,
    lost_sends: Arc<Mutex<Vec<String>>>,
}

impl System {
    /// Starts the services, and builds the receiver from environment variables as the function does.
    pub(crate) async fn start() -> Result<Self, Error> {
        Self::start_with(|_| ()).await
    }

    /// As [`Self::start`], after `change` has changed the environment variables.
    pub(crate) async fn start_with(
        change: impl FnOnce(&mut BTreeMap<&'static str, String>),
    ) -> Result<Self, Error> {
        let emulators = Emulators::start();
        // No injected fault is random, so the seed has no effect.
        let dynamodb = FaultProxy::start(&emulators.dynamodb_url, 0);
        let sqs = FaultProxy::start(&emulators.sqs_url, 0);
        let lost_sends = Arc::default();
        sqs.observe(record_lost_sends(&lost_sends));
        let mut environment = emulators.environment();
        environment.insert("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.clone());
        environment.insert("AWS_ENDPOINT_URL_SQS", sqs.url.clone());
        change(&mut environment);
        let (receiver, aws) = Config::from_env(|name| environment.get(name).cloned())?.build()?;
        let (loaded, ()) = tokio::join!(receiver.secrets.load(), aws.connect());
        loaded?;
        Ok(Self {
            emulators,
            dynamodb,
            sqs,
            receiver: Arc::new(receiver),
            lost_sends,
        })
    }

    /// Injects faults into some of the following calls. The SDK's retries handle most of them. The
    /// outage outlasts the retries, so that TitanX has to retry the delivery.
    pub(crate) fn break_some_calls(&self) {
        let outage = Duration::from_millis(300);
        for (when, fault) in [
            (When::NthOf(7, "PutItem"), Fault::After(Harm::Reset)),
            (When::NthOf(19, "PutItem"), Fault::Before(Harm::Throttle)),
            (When::NthOf(31, "PutItem"), Fault::Before(Harm::ServerError)),
            (When::NthOf(43, "PutItem"), Fault::Before(Harm::Reset)),
            (When::NthOf(1, "UpdateItem"), Fault::After(Harm::Reset)),
        ] {
            self.dynamodb.inject(when, fault);
        }
        for (when, fault) in [
            (When::NthOf(5, "SendMessage"), Fault::After(Harm::Reset)),
            (When::NthOf(10, "SendMessage"), Fault::Before(Harm::Reset)),
            (When::NthOf(16, "SendMessage"), Fault::Refuse(outage)),
            (
                When::NthOf(24, "SendMessage"),
                Fault::Before(Harm::Throttle),
            ),
            (
                When::NthOf(30, "SendMessage"),
                Fault::Before(Harm::ServerError),
            ),
        ] {
            self.sqs.inject(when, fault);
        }
    }

    pub(crate) fn heal(&self) {
        self.dynamodb.heal();
        self.sqs.heal();
    }

    /// The number of calls to DynamoDB and SQS so far.
    pub(crate) fn calls(&self) -> usize {
        self.dynamodb.calls().len() + self.sqs.calls().len()
    }

    /// The delivery ids of the messages that SQS accepted without the receiver getting its response.
    pub(crate) fn lost_sends(&self) -> Vec<String> {
        let lost_sends = self.lost_sends.lock();
        lost_sends.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn show_faults(&self, screen: Screen) {
        screen.title("Injected faults");
        for (service, proxy) in [("DynamoDB", &self.dynamodb), ("SQS", &self.sqs)] {
            for call in proxy.calls() {
                let Some(fault) = call.fault else { continue };
                let Call { operation, .. } = call;
                screen.text(&format!(
                    "  {service:<10}{operation:<13} {}",
                    screen.tone(Tone::Warning, &describe(fault))
                ));
            }
        }
    }
}

/// Records each send that took effect but whose response the receiver did not get, because of a fault.
fn record_lost_sends(lost_sends: &Arc<Mutex<Vec<String>>>) -> impl Fn(&Served) + use<> {
    let lost_sends = Arc::clone(lost_sends);
    move |call| {
        if call.status != 200 || call.answered {
            return;
        }
        let request: Value = serde_json::from_slice(&call.request).unwrap_or_default();
        let id = &request["MessageAttributes"]["deliveryId"]["StringValue"];
        let id = id.as_str().unwrap_or_default().to_owned();
        let lost_sends = lost_sends.lock();
        lost_sends.unwrap_or_else(PoisonError::into_inner).push(id);
    }
}

fn describe(fault: Fault) -> String {
    let (harm, when) = match fault {
        Fault::Refuse(outage) => return format!("outage of {} ms", outage.as_millis()),
        Fault::Before(harm) => (harm, "before it took effect"),
        Fault::After(harm) => (harm, "after it took effect"),
    };
    let harm = match harm {
        Harm::Reset => "reset",
        Harm::ServerError => "answered 500",
        Harm::Throttle => "throttled",
        Harm::Delay(_) => "delayed",
        Harm::Stop => "stopped",
        Harm::Answer(_) => "answered in place of the service",
    };
    format!("{harm} {when}")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use hyper::body::Bytes;
    use serde_json::json;

    use super::*;

    fn send(id: &str, status: u16, answered: bool) -> Served {
        let id = json!({"DataType": "String", "StringValue": id});
        let request = json!({"MessageBody": "{}", "MessageAttributes": {"deliveryId": id}});
        Served {
            operation: "SendMessage".to_owned(),
            request: Bytes::from(request.to_string()),
            status,
            at: Instant::now(),
            answered,
            took: Duration::ZERO,
        }
    }

    /// Only a message that SQS has explains a second one.
    #[test]
    fn a_response_is_lost_only_if_sqs_accepted_the_message_and_the_receiver_was_not_told() {
        let lost_sends = Arc::default();
        let observe = record_lost_sends(&lost_sends);
        for (id, status, answered) in [
            ("accepted and told", 200, true),
            ("accepted", 200, false),
            ("not accepted, and told", 400, true),
            ("not accepted", 400, false),
            ("failed, and told", 503, true),
            ("failed", 503, false),
            ("accepted", 200, false),
        ] {
            observe(&send(id, status, answered));
        }
        let lost_sends = lost_sends.lock().unwrap().clone();
        assert_eq!(lost_sends, ["accepted", "accepted"]);
    }

    #[test]
    fn a_fault_is_described_by_its_harm_and_by_whether_the_call_took_effect() {
        let ms = Duration::from_millis(300);
        for (harm, words) in [
            (Harm::Reset, "reset"),
            (Harm::ServerError, "answered 500"),
            (Harm::Throttle, "throttled"),
            (Harm::Delay(ms), "delayed"),
            (Harm::Stop, "stopped"),
            (Harm::Answer("{}"), "answered in place of the service"),
        ] {
            let before = format!("{words} before it took effect");
            assert_eq!(describe(Fault::Before(harm)), before);
            let after = format!("{words} after it took effect");
            assert_eq!(describe(Fault::After(harm)), after);
        }
        assert_eq!(describe(Fault::Refuse(ms)), "outage of 300 ms");
    }
}
