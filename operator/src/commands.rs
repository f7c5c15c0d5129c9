//! The commands, one file each.

mod completions;
mod doctor;
mod jobs;
mod quarantine;
mod reconcile;
mod rotate;
mod send;
mod subscribe;
mod subscriptions;
mod verify_sample;

use clap::Subcommand;

use crate::screen::Screen;

#[derive(Subcommand)]
pub(crate) enum Command {
    Subscribe(subscribe::Subscribe),
    Rotate(rotate::Rotate),
    Subscriptions(subscriptions::List),
    Pause(subscriptions::Pause),
    Resume(subscriptions::Resume),
    Delete(subscriptions::Delete),
    Jobs(jobs::Jobs),
    Reconcile(reconcile::Reconcile),
    Quarantine(quarantine::Quarantine),
    Send(send::Send),
    VerifySample(verify_sample::VerifySample),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
}

impl Command {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<Outcome> {
        match self {
            Self::Subscribe(it) => it.run(screen).await,
            Self::Rotate(it) => it.run(screen).await,
            Self::Subscriptions(it) => it.run(screen).await,
            Self::Pause(it) => it.run(screen).await,
            Self::Resume(it) => it.run(screen).await,
            Self::Delete(it) => it.run(screen).await,
            Self::Jobs(it) => it.run(screen).await,
            Self::Reconcile(it) => it.run(screen).await,
            Self::Quarantine(it) => it.run(screen).await,
            Self::Send(it) => it.run(screen).await,
            Self::VerifySample(it) => it.run(screen).await,
            Self::Doctor(it) => it.run(screen).await,
            Self::Completions(it) => it.run(),
        }
    }
}

/// What a command that did not fail comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Something is left for a person to do.
    Findings,
}

impl Outcome {
    pub(crate) fn findings_if(any: bool) -> Self {
        if any { Self::Findings } else { Self::Done }
    }
}
