//! Tools for disk images; the command line is in `main.rs`, each command has a file of its own.
#![forbid(unsafe_code)]

pub mod clone;
pub mod dedup;
pub mod ext4;
mod ext4_source;
pub mod image;
pub mod planted;
pub mod size;
pub mod work;
