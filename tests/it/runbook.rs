//! `template.yaml` held to the runbook (`docs/operations.md`, `docs/monitoring.md`): what each alarm watches, what is counted, how often a
//! message is received, who may do what, and what the outputs point at.
//!
//! The tables are written from the runbook, and not from the template. Every check is a function over a parsed template that returns what is
//! wrong. So the last test can change each property of a copy, one at a time, and see that a check finds it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::template::{read, template};

/// Alarms on one metric. A period without data: `fine`, or `rings`. A row's comparison: `>=`, `>` or `<`. What depends on the entrance is
/// `of NAME`, its name in the mapping `EntranceMetrics`, and its dimension as in [`dimensions`].
const ALARMS: &str = "
alarm                     | condition       | namespace      | metric                             | dimension                                       | statistic | seconds | periods            | rings      | no data
QuarantineAlarm           | -               | AWS/SQS        | ApproximateNumberOfMessagesVisible | QueueName GetAtt QuarantineQueue.QueueName           | Maximum | 300  | 1 | >= 1      | fine
QuarantineDeadLetterAlarm | -               | AWS/SQS        | ApproximateNumberOfMessagesVisible | QueueName GetAtt QuarantineDeadLetterQueue.QueueName | Maximum | 300  | 1 | >= 1      | fine
ContactsDeadLetterAlarm   | -               | AWS/SQS        | ApproximateNumberOfMessagesVisible | QueueName GetAtt ContactsDeadLetterQueue.QueueName   | Maximum | 300  | 1 | >= 1      | fine
ContactsAgeAlarm          | -               | AWS/SQS        | ApproximateAgeOfOldestMessage      | QueueName GetAtt ContactsQueue.QueueName             | Maximum | 300  | 1 | > 3600    | fine
FunctionErrorsAlarm       | -               | AWS/Lambda     | Errors                             | FunctionName Ref ReceiverFunction                    | Sum     | 300  | 1 | >= 1      | fine
FunctionThrottlesAlarm    | -               | AWS/Lambda     | Throttles                          | FunctionName Ref ReceiverFunction                    | Sum     | 300  | 3 | >= 1      | fine
FunctionDurationAlarm     | -               | AWS/Lambda     | Duration                           | FunctionName Ref ReceiverFunction                    | Maximum | 300  | 1 | > 7000    | fine
ApiServerErrorsAlarm      | -               | of Namespace   | of ServerErrors                    | entrance                                             | Sum     | 3600 | 1 | >= 5      | fine
DeliveriesThrottledAlarm  | -               | AWS/DynamoDB   | WriteThrottleEvents                | TableName Ref DeliveriesTable                        | Sum     | 300  | 1 | >= 1      | fine
DeploymentErrorsAlarm     | IsGradual       | own            | Answered5xx                        | -                                                    | Sum     | 60   | 1 | >= 5      | fine
JobsThrottledAlarm        | -               | AWS/DynamoDB   | WriteThrottleEvents                | TableName Ref JobsTable                              | Sum     | 300  | 1 | >= 1      | fine
RefusedAlarm              | -               | own            | Refused                            | -                                                    | Sum     | 300  | 1 | >= 5      | fine
TooLargeAlarm             | -               | own            | Deliveries                         | Outcome is too_large                                 | Sum     | 300  | 1 | >= 1      | fine
CompleteFailedAlarm       | -               | own            | CompleteFailed                     | -                                                    | Sum     | 300  | 1 | >= 1      | fine
ReleaseFailedAlarm        | -               | own            | ReleaseFailed                      | -                                                    | Sum     | 3600 | 1 | >= 5      | fine
EventAgeAlarm             | -               | own            | EventAge                           | -                                                    | Maximum | 300  | 1 | > 3600000 | fine
HealerErrorsAlarm         | HasHealer       | AWS/Lambda     | Errors                             | FunctionName Ref HealerFunction                      | Sum     | 3600 | 1 | >= 3      | fine
IncompleteJobAlarm        | HasHealer       | own            | IncompleteJobs                     | -                                                    | Sum     | 300  | 1 | >= 1      | fine
HealerSilentAlarm         | HasHealer       | own            | HealerRounds                       | -                                                    | Sum     | 86400 | 2 | < 1      | rings
SilenceAlarm              | HasSilenceAlarm | own            | Deliveries                         | Outcome is accepted                                  | Sum     | 3600 | Ref SilenceAlarmHours | < 1 | rings
";

