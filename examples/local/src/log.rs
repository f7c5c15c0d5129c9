//! Collects the receiver's log lines, to search them for personal data and to print them.

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

/// The log lines so far.
#[derive(Clone)]
pub(crate) struct LogLines {
    text: Arc<Mutex<String>>,
    show_on: Option<Screen>,
}

impl LogLines {
    /// Starts to collect log lines, and prints each to `show_on` if given.
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
        // The same levels as in the function.
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

/// `tracing_subscriber` writes each line with one call of `write`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_printed_is_collected_like_any_other() {
        for show_on in [None, Some(Screen::new())] {
            let collected = LogLines {
                text: Arc::default(),
                show_on,
            };
            for line in ["{\"id\": 1}\n", "{\"id\": \"é\"}\n"] {
                let written = collected.clone().write(line.as_bytes());
                assert_eq!(written.unwrap(), line.len());
            }
            assert_eq!(collected.lines(), ["{\"id\": 1}", "{\"id\": \"é\"}"]);
        }
    }
}
