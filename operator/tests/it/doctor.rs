use std::collections::BTreeMap;

use serde_json::{Value, json};
use titanx_testbed::server::{self, Server};

use crate::{
    System,
    control_plane::{ControlPlane, StackState},
    operator::{Operator, Run},
    titanx_api::{Failure, Form, Subscription},
};

/// A system whose stack is described by the control plane. The emulators have no dead-letter queues
/// and no point-in-time recovery, so doctor reports both as problems.
pub(crate) struct DoctorTest {
    pub(crate) system: System,
    pub(crate) control: ControlPlane,
    pub(crate) operator: Operator,
}

/// The parameters of the template with their defaults, as a stack has them for which none is chosen.
fn defaults() -> BTreeMap<String, String> {
    let template = include_str!("../../../template.yaml");
    let (_, parameters) = template.split_once("\nParameters:\n").unwrap();
    let (parameters, _) = parameters.split_once("\nRules:\n").unwrap();
    let mut name = "";
    let mut defaults = BTreeMap::new();
    for line in parameters.lines() {
        if let Some(default) = line.strip_prefix("    Default: ") {
            defaults.insert(name.to_owned(), default.trim_matches('"').to_owned());
        } else if !line.starts_with("   ") {
            name = line.trim().trim_end_matches(':');
        }
    }
    assert!(defaults.len() > 20, "{defaults:?}");
    defaults
}

fn state(system: &System) -> StackState {
    let environment = system.emulators.environment();
    let output = |name: &str, variable: &str| (name.to_owned(), environment[variable].clone());
    let variables: Value = environment
        .iter()
        .filter(|(name, _)| !name.starts_with("AWS_"))
        .map(|(name, value)| ((*name).to_owned(), Value::from(value.clone())))
        .collect();
    StackState {
        outputs: [
            ("WebhookUrl".to_owned(), system.gateway.url.clone()),
            ("ReceiverFunction".to_owned(), "receiver".to_owned()),
            ("ReceiverAlias".to_owned(), "live".to_owned()),
            output("WebhookSecretArn", "TITANX_WEBHOOK_SECRET_ARN"),
            output("DeliveriesTable", "DELIVERIES_TABLE"),
            output("JobsTable", "JOBS_TABLE"),
            output("ContactsQueueUrl", "CONTACTS_QUEUE_URL"),
            output("QuarantineQueueUrl", "QUARANTINE_QUEUE_URL"),
            ("AlarmTopicArn".to_owned(), TOPIC.to_owned()),
            ("ReceiverLogGroup".to_owned(), LOG_GROUP.to_owned()),
            ("Dashboard".to_owned(), "dashboard".to_owned()),
        ]
        .into(),
        parameters: defaults(),
        function: json!({
            "FunctionName": "receiver",
            "Role": "arn:aws:iam::000000000000:role/receiver",
            "Timeout": 8,
            "MemorySize": 128,
            "Environment": {"Variables": variables},
            "LoggingConfig": {
                "LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN",
                "LogGroup": LOG_GROUP,
            },
            "Version": "3",
            "CodeSha256": "the code of version 3",
        }),
        // Not what gets the deliveries: a function that could not start.
        latest: json!({
            "FunctionName": "receiver",
            "Timeout": 1,
            "MemorySize": 1,
            "Version": "$LATEST",
            "CodeSha256": "the code of version 3",
        }),
        denied: Vec::new(),
        tables: BTreeMap::new(),
        alarms: vec![json!({
            "AlarmName": "titanx-receiver-QuarantineAlarm-1",
            "AlarmActions": ["arn:aws:sns:us-east-1:000000000000:alarms"],
            "ActionsEnabled": true,
            "AlarmDescription": "Redrive the queue.",
            "StateValue": "OK",
        })],
        subscriptions: vec![SUBSCRIPTION],
        dashboard: String::new(),
        metrics: std::collections::BTreeMap::new(),
    }
}

const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:alarms";
const SUBSCRIPTION: &str =
    "arn:aws:sns:us-east-1:000000000000:alarms:11111111-2222-4333-8444-555555555555";
const LOG_GROUP: &str = "/aws/lambda/titanx-receiver-receiver";

