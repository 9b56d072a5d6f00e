//! The chart of a disk with a GUID partition table: protective MBR, headers, entries and partitions by what both copies
//! say, and in each partition its file system's own chart.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;

use super::fields::{Form, Spec};
use super::file_system::FileSystem;
use super::piece::{Extents, Piece};
use super::place::{PartitionName, Structure, TableCopy};
use crate::gpt::{Copy, ENTRY_BYTES, Gpt, Partition, Side};
use crate::image::Bytes;

/// Entries that are told apart; a table that claims more is damaged.
const MAX_ENTRIES: u64 = 1 << 16;

/// Fields of sector 0 (UEFI 2.10 §5.2.3).
const MBR: [Spec; 9] = [
    ("boot code", 0..440, Form::Raw),
    ("disk signature", 440..446, Form::LeHex),
    ("protective partition's boot flag", 446..447, Form::LeHex),
    ("protective partition's CHS addresses", 447..450, Form::Raw),
    ("protective partition's type", 450..454, Form::LeHex),
    ("protective partition's first LBA", 454..458, Form::Le),
    ("protective partition's length in blocks", 458..462, Form::Le),
    ("other partition records", 462..510, Form::Raw),
    ("boot signature", 510..512, Form::LeHex),
];

/// Fields of a header (UEFI 2.10 §5.3.2).
const HEADER: [Spec; 14] = [
    ("signature", 0..8, Form::Text),
    ("revision", 8..12, Form::LeHex),
    ("header size", 12..16, Form::Le),
    ("reserved field", 20..24, Form::LeHex),
    ("own LBA", 24..32, Form::Le),
    ("alternate LBA", 32..40, Form::Le),
    ("first usable LBA", 40..48, Form::Le),
    ("last usable LBA", 48..56, Form::Le),
    ("disk GUID", 56..72, Form::Guid),
    ("array LBA", 72..80, Form::Le),
    ("entry count", 80..84, Form::Le),
    ("entry size", 84..88, Form::Le),
    ("array CRC", 88..92, Form::LeCrc),
    // It covers the one before, so it tells least.
    ("header CRC", 16..20, Form::LeCrc),
];

/// Fields of an entry (UEFI 2.10 §5.3.3).
const ENTRY: [Spec; 6] = [
    ("type GUID", 0..16, Form::Guid),
    ("unique GUID", 16..32, Form::Guid),
    ("first LBA", 32..40, Form::Le),
    ("last LBA", 40..48, Form::Le),
    ("attributes", 48..56, Form::LeHex),
    ("name", 56..128, Form::Utf16),
];

/// A part of a disk.
#[derive(Debug)]
enum Part {
    Mbr,
    Header(TableCopy),
    Array(TableCopy, u64),
    Partition(usize),
}

/// A disk's structures by byte range.
#[derive(Debug)]
pub struct DiskChart {
    parts: Extents<Part>,
    partitions: Vec<(Partition, OnceCell<FileSystem>)>,
    /// Names of the entries of each copy, valid or not.
    labels: HashMap<(TableCopy, u32), String>,
    len_bytes: u64,
}

impl DiskChart {
    /// By the table's best copy; where neither is valid, the table's structures are still named, at their usual places.
    pub fn of(gpt: &Gpt) -> Option<Self> {
        if !gpt.is_present() {
            return None;
        }
        let sector = u64::from(gpt.sector_bytes);
        let partitions: Vec<Partition> = gpt.partitions().into_iter().cloned().collect();
        let mut parts = vec![(0..sector, Part::Mbr)];
        let table = [(&gpt.primary, TableCopy::Primary), (&gpt.backup, TableCopy::Backup)];
        for (copy, name) in table {
            let header = copy.lba.saturating_mul(sector);
            parts.push((header..header.saturating_add(sector).min(gpt.len_bytes), Part::Header(name)));
            let (array, entry_bytes) = array_of(copy, sector, header);
            parts.push((array.start..array.end.min(gpt.len_bytes), Part::Array(name, entry_bytes)));
        }
        let labels = table.iter().flat_map(|(copy, name)| {
            copy.partitions.iter().map(|partition| ((*name, partition.index), partition.label.clone()))
        });
        let labels = labels.collect();
        let tables = 0..parts.len();
        for (index, partition) in partitions.iter().enumerate() {
            let extent = &partition.extent;
            // The table's own bytes are the table's, whatever a damaged entry claims.
            let over = |table: &Range<u64>| extent.start < table.end && table.start < extent.end;
            if !parts[tables.clone()].iter().any(|(table, _)| over(table)) {
                parts.push((extent.start..extent.end.min(gpt.len_bytes), Part::Partition(index)));
            }
        }
        let partitions = partitions.into_iter().map(|partition| (partition, OnceCell::new())).collect();
        Some(Self { parts: Extents::new(parts), partitions, labels, len_bytes: gpt.len_bytes })
    }

    /// The piece with an offset of the disk.
    pub fn at(&self, disk: &Bytes, offset: u64) -> Piece {
        let (range, part) = match self.parts.at(offset, self.len_bytes) {
            Ok(found) => found,
            Err(free) => return Piece::new(free.clone(), Structure::Unallocated { offset: free.start }),
        };
        match part {
            Part::Mbr => Piece::with(range, Structure::ProtectiveMbr, &MBR),
            Part::Header(copy) => Piece::with(range, Structure::GptHeader { copy: *copy }, &HEADER),
            Part::Array(copy, entry_bytes) => self.entry(&range, *copy, *entry_bytes, offset),
            Part::Partition(index) => self.in_partition(*index, disk, offset, &range),
        }
    }

    fn entry(&self, array: &Range<u64>, copy: TableCopy, entry_bytes: u64, offset: u64) -> Piece {
        let number = (offset - array.start) / entry_bytes;
        let start = array.start + number * entry_bytes;
        let index = u32::try_from(number + 1).unwrap_or(u32::MAX);
        let label = self.labels.get(&(copy, index)).cloned();
        let range = start..(start + entry_bytes).min(array.end);
        Piece::with(range, Structure::GptEntry { copy, index, label }, &ENTRY)
    }

    fn in_partition(&self, index: usize, disk: &Bytes, offset: u64, range: &Range<u64>) -> Piece {
        let (partition, file_system) = &self.partitions[index];
        let chart = file_system.get_or_init(|| FileSystem::in_partition(disk, range));
        let name = PartitionName { index: partition.index, label: partition.label.clone() };
        let piece = chart.at(offset - range.start).inside(range.start, &name);
        Piece { range: piece.range.start..piece.range.end.min(range.end).max(offset + 1), ..piece }
    }
}

/// Where a copy's array lies and how long an entry is: by its header, or as it usually is.
fn array_of(copy: &Copy, sector: u64, header: u64) -> (Range<u64>, u64) {
    let usual_len = 128 * ENTRY_BYTES as u64;
    if let (Some(extent), Some(fields)) = (copy.array_extent(), &copy.header) {
        let entry_bytes = u64::from(fields.entry_bytes).max(ENTRY_BYTES as u64);
        if extent.end - extent.start <= entry_bytes.saturating_mul(MAX_ENTRIES) {
            return (extent, entry_bytes);
        }
    }
    let start = match copy.side {
        Side::Primary => header.saturating_add(sector),
        Side::Backup => header.saturating_sub(usual_len),
    };
    (start..start.saturating_add(usual_len), ENTRY_BYTES as u64)
}
