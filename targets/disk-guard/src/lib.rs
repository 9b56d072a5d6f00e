//! A guard that refuses to start what would fill the disk, and collectors of what nothing refers to any more.
//!
//! [`floors`] decides by figures alone, [`guard`] asks the file system and lets a collector run first. [`images`] collects
//! disk images that no overlay reaches, by the chains that [`chain`] reads; [`work_dirs`] collects what dead runs left.
//! Whoever can't be sure deletes nothing.
#![forbid(unsafe_code)]

pub mod chain;
pub mod floors;
pub mod guard;
pub mod images;
pub mod work_dirs;

pub use floors::{Floors, Verdict, classify};
pub use guard::{Admission, Measured, Space, admit, admit_by, measure};
pub use images::{Collected, Collector, Image};
pub use work_dirs::collect_stale_work_dirs;
