//! The file allocation table: read strictly, and written anew for more clusters.
//!
//! Every copy is kept byte for byte where clusters existed before (bad-cluster marks, the reserved top bits of
//! FAT32 entries and the state bits of entry 1 included); entries of clusters that are new are zero, whatever the
//! slack of the old table held.

use std::ops::Range;

use super::bad;
use super::boot::{Boot, FatKind, RESERVED_ENTRIES, le16, le32};
use crate::disk::{Disk, Extent};
use crate::error::Result;
use crate::patch;

/// The meaning of one entry.
enum Entry {
    Free,
    Bad,
    Last,
    Next(u64),
}

/// The tables of one file system, cut to the entries of clusters that exist.
pub(super) struct Table {
    kind: FatKind,
    /// The bytes of each copy up to the last cluster's entry.
    copies: Vec<Vec<u8>>,
    /// Which copy is in force.
    active: usize,
    /// One bit per cluster number: is it allocated?
    allocated: Vec<u64>,
    /// How many clusters are neither allocated nor marked bad.
    pub free: u64,
}

impl Table {
    /// Reads and checks the tables of the file system at `at`.
    pub fn load(disk: &dyn Disk, at: Extent, boot: &Boot) -> Result<Table> {
        let entries = boot.clusters + RESERVED_ENTRIES;
        let len = (entries * boot.kind.entry_bits()).div_ceil(8) as usize;
        let mut copies = Vec::new();
        for copy in 0..boot.fat_copies {
            let mut bytes = vec![0; len];
            patch::read(disk, at.offset_bytes + boot.fat_offset_bytes(copy), &mut bytes)?;
            if boot.kind == FatKind::Fat12 && entries % 2 == 1 {
                // The last byte's upper half belongs to the entry after the last cluster's.
                bytes[len - 1] &= 0x0F;
            }
            copies.push(bytes);
        }
        if boot.single_active_fat.is_none() && copies.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(bad(at, "the copies of its table differ; fsck.fat can repair that"));
        }
        let words = (entries as usize).div_ceil(64);
        let active = boot.single_active_fat.unwrap_or(0) as usize;
        let mut table = Table { kind: boot.kind, copies, active, allocated: vec![0; words], free: 0 };
        table.check(at, boot)?;
        Ok(table)
    }

    fn check(&mut self, at: Extent, boot: &Boot) -> Result<()> {
        if self.raw(0) & 0xFF != u32::from(boot.media) {
            return Err(bad(at, "the first entry of its table doesn't repeat the media byte"));
        }
        let mut owned = vec![0_u64; self.allocated.len()];
        for cluster in RESERVED_ENTRIES..boot.clusters + RESERVED_ENTRIES {
            match self.entry(cluster) {
                Entry::Free => self.free += 1,
                Entry::Bad => {}
                Entry::Last => set(&mut self.allocated, cluster),
                Entry::Next(next) if !boot.is_cluster(next) => {
                    return Err(bad(at, format!("cluster {cluster} goes on at {next}, which doesn't exist")));
                }
                Entry::Next(next) => {
                    if get(&owned, next) {
                        return Err(bad(at, format!("cluster {next} has two owners")));
                    }
                    set(&mut owned, next);
                    set(&mut self.allocated, cluster);
                }
            }
        }
        for (word, (owned, allocated)) in owned.iter().zip(&self.allocated).enumerate() {
            if owned & !allocated != 0 {
                let cluster = word as u64 * 64 + u64::from((owned & !allocated).trailing_zeros());
                return Err(bad(at, format!("a chain goes on at cluster {cluster}, which is free or bad")));
            }
        }
        if let Some(root) = boot.root_cluster
            && (!self.is_allocated(root) || get(&owned, root))
        {
            return Err(bad(at, "its root directory's first cluster is not the start of a chain"));
        }
        Ok(())
    }

    pub fn is_allocated(&self, cluster: u64) -> bool {
        get(&self.allocated, cluster)
    }

    /// The runs of allocated clusters, in their order.
    pub fn allocated_runs(&self) -> impl Iterator<Item = Range<u64>> {
        let end = self.allocated.len() as u64 * 64;
        let mut next = RESERVED_ENTRIES;
        std::iter::from_fn(move || {
            let start = (next..end).find(|cluster| self.is_allocated(*cluster))?;
            next = (start..end).find(|cluster| !self.is_allocated(*cluster)).unwrap_or(end);
            Some(start..next)
        })
    }

    /// The bytes of a copy; what follows in a larger table is zero.
    pub fn copy_bytes(&self, copy: usize) -> &[u8] {
        &self.copies[copy]
    }

    fn entry(&self, cluster: u64) -> Entry {
        let raw = self.raw(cluster);
        let (bad, last) = match self.kind {
            FatKind::Fat12 => (0xFF7, 0xFF8),
            FatKind::Fat16 => (0xFFF7, 0xFFF8),
            FatKind::Fat32 => (0x0FFF_FFF7, 0x0FFF_FFF8),
        };
        match raw {
            0 => Entry::Free,
            raw if raw == bad => Entry::Bad,
            raw if raw >= last => Entry::Last,
            raw => Entry::Next(u64::from(raw)),
        }
    }

    fn raw(&self, cluster: u64) -> u32 {
        let bytes = &self.copies[self.active];
        let cluster = cluster as usize;
        match self.kind {
            FatKind::Fat12 => {
                // Two entries share three bytes; the last one may lack the third.
                let at = cluster + cluster / 2;
                let pair = u16::from_le_bytes([bytes[at], bytes.get(at + 1).copied().unwrap_or(0)]);
                u32::from(if cluster.is_multiple_of(2) { pair & 0x0FFF } else { pair >> 4 })
            }
            FatKind::Fat16 => u32::from(le16(bytes, cluster * 2)),
            FatKind::Fat32 => le32(bytes, cluster * 4) & 0x0FFF_FFFF,
        }
    }
}

fn get(bits: &[u64], at: u64) -> bool {
    bits[(at / 64) as usize] >> (at % 64) & 1 == 1
}

fn set(bits: &mut [u64], at: u64) {
    bits[(at / 64) as usize] |= 1 << (at % 64);
}