/// Alarms that compute: with what, each a metric by its id, and what of it rings. All have periods of five minutes of which one is enough,
/// and ring from 1 on. Without data they do not.
const COMPUTED: &str = "
GatewayRefusedAlarm            | requests | AWS/ApiGateway | of Requests     | api | Sum
GatewayRefusedAlarm            | all4xx   | AWS/ApiGateway | of ClientErrors | api | Sum
GatewayRefusedAlarm            | own4xx   | own            | Answered4xx     | -   | Sum
GatewayThrottledAlarm          | requests | AWS/ApiGateway | of Requests     | api | Sum
GatewayThrottledAlarm          | all4xx   | AWS/ApiGateway | of ClientErrors | api | Sum
GatewayThrottledAlarm          | own4xx   | own            | Answered4xx     | -   | Sum
FunctionUrlRefusedAlarm        | all4xx    | AWS/Lambda | of ClientErrors | url | Sum
FunctionUrlRefusedAlarm        | own4xx    | own        | Answered4xx     | -   | Sum
FunctionUrlRefusedAlarm        | throttles | AWS/Lambda | Throttles       | FunctionName Ref ReceiverFunction | Sum
ContactsDeadLettersRisingAlarm | visible  | AWS/SQS | ApproximateNumberOfMessagesVisible    | QueueName GetAtt ContactsDeadLetterQueue.QueueName | Maximum
ContactsDeadLettersRisingAlarm | hidden   | AWS/SQS | ApproximateNumberOfMessagesNotVisible | QueueName GetAtt ContactsDeadLetterQueue.QueueName | Maximum
QuarantineRisingAlarm          | visible  | AWS/SQS | ApproximateNumberOfMessagesVisible    | QueueName GetAtt QuarantineQueue.QueueName         | Maximum
QuarantineRisingAlarm          | hidden   | AWS/SQS | ApproximateNumberOfMessagesNotVisible | QueueName GetAtt QuarantineQueue.QueueName         | Maximum
";

/// The conditions and the expressions. `alarms` shows when they ring.
const EXPRESSIONS: [(&str, &str, &str); 5] = [
    (
        "GatewayRefusedAlarm",
        "HasGatewayMetricMath",
        "IF((requests * 2 <= ${ThrottlingBurstLimit}) AND (requests <= 300 * ${ThrottlingRateLimit}), \
         all4xx - FILL(own4xx, 0) - FLOOR(FILL(own4xx, 0) / 20), 0)",
    ),
    (
        "GatewayThrottledAlarm",
        "HasGatewayMetricMath",
        "IF((requests * 2 <= ${ThrottlingBurstLimit}) AND (requests <= 300 * ${ThrottlingRateLimit}), \
         0, all4xx - FILL(own4xx, 0) - FLOOR(FILL(own4xx, 0) / 20))",
    ),
    (
        "FunctionUrlRefusedAlarm",
        "HasFunctionUrlMetricMath",
        "all4xx - FILL(own4xx, 0) - FLOOR(FILL(own4xx, 0) / 20) - FILL(throttles, 0)",
    ),
    (
        "ContactsDeadLettersRisingAlarm",
        "HasMetricMath",
        "IF(visible + hidden - DIFF(visible + hidden) >= 1, DIFF(visible + hidden), 0)",
    ),
    (
        "QuarantineRisingAlarm",
        "HasMetricMath",
        "IF(visible + hidden - DIFF(visible + hidden) >= 1, DIFF(visible + hidden), 0)",
    ),
];

/// Alarms that wake somebody. Each of the others can wait for the morning.
///
/// Those that only some stacks have are [`PAGES_OF_SOME`].
const PAGES: [&str; 7] = [
    "QuarantineAlarm",
    "ContactsDeadLetterAlarm",
    "ContactsAgeAlarm",
    "FunctionErrorsAlarm",
    "ApiServerErrorsAlarm",
    "RefusedAlarm",
    "TooLargeAlarm",
];

const PAGES_OF_SOME: [&str; 4] = [
    "FunctionUrlRefusedAlarm",
    "GatewayRefusedAlarm",
    "PageAlarm",
    "SilenceAlarm",
];

/// What is counted of the lines. `lines` shows for each outcome that these filters count it.
const FILTERS: &str = r#"
DeliveriesFilter     | Deliveries     | 1        | Count        | { $.outcome = "*" }
EventAgeFilter       | EventAge       | $.age_ms | Milliseconds | { $.age_ms >= 0 }
AnswerTimeFilter     | AnswerTime     | $.ms     | Milliseconds | { $.ms >= 0 }
JobsCompletedFilter  | JobsCompleted  | 1        | Count        | { ($.outcome = "accepted") && ($.event_type = "job.completed") }
TakenOverFilter      | TakenOver      | 1        | Count        | { $.taken_over IS TRUE }
SecretReadFilter     | SecretRead     | 1        | Count        | { $.secret_read IS TRUE }
RetriesFilter        | Retries        | $.retries | Count       | { $.retries >= 1 }
RefusedFilter        | Refused        | 1        | -            | { ($.outcome = "refused") || ($.outcome = "unrecognised") }
CompleteFailedFilter | CompleteFailed | 1        | -            | { $.message = "completion mark failed" }
ReleaseFailedFilter  | ReleaseFailed  | 1        | Count        | { $.message = "release of the claim failed" }
Answered4xxFilter    | Answered4xx    | 1        | -            | { ($.outcome = "refused") || ($.outcome = "unrecognised") || ($.outcome = "in_flight") || ($.outcome = "too_large") }
Answered5xxFilter    | Answered5xx    | 1        | -            | { ($.outcome = "unavailable") || ($.outcome = "panicked") }
IncompleteJobFilter  | IncompleteJobs | 1        | -            | { $.state = "incomplete" }
HealerRoundFilter    | HealerRounds   | 1        | -            | { $.message = "round finished" }
"#;

