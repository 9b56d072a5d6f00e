//! The redo journal of a shrink: the new content of blocks that the old file system uses, kept where neither the
//! old file system nor the new partition has anything, until it is applied.
//!
//! ```text
//! marker (512 bytes, on the grid) -> index block -> index block -> ... (each with the hash of the next)
//!                                     | entries: destination, source, count, hash
//!                                     +-> content, in runs of blocks
//! ```
//!
//! All of it but the marker is durable before the marker is written; the marker is durable before anything is
//! applied, and cleared only when that is durable. It says which partition it belongs to and where it lies itself,
//! so that a copy of it elsewhere is never obeyed. All hashes are checked before the first byte is applied.

mod format;

use format::{HASH_BYTES, MARKER_BYTES, Marker, Piece, content_hash, encode_index, entries_per_index};

use super::bad;
use super::layout::Source;
use super::usage::{Run, Usage};
use crate::disk::{Disk, Extent};
use crate::error::{Error, Result};
use crate::patch::{self, Patch, WRITE_MAX_BYTES};

/// Markers lie at multiples of this.
const GRID_BYTES: u64 = 64 * 1024;
/// That many grid positions before the end, and as many spread over the whole partition.
const GRID_POSITIONS: u64 = 512;

/// A journal that has its place but isn't written.
#[derive(Debug)]
pub(super) struct Journal {
    at: Extent,
    part_guid: [u8; 16],
    block_bytes: u64,
    new_len_bytes: u64,
    marker_bytes: u64,
    index_blocks: Vec<u64>,
    pieces: Vec<Piece>,
}

impl Journal {
    /// Finds room for the new content of `changes` beyond `new_len_bytes`, in blocks that `old` doesn't use.
    pub fn plan(
        at: Extent,
        part_guid: &[u8; 16],
        block_bytes: u64,
        new_len_bytes: u64,
        old: &Usage,
        changes: &[Run],
    ) -> Result<Journal> {
        let tail = new_len_bytes.div_ceil(block_bytes)..at.len_bytes / block_bytes;
        let free: u64 = old.runs(false, tail.start, tail.end).map(|run| run.count).sum();
        let changed: u64 = changes.iter().map(|run| run.count).sum();
        let no_room = |needed: u64| Error::NoJournalSpace {
            needed_bytes: needed * block_bytes,
            available_bytes: free * block_bytes,
        };
        let marker_bytes = grid(at.len_bytes)
            .find(|offset| {
                let block = offset / block_bytes;
                tail.contains(&block) && !old.is_used(block)
            })
            .ok_or_else(|| no_room(changed + 2))?;
        let mut room = Room::new(old, tail.start, tail.end, marker_bytes / block_bytes);
        let mut pieces = Vec::new();
        for change in changes {
            let mut done = 0;
            while done < change.count {
                let run = room.take(change.count - done).ok_or_else(|| no_room(changed + 2))?;
                let (to_block, from_block) = (change.first + done, run.first);
                pieces.push(Piece { to_block, from_block, count: run.count, hash: Default::default() });
                done += run.count;
            }
        }
        let per_index = entries_per_index(block_bytes);
        let index_count = pieces.len().div_ceil(per_index);
        let index_blocks: Vec<u64> =
            std::iter::from_fn(|| room.take(1)).take(index_count).map(|run| run.first).collect();
        if index_blocks.len() < index_count {
            return Err(no_room(changed + index_count as u64 + 1));
        }
        Ok(Journal {
            at,
            part_guid: *part_guid,
            block_bytes,
            new_len_bytes,
            marker_bytes,
            index_blocks,
            pieces,
        })
    }

