//! `stormbed completions`

use clap::CommandFactory;
use clap_complete::Shell;

use super::Arguments;

/// Print completions for a shell, e.g. `stormbed completions bash > /etc/bash_completion.d/stormbed`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> u8 {
        let mut command = Arguments::command();
        clap_complete::generate(self.shell, &mut command, "stormbed", &mut std::io::stdout());
        0
    }
}
