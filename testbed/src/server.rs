//! An HTTP server on the loopback interface, for emulated services.

use std::{future::Future, io};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use crate::background::Background;

/// A server on a thread of its own. It stops when this is dropped.
pub struct Server {
    /// `http://` with address and port.
    pub origin: String,
    _background: Background,
}

impl Server {
    /// Serves on a free port. If `answer` returns `None`, the connection is closed without a response.
    pub fn start<A, F>(name: &str, answer: A) -> Self
    where
        A: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Option<Response<Full<Bytes>>>> + Send + 'static,
    {
        Self::start_on(0, name, answer).expect("a loopback port is free")
    }

    /// As [`Self::start`], on this port, or on a free port if it is 0.
    pub fn start_on<A, F>(port: u16, name: &str, answer: A) -> io::Result<Self>
    where
        A: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Option<Response<Full<Bytes>>>> + Send + 'static,
    {
        let background = Background::start(name);
        let (listener, origin) = background.listen_on(port)?;
        background.spawn(serve(listener, answer));
        Ok(Self {
            origin,
            _background: background,
        })
    }
}

/// A response with a JSON body.
pub fn json(status: u16, body: &Value) -> Response<Full<Bytes>> {
    text(status, "application/json", body.to_string())
}

/// A response with a body of any content type.
pub fn text(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status);
    let response = response.header(CONTENT_TYPE, content_type);
    response
        .body(Full::from(body.into()))
        .expect("status and content type are valid")
}

/// Serves until the runtime of the listener shuts down.
pub(crate) async fn serve<A, F>(listener: TcpListener, answer: A)
where
    A: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Option<Response<Full<Bytes>>>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_connection(stream, answer.clone()));
    }
}

async fn serve_connection<A, F>(stream: TcpStream, answer: A)
where
    A: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Option<Response<Full<Bytes>>>> + Send + 'static,
{
    // Responses are small, and the client waits for them.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let answer = answer.clone();
        async move {
            let body = body.collect().await.map_err(|_| CloseConnection)?;
            let request = Request::from_parts(head, body.to_bytes());
            answer(request).await.ok_or(CloseConnection)
        }
    });
    // It fails if the client closes the connection early.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

/// Closes the connection instead of sending a response.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed without a response")]
struct CloseConnection;