/// How often a message is received before it moves to the dead-letter queue.
const RECEIVES: [(&str, &str, u64); 2] = [
    ("ContactsQueue", "ContactsDeadLetterQueue", 5),
    ("QuarantineQueue", "QuarantineDeadLetterQueue", 1000),
];

/// What each role may do.
const GRANTS: &str = "
ReceiverRole   | dynamodb:PutItem              | GetAtt DeliveriesTable.Arn
ReceiverRole   | dynamodb:DeleteItem           | GetAtt DeliveriesTable.Arn
ReceiverRole   | dynamodb:UpdateItem           | GetAtt JobsTable.Arn
ReceiverRole   | sqs:SendMessage               | GetAtt ContactsQueue.Arn
ReceiverRole   | sqs:SendMessage               | GetAtt QuarantineQueue.Arn
ReceiverRole   | secretsmanager:GetSecretValue | Ref WebhookSecret
ReceiverRole   | logs:CreateLogStream          | GetAtt ReceiverLogGroup.Arn
ReceiverRole   | logs:PutLogEvents             | GetAtt ReceiverLogGroup.Arn
HealerRole     | dynamodb:Scan                 | GetAtt DeliveriesTable.Arn
HealerRole     | dynamodb:PutItem              | GetAtt DeliveriesTable.Arn
HealerRole     | dynamodb:DeleteItem           | GetAtt DeliveriesTable.Arn
HealerRole     | dynamodb:Scan                 | GetAtt JobsTable.Arn
HealerRole     | dynamodb:UpdateItem           | GetAtt JobsTable.Arn
HealerRole     | dynamodb:GetItem              | GetAtt ChecksTable.Arn
HealerRole     | dynamodb:PutItem              | GetAtt ChecksTable.Arn
HealerRole     | dynamodb:UpdateItem           | GetAtt ChecksTable.Arn
HealerRole     | sqs:SendMessage               | GetAtt ContactsQueue.Arn
HealerRole     | secretsmanager:GetSecretValue | Ref TitanxApiKey
HealerRole     | logs:CreateLogStream          | GetAtt HealerLogGroup.Arn
HealerRole     | logs:PutLogEvents             | GetAtt HealerLogGroup.Arn
DeploymentRole | lambda:GetAlias                        | GetAtt ReceiverFunction.Arn
DeploymentRole | lambda:GetAlias                        | Sub ${ReceiverFunction.Arn}:live
DeploymentRole | lambda:GetProvisionedConcurrencyConfig | GetAtt ReceiverFunction.Arn
DeploymentRole | lambda:GetProvisionedConcurrencyConfig | Sub ${ReceiverFunction.Arn}:live
DeploymentRole | lambda:UpdateAlias                     | GetAtt ReceiverFunction.Arn
DeploymentRole | lambda:UpdateAlias                     | Sub ${ReceiverFunction.Arn}:live
DeploymentRole | cloudwatch:DescribeAlarms              | is *
";

/// What the outputs that the operator's command and the README name point at, and under which condition. `WebhookUrl` is in [`webhook_url`].
const OUTPUTS: &str = "
WebhookSecretArn   | -            | Ref WebhookSecret
DeliveriesTable    | -            | Ref DeliveriesTable
JobsTable          | -            | Ref JobsTable
ContactsQueueUrl   | -            | Ref ContactsQueue
QuarantineQueueUrl | -            | Ref QuarantineQueue
ReceiverFunction   | -            | Ref ReceiverFunction
ReceiverAlias      | -            | is live
ReceiverLogGroup   | -            | Ref ReceiverLogGroup
AlarmTopicArn      | -            | Ref AlarmTopic
Dashboard          | -            | Ref Dashboard
DomainTarget       | HasDomain    | GetAtt WebhookDomain.RegionalDomainName
AccessLogGroup     | HasAccessLog | Ref AccessLogGroup
ChecksTable        | HasHealer    | Ref ChecksTable
TitanxApiKeyArn    | HasHealer    | Ref TitanxApiKey
HealerLogGroup     | HasHealer    | Ref HealerLogGroup
";

fn webhook_url() -> Value {
    let sub = |text: &str| json!({ "Fn::Sub": text });
    let http =
        sub("https://${WebhookApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/webhooks/titanx");
    let rest = sub(
        "https://${WebhookRestApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/live/webhooks/titanx",
    );
    // A function URL ends in a slash.
    let function = sub("${WebhookFunctionUrl.FunctionUrl}webhooks/titanx");
    let of_rest = json!({ "Fn::If": ["HasRestApi", rest, function] });
    let of_api = json!({ "Fn::If": ["HasHttpApi", http, of_rest] });
    let domain = sub("https://${DomainName}/webhooks/titanx");
    json!({ "Fn::If": ["HasDomain", domain, of_api] })
}

