//! One typed event stream and what reads it. The harness emits [`Event`]s into a [`Stream`]; the event log, the
//! terminal, `report.json` and the summary are derived from it and from nothing else, so they can't disagree.
//! This crate knows nothing of disks, tools or kills beyond what an event says.

#![forbid(unsafe_code)]

mod alike;
pub mod annotations;
mod ballast;
mod bytes;
mod chart;
pub mod compare;
mod counts;
mod error;
pub mod event;
mod exit;
pub mod gallery;
pub mod html;
mod jsonl;
pub mod junit;
pub mod merge;
mod report;
mod sink;
mod status;
pub mod summary;
mod tally;
mod terminal;
mod verdict;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema;

pub use bytes::{Bytes, Compared, SECTOR_BYTES, Sector};
pub use chart::{Chart, Facet, Mark};
pub use counts::Counts;
pub use error::StoreError;
pub use event::{
    AskedOf, Barrier, BarrierFailure, CampaignStarted, Command, CopyState, EpochClaim, Event, Finding,
    GptSample, Kill, Lot, Model, Outcome, Overwritten, PlannedKill, Point, ResumeCuts, SCHEMA, Seam, Verdict,
};
pub use exit::Exit;
pub use jsonl::{EventLog, RecordedEvents, TornTail};
pub use report::{
    Baseline, Closure, CopyStates, Coverage, Covered, Expected, Gpt, Interior, PhaseClaims, Points, Report,
    States, Throughput, Verdicts,
};
pub use sink::{Reader, Stream};
pub use status::Level;
pub use tally::{BaselineTally, ClosureTally, GptCounts, SweepTally, Tally};
pub use terminal::{ColorChoice, Terminal, TerminalOptions, UnknownColorChoice};
