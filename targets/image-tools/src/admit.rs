//! `image-tools admit`: whether something that takes disk space may start. Where room is short the collector runs first.
//!
//! Exit codes: 0 it may, with a warning where room is short · 1 it must not · 2 what was named is no home.

use std::io::{self, Write};
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use disk_guard::images::CollectError;
use disk_guard::{Admission, Floors, Measured, Verdict, admit};
use serde::Serialize;

use crate::gc::{AgeArgs, Outcome, Summary};
use crate::options::{ERROR_PREFIX, Format, explain, print_json, size};
use crate::planted;

/// Arguments of `admit`.
#[derive(Clone, Debug, Args)]
pub struct AdmitArgs {
    /// Folder with `images/disk-images` and `boxes`; its file system is asked.
    pub home: PathBuf,
    /// Space that what starts is going to take, on top of every floor.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = 0)]
    pub need: u64,
    /// Refuse with less free than this [default: 1G].
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = Floors::default().reject_below_bytes,
        hide_default_value = true)]
    pub reject_below: u64,
    /// Warn with less free than this [default: 5G].
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = Floors::default().warn_below_bytes,
        hide_default_value = true)]
    pub warn_below: u64,
    /// Warn with less of the whole free than this.
    #[arg(long, value_name = "PERCENT", default_value_t = Floors::default().warn_below_percent,
        value_parser = clap::value_parser!(u8).range(..=100))]
    pub warn_below_percent: u8,
    /// How ages are told.
    #[command(flatten)]
    pub age: AgeArgs,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// The result as JSON.
#[derive(Debug, Serialize)]
struct Report {
    verdict: Verdict,
    free_bytes: Option<u64>,
    total_bytes: Option<u64>,
    need_bytes: u64,
    /// Why the space is not known.
    error: Option<String>,
    /// What the collector did, where it ran.
    collected: Option<Summary>,
}

/// Runs the command; answers its exit code.
pub fn run(args: &AdmitArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let need_bytes = if planted::is_active("no-reserve") { 0 } else { args.need };
    let floors = Floors {
        reject_below_bytes: args.reject_below,
        warn_below_bytes: args.warn_below,
        warn_below_percent: args.warn_below_percent,
        need_bytes,
    };
    let collector = args.age.collector(args.home.clone(), false);
    let Admission { first, collected } = admit(&args.home, &floors, || Outcome::from(collector.collect()));
    let (outcome, last) = match collected {
        Some((outcome, last)) => (Some(outcome), last),
        None => (None, first),
    };
    let no_home =
        outcome.as_ref().is_some_and(|outcome| matches!(outcome.error, Some(CollectError::NoHome { .. })));
    let exit = match last.verdict {
        _ if no_home => 2,
        Verdict::Ok | Verdict::Warn => 0,
        Verdict::Reject => 1,
    };
    match args.format {
        Format::Human => print(args, &last, outcome.as_ref(), out, err)?,
        Format::Json => print_json(out, &report(&last, args.need, outcome))?,
    }
    Ok(exit)
}

fn report(last: &Measured, need_bytes: u64, outcome: Option<Outcome>) -> Report {
    let space = last.space.as_ref().ok();
    Report {
        verdict: last.verdict,
        free_bytes: space.map(|space| space.free_bytes),
        total_bytes: space.map(|space| space.total_bytes),
        need_bytes,
        error: last.space.as_ref().err().map(|error| explain(error)),
        collected: outcome.map(|outcome| outcome.summary(false)),
    }
}

fn print(
    args: &AdmitArgs,
    last: &Measured,
    outcome: Option<&Outcome>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<()> {
    if let Some(outcome) = outcome {
        outcome.print(false, out, err)?;
    }
    let home = args.home.display();
    let room = match &last.space {
        Ok(space) => {
            format!("{} of {} are free", ByteSize(space.free_bytes), ByteSize(space.total_bytes))
        }
        Err(error) => format!("how much is free can't be told: {}", explain(error)),
    };
    let asked = format!("{} are asked for", ByteSize(args.need));
    match last.verdict {
        Verdict::Ok => writeln!(out, "ok: {room} on the disk of `{home}`, {asked}"),
        Verdict::Warn => {
            writeln!(err, "image-tools: warning: room on the disk of `{home}` is short: {room}, {asked}")
        }
        Verdict::Reject => writeln!(
            err,
            "{ERROR_PREFIX}the disk of `{home}` is too full: {room}, {asked} and {} have to stay free; free some \
             space first",
            ByteSize(args.reject_below),
        ),
    }
}
