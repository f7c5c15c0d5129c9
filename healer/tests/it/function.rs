//! The function's own program, as Lambda runs it: which runs count as errors, and what it logs.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use titanx_healer::config::{Config, ConfigError};
use titanx_testbed::{
    emulators::AttributeValue,
    lambda::{Lambda, Outcome, Process},
    server::{self, Server},
    titanx_api::{API_KEY, Failure},
};

use crate::system::{JOB, System, contact, hours_ago, now_ms};

/// One environment of Lambda. Its API key is in a secret that can be changed.
struct Environment<'a> {
    system: &'a System,
    lambda: Lambda,
    process: Process,
}

/// The lines that were logged in an environment.
struct Lines(Vec<Value>);

impl<'a> Environment<'a> {
    fn start(system: &'a System) -> Self {
        let lambda = Lambda::new(Duration::from_mins(1));
        let mut environment = system.environment.clone();
        let secret = system.emulators.secret.arn.clone();
        environment.insert("TITANX_API_KEY_ARN", secret);
        let process = lambda.start(Path::new(env!("CARGO_BIN_EXE_healer")), &environment);
        Self {
            system,
            lambda,
            process,
        }
    }

    async fn invoke(&self, api_key: &str) -> Outcome {
        self.system.emulators.secret.rotate(api_key);
        let asked = self.process.asked();
        let outcome = self.lambda.invoke(&json!({})).await;
        self.process.has_asked(asked + 1).await;
        outcome
    }

    /// Ends the environment. Before that its last lines may still be on their way.
    fn lines(mut self) -> Lines {
        self.process.kill();
        let lines = self.process.take_output();
        for line in &lines {
            for private in [
                "Person",
                "example.com",
                "206 555",
                API_KEY,
                "synthetic-other-key",
            ] {
                assert!(!line.contains(private), "{line}");
            }
        }
        let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        // To an error of the function `lambda_runtime` adds a line of its own.
        let lines = lines.filter(|line: &Value| line.get("request_id").is_some());
        Lines(lines.collect())
    }

    fn change_round(&self, name: &str, value: i64) {
        let mut round = self.system.emulators.checks.get("round").unwrap();
        round.insert(name.to_owned(), AttributeValue::N(value.to_string()));
        self.system.emulators.checks.put(&round);
    }
}

impl Lines {
    /// The level and the message of each line.
    fn said(&self) -> Vec<(&str, &str)> {
        let lines = self.0.iter();
        let said = lines.map(|it| [&it["level"], &it["message"]].map(|it| it.as_str().unwrap()));
        said.map(|[level, message]| (level, message)).collect()
    }

    /// A line, without Lambda's request id.
    fn line(&self, index: usize) -> Value {
        let mut line = self.0[index].clone();
        let members = line.as_object_mut().unwrap();
        let request_id = members.remove("request_id").unwrap();
        assert!(!request_id.as_str().unwrap().is_empty());
        line
    }
}

