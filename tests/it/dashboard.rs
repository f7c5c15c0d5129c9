//! The dashboard, the alarms and the saved queries of `template.yaml` show what exists: a metric that AWS publishes or that is counted of the
//! function's lines, or a field that a line can have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{cloudwatch::members_of, lines::FIELDS, runbook::of_type, template::template};

/// What AWS publishes, as its documentation has it: namespace, metric, dimension. With the type of resource that the dimension names.
const PUBLISHED: &str = "
AWS/ApiGateway Count                                 ApiId        AWS::ApiGatewayV2::Api
AWS/ApiGateway 4xx                                   ApiId        AWS::ApiGatewayV2::Api
AWS/ApiGateway 5xx                                   ApiId        AWS::ApiGatewayV2::Api
AWS/ApiGateway Latency                               ApiId        AWS::ApiGatewayV2::Api
AWS/ApiGateway Count                                 ApiName      AWS::ApiGateway::RestApi
AWS/ApiGateway 4XXError                              ApiName      AWS::ApiGateway::RestApi
AWS/ApiGateway 5XXError                              ApiName      AWS::ApiGateway::RestApi
AWS/ApiGateway Latency                               ApiName      AWS::ApiGateway::RestApi
AWS/Lambda     UrlRequestCount                       FunctionName AWS::Serverless::Function
AWS/Lambda     Url4xxCount                           FunctionName AWS::Serverless::Function
AWS/Lambda     Url5xxCount                           FunctionName AWS::Serverless::Function
AWS/Lambda     UrlRequestLatency                     FunctionName AWS::Serverless::Function
AWS/Lambda     Invocations                           FunctionName AWS::Serverless::Function
AWS/Lambda     Errors                                FunctionName AWS::Serverless::Function
AWS/Lambda     Throttles                             FunctionName AWS::Serverless::Function
AWS/Lambda     Duration                              FunctionName AWS::Serverless::Function
AWS/Lambda     ConcurrentExecutions                  FunctionName AWS::Serverless::Function
AWS/SQS        ApproximateNumberOfMessagesVisible    QueueName    AWS::SQS::Queue
AWS/SQS        ApproximateNumberOfMessagesNotVisible QueueName    AWS::SQS::Queue
AWS/SQS        ApproximateAgeOfOldestMessage         QueueName    AWS::SQS::Queue
AWS/SQS        NumberOfMessagesSent                  QueueName    AWS::SQS::Queue
AWS/DynamoDB   WriteThrottleEvents                   TableName    AWS::DynamoDB::Table
AWS/DynamoDB   ConsumedWriteCapacityUnits            TableName    AWS::DynamoDB::Table
AWS/Logs       IncomingBytes                         LogGroupName AWS::Logs::LogGroup
";

/// The entrances, each with the conditions that hold for it.
const ENTRANCES: [(&str, &[&str]); 3] = [
    ("http-api", &["HasHttpApi", "HasGatewayMetricMath"]),
    (
        "function-url",
        &["HasFunctionUrl", "HasFunctionUrlMetricMath"],
    ),
    ("rest-api", &["HasRestApi", "HasGatewayMetricMath"]),
];

/// Every outcome of a delivery.
const OUTCOMES: [&str; 9] = [
    "accepted",
    "duplicate",
    "in_flight",
    "panicked",
    "quarantined",
    "refused",
    "too_large",
    "unavailable",
    "unrecognised",
];

/// What an engineer wants to see of a day, each a widget.
const WIDGETS: [&str; 10] = [
    "Age of events when they arrive",
    "Age of the oldest message",
    "Cost drivers",
    "Deliveries by outcome",
    "Function",
    "Gateway",
    "Jobs completed",
    "Messages that wait",
    "Time to answer",
    "What was done again, and what failed without harm",
];

