//! `gantry env`: the reference of all variables.

use std::io::{self, Write};

use clap::{Args, ValueEnum};

use crate::config::{Format, reference};

/// Options of `gantry env`.
#[derive(Args, Debug)]
pub struct EnvOptions {
    /// How it is written
    #[arg(long, value_enum, default_value_t = EnvFormat::Text)]
    pub format: EnvFormat,
}

/// How `gantry env` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EnvFormat {
    /// For a terminal
    Text,
    /// For a web page
    Markdown,
    /// For programs
    Json,
}

/// Writes the reference to `out`.
///
/// # Errors
/// `out` cannot be written to.
pub fn run(options: &EnvOptions, out: &mut dyn Write) -> io::Result<()> {
    let format = match options.format {
        EnvFormat::Text => Format::Text,
        EnvFormat::Markdown => Format::Markdown,
        EnvFormat::Json => Format::Json,
    };
    out.write_all(reference(format).as_bytes())
}
