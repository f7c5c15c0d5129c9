//! What a person reads, line by line.

use std::fs;

use serde_json::json;
use tempfile::TempDir;
use titanx_testbed::{server::json as respond, titanx::signature};

use crate::{
    System,
    doctor::DoctorTest,
    operator::{Operator, Run},
    titanx_answers::Scripted,
    titanx_api::{Failure, Form},
};

/// A TitanX with two subscriptions. The longest line of their table has 46 characters.
fn with_two_subscriptions() -> Scripted {
    let list = json!([
        {"id": "one", "status": "active", "events": ["a", "b"], "url": "https://a.example/", "name": "first"},
        {"id": "two"},
    ]);
    Scripted::new(vec![respond(200, &list)])
}

const TABLE: &str = "\
ID   STATUS  EVENTS  URL                 NAME
one  active  a b     https://a.example/  first
two  -               -                   -
";

const BLOCKS: &str = "\
id      one
status  active
events  a b
url     https://a.example/
name    first

id      two
status  -
events  
url     -
name    -
";

#[test]
fn a_table_that_is_wider_than_the_terminal_becomes_blocks() {
    let width = TABLE.lines().map(str::len).max().unwrap().to_string();
    for (columns, expected) in [
        (&*width, TABLE),
        ("45", BLOCKS),
        // What is no width, or stands for none, is none.
        ("0", TABLE),
        ("wide", TABLE),
    ] {
        let titanx = with_two_subscriptions();
        let operator = titanx.operator.clone().set("COLUMNS", columns);
        let printed = operator.run("subscriptions").exits(0).stdout;
        assert_eq!(printed, expected, "{columns}");
    }
    assert_eq!(width, "46");
}

