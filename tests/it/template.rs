//! `template.yaml` deploys what the code expects: names, keys, limits, permissions, and the patterns of the metric filters.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};
use titanx_receiver::{budget, config::Config, deliveries, jobs, queue};

/// Every name that template and code share, repeated here by hand.
mod names {
    /// The variables that the function reads, each with its resource or parameter.
    pub(super) const VARIABLES: [(&str, &str); 7] = [
        ("DELIVERIES_TABLE", "DeliveriesTable"),
        ("JOBS_TABLE", "JobsTable"),
        ("CONTACTS_QUEUE_URL", "ContactsQueue"),
        ("QUARANTINE_QUEUE_URL", "QuarantineQueue"),
        ("TITANX_WEBHOOK_SECRET_ARN", "WebhookSecret"),
        ("DELIVERY_RETENTION_DAYS", "DeliveryRetentionDays"),
        ("SIGNING_KEY_FORM", "SigningKeyForm"),
    ];
    /// The key of the deliveries table, and its TTL attribute.
    pub(super) const DELIVERY_KEY: &str = "delivery_id";
    pub(super) const EXPIRATION: &str = "expiration";
    /// The key of the jobs table.
    pub(super) const JOB_KEY: &str = "job_id";
    /// The function's binary.
    pub(super) const BINARY: &str = "receiver";
    /// The path of the webhook URL.
    pub(super) const PATH: &str = "/webhooks/titanx";
}

/// Seconds that TitanX waits for an answer, and the function's budget.
const TITANX_DEADLINE: u64 = 10;
const BUDGET: u64 = 6;
/// Days for which TitanX retries.
const TITANX_RETRIES: u64 = 3;
/// An event is stale this many days before the end of the retention.
const STALE_BEFORE_THE_END: u64 = 3;
/// The maximum size of a message of SQS in bytes, and its maximum retention in seconds.
const SQS_LARGEST_MESSAGE: u64 = 1024 * 1024;
const SQS_LONGEST_RETENTION: u64 = 14 * 24 * 60 * 60;

const QUEUES: [&str; 4] = [
    "ContactsQueue",
    "ContactsDeadLetterQueue",
    "QuarantineQueue",
    "QuarantineDeadLetterQueue",
];

#[test]
fn names_and_limits_are_equal_in_code_and_template() {
    assert_eq!(deliveries::DELIVERY_ID, names::DELIVERY_KEY);
    assert_eq!(deliveries::EXPIRATION, names::EXPIRATION);
    assert_eq!(jobs::JOB_ID, names::JOB_KEY);
    assert_eq!(queue::MAX_MESSAGE_BYTES as u64, SQS_LARGEST_MESSAGE);
    assert_eq!(budget::BUDGET.as_secs(), BUDGET);
}

#[test]
fn the_function_starts_with_the_variables_of_the_template_alone() {
    let given = deployed();
    let asked = RefCell::new(BTreeSet::new());
    Config::from_env(|name| {
        asked.borrow_mut().insert(name.to_owned());
        given.get(name).map(ToString::to_string)
    })
    .unwrap();

    let ours: BTreeSet<String> = asked
        .into_inner()
        .into_iter()
        .filter(|name| !name.starts_with("AWS_"))
        .collect();
    let mut expected = BTreeSet::from(names::VARIABLES.map(|(variable, _)| variable.to_owned()));
    // The other variable for the secret. Exactly one of the two may be set.
    expected.insert("TITANX_WEBHOOK_SECRET".to_owned());
    assert_eq!(ours, expected);
}

/// The variables of a deployed function.
fn deployed() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("DELIVERIES_TABLE", "stack-DeliveriesTable"),
        ("JOBS_TABLE", "stack-JobsTable"),
        ("CONTACTS_QUEUE_URL", "https://sqs.example/1/contacts.fifo"),
        ("QUARANTINE_QUEUE_URL", "https://sqs.example/1/quarantine"),
        (
            "TITANX_WEBHOOK_SECRET_ARN",
            "arn:aws:secretsmanager:::secret:x",
        ),
        ("DELIVERY_RETENTION_DAYS", "7"),
        ("SIGNING_KEY_FORM", "any"),
        // Variables that Lambda sets.
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ])
}

