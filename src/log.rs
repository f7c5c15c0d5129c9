//! The log: one line for each delivery, written after the answer, and a warning for each step that may
//! fail without harm. A line holds ids, names of outcomes and errors; nothing of the payload but a job id
//! that is a UUID, and nothing of the body, the signature or a secret.
//!
//! `CloudWatch` charges by the byte, so names are short and what is usual is left out. `docs/monitoring.md`
//! has a table of the fields, and says which metrics, alarms and queries read them.

use std::{error::Error as StdError, fmt, panic, time::Duration};

use aws_smithy_types::{DateTime, date_time::Format};
use tracing::{
    Event as LogEvent, Metadata, Subscriber, error,
    field::{Field, Visit},
    info,
    level_filters::LevelFilter,
    warn,
};
use tracing_subscriber::{
    Layer,
    filter::{Targets, filter_fn},
    fmt::{format::Writer, time::FormatTime},
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};
use uuid::Uuid;

use crate::{
    answer::Receipt,
    budget::now_ms,
    error::{Chain, Error},
    event::{DeliveryId, Event, Kind, Reason},
    shutdown::Shutdown,
    signature::KeyForm,
};

/// Starts to write JSON lines to standard output: this crate's at `level` (`AWS_LAMBDA_LOG_LEVEL`,
/// `INFO` by default), other crates' warnings and errors. For a panic the line has only its location,
/// since the message may quote personal data.
///
/// Lambda reads `timestamp` and `level` of a line. It takes one without a level for `INFO`, so that is
/// left out. To one without a timestamp it would add a longer one, and ignore the level.
///
/// When `lambda_runtime` logs that it cannot reach the Runtime API or has lost a worker, `shutdown` is
/// requested for that reason, and the line is left out.
pub fn init(level: Option<&str>, shutdown: &Shutdown) {
    let level = level.and_then(parse_level).unwrap_or(LevelFilter::INFO);
    let targets = targets(level);
    let is_shown = move |event: &Metadata<'_>| {
        targets.would_enable(event.target(), event.level()) && !ends_the_process(event)
    };
    let (usual, others) = (is_shown.clone(), is_shown);
    let usual = filter_fn(move |event| is_info(event) && usual(event));
    let others = filter_fn(move |event| !is_info(event) && others(event));
    let most = level.max(LevelFilter::WARN);
    let failures = RuntimeFailures(shutdown.clone());
    tracing_subscriber::registry()
        .with(lines(false).with_filter(usual.with_max_level_hint(LevelFilter::INFO)))
        .with(lines(true).with_filter(others.with_max_level_hint(most)))
        .with(failures.with_filter(filter_fn(is_of_the_loop)))
        .init();
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        error!(location, "panicked");
    }));
    if level < LevelFilter::INFO {
        error!(
            log_level = %level,
            "lines of level INFO are left out, so alarms and metrics miss them: set the function's \
             application log level to INFO"
        );
    }
}

/// This crate's lines at `level`, other crates' warnings and errors.
fn targets(level: LevelFilter) -> Targets {
    Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), level)
        .with_default(LevelFilter::WARN)
}

/// The level that Lambda calls `FATAL` is above all of the crate `tracing`.
fn parse_level(level: &str) -> Option<LevelFilter> {
    match level {
        "FATAL" => Some(LevelFilter::ERROR),
        level => level.parse().ok(),
    }
}

fn is_info(event: &Metadata<'_>) -> bool {
    *event.level() == LevelFilter::INFO
}

/// Lines of JSON on standard output, with or without their level.
fn lines<S>(with_level: bool) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_level(with_level)
        .with_timer(Seconds)
}

/// The time as RFC 3339 in whole seconds: the shortest that Lambda accepts.
struct Seconds;

