//! The operator's commands against a model of them: in small random worlds, the command runs with random
//! options, and an oracle, written from the documents, says what must come of it.
//!
//! ```sh
//! cargo test -p titanx-operator model:: -- --nocapture
//! ```
//!
//! Each command has a module with its world and its oracle. [`Model::run`] compares what the oracle expects
//! with what happened: the exit status, the JSON document or words of the text, the calls that change
//! something, in their order, and everything that tables, queues, the secret and TitanX hold afterwards.
//! What the oracle does not mention must not have changed.
//!
//! The worlds are made of a number, the seed, so that a failure can be repeated. A test that fails prints the seed, and
//! what was done in its world. The ids that SQS and TitanX give are not of the seed, so messages of one
//! millisecond may come in another order.
//!
//! Not modelled: failures of AWS and TitanX, what changes while a command runs, `reconcile`, `heal`, `doctor`,
//! `contacts`, `listen` and `send`.

mod delivery;
mod jobs;
mod provisioning;
mod quarantine;
mod status;
mod subscriptions;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    thread,
};

use serde::Serialize;
use serde_json::{Value, json};
use titanx_testbed::emulators::{Item, Message};

use crate::{
    System,
    operator::{Operator, Run},
    order::Journal,
    titanx_api::Form,
};

/// Everything that a command may change, by a name: `deliveries/ID`, `quarantine/MESSAGE`, `secret` …
type State = BTreeMap<String, Value>;

/// A world in which commands run, with the choices that make it.
struct Model {
    system: System,
    form: Form,
    journal: Journal,
    operator: Operator,
    dice: Dice,
    story: Story,
}

/// What must come of a command.
struct Expected {
    status: i32,
    /// The document of `--json`; none if the command fails before it has a result.
    json: Option<Value>,
    /// What is said where no program reads it, on either output.
    said: Vec<String>,
    /// The calls that change something, in their order.
    calls: Vec<String>,
    state: State,
}

/// Choices made of a seed.
struct Dice(fastrand::Rng);

/// What was done in a world, printed if the test fails there.
struct Story {
    seed: u64,
    lines: Vec<String>,
}

