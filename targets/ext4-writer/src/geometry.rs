//! Where a file system of so many blocks has its block groups, and which of them hold a copy of the superblock.
//!
//! Blocks are 4 KiB and a group is what one bitmap block covers. With sparse_super, copies of the superblock and of all
//! group descriptors stand at the start of groups 0, 1 and the powers of 3, 5 and 7.

use std::ops::Range;

/// Bytes of a block.
pub const BLOCK_BYTES: u64 = 4096;
/// Blocks of a group: one bitmap block has so many bits.
pub const BLOCKS_PER_GROUP: u64 = 8 * BLOCK_BYTES;
/// Bytes of an inode.
pub(crate) const INODE_BYTES: u64 = 256;
/// Bytes of a group descriptor without feature 64bit.
pub(crate) const DESCRIPTOR_BYTES: u64 = 32;
/// Inodes in a block of the inode table.
const INODES_PER_BLOCK: u64 = BLOCK_BYTES / INODE_BYTES;
/// Inodes of a group: one bitmap block has so many bits.
pub(crate) const MAX_INODES_PER_GROUP: u64 = 8 * BLOCK_BYTES;
/// Without feature 64bit, block numbers have 32 bits.
pub(crate) const MAX_BLOCKS: u64 = u32::MAX as u64;

/// The division of a file system into groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Block groups, the last of which may be short.
    pub groups: u64,
    /// Blocks of the table of group descriptors.
    pub descriptor_blocks: u64,
    /// Inodes of each group, a multiple of those in a block.
    pub inodes_per_group: u64,
}

impl Geometry {
    /// A file system of so many groups with room for `inodes`, reserved ones included; none where the bitmaps of so
    /// many groups are too small for that.
    pub fn new(groups: u64, inodes: u64) -> Option<Self> {
        let inodes_per_group = inodes.div_ceil(groups).next_multiple_of(INODES_PER_BLOCK);
        let descriptor_blocks = (groups * DESCRIPTOR_BYTES).div_ceil(BLOCK_BYTES);
        let geometry = Self { groups, descriptor_blocks, inodes_per_group };
        (inodes_per_group <= MAX_INODES_PER_GROUP).then_some(geometry)
    }

    /// Groups that a file system of so many blocks has.
    pub fn groups_of(blocks: u64) -> u64 {
        blocks.div_ceil(BLOCKS_PER_GROUP)
    }

    /// Blocks of the inode table of each group.
    pub fn inode_table_blocks(&self) -> u64 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// Blocks at the start of a group that hold the superblock and the descriptors; empty in most groups.
    pub fn super_blocks(&self, group: u64) -> Range<u64> {
        let start = group * BLOCKS_PER_GROUP;
        let len = if has_super(group) { 1 + self.descriptor_blocks } else { 0 };
        start..start + len
    }

    /// The fewest blocks that the last group may have: its copy of the superblock, and one more.
    pub fn least_last(&self, group: u64) -> u64 {
        let copy = self.super_blocks(group);
        copy.end - copy.start + 1
    }
}

/// Whether a group starts with a copy of the superblock.
pub(crate) fn has_super(group: u64) -> bool {
    let is_power_of = |base: u64| {
        std::iter::successors(Some(base), |power| power.checked_mul(base))
            .take_while(|power| *power <= group)
            .any(|power| power == group)
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_the_superblock_stand_where_sparse_super_says() {
        let with: Vec<u64> = (0..350).filter(|group| has_super(*group)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343]);
    }

    #[test]
    fn inodes_are_spread_in_whole_blocks_and_refused_beyond_a_bitmap() {
        assert_eq!(
            Geometry::new(3, 100).map(|g| (g.inodes_per_group, g.inode_table_blocks())),
            Some((48, 3))
        );
        assert_eq!(Geometry::new(1, 32_768).map(|g| g.inodes_per_group), Some(32_768));
        assert_eq!(Geometry::new(1, 32_769), None);
    }

    #[test]
    fn descriptors_of_more_than_128_groups_take_a_second_block() {
        assert_eq!(Geometry::new(128, 100).map(|g| g.super_blocks(1)), Some(32_768..32_770));
        assert_eq!(Geometry::new(129, 100).map(|g| g.super_blocks(1)), Some(32_768..32_771));
        assert_eq!(Geometry::new(129, 100).map(|g| g.super_blocks(2)), Some(65_536..65_536));
    }
}
