//! What a scenario file means: the typed model that the TOML is parsed into.
//!
//! Every struct refuses unknown keys, so a misspelt one is an error with its line and never a silently missing
//! check. Strings may hold `{name}` placeholders; which names exist where is documented at the fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The only schema number that this build reads.
pub const SCHEMA: u32 = 1;

/// A scenario as written in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Schema number; [`SCHEMA`].
    pub schema: u32,
    /// Name, as given on the command line: lower-case letters, digits and hyphens.
    pub name: String,
    /// One line that says what is tested.
    pub summary: String,
    /// Programs without which nothing can be tested; a missing one is exit 5 with the package that has it.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Programs whose lack only leaves out the oracles that need them; each is named under "not tested".
    #[serde(default)]
    pub optional: Vec<String>,
    /// Which scale is used where none is asked for; needed where `scale` is not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scale: Option<String>,
    /// Scales by name: each sets the same placeholders (`{p3_size}`) to other values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scale: BTreeMap<String, BTreeMap<String, String>>,
    /// What the volume holds before the first phase.
    pub fixture: Fixture,
    /// The environment of the tool, besides `PATH`, `HOME`, `LC_ALL=C`, `TZ=UTC` and `TMPDIR` (the scratch directory).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The runs of the tool, in order; each starts from the uninterrupted result of the one before.
    pub phase: Vec<Phase>,
    /// The checks. `baseline` is always on, whether listed or not.
    #[serde(default)]
    pub oracle: Vec<Oracle>,
}

/// How the volume is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// The volume's one disk image, made by the builder of this crate.
    pub disk: DiskSpec,
    /// The disk's partitions, in any order.
    #[serde(default)]
    pub partition: Vec<PartitionSpec>,
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

/// One run of the tool and how it is resumed.
///
/// Placeholders in commands: `{volume}`, `{scratch}`, `{scenario_dir}` and those of the scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name of the phase.
    pub name: String,
    /// Program and arguments. A program without a slash is one of the project's tools, else looked up in `PATH`.
    pub run: Vec<String>,
    /// Accepted exit codes of the uninterrupted run (default: 0 alone).
    #[serde(default = "default_exit")]
    pub run_exit: Vec<i32>,
    /// Commands that resume after a crash (default: `run`, again). A kill during a resume falls into the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume: Vec<Vec<String>>,
    /// Accepted exit codes per resume command (default: `run_exit`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume_exit: Vec<Vec<i32>>,
    /// Pattern of a step mark: a line's text before the mark's name, such as `step: `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_prefix: Option<String>,
    /// What becomes of the scratch directory between a kill and the resume.
    #[serde(default)]
    pub scratch: ScratchPolicy,
    /// Limit of one run, as `30s`, `5m`.
    #[serde(default = "default_time_limit")]
    pub time_limit: String,
    /// Partitions (labels) that the tool copies to a new place in this phase; each kill samples the copy's state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
}

/// What becomes of the scratch directory between a kill and the resume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScratchPolicy {
    /// It stays as the kill left it.
    Kept,
    /// It is emptied, as after a reboot.
    Wiped,
    /// Drawn by seed for each kill.
    #[default]
    Both,
}

/// When an oracle is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// At the crash state, before any resume.
    Crash,
    /// After the resume.
    #[default]
    End,
    /// At both.
    Both,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Oracle {
    /// The volume equals the uninterrupted run's, byte for byte.
    Baseline {
        /// What need not be equal: `unallocated` (space of the disk that belongs to no partition and no table),
        /// or a byte range `0x1000+512`.
        #[serde(default)]
        mask: Vec<String>,
    },
    /// The GPT.
    Gpt {
        /// File inside the volume.
        #[serde(default = "default_file")]
        file: String,
        /// When it is asked.
        #[serde(default)]
        at: At,
        /// How much must be there.
        #[serde(default)]
        need: GptNeed,
    },
    /// Partitions that the phase has no business with: their bytes and their table entries are what they were.
    Untouched {
        /// File inside the volume.
        #[serde(default = "default_file")]
        file: String,
        /// When it is asked.
        #[serde(default)]
        at: At,
        /// Labels of the partitions.
        partitions: Vec<String>,
        /// Only in these phases (default: all).
        #[serde(default)]
        phases: Vec<String>,
    },
    /// The file system's own checker finds nothing (`e2fsck -fn`, `fsck.fat -n`).
    Fsck {
        /// File inside the volume.
        #[serde(default = "default_file")]
        file: String,
        /// When it is asked.
        #[serde(default)]
        at: At,
        /// Labels of the partitions.
        partitions: Vec<String>,
    },
    /// The content is what the phase started with: a tree digest (names, modes, owners, times, xattrs, data) for a
    /// file system, the leading bytes for anything else.
    Content {
        /// File inside the volume.
        #[serde(default = "default_file")]
        file: String,
        /// When it is asked.
        #[serde(default)]
        at: At,
        /// Labels of the partitions.
        partitions: Vec<String>,
    },
}

/// How much of the GPT must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GptNeed {
    /// Both copies valid and in agreement.
    #[default]
    BothValid,
    /// At least one valid copy.
    OneValid,
}

fn default_file() -> String {
    "disk.img".to_owned()
}
fn default_sector_size() -> u32 {
    512
}
fn default_count() -> u32 {
    1
}
fn default_exit() -> Vec<i32> {
    vec![0]
}
fn default_time_limit() -> String {
    "120s".to_owned()
}
