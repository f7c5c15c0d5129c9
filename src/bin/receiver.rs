//! The Lambda function: starts, then answers requests until its environment ends.

use std::{env, iter, pin::Pin, process::ExitCode, sync::Arc};

use lambda_http::service_fn;
use lambda_runtime::{BoxFuture, Error, Runtime, SnapStartResource};
use mimalloc::MiMalloc;
use titanx_receiver::{
    aws::Aws,
    config::Config,
    error::Chain,
    lambda::{AnswerFirst, answer},
    log,
    receiver::Receiver,
    shutdown::Shutdown,
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let shutdown = Shutdown::default();
    log::init(env::var("AWS_LAMBDA_LOG_LEVEL").ok().as_deref(), &shutdown);
    match start(shutdown) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if environment_ended(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %Chain(error.as_ref()), "the receiver stopped");
            ExitCode::FAILURE
        }
    }
}

fn start(shutdown: Shutdown) -> Result<(), Error> {
    let config = Config::from_env(|name| env::var(name).ok())?;
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        let how = "`cargo lambda watch --invoke-address 127.0.0.1`";
        return Err(format!("this is a Lambda function: start it with {how}").into());
    }
    // With one request at a time, one thread is cheaper. Several threads pay off only where Lambda sends
    // several requests at once.
    let concurrency = env::var("AWS_LAMBDA_MAX_CONCURRENCY").ok();
    let mut runtime = match concurrency.and_then(|limit| limit.parse().ok()) {
        None | Some(0 | 1) => tokio::runtime::Builder::new_current_thread(),
        Some(2_u32..) => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    // In a task of its own: tokio polls the kernel for events before each poll of the root future, which
    // costs five more system calls for each delivery.
    let served = runtime.block_on(runtime.spawn(serve(config, shutdown)));
    // Does not wait for blocking tasks that still run, such as the look-up of a host.
    runtime.shutdown_background();
    served?
}

async fn serve(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let (receiver, aws) = config.build()?;
    let function = Function {
        receiver: Arc::new(receiver),
        aws: Arc::new(aws),
    };
    function.prime().await;
    let ended = tokio::select! {
        _reason = shutdown.requested() => Ok(()),
        ended = invocations(function, shutdown.clone()) => ended,
    };
    // The runtime may have ended as a consequence of the reason.
    match shutdown.reason() {
        Some(reason) => Err(reason.into()),
        None => ended,
    }
}

/// Handles one invocation after the other, or several at once where Lambda sends them. Boxed, since the
/// compiler cannot prove that the future is `Send` when it is part of another.
fn invocations(
    function: Function,
    shutdown: Shutdown,
) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
    let Function { receiver, aws } = function.clone();
    let answer_first = AnswerFirst::new(Arc::clone(&receiver), aws, shutdown);
    // On the heap, since `lambda_runtime` moves the handler's future through four layers.
    let handler = service_fn(move |event| Box::pin(answer(Arc::clone(&receiver), event)));
    let runtime = Runtime::new(handler).register_snapstart_resource(Arc::new(function));
    Box::pin(runtime.layer(answer_first).run_concurrent())
}

/// The receiver and the services that it calls.
#[derive(Debug, Clone)]
struct Function {
    receiver: Arc<Receiver>,
    aws: Arc<Aws>,
}

impl Function {
    /// Loads the secrets and opens connections ahead of the first delivery, which repeats what failed.
    async fn prime(&self) {
        let secrets = self.receiver.secrets.load();
        let (loaded, ()) = tokio::join!(secrets, self.aws.connect());
        if let Err(error) = loaded {
            let error = Chain(&error);
            tracing::error!(%error, "cannot load the webhook secrets at start");
        }
    }
}

/// A snapshot is restored many times, weeks later too. Its connections are dead by then, and its secrets
/// may have been rotated.
impl SnapStartResource for Function {
    fn before_snapshot(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.receiver.secrets.forget();
            self.aws.disconnect();
            Ok(())
        })
    }

    fn after_restore(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.prime().await;
            Ok(())
        })
    }
}

/// Whether the Runtime API closed the connection on which the next event was awaited. No request is in
/// work then, so this is the regular end of an environment, that of `sam local invoke` too. A Runtime
/// API that refuses connections is a failure.
fn environment_ended(error: &(dyn std::error::Error + 'static)) -> bool {
    iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_incomplete_message)
}
