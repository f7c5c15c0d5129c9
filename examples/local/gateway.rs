//! A gateway in front of the function. It converts each HTTP request to an event of an API Gateway
//! HTTP API (payload format 2.0), and the function's response to an HTTP response.

use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    http::request,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use titanx_receiver::receiver::Receiver;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::timeout,
};

use crate::error::Error;

/// The path of the webhook URL. Every other path reaches the function too, as with the deployed API.
pub(crate) const PATH: &str = "/webhooks/titanx";

/// The function's timeout.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(8);

/// A listener on the loopback interface, with a free port if `port` is 0, and its webhook URL.
pub(crate) async fn listen(port: u16) -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let url = format!("http://{}{PATH}", listener.local_addr()?);
    Ok((listener, url))
}

/// Serves until the future is dropped. Calls `observe` with the body and the response of each webhook
/// request.
pub(crate) async fn serve(
    listener: TcpListener,
    receiver: Arc<Receiver>,
    observe: impl Fn(&[u8], &Value) + Clone + Send + Sync + 'static,
) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_connection(
            stream,
            Arc::clone(&receiver),
            observe.clone(),
        ));
    }
}

async fn serve_connection(
    stream: TcpStream,
    receiver: Arc<Receiver>,
    observe: impl Fn(&[u8], &Value) + Send + Sync + 'static,
) {
    let answer = service_fn(|request| answer(request, &receiver, &observe));
    // It fails if the client closes the connection early.
    let _ignored = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    receiver: &Arc<Receiver>,
    observe: &impl Fn(&[u8], &Value),
) -> Result<Response<Full<Bytes>>, Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let response = invoke(Arc::clone(receiver), event(&head, &body)).await?;
    observe(&body, &response);
    to_http(&response)
}

/// Invokes the function as Lambda does: the invocation continues after the answer, and even if the
/// client has gone, and is stopped at its deadline.
async fn invoke(receiver: Arc<Receiver>, event: Value) -> Result<Value, Error> {
    let deadline = SystemTime::now() + FUNCTION_TIMEOUT;
    let deadline_ms = u64::try_from(deadline.duration_since(UNIX_EPOCH)?.as_millis())?;
    let (answered, answer) = oneshot::channel();
    let invocation = async move {
        let request = titanx_receiver::gateway::Request::from_event(&event.to_string());
        let request_id = uuid::Uuid::new_v4().to_string();
        let (response, follow_up) = receiver.handle(request, request_id, deadline_ms).await;
        let _ignored_if_the_client_is_gone = answered.send(response);
        receiver.finish(follow_up).await;
    };
    tokio::spawn(timeout(FUNCTION_TIMEOUT, invocation));
    Ok(match answer.await {
        Ok(response) => serde_json::to_value(response)?,
        Err(_) => json!({"statusCode": 500, "body": r#"{"message":"Internal Server Error"}"#}),
    })
}

/// The event for a request on the API's default route. A body that is not UTF-8 is encoded as Base64.
fn event(head: &request::Parts, body: &Bytes) -> Value {
    let mut headers = BTreeMap::<_, String>::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str())
            .and_modify(|values| *values = format!("{values},{value}"))
            .or_insert_with(|| value.clone().into_owned());
    }
    let (body, is_base64_encoded) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (BASE64_STANDARD.encode(body), true),
    };
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": head.uri.path(),
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "headers": headers,
        "requestContext": {
            "http": {
                "method": head.method.as_str(),
                "path": head.uri.path(),
                "protocol": "HTTP/1.1",
            },
            "stage": "$default",
        },
        "body": body,
        "isBase64Encoded": is_base64_encoded,
    })
}

/// Converts the function's response to an HTTP response.
fn to_http(response: &Value) -> Result<Response<Full<Bytes>>, Error> {
    let status = response["statusCode"].as_u64().ok_or("no status")?;
    let body = response["body"].as_str().ok_or("no body")?.to_owned();
    let mut http = Response::builder().status(StatusCode::from_u16(status.try_into()?)?);
    for (name, value) in response["headers"].as_object().into_iter().flatten() {
        http = http.header(name, value.as_str().ok_or("a header is no text")?);
    }
    Ok(http.body(Full::from(body))?)
}
