//! The commands, one file each.

mod completions;
mod contacts;
mod delivery;
mod doctor;
mod heal;
mod jobs;
mod listen;
mod quarantine;
mod reconcile;
mod rotate;
mod send;
mod status;
mod subscribe;
mod subscriptions;
mod verify_sample;

use clap::Subcommand;

use crate::screen::Screen;

#[derive(Subcommand)]
pub(crate) enum Command {
    Subscribe(subscribe::Subscribe),
    Rotate(rotate::Rotate),
    Subscriptions(subscriptions::Subscriptions),
    Pause(subscriptions::Pause),
    Resume(subscriptions::Resume),
    Delete(subscriptions::Delete),
    Status(status::Status),
    Jobs(jobs::Jobs),
    Delivery(delivery::Delivery),
    Reconcile(reconcile::Reconcile),
    Heal(heal::Heal),
    Contacts(contacts::Contacts),
    Quarantine(quarantine::Quarantine),
    Send(send::Send),
    Listen(listen::Listen),
    VerifySample(verify_sample::VerifySample),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
}

impl Command {
    /// Runs the command. `operator` is the command line that it was part of.
    pub(crate) async fn run(
        self,
        operator: clap::Command,
        screen: Screen,
    ) -> anyhow::Result<CommandStatus> {
        match self {
            Self::Subscribe(command) => command.run(screen).await,
            Self::Rotate(command) => command.run(screen).await,
            Self::Subscriptions(command) => command.run(screen).await,
            Self::Pause(command) => command.run(screen).await,
            Self::Resume(command) => command.run(screen).await,
            Self::Delete(command) => command.run(screen).await,
            Self::Status(command) => command.run(screen).await,
            Self::Jobs(command) => command.run(screen).await,
            Self::Delivery(command) => command.run(screen).await,
            Self::Reconcile(command) => command.run(screen).await,
            Self::Heal(command) => command.run(screen).await,
            Self::Contacts(command) => command.run(screen).await,
            Self::Quarantine(command) => command.run(screen).await,
            Self::Send(command) => command.run(screen).await,
            Self::Listen(command) => command.run(screen).await,
            Self::VerifySample(command) => command.run(screen).await,
            Self::Doctor(command) => command.run(screen).await,
            Self::Completions(command) => command.run(operator),
        }
    }
}

/// The status of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandStatus {
    /// Exit status 0.
    Success,
    /// Exit status 3: the operator has to act on what the command printed.
    ActionNeeded,
}

impl CommandStatus {
    pub(crate) fn action_needed_if(needed: bool) -> Self {
        if needed {
            Self::ActionNeeded
        } else {
            Self::Success
        }
    }
}
