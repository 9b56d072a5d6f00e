//! `completions` and `man`: files that are made of the command line itself, so that they can't differ from it.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use reports::Exit;
use serde_json::json;

use super::print;
use crate::cli::{Cli, CompletionsArgs, Format, ManArgs};
use crate::error::Error;

pub(super) fn completions(args: CompletionsArgs) -> Result<Exit, Error> {
    let mut bytes = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "killpoint", &mut bytes);
    print(&String::from_utf8_lossy(&bytes))?;
    Ok(Exit::Passed)
}

pub(super) fn man(args: ManArgs) -> Result<Exit, Error> {
    fs::create_dir_all(&args.out).map_err(Error::io(&args.out))?;
    let mut pages = Vec::new();
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    pages.push(page(&command, &args.out)?);
    for subcommand in command.get_subcommands() {
        pages.push(page(subcommand, &args.out)?);
    }
    print(&match args.format {
        Format::Json => format!("{:#}\n", json!({ "schema": 1, "pages": pages })),
        Format::Human => pages.iter().map(|path| format!("{path}\n")).collect(),
    })?;
    Ok(Exit::Passed)
}

/// Writes a command's page; its path.
fn page(command: &clap::Command, dir: &Path) -> Result<String, Error> {
    let path = clap_mangen::Man::new(command.clone()).generate_to(dir).map_err(Error::io(dir))?;
    Ok(path.display().to_string())
}