/// The rows of a table, their columns trimmed. A pattern's `||` is no border.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = table.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| line.split(" | ").map(str::trim).collect())
}

/// `GetAtt X.Y`, `Ref X`, `Sub text` or `is text`, as a template has it.
fn reference(text: &str) -> Value {
    match text.split_once(' ').expect("a function and its argument") {
        ("is", text) => json!(text),
        ("Ref", name) => json!({ "Ref": name }),
        (function, argument) => json!({ format!("Fn::{function}"): argument }),
    }
}

/// A dimension and its value. That of the entrance: `api` where it is an API, `url` where it is a function URL, `entrance` where it is either.
fn dimensions(text: &str) -> Option<Value> {
    let function = json!({ "Ref": "ReceiverFunction" });
    // A REST API's metrics have its name.
    let name = json!({ "Ref": "AWS::StackName" });
    let other = match text {
        "url" => None,
        "api" => Some(name),
        "entrance" => Some(json!({ "Fn::If": ["HasRestApi", name, &function] })),
        text => {
            let (name, value) = text.split_once(' ')?;
            return Some(json!([{ "Name": name, "Value": reference(value) }]));
        }
    };
    let http = json!({ "Ref": "WebhookApi" });
    let value = other.map_or(
        function,
        |other| json!({ "Fn::If": ["HasHttpApi", http, other] }),
    );
    Some(json!([{ "Name": of_the_entrance("Dimension"), "Value": value }]))
}

fn of_the_entrance(what: &str) -> Value {
    json!({ "Fn::FindInMap": ["EntranceMetrics", { "Ref": "Entrance" }, what] })
}

/// A name, or `of` what the entrance calls it.
fn name_of(text: &str) -> Value {
    text.strip_prefix("of ")
        .map_or_else(|| json!(text), of_the_entrance)
}

/// `-`, or the name of a condition.
fn condition_of(text: &str) -> Value {
    match text {
        "-" => Value::Null,
        condition => json!(condition),
    }
}

fn own_namespace() -> Value {
    json!({ "Fn::Sub": "TitanxReceiver/${AWS::StackName}" })
}

fn metric(namespace: &str, name: &str, dimension: &str) -> Map<String, Value> {
    let namespace = match namespace {
        "own" => own_namespace(),
        namespace => name_of(namespace),
    };
    let mut metric = Map::new();
    metric.insert("Namespace".into(), namespace);
    metric.insert("MetricName".into(), name_of(name));
    metric.extend(dimensions(dimension).map(|it| ("Dimensions".to_owned(), it)));
    metric
}

/// Name and properties of each resource of a type.
pub(crate) fn of_type<'a>(
    template: &'a Value,
    kind: &str,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let resources = template["Resources"].as_object().unwrap().iter();
    resources
        .filter(move |(_, resource)| resource["Type"] == kind)
        .map(|(name, resource)| (name.as_str(), &resource["Properties"]))
}

/// What is wrong.
type Wrong = Vec<String>;

fn expect(wrong: &mut Wrong, what: &str, found: &Value, expected: &Value) {
    if found != expected {
        wrong.push(format!("{what} is {found}, not {expected}"));
    }
}

/// Both directions of an alarm are published, and its description says what to do, within `CloudWatch`'s limit in characters.
fn is_heard(wrong: &mut Wrong, name: &str, alarm: &mut Value) {
    let Some(alarm) = alarm.as_object_mut() else {
        return wrong.push(format!("{name} is missing"));
    };
    let topic = json!([{ "Ref": "AlarmTopic" }]);
    for actions in ["AlarmActions", "OKActions"] {
        let found = alarm.remove(actions).unwrap_or_default();
        expect(wrong, &format!("{name} {actions}"), &found, &topic);
    }
    let description = alarm.remove("AlarmDescription").unwrap_or_default();
    let description = description.as_str().unwrap_or_default();
    let characters = description.chars().count();
    if !(80..=1024).contains(&characters) || description.matches(['.', ':']).count() < 2 {
        wrong.push(format!("{name} describes itself as {description:?}"));
    }
}

