//! The slots of the mount, and what each holds: a volume, and what the kernel keeps open of it. A node's number in the
//! kernel is its slot and its inode, so the same file keeps its number however often the slot is reloaded; what an
//! earlier load opened is told apart by the generation in its file handle.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::volume::{Ino, Timestamp, Volume};

/// Inode numbers have the lower bits of a node's number, its slot the upper ones.
const SLOT_SHIFT: u32 = 48;

/// The clock of a volume starts on 2020-01-01, so that nothing in it depends on when it was tested.
const EPOCH_SECS: i64 = 1_577_836_800;

/// A folder in the root of the mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// Where the tool under test runs: recorded, and subject to faults.
    Work,
    /// The state that oracles judge.
    View,
    /// What the run began with, for oracles.
    Start,
    /// What an uninterrupted run leaves, for oracles.
    Baseline,
}

impl Slot {
    /// All slots, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Work, Self::View, Self::Start, Self::Baseline];

    /// Name of the folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::View => "view",
            Self::Start => "start",
            Self::Baseline => "baseline",
        }
    }

    /// The kernel's number for an inode of the slot.
    pub(super) fn node_id(self, ino: Ino) -> u64 {
        ((self as u64 + 1) << SLOT_SHIFT) | ino.0
    }

    /// The slot and inode that the kernel's number stands for; none for the mount's own root.
    pub(super) fn of_node(node_id: u64) -> Option<(Self, Ino)> {
        let slot = usize::try_from(node_id >> SLOT_SHIFT).ok()?.checked_sub(1)?;
        Some((*Self::ALL.get(slot)?, Ino(node_id & ((1 << SLOT_SHIFT) - 1))))
    }
}

/// What a slot holds.
#[derive(Debug)]
pub(super) struct Content {
    pub volume: Volume,
    /// Number of the load. It is the handle of every file that is opened from it.
    pub generation: u64,
    /// No changes are taken: the run is cut or over, or another volume is about to come.
    pub closed: bool,
    /// Inodes of which the kernel may hold pages (mapped, or executed).
    pub cached: HashSet<Ino>,
    /// Inodes of which a page was refused. The kernel keeps that error for the next one who syncs the file.
    pub tainted: HashSet<Ino>,
    /// Open handles of each file.
    opens: HashMap<Ino, u32>,
    /// Changes so far: the clock.
    ticks: u64,
}

impl Content {
    pub(super) fn new(volume: Volume, generation: u64) -> Self {
        let (cached, tainted, opens) = (HashSet::new(), HashSet::new(), HashMap::new());
        Self { volume, generation, closed: false, cached, tainted, opens, ticks: 0 }
    }

    /// The time now: a millisecond for each change.
    pub(super) fn now(&self) -> Timestamp {
        clock(self.ticks)
    }

    /// Moves the clock on and tells the time of the next change.
    pub(super) fn tick(&mut self) -> Timestamp {
        self.ticks += 1;
        self.now()
    }

    /// Paths of the tainted inodes that still have one, relative to the slot.
    pub(super) fn tainted_paths(&self) -> Vec<PathBuf> {
        self.tainted.iter().filter_map(|ino| self.volume.path_of(*ino)).collect()
    }

    pub(super) fn opened(&mut self, ino: Ino) {
        *self.opens.entry(ino).or_default() += 1;
    }

    /// A handle is closed. With the last one, a file without a name goes.
    pub(super) fn released(&mut self, ino: Ino) {
        let Some(count) = self.opens.get_mut(&ino) else { return };
        *count -= 1;
        if *count == 0 {
            self.opens.remove(&ino);
            self.drop_unused(ino);
        }
    }

    /// An inode lost its last name: it goes at once, unless it is open.
    pub(super) fn orphaned(&mut self, ino: Ino) {
        if !self.opens.contains_key(&ino) {
            self.drop_unused(ino);
        }
    }

    fn drop_unused(&mut self, ino: Ino) {
        if self.volume.node(ino).is_some_and(|node| node.attr.nlink == 0) {
            self.volume.drop_orphan(ino);
        }
    }
}

fn clock(ticks: u64) -> Timestamp {
    let secs = EPOCH_SECS + i64::try_from(ticks / 1000).unwrap_or_default();
    Timestamp { secs, nanos: u32::try_from(ticks % 1000).unwrap_or_default() * 1_000_000 }
}

/// The time of the mount's own root.
pub(super) fn epoch() -> Timestamp {
    clock(0)
}
