//! The receiver and what it stands on.

use std::{sync::Arc, time::Duration};

use titanx_receiver::{config::Config, receiver::Receiver};

use crate::{
    Error,
    emulators::{Call, Emulators, Fault, FaultProxy, Harm, When},
    screen::{Screen, Tone},
};

/// The emulated services, a proxy before each that can break what passes, and the receiver.
pub(crate) struct System {
    pub(crate) emulators: Emulators,
    dynamodb: FaultProxy,
    sqs: FaultProxy,
    pub(crate) receiver: Arc<Receiver>,
}

impl System {
    /// Starts all of it; the receiver as the function's binary does, from an environment.
    pub(crate) async fn start() -> Result<Self, Error> {
        let emulators = Emulators::start();
        // Nothing is left to chance, so any seed will do.
        let dynamodb = FaultProxy::start(&emulators.dynamodb_url, 0);
        let sqs = FaultProxy::start(&emulators.sqs_url, 0);
        let mut environment = emulators.environment();
        environment.insert("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.clone());
        environment.insert("AWS_ENDPOINT_URL_SQS", sqs.url.clone());
        let (receiver, aws) = Config::from_env(|name| environment.get(name).cloned())?.build();
        let (loaded, ()) = tokio::join!(receiver.secrets.load(), aws.connect());
        loaded?;
        Ok(Self {
            emulators,
            dynamodb,
            sqs,
            receiver: Arc::new(receiver),
        })
    }

    /// Breaks some of the calls to come. The SDK survives most of it by itself; the outage is
    /// longer than it tries, so that TitanX has to come again.
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

    /// The calls so far to DynamoDB and SQS.
    pub(crate) fn calls(&self) -> usize {
        self.dynamodb.calls().len() + self.sqs.calls().len()
    }

    /// Messages that SQS took without the receiver getting to know it.
    pub(crate) fn lost_sends(&self) -> usize {
        let calls = self.sqs.calls();
        let lost =
            |call: &&Call| matches!(call.fault, Some(Fault::After(_))) && call.served == Some(200);
        calls.iter().filter(lost).count()
    }

    pub(crate) fn show_faults(&self, screen: Screen) {
        screen.title("Faults on the way to AWS");
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

fn describe(fault: Fault) -> String {
    let (harm, moment) = match fault {
        Fault::Refuse(outage) => return format!("down for {} ms", outage.as_millis()),
        Fault::Before(harm) => (harm, "without effect"),
        Fault::After(harm) => (harm, "after it took effect"),
    };
    let harm = match harm {
        Harm::Reset => "reset",
        Harm::ServerError => "answered 500",
        Harm::Throttle => "throttled",
        Harm::Delay(_) => "delayed",
        Harm::Stop => "stopped",
    };
    format!("{harm} {moment}")
}
