//! What each command does, from its arguments to its exit code.

mod barriers;
mod demo;
mod doctor;
mod export;
mod generate;
mod import;
mod inspect;
mod list;
mod preflight;
mod report;
mod repro;
mod run;
mod session;
mod shrink;
mod sweep;

use std::io::{self, Write};

use reports::Exit;
use serde_json::json;

use crate::cli::{Cli, Command, Format, OnMountArgs};
use crate::error::Error;
use crate::on_mount;

/// Does what was asked for. Errors are printed here, so that every command ends the same way.
pub fn execute(cli: Cli) -> Exit {
    let result = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Sweep(args) => sweep::sweep(args),
        Command::Exec(args) => sweep::exec(args),
        Command::Preflight(args) => preflight::preflight(args),
        Command::Report(args) => report::report(args),
        Command::Barriers(args) => barriers::barriers(args),
        Command::Repro(args) => repro::repro(args),
        Command::Shrink(args) => shrink::shrink(args),
        Command::Export(args) => export::export(args),
        Command::Import(args) => import::import(args),
        Command::ReplayLog(args) => import::replay_log(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::OnMount(args) => on_mount(args),
        Command::List(args) => list::list(args),
        Command::Show(args) => list::show(args),
        Command::Demo(args) => demo::demo(args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Completions(args) => generate::completions(args),
        Command::Man(args) => generate::man(args),
    };
    result.unwrap_or_else(|error| {
        print_error(&error);
        error.exit()
    })
}

/// `on-mount`: the command's own exit code is what a scenario wants to know.
fn on_mount(args: OnMountArgs) -> Result<Exit, Error> {
    let OnMountArgs { image, fs, offset, read_only, options, format, command } = args;
    let target = on_mount::Target { image, fs, offset, read_only, options };
    let to_stderr = format == Format::Json;
    let code = on_mount::run(&target, &command, to_stderr)?;
    if to_stderr {
        let on_mount::Target { image, fs, offset, read_only, .. } = &target;
        let told = json!({
            "schema": 1, "image": image, "fs": fs, "offset_bytes": offset, "read_only": read_only, "exit_code": code,
        });
        print(&format!("{told:#}\n"))?;
    }
    std::process::exit(code)
}

/// Prints an error and its causes, each once: many a cause is part of its consequence's text already.
fn print_error(error: &Error) {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    eprintln!("killpoint: error: {text}");
}

/// Writes a command's result. A reader that went away, as `head` does, is no error.
fn print(text: &str) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("standard output")(error)),
        _ => Ok(()),
    }
}
