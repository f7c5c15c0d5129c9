//! One line for each delivery, written when it is answered. It names the delivery and what became
//! of it; nothing of the payload, the body, the signature or a secret can get into it.

use std::panic;

use tracing::{error, info, warn};
use tracing_subscriber::{
    Layer, filter::LevelFilter, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{
    answer::Receipt,
    error::{Chain, Error},
    event::{DeliveryId, Event, Reason},
};

/// Writes JSON lines to standard output from now on, at `level` (`AWS_LAMBDA_LOG_LEVEL`, else
/// `INFO`); from other crates only warnings. Panics tell where, not what: a message may quote data.
pub fn init(level: Option<&str>) {
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
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        error!(location, "panicked");
    }));
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
        }
    }

    /// Writes the line of a delivery whose handling panicked.
    pub fn panicked(&self, status: u16) {
        let Self { delivery_id, .. } = self;
        error!(
            delivery_id,
            outcome = "panicked",
            status,
            "delivery answered"
        );
    }
}
