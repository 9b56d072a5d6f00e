//! What a partition holds, apart from where its blocks lie: the tree of a file system with names, metadata and
//! data, so that a relocated or resized copy can be told from a damaged one, path by path.

mod ext4;
pub(crate) mod fat;
mod tree;
mod xattr;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use scenarios::model::FileSystem;

pub use fat::{BootSector, FatError};
pub use tree::{Facts, Tree};

use crate::image::{Bytes, ReadAt};
use crate::oracle::Ended;

/// What a tree can be read of.
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
    pub fn detect(disk: &dyn ReadAt, extent: &Range<u64>) -> io::Result<Self> {
        Ok(match file_system(disk, extent)? {
            Some(FileSystem::Ext4) => Self::Ext4,
            Some(FileSystem::Vfat) => Self::Fat,
            _ => Self::Bytes,
        })
    }
}

/// The file system in an extent, by the magic numbers of its superblock: btrfs's is the farthest, at 64 KiB.
pub fn file_system(disk: &dyn ReadAt, extent: &Range<u64>) -> io::Result<Option<FileSystem>> {
    const BTRFS_MAGIC: u64 = (64 << 10) + 64;
    let end = extent.end.min(disk.len_bytes()?);
    let mut head = [0; 2048];
    if end.saturating_sub(extent.start) < head.len() as u64 {
        return Ok(None);
    }
    disk.fill(extent.start, &mut head)?;
    let mut magic = [0; 8];
    if extent.start + BTRFS_MAGIC + 8 <= end {
        disk.fill(extent.start + BTRFS_MAGIC, &mut magic)?;
    }
    Ok(if head[1080..1082] == [0x53, 0xEF] {
        Some(FileSystem::Ext4)
    } else if head.starts_with(b"XFSB") {
        Some(FileSystem::Xfs)
    } else if magic == *b"_BHRfS_M" {
        Some(FileSystem::Btrfs)
    } else if head[3..11] == *b"NTFS    " {
        Some(FileSystem::Ntfs)
    } else if BootSector::parse(&head[..512]).is_ok() {
        Some(FileSystem::Vfat)
    } else {
        None
    })
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
    /// Reads the tree in an extent of a disk, which on the host is the file `path`. Data that can't equal what is
    /// expected (other size) isn't read, and where anything differs, extended attributes and links aren't asked for.
    pub fn read(
        &self,
        kind: Kind,
        (disk, path): (&Bytes, &Path),
        extent: &Range<u64>,
        sector_bytes: u32,
        expected: Option<&Tree>,
    ) -> Result<Tree, TreeError> {
        match kind {
            Kind::Fat => Ok(fat::read(disk, extent, sector_bytes, expected)?.0),
            Kind::Ext4 => {
                let mut tree = ext4::read(disk, extent, expected)?;
                tree.partial = true;
                // What differs already need not be asked for more.
                let differs = expected.is_some_and(|expected| !expected.differences(&tree, 1).is_empty());
                if self.debugfs && !differs {
                    xattr::add(&mut tree, &File::open(path)?, extent.start, &self.work)?;
                    tree.partial = false;
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
        disk: &Bytes,
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
