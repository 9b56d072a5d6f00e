//! The boot sector: the geometry that it states, whether that holds together, and the geometry of the same file
//! system in a larger partition.
//!
//! Offsets and type limits are those of Microsoft's FAT specification 1.03; a FAT32 with few clusters, which
//! mkfs.fat makes on request and Linux accepts, is taken as FAT32.

use super::bad;
use crate::disk::Extent;
use crate::error::Result;

/// What is read of a boot sector: every field lies in the first 512 bytes, whatever the sector size.
pub(super) const SECTOR_BYTES_MIN: usize = 512;

const BYTES_PER_SECTOR: usize = 11;
const SECTORS_PER_CLUSTER: usize = 13;
const RESERVED_SECTORS: usize = 14;
const FAT_COPIES: usize = 16;
const ROOT_ENTRIES: usize = 17;
const TOTAL_SECTORS_16: usize = 19;
const MEDIA: usize = 21;
const FAT_SECTORS_16: usize = 22;
const HIDDEN_SECTORS: usize = 28;
const TOTAL_SECTORS_32: usize = 32;
const FAT_SECTORS_32: usize = 36;
const EXT_FLAGS: usize = 40;
const ROOT_CLUSTER: usize = 44;
const FSINFO_SECTOR: usize = 48;
const BACKUP_SECTOR: usize = 50;
const SIGNATURE: usize = 510;

const DIR_ENTRY_BYTES: u64 = 32;
/// The first two table entries stand for no cluster.
pub(super) const RESERVED_ENTRIES: u64 = 2;

/// The variants of FAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FatKind {
    /// 12-bit table entries.
    Fat12,
    /// 16-bit table entries.
    Fat16,
    /// 32-bit table entries, of which 28 count.
    Fat32,
}

impl FatKind {
    /// Bits of one table entry.
    pub fn entry_bits(self) -> u64 {
        match self {
            FatKind::Fat12 => 12,
            FatKind::Fat16 => 16,
            FatKind::Fat32 => 32,
        }
    }

    /// The most clusters that a file system of this kind may have before it would be read as another.
    pub fn max_clusters(self) -> u64 {
        match self {
            FatKind::Fat12 => 4_084,
            FatKind::Fat16 => 65_524,
            FatKind::Fat32 => 0x0FFF_FFF5,
        }
    }
}

/// What a FAT file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FatInfo {
    /// Its variant.
    pub kind: FatKind,
    /// Bytes of one of its sectors.
    pub sector_bytes: u64,
    /// Bytes of one cluster.
    pub cluster_bytes: u64,
    /// How many clusters it has.
    pub clusters: u64,
    /// Its length, from the boot sector to the last sector.
    pub size_bytes: u64,
}

/// A boot sector's geometry, in sectors of the file system where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Boot {
    pub kind: FatKind,
    pub sector_bytes: u64,
    pub cluster_sectors: u64,
    pub reserved: u64,
    pub fat_copies: u64,
    pub fat_sectors: u64,
    pub root_dir_sectors: u64,
    pub total: u64,
    pub clusters: u64,
    pub media: u8,
    pub hidden: u32,
    /// FAT32 may keep a single copy up to date instead of mirroring.
    pub single_active_fat: Option<u64>,
    pub root_cluster: Option<u64>,
    pub fsinfo: Option<u64>,
    pub backup: Option<u64>,
    pub total_in_16_bits: bool,
}

/// Whether a sector has the marks that every FAT boot sector has, and NTFS, exFAT and MBRs have not.
pub(super) fn looks_like_fat(sector: &[u8; SECTOR_BYTES_MIN]) -> bool {
    let jump = matches!((sector[0], sector[2]), (0xEB, 0x90) | (0xE9, _));
    jump && sector[SIGNATURE..] == [0x55, 0xAA]
        && matches!(le16(sector, BYTES_PER_SECTOR), 512 | 1024 | 2048 | 4096)
        && sector[SECTORS_PER_CLUSTER].is_power_of_two()
        && le16(sector, RESERVED_SECTORS) > 0
        && matches!(sector[FAT_COPIES], 1..=4)
        && (sector[MEDIA] == 0xF0 || sector[MEDIA] >= 0xF8)
}

