//! Each option does what its help says. It goes before its variable in the environment, and both go before
//! what the stack says.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use aws_smithy_types::{DateTime, date_time::Format};
use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use tempfile::TempDir;
use titanx_testbed::{
    emulators::{AttributeValue, Item, SIGNING_SECRET},
    server::{Server, json as respond},
    titanx::{now_ms, signature},
};

use crate::{
    System, doctor::DoctorTest, operator::Operator, titanx_answers::Scripted, titanx_api::Form,
};

const HOUR_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Options that name a resource, their variables, commands that use it, and the error if it is not there.
const NAMED: [(&str, &str, &str, &str); 6] = [
    (
        "--deliveries-table",
        "DELIVERIES_TABLE",
        "delivery delivery-1",
        "cannot read the table",
    ),
    (
        "--jobs-table",
        "JOBS_TABLE",
        "jobs",
        "cannot scan the table",
    ),
    (
        "--contacts-queue-url",
        "CONTACTS_QUEUE_URL",
        "contacts redrive",
        "cannot read the attributes of",
    ),
    (
        "--quarantine-queue-url",
        "QUARANTINE_QUEUE_URL",
        "quarantine list",
        "cannot receive messages from the queue",
    ),
    (
        "--secret-arn",
        "TITANX_WEBHOOK_SECRET_ARN",
        "send --count 1",
        "cannot read the secret",
    ),
    (
        "--stack",
        "RECEIVER_STACK",
        "doctor",
        "cannot read the stack",
    ),
];

#[test]
fn a_resource_that_is_named_goes_before_that_of_the_stack() {
    let test = DoctorTest::new();
    // It has the stack of every name.
    let nowhere = "http://127.0.0.1:9";
    for (option, variable, command, said) in NAMED {
        let mut operator = test
            .operator
            .clone()
            .set(variable, "http://sqs.example/of-the-environment");
        if option == "--stack" {
            operator = operator.set("AWS_ENDPOINT_URL_CLOUDFORMATION", nowhere);
        }
        for (line, named) in [
            (command.to_owned(), "of-the-environment"),
            (
                format!("{command} {option} http://sqs.example/of-the-option"),
                "of-the-option",
            ),
        ] {
            let run = operator.run(&line).exits(1);
            let said = format!("error: {said} http://sqs.example/{named}: ");
            assert!(run.stderr.starts_with(&said), "{line}: {}", run.stderr);
        }
    }
}

#[test]
fn a_url_that_is_named_goes_before_that_of_the_stack_and_of_the_ledger() {
    let test = DoctorTest::new();
    let (here, nowhere) = (
        test.system.gateway.url.clone(),
        "http://127.0.0.1:9/webhooks",
    );
    let stack = |url: &str| {
        let url = url.to_owned();
        test.control
            .update(|it| _ = it.outputs.insert("WebhookUrl".to_owned(), url));
    };
    let send = |variable: Option<&str>, option: &str, status| {
        let mut operator = test.operator.clone();
        if let Some(url) = variable {
            operator = operator.set("WEBHOOK_URL", url);
        }
        operator
            .run(&format!("send --count 1 {option}"))
            .exits(status);
    };
    stack(nowhere);
    send(None, "", 1);
    send(Some(&here), "", 0);
    send(Some(nowhere), "", 1);
    send(Some(nowhere), &format!("--url {here}"), 0);
    stack(&here);
    send(None, "", 0);

    test.subscribe();
    let other = "http://127.0.0.1:9/another";
    let line = format!("rotate --settle 0 --skip-probe --url {other}");
    let run = test.operator.run(&line).exits(1);
    run.tells(&format!(
        "error: no subscription for {other} is known to replace: re-run with --old ID"
    ));
}

