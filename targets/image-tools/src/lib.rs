//! Tools for disk images; the command line is in `main.rs`, each command has a file of its own.
#![forbid(unsafe_code)]

pub mod planted;
