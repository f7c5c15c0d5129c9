//! End-to-end tests of the operator's command, with the emulators and both forms of TitanX's API.

mod backfill;
mod completions;
mod contacts;
mod control_plane;
mod credentials;
mod delivery;
mod doctor;
mod doctor_limits;
mod failures;
mod heal;
mod help;
mod job_records;
mod jobs;
mod listen;
mod model;
mod operator;
mod options;
mod order;
mod paging;
mod printed;
mod probe;
mod quarantine;
mod reconcile;
mod reconcile_model;
mod reconcile_runs;
mod requests;
mod rotate;
mod screens;
mod secrecy;
mod send;
mod status;
mod stored_secrets;
mod subscribe;
mod subscriptions;
mod times;
mod titanx_answers;
mod tls;
mod verify_sample;
mod wrong_secret;

use std::{sync::Arc, time::Duration};

use titanx_testbed::{
    emulators::{AttributeValue, Emulators, Fault, FaultProxy, Harm, When},
    front_door,
    gateway::Gateway,
    titanx_api,
};

use crate::{
    operator::Operator,
    titanx_api::{Form, TitanxApi},
};

/// The whole system: TitanX's API, the emulated AWS services, the receiver behind a gateway, and the
/// operator's command.
struct System {
    api: TitanxApi,
    emulators: Emulators,
    gateway: Gateway,
    operator: Operator,
}

impl System {
    fn start(form: Form) -> Self {
        let api = TitanxApi::start(form);
        let emulators = Emulators::start();
        let receiver = front_door::receiver(&front_door::environment(&emulators));
        let gateway = Gateway::start(Arc::new(receiver));
        let operator = Operator::with_titanx(&api).with_system(&emulators, &gateway);
        Self {
            api,
            emulators,
            gateway,
            operator,
        }
    }

    /// The live secrets in Secrets Manager.
    fn live_secrets(&self) -> Vec<String> {
        let value = self.emulators.secret.value();
        serde_json::from_str(&value).unwrap_or_else(|_| vec![value])
    }

    /// Kills a run of this command when it has begun to send the first contact.
    async fn kill_at_first_send(&self, line: &str) {
        let proxy = FaultProxy::start(&self.emulators.sqs_url, 1);
        proxy.inject(When::NthOf(1, "SendMessage"), Fault::Before(Harm::Stop));
        let operator = self.operator.clone();
        let mut killed = operator.set("AWS_ENDPOINT_URL_SQS", &proxy.url).start(line);
        let stopped = tokio::time::timeout(Duration::from_mins(1), proxy.stopped());
        stopped.await.expect("a contact is sent");
        killed.kill().unwrap();
        killed.wait().unwrap();
    }

    /// Until when the record of a job says that a run has it, in Unix milliseconds.
    fn held_until(&self, job: &str) -> u64 {
        let record = self.emulators.jobs.get(job).unwrap();
        match &record["check_ends"] {
            AttributeValue::N(ends) => ends.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }
}
