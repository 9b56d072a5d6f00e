//! Writing a FAT file system to another, larger partition.
//!
//! The order is from the front of the target to its end; the source stays whole, so a relocation that was cut off
//! is simply done again.

use super::boot::{Boot, FatKind, SECTOR_BYTES_MIN, le32, looks_like_fat, put32};
use super::table::Table;
use super::{bad, require};
use crate::disk::{Disk, Extent};
use crate::error::Result;
use crate::patch::{self, Sequence};

const FSINFO_LEAD: (usize, u32) = (0, 0x4161_5252);
const FSINFO_STRUCT: (usize, u32) = (484, 0x6141_7272);
const FSINFO_FREE: usize = 488;

pub(super) fn relocate(disk: &dyn Disk, source: Extent, target: Extent) -> Result<()> {
    let old = require(disk, source)?;
    let new = old.grown(source, target)?;
    let table = Table::load(disk, source, &old)?;
    let reserved = reserved_sectors(disk, source, &old, &new, &table)?;

    let mut sequence = Sequence::new(disk, target.offset_bytes);
    sequence.put(&reserved)?;
    for copy in 0..new.fat_copies {
        sequence.zero_to(target.offset_bytes + new.fat_offset_bytes(copy))?;
        sequence.put(table.copy_bytes(copy as usize))?;
    }
    sequence.zero_to(target.offset_bytes + new.root_dir_offset_bytes())?;
    sequence
        .copy(source.offset_bytes + old.root_dir_offset_bytes(), new.root_dir_sectors * new.sector_bytes)?;
    for run in table.allocated_runs() {
        sequence.zero_to(target.offset_bytes + new.cluster_offset_bytes(run.start))?;
        let from = source.offset_bytes + old.cluster_offset_bytes(run.start);
        sequence.copy(from, (run.end - run.start) * old.cluster_bytes())?;
    }
    sequence.zero_to(target.end_bytes())?;
    sequence.finish()
}

/// The reserved sectors as they shall be: boot code, label and ids as they were, sizes and counts as they are now.
fn reserved_sectors(
    disk: &dyn Disk,
    source: Extent,
    old: &Boot,
    new: &Boot,
    table: &Table,
) -> Result<Vec<u8>> {
    let mut bytes = vec![0; (old.reserved * old.sector_bytes) as usize];
    patch::read(disk, source.offset_bytes, &mut bytes)?;
    let sector_at = |number: u64| (number * old.sector_bytes) as usize;
    if let Some(backup) = old.backup {
        let at = sector_at(backup);
        let same = bytes[at..].first_chunk::<SECTOR_BYTES_MIN>().is_some_and(|sector| {
            let parsed = looks_like_fat(sector).then(|| Boot::parse(sector, source));
            parsed.is_some_and(|boot| boot.is_ok_and(|boot| Boot { hidden: old.hidden, ..boot } == *old))
        });
        if !same {
            return Err(bad(
                source,
                "its backup boot sector states another geometry; fsck.fat can repair that",
            ));
        }
        new.patch(&mut bytes[at..]);
    }
    new.patch(&mut bytes);
    if old.kind == FatKind::Fat32 {
        let free = (table.free + new.clusters - old.clusters) as u32;
        for fsinfo in old.fsinfo.iter().flat_map(|at| [Some(*at), old.backup.map(|backup| backup + at)]) {
            let Some(number) = fsinfo.filter(|number| *number < old.reserved) else { continue };
            let sector = &mut bytes[sector_at(number)..];
            if [FSINFO_LEAD, FSINFO_STRUCT].iter().all(|(at, magic)| le32(sector, *at) == *magic) {
                put32(sector, FSINFO_FREE, free);
            }
        }
    }
    Ok(bytes)
}
