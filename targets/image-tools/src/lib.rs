//! Tools for disk images; the command line is in `main.rs`, each command has a file of its own.
#![forbid(unsafe_code)]

pub mod admit;
pub mod clone;
pub mod compare;
pub mod copy;
pub mod dedup;
pub mod ext4;
mod ext4_source;
pub mod fork;
pub mod fork_command;
pub mod gc;
pub mod image;
pub mod options;
pub mod planted;
pub mod skip;
pub mod work;
