//! Why a tree does not become an image: what [`Plan`](crate::Plan) refuses, and what goes wrong while writing.

use std::io;
use std::path::PathBuf;

use crate::geometry::BLOCK_BYTES;
use crate::journal::MIN_BLOCKS as MIN_JOURNAL_BLOCKS;

/// A tree can't be laid out.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// One file alone is more than the disk.
    #[error(
        "`{path}` has {len} bytes of data and the disk {size}; ask for a larger size", path = path.display()
    )]
    FileTooLarge {
        /// Path in the image.
        path: PathBuf,
        /// Bytes of its data.
        len: u64,
        /// Bytes of the disk.
        size: u64,
    },
    /// A file ends beyond the last block that a file can have.
    #[error("`{path}` is {len} bytes long and a file of ext4 ends at 16 TiB", path = path.display())]
    FileTooLong {
        /// Path in the image.
        path: PathBuf,
        /// Bytes of the file.
        len: u64,
    },
    /// All together is more than the disk.
    #[error("the tree needs {needed} bytes and the disk has {size}; ask for a larger size")]
    DoesNotFit {
        /// Bytes up to the last block that is needed.
        needed: u64,
        /// Bytes of the disk.
        size: u64,
    },
    /// The bitmaps of so many groups don't have so many bits.
    #[error("the tree has {needed} inodes, more than a disk of {size} bytes can have; ask for a larger size")]
    TooManyInodes {
        /// Inodes, reserved ones included.
        needed: u64,
        /// Bytes of the disk.
        size: u64,
    },
    /// Block numbers have 32 bits.
    #[error("a disk of {size} bytes is more than the 16 TiB that this writer can do")]
    DiskTooLarge {
        /// Bytes of the disk.
        size: u64,
    },
    /// e2fsck insists on a folder there.
    #[error(
        "`/lost+found` has to be a folder, as e2fsck puts there what it finds; rename what has that name"
    )]
    LostAndFound,
    /// An attribute that ext4 has no place for.
    #[error("`{path}` has the attribute `{name}`, which ext4 can't store; remove it", path = path.display())]
    UnknownXattr {
        /// Path in the image.
        path: PathBuf,
        /// Name of the attribute.
        name: String,
    },
    /// An access control list that is none.
    #[error("`{path}` has an access control list in `{name}` that can't be understood", path = path.display())]
    BadAcl {
        /// Path in the image.
        path: PathBuf,
        /// Name of the attribute.
        name: String,
    },
    /// Attributes end at a block.
    #[error(
        "the attributes of `{path}` are more than the {BLOCK_BYTES} bytes of a block; remove some",
        path = path.display()
    )]
    XattrsTooLarge {
        /// Path in the image.
        path: PathBuf,
    },
    /// Device numbers have 12 and 20 bits.
    #[error("the device `{path}` has the number {major}:{minor}, beyond 4095:1048575", path = path.display())]
    DeviceNumber {
        /// Path in the image.
        path: PathBuf,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A grid that blocks and groups don't fit.
    #[error("an alignment of {bytes} bytes is no power of two from {BLOCK_BYTES} bytes to 128 MiB")]
    BadAlign {
        /// Bytes of the grid.
        bytes: u64,
    },
    /// The kernel refuses a smaller one.
    #[error(
        "a journal of {blocks} blocks is below the {MIN_JOURNAL_BLOCKS} that the kernel asks for, or above 262144"
    )]
    BadJournal {
        /// Blocks of the journal.
        blocks: u32,
    },
}

/// An image can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Content can't be read.
    #[error("the content of `{path}` can't be read", path = path.display())]
    Read {
        /// Path in the image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Content has another length than when the tree was made.
    #[error("`{path}` changed its length while it was read; run again when nothing writes to it", path = path.display())]
    Changed {
        /// Path in the image.
        path: PathBuf,
    },
    /// The output can't be written.
    #[error("the image can't be written")]
    Write(#[source] io::Error),
}
