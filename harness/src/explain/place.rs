//! Where a difference lies, in the terms of the structure that it lies in: from a partition down to a field's inode or
//! a file's bytes. A place prints as a person would name it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where bytes lie.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The partition, where the file is a disk with a table and the bytes are in one.
    pub partition: Option<PartitionName>,
    /// What they belong to there.
    pub structure: Structure,
}

/// A partition as a table lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartitionName {
    /// Number of its entry, from 1.
    pub index: u32,
    /// Its name, which may be empty.
    pub label: String,
}

/// A copy of a GPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableCopy {
    /// At the disk's start.
    Primary,
    /// At its end.
    Backup,
}

/// An inode of an ext4, and a path to it where one is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InodeName {
    /// Number, from 1.
    pub number: u32,
    /// A path from the file system's root.
    pub path: Option<String>,
}

/// What bytes belong to. Offsets are bytes, blocks and clusters count from the file system's start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// Sector 0 of a GPT disk.
    ProtectiveMbr,
    /// A header of a GPT.
    GptHeader {
        /// Which.
        copy: TableCopy,
    },
    /// An entry of a GPT's array.
    GptEntry {
        /// Of which copy.
        copy: TableCopy,
        /// Number, from 1.
        index: u32,
        /// Its name, where it is used.
        label: Option<String>,
    },
    /// Space of a disk that no partition and no table takes.
    Unallocated {
        /// Offset in the file.
        offset: u64,
    },
    /// The superblock of an ext4, or a copy of it.
    Ext4Superblock {
        /// The group that holds it; 0 is the one that counts.
        group: u32,
    },
    /// A group descriptor of an ext4.
    Ext4Descriptor {
        /// The group that it describes.
        group: u32,
        /// The group that holds this copy; 0 is the one that counts.
        copy: u32,
    },
    /// Descriptor blocks that are reserved for growing.
    Ext4ReservedDescriptors {
        /// The group that holds them.
        copy: u32,
    },
    /// A group's block bitmap.
    Ext4BlockBitmap {
        /// The group.
        group: u32,
    },
    /// A group's inode bitmap.
    Ext4InodeBitmap {
        /// The group.
        group: u32,
    },
    /// An inode in its table.
    Ext4Inode(InodeName),
    /// A block of the journal.
    Ext4Journal {
        /// Its number in the journal.
        block: u64,
    },
    /// A block of a directory.
    Ext4Directory {
        /// The directory.
        inode: InodeName,
        /// Its number in the directory.
        block: u64,
    },
    /// A file's bytes, or a long link's.
    Ext4Data {
        /// The file.
        inode: InodeName,
        /// Offset in the file.
        offset: u64,
    },
    /// A block that says where an inode's blocks are (extent tree, indirect block).
    Ext4BlockMap(InodeName),
    /// A block of extended attributes.
    Ext4Xattrs(InodeName),
    /// A block that nothing owns.
    Ext4Free {
        /// Its number.
        block: u64,
    },
    /// The boot sector of a FAT, or its copy.
    FatBootSector {
        /// It is the copy.
        backup: bool,
    },
    /// The sector with the free clusters' count, or its copy.
    FatInfo {
        /// It is the copy.
        backup: bool,
    },
    /// Reserved sectors of a FAT that hold nothing defined.
    FatReserved {
        /// Offset in the file system.
        offset: u64,
    },
    /// An entry of an allocation table.
    FatEntry {
        /// Which table, from 1.
        table: u32,
        /// The cluster that it is about.
        cluster: u32,
    },
    /// Bytes of a directory.
    FatDirectory {
        /// Its path.
        path: String,
        /// Offset in it.
        offset: u64,
    },
    /// A file's bytes.
    FatData {
        /// Its path.
        path: String,
        /// Offset in the file.
        offset: u64,
    },
    /// A cluster that nothing owns.
    FatFree {
        /// Its number.
        cluster: u32,
    },
    /// The header of a qcow2 image.
    Qcow2Header,
    /// Header extensions and the backing file's name.
    Qcow2Extensions,
    /// An entry of an L1 table.
    Qcow2L1 {
        /// Number of the entry.
        index: u64,
        /// The snapshot whose table it is; none for the active one.
        snapshot: Option<String>,
    },
    /// An entry of an L2 table.
    Qcow2L2 {
        /// Offset of the guest's disk that it maps.
        guest_offset: u64,
        /// The snapshot whose table it is; none for the active one.
        snapshot: Option<String>,
    },
    /// An entry of the refcount table.
    Qcow2RefcountTable {
        /// Number of the entry.
        index: u64,
    },
    /// A refcount.
    Qcow2Refcount {
        /// The cluster of the file that it counts.
        cluster: u64,
    },
    /// The list of snapshots.
    Qcow2Snapshots,
    /// A cluster of the guest's data.
    Qcow2Data {
        /// Offset of the guest's disk.
        guest_offset: u64,
        /// The snapshot by which it is reached; none for the active disk.
        snapshot: Option<String>,
    },
    /// A cluster that nothing refers to.
    Qcow2Free {
        /// Its number.
        cluster: u64,
    },
    /// Bytes of a partition without a file system that is known here.
    Payload {
        /// What it looks like.
        content: Content,
        /// Offset in the partition.
        offset: u64,
    },
    /// Bytes of a file without a known structure.
    Bytes {
        /// Offset in the file.
        offset: u64,
    },
    /// The file as a whole: that it exists, its length, an attribute.
    WholeFile,
}

