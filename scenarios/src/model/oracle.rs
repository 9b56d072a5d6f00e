//! The checks of a scenario. Each kind is a table of its own keys; what is common to several kinds (when it is asked, in
//! which phases, of which file) has one method each, so that a caller needs no list of kinds.

use serde::{Deserialize, Serialize};

use super::default_file;

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

/// Which content of the volume the baseline accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accept {
    /// What the phase started with: verdict `rolled-back`.
    Old,
    /// What an uninterrupted run leaves: verdict `recovered`.
    New,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Oracle {
    /// The volume equals the uninterrupted run's, byte for byte.
    Baseline {
        /// Which content is right: the new one alone, unless the old one may stay as well.
        #[serde(default = "default_accept")]
        accept: Vec<Accept>,
        /// What need not be equal, as [`super::Mask`] reads it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
        /// Only in these phases (default: all).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases: Vec<String>,
        /// How much must be there.
        #[serde(default)]
        need: GptNeed,
    },
    /// What the phase has no business with: its bytes (and, for a partition, its table entry) are what they were.
    /// At least one of `partitions`, `ranges` and `files` names something.
    Untouched {
        /// File inside the volume that `partitions` and `ranges` are in.
        #[serde(default = "default_file")]
        file: String,
        /// When it is asked.
        #[serde(default)]
        at: At,
        /// Only in these phases (default: all).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases: Vec<String>,
        /// Partitions, as [`super::PartitionRef`] reads them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        partitions: Vec<String>,
        /// Byte ranges `0x1000+512`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ranges: Vec<String>,
        /// Whole files, as paths inside the volume.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<String>,
    },
    /// The file system's own checker finds nothing (`e2fsck -fn`, `fsck.fat -n`, `xfs_repair -n`, `btrfs check`,
    /// `ntfsresize --info`, which accounts for every cluster; its `--check` doesn't). With neither `partitions` nor `offset`, the file system is the whole file.
    Fsck {
        /// File inside the volume.
        #[serde(default = "default_file")]
        file: String,
        /// When it is asked.
        #[serde(default)]
        at: At,
        /// Only in these phases (default: all).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases: Vec<String>,
        /// Partitions, as [`super::PartitionRef`] reads them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        partitions: Vec<String>,
        /// First byte of the file system, such as `1M` or `0x100000`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<String>,
        /// Which file system it is (default: what its superblock says when the phase starts).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fs: Option<FileSystem>,
    },
    /// The content is what the phase started with: a tree digest (names, modes, owners, times, xattrs, data) for a
    /// file system, the leading bytes for anything else. With neither `partitions` nor `offset`, it is the whole file.
    Content {
        /// File inside the volume.
        #[serde(default = "default_file")]
        file: String,
        /// When it is asked.
        #[serde(default)]
        at: At,
        /// Only in these phases (default: all).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases: Vec<String>,
        /// Partitions, as [`super::PartitionRef`] reads them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        partitions: Vec<String>,
        /// First byte of the file system, such as `1M` or `0x100000`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<String>,
    },
    /// Any check: a command that sees a private copy of the volume and answers by its exit code.
    ///
    /// Placeholders in `run` and `prove`: `{volume}`, `{baseline}`, `{start}`, `{acks}`, `{exit}`, `{scratch}`,
    /// `{scenario_dir}` and those of the scale.
    Command {
        /// What it checks, in a few words; unique among the command oracles.
        name: String,
        /// Program and arguments.
        run: Vec<String>,
        /// When it is asked.
        #[serde(default)]
        at: At,
        /// Only in these phases (default: all).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases: Vec<String>,
        /// Exit codes with which it holds.
        #[serde(default = "default_pass")]
        pass: Vec<i32>,
        /// Exit codes that say that it could not look. Every other code fails.
        #[serde(default = "default_not_measured")]
        not_measured: Vec<i32>,
        /// Limit of one run, as `30s`.
        #[serde(default = "default_oracle_limit")]
        time_limit: String,
        /// A command that damages the copy in `{volume}`, after which `run` has to object (default: the report says
        /// that the oracle was not proved).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prove: Option<Vec<String>>,
    },
    /// A copy shares nothing with its source: each file of the source keeps inode and SHA-256, and no file of it has a
    /// name outside that it had not when the phase started.
    Isolation {
        /// Folder inside the volume that is copied.
        source: String,
        /// Folder inside the volume that the copy is in.
        fork: String,
        /// When it is asked.
        #[serde(default = "default_both")]
        at: At,
        /// Only in these phases (default: all).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases: Vec<String>,
    },
    /// A further run after the resume writes nothing.
    Idempotent {},
    /// A power cut after the tool has said that it is done changes nothing, with nothing run again: every oracle that is
    /// asked at the end holds on what is left.
    Durable {
        /// Only in these phases (default: all).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases: Vec<String>,
    },
}