fn alarms(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    let mut known = BTreeSet::new();
    for row in rows(ALARMS).skip(1) {
        let [
            name,
            condition,
            namespace,
            metric_name,
            dimension,
            statistic,
            seconds,
            periods,
            rings,
            no_data,
        ] = row[..]
        else {
            panic!("{row:?}");
        };
        known.insert(name);
        let resource = &template["Resources"][name];
        let condition = condition_of(condition);
        expect(&mut wrong, name, &resource["Condition"], &condition);
        let mut found = resource["Properties"].clone();
        is_heard(&mut wrong, name, &mut found);
        let (comparison, threshold) = rings.split_once(' ').unwrap();
        let mut expected = metric(namespace, metric_name, dimension);
        expected.extend(properties_of(json!({
            "Statistic": statistic,
            "Period": number(seconds),
            "EvaluationPeriods": number(periods),
            "ComparisonOperator": match comparison {
                ">=" => "GreaterThanOrEqualToThreshold",
                ">" => "GreaterThanThreshold",
                "<" => "LessThanThreshold",
                other => panic!("{other}"),
            },
            "Threshold": number(threshold),
            "TreatMissingData": if no_data == "fine" { "notBreaching" } else { "breaching" },
        })));
        expect(&mut wrong, name, &found, &Value::Object(expected));
    }
    known.extend(EXPRESSIONS.map(|(name, ..)| name));
    let found = of_type(template, "AWS::CloudWatch::Alarm");
    let found: BTreeSet<_> = found.map(|(name, _)| name).collect();
    if found != known {
        wrong.push(format!("the alarms are {found:?}"));
    }
    wrong
}

fn number(text: &str) -> Value {
    let number = text.parse::<u64>().map(Value::from);
    number.unwrap_or_else(|_| reference(text))
}

fn properties_of(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(properties) => properties,
        other => panic!("{other}"),
    }
}

fn computed_alarms(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    for (name, condition, expression) in EXPRESSIONS {
        let resource = &template["Resources"][name];
        let kind = json!("AWS::CloudWatch::Alarm");
        expect(&mut wrong, name, &resource["Type"], &kind);
        expect(&mut wrong, name, &resource["Condition"], &json!(condition));
        let mut found = resource["Properties"].clone();
        is_heard(&mut wrong, name, &mut found);
        if let Some(first) = found["Metrics"].get_mut(0).and_then(Value::as_object_mut) {
            // Free text.
            first.remove("Label");
            first.remove("Id");
        }
        let expression = if expression.contains("${") {
            json!({ "Fn::Sub": expression })
        } else {
            json!(expression)
        };
        let mut metrics = vec![json!({ "Expression": expression, "ReturnData": true })];
        for row in rows(COMPUTED).filter(|row| row[0] == name) {
            let [_, id, namespace, metric_name, dimension, statistic] = row[..] else {
                panic!("{row:?}");
            };
            metrics.push(json!({
                "Id": id,
                "ReturnData": false,
                "MetricStat": {
                    "Metric": metric(namespace, metric_name, dimension),
                    "Period": 300,
                    "Stat": statistic,
                },
            }));
        }
        let expected = json!({
            "Metrics": metrics,
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "Threshold": 1,
            "TreatMissingData": "notBreaching",
        });
        expect(&mut wrong, name, &found, &expected);
    }
    wrong
}

