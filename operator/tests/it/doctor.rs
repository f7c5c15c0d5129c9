use serde_json::{Value, json};

use crate::{
    System,
    control_plane::{ControlPlane, Deployed},
    operator::{Operator, Run},
    titanx_api::Form,
};

/// A system and the services that tell of its deployment; what the emulators lack (dead-letter
/// queues, point-in-time recovery) is found missing.
struct Examined {
    system: System,
    control: ControlPlane,
    operator: Operator,
}

fn deployed(system: &System) -> Deployed {
    let environment = system.emulators.environment();
    let output = |name: &str, variable: &str| (name.to_owned(), environment[variable].clone());
    let variables: Value = environment
        .iter()
        .filter(|(name, _)| !name.starts_with("AWS_"))
        .map(|(name, value)| ((*name).to_owned(), Value::from(value.clone())))
        .collect();
    Deployed {
        outputs: [
            ("WebhookUrl".to_owned(), system.gateway.url.clone()),
            ("ReceiverFunction".to_owned(), "receiver".to_owned()),
            output("WebhookSecretArn", "TITANX_WEBHOOK_SECRET_ARN"),
            output("DeliveriesTable", "DELIVERIES_TABLE"),
            output("JobsTable", "JOBS_TABLE"),
            output("ContactsQueueUrl", "CONTACTS_QUEUE_URL"),
            output("QuarantineQueueUrl", "QUARANTINE_QUEUE_URL"),
        ]
        .into(),
        parameters: [("DeliveryRetentionDays".to_owned(), "7".to_owned())].into(),
        function: json!({
            "FunctionName": "receiver",
            "Role": "arn:aws:iam::000000000000:role/receiver",
            "Timeout": 8,
            "MemorySize": 128,
            "Environment": {"Variables": variables},
        }),
        denied: Vec::new(),
        alarms: vec![json!({
            "AlarmName": "titanx-receiver-QuarantineAlarm-1",
            "AlarmActions": ["arn:aws:sns:us-east-1:000000000000:alarms"],
            "ActionsEnabled": true,
            "AlarmDescription": "Redrive the queue.",
            "StateValue": "OK",
        })],
    }
}

impl Examined {
    fn new() -> Self {
        let system = System::start(Form::Schema);
        let control = ControlPlane::start(deployed(&system));
        let emulators = &system.emulators;
        let mut operator = Operator::default()
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
        for service in ["CLOUDFORMATION", "LAMBDA", "IAM", "CLOUDWATCH"] {
            operator = operator.set(&format!("AWS_ENDPOINT_URL_{service}"), &control.url);
        }
        Self {
            system,
            control,
            operator,
        }
    }

    fn examine(&self) -> Run {
        self.operator.run("--json doctor")
    }

    /// What is found about a subject, with any verdict but fine.
    fn complaints(&self, subject: &str) -> Vec<String> {
        let all = self.examine().json();
        let all = all.as_array().unwrap().iter();
        all.filter(|it| it["subject"] == subject && it["verdict"] != "fine")
            .map(|it| it["found"].as_str().unwrap().to_owned())
            .collect()
    }

    #[track_caller]
    fn complains(&self, subject: &str, found: &str) {
        let complaints = self.complaints(subject);
        assert!(
            complaints.iter().any(|it| it.contains(found)),
            "{complaints:?}"
        );
    }
}

#[test]
fn a_system_that_is_as_it_should_be_is_fine() {
    let examined = Examined::new();
    for subject in [
        "secret",
        "function",
        "permissions",
        "deliveries table",
        "alarms",
        "clock",
    ] {
        assert_eq!(examined.complaints(subject), [""; 0], "{subject}");
    }
    let run = examined.examine();
    let found = run.json();
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
    run.tells_nothing_of(&[titanx_testbed::emulators::SIGNING_SECRET]);
}

#[test]
fn what_to_do_stands_beside_each_finding() {
    let examined = Examined::new();
    let run = examined.operator.run("doctor").exits(3);
    // The emulators' queues have none.
    let advice = "dead-letter queue: none\n         → give it a dead-letter queue";
    assert!(run.stdout.contains(advice), "{}", run.stdout);
}

#[test]
fn a_secret_of_odd_form_is_told_without_telling_it() {
    let examined = Examined::new();
    for (value, found) in [
        ("wh_sk_synthetic\n", "a newline or blank stands around it"),
        (" wh_sk_synthetic", "a newline or blank stands around it"),
        ("\"wh_sk_synthetic\"", "it begins with a quote or a brace"),
        ("[\"wh_sk_synthetic\"", "not a JSON array"),
        (
            "[\"wh_sk_a\", \"wh_sk_b\", \"wh_sk_c\"]",
            "3 secrets are live",
        ),
    ] {
        examined.system.emulators.secret.rotate(value);
        examined.complains("secret", found);
        examined
            .examine()
            .tells_nothing_of(&["synthetic\"", "sk_synthetic"]);
    }
}

