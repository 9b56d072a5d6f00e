//! The `killpoint` command.

use std::process::ExitCode;

use clap::Parser;
use killpoint::cli::Cli;
use killpoint::commands;
use killpoint::process::launch;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == launch::ARGUMENT) {
        // Nothing else may be set up before: every tool is a fork of this process. Who started it hears its end.
        return if launch::serve(arguments).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    commands::execute(Cli::parse()).into()
}