/// Whether a deployed function starts with this value of a variable.
fn starts_with(variable: &'static str, value: &str) -> bool {
    let given = deployed();
    let lookup = |name: &str| {
        let value = if name == variable {
            Some(&value)
        } else {
            given.get(name)
        };
        value.map(ToString::to_string)
    };
    Config::from_env(lookup).is_ok()
}

#[test]
fn the_function_is_given_every_variable_it_reads_and_no_other() {
    let expected: Map<String, Value> = names::VARIABLES
        .iter()
        .map(|(variable, source)| ((*variable).into(), json!({ "Ref": source })))
        .collect();
    assert_eq!(
        function()["Environment"]["Variables"],
        Value::Object(expected)
    );
}

#[test]
fn the_tables_have_the_keys_that_the_code_writes() {
    for (table, key) in [
        ("DeliveriesTable", names::DELIVERY_KEY),
        ("JobsTable", names::JOB_KEY),
    ] {
        let table = properties(table);
        assert_eq!(
            table["KeySchema"],
            json!([{ "AttributeName": key, "KeyType": "HASH" }])
        );
        assert_eq!(
            table["AttributeDefinitions"],
            json!([{ "AttributeName": key, "AttributeType": "S" }])
        );
    }
}

#[test]
fn deliveries_expire_by_the_attribute_that_the_code_writes() {
    assert_eq!(
        properties("DeliveriesTable")["TimeToLiveSpecification"],
        json!({ "AttributeName": names::EXPIRATION, "Enabled": true })
    );
}

