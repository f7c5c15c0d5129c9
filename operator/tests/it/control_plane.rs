//! A server that stands in for `CloudFormation`, Lambda, IAM, `CloudWatch` and SNS. Each service answers one
//! operation with the state of a stack.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use aws_smithy_cbor::Encoder;
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
}

/// The running server. It stops when this is dropped.
pub(crate) struct ControlPlane {
    pub(crate) url: String,
    state: Arc<Mutex<StackState>>,
    _server: Server,
}

impl ControlPlane {
    pub(crate) fn start(state: StackState) -> Self {
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let server = Server::start("control-plane", move |request| {
            let answer = answer(&shared, &request);
            async { Some(answer) }
        });
        Self {
            url: server.origin.clone(),
            state,
            _server: server,
        }
    }

    /// Changes the state of the stack.
    pub(crate) fn update(&self, change: impl FnOnce(&mut StackState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn answer(state: &Mutex<StackState>, request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let is_live = request.uri().query() == Some("Qualifier=live");
    let target = request.headers().contains_key("x-amz-target");
    let body = String::from_utf8_lossy(request.body());
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let (content_type, answer) = if target {
        ("application/x-amz-json-1.0", state.table(&body))
    } else if path.contains("/functions/") {
        let function = if is_live {
            &state.function
        } else {
            &state.latest
        };
        ("application/json", function.to_string().into_bytes())
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

    /// A page with one alarm: the first, or the one that `NextToken` selects. Composite ones are returned
    /// only if they are asked for.
    fn alarms(&self, request: &str) -> Value {
        let token = request.split("alarm-").nth(1).unwrap_or("0");
        let digits = token.split(|it: char| !it.is_ascii_digit()).next();
        let index = digits.and_then(|it| it.parse().ok()).unwrap_or(0);
        let alarms = self.alarms.get(index..=index).unwrap_or_default();
        let is_composite = alarms.iter().any(|it| it.get("AlarmRule").is_some());
        let mut page = match (is_composite, request.contains("CompositeAlarm")) {
            (false, _) => json!({ "MetricAlarms": alarms }),
            (true, true) => json!({ "CompositeAlarms": alarms }),
            (true, false) => json!({}),
        };
        if index + 1 < self.alarms.len() {
            page["NextToken"] = format!("alarm-{}", index + 1).into();
        }
        page
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
        let decision = if self.denied.iter().any(denied) {
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
        Value::Object(members) => {
            encoder.map(members.len());
            for (name, value) in members {
                encoder.str(name);
                encode(encoder, value);
            }
        }
    }
}
