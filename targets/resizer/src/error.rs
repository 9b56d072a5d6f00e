//! What can go wrong, and the exit code that each kind of failure gives.
//!
//! Every message is one line that says what failed, on what, and why; a failed program's output follows it. The
//! source error with its errno is kept.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::usage::UsageError;

/// The result of anything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of the resizer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command or the disk is not one that the resizer can work with. Nothing was written.
    #[error(transparent)]
    Usage(#[from] UsageError),

    /// A shrink would cut off live data. Nothing was written.
    #[error(
        "{what}: {wanted_bytes} bytes are less than the {used_bytes} bytes that its file system needs at least"
    )]
    BelowUsed {
        /// What was to be shrunk.
        what: String,
        /// The size asked for.
        wanted_bytes: u64,
        /// The smallest size that holds the data.
        used_bytes: u64,
    },

    /// The disk has no room for what was asked. Nothing was written.
    #[error(
        "not enough space for {what}: needs {needed_bytes} bytes, the largest free stretch has {available_bytes}"
    )]
    NoSpace {
        /// What the space was needed for.
        what: String,
        /// How much was needed.
        needed_bytes: u64,
        /// How much there was.
        available_bytes: u64,
    },

    /// Beyond the size that a file system shall shrink to, too little is free for the shrink's redo journal. Nothing
    /// was written.
    #[error(
        "not enough space for the redo journal of the shrink: needs {needed_bytes} bytes of free blocks beyond the new size, one of them on a grid of 64 KiB; {available_bytes} are free there"
    )]
    NoJournalSpace {
        /// How much was needed.
        needed_bytes: u64,
        /// How much is free there, in all.
        available_bytes: u64,
    },

    /// Every entry of the table is in use. Nothing was written.
    #[error("not enough space in the partition table: all of its {capacity} entries are used")]
    NoFreeEntry {
        /// How many entries the table has.
        capacity: u32,
    },

    /// A copy that was just written reads back as something else.
    #[error("the copy at byte {offset_bytes} of `{}` differs from its source when read again", .path.display())]
    CopyDiffers {
        /// The disk.
        path: PathBuf,
        /// Where the copy begins.
        offset_bytes: u64,
    },

    /// A file-system program ended with a failure.
    #[error("`{program} {}` failed ({}){}", .args.join(" "), describe_status(*.status), indent_output(.output))]
    Tool {
        /// The program's name.
        program: &'static str,
        /// Its arguments.
        args: Vec<String>,
        /// What it printed, standard error included.
        output: String,
        /// Its exit code; `None` where a signal ended it or its output or time ran past the limit.
        status: Option<i32>,
    },

    /// A program that is needed is not installed. Nothing was written.
    #[error("`{program}` is not installed; it is in Debian's package `{package}`")]
    MissingProgram {
        /// The program's name.
        program: &'static str,
        /// The Debian package that holds it.
        package: &'static str,
    },

    /// Reading, writing or flushing failed.
    #[error("can't {what} `{}`: {source}", .path.display())]
    Io {
        /// The verb: what was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// The table is on the disk, but the kernel still works with the old one.
    #[error("the table is on disk; reboot to apply: the kernel keeps the old one of `{}` ({source})", .path.display())]
    Reboot {
        /// The device.
        path: PathBuf,
        /// Why the kernel refused.
        source: io::Error,
    },

    /// The test hook was told something that it can't do.
    #[cfg(feature = "chaos")]
    #[error(transparent)]
    Hook(#[from] fault_backend::hook::HookError),

    /// What a partition or a table holds can't be worked with.
    #[error("{what}: {why}")]
    BadContent {
        /// The structure or partition.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// An [`Error::Io`]; for use in `map_err`.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what, path: path.to_path_buf(), source }
    }

    /// The exit code of the program that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::NoSpace { .. }
            | Error::NoJournalSpace { .. }
            | Error::NoFreeEntry { .. }
            | Error::CopyDiffers { .. }
            | Error::Io { .. } => 1,
            Error::Usage(_)
            | Error::BelowUsed { .. }
            | Error::MissingProgram { .. }
            | Error::BadContent { .. } => 2,
            #[cfg(feature = "chaos")]
            Error::Hook(_) => 2,
            Error::Reboot { .. } => 3,
            Error::Tool { .. } => 4,
        }
    }
}

/// Prints a line to standard error. A reader that went away must not stop the work half way, so failures are of no
/// account.
pub fn report(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn describe_status(status: Option<i32>) -> String {
    match status {
        Some(code) => format!("exit code {code}"),
        None => "killed".to_owned(),
    }
}

fn indent_output(output: &str) -> String {
    output.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("\n  {line}")).collect()
}