/// Puts a job with a contact that is missing, and its record.
fn put_job(test: &DoctorTest, id: &str, created_ms: u64, completed_ms: u64) {
    let created = DateTime::from_millis(created_ms.try_into().unwrap());
    let job = json!({"id": id, "createdAt": created.fmt(Format::DateTime).unwrap()});
    let contact = json!({"customerContactId": format!("of-{id}"), "leadStatus": "High"});
    test.system.api.put_job(id, job, &[contact]);
    let record = [
        ("job_id", AttributeValue::S(id.to_owned())),
        ("completed_at", AttributeValue::N(completed_ms.to_string())),
    ];
    let record = record.map(|(name, value)| (name.to_owned(), value));
    test.system.emulators.jobs.put(&Item::from(record));
}

fn number(item: &Item, name: &str) -> u64 {
    let Some(AttributeValue::N(number)) = item.get(name) else {
        panic!("{item:?}")
    };
    number.parse().unwrap()
}

/// With a shorter one, a contact that TitanX sends again would be queued again. And every job that is older
/// would be in doubt.
#[test]
fn a_backfill_is_remembered_for_the_retention_of_the_table() {
    let test = DoctorTest::new();
    let mut number_of_job = 0;
    for (option, variable, stack, days) in [
        ("--delivery-retention-days 30", Some("20"), Some("10"), 30),
        ("", Some("20"), Some("10"), 20),
        ("", None, Some("10"), 10),
        ("", None, None, 7),
    ] {
        test.control.update(|it| {
            it.parameters.remove("DeliveryRetentionDays");
            let days = stack.map(|it| ("DeliveryRetentionDays".to_owned(), it.to_owned()));
            it.parameters.extend(days);
        });
        let mut operator = test.operator.clone();
        if let Some(days) = variable {
            operator = operator.set("DELIVERY_RETENTION_DAYS", days);
        }
        for command in ["reconcile --yes", "heal --job"] {
            number_of_job += 1;
            let job = format!("job-{number_of_job}");
            put_job(&test, &job, now_ms() - (days - 1) * DAY_MS, now_ms());
            let kept = |now: u64| now / 1_000 + days * 86_400;
            let earliest = kept(now_ms());
            operator.run(&format!("{command} {job} {option}")).exits(0);
            let records = test.system.emulators.deliveries.items();
            let of_job = AttributeValue::S(job.clone());
            let mut of_job = records
                .iter()
                .filter(|it| it.get("job_id") == Some(&of_job));
            let record = of_job.next().expect("it was backfilled");
            let expiration = number(record, "expiration");
            assert!(
                (earliest..=kept(now_ms())).contains(&expiration),
                "{command} {option}: {expiration}"
            );
        }
    }
}

#[test]
fn a_job_is_due_after_the_delay_of_the_option_the_environment_or_the_stack() {
    let test = DoctorTest::new();
    put_job(
        &test,
        "job-1",
        now_ms() - 60 * HOUR_MS,
        now_ms() - 50 * HOUR_MS,
    );
    for (option, variable, stack, is_due) in [
        ("--delay-hours 49", Some("60"), Some("60"), true),
        ("--delay-hours 51", Some("49"), Some("49"), false),
        ("", Some("49"), Some("60"), true),
        ("", Some("51"), Some("49"), false),
        ("", None, Some("49"), true),
        ("", None, Some("51"), false),
        ("", None, None, false),
    ] {
        test.control.update(|it| {
            it.parameters.remove("HealerDelayHours");
            let hours = stack.map(|it| ("HealerDelayHours".to_owned(), it.to_owned()));
            it.parameters.extend(hours);
        });
        let mut operator = test.operator.clone();
        if let Some(hours) = variable {
            operator = operator.set("HEALER_DELAY_HOURS", hours);
        }
        let line = format!("--json heal --due --dry-run {option}");
        let checked = operator.run(&line).exits(if is_due { 3 } else { 0 }).json();
        let checked = checked.as_array().unwrap().len();
        assert_eq!(
            checked,
            usize::from(is_due),
            "{option} {variable:?} {stack:?}"
        );
    }
}

