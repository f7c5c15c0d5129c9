//! `operator subscriptions`, `pause`, `resume`, `delete`

use clap::Args;
use serde::Serialize;

use crate::{
    commands::CommandStatus,
    screen::{GOOD, NOTICE, Screen, styled, table},
    titanx::TitanxOptions,
};

/// List the webhook subscriptions at TitanX
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator subscriptions
  operator subscriptions --json | jq -r '.[] | select(.status == \"active\") | .id'")]
pub(crate) struct Subscriptions {
    #[command(flatten)]
    titanx: TitanxOptions,
}

/// Deactivate a subscription temporarily
///
/// The subscription stays at TitanX, but TitanX presumably drops the events of an inactive
/// subscription. Use `operator reconcile` to recover the contacts of the affected jobs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator pause 6f1c… --yes")]
pub(crate) struct Pause {
    /// Deactivate the subscription. Without this option, nothing is changed
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: TargetSubscription,
}

/// Activate a paused subscription
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator resume 6f1c…")]
pub(crate) struct Resume {
    #[command(flatten)]
    target: TargetSubscription,
}

/// Delete a subscription
///
/// A deleted subscription cannot be restored. Its secret stays in Secrets Manager until `operator
/// rotate` removes it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator delete 6f1c… --yes")]
pub(crate) struct Delete {
    /// Delete the subscription. Without this option, nothing is changed
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: TargetSubscription,
}

#[derive(Debug, Args)]
struct TargetSubscription {
    /// Subscription id
    id: String,
    #[command(flatten)]
    titanx: TitanxOptions,
}

/// A change of a subscription, made or only described.
#[derive(Serialize)]
struct Change<'a> {
    id: &'a str,
    action: &'a str,
    /// Whether the change was made. Without `--yes` it is only described.
    done: bool,
}

impl Subscriptions {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let subscriptions = self.titanx.connect()?.subscriptions().await?;
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
        Ok(CommandStatus::Success)
    }
}

impl Pause {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        if !self.yes {
            return self.target.report_dry_run(screen, "pause");
        }
        let titanx = self.target.titanx.connect()?;
        titanx.deactivate(&self.target.id).await?;
        self.target.report_change(screen, "pause", "paused")
    }
}

impl Resume {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let titanx = self.target.titanx.connect()?;
        titanx.activate(&self.target.id).await?;
        self.target.report_change(screen, "resume", "resumed")
    }
}

impl Delete {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        if !self.yes {
            return self.target.report_dry_run(screen, "delete");
        }
        let titanx = self.target.titanx.connect()?;
        titanx.delete(&self.target.id).await?;
        self.target.report_change(screen, "delete", "deleted")
    }
}

impl TargetSubscription {
    fn report_dry_run(&self, screen: Screen, action: &str) -> anyhow::Result<CommandStatus> {
        let Self { id, .. } = self;
        let change = Change {
            id,
            action,
            done: false,
        };
        screen.result(&change, || {
            print_line!(
                "{} {action} the subscription {id}: re-run with --yes",
                styled(NOTICE, "would")
            );
        })?;
        Ok(CommandStatus::ActionNeeded)
    }

    fn report_change(
        &self,
        screen: Screen,
        action: &str,
        past_tense: &str,
    ) -> anyhow::Result<CommandStatus> {
        let Self { id, .. } = self;
        let change = Change {
            id,
            action,
            done: true,
        };
        screen.result(&change, || {
            print_line!("{} the subscription {id}", styled(GOOD, past_tense));
        })?;
        Ok(CommandStatus::Success)
    }
}
