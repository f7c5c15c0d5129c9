//! The operator's command, run as a person runs it.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use titanx_testbed::{emulators::Emulators, gateway::Gateway};

use crate::titanx_api::{API_KEY, TitanxApi};

/// Somebody at a shell: what is set there and nothing else.
#[derive(Clone, Default)]
pub(crate) struct Operator {
    environment: BTreeMap<String, String>,
}

/// What a run came to.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Operator {
    /// With an API key for this TitanX.
    pub(crate) fn of_titanx(api: &TitanxApi) -> Self {
        Self::default()
            .set("TITANX_API_URL", &api.url)
            .set("TITANX_API_KEY", API_KEY)
    }

    /// With everything that the emulated system is called.
    pub(crate) fn of_system(mut self, emulators: &Emulators, gateway: &Gateway) -> Self {
        for (name, value) in emulators.environment() {
            self = self.set(name, value);
        }
        self.set("WEBHOOK_URL", &gateway.url)
            // One attempt, so that a fault is met and not repeated away.
            .set("AWS_MAX_ATTEMPTS", "1")
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Runs the command with these arguments, the words of `line`.
    pub(crate) fn run(&self, line: &str) -> Run {
        self.run_with(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn run_with(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output();
        output.expect("the command can be started").into()
    }

    /// Starts the command and does not wait for it.
    pub(crate) fn start(&self, line: &str) -> Child {
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the command can be started")
    }

    /// The exit status of a run whose output nobody reads, not even its errors.
    pub(crate) fn run_unread(&self, line: &str) -> Option<i32> {
        let unread = || {
            let (_reader, writer) = std::io::pipe().expect("a pipe can be had");
            writer
        };
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        let status = command.stdout(unread()).stderr(unread()).status();
        status.expect("the command can be started").code()
    }

    /// Runs the command with its output going to a file.
    pub(crate) fn run_into(&self, file: &str, line: &str) -> Run {
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        let file = std::fs::File::create(file).expect("the file can be written");
        let output = command.stdout(file).stderr(Stdio::piped()).spawn();
        let output = output.and_then(Child::wait_with_output);
        output.expect("the command can be started").into()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_operator"));
        command
            .args(arguments)
            .env_clear()
            .env("COLUMNS", "100")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(&self.environment);
        command
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the command writes text");
        Self {
            status: output.status.code().expect("the command ends by itself"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Run {
    /// Makes sure of the exit status, and shows what was said if it is another.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The result of a run with `--json`.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}\n{}", self.stdout, self.stderr);
        })
    }

    /// Makes sure that none of these stand in what was printed.
    #[track_caller]
    pub(crate) fn tells_nothing_of(self, secrets: &[&str]) -> Self {
        for secret in secrets {
            assert!(!self.stdout.contains(secret), "{secret}: {}", self.stdout);
            assert!(!self.stderr.contains(secret), "{secret}: {}", self.stderr);
        }
        self
    }
}
