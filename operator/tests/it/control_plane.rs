//! A server that stands in for `CloudFormation`, Lambda, IAM, `CloudWatch` and SNS. Each operation is answered
//! with the state of a stack.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_smithy_cbor::{Decoder, Encoder};
use aws_smithy_types::DateTime;
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, header::HeaderValue};
use serde_json::{Value, json};
use titanx_testbed::server::{self, Server};

/// The state of the stack that the services report.
#[derive(Clone)]
pub(crate) struct StackState {
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) parameters: BTreeMap<String, String>,
    /// The response of Lambda's `GetFunctionConfiguration` for the alias `live`.
    pub(crate) function: Value,
    /// Its response without a qualifier: what was deployed last.
    pub(crate) latest: Value,
    /// Actions that the function's role does not allow. A resource may follow after a blank.
    pub(crate) denied: Vec<String>,
    /// What DynamoDB says of each table, by its name: the members of the answers of `DescribeTable`,
    /// `DescribeTimeToLive` and `DescribeContinuousBackups`.
    pub(crate) tables: BTreeMap<String, Value>,
    /// Alarms as `DescribeAlarms` returns them.
    pub(crate) alarms: Vec<Value>,
    /// The ARNs of the subscriptions of the alarm topic, or what SNS returns instead of one.
    pub(crate) subscriptions: Vec<&'static str>,
    /// The text of the dashboard.
    pub(crate) dashboard: String,
    /// What was measured: time in Unix seconds and value, by the metric as [`metric_name`] writes it.
    pub(crate) metrics: BTreeMap<String, Vec<(i64, f64)>>,
}

/// The running server. It stops when this is dropped.
pub(crate) struct ControlPlane {
    pub(crate) url: String,
    state: Arc<Mutex<StackState>>,
    calls: Arc<Mutex<Calls>>,
    _server: Server,
}

/// The calls to the services.
#[derive(Default)]
struct Calls {
    operations: Vec<String>,
    /// The number of the one that fails, from 0.
    fails: Option<usize>,
}

impl ControlPlane {
    pub(crate) fn start(state: StackState) -> Self {
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let calls = Arc::<Mutex<Calls>>::default();
        let seen = Arc::clone(&calls);
        let server = Server::start("control-plane", move |request| {
            let answer = if lock(&seen).fails(&request) {
                refusal(&request)
            } else {
                answer(&shared, &request)
            };
            async { Some(answer) }
        });
        Self {
            url: server.origin.clone(),
            state,
            calls,
            _server: server,
        }
    }

    /// Changes the state of the stack.
    pub(crate) fn update(&self, change: impl FnOnce(&mut StackState)) {
        change(&mut lock(&self.state));
    }

    /// The operations that were called.
    pub(crate) fn calls(&self) -> Vec<String> {
        lock(&self.calls).operations.clone()
    }

    /// Forgets the calls so far. Of the later ones, the one with this number fails, from 0.
    pub(crate) fn restart(&self, fails: Option<usize>) {
        *lock(&self.calls) = Calls {
            operations: Vec::new(),
            fails,
        };
    }
}

impl Calls {
    /// Records a call, and tells whether it fails.
    fn fails(&mut self, request: &Request<Bytes>) -> bool {
        let fails = self.fails == Some(self.operations.len());
        self.operations.push(operation(request));
        fails
    }
}

/// An error of the service, in the protocol of the request.
fn refusal(request: &Request<Bytes>) -> Response<Full<Bytes>> {
    const MESSAGE: &str = "refused by the control plane";
    let body = String::from_utf8_lossy(request.body());
    if body.starts_with("Action=") {
        let error = format!(
            "<ErrorResponse><Error><Type>Receiver</Type><Code>InternalFailure</Code>\
             <Message>{MESSAGE}</Message></Error></ErrorResponse>"
        );
        return server::text(500, "text/xml", error.into_bytes());
    }
    if request.headers().contains_key("smithy-protocol") {
        let error = json!({"__type": "InternalServiceFault", "message": MESSAGE});
        let mut response = server::text(500, "application/cbor", cbor(&error));
        let protocol = HeaderValue::from_static("rpc-v2-cbor");
        response.headers_mut().insert("smithy-protocol", protocol);
        return response;
    }
    server::json(
        500,
        &json!({"__type": "InternalFailure", "message": MESSAGE}),
    )
}

