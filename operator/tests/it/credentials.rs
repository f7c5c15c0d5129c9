//! Credentials from every provider of the AWS CLI, as far as they can be tried without AWS; and errors
//! of AWS as one plain line with a hint.

use std::fs;

use tempfile::TempDir;
use titanx_testbed::server::{self, Server};

use crate::{
    System,
    operator::{Operator, Run},
    titanx_api::Form,
};

const KEYS: &str = r#""AccessKeyId": "synthetic", "SecretAccessKey": "synthetic""#;
const NOWHERE: &str = "http://127.0.0.1:9";

/// A server that answers every request alike, and its URL.
fn server(status: u16, content_type: &'static str, body: String) -> (String, Server) {
    let server = Server::start("aws", move |_| {
        let response = server::text(status, content_type, body.clone());
        async { Some(response) }
    });
    (server.origin.clone(), server)
}

/// Runs `operator jobs` against the emulated table, with this configuration file and no credentials.
fn jobs(system: &System, config: &str, environment: &[(&str, &str)]) -> Run {
    let home = TempDir::new().unwrap();
    let file = home.path().join("config");
    fs::write(&file, config).unwrap();
    let names = system.emulators.environment();
    let mut operator = Operator::default()
        .set("HOME", home.path().to_str().unwrap())
        .set("AWS_CONFIG_FILE", file.to_str().unwrap())
        .set("AWS_REGION", "us-east-1")
        .set("AWS_MAX_ATTEMPTS", "1")
        .set("JOBS_TABLE", &names["JOBS_TABLE"])
        .set("AWS_ENDPOINT_URL_DYNAMODB", &system.emulators.dynamodb_url);
    for (name, value) in environment {
        operator = operator.set(name, *value);
    }
    operator.run("jobs")
}

/// Asserts that the run failed with one plain line and a hint.
#[track_caller]
fn assert_plain(run: &Run, said: &[&str]) {
    assert_eq!(run.status, 1, "{}\n{}", run.stdout, run.stderr);
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.stderr);
    assert!(lines[0].starts_with("error: "), "{}", run.stderr);
    assert!(lines[1].starts_with("hint: "), "{}", run.stderr);
    for debug in ["feature", "\\n", " { ", "Some(", "Unhandled", "ErrorKind"] {
        assert!(!run.stderr.contains(debug), "{debug}: {}", run.stderr);
    }
    for said in said {
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
}

#[test]
fn a_credential_process_and_a_container_endpoint_provide_credentials() {
    let system = System::start(Form::Schema);
    let process = format!("[default]\ncredential_process = echo '{{\"Version\": 1, {KEYS}}}'\n");
    jobs(&system, &process, &[]).exits(0);
    let (url, _server) = server(
        200,
        "application/json",
        format!(r#"{{{KEYS}, "Token": "synthetic", "Expiration": "2099-01-01T00:00:00Z"}}"#),
    );
    jobs(&system, "", &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)]).exits(0);
}

#[test]
fn a_web_identity_and_an_assumed_role_provide_credentials() {
    let system = System::start(Form::Schema);
    let folder = TempDir::new().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "synthetic").unwrap();
    let answer = |action: &str| {
        let keys = "<AccessKeyId>synthetic</AccessKeyId><SecretAccessKey>synthetic</SecretAccessKey>\
                    <SessionToken>synthetic</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>";
        let xml = format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <Credentials>{keys}</Credentials></{action}Result></{action}Response>"
        );
        server(200, "text/xml", xml)
    };
    let role = "arn:aws:iam::000000000000:role/operator";
    let (url, _sts) = answer("AssumeRoleWithWebIdentity");
    let token = token.to_str().unwrap();
    let environment = [
        ("AWS_ROLE_ARN", role),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
        ("AWS_ENDPOINT_URL_STS", &url),
    ];
    jobs(&system, "", &environment).exits(0);
    let (url, _sts) = answer("AssumeRole");
    let config = format!(
        "[default]\nrole_arn = {role}\nsource_profile = base\n\
         [profile base]\naws_access_key_id = synthetic\naws_secret_access_key = synthetic\n"
    );
    jobs(&system, &config, &[("AWS_ENDPOINT_URL_STS", &url)]).exits(0);
}

#[test]
fn a_provider_that_fails_is_named() {
    let system = System::start(Form::Schema);
    let session = "login_session = arn:aws:sts::000000000000:assumed-role/operator/somebody";
    let account = "sso_account_id = 000000000000\nsso_role_name = operator";
    let start = "sso_start_url = https://example.awsapps.com/start\nsso_region = us-east-1";
    for (config, said) in [
        (format!("[default]\n{session}\n"), "`aws login`"),
        (
            format!("[default]\nsso_session = work\n{account}\n[sso-session work]\n{start}\n"),
            "aws sso login",
        ),
        (format!("[default]\n{account}\n{start}\n"), "aws sso login"),
        (
            "[default]\ncredential_process = false\n".to_owned(),
            "process",
        ),
        ("[default]\n".to_owned(), "found no credentials"),
        (
            "[default]\nrole_arn = arn:aws:iam::000000000000:role/a\nsource_profile = absent\n"
                .to_owned(),
            "could not find source profile absent",
        ),
    ] {
        let run = jobs(&system, &config, &[]);
        assert_plain(&run, &[said, "cannot scan the table"]);
    }
    let container = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", NOWHERE)];
    assert_plain(&jobs(&system, "", &container), &["cannot scan the table"]);
    let identity = [
        ("AWS_ROLE_ARN", "arn:aws:iam::000000000000:role/operator"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent"),
    ];
    assert_plain(&jobs(&system, "", &identity), &["cannot scan the table"]);
}

#[test]
fn errors_of_aws_are_one_plain_line_with_a_hint() {
    let system = System::start(Form::Schema);
    let keys = "[default]\naws_access_key_id = synthetic\naws_secret_access_key = synthetic\n";
    for (code, hint) in [
        ("AccessDeniedException", "lack this permission"),
        ("ExpiredTokenException", "session has expired"),
        (
            "UnrecognizedClientException",
            "does not know these credentials",
        ),
        ("InvalidSignatureException", "this machine's clock"),
        ("ResourceNotFoundException", "--region and --profile"),
        ("ThrottlingException", "run the command again later"),
    ] {
        let body = format!(
            r#"{{"__type": "com.amazon.coral.service#{code}", "message": "Told by AWS."}}"#
        );
        let (url, _aws) = server(400, "application/x-amz-json-1.0", body);
        let run = jobs(&system, keys, &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
        assert_plain(&run, &[&format!("{code}: Told by AWS."), hint]);
    }
    let run = jobs(&system, keys, &[("AWS_ENDPOINT_URL_DYNAMODB", NOWHERE)]);
    assert_plain(&run, &["Connection refused", "HTTPS_PROXY"]);
}

#[test]
fn aws_ca_bundle_is_checked_for_every_call() {
    let system = System::start(Form::Schema);
    let folder = TempDir::new().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "no certificate").unwrap();
    let empty = empty.to_str().unwrap();
    let without = format!("{empty}, which AWS_CA_BUNDLE names, contains no PEM certificate");
    let absent = "cannot read /nonexistent.pem, which AWS_CA_BUNDLE names: No such file or directory (os error 2)";
    for (bundle, said) in [(empty, &*without), ("/nonexistent.pem", absent)] {
        for line in ["jobs", "subscriptions", "send --count 1"] {
            let operator = system.operator.clone().set("AWS_CA_BUNDLE", bundle);
            let run = operator.run(line).exits(1);
            run.tells(&format!("error: {said}"));
        }
    }
}