#[test]
fn an_unknown_prefix_is_told_and_no_fault() {
    let examined = Examined::new();
    examined.system.emulators.secret.rotate("synthetic");
    assert_eq!(examined.complaints("secret"), [""; 0]);
    let told = examined.operator.run("doctor").exits(3).stdout;
    assert!(told.contains("has neither of the prefixes known"), "{told}");
}

#[test]
fn a_function_that_is_cut_off_too_late_or_not_configured_is_told() {
    let examined = Examined::new();
    examined
        .control
        .change(|it| it.function["Timeout"] = 30.into());
    examined.complains("function", "is cut off after 30 s");
    examined.control.change(|it| {
        let variables = it.function["Environment"]["Variables"]
            .as_object_mut()
            .unwrap();
        variables.remove("JOBS_TABLE");
    });
    examined.complains("function", "JOBS_TABLE is missing");
}

#[test]
fn a_missing_permission_is_told() {
    let examined = Examined::new();
    examined
        .control
        .change(|it| it.denied.push("dynamodb:DeleteItem".to_owned()));
    examined.complains("permissions", "dynamodb:DeleteItem on arn:aws:dynamodb");
    assert_eq!(examined.complaints("permissions").len(), 1);
}

#[test]
fn a_retention_shorter_than_the_retries_is_told() {
    let examined = Examined::new();
    examined.control.change(|it| {
        it.parameters
            .insert("DeliveryRetentionDays".to_owned(), "3".to_owned());
    });
    examined.complains("deliveries table", "remembers a delivery for 3 days");
}

#[test]
fn a_table_of_another_key_is_told() {
    let examined = Examined::new();
    examined.control.change(|it| {
        let jobs = it.outputs["JobsTable"].clone();
        it.outputs.insert("DeliveriesTable".to_owned(), jobs);
    });
    examined.complains("deliveries table", "has the key job_id");
    examined.complains("deliveries table", "expires records by nothing");
}

#[test]
fn what_waits_in_quarantine_is_told() {
    let examined = Examined::new();
    examined
        .system
        .emulators
        .quarantine
        .put("{}", &[("reason", "not_envelope")]);
    examined.complains("quarantine queue", "holds about 1 deliveries");
}

#[test]
fn alarms_that_nobody_hears_or_that_ring_are_told() {
    let examined = Examined::new();
    examined.control.change(|it| {
        it.alarms[0]["AlarmActions"] = json!([]);
        it.alarms[0]["StateValue"] = "ALARM".into();
    });
    examined.complains("alarms", "nobody hears titanx-receiver-QuarantineAlarm-1");
    examined.complains("alarms", "rings: Redrive the queue.");
    examined.control.change(|it| it.alarms.clear());
    examined.complains("alarms", "there are 0");
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_examined() {
    let mut examined = Examined::new();
    let nowhere = "http://127.0.0.1:9";
    examined.operator = examined
        .operator
        .clone()
        .set("AWS_ENDPOINT_URL_LAMBDA", nowhere);
    examined.complains("function", "cannot read the function receiver");
    examined.complains("permissions", "cannot read the function receiver");
    assert_eq!(examined.complaints("deliveries table"), [""; 0]);
}

#[test]
fn an_alarm_on_a_later_page_is_heard() {
    let examined = Examined::new();
    examined.control.change(|it| {
        let mut ringing = it.alarms[0].clone();
        ringing["AlarmName"] = "titanx-receiver-Last-1".into();
        ringing["StateValue"] = "ALARM".into();
        it.alarms = vec![it.alarms[0].clone(), it.alarms[0].clone(), ringing];
    });
    examined.complains("alarms", "titanx-receiver-Last-1 rings");
}

#[test]
fn a_stack_that_cannot_be_read_is_told_once() {
    let examined = Examined::new();
    let nowhere = "http://127.0.0.1:9";
    let operator = examined.operator.clone();
    let operator = operator.set("AWS_ENDPOINT_URL_CLOUDFORMATION", nowhere);
    let run = operator.run("doctor").exits(1);
    assert_eq!(run.stdout, "");
    let told = "error: cannot read the stack titanx-receiver";
    assert!(run.stderr.starts_with(told), "{}", run.stderr);
}

#[test]
fn a_webhook_that_cannot_be_reached_is_no_matter_of_permissions() {
    let examined = Examined::new();
    let operator = examined.operator.clone();
    let operator = operator.set("WEBHOOK_URL", "http://127.0.0.1:9/webhooks/titanx");
    let all = operator.run("--json doctor").exits(3).json();
    let all = all.as_array().unwrap();
    let clock = all.iter().find(|it| it["subject"] == "clock").unwrap();
    assert_eq!(clock["verdict"], "unknown");
    let advice = clock["advice"].as_str().unwrap();
    assert!(advice.contains("reach the webhook's URL"), "{advice}");
}
