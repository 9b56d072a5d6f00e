//! Which inode owns which block of an ext4, by its inode tables, extent trees and indirect blocks. All loops are bounded,
//! so a damaged file system costs at most what a large sound one does.

use std::ops::Range;

use super::geometry::{Geometry, le};
use crate::explain::file_system::Part;

/// Inodes that are looked at.
const MAX_INODES: u64 = 1 << 18;
/// Stretches of blocks that are noted.
const MAX_RUNS: usize = 1 << 19;
/// Blocks of extent trees and indirect blocks that are read.
const MAX_MAP_BLOCKS: usize = 1 << 14;
/// Deeper than any extent tree is.
const MAX_DEPTH: u16 = 5;

const EXTENT_MAGIC: u64 = 0xF30A;
const EXTENTS_FLAG: u64 = 0x8_0000;
const INLINE_FLAG: u64 = 0x1000_0000;
const DIRECTORY: u64 = 0x4000;
const REGULAR: u64 = 0x8000;
const LINK: u64 = 0xA000;

/// An inode that is in use.
#[derive(Clone, Copy, Debug)]
pub struct Inode {
    /// Number, from 1.
    pub number: u32,
    /// It is a directory.
    pub directory: bool,
}

/// What a stretch of blocks is to its inode.
#[derive(Clone, Copy, Debug)]
pub enum Use {
    /// Its data, from this block of the file on.
    Data(u64),
    /// Where its data are.
    Map,
    /// Its extended attributes.
    Xattrs,
}

/// The owners of blocks.
#[derive(Debug, Default)]
pub struct Owners {
    /// The inodes in use.
    pub inodes: Vec<Inode>,
    /// Stretches of blocks, each with the place of its inode in the list.
    pub runs: Vec<(Range<u64>, (usize, Use))>,
    map_blocks: usize,
}

impl Owners {
    /// Reads all inode tables.
    pub fn read(part: Part<'_>, geometry: &Geometry) -> Self {
        let mut owners = Self::default();
        let per_group = geometry.inodes_per_group;
        let mut looked_at = 0;
        for (number, group) in (0..).zip(&geometry.groups) {
            let used = per_group.saturating_sub(group.unused_inodes);
            if group.uninit_inodes || looked_at + used > MAX_INODES {
                continue;
            }
            looked_at += used;
            let start = group.inode_table.saturating_mul(geometry.block_bytes);
            let Some(table) = part.read(start, used * geometry.inode_bytes) else { continue };
            for (raw, index) in table.chunks_exact(geometry.inode_bytes as usize).zip(1..) {
                if let Ok(inode) = u32::try_from(number * per_group + index) {
                    owners.take(part, geometry, inode, raw);
                }
            }
        }
        owners
    }

    fn take(&mut self, part: Part<'_>, geometry: &Geometry, number: u32, raw: &[u8]) {
        let mode = le(raw, 0, 2) & 0xF000;
        // The journal and the other inodes below 11 count by their mode alone.
        if mode == 0 || le(raw, 26, 2) == 0 && number > 10 {
            return;
        }
        let place = self.inodes.len();
        self.inodes.push(Inode { number, directory: mode == DIRECTORY });
        let xattrs = le(raw, 104, 4) | le(raw, 118, 2) << 32;
        if xattrs != 0 {
            self.note(geometry, xattrs, 1, (place, Use::Xattrs));
        }
        let flags = le(raw, 32, 4);
        let map = raw.get(40..100).unwrap_or(&[]);
        if flags & INLINE_FLAG != 0 {
            return;
        }
        if flags & EXTENTS_FLAG != 0 {
            self.extents(part, geometry, place, map, MAX_DEPTH);
        } else if mode == REGULAR || mode == DIRECTORY || mode == LINK && le(raw, 4, 4) >= 60 {
            self.pointers(part, geometry, place, map);
        }
    }

    fn note(&mut self, geometry: &Geometry, block: u64, count: u64, owner: (usize, Use)) {
        let end = block.saturating_add(count);
        if block >= geometry.first_block && end <= geometry.blocks && self.runs.len() < MAX_RUNS {
            self.runs.push((block..end, owner));
        }
    }

    /// A node of an extent tree. Each level has to be one less deep, so that none holds itself.
    fn extents(&mut self, part: Part<'_>, geometry: &Geometry, inode: usize, node: &[u8], limit: u16) {
        let (magic, count, depth) = (le(node, 0, 2), le(node, 2, 2), le(node, 6, 2));
        if magic != EXTENT_MAGIC || depth >= u64::from(limit) {
            return;
        }
        for entry in node.chunks_exact(12).skip(1).take(count as usize) {
            if depth == 0 {
                let (first, len) = (le(entry, 0, 4), le(entry, 4, 2));
                // A length above 32768 is that of an extent that was never written.
                let len = if len > 0x8000 { len - 0x8000 } else { len };
                self.note(geometry, le(entry, 8, 4) | le(entry, 6, 2) << 32, len, (inode, Use::Data(first)));
                continue;
            }
            let block = le(entry, 4, 4) | le(entry, 8, 2) << 32;
            if let Some(below) = self.map_block(part, geometry, inode, block) {
                self.extents(part, geometry, inode, &below, depth as u16);
            }
        }
    }

    /// The twelve direct pointers and the three to indirect blocks (ext2).
    fn pointers(&mut self, part: Part<'_>, geometry: &Geometry, inode: usize, map: &[u8]) {
        let per_block = geometry.block_bytes / 4;
        let mut first = 0;
        for (pointer, index) in map.chunks_exact(4).zip(0u32..) {
            let level = index.saturating_sub(11);
            self.pointer(part, geometry, inode, le(pointer, 0, 4), (first, level));
            first += per_block.pow(level);
        }
    }

    fn pointer(
        &mut self,
        part: Part<'_>,
        geometry: &Geometry,
        inode: usize,
        block: u64,
        (first, level): (u64, u32),
    ) {
        if block == 0 {
            return;
        }
        if level == 0 {
            return self.note(geometry, block, 1, (inode, Use::Data(first)));
        }
        let Some(raw) = self.map_block(part, geometry, inode, block) else { return };
        let each = (geometry.block_bytes / 4).pow(level - 1);
        for (pointer, index) in raw.chunks_exact(4).zip(0..) {
            self.pointer(part, geometry, inode, le(pointer, 0, 4), (first + index * each, level - 1));
        }
    }

    fn map_block(
        &mut self,
        part: Part<'_>,
        geometry: &Geometry,
        inode: usize,
        block: u64,
    ) -> Option<Vec<u8>> {
        self.map_blocks += 1;
        if self.map_blocks > MAX_MAP_BLOCKS || self.runs.len() >= MAX_RUNS {
            return None;
        }
        self.note(geometry, block, 1, (inode, Use::Map));
        part.read(block.checked_mul(geometry.block_bytes)?, geometry.block_bytes)
    }
}