fn page(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    let page = &template["Resources"]["PageAlarm"];
    let kind = json!("AWS::CloudWatch::CompositeAlarm");
    expect(&mut wrong, "PageAlarm", &page["Type"], &kind);
    let condition = json!("HasMetricMath");
    expect(&mut wrong, "PageAlarm", &page["Condition"], &condition);
    let mut found = page["Properties"].clone();
    is_heard(&mut wrong, "PageAlarm", &mut found);
    let members = PAGES.map(|name| format!(r#"ALARM("${{{name}}}")"#));
    let silence = json!({ "Fn::Sub": r#" OR ALARM("${SilenceAlarm}")"# });
    let expected = json!({ "AlarmRule": { "Fn::Sub": [
        format!(r#"{} OR ALARM("${{EntranceRefusedAlarm}}")${{OrSilence}}"#, members.join(" OR ")),
        {
            "EntranceRefusedAlarm": { "Fn::If": [
                "HasFunctionUrl", { "Ref": "FunctionUrlRefusedAlarm" }, { "Ref": "GatewayRefusedAlarm" },
            ] },
            "OrSilence": { "Fn::If": ["HasSilenceAlarm", silence, ""] },
        },
    ]}});
    expect(&mut wrong, "PageAlarm", &found, &expected);
    wrong
}

fn subscriptions(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    let topic = json!({ "Ref": "AlarmTopic" });
    for (name, condition, properties) in [
        (
            "AlarmEmailSubscription",
            "HasAlarmEmail",
            json!({ "Protocol": "email", "Endpoint": { "Ref": "AlarmEmail" }, "TopicArn": topic }),
        ),
        (
            "PagerSubscription",
            "HasPager",
            json!({
                "Protocol": "https", "Endpoint": { "Ref": "PagerUrl" }, "TopicArn": topic,
                // Of all that the topic publishes, the page alone.
                "FilterPolicyScope": "MessageBody",
                "FilterPolicy": { "AlarmName": [{ "Ref": "PageAlarm" }] },
            }),
        ),
    ] {
        let expected = json!({
            "Type": "AWS::SNS::Subscription", "Condition": condition, "Properties": properties,
        });
        expect(&mut wrong, name, &template["Resources"][name], &expected);
    }
    wrong
}

fn filters(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    let mut known = BTreeSet::new();
    for row in rows(FILTERS) {
        let [name, metric_name, value, unit, ..] = row[..] else {
            panic!("{row:?}");
        };
        known.insert(name);
        let mut transformation = properties_of(json!({
            "MetricNamespace": own_namespace(), "MetricName": metric_name, "MetricValue": value,
        }));
        if unit != "-" {
            transformation.insert("Unit".into(), json!(unit));
        }
        // By outcome.
        if name == "DeliveriesFilter" {
            let dimensions = json!([{ "Key": "Outcome", "Value": "$.outcome" }]);
            transformation.insert("Dimensions".into(), dimensions);
        }
        // The alarms on the gateway need a value in every period with a request.
        if name == "Answered4xxFilter" {
            transformation.insert("DefaultValue".into(), json!(0));
        }
        let of_the_healer = ["IncompleteJobFilter", "HealerRoundFilter"].contains(&name);
        let group = if of_the_healer {
            "HealerLogGroup"
        } else {
            "ReceiverLogGroup"
        };
        let expected = json!({
            "LogGroupName": { "Ref": group },
            "FilterPattern": row[4..].join(" | "),
            "MetricTransformations": [transformation],
        });
        let found = &template["Resources"][name];
        expect(&mut wrong, name, &found["Properties"], &expected);
        // Counted for the alarm of a gradual deployment alone.
        let condition = match name {
            "Answered5xxFilter" => json!("IsGradual"),
            _ if of_the_healer => json!("HasHealer"),
            _ => Value::Null,
        };
        expect(&mut wrong, name, &found["Condition"], &condition);
    }
    let found = of_type(template, "AWS::Logs::MetricFilter");
    let found: BTreeSet<_> = found.map(|(name, _)| name).collect();
    if found != known {
        wrong.push(format!("the filters are {found:?}"));
    }
    wrong
}

/// Without these, the filters would count nothing, or not all.
fn logging(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    let function = &template["Resources"]["ReceiverFunction"]["Properties"];
    let expected = json!({
        "LogGroup": { "Ref": "ReceiverLogGroup" },
        "LogFormat": "JSON",
        "SystemLogLevel": "WARN",
        "ApplicationLogLevel": "INFO",
    });
    expect(
        &mut wrong,
        "LoggingConfig",
        &function["LoggingConfig"],
        &expected,
    );
    wrong
}

fn queues(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    for (queue, dead_letters, receives) in RECEIVES {
        let expected = json!({
            "deadLetterTargetArn": { "Fn::GetAtt": format!("{dead_letters}.Arn") },
            "maxReceiveCount": receives,
        });
        let found = &template["Resources"][queue]["Properties"]["RedrivePolicy"];
        expect(&mut wrong, queue, found, &expected);
    }
    for queue in RECEIVES.iter().flat_map(|(queue, dead, _)| [queue, dead]) {
        let properties = &template["Resources"][*queue]["Properties"];
        let retention = &properties["MessageRetentionPeriod"];
        expect(&mut wrong, queue, retention, &json!(14 * 24 * 60 * 60));
        let size = &properties["MaximumMessageSize"];
        expect(&mut wrong, queue, size, &json!(1024 * 1024));
    }
    wrong
}

fn roles(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    for (name, service, condition) in [
        ("ReceiverRole", "lambda", "-"),
        ("DeploymentRole", "codedeploy", "IsGradual"),
        ("HealerRole", "lambda", "HasHealer"),
    ] {
        let role = &template["Resources"][name];
        let condition = condition_of(condition);
        expect(&mut wrong, name, &role["Condition"], &condition);
        expect(&mut wrong, name, &role["Type"], &json!("AWS::IAM::Role"));
        let role = &role["Properties"];
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": format!("{service}.amazonaws.com") },
                "Action": "sts:AssumeRole",
            }],
        });
        let found = &role["AssumeRolePolicyDocument"];
        expect(&mut wrong, "trust", found, &trust);
        for more in ["ManagedPolicyArns", "PermissionsBoundary"] {
            expect(&mut wrong, more, &role[more], &Value::Null);
        }
        let mut granted = BTreeSet::new();
        for policy in role["Policies"].as_array().into_iter().flatten() {
            granted.extend(grants(&policy["PolicyDocument"], &mut wrong));
        }
        let expected: BTreeSet<_> = rows(GRANTS)
            .filter(|row| row[0] == name)
            .map(|row| (json!(row[1]).to_string(), reference(row[2]).to_string()))
            .collect();
        if granted != expected {
            wrong.push(format!("{name} grants {granted:?}"));
        }
    }
    wrong
}

/// The actions that a policy allows, each with a resource.
fn grants(document: &Value, wrong: &mut Wrong) -> BTreeSet<(String, String)> {
    let version = &document["Version"];
    expect(wrong, "policy", version, &json!("2012-10-17"));
    let mut granted = BTreeSet::new();
    for statement in document["Statement"].as_array().into_iter().flatten() {
        expect(wrong, "statement", &statement["Effect"], &json!("Allow"));
        for key in statement.as_object().unwrap().keys() {
            if !["Sid", "Effect", "Action", "Resource"].contains(&key.as_str()) {
                wrong.push(format!("{statement} has {key}"));
            }
        }
        for action in several(&statement["Action"]) {
            let resources = several(&statement["Resource"]).into_iter();
            granted.extend(resources.map(|resource| (action.to_string(), resource.to_string())));
        }
    }
    granted
}

/// Both functions may use a key through the three services whose data it encrypts, and not by themselves.
fn key_policies(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    let services = ["dynamodb", "sqs", "secretsmanager"];
    let services = services.map(
        |service| json!({ "Fn::Sub": format!("{service}.${{AWS::Region}}.${{AWS::URLSuffix}}") }),
    );
    for (name, condition, role) in [
        ("ReceiverKeyPolicy", "HasKmsKey", "ReceiverRole"),
        ("HealerKeyPolicy", "HasHealerKey", "HealerRole"),
    ] {
        let expected = json!({
            "Type": "AWS::IAM::Policy",
            "Condition": condition,
            "Properties": {
                "Roles": [{ "Ref": role }],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{
                        "Effect": "Allow",
                        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                        "Resource": { "Ref": "KmsKeyArn" },
                        "Condition": { "StringEquals": { "kms:ViaService": services } },
                    }],
                },
            },
        });
        let mut found = template["Resources"][name].clone();
        for (parent, word) in [
            ("/Properties", "PolicyName"),
            ("/Properties/PolicyDocument/Statement/0", "Sid"),
        ] {
            // May be worded in any way.
            let parent = found.pointer_mut(parent).and_then(Value::as_object_mut);
            parent.and_then(|it| it.remove(word));
        }
        expect(&mut wrong, name, &found, &expected);
    }
    wrong
}