impl DoctorTest {
    pub(crate) fn new() -> Self {
        let system = System::start(Form::Schema);
        let control = ControlPlane::start(state(&system));
        let emulators = &system.emulators;
        let mut operator = Operator::with_titanx(&system.api)
            .set("RECEIVER_STACK", "titanx-receiver")
            .set("AWS_REGION", "us-east-1")
            .set("AWS_ACCESS_KEY_ID", "emulators")
            .set("AWS_SECRET_ACCESS_KEY", "emulators")
            .set("AWS_MAX_ATTEMPTS", "1")
            .set("AWS_ENDPOINT_URL_DYNAMODB", &emulators.dynamodb_url)
            .set("AWS_ENDPOINT_URL_SQS", &emulators.sqs_url)
            .set(
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                &emulators.secrets_manager_url,
            );
        for service in ["CLOUDFORMATION", "LAMBDA", "IAM", "CLOUDWATCH", "SNS"] {
            operator = operator.set(&format!("AWS_ENDPOINT_URL_{service}"), &control.url);
        }
        Self {
            system,
            control,
            operator,
        }
    }

    /// Creates the subscription of this stack, and makes its secret the only live one.
    pub(crate) fn subscribe(&self) {
        self.operator.run("subscribe --settle 0").exits(0);
        let subscriptions = self.system.api.subscriptions();
        let secret = &subscriptions.last().unwrap().secret;
        self.system.emulators.secret.rotate(secret);
    }

    fn run_doctor(&self) -> Run {
        self.operator.run("--json doctor")
    }

    /// What doctor found about a subject, without the findings with the verdicts fine and note.
    fn problems(&self, subject: &str) -> Vec<String> {
        let all = self.run_doctor().json();
        let all = all.as_array().unwrap().iter();
        all.filter(|it| it["subject"] == subject)
            .filter(|it| it["verdict"] != "fine" && it["verdict"] != "note")
            .map(|it| it["found"].as_str().unwrap().to_owned())
            .collect()
    }

    #[track_caller]
    fn assert_problem(&self, subject: &str, found: &str) {
        let problems = self.problems(subject);
        assert!(problems.iter().any(|it| it == found), "{problems:?}");
    }
}

#[test]
fn reports_no_problem_of_a_correct_stack() {
    let test = DoctorTest::new();
    test.subscribe();
    for subject in [
        "secret",
        "function",
        "subscription",
        "permissions",
        "deliveries table",
        "alarms",
        "alarm topic",
        "log",
        "clock",
    ] {
        assert_eq!(test.problems(subject), [""; 0], "{subject}");
    }
    let run = test.run_doctor();
    let found = run.json();
    let live = test.system.api.only_subscription();
    let active = json!({
        "subject": "subscription", "verdict": "fine",
        "found": format!("{} is active and posts to {}", live.id, live.url),
    });
    assert!(found.as_array().unwrap().contains(&active), "{found}");
    for subject in [
        "secret",
        "function",
        "permissions",
        "contacts queue",
        "clock",
    ] {
        let fine = found.as_array().unwrap().iter();
        let fine = fine.filter(|it| it["subject"] == subject && it["verdict"] == "fine");
        assert!(fine.count() > 0, "{subject}");
    }
    run.does_not_contain(&[titanx_testbed::emulators::SIGNING_SECRET]);
}

#[test]
fn accepts_every_form_of_a_stored_secret() {
    let test = DoctorTest::new();
    for (value, form) in [
        ("wh_sk_synthetic", "plain text"),
        ("[\"wh_sk_synthetic\"]\n", "a JSON array"),
        (
            "{\"any\": \"wh_sk_synthetic\"}",
            "a JSON object with one member",
        ),
    ] {
        test.system.emulators.secret.rotate(value);
        assert_eq!(test.problems("secret"), [""; 0], "{value}");
        let printed = test.operator.run("doctor --verbose").exits(3).stdout;
        let expected = format!("one secret is live, stored as {form}");
        assert!(printed.contains(&expected), "{printed}");
    }
}

