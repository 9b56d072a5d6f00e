//! Where two images differ, byte for byte, at the cost of the chunks that do.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use super::{CHUNK, Image};

impl Image {
    /// Ranges of bytes that differ, in order, neighbours merged. Where one image is longer, what lies behind the other's
    /// end differs, zeros too.
    pub fn diff(&self, other: &Self) -> io::Result<Vec<Range<u64>>> {
        let mut ranges = Vec::new();
        if self.content_id() == other.content_id() {
            return Ok(ranges);
        }
        let common = self.len_bytes.min(other.len_bytes);
        for index in self.differing_chunks(other) {
            let start = index * CHUNK;
            if start >= common {
                break;
            }
            let len = (common - start).min(CHUNK) as usize;
            let (ours, theirs) = (self.load(index)?, other.load(index)?);
            differing_bytes(&ours[..len], &theirs[..len], start, &mut ranges);
        }
        push(&mut ranges, common..self.len_bytes.max(other.len_bytes));
        Ok(ranges)
    }

    /// Chunks whose parts differ, in order.
    fn differing_chunks(&self, other: &Self) -> Vec<u64> {
        let same_base = match (&self.base, &other.base) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        };
        let mut candidates = if same_base { self.changed_entries(other) } else { Vec::new() };
        if !same_base {
            candidates.extend(self.data_chunks(0).map(|(index, _)| index));
            candidates.extend(other.data_chunks(0).map(|(index, _)| index));
        } else if let Some(base) = &self.base {
            // What one of the two hides by having been shorter.
            let (less, more) =
                (self.base_chunks.min(other.base_chunks), self.base_chunks.max(other.base_chunks));
            candidates.extend(base.data_chunks(less..more).map(|(index, _)| index));
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|index| self.part(*index) != other.part(*index));
        candidates
    }

    /// Chunks whose entries in the maps differ; parts of the maps that both share are not visited.
    fn changed_entries(&self, other: &Self) -> Vec<u64> {
        let changes = self.chunks.diff(&other.chunks);
        changes
            .map(|change| match change {
                DiffItem::Add(index, _) | DiffItem::Remove(index, _) => *index,
                DiffItem::Update { new: (index, _), .. } => *index,
            })
            .collect()
    }
}

/// Slices are compared in blocks first, and in words then: random content differs almost everywhere.
const BLOCK_BYTES: usize = 64;
const WORD_BYTES: usize = size_of::<u64>();

/// Appends the ranges in which two slices of the same length differ.
fn differing_bytes(a: &[u8], b: &[u8], start: u64, ranges: &mut Vec<Range<u64>>) {
    let blocks = a.chunks(BLOCK_BYTES).zip(b.chunks(BLOCK_BYTES));
    for ((a, b), at) in blocks.zip((start..).step_by(BLOCK_BYTES)).filter(|((a, b), _)| a != b) {
        let words = a.chunks(WORD_BYTES).zip(b.chunks(WORD_BYTES));
        for ((a, b), at) in words.zip((at..).step_by(WORD_BYTES)) {
            if let (Ok(x), Ok(y)) = (a.try_into(), b.try_into())
                && has_no_zero(u64::from_ne_bytes(x) ^ u64::from_ne_bytes(y))
            {
                push(ranges, at..at + WORD_BYTES as u64);
                continue;
            }
            for (_, at) in a.iter().zip(b).zip(at..).filter(|((a, b), _)| a != b) {
                push(ranges, at..at + 1);
            }
        }
    }
}

/// Whether no byte of a word is zero.
fn has_no_zero(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; WORD_BYTES]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; WORD_BYTES]);
    word.wrapping_sub(ONES) & !word & HIGHS == 0
}

fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}
