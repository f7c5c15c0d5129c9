//! What `operator subscribe` and `operator rotate` share: a new subscription, its secret and the
//! ledger that remembers both.

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use titanx_receiver::{budget::now_ms, secrets::REREAD_INTERVAL};

use crate::{
    screen::Screen,
    store::{Known, Ledger, Store, fingerprint},
    titanx::{EVENT_TYPES, NewSubscription, Titanx},
};

/// Secrets Manager's own copies may lag behind a moment.
const MARGIN: Duration = Duration::from_secs(5);

// How long the function may take to read a new secret.
#[derive(Debug, Args)]
pub(crate) struct Settling {
    /// Seconds from storing a further secret to activating its subscription
    ///
    /// The receiver reads the secrets again when a signature fits none of them, but at most once in
    /// 30 seconds, and until then answers 401, after which TitanX drops the event. After this wait
    /// every instance of it reads them again when it must, which no probe of one could prove.
    #[arg(long, value_name = "SECONDS", default_value_t = (REREAD_INTERVAL + MARGIN).as_secs())]
    settle: u64,
}

impl Settling {
    /// Waits until a secret stored at `stored_ms` has been taken up.
    pub(crate) async fn wait(&self, stored_ms: i64, screen: Screen) {
        let since = u64::try_from(now_ms().saturating_sub(stored_ms)).unwrap_or(0);
        let left = Duration::from_secs(self.settle).saturating_sub(Duration::from_millis(since));
        if !left.is_zero() {
            screen.note("Waiting until every instance of the receiver takes the new secret …");
            screen.wait("waiting", left).await;
        }
    }
}

/// Both event types unless told otherwise.
pub(crate) fn all_if_none(events: &[String]) -> Vec<String> {
    if events.is_empty() {
        return EVENT_TYPES.map(str::to_owned).to_vec();
    }
    events.to_vec()
}

/// Stores the secret of a subscription just made; the subscription is of no use without.
pub(crate) async fn keep(
    titanx: &Titanx,
    store: &Store,
    new: &NewSubscription,
    url: &str,
    live: &[String],
) -> anyhow::Result<Known> {
    let id = &new.subscription.id;
    let secrets = [live, std::slice::from_ref(&new.secret)].concat();
    if let Err(error) = store.put_secrets(&secrets).await {
        let state = deactivated(titanx, id).await;
        return Err(error.context(format!(
            "the secret of {id} could not be stored and is lost; {state}: delete it with \
             `operator delete {id}` and run this command again"
        )));
    }
    Ok(Known {
        id: id.clone(),
        url: url.to_owned(),
        secret: fingerprint(&new.secret),
        stored_ms: now_ms(),
    })
}

/// Writes the ledger; without it, a second run would not know of the subscription.
pub(crate) async fn remember(store: &Store, ledger: &Ledger, id: &str) -> anyhow::Result<()> {
    let remembered = store.put_ledger(ledger).await;
    remembered.with_context(|| {
        format!(
            "the secret of {id} is stored, but that could not be noted; {id} is inactive: delete \
             it with `operator delete {id}` and run this command again"
        )
    })
}

/// Makes sure, before anything is signed with it, that a secret was not overwritten meanwhile: no
/// lock keeps a second run of this command, or somebody by hand, from that.
pub(crate) async fn still_stored(
    titanx: &Titanx,
    store: &Store,
    known: &Known,
) -> anyhow::Result<()> {
    let secrets = store.secrets().await?;
    if secrets.iter().any(|it| fingerprint(it) == known.secret) {
        return Ok(());
    }
    Err(overwritten(titanx, &known.id).await)
}

/// Takes a subscription out of use that is not stored any more.
pub(crate) async fn overwritten(titanx: &Titanx, id: &str) -> anyhow::Error {
    let state = deactivated(titanx, id).await;
    anyhow!(
        "what was stored of {id} was overwritten, maybe by another run of this command; {state}: \
         delete it with `operator delete {id}` and run this command again"
    )
}

/// Deactivates a subscription of no use, and tells in what state it is then.
async fn deactivated(titanx: &Titanx, id: &str) -> String {
    match titanx.deactivate(id).await {
        Ok(()) => "it is inactive".to_owned(),
        Err(error) => format!("it could not be deactivated ({error})"),
    }
}