fn several(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    }
}

fn conditions(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    let equals =
        |parameter: &str, value: &str| json!({ "Fn::Equals": [{ "Ref": parameter }, value] });
    let is_set = |parameter: &str, unset: &str| json!({ "Fn::Not": [equals(parameter, unset)] });
    let condition = |name: &str| json!({ "Fn::Condition": name });
    let no_function_url = json!({ "Fn::Not": [condition("HasFunctionUrl")] });
    let partitions = ["aws", "aws-cn", "aws-us-gov", "aws-eusc"];
    let partitions = partitions.map(|partition| equals("AWS::Partition", partition));
    let expected = BTreeMap::from([
        ("ContactsAreFifo", equals("ContactsQueueType", "fifo")),
        ("HasHttpApi", equals("Entrance", "http-api")),
        ("HasFunctionUrl", equals("Entrance", "function-url")),
        ("HasRestApi", equals("Entrance", "rest-api")),
        (
            "HasDomain",
            json!({ "Fn::And": [is_set("DomainName", ""), no_function_url] }),
        ),
        (
            "HasAccessLog",
            json!({ "Fn::And": [equals("AccessLog", "on"), no_function_url] }),
        ),
        (
            "HasGatewayMetricMath",
            json!({ "Fn::And": [condition("HasMetricMath"), no_function_url] }),
        ),
        (
            "HasFunctionUrlMetricMath",
            json!({ "Fn::And": [condition("HasMetricMath"), condition("HasFunctionUrl")] }),
        ),
        ("IsGradual", is_set("GradualDeployment", "off")),
        ("HasKmsKey", is_set("KmsKeyArn", "")),
        ("HasReservedConcurrency", is_set("ReservedConcurrency", "0")),
        ("HasAlarmEmail", is_set("AlarmEmail", "")),
        ("HasSilenceAlarm", is_set("SilenceAlarmHours", "0")),
        (
            "HasPager",
            json!({ "Fn::And": [condition("HasMetricMath"), is_set("PagerUrl", "")] }),
        ),
        ("HasHealer", equals("HealerEnabled", "true")),
        (
            "HasHealerKey",
            json!({ "Fn::And": [condition("HasHealer"), condition("HasKmsKey")] }),
        ),
        ("HasMetricMath", json!({ "Fn::Or": partitions })),
    ]);
    let found = template["Conditions"].as_object().cloned();
    let found = found.unwrap_or_default();
    let names: BTreeSet<_> = found.keys().map(String::as_str).collect();
    if !names.iter().eq(expected.keys()) {
        wrong.push(format!("the conditions are {names:?}"));
    }
    for (name, expected) in expected {
        expect(&mut wrong, name, &template["Conditions"][name], &expected);
    }
    wrong
}

fn outputs(template: &Value) -> Wrong {
    let mut wrong = Wrong::new();
    let webhook_url = ("WebhookUrl", Value::Null, webhook_url());
    let expected = rows(OUTPUTS).map(|row| (row[0], condition_of(row[1]), reference(row[2])));
    for (name, condition, value) in expected.chain([webhook_url]) {
        let found = &template["Outputs"][name];
        expect(&mut wrong, name, &found["Condition"], &condition);
        expect(&mut wrong, name, &found["Value"], &value);
    }
    wrong
}

type Check = fn(&Value) -> Wrong;

