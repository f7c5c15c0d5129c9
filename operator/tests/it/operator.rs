//! Runs the operator's command as a child process.

use std::{
    collections::BTreeMap,
    fs::File,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use rustix::{
    fs::{self, Mode, OFlags},
    pty::{self, OpenptFlags},
};
use serde_json::Value;
use titanx_testbed::{emulators::Emulators, gateway::Gateway};

use crate::titanx_api::{API_KEY, TitanxApi};

/// The operator's command with a set of environment variables, and no others.
#[derive(Clone, Default)]
pub(crate) struct Operator {
    environment: BTreeMap<String, String>,
    /// What TitanX has told in confidence so far, with the contacts or without.
    confidential: Option<Arc<dyn Fn(bool) -> Vec<String> + Send + Sync>>,
}

/// The result of a run.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Operator {
    /// With the URL and an API key of this TitanX.
    pub(crate) fn with_titanx(api: &TitanxApi) -> Self {
        let operator = Self {
            confidential: Some(Arc::new(api.confidential())),
            ..Self::default()
        };
        operator
            .set("TITANX_API_URL", &api.url)
            .set("TITANX_API_KEY", API_KEY)
    }

    /// With the names of the emulated resources and the URL of this gateway.
    pub(crate) fn with_system(mut self, emulators: &Emulators, gateway: &Gateway) -> Self {
        for (name, value) in emulators.environment() {
            self = self.set(name, value);
        }
        self.set("WEBHOOK_URL", &gateway.url)
            // One attempt, so that the SDK does not retry after an injected fault.
            .set("AWS_MAX_ATTEMPTS", "1")
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Whether a variable has this value.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.environment.get(name).is_some_and(|it| it == value)
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Runs the command with the words of `line` as arguments.
    pub(crate) fn run(&self, line: &str) -> Run {
        self.run_with(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs the command. No run of any test prints what was told in confidence, or anything but one
    /// document where a program reads it.
    pub(crate) fn run_with(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output();
        let run = Run::from(output.expect("the command can be started"));
        if arguments.contains(&"--json") && !arguments.contains(&"listen") {
            run.assert_is_one_document();
        }
        let confidential = self.confidential(!arguments.contains(&"--reveal"));
        let confidential: Vec<_> = confidential.iter().map(String::as_str).collect();
        run.does_not_contain(&confidential)
    }

    /// The API key, the live secrets in the environment, and what TitanX has told.
    fn confidential(&self, with_contacts: bool) -> Vec<String> {
        /// What is shorter is a word that a message may well contain.
        const MIN_LENGTH: usize = 12;
        let variables = ["TITANX_API_KEY", "TITANX_WEBHOOK_SECRET"];
        let values = variables.iter().filter_map(|it| self.environment.get(*it));
        let values = values.flat_map(|it| it.lines()).map(str::to_owned);
        let told = self
            .confidential
            .iter()
            .flat_map(|told| told(with_contacts));
        let all = values.chain(told);
        all.filter(|it| it.len() >= MIN_LENGTH).collect()
    }

    /// Starts the command without waiting for it.
    pub(crate) fn start(&self, line: &str) -> Child {
        self.start_with_output(line, Stdio::null())
    }

    /// Starts the command with this standard output.
    pub(crate) fn start_with_output(&self, line: &str, output: Stdio) -> Child {
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        let command = command.stdout(output).stderr(Stdio::null());
        command.spawn().expect("the command can be started")
    }

    /// Starts the command without waiting for it, to read its output later.
    pub(crate) fn start_with_pipes(&self, line: &str) -> Child {
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the command can be started")
    }

    /// Starts the command on a terminal of its own. What it shows there can be read from the file, until
    /// reading fails when the command has ended.
    pub(crate) fn start_on_terminal(&self, line: &str) -> (Child, File) {
        let ours = pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY);
        let ours = ours.expect("a terminal can be opened");
        pty::grantpt(&ours)
            .and_then(|()| pty::unlockpt(&ours))
            .expect("the terminal can be used");
        let name = pty::ptsname(&ours, Vec::new()).expect("the terminal has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = fs::open(name, flags, Mode::empty());
        let theirs = theirs.expect("the terminal can be opened");
        let again = theirs.try_clone().expect("the terminal can be shared");
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        // What a terminal understands.
        let command = command.env("TERM", "xterm").stdout(theirs).stderr(again);
        let child = command.spawn().expect("the command can be started");
        (child, File::from(ours))
    }

    /// The exit status of a run whose standard output and standard error are closed pipes.
    pub(crate) fn run_with_closed_pipes(&self, line: &str) -> Option<i32> {
        let closed_pipe = || {
            let (_reader, writer) = std::io::pipe().expect("a pipe can be created");
            writer
        };
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        let status = command.stdout(closed_pipe()).stderr(closed_pipe()).status();
        status.expect("the command can be started").code()
    }

    /// Runs the command with its standard output redirected to a file.
    pub(crate) fn run_with_output_to(&self, file: &str, line: &str) -> Run {
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        let file = File::create(file).expect("the file can be written");
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
        let text = |bytes| String::from_utf8(bytes).expect("the command writes UTF-8");
        Self {
            status: output.status.code().expect("the command exits by itself"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Run {
    /// Asserts the exit status.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The JSON document of a run with `--json`.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}\n{}", self.stdout, self.stderr);
        })
    }

    /// Asserts that standard output is one JSON document, or nothing if the command failed before it had
    /// a result.
    #[track_caller]
    fn assert_is_one_document(&self) {
        let is_document = serde_json::from_str::<Value>(&self.stdout).is_ok();
        let has_failed = self.stdout.is_empty() && matches!(self.status, 1 | 2);
        let Self { stdout, stderr, .. } = self;
        assert!(is_document || has_failed, "{stdout}\n{stderr}");
    }

    /// Asserts that this is a whole line of standard error.
    #[track_caller]
    pub(crate) fn tells(&self, line: &str) {
        let tells = self.stderr.lines().any(|it| it == line);
        assert!(tells, "{line}\n{}", self.stderr);
    }

    /// Asserts that the output contains none of `secrets`.
    #[track_caller]
    pub(crate) fn does_not_contain(self, secrets: &[&str]) -> Self {
        for secret in secrets {
            assert!(!self.stdout.contains(secret), "{secret}: {}", self.stdout);
            assert!(!self.stderr.contains(secret), "{secret}: {}", self.stderr);
        }
        self
    }
}
