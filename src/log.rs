//! One line for each delivery, written after it was answered. It names the delivery and what became
//! of it; nothing of the payload, the body, the signature or a secret can get into it.

use std::{fmt, panic};

use tracing::{
    Event as LogEvent, Metadata, Subscriber, error,
    field::{Field, Visit},
    info, warn,
};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, LevelFilter, Targets, filter_fn},
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::{
    answer::Receipt,
    error::{Chain, Error},
    event::{DeliveryId, Event, Reason},
    shutdown::Shutdown,
};

/// Writes JSON lines to standard output from now on, at `level` (`AWS_LAMBDA_LOG_LEVEL`, else
/// `INFO`); from other crates only warnings. Panics tell where, not what: a message may quote data.
///
/// Where `lambda_runtime` says that it cannot reach the Runtime API, or that it has lost a worker,
/// `shutdown` is requested with that as its reason, instead of the line.
pub fn init(level: Option<&str>, shutdown: &Shutdown) {
    let level = level.and_then(|level| level.parse().ok());
    let filter = Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), level.unwrap_or(LevelFilter::INFO))
        .with_default(LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .without_time();
    let failures = RuntimeFailures(shutdown.clone());
    tracing_subscriber::registry()
        .with(lines.with_filter(filter.and(filter_fn(|event| !ends_the_process(event)))))
        .with(failures.with_filter(filter_fn(is_of_the_loop)))
        .init();
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        error!(location, "panicked");
    }));
}

/// Whether `lambda_runtime` says this where it polls for events, or watches over those who do. It
/// warns there of nothing but an end: that the Runtime API refuses, or that a worker is gone. It
/// then goes on with fewer workers, or asks again and again without a pause.
fn is_of_the_loop(event: &Metadata<'_>) -> bool {
    event.target() == "lambda_runtime::runtime" && *event.level() <= LevelFilter::WARN
}

/// Whether the process ends with what this event says, so that it is told as the reason why. When an
/// answer could not be posted, `lambda_runtime` says so twice, and both times with the error; its
/// other lines there, about an answer that the Runtime API refused, have none.
fn ends_the_process(event: &Metadata<'_>) -> bool {
    let of_posting = event.target() == "lambda_runtime::layers::api_client";
    is_of_the_loop(event) || of_posting && event.fields().field("error").is_some()
}

/// Hears of the failures of the runtime's loop, for which `lambda_runtime` has no other hook.
struct RuntimeFailures(Shutdown);

impl<S: Subscriber> Layer<S> for RuntimeFailures {
    fn on_event(&self, event: &LogEvent<'_>, _: Context<'_, S>) {
        let mut failure = Failure::default();
        event.record(&mut failure);
        let Failure { message, error } = failure;
        self.0.request(format!("{message}: {error}"));
    }
}

/// The two fields of a failure that are told.
#[derive(Default)]
struct Failure {
    message: String,
    error: String,
}

impl Visit for Failure {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "error" => self.error = format!("{value:?}"),
            _ => {}
        }
    }
}

/// What is known of a delivery that may be told, gathered on its way.
#[derive(Debug, Default)]
pub struct Log {
    delivery_id: Option<String>,
    event_type: Option<&'static str>,
    reason: Option<&'static str>,
}

impl Log {
    /// The delivery was verified and understood.
    pub fn understood(&mut self, event: &Event<'_>) {
        self.delivery_id = Some(event.id.to_string());
        self.event_type = Some(event.event_type());
    }

    /// The delivery goes to quarantine.
    pub fn not_understood(&mut self, reason: Reason, id: Option<&DeliveryId<'_>>) {
        self.delivery_id = id.map(ToString::to_string);
        self.reason = Some(reason.as_str());
    }

    /// Writes the line.
    pub fn answered(&self, outcome: &Result<Receipt, Error>, status: u16) {
        let Self {
            delivery_id,
            event_type,
            reason,
        } = self;
        /// One line; the level is part of a macro's name, so it cannot be an argument.
        macro_rules! line {
            ($level:ident, $outcome:literal $(, $error:expr)?) => {
                $level!(delivery_id, event_type, reason, outcome = $outcome, status
                    $(, error = %Chain($error))?, "delivery answered")
            };
        }
        match outcome {
            Ok(Receipt::Accepted) => line!(info, "accepted"),
            Ok(Receipt::Duplicate) => line!(info, "duplicate"),
            Ok(Receipt::Quarantined) => line!(warn, "quarantined"),
            Err(Error::InFlight { .. }) => line!(info, "in_flight"),
            Err(Error::InvalidSignature) => line!(warn, "refused"),
            Err(Error::TooLarge(_)) => line!(error, "too_large"),
            Err(error @ Error::Unavailable(_)) => line!(error, "unavailable", error),
            Err(Error::Panicked) => line!(error, "panicked"),
        }
    }
}
