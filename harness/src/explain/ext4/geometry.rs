//! Where an ext4's metadata lie by its superblock and group descriptors. Every figure is bounded before it is used, since
//! the file system may be damaged.

use std::ops::Range;

use crate::explain::file_system::Part;

/// Groups that are charted: 8 TiB of blocks of 4 KiB.
const MAX_GROUPS: u64 = 1 << 16;
const SUPERBLOCK_OFFSET: u64 = 1024;
const SUPERBLOCK_BYTES: u64 = 1024;
const MAGIC: u16 = 0xEF53;
const SPARSE_SUPER: u32 = 0x1;
const SPARSE_SUPER2: u32 = 0x200;
const META_BG: u32 = 0x10;
const WIDE: u32 = 0x80;

/// The figures of a superblock that decide where things are.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Bytes of a block.
    pub block_bytes: u64,
    /// Blocks of the file system, at most as many as its space holds.
    pub blocks: u64,
    /// Block 0's group begins at this block: 1 where blocks are 1 KiB, else 0.
    pub first_block: u64,
    /// Blocks of a group.
    pub blocks_per_group: u64,
    /// Inodes of a group.
    pub inodes_per_group: u64,
    /// Bytes of an inode.
    pub inode_bytes: u64,
    /// Inode of the journal; 0 where there is none.
    pub journal_inode: u32,
    /// The groups.
    pub groups: Vec<Group>,
    descriptor_bytes: u64,
    reserved_descriptor_blocks: u64,
    sparse: Sparse,
}

/// Which groups have copies of superblock and descriptors.
#[derive(Clone, Copy, Debug)]
enum Sparse {
    All,
    Powers,
    Two([u32; 2]),
}

/// A group's descriptor, as far as it says where things are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Group {
    /// Block of the block bitmap.
    pub block_bitmap: u64,
    /// Block of the inode bitmap.
    pub inode_bitmap: u64,
    /// First block of the inode table.
    pub inode_table: u64,
    /// Inodes at the table's end that were never used.
    pub unused_inodes: u64,
    /// No inode of it was ever used.
    pub uninit_inodes: bool,
}

/// A kind of metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// A superblock, in a group.
    Superblock(u32),
    /// The descriptors, in a group.
    Descriptors(u32),
    /// Blocks kept for more descriptors, in a group.
    Reserved(u32),
    /// A group's block bitmap.
    BlockBitmap(u32),
    /// A group's inode bitmap.
    InodeBitmap(u32),
    /// A group's inode table.
    InodeTable(u32),
}

