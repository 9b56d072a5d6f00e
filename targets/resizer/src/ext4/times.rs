//! Putting back the times that resize2fs falsifies when a shrink gives inodes other numbers.
//!
//! It sets the change time of every inode that it moves, and change and modification time of every directory that
//! names one, to its clock, although no file changed. Inode fields are those of the kernel's documentation of the
//! ext4 disk layout.

use std::ops::Range;

use super::layout::{Layout, Source, Staged, crc32c, le16, le32};
use crate::error::Result;

/// What is read of an inode table at once.
const WINDOW_BYTES: u64 = 256 * 1024;

const ROOT_INODE: u64 = 2;
const EA_INODE_FLAG: u32 = 0x20_0000;

const CTIME: Range<usize> = 0x0C..0x10;
const MTIME: Range<usize> = 0x10..0x14;
const FLAGS: usize = 0x20;
const GENERATION: Range<usize> = 0x64..0x68;
const CHECKSUM_LOW: Range<usize> = 0x7C..0x7E;
/// How many bytes an inode uses beyond the first [`OLD_INODE_BYTES`].
const EXTRA_BYTES: usize = 0x80;
const CHECKSUM_HIGH: Range<usize> = 0x82..0x84;
const CTIME_EXTRA: Range<usize> = 0x84..0x88;
const MTIME_EXTRA: Range<usize> = 0x88..0x8C;
const OLD_INODE_BYTES: usize = 128;

/// The times that are put back; where an inode is too short for one, it has none.
const TIMES: [Range<usize>; 4] = [CTIME, MTIME, CTIME_EXTRA, MTIME_EXTRA];
/// What else a move may change: where blocks lie, how many the maps of them take, and the checksum.
const MOVABLE: [Range<usize>; 7] =
    [0x1C..0x20, 0x28..0x64, 0x68..0x6C, 0x74..0x76, 0x76..0x78, CHECKSUM_LOW, CHECKSUM_HIGH];

/// Gives every inode of `new` the change and modification time that it has in `old`. False where it can't be told
/// which inode was moved to which number; then the moved ones keep their false times.
pub(super) fn restore(
    old: &dyn Source,
    old_layout: &Layout,
    new: &mut Staged,
    new_layout: &Layout,
) -> Result<bool> {
    if old_layout.inode_bytes != new_layout.inode_bytes {
        return Ok(false);
    }
    let was = InodeSet::load(old, old_layout)?;
    let is = InodeSet::load(new, new_layout)?;
    let moved = moved(old, &was, new, &is)?;

    // In ascending order on both sides, so that each inode table is read once.
    let stayed = is.numbers().filter(|number| was.contains(*number)).map(|number| (number, number));
    put_back(&mut Inodes::new(old, old_layout), new, new_layout, stayed)?;
    let pairs = moved.as_deref().unwrap_or_default();
    put_back(&mut Inodes::new(old, old_layout), new, new_layout, pairs.iter().copied())?;
    Ok(moved.is_some())
}

/// The old and new numbers of the moved inodes. resize2fs goes through the inodes that the new file system has no
/// place for in ascending order and gives each the first number that is free, so they pair up in order; `None`
/// where any pair is not the same file.
fn moved(
    old: &dyn Source,
    was: &InodeSet<'_>,
    new: &dyn Source,
    is: &InodeSet<'_>,
) -> Result<Option<Vec<(u64, u64)>>> {
    let gone: Vec<u64> = was.numbers().filter(|number| *number > is.layout.inodes()).collect();
    let come: Vec<u64> = is.numbers().filter(|number| !was.contains(*number)).collect();
    if gone.len() != come.len() {
        return Ok(None);
    }
    let pairs: Vec<(u64, u64)> = gone.into_iter().zip(come).collect();
    let (mut before, mut after) = (Inodes::new(old, was.layout), Inodes::new(new, is.layout));
    for (from, to) in &pairs {
        if !is_same_file(before.get(*from)?, after.get(*to)?) {
            return Ok(None);
        }
    }
    Ok(Some(pairs))
}

/// Whether two inodes agree in all that a move leaves alone.
fn is_same_file(one: &[u8], other: &[u8]) -> bool {
    // Behind the fields lie extended attributes, which may name other inodes that have moved too.
    let fields = OLD_INODE_BYTES + extra_bytes(one);
    let may_differ = |at: usize| TIMES.iter().chain(&MOVABLE).any(|range| range.contains(&at));
    (0..fields.min(one.len())).all(|at| one.get(at) == other.get(at) || may_differ(at))
}

