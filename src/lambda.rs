//! An invocation under `lambda_runtime`: the answer is posted first, then the completion mark is
//! written, and only then the next event is asked for.
//!
//! `lambda_runtime` posts what the handler returns, inside of the layers around it. So the handler,
//! [`answer`], leaves the [`FollowUp`] in a task-local, and the layer, [`AnswerFirst`], runs it once
//! the answer is posted. Lambda does not freeze the environment before the next event is asked for.

use std::{
    cell::Cell,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use lambda_runtime::{
    Error, LambdaEvent, LambdaInvocation,
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
    /// The follow-up of the invocation that this task handles.
    static FOLLOW_UP: Cell<Option<FollowUp>>;
}

/// The handler of an invocation, for a runtime with the layer [`AnswerFirst`].
///
/// # Errors
///
/// None: every request is answered.
///
/// # Panics
///
/// Outside of [`AnswerFirst`].
pub async fn answer(
    receiver: Arc<Receiver>,
    event: LambdaEvent<Request>,
) -> Result<Response, Error> {
    let LambdaEvent { payload, context } = event;
    let handled = receiver.handle(payload, context.request_id, context.deadline);
    let (response, follow_up) = handled.await;
    FOLLOW_UP.with(|slot| slot.set(Some(follow_up)));
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

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let handled_and_posted = self.inner.call(invocation);
        let AnswerFirst {
            receiver,
            aws,
            shutdown,
        } = self.layer.clone();
        Box::pin(async move {
            let scope = FOLLOW_UP.scope(Cell::default(), handled_and_posted);
            let mut scope = pin!(scope);
            let posted = scope.as_mut().await;
            if let Some(follow_up) = scope.as_mut().take_value().and_then(Cell::into_inner) {
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
