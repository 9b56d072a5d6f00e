//! The chart of a qcow2 image (QEMU's `docs/interop/qcow2.txt`, versions 2 and 3): header, L1 and L2 tables, refcounts,
//! snapshots, and of every data cluster the guest offset that it holds. Tables are read as far as they make sense.

use std::collections::HashSet;
use std::ops::Range;

use super::fields::{Form, Spec};
use super::file_system::Part;
use super::piece::{Extents, Piece};
use super::place::Structure;

/// L2 tables that are read, of the active disk and of all snapshots together.
const MAX_L2_TABLES: usize = 1 << 12;
/// Data clusters that are noted.
const MAX_CLUSTERS: usize = 1 << 20;
/// Snapshots that are read.
const MAX_SNAPSHOTS: u64 = 1 << 10;
const OFFSET_MASK: u64 = 0x00FF_FFFF_FFFF_FE00;
const COMPRESSED: u64 = 1 << 62;

const HEADER: [Spec; 21] = [
    ("magic", 0..4, Form::BeHex),
    ("version", 4..8, Form::Be),
    ("backing file offset", 8..16, Form::BeHex),
    ("backing file name length", 16..20, Form::Be),
    ("cluster bits", 20..24, Form::Be),
    ("size", 24..32, Form::Be),
    ("encryption", 32..36, Form::Be),
    ("L1 size", 36..40, Form::Be),
    ("L1 table offset", 40..48, Form::BeHex),
    ("refcount table offset", 48..56, Form::BeHex),
    ("refcount table clusters", 56..60, Form::Be),
    ("snapshot count", 60..64, Form::Be),
    ("snapshot table offset", 64..72, Form::BeHex),
    ("incompatible features", 72..80, Form::BeHex),
    ("compatible features", 80..88, Form::BeHex),
    ("autoclear features", 88..96, Form::BeHex),
    ("refcount order", 96..100, Form::Be),
    ("header length", 100..104, Form::Be),
    ("compression", 104..105, Form::Be),
    ("padding", 105..112, Form::Raw),
    ("rest", 112..65_536, Form::Raw),
];
const ENTRY: [Spec; 1] = [("value", 0..8, Form::BeHex)];
const REFCOUNT: [Spec; 1] = [("value", 0..8, Form::Be)];

/// What a stretch of the file is.
#[derive(Debug)]
enum Held {
    Header,
    Extensions,
    L1(Option<String>),
    /// An L2 table: guest offset of its first entry.
    L2(u64, Option<String>),
    RefcountTable,
    /// A refcount block: the first cluster that it counts.
    Refcounts(u64),
    Snapshots,
    Data(u64, Option<String>),
}

/// A qcow2 image's structures by byte.
#[derive(Debug)]
pub struct Qcow2Chart {
    parts: Extents<Held>,
    cluster_bytes: u64,
    refcount_bits: u64,
    len_bytes: u64,
}

fn be(raw: &[u8], at: usize, len: usize) -> u64 {
    let bytes = raw.get(at..at + len).unwrap_or(&[]);
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Qcow2Chart {
    /// Reads the image; none where there is no header that makes sense.
    pub fn read(part: Part<'_>) -> Option<Self> {
        let raw = part.read(0, 104)?;
        let cluster_bits = be(&raw, 20, 4);
        let version = be(&raw, 4, 4);
        if be(&raw, 0, 4) != 0x5146_49FB || !(2..=3).contains(&version) || !(9..=21).contains(&cluster_bits) {
            return None;
        }
        let order = if version == 3 { be(&raw, 96, 4) } else { 4 };
        let header_len = if version == 3 { be(&raw, 100, 4) } else { 72 };
        if order > 6 {
            return None;
        }
        let cluster_bytes = 1 << cluster_bits;
        let mut reader = Reader {
            part,
            cluster_bytes,
            refcount_bits: 1 << order,
            parts: Vec::new(),
            tables: HashSet::new(),
            clusters: 0,
        };
        let header_end = header_len.clamp(72, cluster_bytes);
        reader.note(0..header_end, Held::Header);
        reader.note(header_end..cluster_bytes, Held::Extensions);
        reader.refcounts(be(&raw, 48, 8), be(&raw, 56, 4));
        reader.l1(be(&raw, 40, 8), be(&raw, 36, 4), None);
        reader.snapshots(be(&raw, 64, 8), be(&raw, 60, 4));
        let refcount_bits = reader.refcount_bits;
        let parts = Extents::new(reader.parts);
        Some(Self { parts, cluster_bytes, refcount_bits, len_bytes: part.len_bytes() })
    }

    /// The piece with an offset.
    pub fn at(&self, offset: u64) -> Piece {
        let (range, what) = match self.parts.at(offset, self.len_bytes) {
            Ok(found) => found,
            Err(free) => {
                return Piece::new(free, Structure::Qcow2Free { cluster: offset / self.cluster_bytes });
            }
        };
        let unit = |bytes: u64| {
            let index = (offset - range.start) / bytes;
            let start = range.start + index * bytes;
            (index, start..(start + bytes).min(range.end))
        };
        match what {
            Held::Header => Piece::with(range, Structure::Qcow2Header, &HEADER),
            Held::Extensions => Piece::new(range, Structure::Qcow2Extensions),
            Held::Snapshots => Piece::new(range, Structure::Qcow2Snapshots),
            Held::L1(snapshot) => {
                let (index, range) = unit(8);
                Piece::with(range, Structure::Qcow2L1 { index, snapshot: snapshot.clone() }, &ENTRY)
            }
            Held::L2(first, snapshot) => {
                let (index, range) = unit(8);
                let guest_offset = first.saturating_add(index.saturating_mul(self.cluster_bytes));
                Piece::with(range, Structure::Qcow2L2 { guest_offset, snapshot: snapshot.clone() }, &ENTRY)
            }
            Held::RefcountTable => {
                let (index, range) = unit(8);
                Piece::with(range, Structure::Qcow2RefcountTable { index }, &ENTRY)
            }
            Held::Refcounts(first) => {
                // Counts of less than a byte are told by the first one of their byte.
                let (index, range) = unit(self.refcount_bits.div_ceil(8));
                let cluster = first + index * (8 / self.refcount_bits).max(1);
                Piece::with(range, Structure::Qcow2Refcount { cluster }, &REFCOUNT)
            }
            Held::Data(guest_offset, snapshot) => {
                let structure =
                    Structure::Qcow2Data { guest_offset: *guest_offset, snapshot: snapshot.clone() };
                Piece::new(range, structure)
            }
        }
    }
}

struct Reader<'a> {
    part: Part<'a>,
    cluster_bytes: u64,
    refcount_bits: u64,
    parts: Vec<(Range<u64>, Held)>,
    tables: HashSet<u64>,
    clusters: usize,
}