impl Oracle {
    /// Its kind, as the file says it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Baseline { .. } => "baseline",
            Self::Gpt { .. } => "gpt",
            Self::Untouched { .. } => "untouched",
            Self::Fsck { .. } => "fsck",
            Self::Content { .. } => "content",
            Self::Command { .. } => "command",
            Self::Isolation { .. } => "isolation",
            Self::Idempotent {} => "idempotent",
            Self::Durable { .. } => "durable",
        }
    }

    /// When it is asked.
    #[must_use]
    pub fn at(&self) -> At {
        match self {
            Self::Gpt { at, .. }
            | Self::Untouched { at, .. }
            | Self::Fsck { at, .. }
            | Self::Content { at, .. }
            | Self::Command { at, .. }
            | Self::Isolation { at, .. } => *at,
            Self::Baseline { .. } | Self::Idempotent {} | Self::Durable { .. } => At::End,
        }
    }

    /// The phases that it is limited to; empty where it is asked in all.
    #[must_use]
    pub fn phases(&self) -> &[String] {
        match self {
            Self::Gpt { phases, .. }
            | Self::Untouched { phases, .. }
            | Self::Fsck { phases, .. }
            | Self::Content { phases, .. }
            | Self::Command { phases, .. }
            | Self::Isolation { phases, .. }
            | Self::Durable { phases } => phases,
            Self::Baseline { .. } | Self::Idempotent {} => &[],
        }
    }

    /// Whether it is asked in the phase of that name.
    #[must_use]
    pub fn applies_to(&self, phase: &str) -> bool {
        self.phases().is_empty() || self.phases().iter().any(|name| name == phase)
    }

    /// The file that its other keys are about; `None` for a kind (or a set of keys) that is about no single file.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Gpt { file, .. } | Self::Fsck { file, .. } | Self::Content { file, .. } => Some(file),
            Self::Untouched { partitions, ranges, .. } if partitions.is_empty() && ranges.is_empty() => None,
            Self::Untouched { file, .. } => Some(file),
            Self::Baseline { .. }
            | Self::Command { .. }
            | Self::Isolation { .. }
            | Self::Idempotent {}
            | Self::Durable { .. } => None,
        }
    }

    /// The partitions that it names, as written.
    #[must_use]
    pub fn partitions(&self) -> &[String] {
        match self {
            Self::Untouched { partitions, .. }
            | Self::Fsck { partitions, .. }
            | Self::Content { partitions, .. } => partitions,
            Self::Baseline { .. }
            | Self::Gpt { .. }
            | Self::Command { .. }
            | Self::Isolation { .. }
            | Self::Idempotent {}
            | Self::Durable { .. } => &[],
        }
    }
}

/// A file system that `fsck` has a checker for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    /// ext2, ext3 and ext4: `e2fsck`.
    Ext4,
    /// FAT of any width: `fsck.fat`.
    Vfat,
    /// XFS: `xfs_repair`.
    Xfs,
    /// btrfs: `btrfs check`.
    Btrfs,
    /// NTFS: `ntfsresize --info`.
    Ntfs,
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

fn default_accept() -> Vec<Accept> {
    vec![Accept::New]
}
fn default_both() -> At {
    At::Both
}
fn default_pass() -> Vec<i32> {
    vec![0]
}
fn default_not_measured() -> Vec<i32> {
    vec![77]
}
fn default_oracle_limit() -> String {
    "60s".to_owned()
}
