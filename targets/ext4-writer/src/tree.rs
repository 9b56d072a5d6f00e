//! What an image shall hold: an arena of nodes, one for each inode, named by their folders.
//!
//! A node that several names lead to is a file with hard links. Content stays where it is: a node carries its length,
//! the ranges that hold data, and a number by which [`Contents`] opens it when it is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::geometry::BLOCK_BYTES;
use crate::time::Time;

/// Bytes of a name at most.
const MAX_NAME_BYTES: usize = 255;
/// Bytes of a symlink's target at most.
const MAX_TARGET_BYTES: usize = 4095;
/// Names of a file at most (`EXT4_LINK_MAX`).
const MAX_LINKS: u32 = 65_000;

/// One node of a tree. Numbers count up in the order in which nodes were added; files lie in that order, aligned ones before others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

/// What every node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The twelve permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content; the image has it for all of a node's times.
    pub mtime: Time,
    /// Extended attributes by full name (`user.mime`), values as `getxattr` gives them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A regular file.
    File(FileData),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// The content of a regular file, by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileData {
    pub(crate) len: u64,
    pub(crate) content: u64,
    /// Ranges of whole blocks that hold data, ascending and apart; none for a file without holes.
    pub(crate) blocks: Option<Vec<Range<u64>>>,
}

impl FileData {
    /// A file without holes; `content` is what [`Contents::open`] is asked for.
    #[must_use]
    pub fn whole(len: u64, content: u64) -> Self {
        Self { len, content, blocks: None }
    }

    /// A file of which only the given byte ranges, in ascending order, hold data.
    #[must_use]
    pub fn sparse(len: u64, content: u64, data: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut blocks: Vec<Range<u64>> = Vec::new();
        for range in data.into_iter().filter(|range| !range.is_empty()) {
            let (start, end) = (range.start / BLOCK_BYTES, range.end.div_ceil(BLOCK_BYTES));
            match blocks.last_mut() {
                Some(last) if start <= last.end => last.end = last.end.max(end),
                _ => blocks.push(start..end),
            }
        }
        Self { len, content, blocks: Some(blocks) }
    }

    /// Bytes of the file, holes included.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// What [`Contents::open`] is asked for.
    #[must_use]
    pub fn content(&self) -> u64 {
        self.content
    }

    /// Ranges of blocks that hold data.
    pub(crate) fn data(&self) -> Vec<Range<u64>> {
        let whole = 0..self.len.div_ceil(BLOCK_BYTES);
        let all = || if whole.is_empty() { Vec::new() } else { vec![whole.clone()] };
        self.blocks.clone().unwrap_or_else(all)
    }
}

/// What content is read from.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// Content, ready to be read from its first byte.
pub enum Opened<'a> {
    /// A file, which the kernel can copy from by itself.
    File(File),
    /// Anything else.
    Reader(Box<dyn ReadSeek + 'a>),
}

/// Opens the content of a tree's files.
pub trait Contents {
    /// The content that a [`FileData`] names. It has to have the length that the tree says.
    fn open(&self, content: u64) -> io::Result<Opened<'_>>;

    /// The same for another thread, which then reads ahead of what is written; none where that can't be.
    fn shared(&self) -> Option<&(dyn Contents + Sync)> {
        None
    }
}

/// A tree can't take a node.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Two nodes of one name.
    #[error("`{path}` is there twice; an image can hold one of them", path = path.display())]
    Twice {
        /// Path in the image.
        path: PathBuf,
    },
    /// Names end at 255 bytes.
    #[error(
        "the name of `{path}` has {len} bytes and ext4 takes {MAX_NAME_BYTES}; shorten it", path = path.display()
    )]
    NameTooLong {
        /// Path in the image.
        path: PathBuf,
        /// Bytes of the name.
        len: usize,
    },
    /// A name that no folder can hold.
    #[error("`{path}` has a name that is empty, `.` or `..`, or holds a slash or a zero byte", path = path.display())]
    BadName {
        /// Path in the image.
        path: PathBuf,
    },
    /// Targets end at 4095 bytes.
    #[error(
        "the target of the symlink `{path}` has {len} bytes; ext4 takes 1 to {MAX_TARGET_BYTES}",
        path = path.display()
    )]
    BadTarget {
        /// Path in the image.
        path: PathBuf,
        /// Bytes of the target.
        len: usize,
    },
    /// Names are in folders.
    #[error("`{path}` can't hold anything as it is not a folder", path = path.display())]
    NotADirectory {
        /// Path in the image.
        path: PathBuf,
    },
    /// A folder has one name.
    #[error("`{path}` would be a second name of a folder; only files can have several", path = path.display())]
    LinkToDirectory {
        /// Path in the image.
        path: PathBuf,
    },
    /// Links end at 65,000.
    #[error("`{path}` is one name more than the {MAX_LINKS} that ext4 takes for a file", path = path.display())]
    TooManyLinks {
        /// Path in the image.
        path: PathBuf,
    },
}

