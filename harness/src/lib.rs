//! killpoint: runs a tool that writes disks, kills it at points of its own I/O, resumes it, and compares the
//! result byte for byte with an uninterrupted run.
#![forbid(unsafe_code)]

pub mod campaign;
pub mod chain;
pub mod cli;
pub mod commands;
pub mod content;
pub mod copies;
pub mod draw;
pub mod error;
pub mod fingerprint;
pub mod fixtures;
pub mod gpt;
pub mod image;
pub mod inspect;
pub mod layout;
pub mod live;
pub mod mask;
pub mod oracle;
pub mod prepare;
pub mod process;
pub mod record;
pub mod repro;
pub mod seeds;
pub mod subject;
pub mod token;
pub mod tools;
pub mod workdir;
