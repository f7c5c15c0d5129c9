//! One invocation under Lambda's runtime: the answer is posted first, and what follows it is done
//! before the next event is asked for.
//!
//! `lambda_runtime` posts what the handler returns, and a layer around it wraps both. So [`answer`],
//! the handler, leaves the [`FollowUp`] with its task, and [`AnswerFirst`], the layer, does it once
//! the answer was posted. Lambda freezes an environment only when the next event is asked for.

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
    /// What follows the answer of the invocation that is being handled.
    static FOLLOW_UP: Cell<Option<FollowUp>>;
}

/// The handler of an invocation, to be wrapped in [`AnswerFirst`].
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
    let handled = receiver.handle(event.payload, event.context.deadline);
    let (response, follow_up) = handled.await;
    FOLLOW_UP.with(|slot| slot.set(Some(follow_up)));
    Ok(response)
}

/// The layer of the runtime that does what follows an answer after it was posted.
///
/// If it cannot be posted, the Runtime API is out of reach: what follows is done all the same, since
/// the event is durable, and then the process is asked to end. The runtime itself would go on with
/// one worker less. It is asked to end too when the session of its credentials has expired: Lambda
/// gives an environment credentials once, so no later delivery could be accepted in it.
#[derive(Debug, Clone)]
pub struct AnswerFirst {
    receiver: Arc<Receiver>,
    aws: Arc<Aws>,
    shutdown: Shutdown,
}

impl AnswerFirst {
    /// The layer over a handler that answers by `receiver`, which calls `aws`.
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

/// The service that [`AnswerFirst`] makes of the runtime's own.
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
