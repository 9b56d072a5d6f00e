//! What is asked of the power model: which rule says what a flush covers, on which device, and how much is looked at.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::profile::DeviceProfile;

/// What a flush covers, of the ops that completed before it was issued. A flush of everything (`sync`, `syncfs`)
/// covers all of them under every rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// One image is one device: any flush covers all.
    #[default]
    Disk,
    /// As ext4 does it with `data=ordered`: an fsync covers the writes to its file, and everything that is no write,
    /// of whatever file. An fdatasync covers its file's writes, and what is no write only up to the op that last made
    /// or resized that file. What is no write survives in its order, see [`crate::power`].
    Ordered,
    /// What POSIX promises and no more: an fsync covers its file's content and attributes (an fdatasync the content
    /// and length alone), and that of a directory the names in it. A rename between directories is covered once both
    /// were synced.
    Posix,
}

impl Durability {
    const NAMES: [(Self, &'static str); 3] =
        [(Self::Disk, "disk"), (Self::Ordered, "ordered"), (Self::Posix, "posix")];
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::NAMES.iter().find(|(rule, _)| rule == self).map_or(Ok(()), |(_, name)| f.write_str(name))
    }
}

/// A text that names no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no durability rule: expected `disk`, `ordered` or `posix`")]
pub struct UnknownDurability(String);

impl FromStr for Durability {
    type Err = UnknownDurability;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(rule, _)| *rule).ok_or_else(|| UnknownDurability(text.to_owned()))
    }
}

/// Which states are enumerated, and how they are made.
#[derive(Clone, Debug, PartialEq)]
pub struct PowerOptions {
    /// What a flush covers.
    pub durability: Durability,
    /// The device.
    pub device: DeviceProfile,
    /// At a cut with at most so many volatile ops, every subset of them; at most 20.
    pub exhaustive_ops: u32,
    /// At other cuts, at most so many of the last ops are missing, besides any single one.
    pub max_drops: u32,
    /// How many the last ops are that several may be missing of; at most 63.
    pub window: u32,
    /// Samples of the rest, in each epoch that is not exhausted.
    pub samples: u32,
    /// States in which one write is torn, for each write and set of missing ops that it is torn in.
    pub torn_per_write: u32,
    /// Seed of the samples, of torn writes drawn at random, and of garbage.
    pub seed: u64,
}

impl Default for PowerOptions {
    /// One disk that writes whole writes and honours flushes; 6 ops, then 2 of 16 and 1000 samples; seed 0.
    fn default() -> Self {
        Self {
            durability: Durability::Disk,
            device: DeviceProfile::default(),
            exhaustive_ops: 6,
            max_drops: 2,
            window: 16,
            samples: 1000,
            torn_per_write: 9,
            seed: 0,
        }
    }
}

impl PowerOptions {
    /// Most ops whose subsets are all enumerated: a million at each cut.
    const MAX_EXHAUSTIVE: u32 = 20;

    /// Most ops of the window, whose subsets are bits of a number.
    const MAX_WINDOW: u32 = 63;

    pub(super) fn exhaustive_ops(&self) -> usize {
        self.exhaustive_ops.min(Self::MAX_EXHAUSTIVE) as usize
    }

    pub(super) fn window(&self) -> usize {
        self.window.min(Self::MAX_WINDOW) as usize
    }
}
