//! `operator subscribe`
//!
//! ```text
//! probe the URL ─▶ create inactive ─▶ store the secret ─▶ write the ledger ─▶ wait for the receiver ─▶ activate
//!                                       └ fails: deactivate, report the id
//! ```

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use titanx_client::{EVENT_TYPES, Error, Subscription, TitanxClient};

use crate::{
    commands::CommandStatus,
    plain_error::escape_control,
    provisioning::{
        ProvisioningOptions, is_still_stored, not_granted_warning, or_all_event_types,
        overwritten_error, save_ledger, store_secret,
    },
    screen::{GOOD, Screen, styled},
    secret_store::{KnownSubscription, Ledger, SecretStore, fingerprint},
};

/// Create a subscription at TitanX and store its signing secret
///
/// Checks that the receiver answers at the webhook URL, creates an inactive subscription, stores its
/// secret, and then activates it, so that TitanX never signs an event with a secret that the receiver
/// does not know. The secret is never printed. Secrets that are already stored stay live.
///
/// It is safe to run this command again: it resumes where it stopped, and does not create a second
/// subscription for the same URL.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator subscribe --stack titanx-receiver
  operator subscribe --url https://example.com/webhooks/titanx --secret-file webhook-secret
  operator subscribe --stack titanx-receiver --event job.completed")]
pub(crate) struct Subscribe {
    /// Event type to subscribe to; repeatable [default: all event types]
    #[arg(long = "event", value_name = "TYPE", value_parser = EVENT_TYPES)]
    events: Vec<String>,
    /// Name of the subscription, if TitanX stores one
    #[arg(long, default_value = "titanx-receiver")]
    name: String,
    /// Create a subscription even if an active one for the URL exists
    ///
    /// TitanX then delivers every event twice, with two delivery ids.
    #[arg(long)]
    another: bool,
    #[command(flatten)]
    options: ProvisioningOptions,
}

/// The result of the command.
#[derive(Serialize)]
struct SubscribeResult {
    id: String,
    url: String,
    events: Vec<String>,
    not_granted: Vec<String>,
    secret_stored_in: String,
    live_secrets: usize,
}

impl Subscribe {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let titanx = self.options.titanx()?;
        let url = self.options.stack.webhook_url().await?;
        self.options.check_url(&url, screen).await?;
        let store = self.options.secret_store().await?;
        let requested = or_all_event_types(&self.events);
        let live = store.secrets().await?;
        let mut ledger = store.ledger().await?;
        let listed = list_subscriptions(&titanx, screen).await?;
        let earlier = self.earlier_subscription(&ledger, &live, &url, listed.as_deref());
        let (known, granted, is_active) = if let Some(known) = earlier {
            screen.info(format!(
                "An earlier run created the subscription {} for this URL.",
                known.id
            ));
            let listed = listed.into_iter().flatten().find(|it| it.id == known.id);
            let is_active = listed.as_ref().is_some_and(Subscription::is_active);
            // A list may leave the event types out.
            let granted = listed.filter(|it| !it.events.is_empty());
            (known, granted, is_active)
        } else {
            if !self.another {
                check_not_subscribed(listed.as_deref().unwrap_or_default(), &url, screen)?;
            }
            let new = titanx
                .create_subscription(&self.name, &url, &requested, "inactive")
                .await?;
            let known = store_secret(&titanx, &store, &new, &url, &live).await?;
            ledger.subscriptions.push(known.clone());
            save_ledger(&store, &ledger, &known.id).await?;
            let is_active = new.subscription.is_active();
            (known, Some(new.subscription), is_active)
        };
        if !live.is_empty() {
            self.options.settle.wait(known.stored_ms, screen).await;
        }
        let is_stored = is_still_stored(&store, &known).await;
        let KnownSubscription { id, .. } = known;
        let unknown = || {
            format!(
                "it is unknown whether the secret of the subscription {id} is still stored: run this \
                 command again"
            )
        };
        if !is_stored.with_context(unknown)? {
            return Err(overwritten_error(&titanx, &id).await);
        }
        if !is_active {
            activate(&titanx, &id).await?;
        }
        report(id, url, &requested, granted, &store, screen).await
    }

    /// The subscription that an earlier run created for this URL, unless it has been deleted.
    fn earlier_subscription(
        &self,
        ledger: &Ledger,
        live: &[String],
        url: &str,
        listed: Option<&[Subscription]>,
    ) -> Option<KnownSubscription> {
        if self.another {
            return None;
        }
        let is_live =
            |known: &KnownSubscription| live.iter().any(|it| fingerprint(it) == known.fingerprint);
        let exists = |known: &KnownSubscription| {
            listed.is_none_or(|all| all.iter().any(|it| it.id == known.id))
        };
        let known = ledger.subscriptions.iter();
        let mut earlier = known.filter(|it| it.url == url && is_live(it) && exists(it));
        earlier.next().cloned()
    }
}