#[test]
fn reads_the_key_form_of_the_deployed_function() {
    let test = DoctorTest::new();
    test.system.emulators.secret.rotate("wh_sk_synthetic");
    let set = |form: &str| {
        test.control.update(|it| {
            it.function["Environment"]["Variables"]["SIGNING_KEY_FORM"] = form.into();
        });
    };
    for form in ["any", "whole", "without-prefix"] {
        set(form);
        assert_eq!(test.problems("secret"), [""; 0], "{form}");
        let printed = test.operator.run("doctor --verbose").exits(3).stdout;
        let pinned = format!("accepts only signing keys of the form {form} (SIGNING_KEY_FORM)\n");
        assert_eq!(printed.contains(&pinned), form != "any", "{printed}");
    }
    set("decoded");
    test.assert_problem("secret", "a stored secret has no key of the form decoded, which SIGNING_KEY_FORM demands, so no signature made with it is accepted");
    set("hex");
    test.assert_problem("function", "the configuration has mistakes: SIGNING_KEY_FORM must be any, whole, without-prefix or decoded");
}

#[test]
fn asks_titanx_for_an_active_subscription_of_this_stack() {
    let test = DoctorTest::new();
    let url = &test.system.gateway.url;
    test.assert_problem(
        "subscription",
        &format!("none of the 0 subscriptions at TitanX posts to {url}"),
    );
    let slash = format!("subscribe --settle 0 --skip-probe --url {url}/");
    test.operator.run(&slash).exits(0);
    test.assert_problem(
        "subscription",
        &format!("none of the 1 subscriptions at TitanX posts to {url}; one posts to {url}/, which is another URL of the same host"),
    );
    test.subscribe();
    assert_eq!(test.problems("subscription"), [""; 0]);
    let id = test.system.api.subscriptions()[1].id.clone();
    test.operator.run(&format!("pause {id} --yes")).exits(0);
    test.assert_problem(
        "subscription",
        &format!("{id} for this stack is inactive, so TitanX delivers no events"),
    );
    test.operator.run(&format!("delete {id} --yes")).exits(0);
    test.system.api.set_granted(&["job.contact.scored"]);
    test.operator.run("subscribe --settle 0").exits(3);
    let without_jobs = "does not have the event type job.completed: no job is marked completed; \
                        contacts arrive all the same";
    test.assert_problem("subscription", without_jobs);
    // Nothing arrives through one that is paused.
    let mut all = test.system.api.subscriptions();
    let paused = Subscription {
        id: "paused".to_owned(),
        events: ["job.contact.scored", "job.completed"]
            .map(str::to_owned)
            .into(),
        active: false,
        ..all.last().unwrap().clone()
    };
    all.push(paused);
    test.system.api.put_subscriptions(&all);
    test.assert_problem("subscription", without_jobs);
}

/// That is no reason to believe that it does not deliver them.
#[test]
fn event_types_that_titanx_does_not_tell_are_not_taken_for_missing() {
    let test = DoctorTest::new();
    test.subscribe();
    let mut all = test.system.api.subscriptions();
    all[0].events.clear();
    test.system.api.put_subscriptions(&all);
    assert_eq!(test.problems("subscription"), [""; 0]);
    let found = test.run_doctor();
    assert!(
        found
            .stdout
            .contains("TitanX does not say which event types it delivers"),
        "{}",
        found.stdout
    );
}

#[test]
fn says_why_titanx_could_not_be_asked() {
    let mut test = DoctorTest::new();
    let operator = test.operator.clone();
    let told = |test: &DoctorTest| {
        let all = test.operator.run("--json doctor").exits(3).json();
        let all = all.as_array().unwrap();
        let told = all.iter().find(|it| it["subject"] == "subscription");
        let told = told.unwrap();
        assert_eq!(told["verdict"], "unknown");
        ["found", "advice"].map(|name| told[name].as_str().unwrap().to_owned())
    };
    test.operator = operator.clone().set("TITANX_API_KEY", "another-key");
    let [found, advice] = told(&test);
    assert_eq!(
        found,
        "GET /webhooks: TitanX answered 401: Unauthorized: it does not accept the API key for this; check \
         TITANX_API_KEY or the file of --api-key-file"
    );
    assert!(advice.starts_with("use an API key of the TitanX user"));
    test.operator = operator;
    test.system.api.fail("GET /webhooks", Failure::Status(400));
    let [found, advice] = told(&test);
    assert_eq!(found, "GET /webhooks: TitanX answered 400: No.");
    assert_eq!(advice, "run this command again later");
    test.system.api.disable_management();
    let [found, advice] = told(&test);
    assert_eq!(
        found,
        "GET /webhooks: not supported by TitanX, or no such id (TitanX answered 404)"
    );
    assert!(advice.starts_with("look in TitanX's app"), "{advice}");
}