/// The key of the profile and the region, as a call of AWS is signed with them.
#[test]
fn calls_are_signed_with_the_key_of_the_profile_for_the_region() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config");
    let profile = |name: &str, region: &str| {
        format!(
            "[profile {name}]\naws_access_key_id = key-of-{name}\naws_secret_access_key = synthetic\n\
             region = {region}\n"
        )
    };
    let config = profile("one", "eu-west-1") + &profile("two", "eu-west-2");
    fs::write(&file, config).unwrap();
    let signed = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&signed);
    let dynamodb = Server::start("dynamodb", move |request: Request<Bytes>| {
        let header = request.headers()["authorization"].to_str().unwrap();
        seen.lock().unwrap().push(header.to_owned());
        async { Some(respond(200, &json!({"Items": [], "Count": 0}))) }
    });
    let operator = Operator::default()
        .set("AWS_CONFIG_FILE", file.to_str().unwrap())
        .set("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.origin)
        .set("AWS_PROFILE", "one")
        .set("JOBS_TABLE", "jobs");
    for (options, region_variable, key, region) in [
        ("", None, "key-of-one", "eu-west-1"),
        ("--profile two", None, "key-of-two", "eu-west-2"),
        (
            "--profile two",
            Some("eu-west-3"),
            "key-of-two",
            "eu-west-3",
        ),
        (
            "--profile two --region eu-north-1",
            Some("eu-west-3"),
            "key-of-two",
            "eu-north-1",
        ),
    ] {
        let mut operator = operator.clone();
        if let Some(region) = region_variable {
            operator = operator.set("AWS_REGION", region);
        }
        operator.run(&format!("jobs {options}")).exits(0);
        let signed = signed.lock().unwrap().pop().unwrap();
        let credential = signed.split(['=', ',']).nth(1).unwrap();
        let parts: Vec<_> = credential.split('/').collect();
        assert_eq!([parts[0], parts[2]], [key, region], "{options}");
    }
}

/// The endpoint of a service goes before the one of all, in the SDK's clients and in the receiver's own.
#[test]
fn an_endpoint_of_a_service_goes_before_that_of_all() {
    const JOB: &str = "11111111-2222-4333-8444-555555555555";
    let system = System::start(Form::Schema);
    let contact = json!({"customerContactId": "contact-1", "leadStatus": "High"});
    let job = json!({"id": JOB, "createdAt": "2100-01-05T12:00:00Z"});
    system.api.put_job(JOB, job, &[contact]);
    // Nothing listens there.
    let all = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let operator = system.operator.clone().set(all.0, all.1);
    operator.run("subscribe --settle 0").exits(0);
    operator.run(&format!("reconcile {JOB} --yes")).exits(0);
    assert_eq!(system.emulators.contacts.len(), 1);
    let dynamodb = "AWS_ENDPOINT_URL_DYNAMODB";
    let run = operator.unset(dynamodb).run("jobs").exits(1);
    assert!(run.stderr.contains("Connection refused"), "{}", run.stderr);
}

/// The clients of a backfill are the receiver's own. Where there is no endpoint of a kind, none is called.
#[test]
fn a_backfill_calls_endpoints_of_the_kind_that_is_set() {
    let system = System::start(Form::Schema);
    for variable in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
        // An endpoint that is configured is of neither kind.
        let operator = system.operator.clone().set(variable, "true");
        let run = operator.run("heal --due").exits(1);
        let said = "error: no endpoint for dynamodb in region \"us-east-1\"";
        assert!(run.stderr.starts_with(said), "{}", run.stderr);
    }
}

/// TitanX would say that it does not know the key.
#[test]
fn a_blank_api_key_is_not_sent() {
    let system = System::start(Form::Schema);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    for blank in ["", "\n", " \t\r\n"] {
        fs::write(&file, blank).unwrap();
        let of_file = format!("subscriptions --api-key-file {}", file.display());
        let environment = system.operator.clone().set("TITANX_API_KEY", blank);
        for run in [
            system.operator.run(&of_file),
            environment.run("subscriptions"),
        ] {
            let run = run.exits(1);
            assert!(
                run.stderr.contains("the API key is empty"),
                "{}",
                run.stderr
            );
        }
    }
    assert_eq!(system.api.requests(), [""; 0]);
}

