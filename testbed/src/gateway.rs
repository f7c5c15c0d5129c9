//! An HTTP server in front of a receiver in this process, in place of API Gateway and Lambda. As with
//! the deployed `$default` route, every path and every method reaches the function.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};
use serde_json::{Value, json};
use titanx_receiver::receiver::Receiver;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    front_door::{self, TIMEOUT},
    gateway_events::{self, PATH, Target},
    server::Server,
};

/// The running server. It stops when this is dropped.
pub struct Gateway {
    /// The webhook URL.
    pub url: String,
    running: Arc<AtomicUsize>,
    _server: Server,
}

impl Gateway {
    /// Serves the receiver on a free port.
    pub fn start(receiver: Arc<Receiver>) -> Self {
        Self::start_on(0, receiver, |_, _| ()).expect("a loopback port is free")
    }

    /// Serves the receiver on this port, or on a free port if it is 0. Calls `observe` with the body of
    /// each request and the response of the function.
    pub fn start_on(
        port: u16,
        receiver: Arc<Receiver>,
        observe: impl Fn(&[u8], &Value) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (observe, running) = (Arc::new(observe), Arc::<AtomicUsize>::default());
        let function = Function {
            receiver,
            running: Arc::clone(&running),
        };
        let server = Server::start_on(port, "gateway", move |request| {
            answer(request, function.clone(), Arc::clone(&observe))
        })?;
        Ok(Self {
            url: format!("{}{PATH}", server.origin),
            running,
            _server: server,
        })
    }

    /// Waits until all invocations have finished, including what follows their answers.
    pub async fn idle(&self) {
        while self.running.load(Ordering::SeqCst) > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn answer(
    request: Request<Bytes>,
    function: Function,
    observe: Arc<impl Fn(&[u8], &Value)>,
) -> Option<Response<Full<Bytes>>> {
    let response = function.invoke(event(&request)).await;
    observe(request.body(), &response);
    Some(to_http(&response))
}

/// The gateway's event for a request.
fn event(request: &Request<Bytes>) -> Value {
    let target = Target {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
    };
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes())));
    gateway_events::event_for(target, headers, request.body())
}

/// The receiver in place of a Lambda function.
#[derive(Clone)]
struct Function {
    receiver: Arc<Receiver>,
    running: Arc<AtomicUsize>,
}

impl Function {
    /// Invokes the function as Lambda does: the invocation continues after the answer, and even if the
    /// client has gone, and is stopped at its deadline.
    async fn invoke(self, event: Value) -> Value {
        let (answered, answer) = oneshot::channel();
        self.running.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let _stopped = timeout(TIMEOUT, handle(&self.receiver, &event, answered)).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
        });
        answer.await.unwrap_or_else(
            |_| json!({"statusCode": 500, "body": r#"{"message":"Internal Server Error"}"#}),
        )
    }
}

async fn handle(receiver: &Receiver, event: &Value, answered: oneshot::Sender<Value>) {
    let request_id = uuid::Uuid::new_v4().to_string();
    let handled = front_door::handle(receiver, event, request_id, TIMEOUT);
    let (response, follow_up) = handled.await;
    let _ignored_if_the_client_is_gone = answered.send(response);
    receiver.finish(follow_up).await;
}

/// Converts the function's response to an HTTP response.
fn to_http(response: &Value) -> Response<Full<Bytes>> {
    let status = response["statusCode"].as_u64().expect("a status");
    let mut http = Response::builder().status(u16::try_from(status).expect("a status"));
    for (name, value) in response["headers"].as_object().into_iter().flatten() {
        http = http.header(name, value.as_str().expect("a header's value is text"));
    }
    let body = response["body"].as_str().expect("a body").to_owned();
    http.body(Full::from(body)).expect("a valid response")
}
