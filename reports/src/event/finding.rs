//! A failure as an event, with the line that brings it back, and what it was before it was made smaller.

use serde::{Deserialize, Serialize};

use super::{Model, Verdict};

/// A failure with its reproduction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Short id, unique within the campaign, in order of appearance: `F1`.
    pub id: String,
    /// Token that reproduces it.
    pub token: String,
    /// Verdict.
    pub verdict: Verdict,
    /// Crash model of the last fault.
    pub model: Model,
    /// Phase.
    pub phase: String,
    /// Step of the last kill or of the crash point.
    pub step: String,
    /// The kills or the crash point, readable: `after op 12, then inside op 3 after 8 sectors`.
    pub point: String,
    /// Oracle that failed.
    pub oracle: String,
    /// What differs, in the structure's own terms as far as it is known.
    pub explain: String,
    /// The line to paste.
    pub repro: String,
    /// The scenario says that this is known of the tool.
    #[serde(default)]
    pub expected: bool,
    /// Token of what was found first, where it was made smaller: with more faults, or at a later op.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk_from: Option<String>,
    /// What that was, readable, as `point` is: `3 kills: after op 5, then after op 2, then after op 9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk_from_point: Option<String>,
}

impl Finding {
    /// That it was made smaller, in words: `shrunk from 2 kills: after op 5, then after op 2`.
    pub fn shrunk(&self) -> Option<String> {
        let before = self.shrunk_from_point.as_deref().unwrap_or("another chain of faults");
        self.shrunk_from.is_some().then(|| format!("shrunk from {before}"))
    }

    /// The same with the token of what was found first.
    pub fn shrunk_whole(&self) -> Option<String> {
        self.shrunk().zip(self.shrunk_from.as_ref()).map(|(words, token)| format!("{words}; was `{token}`"))
    }

    /// What it has in common with others: `phase new: corrupt by gpt`.
    pub fn kind(&self) -> String {
        kind(&self.phase, self.verdict.name(), &self.oracle)
    }
}

/// The kind of a finding: `phase new: corrupt by gpt`.
pub fn kind(phase: &str, verdict: &str, oracle: &str) -> String {
    format!("phase {phase}: {verdict} by {oracle}")
}