/// The name of the operation that a request calls.
fn operation(request: &Request<Bytes>) -> String {
    let body = String::from_utf8_lossy(request.body());
    let action = body
        .strip_prefix("Action=")
        .and_then(|it| it.split('&').next());
    let target = request.headers().get("x-amz-target");
    let target = target.and_then(|it| it.to_str().ok()?.split('.').nth(1));
    let path = request.uri().path().rsplit('/').next();
    let name = action.or(target).or(path);
    name.unwrap_or_default().to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &Mutex<StackState>, request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let is_live = request.uri().query() == Some("Qualifier=live");
    let target = request.headers().contains_key("x-amz-target");
    let body = String::from_utf8_lossy(request.body());
    let state = lock(state);
    let (content_type, answer) = if target {
        ("application/x-amz-json-1.0", state.table(&body))
    } else if path.contains("/functions/receiver/") {
        let function = if is_live {
            &state.function
        } else {
            &state.latest
        };
        ("application/json", function.to_string().into_bytes())
    } else if path.contains("GetDashboard") {
        let dashboard = json!({"DashboardName": "dashboard", "DashboardBody": state.dashboard});
        ("application/cbor", cbor(&dashboard))
    } else if path.contains("GetMetricData") {
        let request = decode(&mut Decoder::new(request.body()), request.body());
        ("application/cbor", cbor(&state.metric_data(&request)))
    } else if path.contains("DescribeAlarms") {
        ("application/cbor", cbor(&state.alarms(&body)))
    } else if body.contains("Action=DescribeStacks") {
        ("text/xml", state.stack().into_bytes())
    } else if body.contains("Action=ListSubscriptionsByTopic") {
        ("text/xml", state.subscriptions(&body).into_bytes())
    } else {
        ("text/xml", state.simulated(&body).into_bytes())
    };
    let mut response = server::text(200, content_type, answer);
    let protocol = HeaderValue::from_static("rpc-v2-cbor");
    response.headers_mut().insert("smithy-protocol", protocol);
    response
}

impl StackState {
    fn stack(&self) -> String {
        let members = |pairs: &BTreeMap<String, String>, kind: &str| {
            pairs.iter().fold(String::new(), |mut xml, (key, value)| {
                let pair =
                    format!("<{kind}Key>{key}</{kind}Key><{kind}Value>{value}</{kind}Value>");
                write!(xml, "<member>{pair}</member>").expect("a String grows");
                xml
            })
        };
        let outputs = members(&self.outputs, "Output");
        let parameters = members(&self.parameters, "Parameter");
        format!(
            "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\">\
             <DescribeStacksResult><Stacks><member><StackName>titanx-receiver</StackName>\
             <StackStatus>CREATE_COMPLETE</StackStatus>\
             <CreationTime>2026-01-05T12:00:00Z</CreationTime>\
             <Outputs>{outputs}</Outputs><Parameters>{parameters}</Parameters>\
             </member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
        )
    }

    /// A page with one subscription, as [`Self::alarms`] returns one alarm.
    fn subscriptions(&self, request: &str) -> String {
        let topic = self.outputs["AlarmTopicArn"].replace(':', "%3A");
        assert!(request.contains(&format!("TopicArn={topic}")), "{request}");
        let token = request.split("NextToken=").nth(1).unwrap_or("0");
        let digits = token.split(|it: char| !it.is_ascii_digit()).next();
        let index = digits.and_then(|it| it.parse().ok()).unwrap_or(0);
        let members = self.subscriptions.get(index).map(|arn| {
            format!(
                "<member><SubscriptionArn>{arn}</SubscriptionArn><Protocol>email</Protocol></member>"
            )
        });
        let more = (index + 1 < self.subscriptions.len())
            .then(|| format!("<NextToken>{}</NextToken>", index + 1));
        format!(
            "<ListSubscriptionsByTopicResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
             <ListSubscriptionsByTopicResult><Subscriptions>{}</Subscriptions>{}\
             </ListSubscriptionsByTopicResult></ListSubscriptionsByTopicResponse>",
            members.unwrap_or_default(),
            more.unwrap_or_default()
        )
    }

