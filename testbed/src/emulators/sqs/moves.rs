//! Tasks that move the messages of a dead-letter queue. SQS moves them in the background; here they
//! move whenever somebody looks.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::protocol::Refusal;
use super::{State, arn};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StartMessageMoveTask {
    source_arn: String,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListMessageMoveTasks {
    source_arn: String,
    max_results: Option<usize>,
}

/// One task.
pub(super) struct MoveTask {
    handle: String,
    source: String,
    destination: String,
    per_second: Option<u64>,
    started: Duration,
    to_move: usize,
    moved: usize,
    status: &'static str,
    failure: Option<&'static str>,
}

impl MoveTask {
    fn is_running(&self) -> bool {
        self.status == "RUNNING"
    }

    fn describe(&self) -> Value {
        let mut entry = json!({
            "Status": self.status,
            "SourceArn": arn(&self.source),
            "DestinationArn": arn(&self.destination),
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "StartedTimestamp": u64::try_from(self.started.as_millis()).unwrap_or(u64::MAX),
        });
        let entry_members = entry.as_object_mut().expect("written as one above");
        let optional = [
            ("TaskHandle", self.is_running().then(|| json!(self.handle))),
            (
                "MaxNumberOfMessagesPerSecond",
                self.per_second.map(|it| json!(it)),
            ),
            ("FailureReason", self.failure.map(|it| json!(it))),
        ];
        let optional = optional.into_iter();
        entry_members.extend(optional.filter_map(|(name, it)| Some((name.to_owned(), it?))));
        entry
    }
}

impl State {
    /// Starts a task. Only the dead-letter queue of another queue can be a source.
    pub(super) fn start_move(
        &mut self,
        request: &StartMessageMoveTask,
        now: Duration,
    ) -> Result<Value, Refusal> {
        let source = name(&request.source_arn);
        if !self.queues.contains_key(&source) {
            return Err(no_such_source());
        }
        let feeds = |target: &String| *target == request.source_arn;
        let origins = self.queues.iter();
        let mut origins =
            origins.filter(|(_, it)| it.dead_letter_target().is_some_and(|it| feeds(&it)));
        let origin = origins.next().map(|(name, _)| name.clone());
        let Some(origin) = origin else {
            return Err(Refusal::new(
                "InvalidParameterValue",
                "Source queue must be configured as a Dead Letter Queue.",
            ));
        };
        let destination = request.destination_arn.as_deref().map_or(origin, name);
        let [from, to] = [&source, &destination].map(|name| self.queues.get(name));
        let to = to.ok_or_else(no_such_source)?;
        if from.is_some_and(|from| from.is_fifo() != to.is_fifo()) {
            return Err(Refusal::new(
                "InvalidParameterValue",
                "Source and destination must be queues of one type.",
            ));
        }
        self.advance_moves(now);
        if self
            .moves
            .iter()
            .any(|it| it.source == source && it.is_running())
        {
            return Err(Refusal::new(
                "UnsupportedOperation",
                "There is already a task running. Only one active task is allowed for a source queue \
                 arn at a given time.",
            ));
        }
        let handle = Uuid::new_v4().to_string();
        self.moves.push(MoveTask {
            handle: handle.clone(),
            to_move: self.queues[&source].visible(now),
            source,
            destination,
            per_second: request.max_number_of_messages_per_second,
            started: now,
            moved: 0,
            status: "RUNNING",
            failure: None,
        });
        Ok(json!({ "TaskHandle": handle }))
    }

    /// The tasks of a source, the latest first.
    pub(super) fn list_moves(
        &mut self,
        request: &ListMessageMoveTasks,
        now: Duration,
    ) -> Result<Value, Refusal> {
        let source = name(&request.source_arn);
        if !self.queues.contains_key(&source) {
            return Err(no_such_source());
        }
        self.advance_moves(now);
        let of_source = self.moves.iter().rev().filter(|it| it.source == source);
        let latest = of_source.take(request.max_results.unwrap_or(1));
        let results: Vec<_> = latest.map(MoveTask::describe).collect();
        let answer = Map::from_iter([("Results".to_owned(), Value::from(results))]);
        Ok(answer.into())
    }

    /// Moves what the running tasks have had the time for.
    pub(super) fn advance_moves(&mut self, now: Duration) {
        for task in self.moves.iter_mut().filter(|it| it.is_running()) {
            let elapsed = now.saturating_sub(task.started).as_secs();
            let allowed = task.per_second.map_or(u64::MAX, |it| it * elapsed);
            let allowed = usize::try_from(allowed).unwrap_or(usize::MAX) - task.moved;
            let limit = self.queues[&task.destination].max_message_size();
            let source = self.queues.get_mut(&task.source);
            let messages = source.expect("queues stay").take_visible(allowed, now);
            // What is too large stays. AWS documents no reasons.
            let (fit, large): (Vec<_>, Vec<_>) =
                messages.into_iter().partition(|it| it.body.len() <= limit);
            task.moved += fit.len();
            if !large.is_empty() {
                task.status = "FAILED";
                task.failure = Some("InvalidParameterValue");
            }
            let destination = self.queues.get_mut(&task.destination);
            destination.expect("queues stay").adopt_anew(fit, now);
            let source = self.queues.get_mut(&task.source).expect("queues stay");
            source.adopt(large, now);
            if task.is_running() && source.visible(now) == 0 {
                task.status = "COMPLETED";
            }
        }
    }
}

fn name(arn: &str) -> String {
    arn.rsplit(':').next().unwrap_or_default().to_owned()
}

fn no_such_source() -> Refusal {
    Refusal::new(
        "ResourceNotFoundException",
        "The resource that you specified does not exist.",
    )
}
