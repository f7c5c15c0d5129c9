//! `operator subscribe`
//!
//! ```text
//! create inactive ─▶ store the secret ─▶ remember ─▶ let the function take it ─▶ activate
//!                       └ fails: deactivate, tell the id
//! ```

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use crate::{
    commands::Outcome,
    deployment::Deployment,
    http::private,
    provisioning::{Settling, all_if_none, keep, remember, still_stored},
    screen::{GOOD, Screen, styled},
    store::{Known, Ledger, Place, Store, fingerprint},
    titanx::{EVENT_TYPES, Error, Subscription, Titanx},
    vendor::Vendor,
};

/// Subscribe to TitanX's events and store the signing secret
///
/// The subscription is made inactive, its secret is stored, and only then it is activated, so that
/// no event is ever signed with a secret that the receiver does not know. The secret is never
/// printed. Secrets that are stored already stay live beside it.
///
/// Safe to run again: what was begun is gone on with, and there is one subscription for a URL.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator subscribe --stack titanx-receiver
  operator subscribe --url https://example.com/webhooks/titanx --secret-file webhook-secret
  operator subscribe --stack titanx-receiver --event job.completed")]
pub(crate) struct Subscribe {
    /// Event type to subscribe to, once for each [default: all there are]
    #[arg(long = "event", value_name = "TYPE", value_parser = EVENT_TYPES)]
    events: Vec<String>,
    /// Name of the subscription, where TitanX keeps one
    #[arg(long, default_value = "titanx-receiver")]
    name: String,
    /// Subscribe although there is an active subscription for the URL: every event then comes twice
    #[arg(long)]
    another: bool,
    #[command(flatten)]
    settling: Settling,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    vendor: Vendor,
    #[command(flatten)]
    deployment: Deployment,
}

/// What was subscribed.
#[derive(Serialize)]
struct Subscribed {
    id: String,
    url: String,
    events: Vec<String>,
    not_granted: Vec<String>,
    secret_stored_in: String,
    live_secrets: usize,
}

impl Subscribe {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        let titanx = self.vendor.connect()?;
        let url = self.deployment.webhook_url().await?;
        private(&url)?;
        let store = self.place.open(&self.deployment).await?;
        let asked = all_if_none(&self.events);
        let live = store.secrets().await?;
        let mut ledger = store.ledger().await?;
        let listed = listed(&titanx, screen).await?;
        let begun = self.begun(&ledger, &live, &url, listed.as_deref());
        let (known, granted) = if let Some(known) = begun {
            screen.note(format!("{} was made for this URL before.", known.id));
            let listed = listed.into_iter().flatten().find(|it| it.id == known.id);
            (known, listed.filter(|it| !it.events.is_empty()))
        } else {
            if !self.another {
                refuse_another(listed.as_deref().unwrap_or_default(), &url, screen)?;
            }
            let new = titanx
                .subscribe(&self.name, &url, &asked, "inactive")
                .await?;
            let known = keep(&titanx, &store, &new, &url, &live).await?;
            ledger.subscriptions.push(known.clone());
            remember(&store, &ledger, &known.id).await?;
            (known, Some(new.subscription))
        };
        if !live.is_empty() {
            self.settling.wait(known.stored_ms, screen).await;
        }
        still_stored(&titanx, &store, &known).await?;
        let Known { id, .. } = known;
        let is_active = granted.as_ref().is_some_and(Subscription::is_active);
        if !is_active {
            activate(&titanx, &id).await?;
        }
        self.tell(id, url, &asked, granted, &store, screen).await
    }

    /// The subscription that an earlier run made for this URL, unless it was deleted since.
    fn begun(
        &self,
        ledger: &Ledger,
        live: &[String],
        url: &str,
        listed: Option<&[Subscription]>,
    ) -> Option<Known> {
        if self.another {
            return None;
        }
        let is_live = |known: &Known| live.iter().any(|it| fingerprint(it) == known.secret);
        let exists =
            |known: &Known| listed.is_none_or(|all| all.iter().any(|it| it.id == known.id));
        let known = ledger.subscriptions.iter();
        let mut begun = known.filter(|it| it.url == url && is_live(it) && exists(it));
        begun.next().cloned()
    }

    async fn tell(
        &self,
        id: String,
        url: String,
        asked: &[String],
        granted: Option<Subscription>,
        store: &Store,
        screen: Screen,
    ) -> anyhow::Result<Outcome> {
        let not_granted = granted.iter().flat_map(|it| it.not_granted(asked)).cloned();
        let subscribed = Subscribed {
            id,
            url,
            not_granted: not_granted.collect(),
            events: granted.map_or_else(Vec::new, |granted| granted.events),
            secret_stored_in: store.name(),
            live_secrets: store.secrets().await?.len(),
        };
        screen.result(&subscribed, || subscribed.print())?;
        for event in &subscribed.not_granted {
            screen.warn(format!("TitanX did not grant {event}"));
        }
        Ok(Outcome::findings_if(!subscribed.not_granted.is_empty()))
    }
}

impl Subscribed {
    fn print(&self) {
        say!("{} {} → {}", styled(GOOD, "subscribed"), self.id, self.url);
        say!("the signing secret is stored in {}", self.secret_stored_in);
        if self.live_secrets > 1 {
            say!("{} secrets are live there", self.live_secrets);
        }
    }
}

async fn activate(titanx: &Titanx, id: &str) -> anyhow::Result<()> {
    let Err(error) = titanx.activate(id).await else {
        return Ok(());
    };
    let advice = if titanx.is_gone(id, &error).await {
        format!("{id} was deleted; say --another to make a new one")
    } else {
        format!("{id} is not active yet, its secret is stored; run this command again")
    };
    Err(anyhow::Error::from(error).context(advice))
}

/// Every subscription there is, where TitanX tells.
async fn listed(titanx: &Titanx, screen: Screen) -> anyhow::Result<Option<Vec<Subscription>>> {
    match titanx.subscriptions().await {
        Ok(subscriptions) => Ok(Some(subscriptions)),
        Err(Error::NotSupported { .. }) => {
            screen
                .warn("TitanX does not list subscriptions: whether there are others is not known");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Two active subscriptions for one URL would deliver every event twice, under two ids.
fn refuse_another(listed: &[Subscription], url: &str, screen: Screen) -> anyhow::Result<()> {
    for subscription in listed {
        if subscription.url.as_deref() != Some(url) {
            continue;
        }
        let id = &subscription.id;
        if subscription.is_active() {
            bail!(
                "{id} is subscribed to this URL already; rotate its secret with `operator rotate`, \
                 or say --another"
            );
        }
        screen.warn(format!(
            "{id} is an inactive subscription for this URL, maybe left by a failure; \
             `operator delete {id}` removes it"
        ));
    }
    Ok(())
}