impl FormatTime for Seconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = DateTime::from_secs(now_ms() / 1_000);
        let now = now.fmt(Format::DateTime).map_err(|_| fmt::Error)?;
        writer.write_str(&now)
    }
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
    gateway: Option<String>,
    id: Option<String>,
    job: Option<String>,
    event_type: Option<&'static str>,
    age_ms: Option<i64>,
    answered_ms: Option<u64>,
    reason: Option<&'static str>,
    key_form: Option<&'static str>,
    cold: bool,
    secret_read: bool,
    taken_over: bool,
    retries: u32,
}

impl Log {
    /// The log of a delivery in the invocation with this id, for a request that the gateway calls
    /// `gateway_id`. [`Log::default`] is for a delivery that comes in no invocation of Lambda.
    #[must_use]
    pub fn new(request_id: String, gateway_id: Option<String>) -> Self {
        Self {
            // A function URL calls the request as Lambda calls the invocation.
            gateway: gateway_id.filter(|id| *id != request_id),
            request_id: Some(request_id),
            ..Self::default()
        }
    }

    /// Notes that the delivery is the first of its process.
    pub fn cold_start(&mut self) {
        self.cold = true;
    }

    /// Notes the form of the signing key, if this delivery is the first that shows it, and whether the
    /// secrets were read for this delivery.
    pub fn signature_checked(&mut self, learned: Option<KeyForm>, secret_read: bool) {
        self.key_form = learned.map(KeyForm::as_str);
        self.secret_read = secret_read;
    }

    /// Notes the ids of a delivery that was verified and understood, and the event's age at `now_ms`
    /// (Unix milliseconds). No age is negative, since `CloudWatch` has no percentiles of such values.
    pub fn understood(&mut self, event: &Event<'_>, now_ms: i64) {
        let job_id = match &event.kind {
            Kind::ContactScored(contact) => contact.job_id.as_deref(),
            Kind::JobCompleted(job) => {
                self.event_type = Some(event.event_type());
                Some(&*job.job_id)
            }
        };
        self.id = Some(event.id.to_string());
        self.job = job_id.filter(|id| is_uuid(id)).map(ToOwned::to_owned);
        self.age_ms = Some(now_ms.saturating_sub(event.timestamp_ms).max(0));
    }

    /// Notes why the delivery goes to quarantine, and its id if it has a usable one.
    pub fn not_understood(&mut self, reason: Reason, id: Option<&DeliveryId<'_>>) {
        self.id = id.map(ToString::to_string);
        self.reason = Some(reason.as_str());
    }

    /// Notes that the claim replaced one whose lease was over.
    pub fn taken_over(&mut self) {
        self.taken_over = true;
    }

    /// Notes how many attempts of calls to AWS were repeated.
    pub fn retried(&mut self, retries: u32) {
        self.retries += retries;
    }

    /// Notes how long the request has waited for its answer.
    pub fn answered_after(&mut self, time: Duration) {
        self.answered_ms = u64::try_from(time.as_millis()).ok();
    }

