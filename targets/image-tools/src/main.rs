//! The command line of the image tools.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use image_tools::{admit, fork_command, gc};

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
enum Command {
    /// Tell whether something that takes disk space may start; collects first where room is short.
    Admit(admit::AdmitArgs),
    /// Copy a guest's snapshot directory so that nothing that can be written to is shared.
    Fork(fork_command::ForkArgs),
    /// Delete old disk images that no overlay needs.
    Gc(gc::GcArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let code = match &Cli::parse().command {
        Command::Admit(args) => admit::run(args, &mut out, &mut err)?,
        Command::Fork(args) => fork_command::run(args, &mut out, &mut err)?,
        Command::Gc(args) => gc::run(args, &mut out, &mut err)?,
    };
    Ok(ExitCode::from(code))
}
