//! `operator rotate`
//!
//! ```text
//! create inactive ─▶ store both secrets ─▶ remember ─▶ let the function take the new one
//!     ─▶ activate new ─▶ deactivate old ─▶ grace ─▶ forget the old secrets
//! ```
//!
//! Each step is remembered when it is done, and does no harm when it is done twice; so a run goes
//! on wherever the last one stopped.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use titanx_receiver::budget::now_ms;

use crate::{
    commands::Outcome,
    deployment::Deployment,
    http::private,
    provisioning::{Settling, all_if_none, keep, overwritten, remember, still_stored},
    screen::{GOOD, Screen, moment, styled},
    store::{Known, Ledger, Place, Rotation, Store, fingerprint},
    titanx::{Error, Subscription, Titanx},
    vendor::Vendor,
};

/// Replace the signing secret without losing an event
///
/// TitanX cannot change the secret of a subscription, so a second subscription takes over: it is
/// made inactive, its secret is stored beside the old one, then it is activated and the old one
/// deactivated. What TitanX still retries from before is signed with the old secret, which
/// therefore stays live for a grace; run this command again after it to remove the old secret.
/// For a moment both subscriptions are active, so an event may come under two ids.
///
/// Safe to run again after a failure at any step: it goes on where it stopped.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator rotate --stack titanx-receiver
  operator rotate --stack titanx-receiver --old 6f1c…        where it is not known which to replace
  operator rotate --stack titanx-receiver --grace 0 --yes    the secret leaked")]
pub(crate) struct Rotate {
    /// Subscription to replace [default: those that this command or `subscribe` made for the URL,
    /// and all others that are active for it]
    #[arg(long, value_name = "ID")]
    old: Vec<String>,
    /// Name of the new subscription, where TitanX keeps one
    #[arg(long, default_value = "titanx-receiver")]
    name: String,
    /// Hours for which the old secret stays live after its subscription was deactivated: TitanX
    /// retries for 72
    #[arg(long, value_name = "HOURS", default_value_t = 96)]
    grace: u32,
    /// Do it although something is lost: what TitanX still retries, when the old secret goes in less
    /// than 72 hours; event types that it does not grant any more
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settling: Settling,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    vendor: Vendor,
    #[command(flatten)]
    deployment: Deployment,
}

const AGAIN: &str = "run this command again to go on from here";
/// For how long TitanX may retry what it signed with the old secret.
const RETRIES: Duration = Duration::from_hours(72);

/// How far the rotation is.
#[derive(Serialize)]
struct Progress {
    new: String,
    old: Vec<String>,
    finished: bool,
    /// When the old secret may be removed, in Unix milliseconds.
    old_secret_removable_at: Option<i64>,
    live_secrets: usize,
}

