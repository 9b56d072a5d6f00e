//! Tools for disk images; the command line is in `main.rs`, each command has a file of its own.
#![forbid(unsafe_code)]

pub mod admit;
pub mod compare;
pub mod copy;
pub mod fork;
pub mod fork_command;
pub mod gc;
pub mod options;
pub mod planted;
pub mod skip;
