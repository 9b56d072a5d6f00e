//! What each byte of a disk belongs to, by its table: the answer to "where is offset X" in a person's terms, and
//! the whole fields and gaps that masks are made of.

use std::fmt;
use std::ops::Range;

use super::Gpt;
use super::copy::{HEADER_FIELDS, Side};
use super::entry::{ENTRY_BYTES, ENTRY_FIELDS, Partition};

/// Where in a disk a byte lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Sector 0.
    ProtectiveMbr,
    /// A header, and the field within it (none after the last one that is defined).
    Header(Side, Option<&'static str>),
    /// An entry array: number of the entry, its label where it is used, the field.
    Entry(Side, u32, Option<String>, Option<&'static str>),
    /// A partition's label, and the offset within it.
    Partition(String, u64),
    /// Space that belongs to nothing, and the offset on the disk.
    Unallocated(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProtectiveMbr => f.write_str("protective MBR"),
            Self::Header(side, Some(field)) => write!(f, "{side} GPT header, {field}"),
            Self::Header(side, None) => write!(f, "{side} GPT header, after its last field"),
            Self::Entry(side, index, label, field) => {
                write!(f, "{side} GPT entry {index}")?;
                if let Some(label) = label {
                    write!(f, " (`{label}`)")?;
                }
                write!(f, ", {}", field.unwrap_or("after its last field"))
            }
            Self::Partition(label, offset) => write!(f, "`{label}`+{offset:#x}"),
            Self::Unallocated(offset) => write!(f, "unallocated space at {offset:#x}"),
        }
    }
}

/// The structures of a disk by byte range.
#[derive(Clone, Debug)]
pub struct Layout {
    sector_bytes: u64,
    headers: Vec<(Side, Range<u64>)>,
    arrays: Vec<(Side, Range<u64>, u64)>,
    partitions: Vec<Partition>,
    len_bytes: u64,
}

impl Layout {
    /// By the table's best copy; `None` where neither is valid.
    pub fn of(gpt: &Gpt) -> Option<Self> {
        let best = gpt.best()?;
        let sector_bytes = u64::from(gpt.sector_bytes);
        let copies = [&gpt.primary, &gpt.backup].into_iter().filter(|copy| copy.header_is_good());
        let mut headers = Vec::new();
        let mut arrays = Vec::new();
        for copy in copies {
            let start = copy.lba.saturating_mul(sector_bytes);
            headers.push((copy.side, start..start.saturating_add(sector_bytes)));
            if let (Some(extent), Some(header)) = (copy.array_extent(), &copy.header) {
                arrays.push((copy.side, extent, u64::from(header.entry_bytes).max(ENTRY_BYTES as u64)));
            }
        }
        Some(Self {
            sector_bytes,
            headers,
            arrays,
            partitions: best.partitions.clone(),
            len_bytes: gpt.len_bytes,
        })
    }

    /// The partitions that it goes by.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Where an offset lies.
    pub fn place(&self, offset: u64) -> Place {
        if offset < self.sector_bytes {
            return Place::ProtectiveMbr;
        }
        if let Some((side, at)) = self.headers.iter().find(|(_, at)| at.contains(&offset)) {
            let field = field_at(&HEADER_FIELDS, offset - at.start);
            return Place::Header(*side, field.map(|(name, _)| name));
        }
        if let Some((side, at, entry_bytes)) = self.arrays.iter().find(|(_, at, _)| at.contains(&offset)) {
            let within = offset - at.start;
            let index = u32::try_from(within / entry_bytes + 1).unwrap_or(u32::MAX);
            let label = self.partitions.iter().find(|p| p.index == index).map(|p| p.label.clone());
            let field = field_at(&ENTRY_FIELDS, within % entry_bytes);
            return Place::Entry(*side, index, label, field.map(|(name, _)| name));
        }
        match self.partitions.iter().find(|p| p.extent.contains(&offset)) {
            Some(partition) => Place::Partition(partition.label.clone(), offset - partition.extent.start),
            None => Place::Unallocated(offset),
        }
    }

    /// The whole field of a table that holds this offset; `None` outside the defined fields of headers and arrays.
    pub fn field(&self, offset: u64) -> Option<Range<u64>> {
        if let Some((_, at)) = self.headers.iter().find(|(_, at)| at.contains(&offset)) {
            let (_, range) = field_at(&HEADER_FIELDS, offset - at.start)?;
            return Some(at.start + range.start..at.start + range.end);
        }
        let (_, at, entry_bytes) = self.arrays.iter().find(|(_, at, _)| at.contains(&offset))?;
        let entry = offset - (offset - at.start) % entry_bytes;
        let (_, range) = field_at(&ENTRY_FIELDS, offset - entry)?;
        Some(entry + range.start..entry + range.end)
    }

    /// Protective MBR and primary copy, and the backup copy, where 128 entries of 128 bytes have them: those bytes
    /// are a table's even while no header says so.
    fn usual_places(&self) -> [Range<u64>; 2] {
        let table = self.sector_bytes + (128 * ENTRY_BYTES as u64).next_multiple_of(self.sector_bytes);
        [0..self.sector_bytes + table, self.len_bytes.saturating_sub(table)..self.len_bytes]
    }

    /// What belongs to no partition and no table, in order.
    pub fn unallocated(&self) -> Vec<Range<u64>> {
        let mut used: Vec<Range<u64>> = self.usual_places().to_vec();
        used.extend(self.headers.iter().map(|(_, at)| at.clone()));
        used.extend(self.arrays.iter().map(|(_, at, _)| at.clone()));
        used.extend(self.partitions.iter().map(|p| p.extent.clone()));
        used.sort_by_key(|range| range.start);
        let mut free = Vec::new();
        let mut next = 0;
        for range in used {
            if range.start > next {
                free.push(next..range.start.min(self.len_bytes));
            }
            next = next.max(range.end);
        }
        if next < self.len_bytes {
            free.push(next..self.len_bytes);
        }
        free.retain(|range| !range.is_empty());
        free
    }
}

fn field_at<const N: usize>(
    fields: &[(&'static str, Range<usize>); N],
    within: u64,
) -> Option<(&'static str, Range<u64>)> {
    fields
        .iter()
        .map(|(name, at)| (*name, at.start as u64..at.end as u64))
        .find(|(_, at)| at.contains(&within))
}