    /// Writes the journal with its content from `new`, and makes it count.
    pub fn write(&self, disk: &dyn Disk, new: &dyn Source) -> Result<()> {
        let mut patch = Patch::new(disk);
        let mut buf = vec![0; WRITE_MAX_BYTES];
        let mut pieces = self.pieces.clone();
        for piece in &mut pieces {
            let data = &mut buf[..(piece.count * self.block_bytes) as usize];
            new.read_at(piece.to_block * self.block_bytes, data)?;
            patch.put(self.at.offset_bytes + piece.from_block * self.block_bytes, data)?;
            piece.hash = content_hash(data);
        }
        // Backwards, since each index block holds the hash of the one after it.
        let mut next = (0, [0; HASH_BYTES]);
        let chunks: Vec<_> = pieces.chunks(entries_per_index(self.block_bytes)).collect();
        for (block, pieces) in self.index_blocks.iter().zip(&chunks).rev() {
            let bytes = encode_index(next, pieces, self.block_bytes as usize);
            patch.put(self.at.offset_bytes + block * self.block_bytes, &bytes)?;
            next = (*block, *blake3::hash(&bytes).as_bytes());
        }
        patch::flush(disk)?;
        let marker = Marker {
            at: self.at,
            part_guid: self.part_guid,
            marker_bytes: self.marker_bytes,
            block_bytes: self.block_bytes,
            new_len_bytes: self.new_len_bytes,
            first_index: next,
        };
        patch.put(self.at.offset_bytes + self.marker_bytes, &marker.encode())?;
        patch::flush(disk)
    }
}

/// Applies a marked journal, if the partition at `at` holds one.
pub(super) fn recover(disk: &dyn Disk, at: Extent, part_guid: &[u8; 16]) -> Result<bool> {
    let Some(marker) = find_marker(disk, at, part_guid)? else { return Ok(false) };
    // The run that wrote the marker may have been killed before it was durable. Lost, with the journal half applied, it
    // would leave neither the old file system nor the new one.
    patch::flush(disk)?;
    let pieces = load_pieces(disk, &marker)?;
    let mut patch = Patch::new(disk);
    let mut buf = vec![0; WRITE_MAX_BYTES];
    for piece in &pieces {
        let data = &mut buf[..(piece.count * marker.block_bytes) as usize];
        patch::read(disk, at.offset_bytes + piece.from_block * marker.block_bytes, data)?;
        patch.put(at.offset_bytes + piece.to_block * marker.block_bytes, data)?;
    }
    patch::flush(disk)?;
    patch.zero(at.offset_bytes + marker.marker_bytes, MARKER_BYTES as u64)?;
    patch::flush(disk)?;
    Ok(true)
}

fn find_marker(disk: &dyn Disk, at: Extent, part_guid: &[u8; 16]) -> Result<Option<Marker>> {
    let mut sector = [0; MARKER_BYTES];
    for offset in grid(at.len_bytes) {
        patch::read(disk, at.offset_bytes + offset, &mut sector)?;
        if let Some(marker) = Marker::decode(&sector, at, offset)
            && marker.part_guid == *part_guid
        {
            return Ok(Some(marker));
        }
    }
    Ok(None)
}

/// Reads the index and checks every hash.
fn load_pieces(disk: &dyn Disk, marker: &Marker) -> Result<Vec<Piece>> {
    let Marker { at, block_bytes, new_len_bytes, .. } = *marker;
    let damaged = || bad(at, "the redo journal of its unfinished shrink is damaged");
    let (keep, end) = (new_len_bytes.div_ceil(block_bytes), at.len_bytes / block_bytes);
    let mut pieces = Vec::new();
    let mut block_buf = vec![0; block_bytes as usize];
    let (mut index, mut hash) = marker.first_index;
    while index != 0 {
        if !(keep..end).contains(&index) {
            return Err(damaged());
        }
        patch::read(disk, at.offset_bytes + index * block_bytes, &mut block_buf)?;
        if *blake3::hash(&block_buf).as_bytes() != hash {
            return Err(damaged());
        }
        let (next, entries) = format::decode_index(&block_buf).ok_or_else(damaged)?;
        pieces.extend(entries);
        (index, hash) = next;
    }
    let inside = |first: u64, count: u64, from: u64, to: u64| {
        first >= from && first.checked_add(count).is_some_and(|end| end <= to)
    };
    let mut buf = vec![0; WRITE_MAX_BYTES];
    for piece in &pieces {
        let fits = (1..=WRITE_MAX_BYTES as u64 / block_bytes).contains(&piece.count)
            && inside(piece.to_block, piece.count, 0, keep)
            && inside(piece.from_block, piece.count, keep, end);
        if !fits {
            return Err(damaged());
        }
        let data = &mut buf[..(piece.count * block_bytes) as usize];
        patch::read(disk, at.offset_bytes + piece.from_block * block_bytes, data)?;
        if content_hash(data) != piece.hash {
            return Err(damaged());
        }
    }
    Ok(pieces)
}

