//! Mistakes of people in the middle of a soak: the secret is rotated in the wrong order, a wrong secret
//! is stored, and the webhook's URL is mistyped. Each lasts for a while and is then repaired.
//!
//! While the stored secret is wrong, a read of it says for certain that a signature does not fit, so
//! some events are refused for good. A person gets those from TitanX later, as `operator reconcile`
//! does. The soak delivers them again at its end.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Books, PATIENCE, Plan};
use crate::{
    emulators::{SIGNING_SECRET, SigningSecret},
    gateway_events::{self, PATH, Target},
    titanx::{headers, signature},
};

/// The secret that TitanX signs with after the rotation.
const NEW_SECRET: &str = "wh_sk_synthetic_after_the_rotation";
/// A secret of another environment, stored by mistake.
const WRONG_SECRET: &str = "wh_sk_synthetic_of_another_environment";
const MISTYPED_PATH: &str = "/Webhooks//titanx/";

/// A mistake of a person.
#[derive(Debug, Clone, Copy)]
enum Mistake {
    /// TitanX signs with a new secret before that is stored.
    RotationInTheWrongOrder,
    /// The live secrets are replaced by one of another environment.
    WrongSecret,
    /// TitanX requests another path.
    MistypedUrl,
}

impl Mistake {
    const ALL: [Self; 3] = [
        Self::RotationInTheWrongOrder,
        Self::WrongSecret,
        Self::MistypedUrl,
    ];
}

/// The subscription at TitanX, and what the stack keeps of it.
pub(super) struct Subscription(RwLock<State>);

#[derive(Clone, Copy)]
struct State {
    secret: &'static str,
    path: &'static str,
    /// Whether the stored secrets lack `secret`, so that a signed event may be refused for good.
    is_unstored: bool,
}

impl Default for Subscription {
    fn default() -> Self {
        Self(RwLock::new(State {
            secret: SIGNING_SECRET,
            path: PATH,
            is_unstored: false,
        }))
    }
}

impl Subscription {
    /// The gateway's event for a delivery of TitanX with this body.
    pub(super) fn request(&self, body: &str) -> Value {
        let State { secret, path, .. } = self.state();
        let target = Target {
            method: "POST",
            path,
            query: "",
        };
        let signature = signature(secret, body.as_bytes());
        gateway_events::event_for(target, headers(Some(&signature)), body.as_bytes())
    }

    /// Whether a signed event may be refused for good.
    pub(super) fn is_unstored(&self) -> bool {
        self.state().is_unstored
    }

    fn state(&self) -> State {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    async fn suffer(&self, mistake: Mistake, stored: &SigningSecret, lasts: Duration) {
        match mistake {
            Mistake::RotationInTheWrongOrder => {
                self.change(|it| (it.secret, it.is_unstored) = (NEW_SECRET, true));
                sleep(lasts).await;
                stored.rotate(&json!([SIGNING_SECRET, NEW_SECRET]).to_string());
            }
            Mistake::WrongSecret => {
                let right = stored.value();
                self.change(|it| it.is_unstored = true);
                stored.rotate(WRONG_SECRET);
                sleep(lasts).await;
                stored.rotate(&right);
            }
            Mistake::MistypedUrl => {
                self.change(|it| it.path = MISTYPED_PATH);
                sleep(lasts).await;
                self.change(|it| it.path = PATH);
            }
        }
        // Whatever was asked before the repair has been answered by then.
        sleep(PATIENCE).await;
        self.change(|it| it.is_unstored = false);
    }
}

/// Makes each mistake once, at regular fractions of the acknowledged deliveries.
pub(super) async fn make_all(
    plan: &Plan,
    subscription: &Subscription,
    stored: &SigningSecret,
    books: &Arc<Books>,
) {
    if plan.mistakes.is_zero() {
        return;
    }
    for (made, mistake) in Mistake::ALL.into_iter().enumerate() {
        let due = (made + 1) * plan.deliveries / (Mistake::ALL.len() + 1);
        while books.acknowledged() < due {
            sleep(Duration::from_millis(20)).await;
        }
        subscription.suffer(mistake, stored, plan.mistakes).await;
        books.made(format!("{mistake:?}"));
    }
}