/// What a partition's bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A squashfs image.
    Squashfs,
    /// An NTFS, whose structures are not told apart here.
    Ntfs,
    /// Nothing that is known here.
    Unknown,
}

impl Structure {
    /// The same without what tells its parts apart: pieces of one file, or of one free area, are told as one.
    pub fn whole(&self) -> Self {
        let mut whole = self.clone();
        match &mut whole {
            Self::Unallocated { offset }
            | Self::Ext4Data { offset, .. }
            | Self::FatReserved { offset }
            | Self::FatDirectory { offset, .. }
            | Self::FatData { offset, .. }
            | Self::Payload { offset, .. }
            | Self::Bytes { offset } => *offset = 0,
            Self::Ext4Free { block } | Self::Ext4Journal { block } => *block = 0,
            Self::Qcow2Data { guest_offset, .. } => *guest_offset = 0,
            Self::FatFree { cluster } => *cluster = 0,
            Self::FatEntry { cluster, .. } => *cluster = 0,
            Self::Qcow2Free { cluster } => *cluster = 0,
            _ => {}
        }
        whole
    }

    /// Whether it is free space, in which nobody looks for anything.
    pub fn is_free(&self) -> bool {
        matches!(
            self,
            Self::Unallocated { .. }
                | Self::Ext4Free { .. }
                | Self::Ext4ReservedDescriptors { .. }
                | Self::FatFree { .. }
                | Self::FatReserved { .. }
                | Self::Qcow2Free { .. }
        )
    }

    /// What kind it is, for counts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ProtectiveMbr => "protective MBR",
            Self::GptHeader { .. } => "GPT header",
            Self::GptEntry { .. } => "GPT entry",
            Self::Unallocated { .. } => "unallocated space",
            Self::Ext4Superblock { .. } => "ext4 superblock",
            Self::Ext4Descriptor { .. } | Self::Ext4ReservedDescriptors { .. } => "ext4 group descriptor",
            Self::Ext4BlockBitmap { .. } => "ext4 block bitmap",
            Self::Ext4InodeBitmap { .. } => "ext4 inode bitmap",
            Self::Ext4Inode(_) => "ext4 inode",
            Self::Ext4Journal { .. } => "ext4 journal",
            Self::Ext4Directory { .. } => "ext4 directory block",
            Self::Ext4Data { .. } => "ext4 file data",
            Self::Ext4BlockMap(_) => "ext4 block map",
            Self::Ext4Xattrs(_) => "ext4 xattr block",
            Self::Ext4Free { .. } => "free ext4 block",
            Self::FatBootSector { .. } => "FAT boot sector",
            Self::FatInfo { .. } => "FAT FSInfo",
            Self::FatReserved { .. } => "reserved FAT sector",
            Self::FatEntry { .. } => "FAT entry",
            Self::FatDirectory { .. } => "FAT directory",
            Self::FatData { .. } => "FAT file data",
            Self::FatFree { .. } => "free FAT cluster",
            Self::Qcow2Header | Self::Qcow2Extensions => "qcow2 header",
            Self::Qcow2L1 { .. } => "qcow2 L1 entry",
            Self::Qcow2L2 { .. } => "qcow2 L2 entry",
            Self::Qcow2RefcountTable { .. } => "qcow2 refcount table entry",
            Self::Qcow2Refcount { .. } => "qcow2 refcount",
            Self::Qcow2Snapshots => "qcow2 snapshot table",
            Self::Qcow2Data { .. } => "qcow2 data cluster",
            Self::Qcow2Free { .. } => "free qcow2 cluster",
            Self::Payload { .. } => "partition payload",
            Self::Bytes { .. } => "bytes of no known structure",
            Self::WholeFile => "file",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(partition) = &self.partition {
            write!(f, "{partition}: ")?;
        }
        self.structure.fmt(f)
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label.as_str() {
            "" => write!(f, "partition {}", self.index),
            label => write!(f, "partition `{label}` (index {})", self.index),
        }
    }
}

impl fmt::Display for TableCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
        })
    }
}

