//! What the volume holds before the first phase: a disk declared by its partitions, the output of a command, or copies
//! of files. A scenario uses exactly one of the three; loading it checks that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::default_file;

/// How the volume is made: `disk` with `partition`, or `command`, or `files`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// Program and arguments, run once in an empty volume folder; it has to exit with 0.
    ///
    /// Placeholders: `{volume}`, `{scenario_dir}` and those of the scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Files of the volume (a path inside it) and what each is copied from (a path relative to the scenario file).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<BTreeMap<String, String>>,
    /// The volume's one disk image, made by the builder of this crate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskSpec>,
    /// The disk's partitions, in any order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition: Vec<PartitionSpec>,
}

/// Which of the three ways makes the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixtureKind {
    /// A disk that is declared by its partitions.
    Builder,
    /// A command.
    Command,
    /// Copies of files.
    Files,
}

impl Fixture {
    /// The way in which the volume is made.
    #[must_use]
    pub fn kind(&self) -> FixtureKind {
        match (&self.command, &self.files) {
            (Some(_), _) => FixtureKind::Command,
            (None, Some(_)) => FixtureKind::Files,
            (None, None) => FixtureKind::Builder,
        }
    }

    /// The declared disk; `None` where a command or files make the volume.
    #[must_use]
    pub fn disk(&self) -> Option<&DiskSpec> {
        self.disk.as_ref()
    }

    /// Paths inside the volume, where they are known before it is made: `None` for a command.
    #[must_use]
    pub fn file_names(&self) -> Option<Vec<&str>> {
        match self.kind() {
            FixtureKind::Command => None,
            FixtureKind::Files => Some(self.files.iter().flatten().map(|(name, _)| name.as_str()).collect()),
            FixtureKind::Builder => Some(self.disk.iter().map(|disk| disk.file.as_str()).collect()),
        }
    }
}

/// A GPT disk image. Sizes are integers with B, K, M, G, T (1024-based) or placeholders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskSpec {
    /// File name inside the volume.
    #[serde(default = "default_file")]
    pub file: String,
    /// Length of the image.
    pub size: String,
    /// Logical sector size in bytes: 512 (default) or 4096.
    #[serde(default = "default_sector_size")]
    pub sector_size: u32,
    /// Disk GUID.
    pub guid: String,
    /// Length to which the image grows after its table was written, so that the backup copy is not at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grown_to: Option<String>,
}

/// One partition, or (with `count`) a row of like ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionSpec {
    /// Number in the table, from 1.
    pub index: u32,
    /// Label; with `count`, the ordinal (from 1) is appended.
    pub label: String,
    /// Type GUID, or one of `esp`, `linux`, `basic-data`.
    #[serde(rename = "type")]
    pub type_guid: String,
    /// Unique GUID; with `count`, its last group is counted up.
    pub guid: String,
    /// GPT attributes, 64 bits.
    #[serde(default)]
    pub attributes: u64,
    /// Length.
    pub size: String,
    /// First byte; without it, the next free MiB after the partition before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// So many like partitions with consecutive indices.
    #[serde(default = "default_count")]
    pub count: u32,
    /// What it holds.
    pub content: ContentSpec,
}

/// What a partition holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ContentSpec {
    /// Seeded random bytes over the whole partition.
    Raw {
        /// Seed of the bytes.
        seed: u64,
    },
    /// A squashfs with seeded files, of about the partition's size; the rest of the partition is zero.
    Squashfs {
        /// Seed of the files.
        seed: u64,
    },
    /// A FAT file system with boot code, label, hidden sectors, attributes, long names and fragmented files.
    Fat {
        /// 16 or 32.
        bits: u8,
        /// Seed of the files.
        seed: u64,
        /// Size of a cluster, such as `512` or `4K`.
        cluster_bytes: String,
        /// Bytes of file content.
        used: String,
    },
    /// An ext4 file system with files of many sizes, modes, owners, times, links and xattrs, spread to its end.
    Ext4 {
        /// Seed of the files.
        seed: u64,
        /// Size of a block: `1K`, `2K` or `4K`.
        block_bytes: String,
        /// Bytes of file content.
        used: String,
        /// File system UUID.
        uuid: String,
    },
}

fn default_sector_size() -> u32 {
    512
}
fn default_count() -> u32 {
    1
}
