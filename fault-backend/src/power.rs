//! Crash states under model `power`: what a volume may hold when the power fails at a point of a recorded run.
//!
//! An op is durable at a cut if it was forced ([`Op::fua`](crate::Op::fua)), or if a flush that covers it was issued
//! after it completed, and completed before the cut. What a flush covers is [`Durability`]. All other ops up to the
//! cut are volatile: any of them may be missing, as long as what is there could have come about without them. A
//! [`PowerState`] says which are missing, and which write is there in part.
//!
//! # What needs what
//! Kept ops are applied in the order of the log, so of two writes to the same bytes the later one wins if both are
//! there. An op **needs** the ops that made the inodes and directories that it names: it is gone with them, durable
//! or not, since nothing leads to it. And it comes **after**
//!
//! * every earlier op on the same name in the same directory, so a rename over another file leaves either the old
//!   or the new one, never neither;
//! * for a removed or replaced directory, every earlier op on names in it;
//! * for a link, every earlier op on a name of the same inode; for a moved directory, every earlier such move;
//! * for a truncate, the earlier truncates of its file; for a write, the last one that cut off bytes that it covers;
//! * for attributes, earlier changes of attributes of the same inode;
//! * under [`Durability::Ordered`], every earlier op that is no write: one journal holds them, in their order.
//!
//! What comes after a missing op is missing too, and what comes before a durable one is durable. Writes, punched and
//! zeroed ranges of one file are independent of each other, so in a volume that is one image every subset counts.
//!
//! # How much of it is looked at
//! At a cut with few volatile ops every subset; otherwise every one that lacks one op, every one that lacks a few of
//! the last ones, and samples: see [`PowerOptions`] and [`EpochClaim`]. A set of ops is handed out once, at the cut
//! of its last op, however many cuts it is possible at; ops that change nothing, and different sets that leave the
//! same bytes, are for [`Volume::content_id`](crate::Volume::content_id) to tell.

mod build;
mod claim;
mod depends;
mod draw;
mod durable;
pub mod log_writes;
mod model;
mod options;
mod profile;
mod state;
mod states;
mod torn;

#[cfg(test)]
mod tests;

pub use build::Builder;
pub use claim::{Coverage, EpochClaim};
pub use model::{Impossible, Power, PowerError};
pub use options::{Durability, PowerOptions, UnknownDurability};
pub use profile::{AtomicUnit, DeviceProfile, Dropped, NoSuchUnit, NotADevice, ProfileError};
pub use state::{NotAPowerState, PowerState, Torn, Units};
