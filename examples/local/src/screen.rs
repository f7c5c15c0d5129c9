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
    /// Uses colours if standard output is a terminal and `NO_COLOR` is not set, or is empty
    /// (<https://no-color.org>).
    pub(crate) fn new() -> Self {
        let no_colour = env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        let colours = io::stdout().is_terminal() && !no_colour;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_ends_with_its_text_and_is_left_out_without_colours() {
        let (coloured, plain) = (Screen { colours: true }, Screen { colours: false });
        for (tone, styled) in [
            (Tone::Title, "\x1b[1mtext\x1b[0m"),
            (Tone::Faint, "\x1b[2mtext\x1b[0m"),
            (Tone::Good, "\x1b[32mtext\x1b[0m"),
            (Tone::Warning, "\x1b[33mtext\x1b[0m"),
            (Tone::Bad, "\x1b[31mtext\x1b[0m"),
        ] {
            assert_eq!(coloured.tone(tone, "text"), styled);
            assert_eq!(plain.tone(tone, "text"), "text");
        }
    }

    #[cfg(target_os = "linux")]
    mod streams {
        use std::{
            fs::File,
            process::{self, Command, Stdio},
        };

        use super::*;

        #[test]
        #[ignore = "the other test starts it as a process"]
        fn a_process() {
            let styled = Screen::new().tone(Tone::Good, "text") != "text";
            process::exit(if styled { 10 } else { 11 });
        }

        /// Either a new terminal or a pipe.
        fn stream(is_terminal: bool) -> Stdio {
            if !is_terminal {
                return Stdio::piped();
            }
            let terminal = File::options().read(true).write(true).open("/dev/ptmx");
            let terminal = terminal.expect("Linux has pseudo-terminals");
            assert!(terminal.is_terminal());
            terminal.into()
        }

        fn has_colours(stdout: bool, stderr: bool, no_colour: Option<&str>) -> bool {
            let this = env::current_exe().expect("the tests are a program");
            let mut command = Command::new(this);
            let test = "screen::tests::streams::a_process";
            command.args(["--exact", test, "--ignored", "--nocapture"]);
            command.env_remove("NO_COLOR");
            command.envs(no_colour.map(|value| ("NO_COLOR", value)));
            command.stdout(stream(stdout)).stderr(stream(stderr));
            let mut process = command.spawn().expect("it can be started again");
            match process.wait().expect("it ends").code() {
                Some(10) => true,
                Some(11) => false,
                other => panic!("it ended with {other:?}"),
            }
        }

        /// Everything goes to standard output, so that is what has to be a terminal.
        #[test]
        fn colours_are_for_a_terminal_at_standard_output_and_nowhere_else() {
            for (stdout, stderr, no_colour, colours) in [
                (true, true, None, true),
                (true, false, None, true),
                (false, true, None, false),
                (false, false, None, false),
                (true, true, Some("1"), false),
                (true, true, Some(""), true),
                (false, false, Some(""), false),
            ] {
                assert_eq!(
                    has_colours(stdout, stderr, no_colour),
                    colours,
                    "terminal at standard output: {stdout}, at standard error: {stderr}, NO_COLOR: {no_colour:?}"
                );
            }
        }
    }
}
