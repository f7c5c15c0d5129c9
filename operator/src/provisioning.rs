//! Steps that `operator subscribe` and `operator rotate` share: storing the secret of a new
//! subscription, recording it in the ledger, and waiting until the receiver accepts it.

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use titanx_client::{EVENT_TYPES, NewSubscription, TitanxClient, http::require_secure, without};
use titanx_receiver::{budget::now_ms, secrets::READ_INTERVAL};

use crate::{
    probe::ProbeOptions,
    screen::Screen,
    secret_store::{KnownSubscription, Ledger, SecretSource, SecretStore, fingerprint},
    stack::StackOptions,
    titanx::TitanxOptions,
};

/// Allowance for Secrets Manager's eventual consistency.
const MARGIN: Duration = Duration::from_secs(5);

// Not doc comments: clap would use them as the description of every command that flattens these.

// The options that both commands have.
#[derive(Args)]
pub(crate) struct ProvisioningOptions {
    #[command(flatten)]
    pub(crate) settle: SettleOptions,
    #[command(flatten)]
    probe: ProbeOptions,
    #[command(flatten)]
    secret: SecretSource,
    #[command(flatten)]
    titanx: TitanxOptions,
    #[command(flatten)]
    pub(crate) stack: StackOptions,
}

impl ProvisioningOptions {
    pub(crate) fn titanx(&self) -> anyhow::Result<TitanxClient> {
        self.titanx.connect()
    }

    pub(crate) async fn secret_store(&self) -> anyhow::Result<SecretStore> {
        self.secret.open(&self.stack).await
    }

    /// Checks that TitanX may be given this webhook URL: it is encrypted, and the receiver answers.
    pub(crate) async fn check_url(&self, url: &str, screen: Screen) -> anyhow::Result<()> {
        require_secure(url)?;
        self.probe.check(url, screen).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct SettleOptions {
    /// Seconds to wait after storing an additional secret, before activating its subscription
    ///
    /// The receiver rereads the secrets when a signature matches none of them: up to five times at
    /// once, then once in 30 seconds. Until it can reread them it answers 429, and TitanX retries
    /// later. After this wait, every instance of the receiver is able to reread, so no event is
    /// delayed.
    #[arg(long, value_name = "SECONDS", default_value_t = (READ_INTERVAL + MARGIN).as_secs())]
    settle: u64,
}

impl SettleOptions {
    /// Waits until every instance of the receiver is able to read a secret stored at `stored_ms`.
    pub(crate) async fn wait(&self, stored_ms: i64, screen: Screen) {
        let since = u64::try_from(now_ms().saturating_sub(stored_ms)).unwrap_or(0);
        let left = Duration::from_secs(self.settle).saturating_sub(Duration::from_millis(since));
        if !left.is_zero() {
            screen.info("Waiting until every instance of the receiver accepts the new secret …");
            screen.wait("waiting", left).await;
        }
    }
}

/// The given event types, or all event types if none is given.
pub(crate) fn or_all_event_types(events: &[String]) -> Vec<String> {
    if events.is_empty() {
        return EVENT_TYPES.map(str::to_owned).to_vec();
    }
    events.to_vec()
}

/// Says that TitanX did not grant an event type, and what that means.
pub(crate) fn not_granted_warning(event: &str) -> String {
    let meaning = without(event);
    format!("TitanX did not grant the event type {event}: {meaning}")
}

/// Stores the secret of a new subscription beside the live ones. If that fails, the subscription is
/// useless and is deactivated.
pub(crate) async fn store_secret(
    titanx: &TitanxClient,
    store: &SecretStore,
    new: &NewSubscription,
    url: &str,
    live: &[String],
) -> anyhow::Result<KnownSubscription> {
    let id = &new.subscription.id;
    let secrets = [live, std::slice::from_ref(&new.secret)].concat();
    if let Err(error) = store.put_secrets(&secrets).await {
        let state = deactivate(titanx, id).await;
        return Err(error.context(format!(
            "the secret of the new subscription {id} could not be stored and is lost; the \
             subscription {state}: delete it with `operator delete {id} --yes` and run this \
             command again"
        )));
    }
    Ok(KnownSubscription {
        id: id.clone(),
        url: url.to_owned(),
        fingerprint: fingerprint(&new.secret),
        stored_ms: now_ms(),
    })
}

/// Writes the ledger, without which the next run does not know of the subscription.
pub(crate) async fn save_ledger(
    store: &SecretStore,
    ledger: &Ledger,
    id: &str,
) -> anyhow::Result<()> {
    let saved = store.put_ledger(ledger).await;
    saved.with_context(|| {
        format!(
            "the secret of the new subscription {id} is stored, but the ledger could not be \
             written; the subscription is inactive: delete it with `operator delete {id} --yes` \
             and run this command again"
        )
    })
}

/// Whether a secret is still stored. TitanX must not sign with one that is not: a concurrent run of the
/// operator, or a manual change, can overwrite it, since there is no lock.
pub(crate) async fn is_still_stored(
    store: &SecretStore,
    known: &KnownSubscription,
) -> anyhow::Result<bool> {
    let secrets = store.secrets().await?;
    let mut fingerprints = secrets.iter().map(|it| fingerprint(it));
    Ok(fingerprints.any(|it| it == known.fingerprint))
}

/// Deactivates a subscription whose secret or ledger entry was overwritten, and describes that as an
/// error.
pub(crate) async fn overwritten_error(titanx: &TitanxClient, id: &str) -> anyhow::Error {
    let state = deactivate(titanx, id).await;
    anyhow!(
        "the stored secret or the ledger entry of the subscription {id} was overwritten, possibly \
         by a concurrent run of this command; the subscription {state}: delete it with `operator \
         delete {id} --yes` and run this command again"
    )
}

/// Deactivates a subscription, and describes its state afterwards.
async fn deactivate(titanx: &TitanxClient, id: &str) -> String {
    match titanx.deactivate(id).await {
        Ok(()) => "is inactive".to_owned(),
        Err(error) => format!("could not be deactivated ({error})"),
    }
}