impl Boot {
    /// Reads the geometry of a sector that [`looks_like_fat`] and checks it against the partition at `at`.
    pub fn parse(sector: &[u8; SECTOR_BYTES_MIN], at: Extent) -> Result<Boot> {
        let sector_bytes = u64::from(le16(sector, BYTES_PER_SECTOR));
        let root_bytes = u64::from(le16(sector, ROOT_ENTRIES)) * DIR_ENTRY_BYTES;
        let root_dir_sectors = root_bytes.div_ceil(sector_bytes);
        let (total_16, total_32) = (le16(sector, TOTAL_SECTORS_16), le32(sector, TOTAL_SECTORS_32));
        let total = if total_16 != 0 { u64::from(total_16) } else { u64::from(total_32) };
        let fat_sectors_16 = u64::from(le16(sector, FAT_SECTORS_16));
        let is_fat32 = fat_sectors_16 == 0;
        let fat_sectors = if is_fat32 { u64::from(le32(sector, FAT_SECTORS_32)) } else { fat_sectors_16 };
        let flags = le16(sector, EXT_FLAGS);
        let mut boot = Boot {
            kind: FatKind::Fat32,
            sector_bytes,
            cluster_sectors: u64::from(sector[SECTORS_PER_CLUSTER]),
            reserved: u64::from(le16(sector, RESERVED_SECTORS)),
            fat_copies: u64::from(sector[FAT_COPIES]),
            fat_sectors,
            root_dir_sectors,
            total,
            clusters: 0,
            media: sector[MEDIA],
            hidden: le32(sector, HIDDEN_SECTORS),
            single_active_fat: (is_fat32 && flags & 0x80 != 0).then_some(u64::from(flags & 0x0F)),
            root_cluster: is_fat32.then(|| u64::from(le32(sector, ROOT_CLUSTER))),
            fsinfo: is_fat32.then(|| pointed_sector(sector, FSINFO_SECTOR)).flatten(),
            backup: is_fat32.then(|| pointed_sector(sector, BACKUP_SECTOR)).flatten(),
            total_in_16_bits: total_16 != 0,
        };
        if fat_sectors == 0 {
            return Err(bad(at, "its boot sector gives its table no sectors"));
        }
        if total * sector_bytes > at.len_bytes {
            return Err(bad(
                at,
                format!("its boot sector claims {total} sectors, more than the partition has"),
            ));
        }
        boot.clusters = boot
            .clusters_for(total, fat_sectors)
            .filter(|clusters| *clusters > 0)
            .ok_or_else(|| bad(at, "its tables and root directory leave no room for data"))?;
        if !is_fat32 {
            let is_fat12 = boot.clusters <= FatKind::Fat12.max_clusters();
            boot.kind = if is_fat12 { FatKind::Fat12 } else { FatKind::Fat16 };
        }
        boot.check(at)?;
        Ok(boot)
    }

    fn check(&self, at: Extent) -> Result<()> {
        let Boot { clusters, .. } = *self;
        if clusters > self.kind.max_clusters() {
            return Err(bad(at, format!("{clusters} clusters are too many for its kind ({:?})", self.kind)));
        }
        if self.entries(self.fat_sectors) < clusters + RESERVED_ENTRIES {
            return Err(bad(at, format!("its table is too small for its {clusters} clusters")));
        }
        if self.kind == FatKind::Fat32 {
            if self.root_dir_sectors != 0 {
                return Err(bad(at, "it is a FAT32 with a fixed root directory"));
            }
            if !self.root_cluster.is_some_and(|root| self.is_cluster(root)) {
                return Err(bad(at, "its root directory begins outside of it"));
            }
            if self.single_active_fat.is_some_and(|active| active >= self.fat_copies) {
                return Err(bad(at, "its active table is one that it doesn't have"));
            }
            let in_reserved = |sector: Option<u64>| sector.is_none_or(|sector| sector < self.reserved);
            if !in_reserved(self.fsinfo)
                || !in_reserved(self.backup)
                || self.fsinfo == self.backup.or(Some(0))
            {
                return Err(bad(at, "its FSInfo or backup boot sector lies where it can't"));
            }
        } else if self.root_dir_sectors == 0 {
            return Err(bad(at, "it has no root directory"));
        }
        Ok(())
    }