/// The saved queries: resource, name, and the fields that they read.
const QUERIES: [(&str, &str, &[&str]); 6] = [
    ("OutcomesQuery", "outcomes", &["outcome"]),
    ("TimesQuery", "age and time to answer", &["age_ms", "ms"]),
    (
        "JobsQuery",
        "contacts by job",
        &["@timestamp", "event_type", "job", "outcome"],
    ),
    (
        "WrongQuery",
        "what went wrong",
        &[
            "@timestamp",
            "error",
            "gateway",
            "id",
            "job",
            "level",
            "message",
            "outcome",
            "reason",
            "request_id",
        ],
    ),
    (
        "AgainQuery",
        "what was done again",
        &["cold", "retries", "secret_read", "taken_over"],
    ),
    (
        "DeliveryQuery",
        "one delivery",
        &[
            "@message",
            "@timestamp",
            "gateway",
            "id",
            "job",
            "request_id",
        ],
    ),
];

/// What each query compares with, in quotes, and its numbers and directions: which lines it counts, how, and which
/// come first.
const CONSTANTS: [(&str, &[&str]); 6] = [
    ("OutcomesQuery", &["desc"]),
    ("TimesQuery", &["50", "99", "50", "99", "5m"]),
    ("JobsQuery", &["\"accepted\"", "desc"]),
    ("WrongQuery", &["\"WARN\"", "\"ERROR\"", "desc", "200"]),
    ("AgainQuery", &["1h"]),
    (
        "DeliveryQuery",
        &["\"ID\"", "\"ID\"", "\"ID\"", "\"ID\"", "asc"],
    ),
];

/// The constants of a query, in their order.
fn constants_of(query: &str) -> Vec<&str> {
    let is_part = |it: char| it.is_ascii_alphanumeric() || "_\"@".contains(it);
    let words = query.split(|it| !is_part(it));
    let is_constant = |it: &&str| {
        let first = it.chars().next();
        matches!(*it, "asc" | "desc") || first.is_some_and(|it| it == '"' || it.is_ascii_digit())
    };
    words.filter(is_constant).collect()
}

/// A metric with its dimension, as a widget or an alarm names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    namespace: String,
    name: String,
    dimension: Option<(String, String)>,
}

const OWN: &str = "TitanxReceiver/${AWS::StackName}";

impl Metric {
    /// What is wrong with it, if anything is.
    fn wrong(&self, template: &Value) -> Option<String> {
        let (name, value) = match &self.dimension {
            Some((name, value)) => (Some(name.as_str()), value.as_str()),
            None => (None, ""),
        };
        if self.namespace == OWN {
            let filters = of_type(template, "AWS::Logs::MetricFilter");
            let mut written = filters.map(|(_, filter)| &filter["MetricTransformations"][0]);
            let counted = written.find(|it| it["MetricName"] == self.name.as_str());
            let Some(counted) = counted else {
                return Some(format!("nothing counts {self:?}"));
            };
            let dimension = counted["Dimensions"][0]["Key"].as_str();
            let is_outcome = name.is_none() || OUTCOMES.contains(&value);
            return (dimension != name || !is_outcome)
                .then(|| format!("{self:?} is not counted so"));
        }
        let mut published = PUBLISHED
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = published.find(|row| {
            row.len() == 4
                && [self.namespace.as_str(), &self.name] == row[..2]
                && name == Some(row[2])
        });
        let Some(row) = row else {
            return Some(format!("AWS does not publish {self:?}"));
        };
        let reference = value.strip_prefix("${").and_then(|it| it.strip_suffix('}'));
        let resource = match row[3] {
            "AWS::SQS::Queue" => reference.and_then(|it| it.strip_suffix(".QueueName")),
            _ => reference,
        };
        let is_of_type = match row[3] {
            "AWS::ApiGateway::RestApi" => of_type(template, row[3])
                .any(|(_, api)| text_of(&api["Name"]).as_deref() == Some(value)),
            kind => resource.is_some_and(|name| template["Resources"][name]["Type"] == kind),
        };
        (!is_of_type).then(|| format!("{value} is no {}", row[3]))
    }
}