async fn report(
    id: String,
    url: String,
    requested: &[String],
    granted: Option<Subscription>,
    store: &SecretStore,
    screen: Screen,
) -> anyhow::Result<CommandStatus> {
    let not_granted = granted
        .iter()
        .flat_map(|it| it.not_granted(requested))
        .cloned();
    let live = store.secrets().await;
    let live = live.with_context(|| {
        format!("the subscription {id} is active, but the live secrets could not be counted")
    })?;
    let result = SubscribeResult {
        id,
        url,
        not_granted: not_granted.collect(),
        events: granted.map_or_else(Vec::new, |granted| granted.events),
        secret_stored_in: store.name(),
        live_secrets: live.len(),
    };
    screen.result(&result, || result.print())?;
    for event in &result.not_granted {
        screen.warn(not_granted_warning(event));
    }
    Ok(CommandStatus::action_needed_if(
        !result.not_granted.is_empty(),
    ))
}

impl SubscribeResult {
    fn print(&self) {
        let Self { id, url, .. } = self;
        print_line!(
            "{}: the subscription {id} posts to {url}",
            styled(GOOD, "subscribed")
        );
        print_line!("the signing secret is stored in {}", self.secret_stored_in);
        if self.live_secrets > 1 {
            print_line!("{} secrets are live", self.live_secrets);
        }
    }
}

async fn activate(titanx: &TitanxClient, id: &str) -> anyhow::Result<()> {
    let Err(error) = titanx.activate(id).await else {
        return Ok(());
    };
    let advice = if titanx.is_deleted(id, &error).await {
        format!(
            "the subscription {id} was deleted: re-run with --another to create a new subscription"
        )
    } else {
        format!(
            "the secret of the subscription {id} is stored, but the subscription could not be \
             activated: run this command again"
        )
    };
    Err(anyhow::Error::from(error).context(advice))
}

/// All subscriptions, or `None` if TitanX does not list them.
async fn list_subscriptions(
    titanx: &TitanxClient,
    screen: Screen,
) -> anyhow::Result<Option<Vec<Subscription>>> {
    match titanx.subscriptions().await {
        Ok(subscriptions) => Ok(Some(subscriptions)),
        Err(Error::NotSupported { .. }) => {
            screen.warn(
                "TitanX does not list subscriptions, so it is unknown whether others exist for \
                 this URL",
            );
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns an error if an active subscription for the URL exists. With two, TitanX would deliver
/// every event twice, with two delivery ids.
fn check_not_subscribed(listed: &[Subscription], url: &str, screen: Screen) -> anyhow::Result<()> {
    for subscription in listed {
        if subscription.url.as_deref() != Some(url) {
            continue;
        }
        let id = &subscription.id;
        if subscription.is_active() {
            bail!(
                "the active subscription {id} already posts to this URL: replace its secret with \
                 `operator rotate`, or re-run with --another"
            );
        }
        let status = subscription.status.as_deref();
        screen.warn(format!(
            "the subscription {id} for this URL is {}, possibly because an earlier run failed: \
             `operator delete {id} --yes` deletes it",
            escape_control(status.unwrap_or("of unknown status"))
        ));
    }
    Ok(())
}
