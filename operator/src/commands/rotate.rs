//! `operator rotate`
//!
//! ```text
//! probe the URL ─▶ create inactive ─▶ store both secrets ─▶ write the ledger ─▶ wait for the receiver
//!     ─▶ activate new ─▶ deactivate old ─▶ grace period ─▶ remove the old secrets
//! ```
//!
//! The ledger records each completed step, and every step is idempotent, so that a run resumes where
//! the previous one stopped.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use titanx_client::{Error, Subscription, TitanxClient};
use titanx_receiver::budget::now_ms;

use crate::{
    commands::CommandStatus,
    provisioning::{
        ProvisioningOptions, is_still_stored, not_granted_warning, or_all_event_types,
        overwritten_error, save_ledger, store_secret,
    },
    screen::{GOOD, Screen, format_time, styled},
    secret_store::{KnownSubscription, Ledger, Rotation, SecretStore, fingerprint},
};

/// Replace the signing secret without losing events
///
/// TitanX cannot change the secret of a subscription, so this command replaces the subscription. It
/// checks that the receiver answers at the webhook URL, creates a new, inactive subscription, stores its secret beside the old one, activates the new
/// subscription and deactivates the old one. TitanX may still retry deliveries that it signed with
/// the old secret, so the old secret stays live for a grace period. Run this command again after
/// the grace period to remove the old secret. Both subscriptions are active for a short time, so
/// TitanX may deliver an event twice with two delivery ids.
///
/// It is safe to run this command again after a failure: it resumes where it stopped.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator rotate --stack titanx-receiver
  operator rotate --stack titanx-receiver --old 6f1c…        if TitanX cannot list subscriptions
  operator rotate --stack titanx-receiver --grace 0 --yes    if the secret leaked")]
pub(crate) struct Rotate {
    /// Subscription to replace; repeatable [default: all that the operator created for the URL, and
    /// all others that are active for it]
    #[arg(long, value_name = "ID")]
    old: Vec<String>,
    /// Name of the new subscription, if TitanX stores one
    #[arg(long, default_value = "titanx-receiver")]
    name: String,
    /// Grace period: hours for which the old secret stays live after its subscription was
    /// deactivated
    ///
    /// TitanX retries for 72 hours.
    #[arg(long, value_name = "HOURS", default_value_t = 96)]
    grace: u32,
    /// Rotate even if events are lost
    ///
    /// Events are lost if the grace period is shorter than 72 hours, since TitanX may still retry
    /// deliveries signed with the old secret, and if TitanX does not grant the new subscription all
    /// event types of the old one.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    options: ProvisioningOptions,
}

const RESUME: &str = "the rotation is not complete; run this command again to resume it";
/// For how long TitanX retries a delivery.
const RETRY_WINDOW: Duration = Duration::from_hours(72);

/// The progress of a rotation.
#[derive(Serialize)]
struct Progress {
    /// The id of the new subscription.
    new: String,
    /// The ids of the subscriptions that it replaces.
    old: Vec<String>,
    finished: bool,
    /// When the old secret may be removed, in Unix milliseconds.
    old_secret_removable_at: Option<i64>,
    live_secrets: usize,
}

