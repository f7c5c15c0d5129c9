//! Where and how secrets are stored, at the edges: other folders, odd secrets, what cannot be read. And
//! which of them signs.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use hyper::{Request, body::Bytes};
use serde_json::json;
use tempfile::TempDir;
use titanx_testbed::{
    server::{Server, json as respond},
    titanx::signature,
};

use crate::{System, operator::Operator, titanx_answers::Scripted, titanx_api::Form};

const URL: &str = "http://127.0.0.1:9/webhooks/titanx";

/// Subscribes at a TitanX that gives this secret, which is stored in `file`.
fn subscribe(secret: &str, file: &Path, status: i32) -> String {
    let created = json!({
        "id": "one", "url": URL, "status": "inactive", "secret": secret,
        "events": ["job.contact.scored", "job.completed"],
    });
    let titanx = Scripted::new(vec![
        respond(200, &json!([])),
        respond(201, &created),
        respond(200, &json!({})),
    ]);
    let line = format!(
        "subscribe --skip-probe --url {URL} --settle 0 --secret-file {}",
        file.display()
    );
    titanx.operator.run(&line).exits(status).stderr
}

/// The new file is renamed to the old, which is possible only within a file system.
#[cfg(target_os = "linux")]
#[test]
fn a_file_in_another_file_system_is_replaced_there() {
    let folder = TempDir::new_in("/dev/shm").unwrap();
    let file = folder.path().join("secret");
    subscribe("wh_sk_synthetic-secret", &file, 0);
    assert!(file.exists());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "the secret and its ledger: {left:?}");
}

/// With a value that the function cannot read, no signature would be verified any more.
#[test]
fn a_secret_that_the_function_could_not_read_is_not_stored() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    for stored in [None, Some("wh_sk_stored")] {
        if let Some(stored) = stored {
            fs::write(&file, stored).unwrap();
        }
        for secret in [
            "[synthetic",
            "{synthetic",
            "\"synthetic",
            " synthetic ",
            "whsec_",
        ] {
            let stderr = subscribe(secret, &file, 1);
            let said = format!(
                "error: the secret of the new subscription one could not be stored and is lost; the \
                 subscription is inactive: delete it with `operator delete one --yes` and run this \
                 command again: the function could not read the new secret, so {} is left as it was\n",
                file.display()
            );
            assert!(stderr.ends_with(&said), "{stderr}");
            assert!(!stderr.contains("synthetic"), "{stderr}");
            assert_eq!(fs::read_to_string(&file).ok().as_deref(), stored);
        }
    }
}

#[test]
fn what_cannot_be_read_is_not_taken_for_missing() {
    let folder = TempDir::new().unwrap();
    let stderr = subscribe("wh_sk_synthetic-secret", folder.path(), 1);
    let path = folder.path().display();
    let said = format!("error: cannot read {path}: Is a directory (os error 21)\n");
    assert_eq!(stderr, said);
    let file = folder.path().join("secret");
    fs::write(&file, "wh_sk_stored").unwrap();
    fs::create_dir(folder.path().join("secret.ledger")).unwrap();
    let stderr = subscribe("wh_sk_synthetic-secret", &file, 1);
    let said = format!("error: cannot read {path}/secret.ledger: Is a directory (os error 21)\n");
    assert_eq!(stderr, said);

    let system = System::start(Form::Schema);
    let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:another";
    let operator = system.operator.set("TITANX_WEBHOOK_SECRET_ARN", arn);
    for line in ["rotate", "subscribe --settle 0"] {
        let run = operator.run(line).exits(1);
        let said = format!("cannot read the secret {arn}: ResourceNotFoundException");
        assert!(run.stderr.contains(&said), "{line}: {}", run.stderr);
    }
    assert_eq!(system.api.subscriptions(), []);
}

/// Else the subscriptions in it would be forgotten, and their secrets removed.
#[test]
fn a_ledger_that_cannot_be_parsed_is_not_taken_for_an_empty_one() {
    let system = System::start(Form::Schema);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    let ledger = folder.path().join("secret.ledger");
    fs::write(&file, "wh_sk_stored").unwrap();
    for written in ["", "no ledger", "{}", "{\"subscriptions\": [{\"id\": 1}]}"] {
        fs::write(&ledger, written).unwrap();
        for line in ["subscribe --settle 0", "rotate --settle 0"] {
            let line = format!("{line} --secret-file {}", file.display());
            let run = system.operator.run(&line).exits(1);
            let said = format!("error: cannot parse the ledger {}: ", ledger.display());
            let last = run.stderr.lines().last().unwrap();
            assert!(last.starts_with(&said), "{last}");
            assert_eq!(fs::read_to_string(&ledger).unwrap(), written);
            assert_eq!(fs::read_to_string(&file).unwrap(), "wh_sk_stored");
        }
    }
    assert_eq!(system.api.subscriptions(), []);
}

