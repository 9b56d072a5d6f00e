//! The `killpoint` command.

use std::process::ExitCode;

use clap::Parser;
use killpoint::cli::Cli;
use killpoint::commands;
use killpoint::process::launch;

/// What a shell answers where a command can't be executed.
const CANNOT_EXECUTE: u8 = 126;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == launch::ARGUMENT) {
        let Err(error) = launch::launch(arguments);
        eprintln!("killpoint: error: {error:#}");
        return CANNOT_EXECUTE.into();
    }
    commands::execute(Cli::parse()).into()
}
