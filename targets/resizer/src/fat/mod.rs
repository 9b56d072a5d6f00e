//! FAT12, FAT16 and FAT32: recognised, checked, and relocated into a larger partition so that the file system
//! fills it.
//!
//! The relocation is structural: clusters keep their numbers and their bytes, so directories, times, attributes
//! and short names are untouched; only the boot sector's sizes, the tables and the FSInfo counts change.

mod boot;
mod relocate;
mod table;

pub use boot::{FatInfo, FatKind};

use crate::disk::{Disk, Extent};
use crate::error::{Error, Result};
use crate::patch;
use boot::{Boot, SECTOR_BYTES_MIN};
use table::Table;

/// What lies at `at`, if it is FAT; a FAT whose boot sector contradicts itself or the partition is an error.
pub fn probe(disk: &dyn Disk, at: Extent) -> Result<Option<FatInfo>> {
    Ok(load_boot(disk, at)?.map(|boot| boot.info()))
}

/// Refuses a FAT whose tables don't hold together: entries out of range, clusters with two owners, copies that
/// differ.
pub fn check(disk: &dyn Disk, at: Extent) -> Result<()> {
    let boot = require(disk, at)?;
    Table::load(disk, at, &boot).map(drop)
}

/// Refuses where the FAT at `source` can't be made to fill `new_len_bytes`.
pub fn check_growable(disk: &dyn Disk, source: Extent, new_len_bytes: u64) -> Result<()> {
    let boot = require(disk, source)?;
    boot.grown(source, Extent { offset_bytes: source.offset_bytes, len_bytes: new_len_bytes }).map(drop)
}

/// Writes the FAT at `source` to `target`, grown to fill it. All of `target` is written, what is free as zeros;
/// the source isn't changed and the disk isn't flushed.
pub fn relocate(disk: &dyn Disk, source: Extent, target: Extent) -> Result<()> {
    relocate::relocate(disk, source, target)
}

fn load_boot(disk: &dyn Disk, at: Extent) -> Result<Option<Boot>> {
    if at.len_bytes < SECTOR_BYTES_MIN as u64 {
        return Ok(None);
    }
    let mut sector = [0; SECTOR_BYTES_MIN];
    patch::read(disk, at.offset_bytes, &mut sector)?;
    if !boot::looks_like_fat(&sector) {
        return Ok(None);
    }
    Boot::parse(&sector, at).map(Some)
}

fn require(disk: &dyn Disk, at: Extent) -> Result<Boot> {
    load_boot(disk, at)?.ok_or_else(|| bad(at, "is not a FAT file system"))
}

fn bad(at: Extent, why: impl Into<String>) -> Error {
    Error::BadContent { what: format!("the FAT file system at byte {}", at.offset_bytes), why: why.into() }
}