/// Lets `story` happen in the worlds of all seeds, some of them at once, since most of the time is waiting.
fn in_worlds(seeds: Range<u64>, story: impl Fn(&mut Model) + Sync) {
    const AT_ONCE: usize = 8;
    let seeds: Vec<_> = seeds.collect();
    thread::scope(|scope| {
        for part in 0..AT_ONCE {
            let seeds = seeds.iter().skip(part).step_by(AT_ONCE);
            let story = &story;
            scope.spawn(move || seeds.for_each(|&seed| story(&mut Model::new(seed))));
        }
    });
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(fastrand::Rng::with_seed(seed));
        let form = dice.one_of(&[Form::Schema, Form::Prose]);
        let system = System::start(form);
        let (journal, operator) = Journal::of(&system);
        // Wide enough for every table.
        let operator = operator.set("COLUMNS", "400");
        let lines = Vec::new();
        Self {
            system,
            form,
            journal,
            operator,
            dice,
            story: Story { seed, lines },
        }
    }

    fn note(&mut self, line: impl Into<String>) {
        self.story.lines.push(line.into());
    }

    fn state(&self) -> State {
        let System { api, emulators, .. } = &self.system;
        let mut state = State::new();
        for (table, key, items) in [
            ("deliveries", "delivery_id", emulators.deliveries.items()),
            ("jobs", "job_id", emulators.jobs.items()),
            ("checks", "check_id", emulators.checks.items()),
        ] {
            for item in items {
                let item = to_json(&item);
                let id = item[key]["S"].as_str().expect("a key").to_owned();
                state.insert(format!("{table}/{id}"), item);
            }
        }
        for (queue, messages) in [
            ("contacts", emulators.contacts.messages()),
            ("quarantine", emulators.quarantine.messages()),
        ] {
            let named = |it: Message| (format!("{queue}/{}", it.id), message(&it));
            state.extend(messages.into_iter().map(named));
        }
        state.insert("secret".to_owned(), json!(self.system.live_secrets()));
        let ledger = emulators.secret.staged("OPERATOR_LEDGER");
        let ledger = ledger.map(|it| serde_json::from_str(&it).expect("the ledger is JSON"));
        state.extend(ledger.map(|it: Value| ("ledger".to_owned(), it)));
        for it in api.subscriptions() {
            let told = json!({"url": it.url, "events": it.events, "active": it.active, "secret": it.secret});
            state.insert(format!("subscriptions/{}", it.id), told);
        }
        state
    }

    /// Runs a command. `expected` is told what was before, and what is after, of which it may take only what
    /// nobody can know before: new ids, and times.
    fn run(&mut self, line: &str, expected: impl FnOnce(&State, &State, &Run) -> Expected) -> Run {
        self.note(format!("operator {line}"));
        let before = self.state();
        let calls = self.calls().len();
        let run = self.operator.run(line);
        self.settle();
        let after = self.state();
        let mut made = self.calls().split_off(calls);
        // A creation that is refused is tried in other forms.
        made.dedup_by(|a, b| a == b && a == "POST /webhooks");
        let Expected {
            status,
            json,
            said,
            calls,
            state,
        } = expected(&before, &after, &run);
        let Run { stdout, stderr, .. } = &run;
        self.note(format!("{}: {stdout}{stderr}", run.status));
        assert_eq!(run.status, status, "exit status");
        if line.contains("--json") {
            let printed = (!stdout.is_empty()).then(|| run.json());
            assert_eq!(printed, json, "the document");
        } else {
            for words in said {
                assert!(
                    stdout.contains(&words) || stderr.contains(&words),
                    "{words}"
                );
            }
        }
        assert!(status != 1 || !stderr.is_empty(), "no reason is given");
        assert_eq!(
            changes(&before, &after),
            changes(&before, &state),
            "what has changed"
        );
        assert_eq!(made, calls, "calls that change something");
        run
    }

    /// Waits until the receiver has done what follows its answers.
    fn settle(&self) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().expect("a runtime");
        runtime.block_on(self.system.gateway.idle());
    }

    /// The operator's calls that change something.
    fn calls(&self) -> Vec<String> {
        let mut calls = self.journal.calls_with_ids(&self.system);
        let reads = ["Get", "GET", "Scan", "Describe", "Receive"];
        calls.retain(|it| !reads.iter().any(|read| it.starts_with(read)));
        calls
    }
}

impl Expected {
    /// Nothing changes.
    fn unchanged(status: i32, before: &State) -> Self {
        Self {
            status,
            json: None,
            said: Vec::new(),
            calls: Vec::new(),
            state: before.clone(),
        }
    }
}

impl Dice {
    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.0.usize(..all.len())].clone()
    }

    fn percent(&mut self, percent: u8) -> bool {
        self.0.u8(..100) < percent
    }

    /// Some of them, in their order.
    fn some<T: Clone>(&mut self, all: &[T]) -> Vec<T> {
        all.iter().filter(|_| self.percent(50)).cloned().collect()
    }

    /// The option, or nothing.
    fn option(&mut self, percent: u8, option: &str) -> String {
        let given = self.percent(percent);
        if given {
            format!(" {option}")
        } else {
            String::new()
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "in the world of seed {}:\n{}",
                self.seed,
                self.lines.join("\n")
            );
        }
    }
}

/// What differs: the value before, and the value after.
fn changes(before: &State, after: &State) -> BTreeMap<String, [Option<Value>; 2]> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changes = names.into_iter().map(|name| {
        let values = [before, after].map(|it| it.get(name).cloned());
        (name.clone(), values)
    });
    changes
        .filter(|(_, [before, after])| before != after)
        .collect()
}

fn message(message: &Message) -> Value {
    let attributes = message.attributes.keys();
    let attributes: BTreeMap<_, _> = attributes
        .map(|name| (name, message.attribute(name)))
        .collect();
    json!({"body": message.body, "attributes": attributes, "group": message.group_id})
}

fn to_json(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("it is JSON")
}

fn item(record: &Value) -> Item {
    serde_json::from_value(record.clone()).expect("a record as DynamoDB has it")
}
