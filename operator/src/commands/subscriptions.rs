//! `operator subscriptions`, `pause`, `resume`, `delete`

use clap::Args;
use serde::Serialize;
use titanx_client::Subscription;

use crate::{
    commands::CommandStatus,
    plain_error::PlainError,
    screen::{GOOD, NOTICE, Screen, styled, table},
    stack::StackOptions,
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
    #[command(flatten)]
    stack: StackOptions,
}

/// A change of a subscription, made or only described.
#[derive(Serialize)]
struct Change<'a> {
    id: &'a str,
    action: &'a str,
    /// Whether the change was made. Without `--yes` it is only described.
    done: bool,
    /// Whether the subscription delivers events to this stack, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<bool>,
    /// What the change means.
    #[serde(skip_serializing_if = "Option::is_none")]
    consequence: Option<String>,
}

/// What deactivating or deleting a subscription means.
struct Effect {
    live: Option<bool>,
    consequence: String,
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
        let effect = Some(self.target.effect().await);
        if !self.yes {
            return self.target.report_dry_run(screen, "pause", effect);
        }
        let titanx = self.target.titanx.connect()?;
        titanx.deactivate(&self.target.id).await?;
        self.target.report_change(screen, "pause", "paused", effect)
    }
}

impl Resume {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let titanx = self.target.titanx.connect()?;
        titanx.activate(&self.target.id).await?;
        self.target.report_change(screen, "resume", "resumed", None)
    }
}

impl Delete {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let effect = Some(self.target.effect().await);
        if !self.yes {
            return self.target.report_dry_run(screen, "delete", effect);
        }
        let titanx = self.target.titanx.connect()?;
        titanx.delete(&self.target.id).await?;
        self.target
            .report_change(screen, "delete", "deleted", effect)
    }
}

impl TargetSubscription {
    /// What it means that the subscription delivers no more events. Failing to find out does not stop
    /// the command.
    async fn effect(&self) -> Effect {
        let known = async {
            let listed = self.titanx.connect()?.subscriptions().await?;
            let url = self.stack.webhook_url().await?;
            anyhow::Ok((listed, url))
        };
        match known.await {
            Ok((listed, url)) => effect(&self.id, &listed, &url),
            Err(error) => {
                let error = PlainError(error.as_ref());
                Effect {
                    live: None,
                    consequence: format!(
                        "it is unknown whether this is the live subscription of the stack ({error}); \
                         TitanX presumably drops the events of a subscription that is not active"
                    ),
                }
            }
        }
    }

    fn report_dry_run(
        &self,
        screen: Screen,
        action: &str,
        effect: Option<Effect>,
    ) -> anyhow::Result<CommandStatus> {
        let Self { id, .. } = self;
        let change = Change::new(id, action, false, effect);
        screen.result(&change, || {
            print_line!(
                "{} {action} the subscription {id}: re-run with --yes",
                styled(NOTICE, "would")
            );
            change.print_consequence();
        })?;
        Ok(CommandStatus::ActionNeeded)
    }

    fn report_change(
        &self,
        screen: Screen,
        action: &str,
        past_tense: &str,
        effect: Option<Effect>,
    ) -> anyhow::Result<CommandStatus> {
        let Self { id, .. } = self;
        let change = Change::new(id, action, true, effect);
        screen.result(&change, || {
            print_line!("{} the subscription {id}", styled(GOOD, past_tense));
            change.print_consequence();
        })?;
        Ok(CommandStatus::Success)
    }
}

impl<'a> Change<'a> {
    fn new(id: &'a str, action: &'a str, done: bool, effect: Option<Effect>) -> Self {
        let (live, consequence) = effect.map_or((None, None), |it| (it.live, Some(it.consequence)));
        Self {
            id,
            action,
            done,
            live,
            consequence,
        }
    }

    fn print_consequence(&self) {
        if let Some(consequence) = &self.consequence {
            print_line!("{consequence}");
        }
    }
}

/// What it means for the stack at `url` that the subscription `id` delivers no more events.
fn effect(id: &str, listed: &[Subscription], url: &str) -> Effect {
    let known = |live, consequence: String| Effect {
        live: Some(live),
        consequence,
    };
    let Some(target) = listed.iter().find(|it| it.id == id) else {
        return known(false, format!("TitanX lists no subscription {id}"));
    };
    if target.url.as_deref() != Some(url) {
        let other = target.url.as_deref().unwrap_or("an unknown URL");
        return known(
            false,
            format!("it posts to {other}, which is not this stack's webhook URL"),
        );
    }
    if !target.is_active() {
        let status = target.status.as_deref().unwrap_or("of unknown status");
        return known(false, format!("it is {status}, so it delivers no events"));
    }
    let others = listed
        .iter()
        .filter(|it| it.id != id && it.is_active() && it.url.as_deref() == Some(url));
    let others: Vec<_> = others.map(|it| it.id.as_str()).collect();
    if others.is_empty() {
        return known(
            true,
            "it is the live subscription of this stack, and the only one: without it, no events \
             arrive, and TitanX presumably drops them; `operator reconcile` recovers their contacts"
                .to_owned(),
        );
    }
    known(
        true,
        format!(
            "it is a live subscription of this stack; events still arrive through {}",
            others.join(", ")
        ),
    )
}
