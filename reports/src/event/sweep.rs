//! What a sweep tells: how many points there are, each point, and what is claimed of them together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CopyState, GptSample, Model, Verdict};

/// Crash points of a phase that have model, step and region in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Lot {
    /// Model.
    pub model: Model,
    /// Step of the run; `start` before the first mark.
    pub step: String,
    /// What the op at the point is about: a structure or partition of the disk, or a file.
    pub region: String,
    /// Points that there are.
    pub possible: u64,
    /// Points that are to be looked at.
    pub planned: u64,
}

/// What a flush of a run is good for: without it, other states are possible after a power cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Barrier {
    /// Phase.
    pub phase: String,
    /// Its op.
    pub op: u64,
    /// Step.
    pub step: String,
    /// Process that asked for it.
    pub process: String,
    /// What it is: `fsync disk.img`, `forced write of primary GPT header`.
    pub what: String,
    /// What was written before it since the flush before, and after it until the next one: regions, in order, each once.
    pub before: Vec<String>,
    /// See `before`.
    pub after: Vec<String>,
    /// States that are possible only without it; of one with nothing of its own run before it, also those of resumes that
    /// were looked at.
    pub possible: u64,
    /// Those among them that were judged, until one failed.
    pub judged: u64,
    /// The first one that failed; none where none did.
    pub failure: Option<BarrierFailure>,
}

/// A state that fails, and that the flush rules out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BarrierFailure {
    /// Verdict.
    pub verdict: Verdict,
    /// Oracle that decided it.
    pub oracle: String,
    /// The state in words.
    pub point: String,
    /// What failed.
    pub explain: String,
}

/// What was looked at of one epoch, the ops between two completed flushes, under the power model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EpochClaim {
    /// Number of the epoch, from 1.
    pub epoch: u32,
    /// Ops in it that change the volume.
    pub ops: u64,
    /// Every subset at every cut was looked at.
    pub exhaustive: bool,
    /// Which subsets of them were looked at, in words.
    pub looked_at: String,
    /// What it says of the rest that none of the samples fails, in words; none where nothing was sampled.
    pub bound: Option<String>,
    /// States that fail.
    pub failed: u64,
}

/// Power cuts in the resumes of some states of a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ResumeCuts {
    /// Phase.
    pub phase: String,
    /// Resumes in which power was cut.
    pub resumes: u64,
    /// States that the power model names in them.
    pub possible: u64,
    /// States of them that were looked at, drawn.
    pub looked_at: u64,
    /// States that fail.
    pub failed: u64,
}

/// In place of acknowledgements: the tool had said that it was done.
pub const AT_END: u32 = u32::MAX;

/// A crash point of a recorded run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Phase.
    pub phase: String,
    /// Model.
    pub model: Model,
    /// Crashes of a resume that led here: 0 for a point of the phase's own run.
    pub depth: u32,
    /// The faults that lead here, as a token holds them: `a12k`, `a12k,a3w`.
    pub faults: String,
    /// Last op that is complete, of the run that was cut last; 0 before the first.
    pub op: u64,
    /// Bytes of the op after it that arrived, for a point inside a write.
    pub torn_bytes: Option<u64>,
    /// Place among the points of phase and model, where ops alone don't order them.
    #[serde(default)]
    pub ordinal: u64,
    /// What the tool had acknowledged before it, in number; 4294967295 once it had said that it was done.
    #[serde(default)]
    pub acks: u32,
    /// Step of the run; `start` before the first mark.
    pub step: String,
    /// What the op at the point is about; see [`Lot::region`].
    pub region: String,
    /// Content id of the crash state.
    pub content_id: String,
    /// Whether this is the first time in the campaign that the phase was left with this content.
    pub distinct: bool,
    /// Differs from both the phase's start and its baseline.
    pub interior: bool,
    /// Scratch directory was wiped afterwards.
    pub scratch_wiped: bool,
    /// GPT sample; none where the volume holds no GPT.
    pub gpt: Option<GptSample>,
    /// State of each copy by label.
    pub copies: BTreeMap<String, CopyState>,
    /// The state differs from the one with this content id, but only in scratch files of which the resume of that one
    /// asked for nothing that differs: it is judged with it.
    pub merged: bool,
    /// The state differs from a judged one only in bytes that the resume of that one overwrote before it read them, so
    /// that it recovers as well. It was looked at, and not resumed.
    #[serde(default)]
    pub unread: bool,
    /// What resume and oracles came to; none where the same content was judged at an earlier point.
    pub verdict: Option<Verdict>,
    /// What the resume asked of what lay in the scratch directory; none where it asked for more than names.
    pub asked: Option<AskedOf>,
    /// Number of the [`Overwritten`] bytes of the resume, where its state may stand for others.
    #[serde(default)]
    pub overwrites: Option<u64>,
    /// States that crashes of this one's resume may lead to for the first time; none where they were not followed.
    pub opened: Option<u64>,
    /// Duration of resume and oracles, in milliseconds.
    pub wall_ms: u64,
}

/// Bytes that a resume overwrites before it reads them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Overwritten {
    /// Phase.
    pub phase: String,
    /// Number in the phase, from 0, by which points refer to it.
    pub number: u64,
    /// Of each file the ranges, as first byte and length.
    pub files: BTreeMap<String, Vec<(u64, u64)>>,
}

/// What a resume asked of what lay in the scratch directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AskedOf {
    /// All names, by listing them.
    pub all: bool,
    /// Names that it looked up.
    pub names: Vec<String>,
}
