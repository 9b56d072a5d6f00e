//! What a scenario file means: the typed model that the TOML is parsed into.
//!
//! Every struct refuses unknown keys, so a misspelt one is an error with its line and never a silently missing
//! check. Strings may hold `{name}` placeholders; which names exist where is documented at the fields.

use std::collections::BTreeMap;

pub use fault_backend::power::Durability;
use serde::{Deserialize, Serialize};

mod fixture;
mod oracle;
mod select;

pub use fixture::{ContentSpec, DiskSpec, Fixture, FixtureKind, PartitionSpec};
pub use oracle::{Accept, At, FileSystem, GptNeed, Oracle};
pub use select::{Mask, PartitionRef, Target, offset, range};

/// The only schema number that this build reads.
pub const SCHEMA: u32 = 1;

/// A scenario as written in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Schema number; [`SCHEMA`].
    pub schema: u32,
    /// Name, as given on the command line: lower-case letters, digits and hyphens.
    pub name: String,
    /// One line that says what is tested.
    pub summary: String,
    /// Programs without which nothing can be tested; a missing one is exit 5 with the package that has it.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Programs whose lack only leaves out the oracles that need them; each is named under "not tested".
    #[serde(default)]
    pub optional: Vec<String>,
    /// Which scale is used where none is asked for; needed where `scale` is not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scale: Option<String>,
    /// Scales by name: each sets the same placeholders (`{p3_size}`) to other values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scale: BTreeMap<String, BTreeMap<String, String>>,
    /// What the volume holds before the first phase.
    pub fixture: Fixture,
    /// The environment of the tool, besides `PATH`, `HOME`, `LC_ALL=C`, `TZ=UTC` and `TMPDIR` (the scratch directory).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The runs of the tool, in order; each starts from the uninterrupted result of the one before.
    pub phase: Vec<Phase>,
    /// The checks. `baseline` is always on, whether listed or not.
    #[serde(default)]
    pub oracle: Vec<Oracle>,
    /// Findings that are known, of a tool that is not ours to mend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
}

/// What a campaign is expected to find.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The file that lists the findings (see [`crate::Expected`]), relative to the scenario file.
    pub findings: String,
}

/// One run of the tool and how it is resumed.
///
/// Placeholders in commands: `{volume}`, `{scratch}`, `{scenario_dir}` and those of the scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name of the phase.
    pub name: String,
    /// Program and arguments. A program without a slash is one of the project's tools, else looked up in `PATH`.
    pub run: Vec<String>,
    /// Accepted exit codes of the uninterrupted run (default: 0 alone).
    #[serde(default = "default_exit")]
    pub run_exit: Vec<i32>,
    /// Commands that resume after a crash (default: `run`, again). A kill during a resume falls into the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume: Vec<Vec<String>>,
    /// Accepted exit codes per resume command (default: `run_exit`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume_exit: Vec<Vec<i32>>,
    /// Pattern of a step mark: a line's text before the mark's name, such as `step: `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_prefix: Option<String>,
    /// Pattern of a step mark as a regular expression, whose one group is the mark's name; instead of `step_prefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_pattern: Option<String>,
    /// Regular expression of an acknowledgement on a line of standard output: what its group (or, without one, the
    /// whole match) names must survive from then on. Command oracles get the list as `{acks}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack_pattern: Option<String>,
    /// What a flush covers, under model `power`.
    #[serde(default)]
    pub durability: Durability,
    /// What the commands read from standard input (default: it is empty).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Whether the tool's sleeps last as long as it asks for; else those of 50 ms and more are skipped.
    #[serde(default)]
    pub real_time: bool,
    /// What becomes of the scratch directory between a kill and the resume.
    #[serde(default)]
    pub scratch: ScratchPolicy,
    /// Limit of one run, as `30s`, `5m`.
    #[serde(default = "default_time_limit")]
    pub time_limit: String,
    /// Partitions (labels) that the tool copies to a new place in this phase; each kill samples the copy's state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
}

/// What becomes of the scratch directory between a kill and the resume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScratchPolicy {
    /// It stays as the kill left it.
    Kept,
    /// It is emptied, as after a reboot.
    Wiped,
    /// Drawn by seed for each kill.
    #[default]
    Both,
}

pub(crate) fn default_file() -> String {
    "disk.img".to_owned()
}
fn default_exit() -> Vec<i32> {
    vec![0]
}
fn default_time_limit() -> String {
    "120s".to_owned()
}