#[test]
fn begins_with_what_is_wrong_and_ends_with_a_count() {
    let test = DoctorTest::new();
    test.subscribe();
    let run = test.operator.run("doctor").exits(3);
    let findings = run.stdout.lines().filter(|it| !it.starts_with(' '));
    let verdicts: Vec<_> = findings
        .map(|it| it.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(verdicts[0], "problem", "{}", run.stdout);
    assert!(!verdicts.contains(&"fine"), "{}", run.stdout);
    let problems = verdicts.iter().filter(|it| **it == "problem").count();
    let last = run.stdout.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("{problems} problems, ")),
        "{last}"
    );
    assert!(last.ends_with(" fine (--verbose shows them)"), "{last}");
    let all = test.operator.run("doctor -v").exits(3).stdout;
    let fine = all.lines().filter(|it| it.starts_with("fine ")).count();
    assert!(last.contains(&format!(" {fine} fine ")), "{last}");
    assert!(
        all.lines()
            .last()
            .unwrap()
            .ends_with(&format!(" {fine} fine")),
        "{all}"
    );
}

#[test]
fn prints_what_to_do_about_each_finding() {
    let test = DoctorTest::new();
    let run = test.operator.run("doctor").exits(3);
    // The emulated queues have none.
    let advice = "dead-letter queue: none\n         → add a dead-letter queue";
    assert!(run.stdout.contains(advice), "{}", run.stdout);
}

const MALFORMED: &str = "the value begins with '{', '[' or '\"', but is none of: a secret, a JSON array of \
                         secrets, a JSON object whose only member is a secret; the receiver answers \
                         every delivery with 503";

#[test]
fn reports_a_malformed_secret_without_printing_it() {
    let test = DoctorTest::new();
    for (value, found) in [
        (
            "wh_sk_synthetic\n",
            "has a newline around it, which the receiver ignores",
        ),
        (
            " wh_sk_synthetic",
            "has blanks around it, which the receiver ignores",
        ),
        (
            "\u{7}wh_sk_synthetic",
            "has control characters around it, which the receiver ignores",
        ),
        (
            "\"wh_sk_synthetic\"",
            "has quotes around it, which the receiver ignores",
        ),
        (
            "\u{FEFF}wh_sk_synthetic",
            "has a byte order mark (U+FEFF) around it, which the receiver ignores",
        ),
        (
            "wh_sk_synthetic\u{200B}",
            "has zero-width characters around it, which the receiver ignores",
        ),
        (
            "\u{FEFF}[\"wh_sk_synthetic\"]",
            "has a byte order mark (U+FEFF) around it, which the receiver ignores",
        ),
        (
            "{\"key\": \"'wh_sk_synthetic' \"}",
            "has quotes, blanks around it, which the receiver ignores",
        ),
        // Any of several.
        (
            "[\"wh_sk_a\", \"wh_sk_b\\n\"]",
            "has a newline around it, which the receiver ignores",
        ),
        (
            "[\"wh_sk_a\", \" wh_sk_b\"]",
            "has blanks around it, which the receiver ignores",
        ),
        ("[\"wh_sk_synthetic\"", MALFORMED),
        ("{\"a\": \"wh_sk_synthetic\", \"b\": \"c\"}", MALFORMED),
        (
            "[\"wh_sk_a\", \"wh_sk_b\", \"wh_sk_c\"]",
            "3 secrets are live",
        ),
    ] {
        test.system.emulators.secret.rotate(value);
        test.assert_problem("secret", found);
        test.run_doctor()
            .does_not_contain(&["synthetic\"", "sk_synthetic"]);
    }
}

