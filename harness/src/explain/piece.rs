//! What charts of files are made of: pieces, each a range of bytes that belongs to one thing. Charts of the wanted and
//! the found state are asked together, so that bytes which one of them leaves free are named by the other.

use std::ops::Range;

use super::fields::Spec;
use super::place::{PartitionName, Place, Structure};

/// A stretch of a file that belongs to one thing.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its bytes in the file (in a file system's own chart: from the file system's start).
    pub range: Range<u64>,
    /// The partition that it is in.
    pub partition: Option<PartitionName>,
    /// What it is.
    pub structure: Structure,
    /// Its fields, from the piece's start.
    pub fields: &'static [Spec],
}

impl Piece {
    /// A piece without fields.
    pub fn new(range: Range<u64>, structure: Structure) -> Self {
        Self::with(range, structure, &[])
    }

    /// A piece with fields.
    pub fn with(range: Range<u64>, structure: Structure, fields: &'static [Spec]) -> Self {
        Self { range, partition: None, structure, fields }
    }

    /// The place that it is.
    pub fn place(&self) -> Place {
        Place { partition: self.partition.clone(), structure: self.structure.clone() }
    }

    /// The same piece as it lies in a partition.
    pub fn inside(self, start: u64, partition: &PartitionName) -> Self {
        let range = self.range.start.saturating_add(start)..self.range.end.saturating_add(start);
        Self { range, partition: Some(partition.clone()), ..self }
    }

    /// Moves a place that counts bytes on to an offset inside the piece, which then begins there.
    pub fn from(mut self, at: u64) -> Self {
        let skipped = at.saturating_sub(self.range.start);
        match &mut self.structure {
            Structure::Unallocated { offset }
            | Structure::Ext4Data { offset, .. }
            | Structure::FatReserved { offset }
            | Structure::FatDirectory { offset, .. }
            | Structure::FatData { offset, .. }
            | Structure::Payload { offset, .. }
            | Structure::Bytes { offset } => *offset += skipped,
            Structure::Qcow2Data { guest_offset, .. } => *guest_offset += skipped,
            // The others are told as wholes, and their fields count from their start.
            _ => return self,
        }
        if self.fields.is_empty() {
            self.range.start = at;
        }
        self
    }

    /// Whether it names its bytes better than free space and unknown bytes do.
    pub fn is_telling(&self) -> bool {
        let unknown = matches!(
            self.structure,
            Structure::Bytes { .. } | Structure::Payload { content: super::place::Content::Unknown, .. }
        );
        !unknown && !self.structure.is_free()
    }
}

/// Bytes of a structure that a chart has found: sorted by start, looked up by offset.
#[derive(Debug)]
pub struct Extents<T> {
    list: Vec<(Range<u64>, T)>,
}

impl<T> Extents<T> {
    /// From ranges in any order. Of several that begin at one byte the first counts; where a damaged structure claims
    /// bytes twice otherwise, either claim may be found.
    pub fn new(mut list: Vec<(Range<u64>, T)>) -> Self {
        list.retain(|(range, _)| !range.is_empty());
        list.sort_by_key(|(range, _)| range.start);
        list.dedup_by_key(|(range, _)| range.start);
        Self { list }
    }

    /// What has this offset: its range, and what it is; else the free range around the offset, up to `end`.
    pub fn at(&self, offset: u64, end: u64) -> Result<(Range<u64>, &T), Range<u64>> {
        let next = self.list.partition_point(|(range, _)| range.start <= offset);
        let before = next.checked_sub(1).and_then(|index| self.list.get(index));
        if let Some((range, what)) = before.filter(|(range, _)| range.contains(&offset)) {
            return Ok((range.clone(), what));
        }
        let start = before.map_or(0, |(range, _)| range.end);
        let end = self.list.get(next).map_or(end, |(range, _)| range.start.min(end));
        Err(start.min(offset)..end.max(offset + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_found_in_its_range_or_in_the_gap_around_it() {
        let extents = Extents::new(vec![(30..40, 'b'), (10..20, 'a'), (50..50, 'x'), (10..15, 'y')]);
        for (offset, expected) in [
            (10, Ok((10..20, 'a'))),
            (19, Ok((10..20, 'a'))),
            (20, Err(20..30)),
            (0, Err(0..10)),
            (39, Ok((30..40, 'b'))),
            (99, Err(40..100)),
            (200, Err(40..201)),
        ] {
            assert_eq!(extents.at(offset, 100).map(|(range, what)| (range, *what)), expected, "{offset}");
        }
    }
}
