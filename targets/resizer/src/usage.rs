//! Errors of the command: something in it, or the disk that it names, is not what the resizer works with.
//!
//! All of them are found before the first write.

use std::io;
use std::path::PathBuf;

use crate::gpt::Flaw;

/// A command that can't be carried out as it stands (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The disk can't be opened at all.
    #[error("can't open `{}`: {source}", .path.display())]
    Open {
        /// The path given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory, a pipe and so on.
    #[error("`{}` is neither a regular file nor a block device", .path.display())]
    NotADisk {
        /// The path given.
        path: PathBuf,
    },
    /// The file's mode or the device forbids writing.
    #[error("`{}` is read-only", .path.display())]
    ReadOnly {
        /// The path given.
        path: PathBuf,
    },
    /// Another resizer works on the disk.
    #[error("`{}` is in use by another resizer", .path.display())]
    InUse {
        /// The path given.
        path: PathBuf,
    },
    /// The directory for temporary copies can't take any.
    #[error("can't put temporary copies into `{}`: {source}; --scratch names another directory", .path.display())]
    Scratch {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device's sectors are neither 512 nor 4096 bytes long.
    #[error("`{}` has sectors of {bytes} bytes; only 512 and 4096 are supported", .path.display())]
    SectorSize {
        /// The path given.
        path: PathBuf,
        /// What the device says.
        bytes: u32,
    },
    /// There is no trace of a GPT.
    #[error("`{}` has no GPT", .path.display())]
    NotGpt {
        /// The path given.
        path: PathBuf,
    },
    /// Neither copy of the table can be used.
    #[error("neither copy of the partition table is usable (primary: {primary}; backup: {backup})")]
    NoValidCopy {
        /// What is wrong with the primary copy.
        primary: Flaw,
        /// What is wrong with the backup copy.
        #[source]
        backup: Flaw,
    },
    /// No size.
    #[error("`{text}` is not a size: a whole number with B, K, M, G or T")]
    Size {
        /// What was given.
        text: String,
    },
    /// A partition of no size.
    #[error("a partition can't have the size 0")]
    ZeroSize,
    /// An argument lacks a part or names an unknown way to identify.
    #[error("`{text}` does not begin with label:, name:, uuid: or index:")]
    Identifier {
        /// What was given.
        text: String,
    },
    /// An argument lacks its last part.
    #[error("`{text}` has no size; the form is BY:VALUE:SIZE")]
    SizeMissing {
        /// What was given.
        text: String,
    },
    /// Not a GUID.
    #[error("`{text}` is not a UUID")]
    Uuid {
        /// What was given.
        text: String,
    },
    /// Not a number from 1.
    #[error("`{text}` is not a partition index")]
    Index {
        /// What was given.
        text: String,
    },
    /// No partition fits the identifier.
    #[error("no partition has {wanted}; there are {candidates}")]
    UnknownPartition {
        /// The identifier.
        wanted: String,
        /// All partitions.
        candidates: String,
    },
    /// Several partitions fit the identifier.
    #[error("{wanted} is ambiguous: {candidates}")]
    AmbiguousPartition {
        /// The identifier.
        wanted: String,
        /// Those that fit.
        candidates: String,
    },
    /// Two arguments concern one partition.
    #[error("partition {index} is named twice")]
    NamedTwice {
        /// Its index.
        index: u32,
    },
    /// The identifier would not fit any more once the command is done, so the command could not be resumed.
    #[error(
        "partition {index} would leave its index, so this command could not be resumed after an interruption: \
         add --preserve-numbers, or identify it by label or uuid"
    )]
    IndexChanges {
        /// Its index.
        index: u32,
    },
    /// Only ext4 can be shrunk.
    #[error(
        "partition {index} ({content}) can't be shrunk from {present_bytes} to {wanted_bytes} bytes: only ext4 can"
    )]
    NotShrinkable {
        /// Its index.
        index: u32,
        /// What it holds.
        content: &'static str,
        /// Its size.
        present_bytes: u64,
        /// The size asked for.
        wanted_bytes: u64,
    },
    /// An earlier run with another size was interrupted.
    #[error(
        "partition {index} is left from an interrupted run that wanted {present_bytes} bytes, not {wanted_bytes}: \
         finish that run by its own command first"
    )]
    Leftover {
        /// The index of the unfinished partition.
        index: u32,
        /// Its size.
        present_bytes: u64,
        /// The size asked for now.
        wanted_bytes: u64,
    },
    /// A partition that is to be moved or shrunk is in use.
    #[error("partition {index} is in use ({by}): unmount it first")]
    Busy {
        /// Its index.
        index: u32,
        /// By what.
        by: String,
    },
}