#[test]
fn mentions_an_unknown_secret_prefix_without_a_problem() {
    let test = DoctorTest::new();
    test.system.emulators.secret.rotate("synthetic");
    assert_eq!(test.problems("secret"), [""; 0]);
    let printed = test.operator.run("doctor").exits(3).stdout;
    assert!(printed.contains("has neither known prefix"), "{printed}");
}

#[test]
fn reports_a_timeout_that_is_too_long_and_a_missing_variable() {
    let test = DoctorTest::new();
    test.control.update(|it| it.function["Timeout"] = 30.into());
    test.assert_problem("function", "has a timeout of 30 s");
    test.control.update(|it| {
        let variables = it.function["Environment"]["Variables"]
            .as_object_mut()
            .unwrap();
        variables.remove("JOBS_TABLE");
    });
    test.assert_problem(
        "function",
        "the configuration has mistakes: JOBS_TABLE is missing",
    );
}

#[test]
fn reports_a_missing_permission() {
    let test = DoctorTest::new();
    test.control
        .update(|it| it.denied.push("dynamodb:DeleteItem".to_owned()));
    test.assert_problem(
        "permissions",
        "dynamodb:DeleteItem on arn:aws:dynamodb:dynoxide:000000000000:table/deliveries: denied",
    );
    assert_eq!(test.problems("permissions").len(), 1);
}

#[test]
fn reports_a_retention_shorter_than_the_retry_window() {
    let test = DoctorTest::new();
    test.control.update(|it| {
        it.parameters
            .insert("DeliveryRetentionDays".to_owned(), "6".to_owned());
    });
    test.assert_problem(
        "deliveries table",
        "keeps the record of a delivery for 6 days",
    );
}

#[test]
fn reports_a_table_with_another_key() {
    let test = DoctorTest::new();
    test.control.update(|it| {
        let jobs = it.outputs["JobsTable"].clone();
        it.outputs.insert("DeliveriesTable".to_owned(), jobs);
    });
    test.assert_problem("deliveries table", "has the key job_id");
    test.assert_problem("deliveries table", "has no TTL attribute");
}

#[test]
fn reports_messages_in_the_quarantine_queue() {
    let test = DoctorTest::new();
    test.system
        .emulators
        .quarantine
        .put("{}", &[("reason", "not_envelope")]);
    test.assert_problem("quarantine queue", "holds about 1 messages");
}

#[test]
fn reports_missing_alarms_alarms_without_action_and_alarms_in_state_alarm() {
    let test = DoctorTest::new();
    test.control.update(|it| {
        it.alarms[0]["AlarmActions"] = json!([]);
        it.alarms[0]["StateValue"] = "ALARM".into();
    });
    test.assert_problem(
        "alarms",
        "titanx-receiver-QuarantineAlarm-1 has no enabled action",
    );
    test.assert_problem(
        "alarms",
        "titanx-receiver-QuarantineAlarm-1 is in state ALARM: Redrive the queue.",
    );
    test.control.update(|it| it.alarms.clear());
    test.assert_problem("alarms", "the stack has 0");
}

#[test]
fn reports_an_unreadable_resource_and_checks_the_others() {
    let mut test = DoctorTest::new();
    let nowhere = "http://127.0.0.1:9";
    test.operator = test
        .operator
        .clone()
        .set("AWS_ENDPOINT_URL_LAMBDA", nowhere);
    let found =
        "cannot read the function receiver: tcp connect error: Connection refused (os error 111)";
    test.assert_problem("function", found);
    test.assert_problem("permissions", found);
    assert_eq!(test.problems("deliveries table"), [""; 0]);
}

#[test]
fn checks_the_alarms_on_every_page() {
    let test = DoctorTest::new();
    test.control.update(|it| {
        let mut ringing = it.alarms[0].clone();
        ringing["AlarmName"] = "titanx-receiver-Last-1".into();
        ringing["StateValue"] = "ALARM".into();
        it.alarms = vec![it.alarms[0].clone(), it.alarms[0].clone(), ringing];
    });
    test.assert_problem(
        "alarms",
        "titanx-receiver-Last-1 is in state ALARM: Redrive the queue.",
    );
}

