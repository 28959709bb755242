//! The program.

use std::process::ExitCode;

use clap::Parser as _;
use gantry::cli::{self, Cli};

fn main() -> ExitCode {
    // Libraries that speak TLS take the provider of the process. It can only fail when there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run(Cli::parse())
}
