//! Gives everything in an image its blocks: file data first, aligned files before others, then folders and the like, then
//! bitmaps, inode tables and the journal.
//!
//! A layout has no end; whether the disk is long enough is for [`Plan`](crate::Plan).

use std::ops::Range;

use crate::alloc::Allocator;
use crate::directory;
use crate::extent::{self, Extent, push_run};
#[cfg(feature = "planted")]
use crate::geometry::BLOCKS_PER_GROUP;
use crate::geometry::{BLOCK_BYTES, Geometry};
use crate::inode::{LOST_AND_FOUND, ROOT};
use crate::plan::{Align, Options};
use crate::superblock::LOG_GROUPS_PER_FLEX;
use crate::tree::{FileData, Kind, Node, NodeId, Tree};
use crate::xattr;

/// A symlink whose target is shorter than `i_block` lies in there.
const FAST_SYMLINK_BYTES: usize = 60;
/// Blocks of `/lost+found` at least, so that e2fsck need not allocate when it needs it.
pub(crate) const LOST_AND_FOUND_BLOCKS: u64 = 4;

/// The blocks of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placed {
    /// Data.
    pub extents: Vec<Extent>,
    /// Extent tree.
    pub tree_blocks: Vec<Range<u64>>,
    /// Extended attributes.
    pub xattr_block: Option<u64>,
}

impl Placed {
    /// Blocks of all kinds.
    pub fn blocks(&self) -> u64 {
        let data: u64 = self.extents.iter().map(|extent| extent.len).sum();
        let tree: u64 = self.tree_blocks.iter().map(|run| run.end - run.start).sum();
        data + tree + u64::from(self.xattr_block.is_some())
    }

    fn push(&mut self, logical: u64, runs: &[Range<u64>]) {
        let mut logical = logical;
        for run in runs {
            push_run(&mut self.extents, logical, run.clone());
            logical += run.end - run.start;
        }
    }
}

/// Where everything is.
#[derive(Debug)]
pub(crate) struct Layout {
    pub geometry: Geometry,
    /// By node.
    pub placed: Vec<Placed>,
    /// By group.
    pub block_bitmaps: Vec<u64>,
    /// By group.
    pub inode_bitmaps: Vec<u64>,
    /// First block, by group.
    pub inode_tables: Vec<u64>,
    pub journal: Option<Range<u64>>,
    /// The block behind the last that is used.
    pub end: u64,
    /// All blocks in use but copies of the superblock, ascending.
    used: Vec<Range<u64>>,
}

impl Layout {
    /// Lays out a tree whose attributes are known to fit.
    pub fn new(tree: &Tree, geometry: Geometry, options: &Options) -> Self {
        let mut blocks = Allocator::new(geometry);
        let mut placed = vec![Placed::default(); tree.nodes().len()];
        let order = DataOrder::of(tree, options);
        for (id, data) in &order.aligned {
            place_data(data, options.align, &mut blocks, &mut placed[id.0]);
        }
        if let Some(align) = options.align.filter(|_| !order.aligned.is_empty()) {
            blocks.skip_to_grid(align.bytes / BLOCK_BYTES);
        }
        for (id, data) in &order.packed {
            place_data(data, None, &mut blocks, &mut placed[id.0]);
        }
        let lost_and_found = lost_and_found(tree);
        for (index, (node, place)) in tree.nodes().iter().zip(&mut placed).enumerate() {
            let count = other_blocks(node, lost_and_found == Some(NodeId(index)));
            place.push(0, &blocks.take(count));
            place.tree_blocks = blocks.take(extent::tree_blocks(place.extents.len()));
            if needs_xattr_block(node, options) {
                place.xattr_block = blocks.take(1).first().map(|run| run.start);
            }
        }
        let (mut block_bitmaps, mut inode_bitmaps) = (Vec::new(), Vec::new());
        let flex = 1 << LOG_GROUPS_PER_FLEX;
        for first in (0..geometry.groups).step_by(flex) {
            let count = (geometry.groups - first).min(flex as u64);
            block_bitmaps.extend(blocks.reserve_contiguous(count));
            inode_bitmaps.extend(blocks.reserve_contiguous(count));
        }
        let table = |_| blocks.reserve_contiguous(geometry.inode_table_blocks()).start;
        let inode_tables = (0..geometry.groups).map(table).collect();
        let journal = options.journal_blocks.map(|count| blocks.reserve_contiguous(count.into()));
        let end = blocks.end();
        let used = blocks.into_used();
        Self { geometry, placed, block_bitmaps, inode_bitmaps, inode_tables, journal, end, used }
    }

