//! From a tree and options to a layout that fits: the size of the disk, its groups and inodes, and the UUID.
//!
//! Everything that can't become an image is refused here, before anything is written.

use blake3::Hasher;

use crate::error::PlanError;
use crate::geometry::{BLOCK_BYTES, BLOCKS_PER_GROUP, Geometry, MAX_BLOCKS};
use crate::inode::LOST_AND_FOUND;
use crate::journal;
use crate::layout::{self, Layout};
use crate::tree::{Kind, Meta, Node, NodeId, Tree};
use crate::xattr;

/// On a disk of a given size there is an inode for so many bytes, as mke2fs has it.
const BYTES_PER_INODE: u64 = 16_384;
/// A disk that is as large as it needs to be ends at such a point.
const SIZE_STEP_BLOCKS: u64 = (1 << 20) / BLOCK_BYTES;
const MAX_MAJOR: u32 = 0xfff;
const MAX_MINOR: u32 = 0xf_ffff;

/// Where the data of files starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Align {
    /// The grid: a power of two from 4096 bytes to 128 MiB.
    pub bytes: u64,
    /// Files below this are packed as without alignment.
    pub min_bytes: u64,
}

/// How an image is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the disk; default as many as are needed, rounded up to 1 MiB.
    pub size_bytes: Option<u64>,
    /// UUID; default one that follows from tree and options.
    pub uuid: Option<[u8; 16]>,
    /// Blocks of 4096 bytes of the journal; default none.
    pub journal_blocks: Option<u32>,
    /// Alignment of files.
    pub align: Option<Align>,
    /// Keep the content of files of up to 128 bytes in their inodes.
    pub inline_data: bool,
}

impl Options {
    /// Blocks of a journal that suits a disk of so many bytes, as mke2fs chooses.
    #[must_use]
    pub fn suitable_journal(size_bytes: u64) -> Option<u32> {
        match size_bytes / BLOCK_BYTES {
            0..2_048 => None,
            2_048..32_768 => Some(1_024),
            32_768..262_144 => Some(4_096),
            262_144..524_288 => Some(8_192),
            524_288..4_194_304 => Some(16_384),
            4_194_304..8_388_608 => Some(32_768),
            _ => Some(65_536),
        }
    }
}

/// An image that only has to be written.
#[derive(Debug)]
pub struct Plan {
    pub(crate) tree: Tree,
    pub(crate) options: Options,
    pub(crate) uuid: [u8; 16],
    pub(crate) layout: Layout,
    /// Blocks of the file system.
    pub(crate) blocks: u64,
    pub(crate) size_bytes: u64,
}

impl Plan {
    /// Lays out a tree, to which `/lost+found` is added where it is missing.
    pub fn new(mut tree: Tree, options: &Options) -> Result<Self, PlanError> {
        add_lost_and_found(&mut tree)?;
        check_options(options)?;
        for (index, node) in tree.nodes().iter().enumerate() {
            check_node(&tree, NodeId(index), node, options)?;
        }
        let (layout, blocks, size_bytes) = match options.size_bytes {
            Some(size) => fixed(&tree, options, size)?,
            None => fitting(&tree, options)?,
        };
        let uuid = options.uuid.unwrap_or_else(|| derived_uuid(&tree, options));
        Ok(Self { tree, options: *options, uuid, layout, blocks, size_bytes })
    }

    /// Planted bug `holes-marked-used`: blocks that alignment leaves free are marked as used.
    #[cfg(feature = "planted")]
    pub fn mark_holes(&mut self) {
        self.layout.mark_holes();
    }

