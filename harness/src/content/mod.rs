//! What a partition holds, apart from where its blocks lie: the tree of a file system with names, metadata and
//! data, so that a relocated or resized copy can be told from a damaged one, path by path.

mod ext4;
mod fat;
mod tree;
mod xattr;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

pub use fat::{BootSector, FatError};
pub use tree::{Facts, Tree};

use crate::oracle::Ended;

/// What is in a partition, as far as it can be read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext2, ext3 or ext4.
    Ext4,
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// Anything else: bytes.
    Bytes,
}

impl Kind {
    /// Tells the kind by the magic numbers of a file system's first sectors.
    pub fn detect(disk: &File, extent: &Range<u64>) -> io::Result<Self> {
        let mut head = [0; 2048];
        if extent.end - extent.start < head.len() as u64 {
            return Ok(Self::Bytes);
        }
        disk.read_exact_at(&mut head, extent.start)?;
        if head[1080..1082] == [0x53, 0xEF] {
            Ok(Self::Ext4)
        } else if BootSector::parse(&head[..512]).is_ok() {
            Ok(Self::Fat)
        } else {
            Ok(Self::Bytes)
        }
    }
}

/// Why a tree can't be read. What the file system itself is to blame for is apart from what this machine is.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Reading the image failed.
    #[error("cannot read the image")]
    Io(#[from] io::Error),
    /// The ext4 is damaged.
    #[error("`{path}` cannot be read")]
    Ext4 {
        /// Path within the file system.
        path: String,
        /// What the reader says.
        source: Box<ext4_view::Ext4Error>,
    },
    /// The FAT is damaged.
    #[error("FAT cannot be read")]
    Fat(#[from] FatError),
    /// More entries, or deeper ones, than a sound file system of this size has.
    #[error("the tree does not end: {entries} entries, depth {depth}")]
    Endless {
        /// Entries so far.
        entries: usize,
        /// Depth reached.
        depth: usize,
    },
    /// `debugfs` did not answer.
    #[error("debugfs {0}")]
    Debugfs(Ended),
    /// A name that debugfs can't be asked for.
    #[error("`{0}` has a name that debugfs cannot be asked for, so its extended attributes are unknown")]
    Unaskable(String),
}

impl TreeError {
    /// Whether the content is at fault, and not this machine or a limit of ours.
    pub fn blames_content(&self) -> bool {
        matches!(self, Self::Ext4 { .. } | Self::Fat(_) | Self::Endless { .. })
    }
}

/// How trees are read.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Where debugfs's command file goes.
    pub work: PathBuf,
    /// Whether debugfs is asked for extended attributes and inode numbers; without it neither is in the tree.
    pub debugfs: bool,
}

impl Reader {
    /// Reads the tree in an extent of a disk. Data that can't equal what is expected (other size) isn't read.
    pub fn read(
        &self,
        kind: Kind,
        disk: &File,
        extent: &Range<u64>,
        sector_bytes: u32,
        expected: Option<&Tree>,
    ) -> Result<Tree, TreeError> {
        match kind {
            Kind::Fat => Ok(fat::read(disk, extent, sector_bytes, expected)?.0),
            Kind::Ext4 => {
                let mut tree = ext4::read(disk, extent, expected)?;
                if self.debugfs {
                    xattr::add(&mut tree, disk, extent.start, &self.work)?;
                }
                Ok(tree)
            }
            Kind::Bytes => Ok(Tree::default()),
        }
    }

    /// Offset on the disk of a byte of some file's data, for those who want to damage it; `None` where no file has
    /// any that can be told from others.
    pub fn data_offset(
        &self,
        kind: Kind,
        disk: &File,
        extent: &Range<u64>,
        tree: &Tree,
    ) -> Result<Option<u64>, TreeError> {
        match kind {
            Kind::Ext4 => ext4::data_offset(disk, extent, tree),
            Kind::Fat => Ok(fat::read(disk, extent, 512, None)?.1),
            Kind::Bytes => Ok(Some(extent.start)),
        }
    }
}
