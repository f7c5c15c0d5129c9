//! The receiver's log lines: kept, to look for personal data in them, and shown if wanted.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::screen::{Screen, Tone};

/// Everything logged so far.
#[derive(Clone)]
pub(crate) struct LogLines {
    text: Arc<Mutex<String>>,
    show_on: Option<Screen>,
}

impl LogLines {
    /// Collects from now on, and shows each line on `show_on`.
    pub(crate) fn collect(show_on: Option<Screen>) -> Self {
        let collected = Self {
            text: Arc::default(),
            show_on,
        };
        let writer = collected.clone();
        let lines = fmt::layer()
            .json()
            .flatten_event(true)
            .with_target(false)
            .without_time()
            .with_writer(move || writer.clone());
        // The levels of the function's own log.
        let levels = Targets::new()
            .with_target("titanx_receiver", LevelFilter::INFO)
            .with_default(LevelFilter::WARN);
        tracing_subscriber::registry()
            .with(lines.with_filter(levels))
            .init();
        collected
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.lines().map(ToOwned::to_owned).collect()
    }
}

/// Each write is a whole line.
impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if let Some(screen) = self.show_on {
            screen.text(&screen.tone(Tone::Faint, text.trim_end()));
        }
        let mut collected = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        collected.push_str(&text);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