const CHECKS: [Check; 13] = [
    alarms,
    computed_alarms,
    page,
    subscriptions,
    filters,
    logging,
    queues,
    roles,
    key_policies,
    conditions,
    outputs,
    crate::dashboard::check,
    crate::resources::check,
];

fn all(template: &Value) -> Wrong {
    CHECKS.iter().flat_map(|check| check(template)).collect()
}

/// Whether a check finds anything. Neighbours in the template are mostly found by the same check, so the last that did is tried first.
fn is_found(template: &Value, checks: &mut [Check]) -> bool {
    let finds = checks.iter().position(|check| !check(template).is_empty());
    if let Some(place) = finds {
        checks[..=place].rotate_right(1);
    }
    finds.is_some()
}

#[test]
fn the_template_is_as_the_runbook_says() {
    let wrong = all(&template());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_alarm_has_its_section_in_the_runbook() {
    let page = read("docs/operations.md");
    let kinds = ["AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"];
    let template = template();
    for (name, _) in kinds.into_iter().flat_map(|kind| of_type(&template, kind)) {
        let sections = page.match_indices(&format!("\n### {name}\n")).count();
        assert_eq!(sections, 1, "{name}");
    }
}

/// What the runbook says of each alarm's threshold, in words of its own, stands in its table as the alarm has it.
#[test]
fn the_runbook_says_when_each_alarm_rings() {
    let page = read("docs/operations.md");
    let alarms = rows(ALARMS).skip(1).map(|row| row[0]);
    for name in alarms
        .chain(EXPRESSIONS.map(|(name, ..)| name))
        .chain(["PageAlarm"])
    {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| [`{name}`]")));
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        let pages = row.ends_with("| yes |");
        let expected = PAGES.contains(&name) || PAGES_OF_SOME.contains(&name);
        assert_eq!(pages, expected, "{row}");
    }
}

/// Every place of a value that can be changed: leaves, and what can be left out.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => return,
    };
    for (name, child) in children {
        let place = format!("{at}/{name}");
        places(child, &place, into);
        into.push(place);
    }
}

/// Another value of the same type.
fn other(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(value) => Some(json!(!value)),
        Value::Number(value) => Some(json!(value.as_f64()? + 1.0)),
        Value::String(value) if value.is_empty() => Some(json!("x")),
        Value::String(value) => Some(json!(format!("{value}x"))),
        _ => None,
    }
}

fn without(template: &mut Value, place: &str) {
    let (parent, name) = place.rsplit_once('/').unwrap();
    match template.pointer_mut(parent).unwrap() {
        Value::Object(members) => {
            members.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Value::Array(items) => {
            items.remove(name.parse().unwrap());
        }
        _ => unreachable!(),
    }
}

/// Where changes are made: everywhere, but for what only checkers and the build read.
fn seeded(template: &Value) -> Vec<String> {
    let mut seeded = Vec::new();
    for part in [
        "Conditions",
        "Mappings",
        "Outputs",
        "Parameters",
        "Resources",
        "Rules",
    ] {
        places(&template[part], &format!("/{part}"), &mut seeded);
    }
    seeded.retain(|place| !place.split('/').any(|name| name == "Metadata"));
    seeded
}

/// What may be worded in any way: texts for people, the names of policies and statements, and the id of what an alarm computes.
fn is_free(place: &str) -> bool {
    const FREE: [&str; 7] = [
        "/AlarmDescription",
        "/AssertDescription",
        "/Description",
        "/Label",
        "/Metrics/0/Id",
        "/PolicyName",
        "/Sid",
    ];
    FREE.iter().any(|end| place.ends_with(end))
}

#[test]
fn each_property_changed_or_left_out_is_found() {
    let original = template();
    let mut missed = Vec::new();
    let mut tried = 0;
    let mut changed = original.clone();
    let mut checks = CHECKS;
    for place in seeded(&original) {
        let value = original.pointer(&place).unwrap();
        let is_text = is_free(&place);
        if let Some(other) = other(value).filter(|_| !is_text) {
            *changed.pointer_mut(&place).unwrap() = other;
            tried += 1;
            if !is_found(&changed, &mut checks) {
                missed.push(format!("{place} changed"));
            }
            *changed.pointer_mut(&place).unwrap() = value.clone();
        }
        // A description of an alarm may be worded in any way, but not be left out.
        if !is_text || place.ends_with("/AlarmDescription") {
            without(&mut changed, &place);
            tried += 1;
            if !is_found(&changed, &mut checks) {
                missed.push(format!("{place} left out"));
            }
            let (parent, _) = place.rsplit_once('/').unwrap();
            let whole = original.pointer(parent).unwrap();
            changed.pointer_mut(parent).unwrap().clone_from(whole);
        }
    }
    assert_eq!(changed, original);
    assert!(
        missed.is_empty(),
        "{} of {tried}:\n{}",
        missed.len(),
        missed.join("\n")
    );
    assert!(tried > 3000, "only {tried} places");
}