/// Copies the times of each pair of an old and a new number; the inodes must be in use.
fn put_back(
    old: &mut Inodes<'_>,
    new: &mut Staged,
    new_layout: &Layout,
    pairs: impl Iterator<Item = (u64, u64)>,
) -> Result<()> {
    let mut table = Window::default();
    for (from, to) in pairs {
        // Of the reserved inodes only the root directory is a file that anybody sees.
        if to != ROOT_INODE && to < new_layout.first_inode {
            continue;
        }
        let inode = table.get(new, new_layout, to)?;
        let before = old.get(from)?;
        // The change time of an inode that holds an extended attribute is its reference count.
        if le32(inode, FLAGS) & EA_INODE_FLAG != 0 || !copy_times(before, inode) {
            continue;
        }
        if let Some(seed) = new_layout.checksum_seed {
            set_checksum(seed, to, inode);
        }
        new.stage.write_at(new_layout.inode_offset(to), inode)?;
    }
    Ok(())
}

/// Whether any time differed.
fn copy_times(from: &[u8], to: &mut [u8]) -> bool {
    let mut differed = false;
    for field in TIMES {
        if has_field(from, &field) && has_field(to, &field) && from[field.clone()] != to[field.clone()] {
            to[field.clone()].copy_from_slice(&from[field]);
            differed = true;
        }
    }
    differed
}

/// Sets an inode's checksum to that of its present content.
fn set_checksum(seed: u32, number: u64, inode: &mut [u8]) {
    let fields: &[Range<usize>] =
        if has_field(inode, &CHECKSUM_HIGH) { &[CHECKSUM_LOW, CHECKSUM_HIGH] } else { &[CHECKSUM_LOW] };
    for field in fields {
        inode[field.clone()].fill(0);
    }
    let state = crc32c(seed, &(number as u32).to_le_bytes());
    let state = crc32c(state, &inode[GENERATION]);
    let checksum = crc32c(state, inode).to_le_bytes();
    for (field, half) in fields.iter().zip(checksum.chunks(2)) {
        inode[field.clone()].copy_from_slice(half);
    }
}

/// Whether an inode is long enough to have a field.
fn has_field(inode: &[u8], field: &Range<usize>) -> bool {
    field.end <= OLD_INODE_BYTES + extra_bytes(inode) && field.end <= inode.len()
}

/// The bytes of fields beyond the first [`OLD_INODE_BYTES`].
fn extra_bytes(inode: &[u8]) -> usize {
    if inode.len() > OLD_INODE_BYTES { usize::from(le16(inode, EXTRA_BYTES)) } else { 0 }
}

/// Which inodes are in use, from the inode bitmaps.
struct InodeSet<'a> {
    layout: &'a Layout,
    /// The bitmap of each group, cut to the bytes that count; empty for a group that has no inodes in use.
    groups: Vec<Vec<u8>>,
}

impl InodeSet<'_> {
    fn load<'a>(source: &dyn Source, layout: &'a Layout) -> Result<InodeSet<'a>> {
        let mut groups = Vec::with_capacity(layout.groups.len());
        for group in &layout.groups {
            let mut bitmap = Vec::new();
            if !group.inodes_uninit {
                bitmap.resize(layout.inodes_per_group.div_ceil(8) as usize, 0);
                source.read_at(group.inode_bitmap * layout.block_bytes, &mut bitmap)?;
            }
            groups.push(bitmap);
        }
        Ok(InodeSet { layout, groups })
    }

    /// Inode numbers begin with one.
    fn contains(&self, number: u64) -> bool {
        let (group, index) = self.layout.inode_place(number);
        let byte = self.groups.get(group).and_then(|bitmap| bitmap.get((index / 8) as usize));
        byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// Those in use, in order.
    fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        (1..=self.layout.inodes()).filter(|number| self.contains(*number))
    }
}

/// Reads inodes.
struct Inodes<'a> {
    source: &'a dyn Source,
    layout: &'a Layout,
    window: Window,
}

impl<'a> Inodes<'a> {
    fn new(source: &'a dyn Source, layout: &'a Layout) -> Inodes<'a> {
        Inodes { source, layout, window: Window::default() }
    }

    fn get(&mut self, number: u64) -> Result<&[u8]> {
        self.window.get(self.source, self.layout, number).map(|inode| &*inode)
    }
}

/// A piece of an inode table, moved on when an inode outside of it is asked for.
#[derive(Default)]
struct Window {
    offset_bytes: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// An inode of `layout`; a change made to what it returns stays in the window only.
    fn get(&mut self, source: &dyn Source, layout: &Layout, number: u64) -> Result<&mut [u8]> {
        let wanted = layout.inode_offset(number);
        let end = self.offset_bytes + self.bytes.len() as u64;
        if wanted < self.offset_bytes || wanted + layout.inode_bytes > end {
            let (_, index) = layout.inode_place(number);
            let left = (layout.inodes_per_group - index) * layout.inode_bytes;
            self.bytes.resize(left.min(WINDOW_BYTES) as usize, 0);
            self.offset_bytes = wanted;
            source.read_at(wanted, &mut self.bytes)?;
        }
        let at = (wanted - self.offset_bytes) as usize;
        Ok(&mut self.bytes[at..at + layout.inode_bytes as usize])
    }
}
