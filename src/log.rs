//! The log: one line for each delivery, written after the answer, and a warning for each step that may
//! fail without harm. A line holds ids, names of outcomes and errors; nothing of the payload, the body,
//! the signature or a secret.

use std::{error::Error as StdError, fmt, panic};

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
    signature::KeyForm,
};

/// Starts to write JSON lines to standard output: this crate's at `level` (`AWS_LAMBDA_LOG_LEVEL`,
/// `INFO` by default), other crates' warnings and errors. For a panic the line has only its location,
/// since the message may quote personal data.
///
/// When `lambda_runtime` logs that it cannot reach the Runtime API or has lost a worker, `shutdown` is
/// requested for that reason, and the line is left out.
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

/// Whether the loop of `lambda_runtime` that polls for events logs this as a warning or an error. It does
/// so only when the Runtime API refuses or a worker has ended. It then goes on with fewer workers, or
/// polls again and again without a pause.
fn is_of_the_loop(event: &Metadata<'_>) -> bool {
    event.target() == "lambda_runtime::runtime" && *event.level() <= LevelFilter::WARN
}

/// Whether the process ends because of what this event reports, so that its reason is logged instead.
/// For an answer that could not be posted, `lambda_runtime` logs two events with the field `error`. Its
/// events about an answer that the Runtime API refused do not have that field.
fn ends_the_process(event: &Metadata<'_>) -> bool {
    let of_posting = event.target() == "lambda_runtime::layers::api_client";
    is_of_the_loop(event) || of_posting && event.fields().field("error").is_some()
}

/// Observes failures of the loop of `lambda_runtime`, which has no other hook for them.
struct RuntimeFailures(Shutdown);

impl<S: Subscriber> Layer<S> for RuntimeFailures {
    fn on_event(&self, event: &LogEvent<'_>, _: Context<'_, S>) {
        let mut failure = Failure::default();
        event.record(&mut failure);
        let Failure { message, error } = failure;
        self.0.request(format!("{message}: {error}"));
    }
}

/// The two fields of a failure that become the reason of the shutdown.
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

/// What may be logged of a delivery, gathered on its way.
#[derive(Debug, Default)]
pub struct Log {
    request_id: Option<String>,
    delivery_id: Option<String>,
    event_type: Option<&'static str>,
    reason: Option<&'static str>,
    key_form: Option<&'static str>,
}

impl Log {
    /// The log of a delivery in the invocation with this id. [`Log::default`] is for a delivery that
    /// comes in no invocation of Lambda.
    #[must_use]
    pub fn new(request_id: String) -> Self {
        Self {
            request_id: Some(request_id),
            ..Self::default()
        }
    }

    /// Notes the form of the signing key, if this delivery is the first that shows it.
    pub fn key_form(&mut self, learned: Option<KeyForm>) {
        self.key_form = learned.map(KeyForm::as_str);
    }

    /// Notes the ids of a delivery that was verified and understood.
    pub fn understood(&mut self, event: &Event<'_>) {
        self.delivery_id = Some(event.id.to_string());
        self.event_type = Some(event.event_type());
    }

    /// Notes why the delivery goes to quarantine, and its id if it has a usable one.
    pub fn not_understood(&mut self, reason: Reason, id: Option<&DeliveryId<'_>>) {
        self.delivery_id = id.map(ToString::to_string);
        self.reason = Some(reason.as_str());
    }

    /// Logs that the event is durable, but its completion mark was not written.
    pub fn completion_mark_failed(&self, delivery_id: &str, error: &(dyn StdError + 'static)) {
        let request_id = self.request_id.as_deref();
        warn!(request_id, delivery_id, error = %Chain(error), "completion mark failed");
    }

    /// Logs that a claim was not released, so that it ends with its lease.
    pub fn release_failed(&self, delivery_id: &str, error: &(dyn StdError + 'static)) {
        let request_id = self.request_id.as_deref();
        warn!(request_id, delivery_id, error = %Chain(error), "release of the claim failed");
    }

    /// Writes the one line of the delivery.
    pub fn answered(&self, outcome: &Result<Receipt, Error>, status: u16) {
        let Self {
            request_id,
            delivery_id,
            event_type,
            reason,
            key_form,
        } = self;
        /// One line; the level is part of a macro's name, so it cannot be an argument.
        macro_rules! line {
            ($level:ident, $outcome:literal, $message:literal $(, $error:expr)?) => {
                $level!(request_id, delivery_id, event_type, reason, key_form,
                    outcome = $outcome, status
                    $(, error = %Chain($error))?, $message)
            };
        }
        match outcome {
            Ok(Receipt::Accepted) => line!(info, "accepted", "delivery accepted"),
            Ok(Receipt::Duplicate) => line!(info, "duplicate", "duplicate of an accepted delivery"),
            Ok(Receipt::Quarantined) => line!(warn, "quarantined", "delivery put in quarantine"),
            Err(Error::InFlight { .. }) => {
                line!(info, "in_flight", "another invocation holds the delivery");
            }
            Err(Error::UnknownSignature { .. }) => {
                line!(
                    warn,
                    "unrecognised",
                    "signature of no known secret, TitanX retries"
                );
            }
            Err(Error::InvalidSignature) => line!(warn, "refused", "invalid signature refused"),
            Err(Error::TooLarge(_)) => line!(error, "too_large", "delivery too large for a queue"),
            Err(error @ Error::Unavailable(_)) => {
                line!(
                    error,
                    "unavailable",
                    "delivery not accepted, TitanX retries",
                    error
                );
            }
            Err(Error::Panicked) => line!(error, "panicked", "handling of the delivery panicked"),
        }
    }
}