impl Rotate {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        if self.grace() < RETRIES && !self.yes {
            bail!(
                "a grace of under 72 hours loses what TitanX still retries under the old secret \
                 (reconcile finds it again): say --yes if that is meant"
            );
        }
        let titanx = self.vendor.connect()?;
        let store = self.place.open(&self.deployment).await?;
        let mut ledger = store.ledger().await?;
        let (mut rotation, not_granted) = match ledger.rotation.clone() {
            Some(rotation) => {
                screen.note(format!(
                    "Going on with the rotation to {} …",
                    rotation.new.id
                ));
                (rotation, Vec::new())
            }
            None => self.begin(&titanx, &store, &mut ledger, screen).await?,
        };
        self.take_over(&titanx, &store, &mut ledger, &mut rotation, screen)
            .await?;
        self.finish(&store, ledger, rotation, screen).await?;
        Ok(Outcome::findings_if(!not_granted.is_empty()))
    }

    fn grace(&self) -> Duration {
        Duration::from_hours(self.grace.into())
    }

    /// Makes the new subscription and stores its secret beside the old one. Also tells what TitanX
    /// did not grant it.
    async fn begin(
        &self,
        titanx: &Titanx,
        store: &Store,
        ledger: &mut Ledger,
        screen: Screen,
    ) -> anyhow::Result<(Rotation, Vec<String>)> {
        let live = store.secrets().await?;
        if live.is_empty() {
            bail!(
                "there is no secret to rotate in {}: subscribe first",
                store.name()
            );
        }
        let url = self.url(ledger).await?;
        private(&url)?;
        let listed = match titanx.subscriptions().await {
            Ok(listed) => Some(listed),
            Err(Error::NotSupported { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(listed) = &listed {
            // What was deleted since signs nothing more.
            let exists = |known: &Known| listed.iter().any(|it| it.id == known.id);
            ledger.subscriptions.retain(exists);
        }
        let replaced = self.replaced(ledger, &url, listed.as_deref().unwrap_or_default())?;
        let mut events: Vec<String> = Vec::new();
        for event in replaced.iter().flat_map(|it| &it.events) {
            if !events.contains(event) {
                events.push(event.clone());
            }
        }
        let had = events.clone();
        let events = all_if_none(&events);
        screen.note("Making the new subscription …");
        let new = titanx
            .subscribe(&self.name, &url, &events, "inactive")
            .await?;
        let not_granted: Vec<_> = new.subscription.not_granted(&events).cloned().collect();
        for event in &not_granted {
            screen.warn(format!("TitanX did not grant {event}"));
        }
        if had.iter().any(|event| not_granted.contains(event)) && !self.yes {
            let id = &new.subscription.id;
            bail!(
                "the new subscription lacks what the old one has, so nothing was replaced; it is \
                 inactive: `operator delete {id}` removes it. Ask TitanX, or say --yes to lose it"
            );
        }
        let known = keep(titanx, store, &new, &url, &live).await?;
        let id = known.id.clone();
        let rotation = Rotation {
            new: known,
            old: replaced.into_iter().map(|old| old.id).collect(),
            activated: false,
            deactivated_ms: None,
        };
        ledger.rotation = Some(rotation.clone());
        remember(store, ledger, &id).await?;
        Ok((rotation, not_granted))
    }

    async fn url(&self, ledger: &Ledger) -> anyhow::Result<String> {
        match (&self.deployment.url, &ledger.subscriptions[..]) {
            (None, [known, more @ ..]) if more.iter().all(|it| it.url == known.url) => {
                Ok(known.url.clone())
            }
            _ => self.deployment.webhook_url().await,
        }
    }

    /// The subscriptions that the new one takes over from: nothing is begun before they are known.
    fn replaced(
        &self,
        ledger: &Ledger,
        url: &str,
        listed: &[Subscription],
    ) -> anyhow::Result<Vec<Subscription>> {
        let ids: Vec<String> = if self.old.is_empty() {
            let known = ledger.subscriptions.iter().filter(|it| it.url == url);
            let known: Vec<_> = known.map(|known| known.id.clone()).collect();
            // The others too: no secret but the new one's stays for this URL.
            let others = listed.iter().filter(|it| {
                it.is_active() && it.url.as_deref() == Some(url) && !known.contains(&it.id)
            });
            let others: Vec<_> = others.map(|it| it.id.clone()).collect();
            [known, others].concat()
        } else {
            self.old.clone()
        };
        let unlisted = |id: &String| Subscription {
            id: id.clone(),
            name: None,
            url: None,
            events: Vec::new(),
            status: None,
        };
        let find = |id: &String| listed.iter().find(|it| it.id == *id).cloned();
        let replaced: Vec<_> = ids
            .iter()
            .map(|id| find(id).unwrap_or_else(|| unlisted(id)))
            .collect();
        if replaced.is_empty() {
            bail!("it is not known which subscription is to be replaced: say --old ID");
        }
        Ok(replaced)
    }

    /// Activates the new subscription once its secret is known, and deactivates the old ones.
    async fn take_over(
        &self,
        titanx: &Titanx,
        store: &Store,
        ledger: &mut Ledger,
        rotation: &mut Rotation,
        screen: Screen,
    ) -> anyhow::Result<()> {
        if !rotation.activated {
            self.settling.wait(rotation.new.stored_ms, screen).await;
            if !is_under_way(store, &rotation.new.id).await? {
                return Err(overwritten(titanx, &rotation.new.id).await);
            }
            if let Err(error) = still_stored(titanx, store, &rotation.new).await {
                give_up(store, &rotation.new.id).await?;
                return Err(error);
            }
            screen.note(format!("Activating {} …", rotation.new.id));
            if let Err(error) = titanx.activate(&rotation.new.id).await {
                return Err(not_activated(titanx, store, &rotation.new.id, error).await);
            }
            rotation.activated = true;
            ledger.rotation = Some(rotation.clone());
            store.put_ledger(ledger).await.context(AGAIN)?;
        }
        if rotation.deactivated_ms.is_none() {
            for old in &rotation.old {
                screen.note(format!("Deactivating {old} …"));
                match titanx.deactivate(old).await {
                    Err(error) if titanx.is_gone(old, &error).await => {
                        screen.warn(format!("{old} was deleted already"));
                    }
                    done => done.context(AGAIN)?,
                }
            }
            rotation.deactivated_ms = Some(now_ms());
            ledger.rotation = Some(rotation.clone());
            store.put_ledger(ledger).await.context(AGAIN)?;
        }
        Ok(())
    }

    /// Removes the old secrets if the grace is over.
    async fn finish(
        &self,
        store: &Store,
        mut ledger: Ledger,
        rotation: Rotation,
        screen: Screen,
    ) -> anyhow::Result<()> {
        let grace_ms = i64::try_from(self.grace().as_millis()).unwrap_or(i64::MAX);
        let removable_at = rotation.deactivated_ms.unwrap_or_default() + grace_ms;
        let live = store.secrets().await?;
        let finished = now_ms() >= removable_at;
        let remaining = if finished {
            // Those for other URLs stay as they are.
            ledger
                .subscriptions
                .retain(|it| !rotation.old.contains(&it.id));
            ledger.subscriptions.push(rotation.new.clone());
            let remaining = only(&ledger.subscriptions, &rotation.new, live)?;
            store.put_secrets(&remaining).await?;
            ledger.rotation = None;
            store.put_ledger(&ledger).await?;
            remaining
        } else {
            live
        };
        let progress = Progress {
            new: rotation.new.id,
            old: rotation.old,
            finished,
            old_secret_removable_at: (!finished).then_some(removable_at),
            live_secrets: remaining.len(),
        };
        screen.result(&progress, || progress.print())?;
        if finished && self.grace() < RETRIES {
            screen.warn(
                "an instance of the function that has read the old secret takes it until it ends; \
                 any change of the function's configuration replaces them all (docs/operations.md)",
            );
        }
        Ok(())
    }
}

/// Whether it is this rotation that is remembered, and not one begun at the same moment.
async fn is_under_way(store: &Store, new: &str) -> anyhow::Result<bool> {
    let rotation = store.ledger().await?.rotation;
    Ok(rotation.is_some_and(|it| it.new.id == new))
}

/// Forgets a rotation that can never go on. Nothing was replaced yet.
async fn give_up(store: &Store, new: &str) -> anyhow::Result<()> {
    let mut ledger = store.ledger().await?;
    if ledger.rotation.as_ref().is_some_and(|it| it.new.id == new) {
        ledger.rotation = None;
        store.put_ledger(&ledger).await?;
    }
    Ok(())
}

/// Why the new subscription is not active. If it was deleted, the rotation is given up.
async fn not_activated(titanx: &Titanx, store: &Store, new: &str, error: Error) -> anyhow::Error {
    if !titanx.is_gone(new, &error).await {
        return anyhow::Error::from(error).context(AGAIN);
    }
    match give_up(store, new).await {
        Ok(()) => anyhow::Error::from(error).context(format!(
            "{new} was deleted before it took over, nothing was replaced; run this command again \
             to begin anew"
        )),
        Err(error) => error.context(AGAIN),
    }
}

/// The secrets of `known` alone; the new one must be there, or nothing could be verified any more.
fn only(known: &[Known], new: &Known, live: Vec<String>) -> anyhow::Result<Vec<String>> {
    let is_known = |secret: &String| known.iter().any(|it| it.secret == fingerprint(secret));
    let remaining: Vec<_> = live.into_iter().filter(is_known).collect();
    if !remaining.iter().any(|it| fingerprint(it) == new.secret) {
        bail!(
            "the secret of {} is not stored any more; nothing was removed",
            new.id
        );
    }
    Ok(remaining)
}

impl Progress {
    fn print(&self) {
        let Self { new, .. } = self;
        let old = self.old.join(", ");
        match self.old_secret_removable_at {
            None => {
                say!("{} {new} took over from {old}", styled(GOOD, "rotated"));
                say!("the old secret is removed");
                for old in &self.old {
                    say!("`operator delete {old}` removes the old subscription");
                }
            }
            Some(removable_at) => {
                say!("{} {new} took over from {old}", styled(GOOD, "active"));
                say!(
                    "the old secret stays live for what TitanX retries; run `operator rotate` \
                     again after {} to remove it",
                    moment(removable_at)
                );
            }
        }
    }
}