/// As a shell may export it for no bundle.
#[test]
fn an_empty_ca_bundle_is_none() {
    let system = System::start(Form::Schema);
    let operator = system.operator.clone().set("AWS_CA_BUNDLE", "");
    operator.run("subscriptions").exits(0);
    operator.run("jobs").exits(0);
}

#[test]
fn the_api_key_of_a_file_goes_before_that_in_the_environment() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, " key-of-the-file\n").unwrap();
    let option = format!("--api-key-file {}", file.display());
    for (variable, option, key) in [
        (Some("key-of-the-environment"), "", "key-of-the-environment"),
        (Some(" padded-key\n"), "", "padded-key"),
        (Some("key-of-the-environment"), &*option, "key-of-the-file"),
        (None, &*option, "key-of-the-file"),
    ] {
        let test = DoctorTest::new();
        let titanx = Scripted::new(vec![respond(200, &json!([]))]);
        let operator = test.operator.clone().set("TITANX_API_URL", titanx.url());
        let operator = match variable {
            Some(key) => operator.set("TITANX_API_KEY", key),
            None => operator.unset("TITANX_API_KEY"),
        };
        operator.run(&format!("subscriptions {option}")).exits(0);
        // Doctor asks TitanX only if there is a key.
        operator.run(&format!("doctor {option}")).exits(3);
        let seen = titanx.seen();
        assert_eq!(seen.len(), 2, "{option}");
        for request in seen {
            let expected = format!("Bearer {key}");
            assert_eq!(request.authorization, Some(expected), "{option}");
        }
    }
}

#[test]
fn pages_are_asked_for_with_the_given_names() {
    let contact = |number: u32| json!({"customerContactId": format!("contact-{number}")});
    for (more, parameters, expected) in [
        (json!({"hasMore": true}), "", ["", "?page=2"]),
        (json!({"nextCursor": "a b"}), "", ["", "?cursor=a%20b"]),
        (
            json!({"hasMore": true}),
            "--page-size 7",
            ["?limit=7", "?limit=7&page=2"],
        ),
        (
            json!({"hasMore": true}),
            "--page-size 7 --size-parameter size --page-parameter p --cursor-parameter c",
            ["?size=7", "?size=7&p=2"],
        ),
        (
            json!({"nextCursor": "a b"}),
            "--page-size 7 --size-parameter size --page-parameter p --cursor-parameter c",
            ["?size=7", "?size=7&c=a%20b"],
        ),
        (json!({"hasMore": true}), "--max-pages 1", ["", "/"]),
    ] {
        let system = System::start(Form::Schema);
        let mut first = json!({ "data": [contact(1)] });
        first
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let titanx = Scripted::new(vec![
            respond(200, &first),
            respond(200, &json!({"data": [contact(2)], "hasMore": false})),
        ]);
        let operator = system.operator.clone().set("TITANX_API_URL", titanx.url());
        operator.run(&format!("reconcile job-1 {parameters}"));
        let lines = titanx.lines().into_iter();
        let lists = lines.filter(|it| it.starts_with("GET /jobs/job-1/contacts"));
        let expected = expected.iter().filter(|it| **it != "/");
        let expected = expected.map(|it| format!("GET /jobs/job-1/contacts{it}"));
        assert!(lists.eq(expected), "{parameters}: {:?}", titanx.lines());
    }
}

