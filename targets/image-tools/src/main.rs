//! The command line of the image tools.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use image_tools::{admit, clone, ext4, fork_command, gc, options, work};

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
    /// Copy a file, sharing its blocks where the file system can.
    Clone(clone::Args),
    /// Build ext4 images, and measure what they share.
    #[command(subcommand)]
    Ext4(ext4::Command),
    /// Copy a guest's snapshot directory so that nothing that can be written to is shared.
    Fork(fork_command::ForkArgs),
    /// Delete old disk images that no overlay needs.
    Gc(gc::GcArgs),
    /// Make work disks from a seed.
    #[command(subcommand)]
    WorkDisk(work::DiskCommand),
    /// Make the seed that work disks start from.
    #[command(subcommand)]
    WorkSeed(work::SeedCommand),
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("{}{error:#}", options::ERROR_PREFIX);
            ExitCode::FAILURE
        }
    }
}

/// Runs a command; answers its exit code.
fn run(command: &Command) -> Result<u8> {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    match command {
        Command::Admit(args) => return Ok(admit::run(args, &mut out, &mut err)?),
        Command::Fork(args) => return Ok(fork_command::run(args, &mut out, &mut err)?),
        Command::Gc(args) => return Ok(gc::run(args, &mut out, &mut err)?),
        Command::Clone(args) => clone::run(args)?,
        Command::Ext4(command) => ext4::run(command)?,
        Command::WorkDisk(command) => work::run_disk(command)?,
        Command::WorkSeed(command) => work::run_seed(command)?,
    }
    Ok(0)
}