impl fmt::Display for InodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{path} (inode {})", self.number),
            None => write!(f, "inode {}", self.number),
        }
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |snapshot: &Option<String>| match snapshot {
            Some(name) => format!(" of snapshot `{name}`"),
            None => String::new(),
        };
        let copy_in = |group: u32| match group {
            0 => String::new(),
            group => format!(" (copy in group {group})"),
        };
        let backup = |backup: bool| if backup { "backup " } else { "" };
        match self {
            Self::ProtectiveMbr => f.write_str("protective MBR"),
            Self::GptHeader { copy } => write!(f, "{copy} GPT header"),
            Self::GptEntry { copy, index, label: Some(label) } if label.is_empty() => {
                write!(f, "{copy} GPT entry {index} (unnamed)")
            }
            Self::GptEntry { copy, index, label: Some(label) } => {
                write!(f, "{copy} GPT entry {index} (`{label}`)")
            }
            Self::GptEntry { copy, index, label: None } => write!(f, "{copy} GPT entry {index} (unused)"),
            Self::Unallocated { offset } => write!(f, "unallocated space at {offset:#x}"),
            Self::Ext4Superblock { group } => write!(f, "ext4 superblock{}", copy_in(*group)),
            Self::Ext4Descriptor { group, copy } => {
                write!(f, "ext4 descriptor of group {group}{}", copy_in(*copy))
            }
            Self::Ext4ReservedDescriptors { copy } => {
                write!(f, "ext4 blocks reserved for descriptors{}", copy_in(*copy))
            }
            Self::Ext4BlockBitmap { group } => write!(f, "ext4 block bitmap of group {group}"),
            Self::Ext4InodeBitmap { group } => write!(f, "ext4 inode bitmap of group {group}"),
            Self::Ext4Inode(inode) => match &inode.path {
                Some(path) => write!(f, "ext4 inode {} ({path})", inode.number),
                None => write!(f, "ext4 inode {}", inode.number),
            },
            Self::Ext4Journal { block } => write!(f, "ext4 journal, block {block}"),
            Self::Ext4Directory { inode, block } => write!(f, "ext4 directory {inode}, block {block}"),
            Self::Ext4Data { inode, offset } => write!(f, "data of ext4 file {inode} at {offset}"),
            Self::Ext4BlockMap(inode) => write!(f, "ext4 block map of {inode}"),
            Self::Ext4Xattrs(inode) => write!(f, "ext4 xattrs of {inode}"),
            Self::Ext4Free { block } => write!(f, "free ext4 block {block}"),
            Self::FatBootSector { backup: is } => write!(f, "FAT {}boot sector", backup(*is)),
            Self::FatInfo { backup: is } => write!(f, "FAT {}FSInfo sector", backup(*is)),
            Self::FatReserved { offset } => {
                write!(f, "reserved sector of the FAT file system at {offset:#x}")
            }
            Self::FatEntry { table, cluster } => write!(f, "FAT {table}, entry of cluster {cluster}"),
            Self::FatDirectory { path, offset } => {
                write!(f, "FAT directory {path}, entry {}", offset / 32)
            }
            Self::FatData { path, offset } => write!(f, "data of FAT file {path} at {offset}"),
            Self::FatFree { cluster } => write!(f, "free FAT cluster {cluster}"),
            Self::Qcow2Header => f.write_str("qcow2 header"),
            Self::Qcow2Extensions => f.write_str("qcow2 header extensions"),
            Self::Qcow2L1 { index, snapshot } => write!(f, "qcow2 L1 entry {index}{}", of(snapshot)),
            Self::Qcow2L2 { guest_offset, snapshot } => {
                write!(f, "qcow2 L2 entry of guest offset {guest_offset:#x}{}", of(snapshot))
            }
            Self::Qcow2RefcountTable { index } => write!(f, "qcow2 refcount table entry {index}"),
            Self::Qcow2Refcount { cluster } => write!(f, "qcow2 refcount of cluster {cluster}"),
            Self::Qcow2Snapshots => f.write_str("qcow2 snapshot table"),
            Self::Qcow2Data { guest_offset, snapshot } => {
                write!(f, "data of guest offset {guest_offset:#x}{}", of(snapshot))
            }
            Self::Qcow2Free { cluster } => write!(f, "unused qcow2 cluster {cluster}"),
            Self::Payload { content: Content::Squashfs, offset } => {
                write!(f, "squashfs payload at {offset:#x}")
            }
            Self::Payload { content: Content::Ntfs, offset } => {
                write!(f, "NTFS at {offset:#x} (its structures are not known here)")
            }
            Self::Payload { content: Content::Unknown, offset } => {
                write!(f, "payload at {offset:#x}, no known structure")
            }
            Self::Bytes { offset } => write!(f, "offset {offset:#x}, no known structure"),
            Self::WholeFile => f.write_str("the file"),
        }
    }
}

impl Structure {
    /// What an op that touches it is about: structures as wholes, files by name.
    pub fn area(&self) -> String {
        match self {
            Self::GptEntry { copy, .. } => format!("{copy} GPT array"),
            Self::GptHeader { copy } => format!("{copy} GPT header"),
            Self::Ext4Data { inode, .. } => format!("data of {inode}"),
            Self::FatData { path, .. } => format!("data of {path}"),
            Self::FatDirectory { path, .. } => format!("FAT directory {path}"),
            Self::FatEntry { table, .. } => format!("FAT {table}"),
            Self::Payload { content: Content::Squashfs, .. } => "squashfs payload".to_owned(),
            Self::Payload { content: Content::Ntfs, .. } => "NTFS".to_owned(),
            Self::Payload { .. } => "payload".to_owned(),
            other => other.kind().to_owned(),
        }
    }
}
