//! Output to the terminal, in aligned lines and with colours.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal},
};

/// Standard output.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    colours: bool,
}

/// The style of a text.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Title,
    Faint,
    Good,
    Warning,
    Bad,
}

impl Tone {
    /// The parameter of the escape sequence that selects the style.
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
    /// Uses colours if standard output is a terminal and `NO_COLOR` is not set.
    pub(crate) fn new() -> Self {
        let colours = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self { colours }
    }

    /// `text` in the given style.
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

    #[expect(clippy::unused_self, reason = "only code with a screen may write")]
    pub(crate) fn text(self, text: &str) {
        println!("{text}");
    }

    /// Prints a row of a table.
    pub(crate) fn row(self, name: &str, value: impl Display, note: &str) {
        let note = self.tone(Tone::Faint, note);
        println!("  {name:<14}{value:>11}   {note}");
    }
}
