//! `operator completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, Outcome};

/// Print completions for a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator completions bash > ~/.local/share/bash-completion/completions/operator
  operator completions zsh > ~/.zfunc/_operator")]
pub(crate) struct Completions {
    /// The shell to print them for
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Outcome {
        let mut command = Cli::command();
        clap_complete::generate(self.shell, &mut command, "operator", &mut std::io::stdout());
        Outcome::Done
    }
}