/// A widget's row: namespace, metric, dimension and its value, options.
fn metric_of(row: &Value) -> Option<Metric> {
    let mut texts: Vec<_> = row.as_array()?.iter().collect();
    texts.pop_if(|last| last.is_object());
    let texts: Option<Vec<_>> = texts.into_iter().map(Value::as_str).collect();
    let (namespace, name, dimension) = match texts?[..] {
        [namespace, name] => (namespace, name, None),
        [namespace, name, dimension, value] => (namespace, name, Some((dimension, value))),
        _ => return None,
    };
    Some(Metric {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimension: dimension.map(|(name, value)| (name.to_owned(), value.to_owned())),
    })
}

/// A text of the template. What only a deployment knows is in it as `${…}`.
fn text_of(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let (function, argument) = value.as_object()?.iter().next()?;
    let argument = argument.as_str()?;
    match function.as_str() {
        "Fn::Sub" => Some(argument.to_owned()),
        "Ref" | "Fn::GetAtt" => Some(format!("${{{argument}}}")),
        _ => None,
    }
}

/// A stack with one of the [`ENTRANCES`].
struct Stack<'a> {
    template: &'a Value,
    entrance: &'static str,
    holds: &'static [&'static str],
}

impl<'a> Stack<'a> {
    fn all(template: &'a Value) -> [Self; 3] {
        ENTRANCES.map(|(entrance, holds)| Self {
            template,
            entrance,
            holds,
        })
    }

    /// Whether it has a resource. Conditions that say nothing of the entrance hold.
    fn has(&self, resource: &str) -> bool {
        let condition = self.template["Resources"][resource]["Condition"].as_str();
        let mut known = ENTRANCES.iter().flat_map(|(_, conditions)| *conditions);
        condition.is_none_or(|it| self.holds.contains(&it) || !known.any(|known| *known == it))
    }

    /// A text, with what depends on the entrance chosen. Empty if the template does not say it.
    fn text(&self, value: &Value) -> String {
        if let Some([condition, then, otherwise]) = value["Fn::If"].as_array().map(Vec::as_slice) {
            let holds = condition
                .as_str()
                .is_some_and(|it| self.holds.contains(&it));
            let is_known = ["HasHttpApi", "HasRestApi"]
                .iter()
                .any(|it| condition == it);
            return if is_known {
                self.text(if holds { then } else { otherwise })
            } else {
                String::new()
            };
        }
        if let Some([map, key, what]) = value["Fn::FindInMap"].as_array().map(Vec::as_slice) {
            if *key != json!({ "Ref": "Entrance" }) {
                return String::new();
            }
            let (map, what) = (map.as_str().unwrap_or(""), what.as_str().unwrap_or(""));
            return self.text(&self.template["Mappings"][map][self.entrance][what]);
        }
        text_of(value).unwrap_or_default()
    }

    /// The dashboard, with what depends on the entrance chosen.
    fn dashboard(&self) -> Option<Value> {
        let body = &self.template["Resources"]["Dashboard"]["Properties"]["DashboardBody"];
        let mut text = body["Fn::Sub"][0].as_str()?.to_owned();
        for (name, value) in body["Fn::Sub"][1].as_object()? {
            text = text.replace(&format!("${{{name}}}"), &self.text(value));
        }
        serde_json::from_str(&text).ok()
    }
}

/// The metrics of an alarm.
fn metrics_of(stack: &Stack<'_>, alarm: &Value) -> Vec<Metric> {
    let of = |metric: &Value| {
        let dimension = &metric["Dimensions"][0];
        Metric {
            namespace: stack.text(&metric["Namespace"]),
            name: stack.text(&metric["MetricName"]),
            dimension: dimension.is_object().then(|| {
                (
                    stack.text(&dimension["Name"]),
                    stack.text(&dimension["Value"]),
                )
            }),
        }
    };
    match alarm["Metrics"].as_array() {
        None => vec![of(alarm)],
        Some(metrics) => metrics
            .iter()
            .filter_map(|it| Some(of(it.get("MetricStat")?.get("Metric")?)))
            .collect(),
    }
}

