//! `image-tools fork`: its arguments, and what it says.
//!
//! Exit codes: 0 the fork is there · 1 it could not be made · 2 what was asked for can't be.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::copy::Reflink;
use crate::fork::{ForkError, Forked, fork};
use crate::options::{Format, complain, print_json};
use crate::skip::Skips;

/// Whether blocks may be shared until they are written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReflinkWhen {
    /// Where the file system can.
    #[default]
    Auto,
    /// Never: every byte of data is copied.
    Never,
}

/// Arguments of `fork`.
#[derive(Clone, Debug, Args)]
pub struct ForkArgs {
    /// The snapshot's directory; nothing in it is changed.
    pub snapshot: PathBuf,
    /// The fork, which must not exist unless it is what would be made.
    pub fork: PathBuf,
    /// Leave this path of the snapshot out; may be given several times.
    #[arg(long, value_name = "PATH")]
    pub skip: Vec<PathBuf>,
    /// Leave out the paths in this file, one on each line.
    #[arg(long, value_name = "FILE")]
    pub skip_from: Vec<PathBuf>,
    /// Whether blocks may be shared until they are written to.
    #[arg(long, value_enum, default_value_t)]
    pub reflink: ReflinkWhen,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Runs the command; answers its exit code.
pub fn run(args: &ForkArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let skips = match Skips::new(&args.skip, &args.skip_from) {
        Ok(skips) => skips,
        Err(error) => {
            complain(err, &error)?;
            return Ok(2);
        }
    };
    let mut reflink = Reflink::new(args.reflink == ReflinkWhen::Auto);
    match fork(&args.snapshot, &args.fork, &skips, &mut reflink) {
        Ok(forked) => {
            print(args, &forked, out)?;
            Ok(0)
        }
        Err(error) => {
            complain(err, &error)?;
            Ok(exit_of(&error))
        }
    }
}

fn exit_of(error: &ForkError) -> u8 {
    if error.is_usage() { 2 } else { 1 }
}

fn print(args: &ForkArgs, forked: &Forked, out: &mut dyn Write) -> io::Result<()> {
    if args.format == Format::Json {
        return print_json(out, forked);
    }
    let Forked { already, files, len_bytes, reflinked } = forked;
    let fork = args.fork.display();
    match already {
        true => writeln!(out, "`{fork}` is there already, with {files} files of {len_bytes} bytes"),
        false => writeln!(
            out,
            "forked {files} files of {len_bytes} bytes to `{fork}`, {reflinked} of them by reflink"
        ),
    }
}
