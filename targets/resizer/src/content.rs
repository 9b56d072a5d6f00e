//! What a partition holds, as far as resizing it is concerned.

use crate::disk::{Disk, Extent};
use crate::error::{Error, Result};
use crate::{ext4, fat};

/// The kinds of content that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// ext4, or ext2 and ext3, which are written the same way.
    Ext4,
    /// A squashfs image: its length is in its superblock, so it needs no care when copied.
    Squashfs,
    /// Anything else: copied byte for byte.
    Unknown,
}

impl Content {
    /// Looks at what lies at `at`.
    pub fn probe(disk: &dyn Disk, at: Extent) -> Result<Content> {
        if ext4::probe(disk, at)?.is_some() {
            return Ok(Content::Ext4);
        }
        if fat::probe(disk, at)?.is_some() {
            return Ok(Content::Fat);
        }
        let mut magic = [0; 4];
        disk.read_at(at.offset_bytes, &mut magic).map_err(Error::io("read", disk.path()))?;
        Ok(if &magic == b"hsqs" { Content::Squashfs } else { Content::Unknown })
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Content::Fat => "FAT",
            Content::Ext4 => "ext4",
            Content::Squashfs => "squashfs",
            Content::Unknown => "unknown content",
        }
    }
}
