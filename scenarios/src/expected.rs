//! Findings that are known, as a JSON file beside the scenario lists them. A campaign compares what it finds with this
//! list by phase, verdict and oracle, so that a new kind of failure stands out and a place that moved does not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The only schema number of these files that this build reads.
pub const EXPECTED_SCHEMA: u32 = 1;

/// Verdicts that count as findings; no other can be expected.
pub const FINDING_VERDICTS: [&str; 5] = ["refused", "diverged", "corrupt", "crashed", "hung"];

/// The content of a file of expected findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Schema number; [`EXPECTED_SCHEMA`].
    pub schema: u32,
    /// Programs and their versions when the list was recorded; they decide nothing.
    #[serde(default)]
    pub tool_versions: BTreeMap<String, String>,
    /// The findings, one for each kind.
    pub findings: Vec<ExpectedFinding>,
}

/// One kind of finding that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedFinding {
    /// Name of the phase.
    pub phase: String,
    /// Verdict, one of [`FINDING_VERDICTS`].
    pub verdict: String,
    /// The oracle that failed, as the report names it.
    pub oracle: String,
    /// Crash model that leads to it; `kill` stands for `torn` too, as does its absence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A step where it was seen; decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// A region where it was seen; decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How many states had it when the list was recorded; decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Why it is there, for a person.
    pub note: String,
}

impl ExpectedFinding {
    /// Whether it is about this crash model.
    #[must_use]
    pub fn is_of(&self, model: &str) -> bool {
        let of_kill = |model: &str| if model == "torn" { "kill".to_owned() } else { model.to_owned() };
        of_kill(self.model.as_deref().unwrap_or("kill")) == of_kill(model)
    }

    /// Whether a finding is of this kind.
    #[must_use]
    pub fn matches(&self, model: &str, phase: &str, verdict: &str, oracle: &str) -> bool {
        self.is_of(model) && self.phase == phase && self.verdict == verdict && self.oracle == oracle
    }
}

impl Default for Expected {
    fn default() -> Self {
        Self { schema: EXPECTED_SCHEMA, tool_versions: BTreeMap::new(), findings: Vec::new() }
    }
}

impl Expected {
    /// The place in `findings` of the kind that a finding is of.
    #[must_use]
    pub fn position(&self, model: &str, phase: &str, verdict: &str, oracle: &str) -> Option<usize> {
        self.findings.iter().position(|known| known.matches(model, phase, verdict, oracle))
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// Where it is no JSON, or has unknown keys or wrong types; the error has line and column.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The text of such a file, which [`Self::parse`] reads back; it ends with a newline.
    ///
    /// # Errors
    /// None in practice: every field can be written.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
  "schema": 1,
  "tool_versions": { "sgdisk": "1.0.9" },
  "findings": [
    { "phase": "new", "verdict": "corrupt", "oracle": "gpt", "count": 3, "note": "the copies disagree" }
  ]
}"#;

    #[test]
    fn a_finding_is_known_by_phase_verdict_and_oracle_alone() {
        let expected = Expected::parse(TEXT).unwrap();
        assert_eq!(expected.position("kill", "new", "corrupt", "gpt"), Some(0));
        for (phase, verdict, oracle) in
            [("delete", "corrupt", "gpt"), ("new", "diverged", "gpt"), ("new", "corrupt", "fsck")]
        {
            assert_eq!(expected.position("kill", phase, verdict, oracle), None, "{phase} {verdict} {oracle}");
        }
    }

    #[test]
    fn a_list_reads_back_as_it_was_written() {
        let expected = Expected::parse(TEXT).unwrap();
        assert_eq!(Expected::parse(&expected.to_text().unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_misspelt_key_is_refused_with_its_line() {
        let error = Expected::parse(&TEXT.replace("count", "cuont")).unwrap_err();
        assert_eq!(error.line(), 5);
        assert!(error.to_string().contains("unknown field `cuont`"), "{error}");
    }
}
