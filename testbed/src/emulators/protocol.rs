//! The AWS JSON protocol over HTTP, as far as the emulated services need it.

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

/// A service that answers operations named by `X-Amz-Target`.
pub(crate) trait Service: Send + Sync + 'static {
    fn call(
        &self,
        operation: &str,
        request: Value,
    ) -> impl Future<Output = Result<Value, Refusal>> + Send;
}

/// An error as a service answers it.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The error's shape, in the body's `__type`.
    kind: &'static str,
    /// What the older query protocol called it; the SDKs prefer this name.
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

/// Reads a request, or refuses it as the services do when a field has the wrong type.
pub(crate) fn read<T: DeserializeOwned>(request: Value) -> Result<T, Refusal> {
    serde_json::from_value(request)
        .map_err(|error| Refusal::new("SerializationException", error.to_string()))
}

/// Writes an answer.
pub(crate) fn write(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).expect("answers have string keys")
}

/// Serves until the listener's runtime ends.
pub(crate) async fn serve<S: Service>(listener: TcpListener, service: Arc<S>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_connection(stream, Arc::clone(&service)));
    }
}

async fn serve_connection<S: Service>(stream: TcpStream, service: Arc<S>) {
    // Answers are small and awaited: nothing is gained by holding them back.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| answer(Arc::clone(&service), request));
    // A client that goes away in the middle is its own affair.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn answer<S: Service>(
    service: Arc<S>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // What load balancers and connection warmers ask for.
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