#[test]
fn jobs_never_expire_can_be_followed_and_can_be_restored() {
    let jobs = properties("JobsTable");
    assert_eq!(jobs.get("TimeToLiveSpecification"), None);
    assert_eq!(
        jobs["StreamSpecification"]["StreamViewType"],
        "NEW_AND_OLD_IMAGES"
    );
    assert_eq!(
        jobs["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
        true
    );
}

#[test]
fn both_tables_are_encrypted_and_billed_by_request() {
    for table in ["DeliveriesTable", "JobsTable"] {
        assert_eq!(properties(table)["SSESpecification"]["SSEEnabled"], true);
        assert_eq!(properties(table)["BillingMode"], "PAY_PER_REQUEST");
    }
}

#[test]
fn the_function_outlasts_its_budget_and_ends_before_titanx_gives_up() {
    let timeout = function()["Timeout"].as_u64().unwrap();
    assert!(BUDGET < timeout && timeout < TITANX_DEADLINE, "{timeout}");
}

#[test]
fn a_delivery_is_remembered_for_longer_than_titanx_retries() {
    let retention = &template()["Parameters"]["DeliveryRetentionDays"];
    assert_eq!(retention["Type"], "Number");
    // One day more than TitanX retries, so that no retry is stale.
    let least = TITANX_RETRIES + 1 + STALE_BEFORE_THE_END;
    assert_eq!(retention["MinValue"].as_u64(), Some(least));
    assert_eq!(retention["Default"].as_u64(), Some(7));
    for (days, starts) in [(least, true), (least - 1, false)] {
        let variable = "DELIVERY_RETENTION_DAYS";
        assert_eq!(starts_with(variable, &days.to_string()), starts, "{days}");
    }
}

#[test]
fn every_form_of_the_signing_key_can_be_pinned_and_none_is_by_default() {
    let form = &template()["Parameters"]["SigningKeyForm"];
    assert_eq!(
        form["AllowedValues"],
        json!(["any", "whole", "without-prefix", "decoded"])
    );
    assert_eq!(form["Default"], "any");
    for value in form["AllowedValues"].as_array().unwrap() {
        assert!(starts_with("SIGNING_KEY_FORM", value.as_str().unwrap()));
    }
    assert!(!starts_with("SIGNING_KEY_FORM", "whsec"));
}

#[test]
fn every_queue_takes_the_largest_message_keeps_it_longest_and_encrypts_it() {
    for queue in QUEUES.map(properties) {
        assert_eq!(
            queue["MaximumMessageSize"].as_u64(),
            Some(SQS_LARGEST_MESSAGE)
        );
        assert_eq!(
            queue["MessageRetentionPeriod"].as_u64(),
            Some(SQS_LONGEST_RETENTION)
        );
        // With a key of one's own, SQS encrypts with that. scripts/template-check puts the values in.
        assert_eq!(
            queue["SqsManagedSseEnabled"],
            json!({ "Fn::If": ["HasKmsKey", { "Ref": "AWS::NoValue" }, true] })
        );
    }
}

#[test]
fn both_queues_have_a_dead_letter_queue_of_their_own() {
    for (queue, dead_letters) in [
        ("ContactsQueue", "ContactsDeadLetterQueue"),
        ("QuarantineQueue", "QuarantineDeadLetterQueue"),
    ] {
        assert_eq!(
            properties(queue)["RedrivePolicy"]["deadLetterTargetArn"],
            json!({ "Fn::GetAtt": format!("{dead_letters}.Arn") })
        );
    }
}

#[test]
fn the_contacts_queue_is_fifo_by_parameter_and_deduplicates_by_delivery_id_only() {
    let template = template();
    assert_eq!(
        template["Conditions"]["ContactsAreFifo"],
        json!({ "Fn::Equals": [{ "Ref": "ContactsQueueType" }, "fifo"] })
    );
    assert_eq!(
        template["Parameters"]["ContactsQueueType"]["Default"],
        "standard"
    );
    // SQS refuses a FIFO queue with a standard dead-letter queue.
    for queue in ["ContactsQueue", "ContactsDeadLetterQueue"].map(properties) {
        assert_eq!(if_fifo(&queue["FifoQueue"]), &json!(true));
        assert_eq!(if_fifo(&queue["ContentBasedDeduplication"]), &json!(false));
        assert_eq!(if_fifo(&queue["DeduplicationScope"]), "messageGroup");
        assert_eq!(if_fifo(&queue["FifoThroughputLimit"]), "perMessageGroupId");
        assert!(queue["QueueName"].get("Fn::If").is_some());
    }
}

#[test]
fn any_stack_name_makes_fifo_queues_also_when_the_queues_of_its_first_stack_are_still_there() {
    let longest = "s".repeat(128);
    let stack_id =
        |uuid| format!("arn:aws:cloudformation:us-east-1:123456789012:stack/{longest}/{uuid}");
    let stacks = [
        stack_id("51af3dc0-da77-11e4-872e-1234567abcdb"),
        // With the same name, and created at almost the same time.
        stack_id("51af3dc0-da77-11e4-872e-1234567abcdc"),
        stack_id("51af3dc1-da77-11e4-872e-1234567abcdb"),
    ];
    let mut taken = BTreeSet::new();
    for stack in &stacks {
        for queue in ["ContactsQueue", "ContactsDeadLetterQueue"].map(properties) {
            let name = resolved(if_fifo(&queue["QueueName"]), &longest, stack);
            let stem = name.strip_suffix(".fifo").unwrap();
            let is_allowed = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
            assert!(stem.chars().all(is_allowed), "{name}");
            // The limit includes the suffix.
            assert!(name.len() <= 80, "{name} has {}", name.len());
            assert!(taken.insert(name), "a name that is taken: {taken:?}");
        }
    }
    // CloudFormation generates all other names, except those of the log groups, which are deleted with their stack.
    let resources = template()["Resources"].clone();
    let is_named = |resource: &Value| {
        const NAMES: [&str; 7] = [
            "AlarmName",
            "FunctionName",
            "LogGroupName",
            "QueueName",
            "RoleName",
            "TableName",
            "TopicName",
        ];
        let has = |name: &&str| resource["Properties"].get(*name).is_some();
        let names_another = [
            "AWS::Logs::MetricFilter",
            "AWS::Lambda::EventInvokeConfig",
            "AWS::Lambda::Permission",
        ];
        !names_another.iter().any(|it| resource["Type"] == *it) && NAMES.iter().any(has)
    };
    let named: BTreeSet<&str> = resources
        .as_object()
        .unwrap()
        .iter()
        .filter_map(|(name, resource)| is_named(resource).then_some(name.as_str()))
        .collect();
    let expected = [
        "AccessLogGroup",
        "ContactsDeadLetterQueue",
        "ContactsQueue",
        "HealerLogGroup",
        "ReceiverLogGroup",
    ];
    assert_eq!(named, BTreeSet::from(expected));
    for group in ["AccessLogGroup", "HealerLogGroup", "ReceiverLogGroup"] {
        let name = &properties(group)["LogGroupName"];
        assert!(resolved(name, &longest, &stacks[0]).len() <= 512);
        assert_eq!(resources[group]["DeletionPolicy"], "Delete");
    }
}

#[test]
fn queues_jobs_and_secret_outlive_the_stack() {
    for kept in QUEUES.into_iter().chain(["JobsTable", "WebhookSecret"]) {
        let resource = &template()["Resources"][kept];
        assert_eq!(resource["DeletionPolicy"], "Retain", "{kept}");
        assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{kept}");
    }
}

#[test]
fn the_secret_is_created_without_a_value() {
    let secret = properties("WebhookSecret");
    assert_eq!(secret.get("SecretString"), None);
    assert_eq!(secret.get("GenerateSecretString"), None);
}

#[test]
fn the_role_allows_the_calls_of_the_function_and_nothing_else() {
    let role = properties("ReceiverRole");
    assert_eq!(function()["Role"], get_att("ReceiverRole.Arn"));
    assert_eq!(function().get("Policies"), None);
    assert_eq!(role.get("ManagedPolicyArns"), None);
    let [policy] = role["Policies"].as_array().unwrap().as_slice() else {
        panic!("more than one policy");
    };

    let granted: BTreeSet<String> = policy["PolicyDocument"]["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(grants)
        .collect();
    let needed = [
        ("dynamodb:PutItem", get_att("DeliveriesTable.Arn")),
        ("dynamodb:DeleteItem", get_att("DeliveriesTable.Arn")),
        ("dynamodb:UpdateItem", get_att("JobsTable.Arn")),
        ("sqs:SendMessage", get_att("ContactsQueue.Arn")),
        ("sqs:SendMessage", get_att("QuarantineQueue.Arn")),
        (
            "secretsmanager:GetSecretValue",
            json!({ "Ref": "WebhookSecret" }),
        ),
        ("logs:CreateLogStream", get_att("ReceiverLogGroup.Arn")),
        ("logs:PutLogEvents", get_att("ReceiverLogGroup.Arn")),
    ];
    let needed = needed.map(|(action, resource)| format!("{action} on {resource}"));
    assert_eq!(granted, BTreeSet::from(needed));
}

#[test]
fn no_event_of_sam_adds_a_route_or_a_permission() {
    // scripts/template-check looks at every combination of the parameters.
    assert_eq!(function().get("Events"), None);
    assert_eq!(function().get("FunctionUrlConfig"), None);
    let url = template()["Outputs"]["WebhookUrl"]["Value"].to_string();
    assert_eq!(url.matches(names::PATH).count(), 3, "{url}");
    // The function URL ends in a slash.
    assert!(url.contains(&format!("}}{}", &names::PATH[1..])), "{url}");
}

#[test]
fn log_lines_expire_and_lambda_adds_only_warnings() {
    assert_eq!(
        function()["LoggingConfig"],
        json!({
            "LogGroup": { "Ref": "ReceiverLogGroup" },
            "LogFormat": "JSON",
            "SystemLogLevel": "WARN",
            "ApplicationLogLevel": "INFO",
        })
    );
    assert_eq!(
        properties("ReceiverLogGroup")["RetentionInDays"],
        json!({ "Ref": "LogRetentionDays" })
    );
    assert_eq!(function()["Tracing"], "Disabled");
}

#[test]
fn the_threshold_of_the_duration_alarm_is_between_budget_and_timeout() {
    let threshold = properties("FunctionDurationAlarm")["Threshold"]
        .as_u64()
        .unwrap();
    let timeout = function()["Timeout"].as_u64().unwrap();
    assert!(
        BUDGET * 1000 < threshold && threshold < timeout * 1000,
        "{threshold}"
    );
}

#[test]
fn sam_and_cargo_lambda_deploy_the_same_function() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let deploy = &manifest["workspace"]["metadata"]["lambda"]["deploy"];
    let built = &template()["Resources"]["ReceiverFunction"]["Metadata"];
    assert_eq!(built["BuildMethod"], "rust-cargolambda");
    assert_eq!(built["BuildProperties"]["Binary"], names::BINARY);
    assert_eq!(deploy["binary_name"].as_str(), Some(names::BINARY));
    // They would put a stack's own back. scripts/deploy-check deploys over a stack with other values.
    assert_eq!(deploy.get("timeout"), None);
    assert_eq!(deploy.get("memory"), None);
    assert_eq!(function()["MemorySize"], json!({ "Ref": "MemorySize" }));
    assert_eq!(function()["Runtime"], "provided.al2023");
    assert_eq!(function()["Architectures"], json!(["arm64"]));
}

#[test]
fn a_panic_unwinds_in_what_cargo_lambda_builds() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let panic = &manifest["profile"]["release"]["panic"];
    assert_eq!(panic.as_str(), Some("unwind"));
}