/// The places where a marker may lie, from the end of a partition to its start: close together near the end,
/// spread out before, so that a resume has to look at a thousand sectors at most.
fn grid(len_bytes: u64) -> impl Iterator<Item = u64> {
    let positions = len_bytes.saturating_sub(MARKER_BYTES as u64) / GRID_BYTES + 1;
    let spread = positions.div_ceil(GRID_POSITIONS).max(1);
    let close_from = positions.saturating_sub(GRID_POSITIONS);
    let close = (close_from..positions).rev();
    let spread_out = (0..close_from.div_ceil(spread)).rev().map(move |index| index * spread);
    close.chain(spread_out).map(|index| index * GRID_BYTES)
}

/// The free blocks of a range, handed out from the front.
struct Room {
    runs: Vec<Run>,
}

impl Room {
    fn new(old: &Usage, from: u64, to: u64, except: u64) -> Room {
        let mut runs = Vec::new();
        for run in old.runs(false, from, to) {
            let cut = except.clamp(run.first, run.end());
            let after = if cut == except { (cut + 1).min(run.end()) } else { cut };
            runs.push(Run { first: run.first, count: cut - run.first });
            runs.push(Run { first: after, count: run.end() - after });
        }
        runs.retain(|run| run.count > 0);
        runs.reverse();
        Room { runs }
    }

