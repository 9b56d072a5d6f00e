//! What goes wrong, and when: a fault is a trigger and an action, and a plan of them prints to a short text and
//! parses back from it.
//!
//! | text | fault |
//! |---|---|
//! | `b7` | kill before op 7 |
//! | `a7` | kill after op 7; `a0` kills before the first op |
//! | `t7.3` | kill inside op 7, after 3 of the 512-byte sectors that it touches |
//! | `dgpt.5000` | wait 5000 ms before and after each write that touches the GPT |
//! | `eio@7` | op 7 fails with EIO |
//! | `enospc@7+` | from op 7 on, what needs space fails with ENOSPC |
//!
//! In general `ACTION@TRIGGER`, with these:
//!
//! | action | |
//! |---|---|
//! | `b`, `a`, `t3` | kill before, after, after 3 sectors |
//! | `d500` | wait 500 ms before and after |
//! | `eio`, `enospc` | fail and change nothing |
//! | `short100` | only the first 100 bytes of a write happen, and it says so |
//! | `drop` | a flush succeeds and makes nothing durable |
//! | `sigTERM` | the tool gets this signal before the op |
//!
//! | trigger | |
//! |---|---|
//! | `7` | op 7 |
//! | `gpt-backup-array/2` | the 2nd op that touches a region, see [`Region`] |
//! | `flush/3` | the 3rd flush |
//! | `step/NAME/4` | the 4th op of a step |
//! | `file/GLOB/5` | the 5th op on a file whose path fits; `*` and `?` stand for any characters, slashes too |
//!
//! A trigger that ends in `+` holds from there on, for every later op that fits. In names, bytes other than letters,
//! digits and `-._/*?` are written as `%` and two hexadecimal digits. A text holds neither `:` nor space.

mod armed;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::region::Region;

pub use armed::{ArmedPlan, OpClass, OpView};
pub use text::PlanError;

/// Sector size that torn writes are counted in, whatever the disk's own.
pub const TORN_SECTOR_BYTES: usize = 512;

/// One fault: a trigger and an action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// At the op with this number (ops are counted from 1 in each run; 0 is the start).
    AtOp(u64, Action),
    /// At the op with this number, which is not 0, and at every later one.
    FromOp(u64, Action),
    /// At each write that touches a region: wait so many milliseconds before and again after it.
    Delay(Region, u64),
    /// At some of the ops that fit.
    On(Trigger, Action),
}

/// Some of the ops that fit a condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trigger {
    /// The condition.
    pub condition: Condition,
    /// Which of the ops that fit, from 1.
    pub nth: u64,
    /// Every later op that fits, too.
    pub onward: bool,
}

/// What an op must be to count for a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Its range touches the region of the disk.
    Region(Region),
    /// It is a flush.
    Flush,
    /// It belongs to the step with this name.
    Step(Arc<str>),
    /// It is about a file whose path fits this pattern.
    File(Arc<str>),
}

/// What happens at an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The run is cut; the op does not happen.
    KillBefore,
    /// The run is cut once the op has happened whole.
    KillAfter,
    /// The run is cut once so many of the 512-byte sectors that the write touches have happened: see [`torn_bytes`].
    KillTorn(u32),
    /// Waits so many milliseconds before the op, and again after it.
    Delay(u64),
    /// The op answers this error and changes nothing.
    Fail(Failure),
    /// Only so many bytes of the write happen, and it says so; at least one.
    Short(u32),
    /// The flush answers success and makes nothing durable.
    DropFlush,
    /// The tool gets a signal other than SIGKILL when the op has happened and is not answered yet.
    Signal(Signal),
}

/// An error that an op can be made to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// EIO, by any op.
    Io,
    /// ENOSPC, by ops that need space.
    NoSpace,
}

impl Failure {
    /// The error number.
    pub fn errno(self) -> Errno {
        match self {
            Self::Io => Errno::EIO,
            Self::NoSpace => Errno::ENOSPC,
        }
    }
}

/// Faults that hold together in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FaultPlan(pub Vec<Fault>);

impl Fault {
    /// Its action.
    pub fn action(&self) -> Action {
        match self {
            Self::AtOp(_, action) | Self::FromOp(_, action) | Self::On(_, action) => *action,
            Self::Delay(_, ms) => Action::Delay(*ms),
        }
    }

    /// Whether it cuts the run.
    pub fn is_kill(&self) -> bool {
        matches!(self.action(), Action::KillBefore | Action::KillAfter | Action::KillTorn(_))
    }
}

impl FaultPlan {
    /// Whether the run is cut before its first op.
    pub fn cuts_at_start(&self) -> bool {
        self.0.iter().any(|fault| matches!(fault, Fault::AtOp(0, _)))
    }
}

/// Bytes of a write of `len` bytes at `offset` that lie in the first `k` units (sectors, pages) of the file that it
/// touches. Units are the file's, so a write that begins inside a unit gives fewer bytes for its first one.
pub fn torn_bytes(offset: u64, len: u64, k: u64, unit: u64) -> u64 {
    let boundary = (offset / unit).saturating_add(k).saturating_mul(unit);
    boundary.saturating_sub(offset).min(len)
}