#[derive(Debug)]
pub(crate) struct Node {
    pub meta: Meta,
    pub kind: Kind,
    /// Names that lead here; for a folder 1 and those of the folders in it.
    pub links: u32,
    /// Of a folder.
    pub children: BTreeMap<Vec<u8>, NodeId>,
    /// The folder that it was first named in, and how.
    pub home: Option<(NodeId, Vec<u8>)>,
}

/// What an image shall hold.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// A tree of an empty folder.
    #[must_use]
    pub fn new(root: Meta) -> Self {
        Self { nodes: vec![Node::new(root, Kind::Directory, None)] }
    }

    /// The top folder.
    #[must_use]
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// Adds a node under a name.
    pub fn add(&mut self, parent: NodeId, name: &[u8], meta: Meta, kind: Kind) -> Result<NodeId, TreeError> {
        self.check_name(parent, name)?;
        if let Kind::Symlink(target) = &kind
            && !(1..=MAX_TARGET_BYTES).contains(&target.len())
        {
            return Err(TreeError::BadTarget { path: self.path_below(parent, name), len: target.len() });
        }
        let id = NodeId(self.nodes.len());
        if kind == Kind::Directory {
            self.nodes[parent.0].links += 1;
        }
        self.nodes.push(Node::new(meta, kind, Some((parent, name.to_vec()))));
        self.nodes[parent.0].children.insert(name.to_vec(), id);
        Ok(id)
    }

    /// Gives a file one more name.
    pub fn link(&mut self, parent: NodeId, name: &[u8], file: NodeId) -> Result<(), TreeError> {
        self.check_name(parent, name)?;
        let path = || self.path_below(parent, name);
        if self.nodes[file.0].kind == Kind::Directory {
            return Err(TreeError::LinkToDirectory { path: path() });
        }
        if self.nodes[file.0].links >= MAX_LINKS {
            return Err(TreeError::TooManyLinks { path: path() });
        }
        self.nodes[file.0].links += 1;
        self.nodes[parent.0].children.insert(name.to_vec(), file);
        Ok(())
    }

    /// The node of a name in a folder.
    #[must_use]
    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        self.nodes[parent.0].children.get(name).copied()
    }

    /// What is in a folder, in the order of names.
    pub fn children(&self, parent: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        self.nodes[parent.0].children.iter().map(|(name, id)| (name.as_slice(), *id))
    }

    /// What a node is.
    #[must_use]
    pub fn kind(&self, id: NodeId) -> &Kind {
        &self.nodes[id.0].kind
    }

    /// Replaces what is known of a node but its content.
    pub fn set_meta(&mut self, id: NodeId, meta: Meta) {
        self.nodes[id.0].meta = meta;
    }

    /// Bytes of the blocks that the content of all files takes.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        let blocks = |node: &Node| match &node.kind {
            Kind::File(data) => data.data().iter().map(|run| run.end - run.start).sum(),
            _ => 0,
        };
        self.nodes.iter().map(blocks).sum::<u64>() * BLOCK_BYTES
    }

    /// The path that a node was added under.
    #[must_use]
    pub fn path(&self, id: NodeId) -> PathBuf {
        let home = self.nodes[id.0].home.as_ref();
        home.map_or_else(|| PathBuf::from("/"), |(parent, name)| self.path_below(*parent, name))
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    fn path_below(&self, parent: NodeId, name: &[u8]) -> PathBuf {
        let mut names = vec![name];
        let mut at = parent;
        while let Some((parent, name)) = &self.nodes[at.0].home {
            names.push(name);
            at = *parent;
        }
        let mut path = Vec::new();
        for name in names.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        PathBuf::from(std::ffi::OsString::from_vec(path))
    }

    fn check_name(&self, parent: NodeId, name: &[u8]) -> Result<(), TreeError> {
        let path = || self.path_below(parent, name);
        if name.len() > MAX_NAME_BYTES {
            return Err(TreeError::NameTooLong { path: path(), len: name.len() });
        }
        if name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| b"/\0".contains(byte)) {
            return Err(TreeError::BadName { path: path() });
        }
        if self.nodes[parent.0].kind != Kind::Directory {
            return Err(TreeError::NotADirectory { path: self.path(parent) });
        }
        if self.child(parent, name).is_some() {
            return Err(TreeError::Twice { path: path() });
        }
        Ok(())
    }
}

