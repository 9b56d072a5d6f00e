//! ext2, ext3 and ext4: recognised, shrunk in place so that a kill at any write loses nothing, and relocated into
//! a larger partition.
//!
//! Both changes are made by resize2fs on a staged copy of the used blocks; what it made is then written to the
//! disk by us. Everything written follows from the source's used blocks and the size asked for.

mod layout;
mod redo;
mod relocate;
mod shrink;
mod staging;
mod times;
mod usage;

use crate::disk::{Disk, Extent};
use crate::error::{Error, Result};
use crate::fstools::Tools;
pub(crate) use layout::SUPERBLOCK_OFFSET_BYTES;
use layout::{Layout, Partition};

/// What an ext4 file system is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ext4Info {
    /// Bytes of one block.
    pub block_bytes: u64,
    /// Its length.
    pub size_bytes: u64,
    /// How much of it is in use, its own metadata included.
    pub used_bytes: u64,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Its label, padded with zeros.
    pub label: [u8; 16],
    /// The journal holds changes that were not replayed: it was not unmounted.
    pub needs_recovery: bool,
    /// The latest of the superblock's times, in seconds since 1970: the clock that its programs are given.
    pub clock_s: u64,
}

/// What lies at `at`, if it is ext2, ext3 or ext4; a superblock that contradicts itself or the partition, and
/// features that can't be handled, are errors. A marked shrink must be finished by [`recover`] before.
pub fn probe(disk: &dyn Disk, at: Extent) -> Result<Option<Ext4Info>> {
    Ok(Layout::load(&Partition { disk, at })?.map(|layout| Ext4Info {
        block_bytes: layout.block_bytes,
        size_bytes: layout.size_bytes(),
        used_bytes: layout.blocks.saturating_sub(layout.free_blocks()) * layout.block_bytes,
        uuid: layout.uuid,
        label: layout.label,
        needs_recovery: layout.needs_recovery,
        clock_s: layout.clock_s,
    }))
}

/// Finishes a shrink that was cut off after its journal was complete; whether there was one. It must come before
/// anything else looks at the partition, which may not even have a readable superblock until then.
pub fn recover(disk: &dyn Disk, at: Extent, part_guid: &[u8; 16]) -> Result<bool> {
    redo::recover(disk, at, part_guid)
}

/// Refuses where a shrink to `new_len_bytes` is bound to fail: more is used, or beyond the new size there is no
/// place for the redo journal. The journal's exact size shows only when the shrunk image exists, so
/// [`shrink`] may still refuse, before its first write.
pub fn check_shrink(disk: &dyn Disk, at: Extent, new_len_bytes: u64) -> Result<()> {
    shrink::check(disk, at, new_len_bytes)
}

/// Refuses what [`relocate`] can't work with.
pub fn check_relocation(disk: &dyn Disk, at: Extent) -> Result<()> {
    require(&Partition { disk, at }).map(drop)
}

/// Shrinks the file system at `at` to at most `new_len_bytes`; one that is no longer than that is left alone.
///
/// A kill or a power cut at any write leaves either the old file system whole, or a marked journal with which
/// [`recover`] completes the new one; run again, it ends in the same bytes before `new_len_bytes`. What lies
/// behind is undefined afterwards.
pub fn shrink(
    disk: &dyn Disk,
    at: Extent,
    part_guid: &[u8; 16],
    new_len_bytes: u64,
    tools: &Tools,
) -> Result<()> {
    shrink::shrink(disk, at, part_guid, new_len_bytes, tools)
}

/// Writes the file system at `source` to `target`, grown to fill it. All of `target` is written, what is free as
/// zeros; the source isn't changed and the disk isn't flushed.
pub fn relocate(disk: &dyn Disk, source: Extent, target: Extent, tools: &Tools) -> Result<()> {
    relocate::relocate(disk, source, target, tools)
}

pub(crate) fn not_ext4(at: Extent) -> Error {
    bad(at, "is not an ext4 file system")
}

pub(crate) fn unclean_journal(at: Extent) -> Error {
    bad(at, "it was not unmounted cleanly and its journal must be replayed; --fix-errors does that")
}

/// Whether a block begins as the superblock of a journal does (JBD2, either version); it is where the journal says
/// that it is empty.
pub(crate) fn is_journal_superblock(block: &[u8]) -> bool {
    block.starts_with(&[0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 3])
        || block.starts_with(&[0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 4])
}

fn require(partition: &Partition<'_>) -> Result<Layout> {
    let layout = Layout::load(partition)?.ok_or_else(|| not_ext4(partition.at))?;
    if layout.needs_recovery {
        return Err(unclean_journal(partition.at));
    }
    if layout.has_mmp {
        return Err(bad(partition.at, "its feature mmp is not supported; `tune2fs -O ^mmp` takes it away"));
    }
    Ok(layout)
}

fn bad(at: Extent, why: impl Into<String>) -> Error {
    Error::BadContent { what: format!("the ext4 file system at byte {}", at.offset_bytes), why: why.into() }
}
