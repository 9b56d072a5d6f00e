//! The internal journal: an empty log of which only the superblock is written, the rest being zeros that nobody reads.
//!
//! The format is that of JBD2, big-endian. The journal lies contiguous and belongs to inode 8.

use crate::geometry::BLOCK_BYTES;

/// Blocks of a journal at least (`JBD2_MIN_JOURNAL_BLOCKS`).
pub(crate) const MIN_BLOCKS: u32 = 1024;
/// Blocks of a journal at most: 1 GiB, as mke2fs has it; a contiguous run of that length exists.
pub(crate) const MAX_BLOCKS: u32 = 262_144;

const MAGIC: u32 = 0xc03b_3998;
const SUPERBLOCK_V2: u32 = 4;

/// The first block of an empty journal of so many blocks.
pub(crate) fn encode(blocks: u32) -> Vec<u8> {
    let mut content = vec![0; BLOCK_BYTES as usize];
    let mut put = |at: usize, value: u32| content[at..at + 4].copy_from_slice(&value.to_be_bytes());
    put(0x00, MAGIC);
    put(0x04, SUPERBLOCK_V2);
    put(0x0c, BLOCK_BYTES as u32);
    put(0x10, blocks);
    // The log begins behind this block, its first transaction is number 1, and 0 as its start says that it is empty.
    put(0x14, 1);
    put(0x18, 1);
    put(0x40, 1);
    content
}
