//! What a person or a machine gets to see: results on standard output, everything else on standard
//! error. Colours and progress bars appear on a terminal only.

use std::{
    fmt::{Arguments, Display},
    io::{self, IsTerminal, Write},
    sync::OnceLock,
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use anyhow::anyhow;
use aws_credential_types::provider::error::CredentialsError;
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

/// Why the result could not be written.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Writes a line of the result, as `println!` does. That one panics when nobody reads on or the
/// disk is full, and so would end a command in the middle of its work.
macro_rules! say {
    ($($text:tt)*) => { $crate::screen::line(format_args!($($text)*)) };
}

pub(crate) fn line(text: Arguments) {
    if let Err(error) = writeln!(anstream::stdout(), "{text}") {
        let _first = UNWRITTEN.set(error);
    }
}

/// Makes sure that the result was written. Whoever stops reading, as `head` does, has seen enough.
pub(crate) fn written() -> anyhow::Result<()> {
    match UNWRITTEN.get() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow!("cannot write the result: {error}"))
        }
        _ => Ok(()),
    }
}

/// A line for people beside the result. If nobody sees it, the work goes on all the same.
fn aside(text: Arguments) {
    let _unseen = writeln!(anstream::stderr(), "{text}");
}

impl Screen {
    /// Writes the result: `value` for machines, else whatever `text` writes.
    pub(crate) fn result(self, value: &impl Serialize, text: impl FnOnce()) -> anyhow::Result<()> {
        if self.json {
            say!("{}", serde_json::to_string_pretty(value)?);
        } else {
            text();
        }
        written()
    }

    /// Tells how it goes.
    #[expect(clippy::unused_self, reason = "whoever writes needs a screen")]
    pub(crate) fn note(self, text: impl Display) {
        aside(format_args!("{text}"));
    }

    /// Tells what somebody should know.
    #[expect(clippy::unused_self, reason = "whoever writes needs a screen")]
    pub(crate) fn warn(self, text: impl Display) {
        aside(format_args!("{} {text}", styled(NOTICE, "note:")));
    }

    #[expect(clippy::unused_self, reason = "whoever writes needs a screen")]
    pub(crate) fn failed(self, error: &anyhow::Error) {
        let told = Chain(error.as_ref()).to_string();
        aside(format_args!("{} {told}", styled(BAD, "error:")));
        if let Some(hint) = hint(error, &told) {
            aside(format_args!("{} {hint}", styled(NOTICE, "hint:")));
        }
    }

    /// A bar for `length` steps of what takes long, or for nobody knows how many if that is 0; it
    /// shows on a terminal only.
    #[expect(clippy::unused_self, reason = "whoever writes needs a screen")]
    pub(crate) fn progress(self, doing: &'static str, length: u64) -> ProgressBar {
        if !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len} {eta}");
        let bar = ProgressBar::no_length().with_message(doing);
        if length > 0 {
            bar.set_length(length);
        }
        bar.set_style(style.expect("the template is a valid one"));
        // Else it shows only when something was done, not while that is waited for.
        bar.tick();
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

/// What to do about an error of the SDK's own, which knows nothing of this command's options.
fn hint(error: &anyhow::Error, told: &str) -> Option<&'static str> {
    if told.contains("Missing Region") {
        return Some("say --region, set AWS_REGION, or give the profile a region");
    }
    let unknown = error
        .chain()
        .any(<dyn std::error::Error>::is::<CredentialsError>);
    unknown.then_some(
        "say --profile or set AWS_PROFILE; single sign-on may have to begin anew with \
         `aws sso login`",
    )
}

/// A table without lines, its head in capitals.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head);
    for row in rows {
        table.add_row(row.map(|cell| plain(&cell)));
    }
    // Its own padding would begin every line with a blank.
    for line in table.lines() {
        say!("{}", line.trim());
    }
}

/// `text` from elsewhere, so that nothing in it breaks a line or commands the terminal.
pub(crate) fn plain(text: &str) -> String {
    let shown = |it: char| match it {
        it if it.is_control() => it.escape_default().to_string(),
        it => it.to_string(),
    };
    text.chars().map(shown).collect()
}

/// Unix milliseconds as a date and a time in UTC, to the second.
pub(crate) fn moment(ms: i64) -> String {
    use aws_smithy_types::{DateTime, date_time::Format};
    let moment = DateTime::from_secs(ms.div_euclid(1000)).fmt(Format::DateTime);
    moment.unwrap_or_else(|_| ms.to_string())
}
