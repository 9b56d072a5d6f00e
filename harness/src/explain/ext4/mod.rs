//! The chart of an ext4 (ext2 and ext3 too): superblocks, descriptors, bitmaps, inodes, and of every other block the inode
//! that owns it, by a small reader of our own. What can't be read is not charted; no damage makes it fail.

mod fields;
mod geometry;
mod names;
mod owners;

use std::ops::Range;

use self::fields::{BLOCK_BITMAP, DESCRIPTOR, INODE, INODE_BITMAP, SUPERBLOCK};
use self::geometry::{Geometry, Metadata};
use self::names::Names;
use self::owners::{Inode, Owners, Use};
use super::file_system::Part;
use super::piece::{Extents, Piece};
use super::place::{InodeName, Structure};

/// An ext4's structures by byte.
#[derive(Debug)]
pub struct Ext4Chart {
    geometry: Geometry,
    metadata: Extents<Metadata>,
    /// Blocks, each with the place of its inode in the list, and what it is to that.
    runs: Extents<(usize, Use)>,
    inodes: Vec<Inode>,
    names: Names,
}

impl Ext4Chart {
    /// Reads the file system that begins where the part does; none where there is no superblock that makes sense.
    pub fn read(part: Part<'_>) -> Option<Self> {
        let geometry = Geometry::read(part)?;
        let owners = Owners::read(part, &geometry);
        let names = Names::read(part, &geometry, &owners);
        let metadata = Extents::new(geometry.metadata());
        let Owners { inodes, runs, .. } = owners;
        Some(Self { geometry, metadata, runs: Extents::new(runs), inodes, names })
    }

    /// The piece with an offset.
    pub fn at(&self, offset: u64) -> Piece {
        let block_bytes = self.geometry.block_bytes;
        let end = self.geometry.blocks.saturating_mul(block_bytes);
        match self.metadata.at(offset, end) {
            Ok((range, what)) => self.metadata_piece(*what, &range, offset),
            Err(gap) => {
                let block = offset / block_bytes;
                let in_bytes = |blocks: Range<u64>| {
                    let range =
                        blocks.start.saturating_mul(block_bytes)..blocks.end.saturating_mul(block_bytes);
                    range.start.max(gap.start)..range.end.min(gap.end)
                };
                match self.runs.at(block, self.geometry.blocks) {
                    Ok((run, (inode, usage))) => {
                        self.owned(in_bytes(run.clone()), run.start, *inode, *usage, offset)
                    }
                    Err(free) => Piece::new(in_bytes(free.clone()), Structure::Ext4Free { block }),
                }
            }
        }
    }

    fn name(&self, number: u32) -> InodeName {
        let own = match number {
            2 => Some("/".to_owned()),
            7 => Some("the resize inode".to_owned()),
            _ => self.names.path(number),
        };
        InodeName { number, path: own }
    }

    fn metadata_piece(&self, what: Metadata, range: &Range<u64>, offset: u64) -> Piece {
        let unit = |bytes: u64| {
            let index = (offset - range.start) / bytes;
            let start = range.start + index * bytes;
            (index, start..(start + bytes).min(range.end))
        };
        match what {
            Metadata::Superblock(group) => {
                Piece::with(range.clone(), Structure::Ext4Superblock { group }, &SUPERBLOCK)
            }
            Metadata::Descriptors(copy) => {
                let (index, range) = unit(self.geometry.descriptor_bytes());
                match u32::try_from(index).ok().filter(|group| (*group as usize) < self.geometry.groups.len())
                {
                    Some(group) => Piece::with(range, Structure::Ext4Descriptor { group, copy }, &DESCRIPTOR),
                    None => Piece::new(range, Structure::Ext4ReservedDescriptors { copy }),
                }
            }
            Metadata::Reserved(copy) => {
                Piece::new(range.clone(), Structure::Ext4ReservedDescriptors { copy })
            }
            Metadata::BlockBitmap(group) => {
                Piece::with(range.clone(), Structure::Ext4BlockBitmap { group }, &BLOCK_BITMAP)
            }
            Metadata::InodeBitmap(group) => {
                Piece::with(range.clone(), Structure::Ext4InodeBitmap { group }, &INODE_BITMAP)
            }
            Metadata::InodeTable(group) => {
                let (index, range) = unit(self.geometry.inode_bytes);
                let number = u64::from(group) * self.geometry.inodes_per_group + index + 1;
                let inode = self.name(u32::try_from(number).unwrap_or(u32::MAX));
                Piece::with(range, Structure::Ext4Inode(inode), &INODE)
            }
        }
    }

    /// A piece of an inode's blocks: its data as far as they go on, other blocks one by one.
    fn owned(&self, run: Range<u64>, first: u64, inode: usize, usage: Use, offset: u64) -> Piece {
        let Inode { number, directory } = self.inodes[inode];
        let name = self.name(number);
        let block_bytes = self.geometry.block_bytes;
        let block = offset / block_bytes;
        let one = (block * block_bytes).max(run.start)..((block + 1) * block_bytes).min(run.end);
        match usage {
            Use::Map => Piece::new(one, Structure::Ext4BlockMap(name)),
            Use::Xattrs => Piece::new(one, Structure::Ext4Xattrs(name)),
            Use::Data(logical) => {
                let within = logical + (block - first);
                if number == self.geometry.journal_inode {
                    Piece::new(one, Structure::Ext4Journal { block: within })
                } else if directory {
                    Piece::new(one, Structure::Ext4Directory { inode: name, block: within })
                } else {
                    let skipped = run.start.saturating_sub(first * block_bytes);
                    let offset = logical * block_bytes + skipped;
                    Piece::new(run, Structure::Ext4Data { inode: name, offset })
                }
            }
        }
    }
}
