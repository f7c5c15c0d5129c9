//! What is shown: aligned lines, in colours where a person looks on.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal},
};

/// The terminal, or whatever takes the lines in its place.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    colours: bool,
}

/// How a word is shown.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Title,
    Faint,
    Good,
    Warning,
    Bad,
}

impl Tone {
    /// The parameter of the terminal's "select graphic rendition".
    fn code(self) -> &'static str {
        match self {
            Self::Title => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
        }
    }
}

impl Screen {
    /// Standard output; in colours on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn new() -> Self {
        let colours = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self { colours }
    }

    /// `text` in this tone.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        if self.colours {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn title(self, text: &str) {
        println!("\n{}\n", self.tone(Tone::Title, text));
    }

    #[expect(clippy::unused_self, reason = "all that is shown goes through here")]
    pub(crate) fn text(self, text: &str) {
        println!("{text}");
    }

    /// A row of the closing table.
    pub(crate) fn row(self, name: &str, value: impl Display, remark: &str) {
        let remark = self.tone(Tone::Faint, remark);
        println!("  {name:<14}{value:>11}   {remark}");
    }
}
