//! The Lambda function: a cold start, then one answer for each request.

use std::{env, iter, process::ExitCode, sync::Arc};

use lambda_http::{Context, LambdaEvent, service_fn};
use lambda_runtime::{Error, Runtime};
use mimalloc::MiMalloc;
use titanx_receiver::{config::Config, error::Chain, gateway::Request, log, receiver::Receiver};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    log::init(env::var("AWS_LAMBDA_LOG_LEVEL").ok().as_deref());
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if environment_ended(error.as_ref()) => {
            tracing::info!(
                "the runtime interface was closed between two requests: end of the environment"
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = %Chain(error.as_ref()), "the receiver stopped");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Error> {
    let config = Config::from_env(|name| env::var(name).ok())?;
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        let how = "`cargo lambda watch --invoke-address 127.0.0.1`";
        return Err(format!("this is a Lambda function: start it with {how}").into());
    }
    // One thread serves one request at a time with less work; more threads pay only where Lambda
    // offers several requests at once.
    let concurrency = env::var("AWS_LAMBDA_MAX_CONCURRENCY").ok();
    let mut runtime = match concurrency.and_then(|limit| limit.parse().ok()) {
        None | Some(0 | 1) => tokio::runtime::Builder::new_current_thread(),
        Some(2_u32..) => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    // As a task, since before each poll of its root the runtime asks the kernel for news: five
    // system calls more a delivery.
    runtime.block_on(runtime.spawn(serve(config)))?
}

async fn serve(config: Config) -> Result<(), Error> {
    let (receiver, aws) = config.build()?;
    let (loaded, ()) = tokio::join!(receiver.secrets.load(), aws.connect());
    if let Err(error) = loaded {
        tracing::error!(error = %Chain(&error), "the webhook secrets could not be loaded at start");
    }
    let receiver = Arc::new(receiver);
    let handler = service_fn(move |event: LambdaEvent<Request>| {
        answer(Arc::clone(&receiver), event.payload, event.context)
    });
    Runtime::new(handler).run_concurrent().await
}

async fn answer(
    receiver: Arc<Receiver>,
    request: Request,
    context: Context,
) -> Result<titanx_receiver::gateway::Response, Error> {
    Ok(receiver.handle(request, context.deadline).await)
}

/// Whether the runtime interface closed the connection on which it was asked for the next request.
///
/// No request is in work then, and that is how an environment ends: that of `sam local invoke` too,
/// if the process lives long enough to notice. An interface that refuses connections is a failure.
fn environment_ended(error: &(dyn std::error::Error + 'static)) -> bool {
    iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_incomplete_message)
}
