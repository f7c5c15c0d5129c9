//! The Lambda function: one run for each event of its schedule.

use std::{env, panic, process::ExitCode};

use lambda_runtime::{Error, LambdaEvent, service_fn};
use mimalloc::MiMalloc;
use serde_json::{Value, json};
use titanx_healer::{
    config::Config,
    report::{End, Event, State},
};
use titanx_receiver::error::Chain;
use tracing::{error, info, warn};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    init_log();
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = %Chain(error.as_ref()), "the healer stopped");
            ExitCode::FAILURE
        }
    }
}

/// Lines of JSON on standard output: this program's, and the warnings of others. For a panic the line has only
/// its location, since the message may quote personal data.
fn init_log() {
    let filter = Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::INFO)
        .with_default(LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .without_time();
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        error!(location, "panicked");
    }));
}

fn start() -> Result<(), Error> {
    let config = Config::from_env(|name| env::var(name).ok())?;
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err("this is a Lambda function: `operator heal` does the same elsewhere".into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handler = service_fn(|event| handle(&config, event));
    runtime.block_on(lambda_runtime::run(handler))
}

/// One run. What is thrown counts as an error of the function, which an alarm watches.
async fn handle(config: &Config, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let request_id = event.context.request_id.as_str();
    let deadline_ms = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
    let run = async {
        let healer = config.build().await?;
        let report = |event: Event<'_>| log(request_id, &event);
        Ok::<_, Error>(healer.run(deadline_ms, &report).await?)
    };
    match run.await {
        Ok(end) => {
            log_end(request_id, end);
            Ok(json!({ "end": format!("{end:?}") }))
        }
        Err(error) => {
            error!(request_id, error = %Chain(error.as_ref()), "the run failed");
            Err(error)
        }
    }
}

fn log(request_id: &str, event: &Event<'_>) {
    match event {
        Event::RoundBegan {
            jobs,
            completed,
            undecided,
        } => info!(request_id, jobs, completed, undecided, "round began"),
        Event::JobHeld { job_id } => {
            warn!(
                request_id,
                job_id, "somebody else works on the job, it is left out"
            );
        }
        Event::Scanned {
            records,
            kept,
            units,
        } => info!(request_id, records, kept, units, "deliveries table scanned"),
        Event::BackfillFailed { job_id, error } => {
            error!(request_id, job_id, error = %Chain(*error), "a contact could not be queued");
        }
        Event::JobChanged { job_id } => {
            warn!(
                request_id,
                job_id, "the job has changed meanwhile, it is due again"
            );
        }
        Event::JobChecked { job_id, result } => {
            let (state, reason) = (result.state.as_str(), result.reason.as_deref());
            let contacts_at_titanx = result.contacts_at_titanx;
            let (received, backfilled) = (result.received, result.backfilled);
            let (unscored, missing) = (result.unscored, result.missing);
            /// One line; the level is part of a macro's name, so it cannot be an argument.
            macro_rules! line {
                ($level:ident, $message:literal) => {
                    $level!(
                        request_id,
                        job_id,
                        state,
                        reason,
                        contacts_at_titanx,
                        received,
                        backfilled,
                        unscored,
                        missing,
                        $message
                    )
                };
            }
            match result.state {
                State::Incomplete => line!(error, "contacts of the job are missing"),
                State::Unproven => line!(warn, "the job is not proven whole"),
                State::Complete | State::Waiting => line!(info, "the job is whole"),
            }
        }
    }
}

fn log_end(request_id: &str, end: End) {
    match end {
        End::RoundFinished { more } => info!(request_id, more, "round finished"),
        End::OutOfTime => info!(request_id, "the round goes on in the next run"),
        End::RateLimited { until } => {
            info!(
                request_id,
                until,
                "TitanX takes no request for now: its rate limit is exhausted, or it asked to wait"
            );
        }
        End::Held => warn!(request_id, "another run has the round"),
        End::Idle => {}
    }
}
