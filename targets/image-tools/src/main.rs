//! The command line of the image tools.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use image_tools::{clone, ext4, work};

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
    /// Copies a file, sharing its blocks where the file system can.
    Clone(clone::Args),
    /// Builds ext4 images, and measures what they share.
    #[command(subcommand)]
    Ext4(ext4::Command),
    /// Makes work disks from a seed.
    #[command(subcommand)]
    WorkDisk(work::DiskCommand),
    /// Makes the seed that work disks start from.
    #[command(subcommand)]
    WorkSeed(work::SeedCommand),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image-tools: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Clone(args) => clone::run(&args)?,
        Command::Ext4(command) => ext4::run(&command)?,
        Command::WorkDisk(command) => work::run_disk(&command)?,
        Command::WorkSeed(command) => work::run_seed(&command)?,
    }
    Ok(())
}