/// The template, its short forms (`!Ref x`) written out (`{"Ref": "x"}`).
pub(crate) fn template() -> Value {
    let text = read("template.yaml");
    let documents = Yaml::load_from_str(&text).unwrap();
    let [template] = documents.as_slice() else {
        panic!("template.yaml holds {} documents", documents.len());
    };
    long_form(template)
}

pub(crate) fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn long_form(node: &Yaml) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(boolean)) => json!(boolean),
        Yaml::Value(Scalar::Integer(integer)) => json!(integer),
        Yaml::Value(Scalar::String(string)) => json!(string),
        Yaml::Sequence(items) => items.iter().map(long_form).collect(),
        Yaml::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| (key.as_str().unwrap().to_owned(), long_form(value)))
            .collect(),
        Yaml::Tagged(tag, argument) if tag.suffix == "Ref" => {
            json!({ "Ref": long_form(argument) })
        }
        Yaml::Tagged(tag, argument) => {
            json!({ format!("Fn::{}", tag.suffix): long_form(argument) })
        }
        other => panic!("not of a template: {other:?}"),
    }
}

pub(crate) fn properties(resource: &str) -> Value {
    let template = template();
    let properties = template["Resources"][resource].get("Properties");
    properties
        .unwrap_or_else(|| panic!("{resource} has no properties"))
        .clone()
}