    /// Planted bug: what was passed over within a group counts as used, though nothing owns it.
    #[cfg(feature = "planted")]
    pub fn mark_holes(&mut self) {
        let mut marked: Vec<Range<u64>> = Vec::new();
        for run in std::mem::take(&mut self.used) {
            match marked.last_mut() {
                Some(last) if (last.end - 1) / BLOCKS_PER_GROUP == run.start / BLOCKS_PER_GROUP => {
                    last.end = run.end;
                }
                _ => marked.push(run),
            }
        }
        self.used = marked;
    }

    /// The runs that are used within a range, whole.
    pub fn used_in(&self, range: &Range<u64>) -> &[Range<u64>] {
        let first = self.used.partition_point(|run| run.end <= range.start);
        let end = self.used.partition_point(|run| run.start < range.end);
        &self.used[first..end]
    }
}

/// Files in the order of their blocks. Those on the grid come first: what is packed behind the end of one would share a
/// cell with it, and take the space that the next one leaves free anyhow.
pub(crate) struct DataOrder<'a> {
    /// On the grid.
    pub aligned: Vec<(NodeId, &'a FileData)>,
    /// One behind the other.
    pub packed: Vec<(NodeId, &'a FileData)>,
}

impl<'a> DataOrder<'a> {
    /// The files of a tree whose content is not in their inodes.
    pub fn of(tree: &'a Tree, options: &Options) -> Self {
        let files = tree.nodes().iter().enumerate().filter_map(|(index, node)| match &node.kind {
            Kind::File(data) if !is_inline(data, options) => Some((NodeId(index), data)),
            _ => None,
        });
        let is_aligned = |(_, data): &(NodeId, &FileData)| {
            options.align.is_some_and(|align| data.len > 0 && data.len >= align.min_bytes)
        };
        let (aligned, packed) = files.partition(is_aligned);
        Self { aligned, packed }
    }
}

/// Whether a file's content goes into its inode.
pub(crate) fn is_inline(data: &FileData, options: &Options) -> bool {
    options.inline_data && data.len > 0 && data.len <= (60 + xattr::INLINE_ROOM) as u64
}

/// Whether a symlink's target goes into its inode.
pub(crate) fn is_fast(target: &[u8]) -> bool {
    target.len() < FAST_SYMLINK_BYTES
}

/// Bytes that inline data has beyond `i_block`; none for a node without inline data.
pub(crate) fn inline_rest(node: &Node, options: &Options) -> Option<usize> {
    match &node.kind {
        Kind::File(data) if is_inline(data, options) => Some((data.len as usize).saturating_sub(60)),
        _ => None,
    }
}

fn needs_xattr_block(node: &Node, options: &Options) -> bool {
    let rest = inline_rest(node, options).map(|len| vec![0; len]);
    xattr::store(&node.meta.xattrs, rest.as_deref()).is_ok_and(|stored| !stored.block.is_empty())
}

/// The folder that e2fsck needs, if the tree has it.
pub(crate) fn lost_and_found(tree: &Tree) -> Option<NodeId> {
    tree.child(tree.root(), b"lost+found")
}

/// Inode of each node: two have fixed ones, the others count up behind.
pub(crate) fn inode_numbers(tree: &Tree) -> Vec<u32> {
    let special = lost_and_found(tree);
    let mut next = LOST_AND_FOUND;
    let number = |index| match NodeId(index) {
        id if id == tree.root() => ROOT,
        id if Some(id) == special => LOST_AND_FOUND,
        _ => {
            next += 1;
            next
        }
    };
    (0..tree.nodes().len()).map(number).collect()
}

/// Blocks of data of what is not a file.
fn other_blocks(node: &Node, is_lost_and_found: bool) -> u64 {
    match &node.kind {
        Kind::Directory => {
            let names = directory::count_blocks(node.children.keys().map(Vec::len));
            if is_lost_and_found { names.max(LOST_AND_FOUND_BLOCKS) } else { names }
        }
        Kind::Symlink(target) if !is_fast(target) => 1,
        _ => 0,
    }
}

fn place_data(data: &FileData, align: Option<Align>, blocks: &mut Allocator, place: &mut Placed) {
    let grid = align.map(|align| align.bytes / BLOCK_BYTES);
    for range in data.data() {
        let count = range.end - range.start;
        let runs = match grid {
            Some(grid) => blocks.take_on_grid(count, grid, range.start % grid),
            None => blocks.take(count),
        };
        place.push(range.start, &runs);
    }
}
