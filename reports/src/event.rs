//! The one typed event stream of a campaign. The harness emits it; the terminal, the JSONL store, `report.json`
//! and the tables at the end only read it, so no two of them can disagree about what happened.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Compared;

mod finding;
mod sweep;

pub use finding::{Finding, kind};
pub use sweep::{AT_END, AskedOf, Barrier, BarrierFailure, EpochClaim, Lot, Overwritten, Point, ResumeCuts};

/// Schema number of the stream and of `report.json`.
pub const SCHEMA: u32 = 1;

/// Something that happened in a campaign, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// First event of every stream.
    CampaignStarted(CampaignStarted),
    /// The volume before the first phase is there.
    FixtureReady {
        /// Content id of the volume.
        fixture_id: String,
        /// Whether it came from the cache.
        cached: bool,
        /// Length of the volume in bytes.
        len_bytes: u64,
        /// Time to get it, in milliseconds.
        wall_ms: u64,
    },
    /// One uninterrupted run of one phase.
    BaselineRun {
        /// Phase.
        phase: String,
        /// Ordinal, from 1.
        run: u32,
        /// Mutations that the seam saw.
        ops: u64,
        /// Completed flushes.
        flushes: u64,
        /// Duration in milliseconds.
        wall_ms: u64,
    },
    /// All uninterrupted runs of a phase are there and its volatile mask is known.
    BaselineReady {
        /// Phase.
        phase: String,
        /// Bytes in which the runs differ.
        volatile_bytes: u64,
        /// Content id of the baseline.
        content_id: String,
        /// The steps that it went through, in order.
        steps: Vec<String>,
    },
    /// An oracle was shown a deliberately damaged copy and objected to it.
    OracleProved {
        /// Phase.
        phase: String,
        /// Oracle's name.
        oracle: String,
    },
    /// Something that the campaign can't judge, in words.
    NotTested {
        /// What, why, and how to mend it.
        what: String,
    },
    /// Something a person should know.
    Warning {
        /// One line.
        text: String,
    },
    /// An iteration begins.
    IterationStarted {
        /// Ordinal, from 1.
        iteration: u64,
    },
    /// The kills that the seed gave for one phase of an iteration.
    Planned {
        /// Iteration.
        iteration: u64,
        /// Phase.
        phase: String,
        /// The kills in order.
        kills: Vec<PlannedKill>,
    },
    /// A kill was attempted, but the tool had run to its end before; it is made up for by another one.
    Late {
        /// Iteration.
        iteration: u64,
        /// Phase.
        phase: String,
        /// Ordinal within iteration and phase, from 1, counted together with [`Kill::attempt`].
        attempt: u32,
        /// Step that it was aimed at.
        step: String,
    },
    /// The partition table at a step's boundary of an uninterrupted run.
    Layout {
        /// Phase.
        phase: String,
        /// Step that begins.
        step: String,
        /// One line per partition and gap, sorted by start.
        lines: Vec<String>,
    },
    /// A kill was attempted and the crash state sampled.
    Kill(Kill),
    /// A chain of kills and resumes ran to its end and the oracles answered. What is judged is the state that the
    /// chain's last landed kill left. A phase of an iteration has several chains where kills had to be made up for.
    Judged {
        /// Iteration.
        iteration: u64,
        /// Phase.
        phase: String,
        /// What the oracles' answers add up to.
        verdict: Verdict,
        /// Kills of the chain.
        kills: u32,
        /// Duration of the last resume and the oracles, in milliseconds.
        wall_ms: u64,
    },
    /// The crash points of a phase that a sweep is going to look at.
    Sweep {
        /// Phase.
        phase: String,
        /// Ops of the recorded run.
        ops: u64,
        /// Its points, by what they have in common.
        lots: Vec<Lot>,
    },
    /// What was looked at of each epoch of a phase under the power model, all of it.
    PowerClaims {
        /// Phase.
        phase: String,
        /// Epochs in which something changes, in order.
        epochs: Vec<EpochClaim>,
    },
    /// Power was cut in resumes of a phase.
    ResumeCuts(ResumeCuts),
    /// One flush of a phase's run was ignored, and states were judged that are possible only then.
    Barrier(Barrier),
    /// What the resumes of some states overwrite, told before the first of them.
    Overwritten(Overwritten),
    /// One level of a phase's resume closure: what the resumes of the level before it leave where they are cut.
    Closure {
        /// Phase.
        phase: String,
        /// Level: crashes of a resume one after the other, from 1.
        depth: u32,
        /// Crash points at op boundaries of the resumes.
        points: u64,
        /// States among them that were not known.
        fresh: u64,
    },
    /// The resume closure of a phase was followed as far as was asked for.
    ClosureEnded {
        /// Phase.
        phase: String,
        /// Nothing new appeared on the last level.
        complete: bool,
    },
    /// A crash point of a recorded run: the state there, and what became of it.
    Point(Point),
    /// A live kill at a crash point, to show that it leaves what the recorded run says.
    LiveCheck {
        /// Phase.
        phase: String,
        /// The point in words: `after op 12`.
        point: String,
        /// The tool died of the kill before its last op.
        landed: bool,
        /// The volume is the recorded state, byte for byte.
        agreed: bool,
    },
    /// A failure with its reproduction.
    Finding(Finding),
    /// The bytes that the finding before is about.
    Compared(Compared),
    /// A finding that the scenario expects did not appear, though its phase was swept whole.
    ExpectedVanished {
        /// The finding in words.
        what: String,
    },
    /// Last event of a stream that ended by itself.
    CampaignEnded {
        /// How it ended.
        outcome: Outcome,
        /// Exit code that follows from everything before.
        exit_code: u8,
        /// Duration of the campaign in seconds, finite.
        wall_s: f64,
        /// How much of it went by before the first iteration or crash point (fixture, uninterrupted runs, proof of
        /// the oracles), in seconds, finite; all of it where there was none.
        prepared_s: f64,
    },
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CampaignStarted {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of killpoint.
    pub killpoint: String,
    /// Scenario's name.
    pub scenario: String,
    /// Scale, where the scenario has scales.
    pub scale: Option<String>,
    /// Digest of the resolved scenario.
    pub scenario_digest: String,
    /// Phases in order.
    pub phases: Vec<String>,
    /// The command that it belongs to.
    pub command: Command,
    /// Where the tool's I/O passes through us.
    pub seam: Seam,
    /// Campaign's seed.
    pub seed: u64,
    /// Crash models.
    pub model: Vec<String>,
    /// Iterations asked for; none where the campaign is bounded by time.
    pub iterations: Option<u64>,
    /// Time asked for, in seconds; none where it is bounded by iterations.
    pub for_s: Option<u64>,
    /// Versions of the tools by program.
    pub tool_versions: BTreeMap<String, String>,
    /// What else decides which points are looked at, by option: sweeps with the same ones can be merged, and go on.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The part of a sweep that this is, where it was divided: which, from 1, and how many there are.
    #[serde(default)]
    pub shard: Option<(u32, u32)>,
    /// Kinds of findings that the scenario expects under these models, as [`Finding::kind`] names them.
    #[serde(default)]
    pub expected: Vec<String>,
}