    /// Logs that the event is durable, but its completion mark was not written.
    pub fn completion_mark_failed(&self, id: &str, error: &(dyn StdError + 'static)) {
        let request_id = self.request_id.as_deref();
        warn!(request_id, id, error = %Chain(error), "completion mark failed");
    }

    /// Logs that a claim was not released, so that it ends with its lease.
    pub fn release_failed(&self, id: &str, error: &(dyn StdError + 'static)) {
        let request_id = self.request_id.as_deref();
        warn!(request_id, id, error = %Chain(error), "release of the claim failed");
    }

    /// Writes the one line of the delivery. Lambda's request id is in it if something is wrong, or if the
    /// gateway gave none.
    pub fn write(&self, outcome: &Result<Receipt, Error>) {
        let is_usual = matches!(
            outcome,
            Ok(Receipt::Accepted | Receipt::Duplicate) | Err(Error::InFlight { .. })
        );
        let gateway = self.gateway.as_deref();
        let without = is_usual && gateway.is_some();
        let request_id = self.request_id.as_deref().filter(|_| !without);
        let noted = |noted: bool| noted.then_some(true);
        /// One line; the level is part of a macro's name, so it cannot be an argument.
        macro_rules! line {
            ($level:ident, $outcome:literal $(, $message:literal $(, $error:expr)?)?) => {
                $level!(outcome = $outcome, id = self.id, job = self.job, event_type = self.event_type,
                    reason = self.reason, age_ms = self.age_ms, ms = self.answered_ms,
                    key_form = self.key_form, cold = noted(self.cold),
                    secret_read = noted(self.secret_read), taken_over = noted(self.taken_over),
                    retries = (self.retries > 0).then_some(self.retries), gateway, request_id
                    $($(, error = %Chain($error))?, $message)?)
            };
        }
        match outcome {
            Ok(Receipt::Accepted) => line!(info, "accepted"),
            Ok(Receipt::Duplicate) => line!(info, "duplicate"),
            Err(Error::InFlight { .. }) => line!(info, "in_flight"),
            Ok(Receipt::Quarantined) => line!(warn, "quarantined", "delivery put in quarantine"),
            Err(Error::UnknownSignature { .. }) => line!(
                warn,
                "unrecognised",
                "signature of no known secret, TitanX retries"
            ),
            Err(Error::InvalidSignature) => line!(warn, "refused", "invalid signature refused"),
            Err(Error::TooLarge(_)) => line!(error, "too_large", "delivery too large for a queue"),
            Err(error @ Error::Unavailable(_)) => line!(
                error,
                "unavailable",
                "delivery not accepted, TitanX retries",
                error
            ),
            Err(Error::Panicked) => line!(error, "panicked", "handling of the delivery panicked"),
        }
    }
}

/// Whether a job's id is a UUID, as TitanX's are. Another one may be a name that somebody gave it.
fn is_uuid(id: &str) -> bool {
    const HYPHENATED: usize = 36;
    id.len() == HYPHENATED && Uuid::try_parse(id).is_ok()
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn other_crates_write_warnings_and_errors_whatever_the_level() {
        for (level, ours) in [
            (LevelFilter::DEBUG, [true; 3]),
            (LevelFilter::INFO, [false, true, true]),
            (LevelFilter::ERROR, [false, false, false]),
        ] {
            let targets = targets(level);
            let shown = |of: &str| {
                let levels = [Level::DEBUG, Level::INFO, Level::WARN];
                levels.map(|level| targets.would_enable(of, &level))
            };
            assert_eq!(shown("titanx_receiver::receiver"), ours, "{level}");
            for other in ["lambda_runtime", "hyper::proto", "aws_smithy_runtime"] {
                assert_eq!(shown(other), [false, false, true], "{level} {other}");
            }
        }
    }

    /// Whatever a name looks like.
    #[test]
    fn a_job_id_is_logged_only_if_it_is_a_uuid() {
        let of_titanx = "11111111-2222-4333-8444-555555555555";
        assert!(is_uuid(of_titanx));
        assert!(is_uuid("ABCDEFAB-CDEF-4ABC-8DEF-ABCDEFABCDEF"));
        for name in [
            "Synthetic batch for Example Ltd 2026",
            "11111111-2222-4333-8444-55555555555x",
            "11111111222243338444555555555555",
            "11111111-2222-4333-8444-555555555555 ",
            "",
        ] {
            assert!(!is_uuid(name), "{name}");
        }
    }

    /// TitanX's clock may be fast.
    #[test]
    fn an_event_of_the_future_has_no_negative_age() {
        let envelope = r#"{"payload": {}, "eventType": "job.contact.scored",
            "timestamp": 1767614400000, "apiVersion": "v2", "id": "delivery-1"}"#;
        let event = Event::backfilled(envelope, "job-1").unwrap();
        for (now_ms, age_ms) in [
            (1_767_614_399_999, 0),
            (1_767_614_400_000, 0),
            (1_767_614_400_001, 1),
            (i64::MIN, 0),
        ] {
            let mut log = Log::default();
            log.understood(&event, now_ms);
            assert_eq!(log.age_ms, Some(age_ms));
        }
    }
}