    /// The geometry of this file system grown to fill `target`. The tables never shrink, and grow until every
    /// cluster has an entry.
    pub fn grown(&self, source: Extent, target: Extent) -> Result<Boot> {
        let mut total = target.len_bytes / self.sector_bytes;
        if total < self.total {
            return Err(bad(source, format!("its {} sectors don't fit into {total}", self.total)));
        }
        if total > u64::from(u32::MAX) {
            return Err(bad(source, "a FAT can't have more than 4294967295 sectors"));
        }
        let (mut fat_sectors, mut clusters) = self.fill(total);
        let with_old_table = self.entries(self.fat_sectors) - RESERVED_ENTRIES;
        if fat_sectors > self.fat_sectors && clusters < with_old_table {
            // So little was added that a larger table would eat more than it: keep the table, leave the rest.
            (fat_sectors, clusters) = (self.fat_sectors, with_old_table);
            total = self.data_start(fat_sectors) + clusters * self.cluster_sectors;
        }
        if clusters > self.kind.max_clusters() {
            let most = self.kind.max_clusters() * self.cluster_sectors * self.sector_bytes;
            return Err(bad(
                source,
                format!(
                    "it can't grow to {} bytes: {:?} with clusters of {} bytes ends at about {most}",
                    target.len_bytes,
                    self.kind,
                    self.cluster_sectors * self.sector_bytes
                ),
            ));
        }
        if self.kind != FatKind::Fat32 && fat_sectors > u64::from(u16::MAX) {
            return Err(bad(source, "its table would need more than 65535 sectors"));
        }
        // The number of sectors before the partition, where the formatter knew it, moves with the partition.
        let first_sector = |extent: Extent| u32::try_from(extent.offset_bytes / self.sector_bytes).ok();
        let hidden = match (first_sector(source), first_sector(target)) {
            (Some(old), Some(new)) if old == self.hidden => new,
            _ => self.hidden,
        };
        let total_in_16_bits = self.total_in_16_bits && total <= u64::from(u16::MAX);
        Ok(Boot { fat_sectors, total, clusters, hidden, total_in_16_bits, ..self.clone() })
    }

    /// The smallest table, not below the present one, that has an entry for every cluster of `total` sectors; and
    /// the number of these clusters.
    fn fill(&self, total: u64) -> (u64, u64) {
        let mut fat_sectors = self.fat_sectors;
        // Each turn needs more sectors and leaves fewer clusters, so it ends.
        loop {
            let clusters = self.clusters_for(total, fat_sectors).unwrap_or(0);
            let needed = self.fat_sectors_for(clusters);
            if needed <= fat_sectors {
                return (fat_sectors, clusters);
            }
            fat_sectors = needed;
        }
    }

    /// Writes the fields in which `self` may differ from the geometry that it grew from.
    pub fn patch(&self, sector: &mut [u8]) {
        let total = self.total as u32;
        let (total_16, total_32) = if self.total_in_16_bits { (total as u16, 0) } else { (0, total) };
        put16(sector, TOTAL_SECTORS_16, total_16);
        put32(sector, TOTAL_SECTORS_32, total_32);
        match self.kind {
            FatKind::Fat32 => put32(sector, FAT_SECTORS_32, self.fat_sectors as u32),
            FatKind::Fat12 | FatKind::Fat16 => put16(sector, FAT_SECTORS_16, self.fat_sectors as u16),
        }
        put32(sector, HIDDEN_SECTORS, self.hidden);
    }

    pub fn info(&self) -> FatInfo {
        FatInfo {
            kind: self.kind,
            sector_bytes: self.sector_bytes,
            cluster_bytes: self.cluster_bytes(),
            clusters: self.clusters,
            size_bytes: self.total * self.sector_bytes,
        }
    }

    pub fn cluster_bytes(&self) -> u64 {
        self.cluster_sectors * self.sector_bytes
    }

    /// Where a table copy begins, in bytes from the boot sector.
    pub fn fat_offset_bytes(&self, copy: u64) -> u64 {
        (self.reserved + copy * self.fat_sectors) * self.sector_bytes
    }

