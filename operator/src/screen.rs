//! Output: results go to standard output, everything else to standard error. Colours and progress
//! bars appear only on a terminal.

use std::{
    fmt::{Arguments, Display},
    io::{self, IsTerminal, Write},
    sync::OnceLock,
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use anyhow::anyhow;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use titanx_client::http::NO_RESPONSE;

pub(crate) use crate::plain_error::escape_control;
use crate::plain_error::{PlainError, hint};

/// The output of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// Whether results are written as JSON.
    pub(crate) json: bool,
}

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const NOTICE: Style = AnsiColor::Yellow.on_default();

/// `text` with a style. It is removed when the output is not a terminal.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The first error while writing the result.
static WRITE_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Writes one line of the result to standard output. Unlike `println!`, it does not panic when the
/// pipe is closed or the disk is full, so that a command completes its work.
macro_rules! print_line {
    ($($text:tt)*) => { $crate::screen::write_line(format_args!($($text)*)) };
}

pub(crate) fn write_line(text: Arguments) {
    if let Err(error) = writeln!(anstream::stdout(), "{text}") {
        let _keeps_the_first = WRITE_ERROR.set(error);
    }
}

/// Returns an error if the result could not be written. A closed pipe is not an error: a reader such
/// as `head` may stop early.
pub(crate) fn check_written() -> anyhow::Result<()> {
    match WRITE_ERROR.get() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow!("cannot write the result: {error}"))
        }
        _ => Ok(()),
    }
}

/// Whether a line of the result could not be written. Nobody reads what would follow.
pub(crate) fn output_failed() -> bool {
    WRITE_ERROR.get().is_some()
}

/// Writes one line to standard error, and ignores failures.
fn write_error_line(text: Arguments) {
    let _ignored = writeln!(anstream::stderr(), "{text}");
}

impl Screen {
    /// Writes the result: `value` as JSON if requested, else as text by calling `text`.
    pub(crate) fn result(self, value: &impl Serialize, text: impl FnOnce()) -> anyhow::Result<()> {
        if self.json {
            print_line!("{}", serde_json::to_string_pretty(value)?);
        } else {
            text();
        }
        check_written()
    }

    /// Clears the terminal, so that the next result takes the place of the one before. Does nothing
    /// where there is no terminal, and for JSON.
    pub(crate) fn clear(self) {
        const HOME_AND_CLEAR: &str = "\x1b[H\x1b[2J";
        if !self.json && io::stdout().is_terminal() {
            let _ignored = write!(anstream::stdout(), "{HOME_AND_CLEAR}");
        }
    }

    /// Reports progress.
    #[expect(clippy::unused_self, reason = "only code with a screen may write")]
    pub(crate) fn info(self, text: impl Display) {
        write_error_line(format_args!("{text}"));
    }

    /// Reports something that needs attention but does not fail the command.
    #[expect(clippy::unused_self, reason = "only code with a screen may write")]
    pub(crate) fn warn(self, text: impl Display) {
        write_error_line(format_args!("{} {text}", styled(NOTICE, "warning:")));
    }

    /// Reports the error with which the command failed.
    #[expect(clippy::unused_self, reason = "only code with a screen may write")]
    pub(crate) fn error(self, error: &anyhow::Error) {
        let message = PlainError(error.as_ref()).to_string();
        write_error_line(format_args!("{} {message}", styled(BAD, "error:")));
        if let Some(hint) = hint(&message).filter(|_| is_of_a_call(error)) {
            write_error_line(format_args!("{} {hint}", styled(NOTICE, "hint:")));
        }
    }

    /// A progress bar with `length` steps, or of unknown length if `length` is 0. It is visible only
    /// on a terminal.
    #[expect(clippy::unused_self, reason = "only code with a screen may write")]
    pub(crate) fn progress(self, message: &'static str, length: u64) -> ProgressBar {
        if !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len} {eta}");
        let bar = ProgressBar::no_length().with_message(message);
        if length > 0 {
            bar.set_length(length);
        }
        bar.set_style(style.expect("the template is valid"));
        // Makes the bar visible before its first step.
        bar.tick();
        bar
    }

    /// Waits, with a progress bar.
    pub(crate) async fn wait(self, message: &'static str, wait: Duration) {
        let bar = self.progress(message, wait.as_secs());
        let end = tokio::time::Instant::now() + wait;
        while tokio::time::Instant::now() < end {
            let left = end - tokio::time::Instant::now();
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
            bar.inc(1);
        }
        bar.finish_and_clear();
    }
}

/// Whether a call failed: one over HTTP, or one of the SDK, by the texts of its outermost error. Types
/// do not tell, since transparent errors hide those of their sources.
fn is_of_a_call(error: &anyhow::Error) -> bool {
    const TEXTS: [&str; 5] = [
        "service error",
        "dispatch failure",
        "request has timed out",
        "response error",
        "failed to construct request",
    ];
    let mut texts = error.chain().map(ToString::to_string);
    texts.any(|text| TEXTS.contains(&&*text) || text.starts_with(NO_RESPONSE))
}

/// Prints a table without borders. Where a line would be wider than the terminal, each row becomes a
/// block of lines, one for each column.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) {
    table_of(&header, rows.into_iter().map(Vec::from));
}

/// As [`table`], with columns that depend on what is shown.
pub(crate) fn table_of(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let escaped = |row: Vec<String>| row.iter().map(|cell| escape_control(cell)).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(escaped).collect();
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    // The width is judged below: cells that are broken cannot be copied.
    table.set_content_arrangement(ContentArrangement::Disabled);
    for row in &rows {
        table.add_row(row);
    }
    // The padding of the table starts every line with a blank.
    let lines: Vec<_> = table.lines().map(|line| line.trim().to_owned()).collect();
    if lines.iter().all(|line| line.chars().count() <= width()) {
        for line in lines {
            print_line!("{line}");
        }
        return;
    }
    let names: Vec<_> = header.iter().map(|name| name.to_lowercase()).collect();
    let indent = names.iter().map(String::len).max().unwrap_or(0);
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            print_line!("");
        }
        for (name, cell) in names.iter().zip(row) {
            print_line!("{name:indent$}  {cell}");
        }
    }
}

/// `text` in lines that fit the terminal after `indent` columns, broken at blanks. A word that is longer,
/// such as an ARN, stays whole, so that it can be copied. No line for an empty text.
pub(crate) fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let most = width().saturating_sub(indent);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The width of the terminal, or of the `COLUMNS` that a shell exports. Without either, as in a pipe,
/// lines may be of any width, so that each row is one line.
fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|it| it.parse().ok()).filter(|it| *it > 0);
    let terminal = || Some(Table::new().width()?.into());
    columns.or_else(terminal).unwrap_or(usize::MAX)
}

/// Formats Unix milliseconds as date and time in UTC, with whole seconds.
pub(crate) fn format_time(ms: i64) -> String {
    use aws_smithy_types::{DateTime, date_time::Format};
    let time = DateTime::from_secs(ms.div_euclid(1000)).fmt(Format::DateTime);
    time.unwrap_or_else(|_| ms.to_string())
}
