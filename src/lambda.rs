//! An invocation under `lambda_runtime`: the answer is posted first, then the completion mark is
//! written, and only then the next event is asked for.
//!
//! `lambda_runtime` posts what the handler returns, inside of the layers around it. So the handler,
//! [`answer`], leaves the [`FollowUp`] in a task-local, and the layer, [`AnswerFirst`], runs it once
//! the answer is posted. Lambda does not freeze the environment before the next event is asked for.
//!
//! In the other direction, the layer hands the event to the handler, past `lambda_runtime`, which would fail the
//! invocation for an event of another type than expected. Here every JSON value is answered. The runtime could
//! hand it over unparsed, but finding where it ends takes a fortieth of a delivery's instructions.

use std::{
    cell::Cell,
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Poll},
};

use hyper::body::Bytes;
use lambda_runtime::{
    Context, Error, LambdaEvent, LambdaInvocation,
    tower::{Layer, Service},
};

use crate::{
    aws::Aws,
    error::Chain,
    gateway::{Request, Response},
    receiver::{FollowUp, Receiver},
    shutdown::Shutdown,
};

tokio::task_local! {
    /// The invocation that this task handles.
    static INVOCATION: Invocation;
}

/// An invocation in work.
#[derive(Default)]
struct Invocation {
    /// The event, until the handler takes it.
    event: Cell<Bytes>,
    /// What follows the answer, once the handler has left it.
    follow_up: Cell<Option<FollowUp>>,
}

/// The handler of an invocation, for a runtime with the layer [`AnswerFirst`].
///
/// # Errors
///
/// If the event is not JSON in UTF-8, as Lambda's always are. Every other one is answered.
///
/// # Panics
///
/// Outside of [`AnswerFirst`].
pub async fn answer(receiver: Arc<Receiver>, invoked: LambdaEvent<()>) -> Result<Response, Error> {
    let event = INVOCATION.with(|invocation| invocation.event.take());
    let request = Request::from_event(str::from_utf8(&event)?)?;
    // A body may have megabytes, and the request holds a copy.
    drop(event);
    let Context {
        request_id,
        deadline,
        ..
    } = invoked.context;
    let (response, follow_up) = receiver.handle(request, request_id, deadline).await;
    INVOCATION.with(|invocation| invocation.follow_up.set(Some(follow_up)));
    Ok(response)
}

/// The layer that runs a [`FollowUp`] after its answer is posted.
///
/// It requests a shutdown of the process in two cases. If the answer cannot be posted, the Runtime API
/// is out of reach, and `lambda_runtime` would go on with one worker less; the follow-up runs all the
/// same, since the event is durable. If the session of the AWS credentials has expired, no later
/// delivery could be accepted: Lambda gives an environment its credentials only once.
#[derive(Debug, Clone)]
pub struct AnswerFirst {
    receiver: Arc<Receiver>,
    aws: Arc<Aws>,
    shutdown: Shutdown,
}

impl AnswerFirst {
    /// The layer for a handler that answers with `receiver`, which calls `aws`.
    #[must_use]
    pub fn new(receiver: Arc<Receiver>, aws: Arc<Aws>, shutdown: Shutdown) -> Self {
        Self {
            receiver,
            aws,
            shutdown,
        }
    }
}

impl<S> Layer<S> for AnswerFirst {
    type Service = AnswerFirstService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AnswerFirstService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service that [`AnswerFirst`] wraps around another.
#[derive(Debug, Clone)]
pub struct AnswerFirstService<S> {
    inner: S,
    layer: AnswerFirst,
}

impl<S> Service<LambdaInvocation> for AnswerFirstService<S>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        // What `lambda_runtime` parses instead of the event.
        let event = mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        let handled_and_posted = self.inner.call(invocation);
        let AnswerFirst {
            receiver,
            aws,
            shutdown,
        } = self.layer.clone();
        Box::pin(async move {
            let invocation = Invocation {
                event: Cell::new(event),
                ..Invocation::default()
            };
            let scope = INVOCATION.scope(invocation, handled_and_posted);
            let mut scope = pin!(scope);
            let posted = scope.as_mut().await;
            let invocation = scope.as_mut().take_value();
            if let Some(follow_up) = invocation.and_then(|it| it.follow_up.into_inner()) {
                receiver.finish(follow_up).await;
            }
            if let Err(error) = &posted {
                let error = Chain(error.as_ref());
                shutdown.request(format!("an answer could not be posted: {error}"));
            }
            if aws.session_expired() {
                shutdown.request(
                    "the session of the AWS credentials has expired, and only a fresh environment \
                     has others",
                );
            }
            posted
        })
    }
}