fn is_statistic(text: &str) -> bool {
    let percentile = text.strip_prefix('p').and_then(|it| it.parse::<u8>().ok());
    ["Sum", "Maximum", "Average"].contains(&text) || percentile.is_some_and(|it| it < 100)
}

fn widgets(stack: &Stack<'_>, shown: &mut BTreeSet<Metric>) -> Vec<String> {
    let mut wrong = Vec::new();
    let template = stack.template;
    let dashboard = &template["Resources"]["Dashboard"];
    if dashboard["Type"] != "AWS::CloudWatch::Dashboard" {
        wrong.push("there is no dashboard".to_owned());
    }
    let Some(body) = stack.dashboard() else {
        return vec!["the dashboard is no JSON".to_owned()];
    };
    let widgets = body["widgets"].as_array().cloned().unwrap_or_default();
    let mut titles = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for widget in &widgets {
        let properties = &widget["properties"];
        let title = properties["title"].as_str().unwrap_or_default();
        titles.insert(title);
        if widget["type"] != "metric" || properties["region"] != "${AWS::Region}" {
            wrong.push(format!("{title} is no widget of metrics of this region"));
        }
        let [x, y, width, height] =
            ["x", "y", "width", "height"].map(|it| widget[it].as_u64().unwrap_or(99));
        let fields = (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y)));
        for field in fields {
            if field.0 >= 24 || !taken.insert(field) {
                wrong.push(format!(
                    "{title} lies over another or the edge at {field:?}"
                ));
                break;
            }
        }
        if !properties["period"]
            .as_u64()
            .is_some_and(|it| it % 60 == 0 && it > 0)
        {
            wrong.push(format!("{title} has no period"));
        }
        for row in properties["metrics"].as_array().into_iter().flatten() {
            let statistics = [
                &properties["stat"],
                &row[row.as_array().map_or(0, Vec::len) - 1]["stat"],
            ];
            let mut statistics = statistics.into_iter().filter(|it| !it.is_null());
            if !statistics.all(|it| it.as_str().is_some_and(is_statistic)) {
                wrong.push(format!("{title}: not a statistic in {row}"));
            }
            match metric_of(row) {
                None => wrong.push(format!("{title}: not a metric: {row}")),
                Some(metric) => {
                    wrong.extend(metric.wrong(template));
                    shown.insert(metric);
                }
            }
        }
    }
    if titles != BTreeSet::from(WIDGETS) || widgets.len() != WIDGETS.len() {
        wrong.push(format!("the widgets are {titles:?}"));
    }
    // A dashboard is free with up to fifty metrics.
    let rows = widgets
        .iter()
        .filter_map(|it| it["properties"]["metrics"].as_array().cloned());
    if rows.flatten().count() > 50 {
        wrong.push("more than fifty metrics".to_owned());
    }
    wrong
}

fn queries(template: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (resource, name, fields) in QUERIES {
        let query = &template["Resources"][resource];
        let text = query["Properties"]["QueryString"]
            .as_str()
            .unwrap_or_default();
        let expected = json!({
            "Type": "AWS::Logs::QueryDefinition",
            "Condition": "HasMetricMath",
            "Properties": {
                "Name": { "Fn::Sub": format!("${{AWS::StackName}}/{name}") },
                "LogGroupNames": [{ "Ref": "ReceiverLogGroup" }],
                "QueryString": text,
            },
        });
        if *query != expected {
            wrong.push(format!("{resource} is {query}"));
        }
        match fields_of(text) {
            Ok(read) if read == fields.iter().copied().collect() => {}
            Ok(read) => wrong.push(format!("{resource} reads {read:?}")),
            Err(word) => wrong.push(format!("{resource} has the unknown word {word}")),
        }
        let is_field = |it: &&&str| it.starts_with('@') || FIELDS.contains(it);
        wrong.extend(
            fields
                .iter()
                .filter(|it| !is_field(it))
                .map(|it| format!("{resource} reads {it}")),
        );
    }
    for (resource, expected) in CONSTANTS {
        let text = &template["Resources"][resource]["Properties"]["QueryString"];
        let found = constants_of(text.as_str().unwrap_or_default());
        if found != expected {
            wrong.push(format!("{resource} has the constants {found:?}"));
        }
    }
    let found = of_type(template, "AWS::Logs::QueryDefinition").count();
    if found != QUERIES.len() {
        wrong.push(format!("{found} queries"));
    }
    wrong
}

