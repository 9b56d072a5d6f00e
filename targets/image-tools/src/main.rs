//! The command line of the image tools.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tools for disk images, each of which survives being killed at any write.
#[derive(Debug, Parser)]
#[command(name = "image-tools", version)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {}

fn main() -> ExitCode {
    match Cli::parse().command {}
}
