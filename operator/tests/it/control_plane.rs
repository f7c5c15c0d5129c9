//! What tells of the deployed system: the stack, the function, the role's policies and the alarms,
//! each service with one answer.

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

/// What is deployed, as the services tell it.
#[derive(Clone)]
pub(crate) struct Deployed {
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) parameters: BTreeMap<String, String>,
    /// The answer of Lambda.
    pub(crate) function: Value,
    /// Actions that the function's role may not do.
    pub(crate) denied: Vec<String>,
    /// Alarms as they are described.
    pub(crate) alarms: Vec<Value>,
}

/// The services. They end when this is dropped.
pub(crate) struct ControlPlane {
    pub(crate) url: String,
    deployed: Arc<Mutex<Deployed>>,
    _background: Background,
}

impl ControlPlane {
    pub(crate) fn start(deployed: Deployed) -> Self {
        let background = Background::start("control-plane");
        let (listener, url) = background.listen();
        let deployed = Arc::new(Mutex::new(deployed));
        let served = Arc::clone(&deployed);
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let deployed = Arc::clone(&served);
                let serve = service_fn(move |request| serve(Arc::clone(&deployed), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
            }
        });
        Self {
            url,
            deployed,
            _background: background,
        }
    }

    /// Changes what is deployed.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Deployed)) {
        change(&mut self.deployed.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn serve(
    deployed: Arc<Mutex<Deployed>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await;
    let body = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    let deployed = deployed.lock().unwrap_or_else(PoisonError::into_inner);
    let (content_type, answer) = if path.contains("/functions/") {
        (
            "application/json",
            deployed.function.to_string().into_bytes(),
        )
    } else if path.contains("DescribeAlarms") {
        ("application/cbor", cbor(&deployed.alarms(&body)))
    } else if body.contains("Action=DescribeStacks") {
        ("text/xml", deployed.stack().into_bytes())
    } else {
        ("text/xml", deployed.simulated(&body).into_bytes())
    };
    let response = Response::builder().header("content-type", content_type);
    let response = response.header("smithy-protocol", "rpc-v2-cbor");
    Ok(response.body(Full::from(answer)).expect("a valid response"))
}

impl Deployed {
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

    /// A page with one alarm: the first, or the one that the token names.
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