    /// A page with one alarm of those with the prefix: the first, or the one that `NextToken` selects.
    /// Composite ones are returned only if they are asked for.
    fn alarms(&self, request: &str) -> Value {
        // In CBOR, the length of a short text stands before it, as one byte.
        let prefix = request.split("AlarmNamePrefix").nth(1);
        let prefix = prefix.and_then(|rest| {
            let length = rest.bytes().next()?.checked_sub(0x60)?;
            rest.get(1..=usize::from(length))
        });
        let prefix = prefix.expect("a short prefix of the alarms' names");
        let is_asked = |alarm: &&Value| {
            let name = alarm["AlarmName"].as_str().expect("every alarm has a name");
            name.starts_with(prefix)
        };
        let alarms: Vec<_> = self.alarms.iter().filter(is_asked).cloned().collect();
        let token = request.split("alarm-").nth(1).unwrap_or("0");
        let digits = token.split(|it: char| !it.is_ascii_digit()).next();
        let index = digits.and_then(|it| it.parse().ok()).unwrap_or(0);
        let page_of = alarms.get(index..=index).unwrap_or_default();
        let is_composite = page_of.iter().any(|it| it.get("AlarmRule").is_some());
        let mut page = match (is_composite, request.contains("CompositeAlarm")) {
            (false, _) => json!({ "MetricAlarms": page_of }),
            (true, true) => json!({ "CompositeAlarms": page_of }),
            (true, false) => json!({}),
        };
        if index + 1 < alarms.len() {
            page["NextToken"] = format!("alarm-{}", index + 1).into();
        }
        page
    }

    /// A page with half of the points of some queries: of the first ones, or of those that `NextToken` selects.
    fn metric_data(&self, request: &Value) -> Value {
        const QUERIES: usize = 30;
        let token = request["NextToken"].as_str().unwrap_or("page-0");
        let page: usize = token.trim_start_matches("page-").parse().expect("ours");
        let queries = request["MetricDataQueries"].as_array().expect("a list");
        assert!(queries.len() <= 500, "CloudWatch refuses more");
        let queries: Vec<_> = queries.chunks(QUERIES).collect();
        let of_page = queries[page / 2].iter();
        let results: Vec<_> = of_page
            .map(|query| self.metric_points(request, query, page % 2))
            .collect();
        let mut answer = json!({ "MetricDataResults": results });
        if page + 1 < queries.len() * 2 {
            answer["NextToken"] = format!("page-{}", page + 1).into();
        }
        answer
    }

    /// The first, third, fifth point of a query, or the others.
    fn metric_points(&self, request: &Value, query: &Value, half: usize) -> Value {
        let seconds = |name: &str| request[name]["time"].as_i64().expect("a time");
        let stat = &query["MetricStat"];
        let period = stat["Period"].as_i64().expect("a number");
        // CloudWatch returns no more data points than it is asked for.
        assert_eq!(seconds("EndTime") - seconds("StartTime"), 12 * period);
        let measured = self.metrics.get(&metric_name(&stat["Metric"]));
        let mut buckets: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (at, value) in measured.into_iter().flatten() {
            if (seconds("StartTime")..seconds("EndTime")).contains(at) {
                buckets.entry(at - at % period).or_default().push(*value);
            }
        }
        let statistic = stat["Stat"].as_str().expect("a text");
        let points = buckets.iter().skip(half).step_by(2);
        let (times, values): (Vec<_>, Vec<_>) = points
            .map(|(at, values)| (json!({"time": at}), aggregated(values, statistic)))
            .unzip();
        json!({
            "Id": query["Id"], "Label": "a label", "StatusCode": "Complete",
            "Timestamps": times, "Values": values,
        })
    }

    fn table(&self, request: &str) -> Vec<u8> {
        let request: Value = serde_json::from_str(request).expect("a request in JSON");
        let name = request["TableName"].as_str().unwrap_or_default();
        self.tables[name].to_string().into_bytes()
    }