    /// Bytes of the image.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

fn add_lost_and_found(tree: &mut Tree) -> Result<(), PlanError> {
    match layout::lost_and_found(tree) {
        Some(id) if *tree.kind(id) == Kind::Directory => Ok(()),
        Some(_) => Err(PlanError::LostAndFound),
        None => {
            let meta = Meta { mode: 0o700, mtime: tree.node(tree.root()).meta.mtime, ..Meta::default() };
            let added = tree.add(tree.root(), b"lost+found", meta, Kind::Directory);
            added.map(drop).map_err(|_| PlanError::LostAndFound)
        }
    }
}

fn check_options(options: &Options) -> Result<(), PlanError> {
    if let Some(Align { bytes, .. }) = options.align
        && !(bytes.is_power_of_two() && (BLOCK_BYTES..=BLOCKS_PER_GROUP * BLOCK_BYTES).contains(&bytes))
    {
        return Err(PlanError::BadAlign { bytes });
    }
    match options.journal_blocks {
        Some(blocks) if !(journal::MIN_BLOCKS..=journal::MAX_BLOCKS).contains(&blocks) => {
            Err(PlanError::BadJournal { blocks })
        }
        _ => Ok(()),
    }
}

fn check_node(tree: &Tree, id: NodeId, node: &Node, options: &Options) -> Result<(), PlanError> {
    let path = || tree.path(id);
    match node.kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor }
            if major > MAX_MAJOR || minor > MAX_MINOR =>
        {
            return Err(PlanError::DeviceNumber { path: path(), major, minor });
        }
        Kind::File(ref data) => {
            if data.len.div_ceil(BLOCK_BYTES) > MAX_BLOCKS {
                return Err(PlanError::FileTooLong { path: path(), len: data.len });
            }
            let bytes = data.data().iter().map(|run| run.end - run.start).sum::<u64>() * BLOCK_BYTES;
            if let Some(size) = options.size_bytes.filter(|size| bytes > *size) {
                return Err(PlanError::FileTooLarge { path: path(), len: bytes.min(data.len), size });
            }
        }
        _ => {}
    }
    let rest = layout::inline_rest(node, options).map(|len| vec![0; len]);
    let text = |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned();
    xattr::store(&node.meta.xattrs, rest.as_deref()).map(drop).map_err(|problem| match problem {
        xattr::Problem::UnknownName(name) => PlanError::UnknownXattr { path: path(), name: text(name) },
        xattr::Problem::BadAcl(name) => PlanError::BadAcl { path: path(), name: text(name) },
        xattr::Problem::TooLarge => PlanError::XattrsTooLarge { path: path() },
    })
}

/// Inodes up to the last one that is used.
pub(crate) fn used_inodes(tree: &Tree) -> u64 {
    // Of the nodes, the top folder has a reserved inode and `/lost+found` the last one counted here.
    u64::from(LOST_AND_FOUND) + tree.nodes().len() as u64 - 2
}

fn fixed(tree: &Tree, options: &Options, size: u64) -> Result<(Layout, u64, u64), PlanError> {
    let mut blocks = size / BLOCK_BYTES;
    if blocks > MAX_BLOCKS {
        return Err(PlanError::DiskTooLarge { size });
    }
    let mut groups = Geometry::groups_of(blocks).max(1);
    let needed = used_inodes(tree);
    let inodes = needed.max(size / BYTES_PER_INODE);
    let geometry = |groups| Geometry::new(groups, inodes).ok_or(PlanError::TooManyInodes { needed, size });
    // A last group that its own copy of the superblock would fill is left out.
    let last = groups - 1;
    if last > 0 && blocks - last * BLOCKS_PER_GROUP < geometry(groups)?.least_last(last) {
        (groups, blocks) = (last, last * BLOCKS_PER_GROUP);
    }
    let layout = Layout::new(tree, geometry(groups)?, options);
    if layout.end > blocks {
        return Err(PlanError::DoesNotFit { needed: layout.end * BLOCK_BYTES, size });
    }
    Ok((layout, blocks, size))
}

