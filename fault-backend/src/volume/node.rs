//! What a volume is made of: inodes, their attributes, and what each kind of them holds.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::image::Image;

/// Number of an inode in its volume. It is handed out by a counter, so the same mutations give the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory of every volume.
    pub const ROOT: Self = Self(1);
}

impl fmt::Display for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Whole seconds.
    pub secs: i64,
    /// Nanoseconds beyond them, below 1,000,000,000.
    pub nanos: u32,
}

/// Attributes that every kind of inode has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Permission bits with set-user-id, set-group-id and sticky (0o7777); the type is the node's kind.
    pub mode: u32,
    /// User id of the owner.
    pub uid: u32,
    /// Group id of the owner.
    pub gid: u32,
    /// Names of the inode, for a directory 2 + its directories; 0 for an orphan.
    pub nlink: u32,
    /// Last access, as it was set; reads don't change it.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the content or the attributes.
    pub ctime: Timestamp,
    /// Extended attributes by full name (`user.x`).
    pub xattrs: OrdMap<OsString, Arc<[u8]>>,
}

/// Entries of a directory, in the order of their names' bytes.
pub type Entries = OrdMap<OsString, Ino>;

/// What an inode holds.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A regular file.
    File(Image),
    /// A directory.
    Dir(Entries),
    /// A symbolic link and its target.
    Symlink(OsString),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

impl NodeKind {
    /// The kind in a word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Dir(_) => "directory",
            Self::Symlink(_) => "symbolic link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
        }
    }

    /// The type bits of `st_mode`.
    pub fn type_bits(&self) -> u32 {
        use nix::sys::stat::SFlag;
        match self {
            Self::File(_) => SFlag::S_IFREG.bits(),
            Self::Dir(_) => SFlag::S_IFDIR.bits(),
            Self::Symlink(_) => SFlag::S_IFLNK.bits(),
            Self::Fifo => SFlag::S_IFIFO.bits(),
            Self::Socket => SFlag::S_IFSOCK.bits(),
        }
    }
}

/// An inode.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its attributes.
    pub attr: Attr,
    /// What it holds.
    pub kind: NodeKind,
    /// One of its names, as directory and name. It may be out of date where the inode has several names, or none.
    pub(super) home: (Ino, OsString),
}

impl Node {
    /// Length in bytes as `st_size` says it: a file's content, a link's target, 4096 for a directory.
    pub fn len_bytes(&self) -> u64 {
        match &self.kind {
            NodeKind::File(image) => image.len_bytes(),
            NodeKind::Dir(_) => 4096,
            NodeKind::Symlink(target) => target.len() as u64,
            NodeKind::Fifo | NodeKind::Socket => 0,
        }
    }

    /// The content, where it is a regular file.
    pub fn image(&self) -> Option<&Image> {
        match &self.kind {
            NodeKind::File(image) => Some(image),
            _ => None,
        }
    }

    /// The entries, where it is a directory.
    pub fn entries(&self) -> Option<&Entries> {
        match &self.kind {
            NodeKind::Dir(entries) => Some(entries),
            _ => None,
        }
    }

    /// An extended attribute's value.
    pub fn xattr(&self, name: &OsStr) -> Option<&[u8]> {
        self.attr.xattrs.get(name).map(|value| &**value)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, NodeKind::Dir(_))
    }
}
