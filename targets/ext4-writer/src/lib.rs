//! Deterministic ext4 images, written from scratch in one pass.
//!
//! A [`Tree`] says what the image holds: built by hand, from a folder by [`mod@walk`], or from an archive by [`tar_tree`].
//! [`Plan`] lays it out without reading a byte of content, so whatever does not fit is known before anything is
//! written; writing then streams the content forward. The same tree and options give the same bytes: there is no clock
//! and no randomness. The on-disk format is that of the kernel's `Documentation/filesystems/ext4`.
#![forbid(unsafe_code)]

mod alloc;
mod bytes;
mod checksum;
mod data;
mod directory;
mod error;
mod extent;
mod geometry;
mod group;
mod inode;
mod journal;
mod layout;
mod plan;
pub mod planted;
mod sink;
pub mod staged;
mod superblock;
pub mod tar_tree;
mod time;
mod tree;
pub mod walk;
mod write;
mod xattr;

pub use error::{PlanError, WriteError};
pub use geometry::{BLOCK_BYTES, BLOCKS_PER_GROUP};
pub use plan::{Align, Options, Plan};
pub use time::Time;
pub use tree::{Contents, FileData, Kind, Meta, NodeId, Opened, ReadSeek, Tree, TreeError};
pub use write::Summary;
