//! The parts of the AWS JSON protocol that the emulators need.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

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
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_connection(stream, Arc::clone(&service)));
    }
}

async fn serve_connection<S: Service>(stream: TcpStream, service: Arc<S>) {
    // Responses are small, and the client waits for them.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| answer(Arc::clone(&service), request));
    // It fails if the client closes the connection early.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn answer<S: Service>(
    service: Arc<S>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // Health checks and connection warming use GET.
    if request.method() == Method::GET {
        return Ok(Response::new(Full::from("healthy")));
    }
    Ok(match call(service, request).await {
        Ok(value) => response(200, &value, None),
        Err(refusal) => response(
            400,
            &json!({ "__type": refusal.kind, "message": refusal.message }),
            refusal.query_code,
        ),
    })
}

async fn call<S: Service>(service: Arc<S>, request: Request<Incoming>) -> Result<Value, Refusal> {
    let target = request.headers().get("x-amz-target");
    let operation = target
        .and_then(|target| target.to_str().ok()?.split_once('.'))
        .map(|(_, operation)| operation.to_owned())
        .ok_or_else(Refusal::unknown_operation)?;
    let unreadable =
        |error: &dyn std::error::Error| Refusal::new("SerializationException", error.to_string());
    let body = request.into_body().collect().await;
    let body = body.map_err(|error| unreadable(&error))?.to_bytes();
    let request = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
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
