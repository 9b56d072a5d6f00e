//! Reads the GUID partition table of a disk image, valid or not (UEFI 2.10 §5.3), and samples its integrity.
//!
//! Written on its own, from the standard, apart from any code that writes tables in this project, so that one
//! mistake can't hide in both. Any bytes of any length are read without panic; an error is only one of reading.

pub mod check;
mod copy;
mod entry;
mod layout;
#[cfg(test)]
mod tests;

use std::io;

use reports::event::GptSample;

use crate::image::ReadAt;

pub use copy::{Copy, Fault, HEADER_FIELDS, Header, Side};
pub use entry::{ENTRY_BYTES, ENTRY_FIELDS, Guid, Partition};
pub use layout::{Layout, Place};

/// Sector sizes that are told apart.
const SECTOR_SIZES: [u32; 2] = [512, 4096];

/// Both copies of a disk's table.
#[derive(Clone, Debug)]
pub struct Gpt {
    /// Logical sector size in bytes that the table was written for.
    pub sector_bytes: u32,
    /// Length of the disk.
    pub len_bytes: u64,
    /// What sector 0 says, where it holds a protective MBR (a partition of type 0xEE).
    pub protective_mbr: Option<ProtectiveMbr>,
    /// Copy at the start.
    pub primary: Copy,
    /// Copy at the primary's alternate LBA, or at the disk's last sector where that holds a better one.
    pub backup: Copy,
}

/// The protective MBR (UEFI 2.10 §5.2.3), as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectiveMbr {
    /// First block of the protective partition.
    pub first_lba: u32,
    /// Its length in blocks; all ones where the disk is too long for it.
    pub blocks: u32,
    /// Partitions besides it: a hybrid MBR, by which some readers go in place of the GPT.
    pub others: usize,
}

