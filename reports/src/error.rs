//! What can go wrong between a campaign and its run directory. Every variant names the path and keeps its source,
//! so a caller can still ask for the errno.

use std::io;
use std::path::PathBuf;

/// A failure to keep or to read back what a campaign did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file of the run directory could not be created or written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of a run directory could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The first line is not a header that this version reads.
    #[error("`{}` does not begin with the header of an event log of schema {supported}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The schema that this version reads.
        supported: u32,
        /// What the parser said, where the line is no header at all.
        source: Option<serde_json::Error>,
    },
    /// A whole line is no event.
    #[error("line {line} of `{}` is not an event", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A `report.json` is not one that this version reads.
    #[error("`{}` is not a report of this schema", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A value has no JSON form.
    #[error("cannot encode an entry of `{}`", path.display())]
    Encode {
        /// The file that it was meant for.
        path: PathBuf,
        /// What the encoder said.
        source: serde_json::Error,
    },
}

impl StoreError {
    /// The errno behind it, where the operating system gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Write { source, .. } | Self::Read { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether the file system or the user's quota has no room left: what was done so far is kept, and the run
    /// directory still has room for its end (see `ballast`).
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Write { source, .. } => disk_full(source),
            _ => false,
        }
    }
}

/// Whether `error` says that there is no room left.
pub(crate) fn disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
