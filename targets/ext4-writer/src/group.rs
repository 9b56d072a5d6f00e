//! Bitmaps and descriptors of the block groups.
//!
//! A group of which no block is used but those of a superblock's copy says so with a flag and needs no bitmap on the disk,
//! nor does one without inodes; so what is written for an empty group is its descriptor alone. Inode tables are zeros
//! from the start, which another flag tells the kernel.

use std::ops::Range;

use crate::bytes::Put;
use crate::checksum::Seed;
use crate::geometry::{BLOCK_BYTES, BLOCKS_PER_GROUP, DESCRIPTOR_BYTES};
use crate::layout::Layout;

const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const INODE_TABLE_ZEROED: u16 = 4;

/// One group as it shall be.
pub(crate) struct Group {
    /// Its block bitmap, if it needs one.
    pub block_bitmap: Option<Vec<u8>>,
    /// Its inode bitmap, if it needs one.
    pub inode_bitmap: Option<Vec<u8>>,
    /// Its descriptor.
    pub descriptor: [u8; DESCRIPTOR_BYTES as usize],
    /// Blocks of it that nothing uses.
    pub free_blocks: u64,
}

/// The state of a group in a file system of `blocks` blocks, of which the first `inodes` inodes are used.
/// `directories` is how many of the group's inodes are folders.
pub(crate) fn of(
    layout: &Layout,
    blocks: u64,
    inodes: u64,
    group: u64,
    directories: u64,
    seed: Seed,
) -> Group {
    let geometry = &layout.geometry;
    let all = group * BLOCKS_PER_GROUP..((group + 1) * BLOCKS_PER_GROUP).min(blocks);
    let own = layout.used_in(&all);
    let copy = geometry.super_blocks(group);
    let is_plain = own.is_empty() && group > 0 && all.end - all.start == BLOCKS_PER_GROUP;
    let mut bitmap = vec![0; BLOCK_BYTES as usize];
    for run in own.iter().chain([&copy, &(all.end..(group + 1) * BLOCKS_PER_GROUP)]) {
        set(
            &mut bitmap,
            run.start.max(all.start) - all.start..run.end.min(all.start + BLOCKS_PER_GROUP) - all.start,
        );
    }
    let free_blocks = bitmap.iter().map(|byte| u64::from(byte.count_zeros())).sum();
    let per_group = geometry.inodes_per_group;
    let used_inodes = inodes.saturating_sub(group * per_group).min(per_group);
    let inode_bitmap = (used_inodes > 0).then(|| {
        let mut bitmap = vec![0; BLOCK_BYTES as usize];
        set(&mut bitmap, 0..used_inodes);
        set(&mut bitmap, per_group..8 * BLOCK_BYTES);
        bitmap
    });
    let block_bitmap = (!is_plain).then_some(bitmap);
    let sum_of = |bitmap: &Option<Vec<u8>>, bytes: u64| {
        bitmap.as_ref().map_or(0, |bitmap| seed.of(&bitmap[..bytes as usize]) as u16)
    };
    let mut descriptor = [0; DESCRIPTOR_BYTES as usize];
    let index = group as usize;
    descriptor.put_u32(0x00, layout.block_bitmaps[index] as u32);
    descriptor.put_u32(0x04, layout.inode_bitmaps[index] as u32);
    descriptor.put_u32(0x08, layout.inode_tables[index] as u32);
    descriptor.put_u16(0x0c, free_blocks as u16);
    descriptor.put_u16(0x0e, (per_group - used_inodes) as u16);
    descriptor.put_u16(0x10, directories as u16);
    let without = |bitmap: &Option<Vec<u8>>, flag| if bitmap.is_none() { flag } else { 0 };
    let flags =
        INODE_TABLE_ZEROED | without(&inode_bitmap, INODE_UNINIT) | without(&block_bitmap, BLOCK_UNINIT);
    descriptor.put_u16(0x12, flags);
    descriptor.put_u16(0x18, sum_of(&block_bitmap, BLOCK_BYTES));
    descriptor.put_u16(0x1a, sum_of(&inode_bitmap, per_group / 8));
    descriptor.put_u16(0x1c, (per_group - used_inodes) as u16);
    let sum = seed.of_group(group as u32).of(&descriptor) as u16;
    descriptor.put_u16(0x1e, sum);
    Group { block_bitmap, inode_bitmap, descriptor, free_blocks }
}

/// Sets the bits of a range.
fn set(bitmap: &mut [u8], bits: Range<u64>) {
    let mut at = bits.start;
    while at < bits.end {
        let byte = (at / 8) as usize;
        if at.is_multiple_of(8) && bits.end - at >= 8 {
            bitmap[byte] = 0xff;
            at += 8;
        } else {
            bitmap[byte] |= 1 << (at % 8);
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_the_bits_of_a_range_are_set(start in 0_u64..200, len in 0_u64..60) {
            let mut bitmap = vec![0; 40];
            set(&mut bitmap, start..start + len);
            for bit in 0..320 {
                let is_set = bitmap[(bit / 8) as usize] & 1 << (bit % 8) != 0;
                prop_assert_eq!(is_set, (start..start + len).contains(&bit));
            }
        }
    }
}