#[test]
fn recommends_an_alarm_on_silence_until_there_is_one() {
    let test = DoctorTest::new();
    let silence = || {
        let all = test.run_doctor().json();
        let all = all.as_array().unwrap().clone();
        let mut all = all.into_iter().filter(|it| it["subject"] == "alarms");
        let found = all.find(|it| {
            let found = it["found"].as_str().unwrap();
            found.contains("nothing arrives") || found.contains("nothing was accepted")
        });
        found.unwrap()
    };
    let set = |hours: Option<&str>| {
        test.control.update(|it| {
            let name = "SilenceAlarmHours".to_owned();
            match hours {
                Some(hours) => it.parameters.insert(name, hours.to_owned()),
                None => it.parameters.remove(&name),
            };
        });
    };
    // A stack of before the parameter has none, either.
    for off in [None, Some("0")] {
        set(off);
        let note = silence();
        assert_eq!(note["verdict"], "note", "{note}");
        let advice = note["advice"].as_str().unwrap();
        assert!(advice.contains("SilenceAlarmHours"), "{advice}");
    }
    set(Some("72"));
    assert_eq!(silence()["verdict"], "fine");
    assert_eq!(
        silence()["found"],
        "one rings when nothing was accepted for 72 hours"
    );
}

#[test]
fn reports_an_alarm_topic_that_nobody_listens_to() {
    let test = DoctorTest::new();
    let set = |subscriptions: &[&'static str]| {
        test.control
            .update(|it| it.subscriptions = subscriptions.to_vec());
    };
    set(&[]);
    test.assert_problem(
        "alarm topic",
        "has no subscriber, so nobody learns of an alarm",
    );
    set(&["PendingConfirmation", "PendingConfirmation"]);
    test.assert_problem(
        "alarm topic",
        "has no confirmed subscriber, so nobody learns of an alarm",
    );
    assert_eq!(test.problems("alarm topic").len(), 1);
    let printed = test.operator.run("doctor").exits(3).stdout;
    assert!(
        !printed.contains("of its subscriptions are not"),
        "{printed}"
    );
    // On the last page.
    set(&["PendingConfirmation", "Deleted", SUBSCRIPTION]);
    assert_eq!(test.problems("alarm topic"), [""; 0]);
    let printed = test.operator.run("doctor").exits(3).stdout;
    assert!(
        printed.contains("2 of its subscriptions are not confirmed"),
        "{printed}"
    );
    set(&[SUBSCRIPTION, SUBSCRIPTION]);
    let printed = test.operator.run("doctor -v").exits(3).stdout;
    assert!(printed.contains("has 2 confirmed subscribers"), "{printed}");
    assert!(!printed.contains("not confirmed"), "{printed}");
}

#[test]
fn reports_a_page_without_action() {
    let test = DoctorTest::new();
    test.control.update(|it| {
        it.alarms.push(json!({
            "AlarmName": "titanx-receiver-PageAlarm-1", "AlarmRule": "ALARM(\"other\")",
            "AlarmActions": [], "ActionsEnabled": true, "StateValue": "OK",
        }));
    });
    let found = "titanx-receiver-PageAlarm-1 has no enabled action";
    test.assert_problem("alarms", found);
    test.control.update(|it| {
        it.alarms[1]["AlarmActions"] = json!([TOPIC]);
        it.alarms[1]["ActionsEnabled"] = false.into();
    });
    test.assert_problem("alarms", found);
    test.control
        .update(|it| it.alarms[1]["ActionsEnabled"] = true.into());
    assert_eq!(test.problems("alarms"), [""; 0]);
}

#[test]
fn reports_a_log_that_starves_metrics_and_alarms() {
    let test = DoctorTest::new();
    let set = |name: &str, value: &str| {
        test.control
            .update(|it| it.function["LoggingConfig"][name] = value.into());
    };
    for (level, counts_all) in [
        ("TRACE", true),
        ("DEBUG", true),
        ("WARN", false),
        ("ERROR", false),
        ("FATAL", false),
        ("INFO", true),
    ] {
        set("ApplicationLogLevel", level);
        let expected = format!("has the application log level {level}");
        let expected: &[String] = if counts_all { &[] } else { &[expected] };
        assert_eq!(test.problems("log"), expected);
    }
    set("LogFormat", "Text");
    assert_eq!(test.problems("log"), ["has the format Text"]);
    set("LogFormat", "JSON");
    set("LogGroup", "/aws/lambda/other");
    assert_eq!(test.problems("log"), ["goes to /aws/lambda/other"]);
    test.control.update(|it| {
        it.function.as_object_mut().unwrap().remove("LoggingConfig");
    });
    assert_eq!(test.problems("log").len(), 3);
}