/// Somebody else may write at the same time. A subscription whose secret is not there is not activated.
#[test]
fn a_secret_that_is_not_read_back_does_not_count_as_stored() {
    // A read that is not the newest, and what somebody else has stored: as many as were stored, or fewer.
    let kept_one = r#"["wh_sk_stored", "wh_sk_of-somebody-else"]"#;
    for after in ["wh_sk_stored", "wh_sk_of-somebody-else", kept_one] {
        assert_is_not_stored(after);
    }
}

/// One secret is stored at first. After the write, reads return another value than was written.
fn assert_is_not_stored(after: &'static str) {
    let operations = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&operations);
    let secrets = Server::start("secrets-manager", move |request: Request<Bytes>| {
        let target = request.headers()["x-amz-target"].to_str().unwrap();
        let operation = target.split('.').nth(1).unwrap().to_owned();
        let of_ledger = request
            .body()
            .windows(15)
            .any(|it| it == b"OPERATOR_LEDGER");
        let answer = if of_ledger {
            respond(
                200,
                &json!({"SecretString": r#"{"subscriptions": [], "rotation": null}"#}),
            )
        } else {
            let is_written = seen.lock().unwrap().contains(&"PutSecretValue".to_owned());
            let value = if is_written { after } else { "wh_sk_stored" };
            respond(200, &json!({"SecretString": value}))
        };
        seen.lock().unwrap().push(operation);
        async { Some(answer) }
    });
    let system = System::start(Form::Schema);
    let operator = system.operator.clone();
    let operator = operator.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets.origin);
    let run = operator.run("subscribe --settle 0").exits(1);
    let subscription = system.api.only_subscription();
    let (id, arn) = (&subscription.id, &system.emulators.secret.arn);
    run.tells(&format!(
        "error: the secret of the new subscription {id} could not be stored and is lost; the \
         subscription is inactive: delete it with `operator delete {id} --yes` and run this command \
         again: the secrets were written to {arn}, but a read returns other secrets"
    ));
    assert!(!subscription.active);
    let operations = operations.lock().unwrap();
    let after = operations.iter().skip_while(|it| *it != "PutSecretValue");
    let expected = [&["PutSecretValue"][..], &["GetSecretValue"; 5]].concat();
    assert!(after.eq(expected.iter()), "{operations:?}");
}

/// Two files of one folder have a ledger each, whatever their names have in common.
#[test]
fn each_secret_file_has_its_own_ledger() {
    let system = System::start(Form::Schema);
    let folder = TempDir::new().unwrap();
    for name in ["titanx", "titanx.dev", "titanx.prod", ".titanx"] {
        let file = folder.path().join(name);
        let line = format!(
            "subscribe --settle 0 --another --secret-file {}",
            file.display()
        );
        system.operator.run(&line).exits(0);
        let id = system.api.subscriptions().pop().unwrap().id;
        let ledger = folder.path().join(format!("{name}.ledger"));
        let ledger = fs::read_to_string(ledger).unwrap();
        assert!(ledger.contains(&id), "{name}: {ledger}");
        assert_eq!(ledger.matches("\"id\"").count(), 1, "{name}: {ledger}");
        let stored = fs::read_to_string(&file).unwrap();
        assert_eq!(stored, system.api.subscriptions().pop().unwrap().secret);
    }
}

/// A receiver may not have read the newest one yet. What the option names comes before the
/// environment.
#[test]
fn the_oldest_of_the_live_secrets_signs() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, r#"["in-the-file", "in-the-file-too"]"#).unwrap();
    let operator = Operator::default().set("TITANX_WEBHOOK_SECRET", "the-oldest\nthe-newest");
    for (option, secret) in [
        (String::new(), "the-oldest"),
        (format!("--secret-file {}", file.display()), "in-the-file"),
    ] {
        let line = format!("send --count 1 --as url {option}");
        let event = operator.run(&line).exits(0).json();
        let expected = signature(secret, event["body"].as_str().unwrap());
        assert_eq!(event["headers"]["x-titanx-signature"], expected);
    }
}

#[test]
fn a_file_without_a_secret_that_can_be_read_is_named() {
    let system = System::start(Form::Schema);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    let path = file.display();
    let run = |line: &str| {
        let line = format!("{line} --secret-file {path}");
        system.operator.run(&line).exits(1)
    };
    for line in ["rotate --settle 0", "send --count 1"] {
        run(line).tells(&format!(
            "error: no secret is stored in {path}: run `operator subscribe` first"
        ));
    }
    fs::write(&file, "[]").unwrap();
    for line in ["rotate --settle 0", "send --count 1", "subscribe"] {
        let run = run(line);
        let last = run.stderr.lines().last().unwrap();
        let said = format!("error: the value of {path}: ");
        assert!(last.starts_with(&said), "{last}");
    }
}