/// The command that a campaign belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Live random kills.
    Run,
    /// Every crash point of a scenario.
    Sweep,
    /// Every crash point of a command given on the command line.
    Exec,
    /// What each flush is good for.
    Barriers,
    /// One finding again.
    Repro,
    /// One finding made smaller.
    Shrink,
}

/// Where the tool's I/O passes through us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Seam {
    /// A file system of ours that the tool works in.
    Fuse,
    /// The hook inside targets that link `fault-backend`.
    InProcess,
}

/// One kill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Iteration.
    pub iteration: u64,
    /// Phase.
    pub phase: String,
    /// Ordinal within iteration and phase, from 1.
    pub attempt: u32,
    /// Time from the tool's start to the kill, in milliseconds; finite, since JSON has no other numbers.
    pub at_ms: f64,
    /// The tool died of our signal before its last op.
    pub landed: bool,
    /// Furthest step mark seen before the kill; `start` before the first.
    pub step: String,
    /// Last op that completed.
    pub op: u64,
    /// Whether the kill fell inside a write, of which some pages had arrived.
    pub inside_op: bool,
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
}

/// A crash model, or another way to disturb a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// SIGKILL at op boundaries.
    Kill,
    /// SIGKILL inside a write.
    Torn,
    /// Loss of power.
    Power,
    /// An op that answers an error.
    Error,
    /// A signal other than SIGKILL.
    Signal,
}

impl Model {
    /// Every model, in the order in which a sweep goes through them.
    pub const ALL: [Self; 5] = [Self::Kill, Self::Torn, Self::Power, Self::Error, Self::Signal];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Torn => "torn",
            Self::Power => "power",
            Self::Error => "error",
            Self::Signal => "signal",
        }
    }
}

/// One kill as the seed gave it; nothing in it depends on a clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PlannedKill {
    /// Fraction of the phase's window, 0 to 1; finite.
    pub fraction: f64,
    /// Whether the scratch directory is wiped after it.
    pub scratch_wiped: bool,
}

/// What a GPT looks like at a crash. Flags may overlap, but for `clean`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GptSample {
    /// Nothing below holds.
    pub clean: bool,
    /// A header's own CRC (or signature) is wrong.
    pub header_crc: bool,
    /// The primary entry array does not match the CRC in its header.
    pub torn_primary: bool,
    /// The backup entry array does not match the CRC in its header.
    pub torn_backup: bool,
    /// The copies disagree (entry arrays differ).
    pub mismatch: bool,
    /// Neither copy is valid.
    pub no_valid_copy: bool,
}

/// How much of a copy had arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CopyState {
    /// Nothing of the final content.
    Empty,
    /// Some of it.
    Partial,
    /// All of it.
    Complete,
}

/// What the oracles' answers add up to for one crash state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Resume exited as accepted and every oracle holds.
    Recovered,
    /// The volume is what it was before the run, where the scenario accepts that.
    RolledBack,
    /// Resume exited otherwise, with the data intact by the other oracles.
    Refused,
    /// The resume died of a signal of its own.
    Crashed,
    /// Resume exited as accepted, but bytes differ from the baseline outside the mask.
    Diverged,
    /// An oracle that guards data fails.
    Corrupt,
    /// The resume or an oracle ran past its limit.
    Hung,
    /// An oracle could not run, or the fault did not land.
    NotMeasured,
}

/// How a campaign ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "how", deny_unknown_fields)]
pub enum Outcome {
    /// Everything that was asked for was done.
    Completed,
    /// A signal ended it.
    Interrupted {
        /// `SIGINT` or `SIGTERM`.
        signal: String,
    },
    /// It could not go on.
    Stopped {
        /// What happened, and what to do.
        reason: String,
    },
}
