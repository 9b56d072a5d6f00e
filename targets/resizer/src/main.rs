//! The command-line program: arguments in, one line about what went wrong out.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use resizer::cli::{self, Args};
use resizer::error::report;

/// The exit code of a command that makes no sense.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    match cli::run(&args, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(format_args!("resizer: error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Help as it is; of anything else the first paragraph, as one line.
fn explain(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let text = error.to_string();
    let paragraph: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let message = paragraph.join(" ");
    report(format_args!("resizer: error: {}", message.strip_prefix("error: ").unwrap_or(&message)));
    ExitCode::from(USAGE)
}
