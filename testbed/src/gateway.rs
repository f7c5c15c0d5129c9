//! An HTTP server in front of a receiver, in place of API Gateway.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use titanx_receiver::receiver::Receiver;

use super::{
    emulators::Background,
    front_door,
    gateway_events::{self, PATH},
};

/// The running server. It stops when this is dropped.
pub struct Gateway {
    pub url: String,
    _background: Background,
}

impl Gateway {
    /// Builds a receiver from these environment variables, and serves it.
    pub fn start(environment: &BTreeMap<&'static str, String>) -> Self {
        let background = Background::start("gateway");
        let (listener, origin) = background.listen();
        let receiver = Arc::new(front_door::receiver(environment));
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = Arc::clone(&receiver);
                let serve = service_fn(move |request| serve(Arc::clone(&receiver), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
            }
        });
        Self {
            url: format!("{origin}{PATH}"),
            _background: background,
        }
    }
}

async fn serve(
    receiver: Arc<Receiver>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST || request.uri().path() != PATH {
        return Ok(answer(404, &json!({"message": "Not Found"})));
    }
    let (head, body) = request.into_parts();
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes())));
    let body = body.collect().await;
    let body = body.map(http_body_util::Collected::to_bytes);
    let event = gateway_events::event(headers, &body.unwrap_or_default());
    let answered = front_door::deliver(&receiver, &event).await;
    let status = u16::try_from(answered.status).expect("a status code");
    Ok(answer(status, &answered.body))
}

fn answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status);
    let response = response.header("content-type", "application/json");
    response
        .body(Full::from(body.to_string()))
        .expect("a valid response")
}