impl Gpt {
    /// Reads both copies, for the sector size that explains most of what is there (512 where nothing does).
    pub fn read(disk: &dyn ReadAt) -> io::Result<Self> {
        let len_bytes = disk.len_bytes()?;
        let protective_mbr = read_protective_mbr(disk, len_bytes)?;
        let mut best: Option<(u32, Self)> = None;
        for sector in SECTOR_SIZES {
            let gpt = Self::read_as(disk, len_bytes, sector, protective_mbr)?;
            let mut score = 4 * (weight(&gpt.primary) + weight(&gpt.backup));
            if protective_mbr.is_some_and(|mbr| (u64::from(mbr.blocks) + 1) * u64::from(sector) == len_bytes)
            {
                score += 1;
            }
            if best.as_ref().is_none_or(|(top, _)| score > *top) {
                best = Some((score, gpt));
            }
        }
        best.map(|(_, gpt)| gpt).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn read_as(
        disk: &dyn ReadAt,
        len_bytes: u64,
        sector: u32,
        protective_mbr: Option<ProtectiveMbr>,
    ) -> io::Result<Self> {
        let primary = Copy::read(disk, len_bytes, sector, Side::Primary, 1)?;
        let last_lba = (len_bytes / u64::from(sector)).saturating_sub(1);
        let named = primary.header.as_ref().filter(|_| primary.header_is_good()).map(|h| h.alternate_lba);
        let mut backup = Copy::read(disk, len_bytes, sector, Side::Backup, named.unwrap_or(last_lba))?;
        // A table that is being moved to the end of a grown disk has its new backup there first.
        if !backup.is_valid() && backup.lba != last_lba {
            let at_end = Copy::read(disk, len_bytes, sector, Side::Backup, last_lba)?;
            if weight(&at_end) > weight(&backup) {
                backup = at_end;
            }
        }
        Ok(Self { sector_bytes: sector, len_bytes, protective_mbr, primary, backup })
    }

    /// Whether anything says that this disk has, or had, a GPT.
    pub fn is_present(&self) -> bool {
        self.protective_mbr.is_some() || self.primary.header.is_some() || self.backup.header.is_some()
    }

    /// The copy that a reader goes by: the primary where it is valid, else the backup where that is.
    pub fn best(&self) -> Option<&Copy> {
        [&self.primary, &self.backup].into_iter().find(|copy| copy.is_valid())
    }

    /// The partitions by the best copy, in table order; none where neither copy is valid.
    pub fn partitions(&self) -> Vec<&Partition> {
        self.best().map_or_else(Vec::new, |copy| copy.partitions.iter().collect())
    }

    /// The sample of this table for the statistics.
    pub fn sample(&self) -> GptSample {
        let header_crc = !self.primary.header_is_good() || !self.backup.header_is_good();
        let torn_primary = self.primary.is_torn();
        let torn_backup = self.backup.is_torn();
        let mismatch = !self.disagreements().is_empty();
        let no_valid_copy = self.best().is_none();
        let clean = !(header_crc || torn_primary || torn_backup || mismatch || no_valid_copy);
        GptSample { clean, header_crc, torn_primary, torn_backup, mismatch, no_valid_copy }
    }

    /// In what the copies disagree, each in words; nothing where a header can't be trusted, since there is then
    /// nothing to compare with.
    pub fn disagreements(&self) -> Vec<String> {
        let (Some(primary), Some(backup)) = (&self.primary.header, &self.backup.header) else {
            return Vec::new();
        };
        if !self.primary.header_is_good() || !self.backup.header_is_good() {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut compare = |what: &str, a: String, b: String| {
            if a != b {
                found.push(format!("{what} is {a} in the primary header, {b} in the backup header"));
            }
        };
        compare("disk GUID", primary.disk_guid.to_string(), backup.disk_guid.to_string());
        compare(
            "first usable LBA",
            primary.first_usable_lba.to_string(),
            backup.first_usable_lba.to_string(),
        );
        compare("last usable LBA", primary.last_usable_lba.to_string(), backup.last_usable_lba.to_string());
        compare("entry count", primary.entry_count.to_string(), backup.entry_count.to_string());
        compare("entry size", primary.entry_bytes.to_string(), backup.entry_bytes.to_string());
        if primary.alternate_lba != backup.own_lba {
            found.push(format!(
                "primary names LBA {} as its alternate, the backup is at {}",
                primary.alternate_lba, backup.own_lba
            ));
        }
        if backup.alternate_lba != primary.own_lba {
            found.push(format!(
                "backup names LBA {} as its alternate, the primary is at {}",
                backup.alternate_lba, primary.own_lba
            ));
        }
        if self.primary.array != self.backup.array {
            found.extend(self.differing_entries(primary.entry_bytes));
        }
        found
    }

    /// Names the fields in which the copies' entries differ, at most eight, then a count.
    fn differing_entries(&self, entry_bytes: u32) -> Vec<String> {
        const SHOWN: usize = 8;
        let (a, b) = (&self.primary.array, &self.backup.array);
        if a.len() != b.len() || entry_bytes == 0 {
            return vec![format!("entry arrays are {} and {} bytes long", a.len(), b.len())];
        }
        let size = entry_bytes as usize;
        let differing: Vec<(u32, &[u8], &[u8])> = (1..)
            .zip(a.chunks(size).zip(b.chunks(size)))
            .filter(|(_, (x, y))| x != y)
            .map(|(index, (x, y))| (index, x, y))
            .collect();
        let mut found: Vec<String> = differing
            .iter()
            .take(SHOWN)
            .map(|(index, x, y)| {
                let fields: Vec<&str> = ENTRY_FIELDS
                    .iter()
                    .filter(|(_, at)| x.get(at.clone()) != y.get(at.clone()))
                    .map(|(name, _)| *name)
                    .collect();
                let label = [x, y]
                    .into_iter()
                    .find_map(|raw| Partition::decode(*index, raw, self.sector_bytes))
                    .map_or_else(String::new, |partition| format!(" (`{}`)", partition.label));
                format!("entry {index}{label} differs between the copies in {}", fields.join(", "))
            })
            .collect();
        if differing.len() > SHOWN {
            found.push(format!("{} more entries differ", differing.len() - SHOWN));
        }
        found
    }
}

/// How much speaks for a copy being one: signature, trusted header, valid array.
fn weight(copy: &Copy) -> u32 {
    u32::from(copy.header.is_some()) + 2 * u32::from(copy.header_is_good()) + 4 * u32::from(copy.is_valid())
}

fn read_protective_mbr(disk: &dyn ReadAt, len_bytes: u64) -> io::Result<Option<ProtectiveMbr>> {
    let Some(mbr) = copy::sector_at(disk, len_bytes, 512, 0)? else { return Ok(None) };
    if mbr[510..512] != [0x55, 0xAA] {
        return Ok(None);
    }
    // A record's type is its byte 4, zero where it is unused; its first block and its length are at 8 and 12.
    let records = || mbr[446..510].chunks_exact(16);
    let u32_at = |record: &[u8], at: usize| entry::array(record, at).map_or(0, u32::from_le_bytes);
    Ok(records().find(|record| record[4] == 0xEE).map(|record| ProtectiveMbr {
        first_lba: u32_at(record, 8),
        blocks: u32_at(record, 12),
        others: records().filter(|record| record[4] != 0).count() - 1,
    }))
}