impl Reader<'_> {
    fn note(&mut self, range: Range<u64>, what: Held) {
        self.parts.push((range.start..range.end.min(self.part.len_bytes()), what));
    }

    /// The entries of a table; none where it is not all there.
    fn table(&self, offset: u64, entries: u64) -> Vec<u64> {
        let raw = entries.checked_mul(8).and_then(|len| self.part.read(offset, len)).unwrap_or_default();
        raw.chunks_exact(8).map(|entry| be(entry, 0, 8)).collect()
    }

    fn refcounts(&mut self, offset: u64, clusters: u64) {
        let len = clusters.saturating_mul(self.cluster_bytes);
        let per_block = self.cluster_bytes * 8 / self.refcount_bits;
        self.note(offset..offset.saturating_add(len), Held::RefcountTable);
        for (block, first) in self.table(offset, len / 8).into_iter().zip((0..).step_by(per_block as usize)) {
            let block = block & OFFSET_MASK;
            if block != 0 {
                self.note(block..block.saturating_add(self.cluster_bytes), Held::Refcounts(first));
            }
        }
    }

    fn l1(&mut self, offset: u64, entries: u64, snapshot: Option<String>) {
        let table = self.table(offset, entries);
        let len = entries.saturating_mul(8);
        self.note(offset..offset.saturating_add(len), Held::L1(snapshot.clone()));
        let per_table = self.cluster_bytes / 8;
        for (l2, index) in table.into_iter().zip(0u64..) {
            let l2 = l2 & OFFSET_MASK;
            // A table that the active disk shares with a snapshot is the active disk's.
            if l2 == 0 || self.tables.len() >= MAX_L2_TABLES || !self.tables.insert(l2) {
                continue;
            }
            let first = index.saturating_mul(per_table).saturating_mul(self.cluster_bytes);
            self.note(l2..l2.saturating_add(self.cluster_bytes), Held::L2(first, snapshot.clone()));
            self.data(l2, first, &snapshot);
        }
    }

    fn data(&mut self, l2: u64, first: u64, snapshot: &Option<String>) {
        for (entry, index) in self.table(l2, self.cluster_bytes / 8).into_iter().zip(0u64..) {
            let host = entry & OFFSET_MASK;
            if entry & COMPRESSED != 0 || host == 0 || self.clusters >= MAX_CLUSTERS {
                continue;
            }
            self.clusters += 1;
            let guest = first.saturating_add(index.saturating_mul(self.cluster_bytes));
            self.note(host..host.saturating_add(self.cluster_bytes), Held::Data(guest, snapshot.clone()));
        }
    }

    /// The list of snapshots: entries of 40 bytes, extra data, id and name, each padded to 8 bytes.
    fn snapshots(&mut self, offset: u64, count: u64) {
        let mut at = offset;
        for _ in 0..count.min(MAX_SNAPSHOTS) {
            let Some(entry) = self.part.read(at, 40) else { break };
            let (id_len, name_len, extra) = (be(&entry, 12, 2), be(&entry, 14, 2), be(&entry, 36, 4));
            let names = at.saturating_add(40).saturating_add(extra);
            let name = names.checked_add(id_len).and_then(|start| self.part.read(start, name_len));
            let name = String::from_utf8_lossy(&name.unwrap_or_default()).escape_debug().to_string();
            self.l1(be(&entry, 0, 8), be(&entry, 8, 4), Some(name));
            let end = names.saturating_add(id_len).saturating_add(name_len);
            let Some(next) = end.checked_next_multiple_of(8) else { break };
            at = next;
        }
        self.note(offset..at, Held::Snapshots);
    }
}

#[cfg(test)]
mod tests;