/// The fields that a query reads, without those that it names itself; or a word that is none.
fn fields_of(query: &str) -> Result<BTreeSet<&str>, &str> {
    const COMMANDS: [&str; 5] = ["fields", "filter", "limit", "sort", "stats"];
    const WORDS: [&str; 15] = [
        "and",
        "as",
        "asc",
        "bin",
        "by",
        "count",
        "desc",
        "in",
        "isblank",
        "ispresent",
        "max",
        "min",
        "or",
        "pct",
        "sum",
    ];
    let mut fields = BTreeSet::new();
    let mut names = BTreeSet::new();
    for command in query.split("\n| ") {
        let (first, _) = command.split_once(' ').ok_or(command)?;
        if !COMMANDS.contains(&first) {
            return Err(first);
        }
        let outside = command.split('"').step_by(2);
        let is_of_word = |it: char| it.is_alphanumeric() || it == '_' || it == '@';
        let words = outside.flat_map(|it| it.split(move |it| !is_of_word(it)));
        let mut before = "";
        for word in words.filter(|it| !it.is_empty()).skip(1) {
            let is_number = word
                .trim_end_matches(['m', 'h', 'd'])
                .parse::<u32>()
                .is_ok();
            if before == "as" {
                names.insert(word);
            } else if FIELDS.contains(&word) || ["@timestamp", "@message"].contains(&word) {
                fields.insert(word);
            } else if !names.contains(word) && !WORDS.contains(&word) && !is_number {
                return Err(word);
            }
            before = word;
        }
    }
    Ok(fields)
}

/// The members of the healer's lines that its filters count.
const HEALER_FIELDS: &[&str] = &["message", "state"];

/// What is wrong with the dashboard, the metrics of the alarms, or the saved queries.
pub(crate) fn check(template: &Value) -> Vec<String> {
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for stack in Stack::all(template) {
        wrong.extend(widgets(&stack, &mut used));
        let alarms = of_type(template, "AWS::CloudWatch::Alarm");
        for (name, alarm) in alarms.filter(|(name, _)| stack.has(name)) {
            for metric in metrics_of(&stack, alarm) {
                wrong.extend(metric.wrong(template).map(|it| format!("{name}: {it}")));
                used.insert(metric);
            }
        }
    }
    let used: BTreeMap<_, _> = used
        .iter()
        .map(|it| ((&*it.namespace, &*it.name), it))
        .collect();
    for (name, filter) in of_type(template, "AWS::Logs::MetricFilter") {
        let written = &filter["MetricTransformations"][0];
        let metric = written["MetricName"].as_str().unwrap_or_default();
        if !used.contains_key(&(OWN, metric)) {
            wrong.push(format!("nobody sees {metric}, which {name} counts"));
        }
        let texts = [
            &filter["FilterPattern"],
            &written["MetricValue"],
            &written["Dimensions"][0]["Value"],
        ];
        let of_the_healer = filter["LogGroupName"] == json!({ "Ref": "HealerLogGroup" });
        let fields = if of_the_healer {
            HEALER_FIELDS
        } else {
            &FIELDS
        };
        for text in texts.into_iter().filter_map(Value::as_str) {
            let unknown = members_of(text)
                .into_iter()
                .filter(|it| !fields.contains(it));
            wrong.extend(unknown.map(|it| format!("{name} reads {it}, which no line has")));
        }
    }
    wrong.extend(queries(template));
    wrong
}

