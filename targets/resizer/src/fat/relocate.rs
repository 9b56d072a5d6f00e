//! Writing a FAT file system to another, larger partition.
//!
//! The order is from the front of the target to its end; the source stays whole, so a relocation that was cut off
//! is simply done again.

use super::boot::{Boot, FatKind, RESERVED_ENTRIES, SECTOR_BYTES_MIN, le32, looks_like_fat, put32};
use super::table::Table;
use super::{bad, require};
use crate::disk::{Disk, Extent};
use crate::error::Result;
use crate::patch::{self, Patch, WRITE_MAX_BYTES};

const FSINFO_LEAD: (usize, u32) = (0, 0x4161_5252);
const FSINFO_STRUCT: (usize, u32) = (484, 0x6141_7272);
const FSINFO_FREE: usize = 488;

pub(super) fn relocate(disk: &dyn Disk, source: Extent, target: Extent) -> Result<()> {
    let old = require(disk, source)?;
    let new = old.grown(source, target)?;
    let table = Table::load(disk, source, &old)?;
    let reserved = reserved_sectors(disk, source, &old, &new, &table)?;

    let mut patch = Patch::new(disk);
    patch.put(target.offset_bytes, &reserved)?;
    for copy in 0..new.fat_copies {
        let at = target.offset_bytes + new.fat_offset_bytes(copy);
        let bytes = table.copy_bytes(copy as usize);
        patch.put(at, bytes)?;
        patch.zero(at + bytes.len() as u64, new.fat_sectors * new.sector_bytes - bytes.len() as u64)?;
    }
    let mut copier = Copier { disk, patch, buf: vec![0; WRITE_MAX_BYTES] };
    copier.copy(
        source.offset_bytes + old.root_dir_offset_bytes(),
        target.offset_bytes + new.root_dir_offset_bytes(),
        new.root_dir_sectors * new.sector_bytes,
    )?;
    copy_clusters(&mut copier, source, target, &old, &new, &table)
}

/// Copies the allocated clusters and writes zeros over all others, to the end of the target.
fn copy_clusters(
    copier: &mut Copier<'_>,
    source: Extent,
    target: Extent,
    old: &Boot,
    new: &Boot,
    table: &Table,
) -> Result<()> {
    let end = old.clusters + RESERVED_ENTRIES;
    let mut cluster = RESERVED_ENTRIES;
    while cluster < end {
        let allocated = table.is_allocated(cluster);
        let first = cluster;
        while cluster < end && table.is_allocated(cluster) == allocated {
            cluster += 1;
        }
        let to = target.offset_bytes + new.cluster_offset_bytes(first);
        let len = (cluster - first) * new.cluster_bytes();
        if allocated {
            copier.copy(source.offset_bytes + old.cluster_offset_bytes(first), to, len)?;
        } else {
            copier.patch.zero(to, len)?;
        }
    }
    let rest = target.offset_bytes + new.cluster_offset_bytes(end);
    copier.patch.zero(rest, target.end_bytes() - rest).map(drop)
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

struct Copier<'a> {
    disk: &'a dyn Disk,
    patch: Patch<'a>,
    buf: Vec<u8>,
}

impl Copier<'_> {
    fn copy(&mut self, from_bytes: u64, to_bytes: u64, len_bytes: u64) -> Result<()> {
        let mut done = 0;
        while done < len_bytes {
            let len = (len_bytes - done).min(self.buf.len() as u64) as usize;
            patch::read(self.disk, from_bytes + done, &mut self.buf[..len])?;
            self.patch.put(to_bytes + done, &self.buf[..len])?;
            done += len as u64;
        }
        Ok(())
    }
}