#[test]
fn only_the_error_of_a_call_has_a_hint() {
    let folder = TempDir::new().unwrap();
    // The path contains a word that stands for missing credentials in the error of a call.
    let file = folder.path().join("credential");
    let line = format!("subscriptions --api-key-file {}", file.display());
    let run = Operator::default().run(&line).exits(1);
    assert!(
        run.stderr.starts_with("error: cannot read the API key"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    let nowhere = Operator::default()
        .set("TITANX_API_URL", "http://127.0.0.1:9")
        .set("TITANX_API_KEY", "synthetic-api-key");
    let file = folder.path().join("secret");
    let line = format!(
        "subscribe --skip-probe --url https://a.example/ --secret-file {}",
        file.display()
    );
    let run = nowhere.run(&line).exits(1);
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.stderr);
    assert!(lines[0].starts_with("error: no response from http://127.0.0.1:9: "));
    assert!(
        lines[1].starts_with("hint: check the network"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_rotation_tells_each_step() {
    let system = System::start(Form::Schema);
    let run = system.operator.run("subscribe --settle 0").exits(0);
    let old = system.api.only_subscription().id;
    let check = "Checking that the receiver answers at the webhook URL …\n";
    assert_eq!(run.stderr, check);
    assert_eq!(
        run.stdout,
        format!(
            "subscribed: the subscription {old} posts to {}\nthe signing secret is stored in {}\n\
             2 secrets are live\n",
            system.gateway.url,
            system
                .emulators
                .environment()
                .into_iter()
                .find(|it| it.0 == "TITANX_WEBHOOK_SECRET_ARN")
                .unwrap()
                .1
        )
    );

    system.api.fail("POST /webhooks/", Failure::Status(409));
    let run = system.operator.run("rotate --settle 0").exits(1);
    let new = system.api.subscriptions()[1].id.clone();
    assert_eq!(
        run.stderr,
        format!(
            "{check}Creating the new subscription …\nActivating the subscription {new} …\n\
             error: the rotation is not complete; run this command again to resume it: \
             POST /webhooks/{new}/active: TitanX answered 409: No.\n"
        )
    );
    let resuming = format!("Resuming the rotation to the subscription {new} …\n");
    let run = system.operator.run("rotate --settle 1").exits(0);
    assert_eq!(
        run.stderr.replace(
            "Waiting until every instance of the receiver accepts the new secret …\n",
            ""
        ),
        format!(
            "{resuming}{check}Activating the subscription {new} …\n\
             Deactivating the subscription {old} …\n"
        )
    );
    assert!(
        run.stdout.starts_with(&format!(
            "new secret active: the subscription {new} replaced {old}\n\
             the old secret stays live for TitanX's retries: run `operator rotate` again after 20"
        )),
        "{}",
        run.stdout
    );
    let run = system.operator.run("rotate --grace 0 --yes").exits(0);
    assert_eq!(
        run.stdout,
        format!(
            "rotation complete: the subscription {new} replaced {old}\nthe old secret was removed\n\
             `operator delete {old} --yes` deletes the old subscription\n"
        )
    );
    assert!(run.stderr.starts_with(&resuming), "{}", run.stderr);
    assert!(
        run.stderr
            .contains("warning: an instance of the function that has read the old secret"),
        "{}",
        run.stderr
    );
}

#[test]
fn only_a_second_live_secret_is_told() {
    let system = System::start(Form::Schema);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    for (more, end) in [("", ""), ("--another", "2 secrets are live\n")] {
        let file = file.display();
        let line = format!("subscribe {more} --settle 0 --skip-probe --secret-file {file}");
        let run = system.operator.run(&line).exits(0);
        let end = format!("\nthe signing secret is stored in {file}\n{end}");
        assert!(run.stdout.ends_with(&end), "{}", run.stdout);
    }
}

#[test]
fn pausing_tells_what_it_means() {
    let titanx = with_two_subscriptions();
    let operator = titanx.operator.set("WEBHOOK_URL", "https://a.example/");
    for (id, consequence) in [
        (
            "one",
            "it is the live subscription of this stack, and the only one: without it, no events arrive",
        ),
        (
            "two",
            "it posts to an unknown URL, which is not this stack's webhook URL",
        ),
        ("three", "TitanX lists no subscription three"),
    ] {
        let run = operator.run(&format!("pause {id}")).exits(3);
        let expected =
            format!("would pause the subscription {id}: re-run with --yes\n{consequence}");
        assert!(run.stdout.starts_with(&expected), "{}", run.stdout);
    }
}

const SECRET: &str = "whsec_c2FtcGxlIGtleSBvZiAxOCBi";
const BODY: &str = "a body";

#[test]
fn a_sample_is_described() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("body");
    let describe = |body: &str, secret: &str, form: Option<&str>, key: &[u8], status: i32| {
        fs::write(&file, body).unwrap();
        let mut operator = Operator::default().set("TITANX_WEBHOOK_SECRET", secret);
        if let Some(form) = form {
            operator = operator.set("SIGNING_KEY_FORM", form);
        }
        let line = format!(
            "verify-sample --body {} --signature {}",
            file.display(),
            signature(key, BODY)
        );
        operator.run(&line).exits(status).stdout
    };
    let (whole, plain, decoded): (&[u8], &[u8], &[u8]) = (
        SECRET.as_bytes(),
        b"c2FtcGxlIGtleSBvZiAxOCBi",
        b"sample key of 18 b",
    );
    let accepts = |form: &str| {
        format!(
            "the receiver accepts it; SIGNING_KEY_FORM={form} on the function would refuse the other forms\n"
        )
    };
    let key = "the key is the whole secret (form whole)\n";
    let without = "the key is the secret without its prefix (form without-prefix)\n";
    let base64 = "the key is the secret without its prefix, decoded as Base64 (form decoded)\n";
    for (expected, key, form) in [
        (key, whole, "whole"),
        (without, plain, "without-prefix"),
        (base64, decoded, "decoded"),
    ] {
        assert_eq!(
            describe(BODY, SECRET, None, key, 0),
            format!("{expected}{}", accepts(form))
        );
        assert_eq!(
            describe(BODY, SECRET, Some(form), key, 0),
            format!("{expected}the receiver accepts it (SIGNING_KEY_FORM is {form})\n")
        );
    }
    assert_eq!(
        describe(BODY, SECRET, Some("decoded"), whole, 3),
        format!(
            "{key}the receiver refuses it, because SIGNING_KEY_FORM is decoded: set it to whole or any \
             on the function\n"
        )
    );
    let newline = "the signature matches only without the whitespace at the end of the body\n";
    assert_eq!(
        describe(&format!("{BODY}\n"), SECRET, None, whole, 3),
        format!("{key}{}{newline}", accepts("whole"))
    );
    let second = format!("another\n{SECRET}");
    assert_eq!(
        describe(BODY, &second, None, whole, 0),
        format!(
            "{key}{}the secret is number 2 of the live secrets\n",
            accepts("whole")
        )
    );
    assert_eq!(
        describe(BODY, "another", None, whole, 1),
        "no key matches the signature\n"
    );
}

/// Lambda has an empty variable where somebody has cleared it.
#[test]
fn the_accepted_form_of_the_key_is_that_of_the_deployed_function() {
    let test = DoctorTest::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("body");
    fs::write(&file, BODY).unwrap();
    let line = format!(
        "verify-sample --body {} --signature {}",
        file.display(),
        signature(SECRET, BODY)
    );
    for (form, status, said) in [
        (" whole ", 0, "accepts it (SIGNING_KEY_FORM is whole)"),
        (
            "decoded",
            3,
            "refuses it, because SIGNING_KEY_FORM is decoded",
        ),
        (" ", 0, "accepts it; SIGNING_KEY_FORM=whole on the function"),
    ] {
        test.control.update(|it| {
            it.function["Environment"]["Variables"]["SIGNING_KEY_FORM"] = form.into();
        });
        let operator = test.operator.clone().set("TITANX_WEBHOOK_SECRET", SECRET);
        let printed = operator.run(&line).exits(status).stdout;
        assert!(
            printed.contains(&format!("the receiver {said}")),
            "{printed}"
        );
    }
}

/// What doctor says of a resource that no option and no stack names.
fn found(run: &Run, subject: &str) -> String {
    let all = run.json();
    let mut all = all.as_array().unwrap().iter();
    let finding = all.find(|it| it["subject"] == subject && it["verdict"] == "unknown");
    finding.map_or_else(String::new, |it| it["found"].as_str().unwrap().to_owned())
}

#[test]
fn a_resource_without_a_name_is_told_with_the_option_that_names_it() {
    let system = System::start(Form::Schema);
    let run = system.operator.run("--json doctor").exits(3);
    assert_eq!(
        found(&run, "function"),
        "ReceiverFunction is not set: use --stack"
    );
    for (variable, line, said) in [
        (
            "JOBS_TABLE",
            "jobs",
            "JobsTable is not set: use --stack or --jobs-table\n",
        ),
        (
            "DELIVERIES_TABLE",
            "delivery delivery-1",
            "DeliveriesTable is not set: use --stack or --deliveries-table\n",
        ),
        (
            "CONTACTS_QUEUE_URL",
            "contacts redrive",
            "ContactsQueueUrl is not set: use --stack or --contacts-queue-url\n",
        ),
        (
            "QUARANTINE_QUEUE_URL",
            "quarantine list",
            "QuarantineQueueUrl is not set: use --stack or --quarantine-queue-url\n",
        ),
        (
            "TITANX_WEBHOOK_SECRET_ARN",
            "send --count 1",
            "WebhookSecretArn is not set: use --stack or --secret-arn\n",
        ),
        (
            "WEBHOOK_URL",
            "send --count 1",
            "WebhookUrl is not set: use --stack or --url\n",
        ),
    ] {
        let operator = system.operator.clone().unset(variable);
        let run = operator.run(line).exits(1);
        assert!(run.stderr.contains(said), "{variable}: {}", run.stderr);
    }
    let test = DoctorTest::new();
    test.control.update(|it| {
        it.outputs.remove("ReceiverFunction");
        it.outputs.remove("JobsTable");
    });
    let run = test.operator.run("--json doctor").exits(3);
    assert_eq!(
        found(&run, "function"),
        "the stack titanx-receiver has no output ReceiverFunction: use the receiver's stack"
    );
    assert_eq!(
        found(&run, "jobs table"),
        "the stack titanx-receiver has no output JobsTable: use --jobs-table"
    );
}

/// Another stack may have a name that begins with this one's.
#[test]
fn doctor_asks_for_the_alarms_of_this_stack_only() {
    let test = DoctorTest::new();
    let found = || {
        let all = test.operator.run("--json doctor").exits(3).json();
        let of_alarms = all.as_array().unwrap().iter();
        let of_alarms = of_alarms.filter(|it| it["subject"] == "alarms");
        let found = of_alarms.map(|it| it["found"].as_str().unwrap().to_owned());
        found.collect::<Vec<_>>()
    };
    let of_this_stack = found();
    assert!(of_this_stack.contains(&"the stack has 1".to_owned()));
    test.control.update(|it| {
        it.alarms.push(json!({
            "AlarmName": "titanx-receiver2-QuarantineAlarm-1",
            "AlarmActions": [],
            "ActionsEnabled": false,
            "StateValue": "ALARM",
        }));
    });
    assert_eq!(found(), of_this_stack);
}
