//! `gantry completions`: what a shell needs to complete the command line.

use std::io::{self, Write};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// Options of `gantry completions`.
#[derive(Args, Clone, Copy, Debug)]
pub struct CompletionsOptions {
    /// For which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Writes the script to `out`.
///
/// # Errors
/// `out` cannot be written to.
pub fn run(options: CompletionsOptions, out: &mut dyn Write) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut super::Cli::command(),
        "gantry",
        &mut script,
    );
    out.write_all(&script)
}
