//! A wrapping block backend: it stands between a tool and its disk, records every operation, and can delay, tear
//! or cut them at an exact one.
//!
//! * [`BlockDevice`] is the small trait that a disk has to offer; [`FileDevice`] is one over a file.
//! * [`FaultyDevice`] wraps any device, obeys a [`FaultPlan`] and writes a log, see [`hook_log`].
//! * [`hook`] does that inside a tool that is told so by its environment.
//! * [`Image`] is the content of a disk and [`Volume`] a tree of files, both with clones that share what is the same.
//! * [`OpLog`] is what a seam recorded, and [`Replay`] gives the volume at each point of it.
//! * [`power`] has the states that a power cut can leave of it, as far as they are bounded.
//! * [`testing`] is all of this for a Rust author's own tests: run, crash, resume and check, in one process.
//! * [`ContentId`] names the content of a disk or a volume: same bytes, same id, holes being zeros.
#![forbid(unsafe_code)]

pub mod block;
pub mod content_id;
pub mod fault;
pub mod faulty;
pub mod footprint;
#[cfg(feature = "fuse")]
pub mod fuse;
pub mod hook;
pub mod hook_log;
pub mod image;
pub mod oplog;
pub mod power;
pub mod region;
pub mod replay;
pub mod testing;
pub mod volume;

pub use block::{BlockDevice, FileDevice};
pub use content_id::{ContentHasher, ContentId};
pub use fault::{
    Action, ArmedPlan, Condition, Failure, Fault, FaultPlan, OpClass, OpView, PlanError, TORN_SECTOR_BYTES,
    Trigger,
};
pub use faulty::FaultyDevice;
pub use image::{Base, Image};
pub use oplog::{Op, OpKind, OpLog, Outcome};
pub use region::Region;
pub use replay::{Point, Replay, ReplayError};
pub use volume::{Ino, Mutation, Timestamp, Volume};