    /// At most `count` blocks, contiguous.
    fn take(&mut self, count: u64) -> Option<Run> {
        let run = self.runs.last_mut()?;
        let taken = Run { first: run.first, count: run.count.min(count) };
        run.first += taken.count;
        run.count -= taken.count;
        if run.count == 0 {
            self.runs.pop();
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;
    use crate::ext4::layout::Partition;
    use crate::file_disk::{Access, FileDisk};

    const BLOCK_BYTES: u64 = 1024;
    const PARTITION_BYTES: u64 = 2 * 1024 * 1024;
    const KEPT_BYTES: u64 = 1024 * 1024;
    const AT: Extent = Extent { offset_bytes: PARTITION_BYTES, len_bytes: PARTITION_BYTES };
    const GUID: [u8; 16] = [7; 16];

    /// A disk with two partitions' worth of bytes, the second one marked: its journal would fill the first 100
    /// blocks with what the first partition has there.
    fn marked() -> (NamedTempFile, FileDisk, Journal) {
        let mut file = NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..2 * PARTITION_BYTES).map(|at| (at / 7 % 255) as u8).collect();
        file.write_all(&bytes).unwrap();
        let disk = FileDisk::open(file.path(), Access::Write).unwrap();
        let changes = [Run { first: 0, count: 60 }, Run { first: 80, count: 20 }];
        let journal =
            Journal::plan(AT, &GUID, BLOCK_BYTES, KEPT_BYTES, &every_other_used(), &changes).unwrap();
        let first = Extent { offset_bytes: 0, len_bytes: PARTITION_BYTES };
        journal.write(&disk, &Partition { disk: &disk, at: first }).unwrap();
        (file, disk, journal)
    }

    /// Odd blocks used: the journal can only lie in single blocks.
    fn every_other_used() -> Usage {
        Usage::from_words(PARTITION_BYTES / BLOCK_BYTES, 0xAAAA_AAAA_AAAA_AAAA)
    }

    #[test]
    fn a_marked_journal_is_applied_once_and_outside_of_used_blocks() {
        let (file, disk, journal) = marked();
        let used = every_other_used();
        assert!(journal.pieces.iter().all(|piece| !used.is_used(piece.from_block)));
        assert!(journal.index_blocks.iter().all(|block| !used.is_used(*block)));
        assert!(recover(&disk, AT, &GUID).unwrap());
        let bytes = fs::read(file.path()).unwrap();
        let (first, second) = bytes.split_at(PARTITION_BYTES as usize);
        let block = |index: usize| index * 1024..(index + 1) * 1024;
        for index in 0..100 {
            let applied = !(60..80).contains(&index);
            assert_eq!(first[block(index)] == second[block(index)], applied, "block {index}");
        }
        assert!(!recover(&disk, AT, &GUID).unwrap(), "the marker is still there");
    }

    #[test]
    fn a_marker_of_another_partition_or_place_is_ignored() {
        let (file, disk, journal) = marked();
        assert!(!recover(&disk, AT, &[8; 16]).unwrap());
        let shorter = Extent { len_bytes: PARTITION_BYTES - 512, ..AT };
        assert!(!recover(&disk, shorter, &GUID).unwrap());

        // The whole partition copied elsewhere, and the marker copied within the partition.
        let bytes = fs::read(file.path()).unwrap();
        disk.write_all(0, &bytes[PARTITION_BYTES as usize..]);
        assert!(!recover(&disk, Extent { offset_bytes: 0, ..AT }, &GUID).unwrap());
        let marker = (AT.offset_bytes + journal.marker_bytes) as usize;
        disk.write_all(marker as u64, &[0; MARKER_BYTES]);
        disk.write_all(AT.offset_bytes + KEPT_BYTES, &bytes[marker..marker + MARKER_BYTES]);
        assert!(!recover(&disk, AT, &GUID).unwrap());
    }

    #[test]
    fn a_damaged_journal_is_refused_before_anything_is_applied() {
        let (file, disk, journal) = marked();
        let places = [journal.pieces[70].from_block, journal.index_blocks[1]];
        for block in places {
            let at = AT.offset_bytes + block * BLOCK_BYTES + 100;
            let before = fs::read(file.path()).unwrap();
            disk.write_all(at, &[before[at as usize] ^ 1]);
            let damaged = fs::read(file.path()).unwrap();
            assert!(recover(&disk, AT, &GUID).unwrap_err().to_string().contains("damaged"));
            assert!(fs::read(file.path()).unwrap() == damaged);
            disk.write_all(at, &[before[at as usize]]);
        }
        assert!(recover(&disk, AT, &GUID).unwrap());
    }

    #[test]
    fn no_room_is_an_error_before_any_write() {
        let full = Usage::from_words(PARTITION_BYTES / BLOCK_BYTES, u64::MAX);
        let change = [Run { first: 0, count: 1 }];
        let plan = |usage: &Usage, changes: &[Run]| {
            Journal::plan(AT, &GUID, BLOCK_BYTES, KEPT_BYTES, usage, changes)
        };
        assert!(matches!(plan(&full, &change), Err(Error::NoJournalSpace { .. })));
        // 512 free blocks: the marker, 488 of content, 21 of index at most; one block more doesn't fit.
        let runs = |count| (0..count).map(|first| Run { first, count: 1 }).collect::<Vec<_>>();
        let fits = (1..512).take_while(|count| plan(&every_other_used(), &runs(*count)).is_ok()).count();
        assert_eq!(fits as u64 + fits.div_ceil(entries_per_index(BLOCK_BYTES)) as u64 + 1, 512);
    }

    #[test]
    fn the_grid_covers_the_end_closely_and_the_rest_within_a_thousand_reads() {
        for len_bytes in [512, GRID_BYTES, 48 << 20, 900 << 20, 7 << 40] {
            let positions: Vec<u64> = grid(len_bytes).collect();
            assert!(positions.len() <= 2 * GRID_POSITIONS as usize && !positions.is_empty());
            assert!(positions.windows(2).all(|pair| pair[0] > pair[1]));
            assert!(positions.iter().all(|at| at + MARKER_BYTES as u64 <= len_bytes));
            assert_eq!(positions.last(), Some(&0));
        }
    }

    impl FileDisk {
        fn write_all(&self, offset_bytes: u64, data: &[u8]) {
            self.write_at(offset_bytes, data).unwrap();
        }
    }
}