/// With more groups there are more descriptors and bitmaps, so the number of groups grows until all fits.
fn fitting(tree: &Tree, options: &Options) -> Result<(Layout, u64, u64), PlanError> {
    let inodes = used_inodes(tree);
    let mut groups = 1;
    loop {
        if groups * BLOCKS_PER_GROUP > MAX_BLOCKS {
            return Err(PlanError::DiskTooLarge { size: groups * BLOCKS_PER_GROUP * BLOCK_BYTES });
        }
        let Some(geometry) = Geometry::new(groups, inodes) else {
            groups += 1;
            continue;
        };
        let layout = Layout::new(tree, geometry, options);
        let last = groups - 1;
        let least = last * BLOCKS_PER_GROUP + geometry.least_last(last);
        let blocks = layout.end.max(least).next_multiple_of(SIZE_STEP_BLOCKS);
        let needed = Geometry::groups_of(blocks);
        if needed == groups {
            return Ok((layout, blocks, blocks * BLOCK_BYTES));
        }
        groups = needed;
    }
}

/// A UUID of version 8 from all but the content of files, which is not known yet.
fn derived_uuid(tree: &Tree, options: &Options) -> [u8; 16] {
    let mut hasher = Hasher::new_derive_key("ext4-writer uuid of a tree, 1");
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(format!("{:?}", Options { uuid: None, ..*options }).as_bytes());
    for node in tree.nodes() {
        let Meta { mode, uid, gid, mtime, xattrs } = &node.meta;
        let kind = match &node.kind {
            Kind::File(data) => format!("file {} {:?}", data.len, data.blocks),
            other => format!("{other:?}"),
        };
        add(format!("{mode} {uid} {gid} {mtime:?} {xattrs:?} {kind}").as_bytes());
        for (name, child) in &node.children {
            add(name);
            add(&(child.0 as u64).to_le_bytes());
        }
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::FileData;

    fn tree_of(lengths: &[u64]) -> Tree {
        let mut tree = Tree::new(Meta::default());
        for (index, len) in lengths.iter().enumerate() {
            let name = index.to_string();
            let kind = Kind::File(FileData::whole(*len, 0));
            tree.add(tree.root(), name.as_bytes(), Meta::default(), kind).unwrap();
        }
        tree
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_sizes() {
        let sized = |size| Options { size_bytes: Some(size), ..Options::default() };
        for (lengths, options, error) in [
            (
                &[2 << 20][..],
                sized(1 << 20),
                "`/0` has 2097152 bytes of data and the disk 1048576; ask for a larger size",
            ),
            (
                &[600 << 10, 600 << 10],
                sized(1 << 20),
                "the tree needs 1282048 bytes and the disk has 1048576; ask for a larger size",
            ),
            (
                &[],
                sized(1 << 45),
                "a disk of 35184372088832 bytes is more than the 16 TiB that this writer can do",
            ),
            (
                &[1 << 60],
                sized(1 << 30),
                "`/0` is 1152921504606846976 bytes long and a file of ext4 ends at 16 TiB",
            ),
            (
                &[],
                Options { journal_blocks: Some(1023), ..Options::default() },
                "a journal of 1023 blocks is below the 1024 that the kernel asks for, or above 262144",
            ),
            (
                &[],
                Options { align: Some(Align { bytes: 12_288, min_bytes: 0 }), ..Options::default() },
                "an alignment of 12288 bytes is no power of two from 4096 bytes to 128 MiB",
            ),
        ] {
            assert_eq!(Plan::new(tree_of(lengths), &options).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_disk_of_free_size_is_the_least_number_of_mebibytes() {
        for lengths in [&[][..], &[1], &[127 << 20], &[128 << 20], &[300 << 20, 1]] {
            let plan = Plan::new(tree_of(lengths), &Options::default()).unwrap();
            let smaller = Options { size_bytes: Some(plan.size_bytes() - (1 << 20)), ..Options::default() };
            assert_eq!(plan.size_bytes() % (1 << 20), 0);
            assert!(Plan::new(tree_of(lengths), &smaller).is_err(), "{lengths:?} at {}", plan.size_bytes());
        }
    }
}