#[test]
fn a_widget_or_a_query_of_what_does_not_exist_is_found() {
    assert_eq!(check(&template()), [""; 0]);
    for (right, mistake) in [
        (
            r#""Deliveries", "Outcome", "accepted""#,
            r#""Deliveries", "Outcome", "acepted""#,
        ),
        (r#""Deliveries", "Outcome", "accepted""#, r#""Deliveries""#),
        (
            r#""EventAge", {"stat": "p99""#,
            r#""EventsAge", {"stat": "p99""#,
        ),
        (
            r#""EventAge", {"stat": "p99""#,
            r#""EventAge", "Outcome", "accepted", {"stat": "p99""#,
        ),
        (r#"{"stat": "p99""#, r#"{"stat": "p100""#),
        (r#"{"stat": "p99""#, r#"{"stat": "P99""#),
        (r#""${ClientErrors}""#, r#""4xx""#),
        (r#""${ClientErrors}""#, r#""${Requests}s""#),
        (r#""${Dimension}""#, r#""ApiId""#),
        (r#""${EntranceId}""#, r#""${WebhookApi}""#),
        (r#""${EntranceId}""#, r#""${ReceiverFunction}""#),
        (r#""${Namespace}""#, r#""AWS/ApiGateway""#),
        ("${QuarantineQueue.QueueName}", "${QuarantineQueue}"),
        (
            "${ContactsDeadLetterQueue.QueueName}",
            "${ContactsDeadQueue.QueueName}",
        ),
        (
            r#""TableName", "${JobsTable}""#,
            r#""TableName", "${JobsTable.Arn}""#,
        ),
        (
            r#""AWS/Logs", "IncomingBytes""#,
            r#""AWS/Logs", "IncomingByte""#,
        ),
        (r#""region": "${AWS::Region}""#, r#""region": "us-east-1""#),
        (r#""period": 3600"#, r#""period": 90"#),
        (r#""x": 18, "y": 0"#, r#""x": 17, "y": 0"#),
        (r#""width": 24"#, r#""width": 25"#),
        (r#""title": "Jobs completed""#, r#""title": "Jobs""#),
    ] {
        let mut changed = template();
        let body =
            &mut changed["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][0];
        let text = body.as_str().unwrap();
        assert!(text.contains(right), "{right}");
        *body = text.replacen(right, mistake, 1).into();
        assert_ne!(check(&changed), [""; 0], "{mistake}");
    }
    for (query, right, mistake) in [
        ("JobsQuery", "by job", "by job_id"),
        ("TimesQuery", "pct(age_ms, 99)", "pct(age, 99)"),
        ("WrongQuery", "| sort", "| order"),
        ("OutcomesQuery", "ispresent(outcome)", "ispresent(status)"),
        ("AgainQuery", "count(cold) as", "count(cold) cold_starts as"),
        ("WrongQuery", "[\"WARN\", \"ERROR\"]", "[\"ERROR\"]"),
        ("JobsQuery", "\"accepted\"", "\"refused\""),
        ("TimesQuery", "pct(ms, 99)", "pct(ms, 9)"),
        ("OutcomesQuery", "desc", "asc"),
    ] {
        let mut changed = template();
        let text = &mut changed["Resources"][query]["Properties"]["QueryString"];
        let was = text.as_str().unwrap().to_owned();
        assert!(was.contains(right), "{right}");
        *text = was.replacen(right, mistake, 1).into();
        assert_ne!(check(&changed), [""; 0], "{mistake}");
    }
}

#[test]
fn the_outcomes_are_those_of_the_answer_table() {
    let page = crate::template::read("README.md");
    let table = page.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<_> = table
        .filter_map(|line| line.split(" | ").next())
        .flat_map(|cell| cell.trim_start_matches("| ").split(", "))
        .map(|name| name.trim_matches('`'))
        .filter(|name| OUTCOMES.contains(name))
        .collect();
    assert_eq!(named, BTreeSet::from(OUTCOMES));
}
