//! The mutations: everything that a tool can do to a volume, one value for each request that the seam sees.

use std::ffi::OsString;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::node::{Ino, Timestamp};

/// How a rename treats what its target name holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RenameMode {
    /// The target is replaced.
    #[default]
    Replace,
    /// A target that exists is EEXIST (`RENAME_NOREPLACE`).
    NoReplace,
    /// Both must exist and change places (`RENAME_EXCHANGE`).
    Exchange,
}

/// Whether setting an extended attribute may create or replace it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum XattrMode {
    /// Either.
    #[default]
    Any,
    /// It must not exist (`XATTR_CREATE`).
    Create,
    /// It must exist (`XATTR_REPLACE`).
    Replace,
}

/// What `mknod` makes. Devices are no part of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

/// Who owns a new inode, and its permission bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// Permission bits (0o7777), after the umask.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// One change of a volume. Ranges and offsets are bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mutation {
    /// Writes `data`; the file grows where it ends before.
    Write {
        /// File.
        ino: Ino,
        /// First byte.
        offset: u64,
        /// Payload.
        data: Arc<[u8]>,
    },
    /// Sets the length; what is added is zeros.
    Truncate {
        /// File.
        ino: Ino,
        /// New length in bytes.
        len: u64,
    },
    /// Grows the file to the range's end where it is shorter, and changes nothing else (`fallocate` mode 0).
    Allocate {
        /// File.
        ino: Ino,
        /// Range.
        range: Range<u64>,
    },
    /// Zeroes the part of the range that lies in the file (`FALLOC_FL_PUNCH_HOLE`).
    Punch {
        /// File.
        ino: Ino,
        /// Range.
        range: Range<u64>,
    },
    /// Zeroes the range (`FALLOC_FL_ZERO_RANGE`); the file grows to its end unless the length is kept.
    Zero {
        /// File.
        ino: Ino,
        /// Range.
        range: Range<u64>,
        /// The length stays.
        keep_len: bool,
    },
    /// Makes an empty regular file.
    Create {
        /// Directory.
        parent: Ino,
        /// Name in it.
        name: OsString,
        /// Mode and owner.
        owned: Owned,
    },
    /// Makes a directory.
    Mkdir {
        /// Directory.
        parent: Ino,
        /// Name in it.
        name: OsString,
        /// Mode and owner.
        owned: Owned,
    },
    /// Makes a symbolic link; its mode is 0o777 whatever is given.
    Symlink {
        /// Directory.
        parent: Ino,
        /// Name in it.
        name: OsString,
        /// Where it leads to.
        target: OsString,
        /// Owner.
        owned: Owned,
    },
    /// Makes a named pipe or a socket's name.
    Mknod {
        /// Directory.
        parent: Ino,
        /// Name in it.
        name: OsString,
        /// What it is.
        special: Special,
        /// Mode and owner.
        owned: Owned,
    },
    /// Gives an inode another name.
    Link {
        /// Inode; no directory.
        ino: Ino,
        /// Directory of the new name.
        parent: Ino,
        /// New name.
        name: OsString,
    },
    /// Removes a name that is no directory's.
    Unlink {
        /// Directory.
        parent: Ino,
        /// Name in it.
        name: OsString,
    },
    /// Removes an empty directory.
    Rmdir {
        /// Directory that holds it.
        parent: Ino,
        /// Name in it.
        name: OsString,
    },
    /// Renames.
    Rename {
        /// Directory of the old name.
        from: Ino,
        /// Old name.
        from_name: OsString,
        /// Directory of the new name.
        to: Ino,
        /// New name.
        to_name: OsString,
        /// What happens to what is there.
        mode: RenameMode,
    },
    /// Changes attributes; what is none stays.
    SetAttr {
        /// Inode.
        ino: Ino,
        /// The changes.
        set: SetAttr,
    },
    /// Sets an extended attribute.
    SetXattr {
        /// Inode.
        ino: Ino,
        /// Full name.
        name: OsString,
        /// Value.
        value: Arc<[u8]>,
        /// Whether it may exist.
        mode: XattrMode,
    },
    /// Removes an extended attribute.
    RemoveXattr {
        /// Inode.
        ino: Ino,
        /// Full name.
        name: OsString,
    },
}

/// Attributes to change; what is none stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAttr {
    /// Permission bits (0o7777).
    pub mode: Option<u32>,
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Time of the last access.
    pub atime: Option<Timestamp>,
    /// Time of the last change.
    pub mtime: Option<Timestamp>,
}

impl SetAttr {
    /// Whether nothing but times changes, which no content id tells.
    pub fn is_times_only(&self) -> bool {
        self.mode.is_none() && self.uid.is_none() && self.gid.is_none()
    }
}

/// What a mutation did, beyond changing the volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The inode that was made, or the one that got a name.
    pub ino: Option<Ino>,
    /// The inode that lost its last name. It stays as an orphan until it is dropped.
    pub orphaned: Option<Ino>,
}

impl Mutation {
    /// The inode whose content or attributes change; none where names change.
    pub fn ino(&self) -> Option<Ino> {
        match self {
            Self::Write { ino, .. }
            | Self::Truncate { ino, .. }
            | Self::Allocate { ino, .. }
            | Self::Punch { ino, .. }
            | Self::Zero { ino, .. }
            | Self::SetAttr { ino, .. }
            | Self::SetXattr { ino, .. }
            | Self::RemoveXattr { ino, .. } => Some(*ino),
            _ => None,
        }
    }

    /// The bytes of the file that are written or zeroed; none where it is about something else.
    pub fn range(&self) -> Option<Range<u64>> {
        match self {
            Self::Write { offset, data, .. } => Some(*offset..offset.saturating_add(data.len() as u64)),
            Self::Punch { range, .. } | Self::Zero { range, .. } => Some(range.clone()),
            _ => None,
        }
    }

    /// Bytes of payload that it brings along.
    pub fn payload_bytes(&self) -> u64 {
        match self {
            Self::Write { data, .. } => data.len() as u64,
            _ => 0,
        }
    }

    /// Whether both change the same content: times, which may be the clock's, don't count.
    pub fn same_change(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SetAttr { ino: a, set: x }, Self::SetAttr { ino: b, set: y }) => {
                a == b && (x.mode, x.uid, x.gid) == (y.mode, y.uid, y.gid)
            }
            (a, b) => a == b,
        }
    }

    /// Whether it is a write, the only mutation that can be torn.
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }

    /// Whether a full disk can refuse it.
    pub fn needs_space(&self) -> bool {
        !matches!(
            self,
            Self::Truncate { .. }
                | Self::Punch { .. }
                | Self::Unlink { .. }
                | Self::Rmdir { .. }
                | Self::SetAttr { .. }
                | Self::RemoveXattr { .. }
        )
    }
}
