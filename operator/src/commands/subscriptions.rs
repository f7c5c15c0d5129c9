//! `operator subscriptions`, `pause`, `resume`, `delete`

use clap::Args;
use serde::Serialize;

use crate::{
    commands::Outcome,
    screen::{GOOD, NOTICE, Screen, styled, table},
    vendor::Vendor,
};

/// List TitanX's webhook subscriptions
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator subscriptions
  operator subscriptions --json | jq -r '.[] | select(.status == \"active\") | .id'")]
pub(crate) struct List {
    #[command(flatten)]
    vendor: Vendor,
}

/// Deactivate a subscription for a while
///
/// TitanX keeps it, and presumably drops what happens meanwhile: `operator reconcile` finds the
/// contacts again, job by job.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator pause 6f1c… --yes")]
pub(crate) struct Pause {
    #[command(flatten)]
    which: Which,
    /// Do it: events are lost meanwhile
    #[arg(long)]
    yes: bool,
}

/// Activate a subscription
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator resume 6f1c…")]
pub(crate) struct Resume {
    #[command(flatten)]
    which: Which,
}

/// Delete a subscription
///
/// Its secret stays stored until `operator rotate` removes it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator delete 6f1c… --yes")]
pub(crate) struct Delete {
    #[command(flatten)]
    which: Which,
    /// Do it: a deleted subscription and its secret cannot be had again
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct Which {
    /// Id of the subscription
    id: String,
    #[command(flatten)]
    vendor: Vendor,
}

#[derive(Serialize)]
struct Changed<'a> {
    id: &'a str,
    /// What was done, or would be with `--yes`.
    action: &'a str,
    done: bool,
}

impl List {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        let subscriptions = self.vendor.connect()?.subscriptions().await?;
        screen.result(&subscriptions, || {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let rows = subscriptions.iter().map(|it| {
                let events = it.events.join(" ");
                [
                    it.id.clone(),
                    or_dash(&it.status),
                    events,
                    or_dash(&it.url),
                    or_dash(&it.name),
                ]
            });
            table(["ID", "STATUS", "EVENTS", "URL", "NAME"], rows);
        })?;
        Ok(Outcome::Done)
    }
}

impl Pause {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        if !self.yes {
            return self.which.would(screen, "pause");
        }
        self.which
            .vendor
            .connect()?
            .deactivate(&self.which.id)
            .await?;
        self.which.did(screen, "pause", "paused")
    }
}

impl Resume {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        self.which
            .vendor
            .connect()?
            .activate(&self.which.id)
            .await?;
        self.which.did(screen, "resume", "resumed")
    }
}

impl Delete {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        if !self.yes {
            return self.which.would(screen, "delete");
        }
        self.which.vendor.connect()?.delete(&self.which.id).await?;
        self.which.did(screen, "delete", "deleted")
    }
}

impl Which {
    fn would(&self, screen: Screen, action: &str) -> anyhow::Result<Outcome> {
        let Self { id, .. } = self;
        let changed = Changed {
            id,
            action,
            done: false,
        };
        screen.result(&changed, || {
            say!("{} {action} {id}: say --yes", styled(NOTICE, "would"));
        })?;
        Ok(Outcome::Findings)
    }

    fn did(&self, screen: Screen, action: &str, did: &str) -> anyhow::Result<Outcome> {
        let Self { id, .. } = self;
        let changed = Changed {
            id,
            action,
            done: true,
        };
        screen.result(&changed, || {
            say!("{} {id}", styled(GOOD, did));
        })?;
        Ok(Outcome::Done)
    }
}
