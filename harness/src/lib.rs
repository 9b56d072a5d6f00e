//! killpoint: runs a tool that writes disks, kills it at points of its own I/O, resumes it, and compares the
//! result byte for byte with an uninterrupted run.
#![deny(unsafe_code)]

pub mod campaign;
pub mod chain;
pub mod cli;
pub mod commands;
pub mod content;
pub mod copies;
pub mod cpus;
pub mod draw;
pub mod error;
pub mod exec;
pub mod expected;
pub mod export;
pub mod fingerprint;
pub mod fixtures;
pub mod gpt;
pub mod ground;
pub mod image;
pub mod inspect;
pub mod judge;
pub mod layout;
pub mod mask;
pub mod namespace;
pub mod oracle;
pub mod outage;
pub mod preflight;
pub mod prepare;
pub mod process;
pub mod programs;
pub mod ranges;
pub mod record;
pub mod replay_log;
pub mod repro;
pub mod room;
pub mod rundir;
pub mod seam;
pub mod seeds;
pub mod stage;
pub mod store;
pub mod sweep;
pub mod token;
pub mod tools;
pub mod volumes;
pub mod workdir;
pub mod workers;
