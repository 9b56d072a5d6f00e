//! A GPT partition resizer that survives being killed: it grows partitions by relocating them into free space
//! under their old identity, and shrinks an ext4 partition in place to make that space.
//!
//! Everything that it writes is a function of the disk's content and the command, so the same command run again
//! after a kill ends in the bytes that an uninterrupted run leaves.
#![deny(unsafe_code)]

mod barrier;
#[cfg(feature = "chaos")]
pub mod chaos;
pub mod cli;
pub mod content;
pub mod disk;
pub mod error;
pub mod ext4;
pub mod fat;
pub mod file_disk;
pub mod fstools;
pub mod gpt;
mod holes;
mod ioctl;
pub mod kernel;
pub mod patch;
pub mod pipeline;
pub mod plan;
pub mod planted;
pub mod raw;
pub mod select;
pub mod size;
pub mod usage;
pub mod view;