fn function() -> Value {
    properties("ReceiverFunction")
}

fn get_att(attribute: &str) -> Value {
    json!({ "Fn::GetAtt": attribute })
}

/// The value of a property of a FIFO queue. A standard queue must not have the property.
fn if_fifo(property: &Value) -> &Value {
    let [condition, fifo, standard] = property["Fn::If"].as_array().unwrap().as_slice() else {
        panic!("not a choice: {property}");
    };
    assert_eq!(condition, "ContactsAreFifo");
    assert_eq!(standard, &json!({ "Ref": "AWS::NoValue" }));
    fifo
}

/// The text of a `Fn::Sub` in a stack with this name and id. It supports the functions that names use.
fn resolved(value: &Value, stack_name: &str, stack_id: &str) -> String {
    let resolve = |value: &Value| resolved(value, stack_name, stack_id);
    if let Some(text) = value.as_str() {
        return text.replace("${AWS::StackName}", stack_name);
    }
    let (function, argument) = value.as_object().unwrap().iter().next().unwrap();
    match (function.as_str(), argument) {
        ("Ref", reference) if reference == "AWS::StackId" => stack_id.to_owned(),
        ("Fn::Sub", Value::String(_)) => resolve(argument),
        ("Fn::Sub", Value::Array(parts)) => {
            let variables = parts[1].as_object().unwrap().iter();
            variables.fold(resolve(&parts[0]), |text, (name, value)| {
                text.replace(&format!("${{{name}}}"), &resolve(value))
            })
        }
        ("Fn::Select", Value::Array(parts)) => {
            let split = parts[1]["Fn::Split"].as_array().unwrap();
            let index = usize::try_from(parts[0].as_u64().unwrap()).unwrap();
            let text = resolve(&split[1]);
            let part = text.split(split[0].as_str().unwrap()).nth(index);
            part.unwrap().to_owned()
        }
        other => panic!("not a function of names: {other:?}"),
    }
}

/// Each action that a statement allows, with each resource for which it does.
pub(crate) fn grants(statement: &Value) -> Vec<String> {
    assert_eq!(statement["Effect"], "Allow");
    let resources = match &statement["Resource"] {
        Value::Array(resources) => resources.clone(),
        resource => vec![resource.clone()],
    };
    let actions = statement["Action"].as_array().unwrap();
    actions
        .iter()
        .map(|action| action.as_str().unwrap())
        .flat_map(|action| resources.iter().map(move |on| format!("{action} on {on}")))
        .collect()
}
