//! One partition table in memory: the usable range and the entries.
//!
//! An entry keeps its 128 bytes as they are on the disk, and changes go into the fields concerned, so that names
//! which are not valid UTF-16, undefined attribute bits and unknown type GUIDs survive; so do unused entries that
//! are not all zeros.

use std::collections::BTreeMap;

use ::gpt::disk::LogicalBlockSize;
use ::gpt::header::Header;
use ::gpt::partition::Partition;
use uuid::Uuid;

use super::{ENTRY_LEN, codec};
use crate::disk::Extent;
use crate::error::{Error, Result};

/// UTF-16 code units that a partition's name has room for.
pub const NAME_UNITS: usize = 36;

/// Where the name lies in an entry.
const NAME_AT: usize = 56;

/// A run of sectors; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First sector.
    pub first_lba: u64,
    /// Last sector.
    pub last_lba: u64,
}

impl Span {
    /// A span of `sectors` sectors, at least one.
    pub fn new(first_lba: u64, sectors: u64) -> Span {
        Span { first_lba, last_lba: first_lba + sectors - 1 }
    }

    /// How many sectors it has.
    pub fn sectors(&self) -> u64 {
        self.last_lba - self.first_lba + 1
    }

    /// Whether the two have a sector in common.
    pub fn overlaps(&self, other: &Span) -> bool {
        self.first_lba <= other.last_lba && other.first_lba <= self.last_lba
    }
}

/// A used entry of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    raw: [u8; ENTRY_LEN],
    partition: Partition,
}

impl Entry {
    fn decode(raw: &[u8]) -> Result<Option<Entry>> {
        let partition = codec::decode_entry(raw).map_err(|source| bad_entry(&source))?;
        let raw = raw.try_into().map_err(|_| bad_entry(&"it is not 128 bytes long"))?;
        Ok(partition.map(|partition| Entry { raw, partition }))
    }

    /// The entry with some of its fields changed; the name field stays as it is unless `rename` says otherwise.
    fn edited(&self, rename: bool, edit: impl FnOnce(&mut Partition)) -> Result<Entry> {
        let mut partition = self.partition.clone();
        edit(&mut partition);
        let encoded = codec::encode_entry(&partition).map_err(|source| bad_entry(&source))?;
        let mut raw = self.raw;
        let end = if rename { ENTRY_LEN } else { NAME_AT };
        raw[..end].copy_from_slice(&encoded[..end]);
        Ok(Entry { raw, partition })
    }

    /// The same partition at another place.
    pub fn at(&self, span: Span) -> Result<Entry> {
        self.edited(false, |partition| {
            partition.first_lba = span.first_lba;
            partition.last_lba = span.last_lba;
        })
    }

    /// The same partition under another name and unique GUID.
    pub fn renamed(&self, name: String, guid: Uuid) -> Result<Entry> {
        self.edited(true, |partition| {
            partition.name = name;
            partition.part_guid = guid;
        })
    }

    /// The partition's name; what is no valid UTF-16 in it shows as U+FFFD.
    pub fn name(&self) -> &str {
        &self.partition.name
    }

    /// The name's code units, up to the first zero.
    pub fn name_units(&self) -> Vec<u16> {
        self.raw[NAME_AT..]
            .chunks_exact(2)
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .take_while(|unit| *unit != 0)
            .collect()
    }

    /// The partition's unique GUID.
    pub fn guid(&self) -> Uuid {
        self.partition.part_guid
    }

    /// The GUID that says what kind of partition it is.
    pub fn type_guid(&self) -> Uuid {
        self.partition.part_type_guid.guid
    }

    /// The 64 attribute bits.
    pub fn attributes(&self) -> u64 {
        self.partition.flags
    }

    /// The sectors that it occupies.
    pub fn span(&self) -> Span {
        Span { first_lba: self.partition.first_lba, last_lba: self.partition.last_lba }
    }

    /// The 128 bytes.
    pub fn raw(&self) -> &[u8; ENTRY_LEN] {
        &self.raw
    }
}

fn bad_entry(why: &dyn std::fmt::Display) -> Error {
    Error::BadContent { what: "partition entry".to_owned(), why: why.to_string() }
}

/// A partition table, in the form of its primary copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub(super) sector_size: LogicalBlockSize,
    pub(super) header: Header,
    pub(super) array: Vec<u8>,
    entries: BTreeMap<u32, Entry>,
}

impl Table {
    /// A table of a primary `header` and the bytes of its entry array; checks that its partitions are ones that
    /// can be worked with.
    pub(super) fn new(header: Header, array: Vec<u8>, sector_size: LogicalBlockSize) -> Result<Table> {
        let mut entries = BTreeMap::new();
        for (index, raw) in (1..).zip(array.chunks_exact(ENTRY_LEN)) {
            if let Some(entry) = Entry::decode(raw)? {
                entries.insert(index, entry);
            }
        }
        let table = Table { sector_size, header, array, entries };
        table.check_partitions()?;
        Ok(table)
    }

    fn check_partitions(&self) -> Result<()> {
        let bad = |index: &u32, why: &str| {
            Err(Error::BadContent { what: format!("partition {index}"), why: why.to_owned() })
        };
        let mut by_start: Vec<(&u32, Span)> = self.entries.iter().map(|(i, e)| (i, e.span())).collect();
        by_start.sort_by_key(|(_, span)| *span);
        for (index, span) in &by_start {
            if span.first_lba > span.last_lba {
                return bad(index, "it ends before it begins");
            }
            if span.first_lba < self.header.first_usable || span.last_lba > self.header.last_usable {
                return bad(index, "it lies outside of the space that the table's header calls usable");
            }
        }
        for pair in by_start.windows(2) {
            if pair[0].1.overlaps(&pair[1].1) {
                return bad(pair[1].0, &format!("it overlaps partition {}", pair[0].0));
            }
        }
        Ok(())
    }

    /// Bytes of a sector: 512 or 4096.
    pub fn sector_len(&self) -> u64 {
        self.sector_size.as_u64()
    }

    /// The sectors in which partitions may lie.
    pub fn usable(&self) -> Span {
        Span { first_lba: self.header.first_usable, last_lba: self.header.last_usable }
    }

    /// The disk's GUID.
    pub fn disk_guid(&self) -> Uuid {
        self.header.disk_guid
    }

    /// How many entries the table has room for.
    pub fn capacity(&self) -> u32 {
        self.header.num_parts
    }

    /// The used entries with their index from 1, by index.
    pub fn entries(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.entries.iter().map(|(index, entry)| (*index, entry))
    }

    /// The entry with that index, if it is used.
    pub fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(&index)
    }

    /// Puts `entry` at `index`, which lies within 1 and [`Table::capacity`].
    pub fn set(&mut self, index: u32, entry: Entry) {
        self.slot(index).copy_from_slice(entry.raw());
        self.entries.insert(index, entry);
    }

    /// Empties the entry at `index`.
    pub fn clear(&mut self, index: u32) {
        self.slot(index).fill(0);
        self.entries.remove(&index);
    }

    fn slot(&mut self, index: u32) -> &mut [u8] {
        let start = (index as usize - 1) * ENTRY_LEN;
        &mut self.array[start..start + ENTRY_LEN]
    }

    /// The bytes on the disk that `span` covers.
    pub fn extent(&self, span: Span) -> Extent {
        Extent {
            offset_bytes: span.first_lba * self.sector_len(),
            len_bytes: span.sectors() * self.sector_len(),
        }
    }

    /// Sectors that the entry array takes.
    pub(super) fn array_sectors(&self) -> u64 {
        (self.array.len() as u64).div_ceil(self.sector_len())
    }
}