/// An alarm counts the errors of the function, two others its lines.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_is_an_error_of_the_function_and_the_next_reads_the_key_again() {
    let system = System::start();
    system.complete(JOB, 80, &[contact(JOB, 0)]).await;
    let environment = Environment::start(&system);
    for api_key in [" ", "synthetic-other-key"] {
        let outcome = environment.invoke(api_key).await;
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }
    let healed = environment.invoke(API_KEY).await;
    assert!(matches!(healed, Outcome::Answered(_)));
    assert_eq!(system.emulators.contacts.len(), 1);

    // Nothing is due, which is no news.
    environment.invoke(API_KEY).await;
    environment.change_round("not_before", now_ms() + 60_000);
    environment.invoke(API_KEY).await;
    environment.change_round("not_before", 0);
    environment.change_round("lease_ends", now_ms() + 60_000);
    environment.invoke(API_KEY).await;

    let lines = environment.lines();
    assert_eq!(
        lines.said(),
        [
            ("ERROR", "the run failed"),
            ("ERROR", "the run failed"),
            ("INFO", "round began"),
            ("INFO", "deliveries table scanned"),
            ("INFO", "the job is whole"),
            ("INFO", "round finished"),
            (
                "INFO",
                "TitanX takes no request for now: its rate limit is exhausted, or it asked to wait",
            ),
            ("WARN", "another run has the round"),
        ]
    );
    let arn = &system.emulators.secret.arn;
    let none = format!("no API key of TitanX is stored: put it into the secret {arn}");
    let refused = "TitanX does not accept the API key: store another one (GET /jobs: TitanX answered 401: \
                   Unauthorized)";
    for (index, cause) in [(0, &*none), (1, refused)] {
        assert_eq!(lines.line(index)["error"], cause);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_does_not_exist_has_no_api_key() {
    let system = System::start();
    let mut environment = system.environment.clone();
    let none = format!("{}-of-another", system.emulators.secret.arn);
    environment.insert("TITANX_API_KEY_ARN", none.clone());
    let config = Config::from_env(|name| environment.get(name).cloned()).unwrap();
    let error = config.build().await.unwrap_err();
    assert!(
        matches!(&error, ConfigError::NoApiKey(secret) if *secret == none),
        "{error:?}"
    );
}

/// Whatever else Secrets Manager answers is told as it is: the key may well be stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_read_is_not_called_one_without_an_api_key() {
    let system = System::start();
    for code in [
        "AccessDeniedException",
        "DecryptionFailure",
        "InvalidRequestException",
        "InternalServiceError",
    ] {
        let refuses = Server::start("secrets-manager", move |_| async move {
            let error = json!({"__type": code, "message": "Not now."});
            Some(server::json(400, &error))
        });
        let mut environment = system.environment.clone();
        environment.insert("AWS_ENDPOINT_URL_SECRETS_MANAGER", refuses.origin.clone());
        let config = Config::from_env(|name| environment.get(name).cloned()).unwrap();
        let error = config.build().await.unwrap_err();
        let told = titanx_receiver::error::Chain(&error).to_string();
        assert!(!matches!(error, ConfigError::NoApiKey(_)), "{told}");
        assert!(told.contains(code) && told.contains("Not now."), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_job_has_a_line_whose_level_tells_its_state() {
    let system = System::start();
    let contacts = ["whole", "doubtful", "hidden"].map(|job| [contact(job, 0)]);
    system.deliver(Some("whole"), &contacts[0]).await;
    system.complete("whole", 90, &contacts[0]).await;
    system.complete("doubtful", 85, &contacts[1]).await;
    let old = json!({"id": "doubtful", "createdAt": hours_ago(169)});
    system.api.put_job("doubtful", old, &contacts[1]);
    system.complete("hidden", 80, &contacts[2]).await;
    let path = "GET /jobs/hidden/contacts";
    system.api.fail(path, Failure::Status(404));
    let environment = Environment::start(&system);
    environment.invoke(API_KEY).await;
    let lines = environment.lines();
    assert_eq!(
        lines.said(),
        [
            ("INFO", "round began"),
            ("WARN", "the job is not proven whole"),
            ("INFO", "deliveries table scanned"),
            ("INFO", "the job is whole"),
            ("ERROR", "contacts of the job are missing"),
            ("INFO", "round finished"),
        ]
    );
    let began = json!({"level": "INFO", "message": "round began",
        "jobs": 3, "completed": 0, "undecided": 0});
    assert_eq!(lines.line(0), began);
    let counts = |at_titanx: u64, received: u64, missing: u64| {
        json!({"contacts_at_titanx": at_titanx, "received": received, "backfilled": 0,
            "unscored": 0, "missing": missing})
    };
    for (index, job, state, reason, counts) in [
        (1, "hidden", "unproven", Some("not_listed"), counts(0, 0, 0)),
        (3, "whole", "complete", None, counts(1, 1, 0)),
        (
            4,
            "doubtful",
            "incomplete",
            Some("records_expired"),
            counts(1, 0, 1),
        ),
    ] {
        let line = lines.line(index);
        assert_eq!(
            (line["job_id"].as_str(), line["state"].as_str()),
            (Some(job), Some(state))
        );
        assert_eq!(line["reason"].as_str(), reason);
        for (name, count) in counts.as_object().unwrap() {
            assert_eq!(&line[name], count, "{job} {name}");
        }
    }
}