    fn simulated(&self, body: &str) -> String {
        let encoded = |text: &str| text.replace(':', "%3A").replace('/', "%2F");
        let denied = |denied: &String| {
            let mut parts = denied.split(' ');
            parts.all(|part| body.contains(&encoded(part)))
        };
        // The template allows the use of a key through services of AWS only.
        let of_key = body.contains("ActionNames.member.1=kms%3A");
        let through_sqs = body.contains("kms%3AViaService")
            && body.contains(&encoded("sqs.us-east-1.amazonaws.com"));
        let decision = if self.denied.iter().any(denied) || of_key && !through_sqs {
            "implicitDeny"
        } else {
            "allowed"
        };
        format!(
            "<SimulatePrincipalPolicyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
             <SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated>\
             <EvaluationResults><member><EvalActionName>an:Action</EvalActionName>\
             <EvalDecision>{decision}</EvalDecision></member></EvaluationResults>\
             </SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
        )
    }
}

/// Namespace, metric, and names and values of the dimensions.
pub(crate) fn metric_name(metric: &Value) -> String {
    let text = |it: &Value| it.as_str().expect("a text").to_owned();
    let mut name = vec![text(&metric["Namespace"]), text(&metric["MetricName"])];
    for dimension in metric["Dimensions"].as_array().into_iter().flatten() {
        name.extend([text(&dimension["Name"]), text(&dimension["Value"])]);
    }
    name.join(" ")
}

/// A statistic of what was measured within one period; of percentiles, the nearest value.
fn aggregated(values: &[f64], statistic: &str) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match statistic {
        "Sum" => values.iter().sum(),
        "Maximum" => sorted[sorted.len() - 1],
        "p50" => sorted[sorted.len() / 2],
        "p99" => sorted[sorted.len() * 99 / 100],
        other => panic!("the dashboard has no statistic {other}"),
    }
}

/// Any value of CBOR. A time is an object with the member `time`, in Unix seconds.
fn decode(decoder: &mut Decoder<'_>, bytes: &[u8]) -> Value {
    const BREAK: u8 = 0xff;
    /// Tries one type, and goes back if the value is of another.
    macro_rules! try_as {
        ($read:ident) => {{
            let at = decoder.position();
            let read = decoder.$read();
            if read.is_err() {
                decoder.set_position(at);
            }
            read
        }};
    }
    if let Ok(text) = try_as!(string) {
        return text.into();
    }
    if let Ok(time) = try_as!(timestamp) {
        return json!({ "time": time.secs() });
    }
    if let Ok(number) = try_as!(long) {
        return number.into();
    }
    if let Ok(number) = try_as!(double) {
        return number.into();
    }
    if let Ok(value) = try_as!(boolean) {
        return value.into();
    }
    let (is_map, length) = match try_as!(map) {
        Ok(length) => (true, length),
        Err(_) => (false, decoder.list().expect("no other type is used")),
    };
    let (mut names, mut items) = (Vec::new(), Vec::new());
    while length.is_none_or(|length| (items.len() as u64) < length) {
        if length.is_none() && bytes[decoder.position()] == BREAK {
            decoder.set_position(decoder.position() + 1);
            break;
        }
        if is_map {
            names.push(decoder.string().expect("names are texts"));
        }
        items.push(decode(decoder, bytes));
    }
    if is_map {
        names.into_iter().zip(items).collect()
    } else {
        items.into()
    }
}

fn cbor(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    encode(&mut encoder, value);
    encoder.into_writer()
}

fn encode(encoder: &mut Encoder, value: &Value) {
    match value {
        Value::Null => _ = encoder.null(),
        Value::Bool(value) => _ = encoder.boolean(*value),
        Value::Number(number) => _ = encoder.double(number.as_f64().expect("a finite number")),
        Value::String(text) => _ = encoder.str(text),
        Value::Array(items) => {
            encoder.array(items.len());
            for item in items {
                encode(encoder, item);
            }
        }
        Value::Object(members) if members.contains_key("time") => {
            let seconds = value["time"].as_i64().expect("a whole number");
            encoder.timestamp(&DateTime::from_secs(seconds));
        }
        Value::Object(members) => {
            encoder.map(members.len());
            for (name, value) in members {
                encoder.str(name);
                encode(encoder, value);
            }
        }
    }
}
