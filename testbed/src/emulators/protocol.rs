//! The parts of the AWS JSON protocol that the emulators need.

use std::future::Future;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::server;

/// A service. The `X-Amz-Target` header of a request names the operation.
pub(crate) trait Service: Send + Sync + 'static {
    fn call(
        &self,
        operation: &str,
        request: Value,
    ) -> impl Future<Output = Result<Value, Refusal>> + Send;
}

/// An error response of a service.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The error type, in the member `__type` of the body.
    kind: &'static str,
    /// The error code of the older query protocol, which the SDKs prefer.
    query_code: Option<&'static str>,
    message: String,
}

impl Refusal {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            query_code: None,
            message: message.into(),
        }
    }

    pub(crate) fn with_query_code(mut self, code: &'static str) -> Self {
        self.query_code = Some(code);
        self
    }

    pub(crate) fn unknown_operation() -> Self {
        Self::new("UnknownOperationException", "")
    }
}

/// Parses a request. A member with a wrong type is refused with the services' own error.
pub(crate) fn read<T: DeserializeOwned>(request: Value) -> Result<T, Refusal> {
    serde_json::from_value(request)
        .map_err(|error| Refusal::new("SerializationException", error.to_string()))
}

/// Serializes a response.
pub(crate) fn write(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).expect("answers have string keys")
}

/// Serves until the runtime of the listener shuts down.
pub(crate) async fn serve<S: Service>(listener: TcpListener, service: Arc<S>) {
    let answer = move |request| answer(Arc::clone(&service), request);
    server::serve(listener, answer).await;
}

async fn answer<S: Service>(
    service: Arc<S>,
    request: Request<Bytes>,
) -> Option<Response<Full<Bytes>>> {
    // Health checks and connection warming use GET.
    if request.method() == Method::GET {
        return Some(Response::new(Full::from("healthy")));
    }
    Some(match call(service, request).await {
        Ok(value) => response(200, &value, None),
        Err(refusal) => response(
            400,
            &json!({ "__type": refusal.kind, "message": refusal.message }),
            refusal.query_code,
        ),
    })
}

async fn call<S: Service>(service: Arc<S>, request: Request<Bytes>) -> Result<Value, Refusal> {
    let target = request.headers().get("x-amz-target");
    let operation = target
        .and_then(|target| target.to_str().ok()?.split_once('.'))
        .map(|(_, operation)| operation.to_owned())
        .ok_or_else(Refusal::unknown_operation)?;
    let unreadable =
        |error: serde_json::Error| Refusal::new("SerializationException", error.to_string());
    let request = serde_json::from_slice(request.body()).map_err(unreadable)?;
    service.call(&operation, request).await
}

fn response(status: u16, body: &Value, query_code: Option<&str>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status.try_into().expect("a valid status");
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/x-amz-json-1.0");
    headers.insert(CONTENT_TYPE, json);
    if let Some(code) = query_code {
        let code = HeaderValue::try_from(format!("{code};Sender")).expect("a printable code");
        headers.insert("x-amzn-query-error", code);
    }
    response
}