impl Rotate {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        if self.grace() < RETRY_WINDOW && !self.yes {
            bail!(
                "a grace period shorter than 72 hours loses the deliveries that TitanX still \
                 retries with the old secret (`operator reconcile` recovers their contacts): \
                 re-run with --yes to accept this"
            );
        }
        let titanx = self.options.titanx()?;
        let store = self.options.secret_store().await?;
        let mut ledger = store.ledger().await?;
        let (mut rotation, not_granted) = match ledger.rotation.clone() {
            Some(rotation) => {
                screen.info(format!(
                    "Resuming the rotation to the subscription {} …",
                    rotation.new.id
                ));
                if !rotation.activated {
                    self.options.check_url(&rotation.new.url, screen).await?;
                }
                (rotation, Vec::new())
            }
            None => self.begin(&titanx, &store, &mut ledger, screen).await?,
        };
        self.switch_over(&titanx, &store, &mut ledger, &mut rotation, screen)
            .await?;
        self.finish(&store, ledger, rotation, screen).await?;
        Ok(CommandStatus::action_needed_if(!not_granted.is_empty()))
    }

    fn grace(&self) -> Duration {
        Duration::from_hours(self.grace.into())
    }

    /// Creates the new subscription and stores its secret beside the old one. Also returns the event
    /// types that TitanX did not grant.
    async fn begin(
        &self,
        titanx: &TitanxClient,
        store: &SecretStore,
        ledger: &mut Ledger,
        screen: Screen,
    ) -> anyhow::Result<(Rotation, Vec<String>)> {
        let live = store.secrets().await?;
        if live.is_empty() {
            bail!(
                "no secret is stored in {}: run `operator subscribe` first",
                store.name()
            );
        }
        let url = self.url(ledger).await?;
        self.options.check_url(&url, screen).await?;
        let listed = match titanx.subscriptions().await {
            Ok(listed) => Some(listed),
            Err(Error::NotSupported { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(listed) = &listed {
            // TitanX signs nothing with the secret of a deleted subscription.
            let exists = |known: &KnownSubscription| listed.iter().any(|it| it.id == known.id);
            ledger.subscriptions.retain(exists);
        }
        let replaced = self.to_replace(ledger, &url, listed.as_deref().unwrap_or_default())?;
        let old_events = events_of(&replaced);
        let events = or_all_event_types(&old_events);
        screen.info("Creating the new subscription …");
        let new = titanx
            .create_subscription(&self.name, &url, &events, "inactive")
            .await?;
        let not_granted: Vec<_> = new.subscription.not_granted(&events).cloned().collect();
        for event in &not_granted {
            screen.warn(not_granted_warning(event));
        }
        if old_events.iter().any(|event| not_granted.contains(event)) && !self.yes {
            let id = &new.subscription.id;
            bail!(
                "nothing was replaced, because TitanX did not grant the new subscription {id} all \
                 event types of the old one: ask TitanX to grant them, or re-run with --yes to \
                 lose their events; `operator delete {id} --yes` deletes the new subscription, \
                 which is inactive"
            );
        }
        let known = store_secret(titanx, store, &new, &url, &live).await?;
        let id = known.id.clone();
        let rotation = Rotation {
            new: known,
            old: replaced.into_iter().map(|old| old.id).collect(),
            activated: false,
            deactivated_ms: None,
        };
        ledger.rotation = Some(rotation.clone());
        save_ledger(store, ledger, &id).await?;
        Ok((rotation, not_granted))
    }

    async fn url(&self, ledger: &Ledger) -> anyhow::Result<String> {
        match (&self.options.stack.url, &ledger.subscriptions[..]) {
            (None, [known, more @ ..]) if more.iter().all(|it| it.url == known.url) => {
                Ok(known.url.clone())
            }
            _ => self.options.stack.webhook_url().await,
        }
    }

    /// The subscriptions to replace. They are determined before anything is created.
    fn to_replace(
        &self,
        ledger: &Ledger,
        url: &str,
        listed: &[Subscription],
    ) -> anyhow::Result<Vec<Subscription>> {
        let ids: Vec<String> = if self.old.is_empty() {
            let known = ledger.subscriptions.iter().filter(|it| it.url == url);
            let known: Vec<_> = known.map(|known| known.id.clone()).collect();
            // Others are replaced too, because only the new secret stays live for this URL.
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
        let to_replace: Vec<_> = ids
            .iter()
            .map(|id| find(id).unwrap_or_else(|| unlisted(id)))
            .collect();
        if to_replace.is_empty() {
            bail!("no subscription for {url} is known to replace: re-run with --old ID");
        }
        Ok(to_replace)
    }

    /// Activates the new subscription once the receiver accepts its secret, and deactivates the old
    /// ones.
    async fn switch_over(
        &self,
        titanx: &TitanxClient,
        store: &SecretStore,
        ledger: &mut Ledger,
        rotation: &mut Rotation,
        screen: Screen,
    ) -> anyhow::Result<()> {
        if !rotation.activated {
            self.options
                .settle
                .wait(rotation.new.stored_ms, screen)
                .await;
            let in_ledger = is_in_ledger(store, &rotation.new.id).await;
            if !in_ledger.context(RESUME)? {
                return Err(overwritten_error(titanx, &rotation.new.id).await);
            }
            let is_stored = is_still_stored(store, &rotation.new).await;
            if !is_stored.context(RESUME)? {
                let error = overwritten_error(titanx, &rotation.new.id).await;
                abandon(store, &rotation.new.id).await?;
                return Err(error);
            }
            screen.info(format!("Activating the subscription {} …", rotation.new.id));
            if let Err(error) = titanx.activate(&rotation.new.id).await {
                return Err(activation_error(titanx, store, &rotation.new.id, error).await);
            }
            rotation.activated = true;
            ledger.rotation = Some(rotation.clone());
            store.put_ledger(ledger).await.context(RESUME)?;
        }
        if rotation.deactivated_ms.is_none() {
            for old in &rotation.old {
                screen.info(format!("Deactivating the subscription {old} …"));
                match titanx.deactivate(old).await {
                    Err(error) if titanx.is_deleted(old, &error).await => {
                        screen.warn(format!("the subscription {old} is already deleted"));
                    }
                    result => result.context(RESUME)?,
                }
            }
            rotation.deactivated_ms = Some(now_ms());
            ledger.rotation = Some(rotation.clone());
            store.put_ledger(ledger).await.context(RESUME)?;
        }
        Ok(())
    }

    /// Removes the old secrets if the grace period is over.
    async fn finish(
        &self,
        store: &SecretStore,
        mut ledger: Ledger,
        rotation: Rotation,
        screen: Screen,
    ) -> anyhow::Result<()> {
        let grace_ms = i64::try_from(self.grace().as_millis()).unwrap_or(i64::MAX);
        let removable_at = rotation.deactivated_ms.unwrap_or_default() + grace_ms;
        let live = store.secrets().await.context(RESUME)?;
        let finished = now_ms() >= removable_at;
        let remaining = if finished {
            // Subscriptions for other URLs are kept.
            ledger
                .subscriptions
                .retain(|it| !rotation.old.contains(&it.id));
            ledger.subscriptions.push(rotation.new.clone());
            let remaining = secrets_of(&ledger.subscriptions, &rotation.new, live)?;
            store.put_secrets(&remaining).await.context(RESUME)?;
            ledger.rotation = None;
            store.put_ledger(&ledger).await.context(RESUME)?;
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
        if finished && self.grace() < RETRY_WINDOW {
            screen.warn(
                "an instance of the function that has read the old secret accepts it for up to an \
                 hour: change the function's configuration to replace all instances at once (see \
                 docs/operations.md)",
            );
        }
        Ok(())
    }
}

/// Whether the ledger still contains this rotation. A concurrent run may have overwritten it.
async fn is_in_ledger(store: &SecretStore, new: &str) -> anyhow::Result<bool> {
    let rotation = store.ledger().await?.rotation;
    Ok(rotation.is_some_and(|it| it.new.id == new))
}

/// Removes a rotation that cannot continue from the ledger. Nothing has been replaced yet.
async fn abandon(store: &SecretStore, new: &str) -> anyhow::Result<()> {
    let mut ledger = store.ledger().await?;
    if ledger.rotation.as_ref().is_some_and(|it| it.new.id == new) {
        ledger.rotation = None;
        store.put_ledger(&ledger).await?;
    }
    Ok(())
}

/// Describes why the new subscription could not be activated. If it was deleted, the rotation is
/// abandoned.
async fn activation_error(
    titanx: &TitanxClient,
    store: &SecretStore,
    new: &str,
    error: Error,
) -> anyhow::Error {
    if !titanx.is_deleted(new, &error).await {
        return anyhow::Error::from(error).context(RESUME);
    }
    match abandon(store, new).await {
        Ok(()) => anyhow::Error::from(error).context(format!(
            "nothing was replaced, because the new subscription {new} was deleted before its \
             activation: run this command again to start a new rotation"
        )),
        Err(error) => error.context(RESUME),
    }
}

/// The secrets in `live` that belong to `known` subscriptions. The secret of `new` must be among
/// them: without it, no delivery could be verified.
fn secrets_of(
    known: &[KnownSubscription],
    new: &KnownSubscription,
    live: Vec<String>,
) -> anyhow::Result<Vec<String>> {
    let is_known = |secret: &String| known.iter().any(|it| it.fingerprint == fingerprint(secret));
    let remaining: Vec<_> = live.into_iter().filter(is_known).collect();
    if !remaining
        .iter()
        .any(|it| fingerprint(it) == new.fingerprint)
    {
        bail!(
            "no secret was removed, because the secret of the new subscription {} is no longer \
             stored",
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
                print_line!(
                    "{}: the subscription {new} replaced {old}",
                    styled(GOOD, "rotation complete")
                );
                print_line!("the old secret was removed");
                for old in &self.old {
                    print_line!("`operator delete {old} --yes` deletes the old subscription");
                }
            }
            Some(removable_at) => {
                print_line!(
                    "{}: the subscription {new} replaced {old}",
                    styled(GOOD, "new secret active")
                );
                print_line!(
                    "the old secret stays live for TitanX's retries: run `operator rotate` again \
                     after {} to remove it",
                    format_time(removable_at)
                );
            }
        }
    }
}

/// The event types of these subscriptions, each of them once.
fn events_of(subscriptions: &[Subscription]) -> Vec<String> {
    let mut events: Vec<String> = Vec::new();
    for event in subscriptions.iter().flat_map(|it| &it.events) {
        if !events.contains(event) {
            events.push(event.clone());
        }
    }
    events
}
