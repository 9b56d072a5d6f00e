//! What the tests share: disks in memory that can be cut off at any write, table fixtures, real file systems, and
//! a reader of GPT copies that has nothing in common with the resizer's.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod ext4;
pub mod filesystems;
pub mod layout;
pub mod memory;
pub mod oracle;
pub mod place;
pub mod program;
pub mod scale;
