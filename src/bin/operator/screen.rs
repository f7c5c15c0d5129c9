//! What a person or a machine gets to see: results on standard output, everything else on standard
//! error. Colours and progress bars appear on a terminal only.

use std::{fmt::Display, io::IsTerminal, time::Duration};

use anstream::{eprintln, println};
use anstyle::{AnsiColor, Style};
use comfy_table::{Table, presets::NOTHING};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use titanx_receiver::error::Chain;

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) json: bool,
}

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const NOTICE: Style = AnsiColor::Yellow.on_default();

/// `text` in a colour, which a pipe or file does not get.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

impl Screen {
    /// Writes the result: `value` for machines, else whatever `text` writes.
    pub(crate) fn result(self, value: &impl Serialize, text: impl FnOnce()) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(value)?);
        } else {
            text();
        }
        Ok(())
    }

    /// Tells how it goes.
    #[expect(clippy::unused_self, reason = "whoever writes needs a screen")]
    pub(crate) fn note(self, text: impl Display) {
        eprintln!("{text}");
    }

    /// Tells what somebody should know.
    #[expect(clippy::unused_self, reason = "whoever writes needs a screen")]
    pub(crate) fn warn(self, text: impl Display) {
        eprintln!("{} {text}", styled(NOTICE, "note:"));
    }

    #[expect(clippy::unused_self, reason = "whoever writes needs a screen")]
    pub(crate) fn failed(self, error: &anyhow::Error) {
        eprintln!("{} {}", styled(BAD, "error:"), Chain(error.as_ref()));
    }

    /// A bar for `length` steps of what takes long; it shows on a terminal only.
    #[expect(clippy::unused_self, reason = "whoever writes needs a screen")]
    pub(crate) fn progress(self, doing: &'static str, length: u64) -> ProgressBar {
        if !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len} {eta}");
        let bar = ProgressBar::new(length).with_message(doing);
        bar.set_style(style.expect("the template is a valid one"));
        bar
    }

    /// Waits, and shows it.
    pub(crate) async fn wait(self, why: &'static str, wait: Duration) {
        let bar = self.progress(why, wait.as_secs());
        let end = tokio::time::Instant::now() + wait;
        while tokio::time::Instant::now() < end {
            let left = end - tokio::time::Instant::now();
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
            bar.inc(1);
        }
        bar.finish_and_clear();
    }
}

/// A table without lines, its head in capitals.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    // Its own padding would begin every line with a blank.
    for line in table.lines() {
        println!("{}", line.trim());
    }
}

/// Unix milliseconds as a date and a time in UTC, to the second.
pub(crate) fn moment(ms: i64) -> String {
    use aws_smithy_types::{DateTime, date_time::Format};
    let moment = DateTime::from_secs(ms.div_euclid(1000)).fmt(Format::DateTime);
    moment.unwrap_or_else(|_| ms.to_string())
}
