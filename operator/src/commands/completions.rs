//! `operator completions`

use clap::Args;
use clap_complete::Shell;

use crate::{commands::CommandStatus, screen::check_written};

/// Print the completion script for a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator completions bash > ~/.local/share/bash-completion/completions/operator
  operator completions zsh > ~/.zfunc/_operator
  operator completions fish > ~/.config/fish/completions/operator.fish
  source <(operator completions bash)    for the current shell only")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script for `operator`, the command line of the whole program.
    pub(crate) fn run(&self, mut operator: clap::Command) -> anyhow::Result<CommandStatus> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut operator, "operator", &mut script);
        print_line!("{}", String::from_utf8(script)?.trim_end());
        check_written()?;
        Ok(CommandStatus::Success)
    }
}
