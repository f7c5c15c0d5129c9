//! A server that stands in for `CloudFormation`, Lambda, IAM and `CloudWatch`. Each service answers one
//! operation with the state of a stack.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use aws_smithy_cbor::Encoder;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use titanx_testbed::emulators::Background;

/// The state of the stack that the services report.
#[derive(Clone)]
pub(crate) struct StackState {
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) parameters: BTreeMap<String, String>,
    /// The response of Lambda's `GetFunctionConfiguration`.
    pub(crate) function: Value,
    /// Actions that the function's role does not allow.
    pub(crate) denied: Vec<String>,
    /// Alarms as `DescribeAlarms` returns them.
    pub(crate) alarms: Vec<Value>,
}

/// The running server. It stops when this is dropped.
pub(crate) struct ControlPlane {
    pub(crate) url: String,
    state: Arc<Mutex<StackState>>,
    _background: Background,
}

impl ControlPlane {
    pub(crate) fn start(state: StackState) -> Self {
        let background = Background::start("control-plane");
        let (listener, url) = background.listen();
        let state = Arc::new(Mutex::new(state));
        let served = Arc::clone(&state);
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let serve = service_fn(move |request| serve(Arc::clone(&state), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
            }
        });
        Self {
            url,
            state,
            _background: background,
        }
    }

    /// Changes the state of the stack.
    pub(crate) fn update(&self, change: impl FnOnce(&mut StackState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn serve(
    state: Arc<Mutex<StackState>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await;
    let body = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let (content_type, answer) = if path.contains("/functions/") {
        ("application/json", state.function.to_string().into_bytes())
    } else if path.contains("DescribeAlarms") {
        ("application/cbor", cbor(&state.alarms(&body)))
    } else if body.contains("Action=DescribeStacks") {
        ("text/xml", state.stack().into_bytes())
    } else {
        ("text/xml", state.simulated(&body).into_bytes())
    };
    let response = Response::builder().header("content-type", content_type);
    let response = response.header("smithy-protocol", "rpc-v2-cbor");
    Ok(response.body(Full::from(answer)).expect("a valid response"))
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

    /// A page with one alarm: the first, or the one that `NextToken` selects.
    fn alarms(&self, request: &str) -> Value {
        let token = request.split("alarm-").nth(1).unwrap_or("0");
        let digits = token.split(|it: char| !it.is_ascii_digit()).next();
        let index = digits.and_then(|it| it.parse().ok()).unwrap_or(0);
        let mut page =
            json!({ "MetricAlarms": self.alarms.get(index..=index).unwrap_or_default() });
        if index + 1 < self.alarms.len() {
            page["NextToken"] = format!("alarm-{}", index + 1).into();
        }
        page
    }

    fn simulated(&self, body: &str) -> String {
        let denied = |action: &String| body.contains(&action.replace(':', "%3A"));
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