impl Node {
    fn new(meta: Meta, kind: Kind, home: Option<(NodeId, Vec<u8>)>) -> Self {
        let links = if kind == Kind::Directory { 2 } else { 1 };
        Self { meta, kind, links, children: BTreeMap::new(), home }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_data_become_whole_blocks_and_melt_where_they_touch() {
        let data = |ranges: &[(u64, u64)]| {
            let data = FileData::sparse(1 << 20, 0, ranges.iter().map(|(start, end)| *start..*end)).data();
            data.into_iter().map(|run| (run.start, run.end)).collect::<Vec<_>>()
        };
        assert_eq!(data(&[]), []);
        assert_eq!(data(&[(1, 1)]), []);
        assert_eq!(data(&[(5, 6), (4000, 5000), (9000, 9001)]), [(0, 3)]);
        assert_eq!(data(&[(0, 4096), (8192, 8193)]), [(0, 1), (2, 3)]);
    }

    #[test]
    fn what_ext4_can_not_hold_is_refused_with_its_path() {
        let mut tree = Tree::new(Meta::default());
        let folder = tree.add(tree.root(), b"etc", Meta::default(), Kind::Directory).unwrap();
        let file = tree.add(folder, b"f", Meta::default(), Kind::Fifo).unwrap();
        for (parent, name, kind, error) in [
            (folder, &b"f"[..], Kind::Fifo, "`/etc/f` is there twice; an image can hold one of them"),
            (
                folder,
                b"..",
                Kind::Fifo,
                "`/etc/..` has a name that is empty, `.` or `..`, or holds a slash or a zero byte",
            ),
            (file, b"x", Kind::Fifo, "`/etc/f` can't hold anything as it is not a folder"),
            (
                folder,
                b"l",
                Kind::Symlink(Vec::new()),
                "the target of the symlink `/etc/l` has 0 bytes; ext4 takes 1 to 4095",
            ),
        ] {
            let refused = tree.add(parent, name, Meta::default(), kind).unwrap_err();
            assert_eq!(refused.to_string(), error);
        }
        let long = tree.add(folder, &[b'n'; 256], Meta::default(), Kind::Fifo).unwrap_err();
        assert!(long.to_string().ends_with("has 256 bytes and ext4 takes 255; shorten it"), "{long}");
        assert!(tree.add(folder, &[b'n'; 255], Meta::default(), Kind::Fifo).is_ok());
        let folder_again = tree.link(tree.root(), b"second", folder).unwrap_err();
        assert!(folder_again.to_string().starts_with("`/second` would be a second name"), "{folder_again}");
    }

    #[test]
    fn a_file_takes_65_000_names() {
        let mut tree = Tree::new(Meta::default());
        let file = tree.add(tree.root(), b"0", Meta::default(), Kind::Fifo).unwrap();
        for name in 1..MAX_LINKS {
            tree.link(tree.root(), name.to_string().as_bytes(), file).unwrap();
        }
        let refused = tree.link(tree.root(), b"more", file).unwrap_err();
        assert!(matches!(refused, TreeError::TooManyLinks { .. }), "{refused}");
    }
}