#[test]
fn fails_once_if_the_stack_cannot_be_read() {
    let test = DoctorTest::new();
    let nowhere = "http://127.0.0.1:9";
    let operator = test.operator.clone();
    let operator = operator.set("AWS_ENDPOINT_URL_CLOUDFORMATION", nowhere);
    let run = operator.run("doctor").exits(1);
    assert_eq!(run.stdout, "");
    run.tells(
        "error: cannot read the stack titanx-receiver: tcp connect error: Connection refused (os error 111)",
    );
    // Whatever else answers there.
    let none = Server::start("no-stacks", |_| async {
        let none = "<DescribeStacksResponse><DescribeStacksResult><Stacks/></DescribeStacksResult></DescribeStacksResponse>";
        Some(server::text(200, "text/xml", none))
    });
    let operator = operator.set("AWS_ENDPOINT_URL_CLOUDFORMATION", &none.origin);
    operator
        .run("doctor")
        .exits(1)
        .tells("error: there is no stack titanx-receiver");
}

#[test]
fn does_not_blame_permissions_for_an_unreachable_webhook() {
    let test = DoctorTest::new();
    let operator = test.operator.clone();
    let operator = operator.set("WEBHOOK_URL", "http://127.0.0.1:9/webhooks/titanx");
    let all = operator.run("--json doctor").exits(3).json();
    let all = all.as_array().unwrap();
    let clock = all.iter().find(|it| it["subject"] == "clock").unwrap();
    assert_eq!(clock["verdict"], "unknown");
    let advice = clock["advice"].as_str().unwrap();
    assert!(advice.contains("can reach the webhook URL"), "{advice}");
}

#[test]
fn says_if_the_deliveries_go_to_other_code_than_was_deployed_last() {
    let test = DoctorTest::new();
    let notes = || {
        let found = test.run_doctor().json();
        let found = found.as_array().unwrap().iter();
        found
            .filter(|it| it["subject"] == "function" && it["verdict"] == "note")
            .map(|it| it["found"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(notes(), [""; 0]);
    test.control
        .update(|it| it.latest["CodeSha256"] = "newer code".into());
    let expected = "the deliveries go to version 3, which has other code than was deployed last";
    assert_eq!(notes(), [expected]);
}

#[test]
fn several_active_subscriptions_are_a_note() {
    let test = DoctorTest::new();
    test.subscribe();
    let mut all = test.system.api.subscriptions();
    let another = Subscription {
        id: "another".to_owned(),
        ..all[0].clone()
    };
    all.push(another);
    test.system.api.put_subscriptions(&all);
    let found = test.run_doctor().json();
    let mut found = found.as_array().unwrap().iter();
    let found = found.find(|it| it["subject"] == "subscription").unwrap();
    let said = format!(
        "{}, another are active for this stack, so each event arrives more than once, with several \
         delivery ids",
        all[0].id
    );
    assert_eq!(
        [&found["verdict"], &found["found"]],
        ["note", said.as_str()]
    );
}

#[test]
fn a_key_of_ones_own_must_be_allowed_to_the_function() {
    let test = DoctorTest::new();
    let key = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    test.control.update(|it| {
        it.denied = vec!["kms:GenerateDataKey".to_owned()];
    });
    // Without a key, nothing is asked about one.
    assert_eq!(test.problems("permissions"), [""; 0]);
    test.control.update(|it| {
        it.parameters.insert("KmsKeyArn".to_owned(), key.to_owned());
    });
    let expected = format!("kms:GenerateDataKey on {key}: denied");
    assert_eq!(test.problems("permissions"), [expected]);
}
