//! `operator contacts`

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, bail};
use aws_sdk_sqs::{
    Client,
    types::{ListMessageMoveTasksResultEntry, QueueAttributeName},
};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    commands::CommandStatus,
    screen::{GOOD, NOTICE, Screen, styled},
    stack::{Stack, StackOptions},
};

/// Move the contacts' dead letters back to the contacts queue
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator contacts redrive --stack titanx-receiver
  operator contacts redrive --stack titanx-receiver --yes")]
pub(crate) struct Contacts {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Redrive(Redrive),
}

/// Move the contacts' dead letters back to the contacts queue
///
/// Without --yes, only counts them. With --yes, SQS moves them, of a standard queue and of a FIFO
/// queue, and this command waits for the end. Their bodies, attributes and delivery ids stay the
/// same. Correct the consumer first: it receives them all again.
///
/// If the command is interrupted, SQS goes on. Run it again to watch.
///
/// Exit status 0: all were moved, or there are none. 1: SQS did not move all. 3: --yes is missing.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator contacts redrive --stack titanx-receiver
  operator contacts redrive --stack titanx-receiver --yes --per-second 10")]
struct Redrive {
    /// Move them. Without this option, only counts them
    #[arg(long)]
    yes: bool,
    /// Messages to move in a second, at most 500 [default: as many as SQS moves]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=500))]
    per_second: Option<i32>,
    #[command(flatten)]
    stack: StackOptions,
}

/// The time between two looks at the task.
const POLL: Duration = Duration::from_secs(1);

impl Contacts {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        match self.action {
            Action::Redrive(command) => command.run(screen).await,
        }
    }
}

#[derive(Serialize)]
struct Redriven {
    /// The URL of the dead-letter queue.
    from: String,
    /// The URL of the contacts queue.
    to: String,
    /// The approximate number of dead letters before.
    dead_letters: i64,
    /// The number that SQS says it has moved. Absent without `--yes`.
    moved: Option<i64>,
    /// Whether SQS was moving dead letters before this command.
    #[serde(skip)]
    was_running: bool,
}

impl Redrive {
    async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let stack = self.stack.connect().await?;
        let queues = Queues::open(&stack).await?;
        let running = queues.latest_task().await?.filter(is_running);
        let mut redriven = Redriven {
            from: queues.dead_letters_url.clone(),
            to: queues.contacts_url.clone(),
            dead_letters: queues.dead_letters().await?,
            moved: None,
            was_running: running.is_some(),
        };
        let is_due = redriven.dead_letters > 0 || redriven.was_running;
        if is_due && self.yes {
            if !redriven.was_running {
                queues.start(self.per_second).await?;
            }
            redriven.moved = Some(queues.watch(redriven.dead_letters, screen).await?);
        }
        screen.result(&redriven, || redriven.print(is_due))?;
        Ok(CommandStatus::action_needed_if(is_due && !self.yes))
    }
}

impl Redriven {
    fn print(&self, is_due: bool) {
        let Self {
            from,
            to,
            dead_letters,
            moved,
            was_running,
        } = self;
        let some = |count: i64| match count {
            1 => "1 dead letter".to_owned(),
            count => format!("{count} dead letters"),
        };
        match moved {
            Some(moved) => print_line!("{} {} to", styled(GOOD, "moved"), some(*moved)),
            None if *was_running => {
                let already = styled(NOTICE, "SQS is already moving");
                print_line!("{already} about {} to", some(*dead_letters));
            }
            None if is_due => {
                let would = styled(NOTICE, "would");
                print_line!("{would} move about {} to", some(*dead_letters));
            }
            None => print_line!("{} in", styled(GOOD, "no dead letter")),
        }
        match (moved, is_due) {
            (None, false) => print_line!("  {from}"),
            _ => print_line!("  {to}"),
        }
        match moved {
            None if *was_running => print_line!("re-run with --yes to watch"),
            None if is_due => print_line!("re-run with --yes, once the consumer can handle them"),
            _ => {}
        }
    }
}

/// The contacts queue and its dead-letter queue.
struct Queues {
    client: Client,
    contacts_url: String,
    contacts_arn: String,
    dead_letters_url: String,
    dead_letters_arn: String,
}

