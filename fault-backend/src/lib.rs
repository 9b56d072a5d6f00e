//! A wrapping block backend: it stands between a tool and its disk, records every operation, and can delay, tear
//! or cut them at an exact one.
//!
//! * [`BlockDevice`] is the small trait that a disk has to offer; [`FileDevice`] is one over a file.
//! * [`FaultyDevice`] wraps any device, obeys a [`FaultPlan`] and writes an [`OpLog`](oplog).
//! * [`hook`] does that inside a tool that is told so by its environment.
//! * [`ContentId`] names the content of a disk: same bytes, same id, holes being zeros.
#![forbid(unsafe_code)]

pub mod block;
pub mod content_id;
pub mod fault;
pub mod faulty;
pub mod hook;
pub mod oplog;
pub mod region;

pub use block::{BlockDevice, FileDevice};
pub use content_id::{ContentHasher, ContentId};
pub use fault::{Action, Fault, FaultPlan, PlanError};
pub use faulty::FaultyDevice;
pub use region::Region;
