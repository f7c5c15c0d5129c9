//! The operator's command, end to end: against the emulators and both forms of TitanX.

mod completions;
mod control_plane;
mod doctor;
mod help;
mod jobs;
mod operator;
mod quarantine;
mod reconcile;
mod rotate;
mod send;
mod subscribe;
mod subscriptions;
mod titanx_api;
mod verify_sample;

use titanx_testbed::{emulators::Emulators, front_door, gateway::Gateway};

use crate::{
    operator::Operator,
    titanx_api::{Form, TitanxApi},
};

/// The whole system: TitanX, the receiver behind its URL, AWS, and somebody to operate it.
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
        let gateway = Gateway::start(&front_door::environment(&emulators));
        let operator = Operator::of_titanx(&api).of_system(&emulators, &gateway);
        Self {
            api,
            emulators,
            gateway,
            operator,
        }
    }

    /// The live secrets that the function would read.
    fn live_secrets(&self) -> Vec<String> {
        let value = self.emulators.secret.value();
        serde_json::from_str(&value).unwrap_or_else(|_| vec![value])
    }
}