impl Queues {
    async fn open(stack: &Stack<'_>) -> anyhow::Result<Self> {
        let client = stack.sqs();
        let contacts_url = stack.contacts_queue_url().await?;
        let attributes = attributes(&client, &contacts_url).await?;
        let contacts_arn = attributes.get(&QueueAttributeName::QueueArn).cloned();
        let policy = attributes.get(&QueueAttributeName::RedrivePolicy);
        let policy = policy.with_context(|| {
            format!(
                "the queue {contacts_url} has no dead-letter queue: deploy the template again, or \
                 name another queue with --contacts-queue-url"
            )
        })?;
        let dead_letters_arn = dead_letter_target(policy)
            .with_context(|| format!("the redrive policy of {contacts_url} names no queue"))?;
        let name = dead_letters_arn.rsplit(':').next().unwrap_or_default();
        let got = client.get_queue_url().queue_name(name).send().await;
        let got = got.with_context(|| format!("cannot find the queue {dead_letters_arn}"))?;
        Ok(Self {
            client,
            contacts_arn: contacts_arn.context("SQS did not tell the queue's ARN")?,
            contacts_url,
            dead_letters_url: got.queue_url.context("SQS did not tell the queue's URL")?,
            dead_letters_arn,
        })
    }

    /// The approximate number of dead letters, those that somebody has received and not deleted included.
    async fn dead_letters(&self) -> anyhow::Result<i64> {
        let attributes = attributes(&self.client, &self.dead_letters_url).await?;
        let count = |name| attributes.get(&name).and_then(|it| it.parse::<i64>().ok());
        let counts = [
            count(QueueAttributeName::ApproximateNumberOfMessages),
            count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            count(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        ];
        Ok(counts.into_iter().flatten().sum())
    }

    /// Starts the task. The destination is named, since SQS knows the source of a message only if it came
    /// by the redrive policy.
    async fn start(&self, per_second: Option<i32>) -> anyhow::Result<()> {
        self.client
            .start_message_move_task()
            .source_arn(&self.dead_letters_arn)
            .destination_arn(&self.contacts_arn)
            .set_max_number_of_messages_per_second(per_second)
            .send()
            .await
            .with_context(|| format!("cannot move the messages of {}", self.dead_letters_url))?;
        Ok(())
    }

    async fn latest_task(&self) -> anyhow::Result<Option<ListMessageMoveTasksResultEntry>> {
        let list = self.client.list_message_move_tasks();
        let listed = list.source_arn(&self.dead_letters_arn).max_results(1);
        let listed = listed.send().await;
        let listed = listed
            .with_context(|| format!("cannot read the tasks of {}", self.dead_letters_url))?;
        Ok(listed.results.unwrap_or_default().into_iter().next())
    }

    /// Waits for the end of the latest task, and returns how many messages it has moved.
    async fn watch(&self, count: i64, screen: Screen) -> anyhow::Result<i64> {
        let bar = screen.progress("moving", count.unsigned_abs());
        loop {
            let task = self.latest_task().await?;
            let task = task.context("SQS does not list the task that it started")?;
            let moved = task.approximate_number_of_messages_moved();
            bar.set_position(moved.unsigned_abs());
            if is_running(&task) {
                tokio::time::sleep(POLL).await;
                continue;
            }
            bar.finish_and_clear();
            let status = task.status().unwrap_or("no status");
            if status != "COMPLETED" {
                let reason = task.failure_reason().unwrap_or("no reason given");
                bail!(
                    "SQS moved {moved} messages and then stopped ({status}: {reason}): run this \
                     command again"
                );
            }
            return Ok(moved);
        }
    }
}

fn is_running(task: &ListMessageMoveTasksResultEntry) -> bool {
    matches!(task.status(), Some("RUNNING" | "CANCELLING"))
}

async fn attributes(
    client: &Client,
    url: &str,
) -> anyhow::Result<HashMap<QueueAttributeName, String>> {
    let get = client.get_queue_attributes().queue_url(url);
    let got = get.attribute_names(QueueAttributeName::All).send().await;
    let got = got.with_context(|| format!("cannot read the attributes of {url}"))?;
    Ok(got.attributes.unwrap_or_default())
}

fn dead_letter_target(policy: &str) -> Option<String> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    Some(policy["deadLetterTargetArn"].as_str()?.to_owned())
}