/// What is asked of TitanX when a subscription is created: inactive, for this URL, with this name and
/// these event types.
#[test]
fn a_subscription_is_created_with_the_given_name_and_event_types() {
    const ALL: [&str; 2] = ["job.contact.scored", "job.completed"];
    let url = "http://127.0.0.1:9/webhooks/titanx";
    let listed =
        |events: &[&str]| json!([{"id": "old", "url": url, "status": "active", "events": events}]);
    for (command, list, name, events) in [
        ("subscribe", json!([]), "titanx-receiver", &ALL[..]),
        ("subscribe --name a-name", json!([]), "a-name", &ALL),
        (
            "subscribe --event job.completed",
            json!([]),
            "titanx-receiver",
            &ALL[1..],
        ),
        (
            "subscribe --event job.completed --event job.contact.scored --another",
            listed(&ALL),
            "titanx-receiver",
            &["job.completed", "job.contact.scored"],
        ),
        ("rotate", listed(&ALL), "titanx-receiver", &ALL),
        // Those of the old one, and no others.
        (
            "rotate --name a-name",
            listed(&ALL[..1]),
            "a-name",
            &ALL[..1],
        ),
        (
            "rotate --old another",
            listed(&ALL[..1]),
            "titanx-receiver",
            &ALL,
        ),
    ] {
        let created = json!({
            "id": "new", "url": url, "status": "inactive", "secret": "wh_sk_synthetic-secret",
            "events": events,
        });
        let titanx = Scripted::new(vec![
            respond(200, &list),
            respond(201, &created),
            respond(200, &json!({})),
        ]);
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("secret");
        if command.starts_with("rotate") {
            fs::write(&file, "wh_sk_old-secret").unwrap();
        }
        let line = format!(
            "{command} --skip-probe --url {url} --settle 0 --secret-file {}",
            file.display()
        );
        titanx.operator.run(&line).exits(0);
        let mut created = titanx.seen().into_iter().filter(|it| !it.body.is_empty());
        let body: Value = serde_json::from_str(&created.next().unwrap().body).unwrap();
        let expected = json!({"name": name, "url": url, "events": events, "status": "inactive"});
        assert_eq!(body, expected, "{command}");
        assert!(created.next().is_none(), "{command}");
    }
}

/// The job that `send` makes up is one for all its deliveries, as a job of TitanX has many contacts.
#[test]
fn synthetic_deliveries_are_of_one_job() {
    let operator = Operator::default().set("TITANX_WEBHOOK_SECRET", SIGNING_SECRET);
    for (option, given) in [("", None), ("--job job-7", Some("job-7"))] {
        let line = format!("send --count 3 --as url {option}");
        let run = operator.run(&line).exits(0);
        let bodies = run.stdout.lines().map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            serde_json::from_str(event["body"].as_str().unwrap()).unwrap()
        });
        let bodies: Vec<Value> = bodies.collect();
        assert_eq!(bodies.len(), 3);
        let job = &bodies[0]["payload"]["jobId"];
        assert!(given.is_none_or(|given| job == given), "{job}");
        assert!(bodies.iter().all(|it| it["payload"]["jobId"] == *job));
        // And each of them is another delivery, of another contact, a moment old.
        let distinct = |pointer: &str| {
            let values = bodies
                .iter()
                .map(|it| it.pointer(pointer).unwrap().to_string());
            values.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!([distinct("/id"), distinct("/payload/email")], [3, 3]);
        for body in &bodies {
            let age = now_ms() - body["timestamp"].as_u64().unwrap();
            assert!(age < HOUR_MS, "{body}");
        }
    }
}

/// The signature is over the bytes, so none of them may change on the way.
#[test]
fn a_body_that_is_no_text_is_encoded_for_every_gateway() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("body");
    let operator = Operator::default().set("TITANX_WEBHOOK_SECRET", SIGNING_SECRET);
    for (body, is_base64) in [
        (&b"{\"a\": \xff}"[..], true),
        ("{\"a\": \"ö\"}".as_bytes(), false),
    ] {
        fs::write(&file, body).unwrap();
        for gateway in ["apigw-v2", "apigw-v1", "url"] {
            let line = format!("send --as {gateway} {}", file.display());
            let event: Value = serde_json::from_str(&operator.run(&line).exits(0).stdout).unwrap();
            assert_eq!(event["isBase64Encoded"], is_base64, "{gateway}");
            let text = event["body"].as_str().unwrap();
            let sent = if is_base64 {
                BASE64_STANDARD.decode(text).unwrap()
            } else {
                text.as_bytes().to_vec()
            };
            assert_eq!(sent, body, "{gateway}");
            let expected = signature(SIGNING_SECRET, body);
            assert_eq!(event["headers"]["x-titanx-signature"], expected);
        }
    }
}