/// `N` bytes as an integer; 0 where they are not there.
pub fn le(raw: &[u8], at: usize, len: usize) -> u64 {
    let bytes = raw.get(at..at + len).unwrap_or(&[]);
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Geometry {
    /// By the first superblock; none where there is none that makes sense.
    pub fn read(part: Part<'_>) -> Option<Self> {
        let raw = part.read(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES)?;
        let u32_at = |at| le(&raw, at, 4);
        let u16_at = |at| le(&raw, at, 2);
        if u16_at(56) != u64::from(MAGIC) || u32_at(24) > 6 {
            return None;
        }
        let block_bytes = 1024 << u32_at(24);
        let dynamic = u32_at(76) > 0;
        let incompat = u32_at(96) as u32;
        let wide = incompat & WIDE != 0;
        let high = if wide { u32_at(336) << 32 } else { 0 };
        let blocks = (u32_at(4) | high).min(part.len_bytes() / block_bytes);
        let first_block = u32_at(20);
        let blocks_per_group = u32_at(32);
        let inodes_per_group = u32_at(40);
        let inode_bytes = if dynamic { u16_at(88) } else { 128 };
        let descriptor_bytes = if wide { u16_at(254) } else { 32 };
        let sound = (1..=8 * block_bytes).contains(&blocks_per_group)
            && (1..=8 * block_bytes).contains(&inodes_per_group)
            && inode_bytes.is_power_of_two()
            && (128..=block_bytes).contains(&inode_bytes)
            && descriptor_bytes.is_power_of_two()
            && (32..=1024).contains(&descriptor_bytes)
            && first_block < blocks
            && first_block <= 1;
        if !sound {
            return None;
        }
        let compat = u32_at(92) as u32;
        let sparse = match (compat & SPARSE_SUPER2 != 0, u32_at(100) as u32 & SPARSE_SUPER != 0) {
            (true, _) => Sparse::Two([u32_at(588) as u32, u32_at(592) as u32]),
            (false, true) => Sparse::Powers,
            (false, false) => Sparse::All,
        };
        let mut geometry = Self {
            block_bytes,
            blocks,
            first_block,
            blocks_per_group,
            inodes_per_group,
            inode_bytes,
            journal_inode: if compat & 4 != 0 { u32_at(224) as u32 } else { 0 },
            groups: Vec::new(),
            descriptor_bytes,
            reserved_descriptor_blocks: u16_at(206).min(blocks_per_group),
            sparse,
        };
        // With metablock groups the descriptors lie elsewhere, and nothing more is known.
        if incompat & META_BG == 0 {
            geometry.read_groups(part);
        }
        Some(geometry)
    }

    fn read_groups(&mut self, part: Part<'_>) {
        let count = (self.blocks - self.first_block).div_ceil(self.blocks_per_group).min(MAX_GROUPS);
        let start = (self.first_block + 1) * self.block_bytes;
        let Some(raw) = part.read(start, count * self.descriptor_bytes) else { return };
        let wide = self.descriptor_bytes >= 64;
        let group = |raw: &[u8]| {
            let block =
                |low: usize, high: usize| le(raw, low, 4) | if wide { le(raw, high, 4) << 32 } else { 0 };
            Group {
                block_bitmap: block(0, 32),
                inode_bitmap: block(4, 36),
                inode_table: block(8, 40),
                unused_inodes: le(raw, 28, 2) | if wide { le(raw, 50, 2) << 16 } else { 0 },
                uninit_inodes: le(raw, 18, 2) & 1 != 0,
            }
        };
        self.groups = raw.chunks_exact(self.descriptor_bytes as usize).map(group).collect();
    }

    /// Where a superblock begins: in group 0 behind the boot sector.
    fn superblock_start(&self, group: u32) -> u64 {
        match group {
            0 => SUPERBLOCK_OFFSET,
            _ => self.group_start(group) * self.block_bytes,
        }
    }

    /// First block of a group.
    fn group_start(&self, group: u32) -> u64 {
        self.first_block + u64::from(group) * self.blocks_per_group
    }

    fn has_copies(&self, group: u32) -> bool {
        let is_power = |base: u32| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        };
        group == 0
            || match self.sparse {
                Sparse::All => true,
                Sparse::Powers => group == 1 || [3, 5, 7].into_iter().any(is_power),
                Sparse::Two(groups) => groups.contains(&group),
            }
    }

    /// All metadata with a place of their own, in bytes.
    pub fn metadata(&self) -> Vec<(Range<u64>, Metadata)> {
        let blocks = |first: u64, count: u64| {
            first.saturating_mul(self.block_bytes)
                ..first.saturating_add(count).saturating_mul(self.block_bytes)
        };
        let descriptor_blocks = (self.groups.len() as u64 * self.descriptor_bytes).div_ceil(self.block_bytes);
        let table_blocks = (self.inodes_per_group * self.inode_bytes).div_ceil(self.block_bytes);
        let mut found = Vec::new();
        for (number, group) in (0..).zip(&self.groups) {
            if self.has_copies(number) {
                let start = self.superblock_start(number);
                let next = self.group_start(number) + 1;
                found.push((start..start + SUPERBLOCK_BYTES, Metadata::Superblock(number)));
                found.push((blocks(next, descriptor_blocks), Metadata::Descriptors(number)));
                let reserved = blocks(next + descriptor_blocks, self.reserved_descriptor_blocks);
                found.push((reserved, Metadata::Reserved(number)));
            }
            found.push((blocks(group.block_bitmap, 1), Metadata::BlockBitmap(number)));
            found.push((blocks(group.inode_bitmap, 1), Metadata::InodeBitmap(number)));
            found.push((blocks(group.inode_table, table_blocks), Metadata::InodeTable(number)));
        }
        if self.groups.is_empty() {
            found.push((SUPERBLOCK_OFFSET..SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES, Metadata::Superblock(0)));
        }
        found
    }

    /// Bytes of a descriptor.
    pub fn descriptor_bytes(&self) -> u64 {
        self.descriptor_bytes
    }
}
