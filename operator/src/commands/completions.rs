//! `operator completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, commands::Outcome, screen::written};

/// Print completions for a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator completions bash > ~/.local/share/bash-completion/completions/operator
  operator completions zsh > ~/.zfunc/_operator
  operator completions fish > ~/.config/fish/completions/operator.fish
  source <(operator completions bash)    for this shell alone")]
pub(crate) struct Completions {
    /// The shell to print them for
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> anyhow::Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "operator", &mut script);
        say!("{}", String::from_utf8(script)?.trim_end());
        written()?;
        Ok(Outcome::Done)
    }
}