    /// Where the fixed root directory (of FAT12 and FAT16) begins, in bytes from the boot sector.
    pub fn root_dir_offset_bytes(&self) -> u64 {
        self.fat_offset_bytes(self.fat_copies)
    }

    /// Where a cluster begins, in bytes from the boot sector.
    pub fn cluster_offset_bytes(&self, cluster: u64) -> u64 {
        self.data_start(self.fat_sectors) * self.sector_bytes
            + (cluster - RESERVED_ENTRIES) * self.cluster_bytes()
    }

    pub fn is_cluster(&self, number: u64) -> bool {
        (RESERVED_ENTRIES..self.clusters + RESERVED_ENTRIES).contains(&number)
    }

    fn data_start(&self, fat_sectors: u64) -> u64 {
        self.reserved + self.fat_copies * fat_sectors + self.root_dir_sectors
    }

    fn clusters_for(&self, total: u64, fat_sectors: u64) -> Option<u64> {
        Some(total.checked_sub(self.data_start(fat_sectors))? / self.cluster_sectors)
    }

    fn entries(&self, fat_sectors: u64) -> u64 {
        fat_sectors * self.sector_bytes * 8 / self.kind.entry_bits()
    }

    fn fat_sectors_for(&self, clusters: u64) -> u64 {
        ((clusters + RESERVED_ENTRIES) * self.kind.entry_bits()).div_ceil(8 * self.sector_bytes)
    }
}

/// A FAT32 sector number where 0 and 0xFFFF mean that there is none.
fn pointed_sector(sector: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(le16(sector, at))).filter(|number| !matches!(number, 0 | 0xFFFF))
}

pub(super) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file system of `total` sectors with the smallest table.
    fn formatted(kind: FatKind, total: u64, cluster_sectors: u64) -> Option<Boot> {
        let mut boot = Boot {
            kind,
            sector_bytes: 512,
            cluster_sectors,
            reserved: 4,
            fat_copies: 2,
            fat_sectors: 1,
            root_dir_sectors: if kind == FatKind::Fat32 { 0 } else { 32 },
            total,
            clusters: 0,
            media: 0xF8,
            hidden: 0,
            single_active_fat: None,
            root_cluster: Some(2),
            fsinfo: None,
            backup: None,
            total_in_16_bits: false,
        };
        (boot.fat_sectors, boot.clusters) = boot.fill(total);
        (1..=kind.max_clusters()).contains(&boot.clusters).then_some(boot)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        /// However little or much is added: no cluster without a table entry, none lost, nothing beyond the end,
        /// and no whole cluster is given away but where a larger table would eat more.
        #[test]
        fn growth_never_loses_clusters_nor_outgrows_the_table(
            kind in prop::sample::select(vec![FatKind::Fat12, FatKind::Fat16, FatKind::Fat32]),
            total in 60_u64..600_000,
            more in prop_oneof![0_u64..40, 0_u64..3_000_000],
            cluster_shift in 0_u32..7,
        ) {
            let Some(old) = formatted(kind, total, 1 << cluster_shift) else { return Ok(()) };
            let extent = |sectors: u64| Extent { offset_bytes: 0, len_bytes: sectors * 512 };
            match old.grown(extent(total), extent(total + more)) {
                Ok(new) => {
                    prop_assert!(new.clusters >= old.clusters && new.clusters <= kind.max_clusters());
                    prop_assert!(new.entries(new.fat_sectors) >= new.clusters + RESERVED_ENTRIES);
                    prop_assert!(new.total <= total + more && new.fat_sectors >= old.fat_sectors);
                    prop_assert_eq!(new.clusters_for(new.total, new.fat_sectors), Some(new.clusters));
                    let given_away = total + more - new.total;
                    let larger_tables = 2 * old.fat_sectors_for(new.clusters + 1).saturating_sub(old.fat_sectors);
                    prop_assert!(given_away == 0 || given_away < larger_tables + old.cluster_sectors * 2);
                }
                Err(_) => {
                    let (_, clusters) = old.fill(total + more);
                    let table_limit = kind != FatKind::Fat32 && old.fat_sectors_for(clusters) > 65_535;
                    prop_assert!(clusters > kind.max_clusters() || table_limit);
                }
            }
        }
    }
}
