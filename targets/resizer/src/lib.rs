//! A GPT partition resizer that survives being killed: it grows partitions by relocating them into free space
//! under their old identity, and shrinks an ext4 partition in place to make that space.
//!
//! Everything that it writes is a function of the disk's content and the command, so the same command run again
//! after a kill ends in the bytes that an uninterrupted run leaves.

pub mod disk;
pub mod error;
pub mod ext4;
pub mod fat;
pub mod fstools;
pub mod patch;
pub mod planted;
pub mod usage;
