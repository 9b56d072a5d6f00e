//! Extents: which blocks of a file lie where, as a tree of which the top is in the inode.
//!
//! The inode has room for four entries. More go into blocks of 340 entries each, and where more than four of those
//! are needed, into further levels above them.

use std::ops::Range;

use crate::bytes::{Put, halves};
use crate::checksum::Seed;
use crate::geometry::BLOCK_BYTES;

const MAGIC: u16 = 0xf30a;
const ENTRY_BYTES: usize = 12;
/// Entries that fit into the 60 bytes of an inode, behind the header.
const ROOT_ENTRIES: usize = 4;
/// Entries that fit into a block, behind the header and before the checksum.
const BLOCK_ENTRIES: usize = (BLOCK_BYTES as usize - ENTRY_BYTES) / ENTRY_BYTES;
/// Blocks of an extent at most; the topmost bit of its length says "not initialised".
const MAX_EXTENT_BLOCKS: u64 = 32_768;

/// A run of blocks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First block in the file.
    pub logical: u64,
    /// First block on the disk.
    pub physical: u64,
    /// Blocks, at most 32,768.
    pub len: u64,
}

/// Adds a run of a file, cut into extents, which melt with the last one where they go on with it.
pub(crate) fn push_run(extents: &mut Vec<Extent>, mut logical: u64, run: Range<u64>) {
    let mut at = run.start;
    while at < run.end {
        if let Some(last) = extents.last_mut()
            && (last.logical + last.len, last.physical + last.len) == (logical, at)
            && last.len < MAX_EXTENT_BLOCKS
        {
            let more = (run.end - at).min(MAX_EXTENT_BLOCKS - last.len);
            last.len += more;
            (at, logical) = (at + more, logical + more);
            continue;
        }
        let len = (run.end - at).min(MAX_EXTENT_BLOCKS);
        extents.push(Extent { logical, physical: at, len });
        (at, logical) = (at + len, logical + len);
    }
}

/// Blocks that the tree of so many extents takes besides the inode.
pub(crate) fn tree_blocks(extents: usize) -> u64 {
    let mut blocks = 0;
    let mut entries = extents;
    while entries > ROOT_ENTRIES {
        entries = entries.div_ceil(BLOCK_ENTRIES);
        blocks += entries as u64;
    }
    blocks
}

/// What an inode and the blocks of its tree hold.
pub(crate) struct Encoded {
    /// `i_block` of the inode.
    pub root: [u8; 60],
    /// Number and content of each block.
    pub blocks: Vec<(u64, Vec<u8>)>,
}

/// The tree over `extents`, its blocks placed at `places`, of which there are as many as [`tree_blocks`] says.
pub(crate) fn encode(extents: &[Extent], places: &mut dyn Iterator<Item = u64>, seed: Seed) -> Encoded {
    let mut blocks = Vec::new();
    let mut depth = 0;
    let mut entries: Vec<(u64, [u8; ENTRY_BYTES])> =
        extents.iter().map(|extent| (extent.logical, leaf(extent))).collect();
    while entries.len() > ROOT_ENTRIES {
        let parts = entries.chunks(BLOCK_ENTRIES).zip(&mut *places);
        let above = parts
            .map(|(part, place)| {
                let mut block = vec![0; BLOCK_BYTES as usize];
                let end = fill(&mut block, part, BLOCK_ENTRIES, depth);
                let tail = ENTRY_BYTES * (BLOCK_ENTRIES + 1);
                debug_assert!(end <= tail);
                let sum = seed.of(&block[..tail]);
                block.put_u32(tail, sum);
                blocks.push((place, block));
                (part[0].0, index(part[0].0, place))
            })
            .collect();
        entries = above;
        depth += 1;
    }
    let mut root = [0; 60];
    fill(&mut root, &entries, ROOT_ENTRIES, depth);
    Encoded { root, blocks }
}

fn fill(node: &mut [u8], entries: &[(u64, [u8; ENTRY_BYTES])], max: usize, depth: u16) -> usize {
    node.put_u16(0, MAGIC);
    node.put_u16(2, entries.len() as u16);
    node.put_u16(4, max as u16);
    node.put_u16(6, depth);
    for (place, (_, entry)) in entries.iter().enumerate() {
        node.put(ENTRY_BYTES * (place + 1), entry);
    }
    ENTRY_BYTES * (entries.len() + 1)
}

fn leaf(extent: &Extent) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry.put_u32(0, extent.logical as u32);
    entry.put_u16(4, extent.len as u16);
    entry.put_u16(6, (extent.physical >> 32) as u16);
    entry.put_u32(8, extent.physical as u32);
    entry
}

fn index(logical: u64, block: u64) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry.put_u32(0, logical as u32);
    entry.put_u32(4, block as u32);
    entry.put_u16(8, halves((block >> 32) as u32).0);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_at_32_768_blocks_and_melt_where_they_go_on() {
        let mut extents = Vec::new();
        push_run(&mut extents, 0, 100..110);
        push_run(&mut extents, 10, 110..40_000);
        push_run(&mut extents, 50_000, 40_000..40_001);
        let flat: Vec<_> = extents.iter().map(|e| (e.logical, e.physical, e.len)).collect();
        assert_eq!(flat, [(0, 100, 32_768), (32_768, 32_868, 7132), (50_000, 40_000, 1)]);
    }

    #[test]
    fn levels_are_added_as_entries_need_them() {
        let blocks: Vec<u64> = [4, 5, 340, 341, 1360, 1361].into_iter().map(tree_blocks).collect();
        assert_eq!(blocks, [0, 1, 1, 2, 4, 5 + 1]);
    }
}
