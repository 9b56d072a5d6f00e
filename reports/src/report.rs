//! `report.json`: the machine-readable result of a campaign, documented field by field in this crate's README.
//! It is built from a [`Tally`] alone and counts nothing itself; writing it is atomic.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::tally;
use crate::{
    Barrier, Command, CopyState, Counts, EpochClaim, Finding, Outcome, ResumeCuts, SCHEMA, Seam, StoreError,
    Tally, Verdict, ballast,
};

/// Name of the report in a run directory.
const FILE_NAME: &str = "report.json";

/// The result of one campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Report {
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
    /// Content id of the volume before the first phase; none where it was never there.
    pub fixture_id: Option<String>,
    /// Versions of the tools by program.
    pub tool_versions: BTreeMap<String, String>,
    /// The command; none where the campaign never started.
    pub command: Option<Command>,
    /// The seam; none where the campaign never started.
    pub seam: Option<Seam>,
    /// Campaign's seed.
    pub seed: u64,
    /// Crash models.
    pub model: Vec<String>,
    /// Phases in order.
    pub phases: Vec<String>,
    /// Iterations that ran to their end.
    pub iterations: u64,
    /// Iterations asked for; none where the campaign was bounded by time.
    pub iterations_asked: Option<u64>,
    /// Time asked for, in seconds; none where it was bounded by iterations.
    pub for_s: Option<u64>,
    /// How it ended; none where the stream was cut.
    pub outcome: Option<Outcome>,
    /// Exit code of the campaign; none where the stream was cut.
    pub exit_code: Option<u8>,
    /// The uninterrupted runs.
    pub baseline: Baseline,
    /// Crash points as they were reached.
    pub points: Points,
    /// Crash points of a sweep, explored of possible.
    pub coverage: Coverage,
    /// What was looked at under the power model, by phase, where all of it was.
    pub power: Vec<PhaseClaims>,
    /// What each flush is good for, where that was asked.
    pub barriers: Vec<Barrier>,
    /// Power cuts in resumes, where that was asked.
    #[serde(default)]
    pub resume_cuts: Vec<ResumeCuts>,
    /// Crash states between start and baseline, as they were reached.
    pub interior: Interior,
    /// Crash states.
    pub states: States,
    /// Distinct states by verdict.
    pub verdicts: Verdicts,
    /// Crash states by step, as they were reached.
    pub kills_by_step: Counts,
    /// Copy destinations as sampled in crash states.
    pub copy_states: CopyStates,
    /// GPT samples of crash states.
    pub gpt: Gpt,
    /// Findings that the scenario expects.
    pub expected: Expected,
    /// Findings in order of appearance.
    pub findings: Vec<Finding>,
    /// What was not tested and why.
    pub not_tested: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Oracles that objected to a damaged copy, by phase.
    pub oracles_proved: BTreeMap<String, Vec<String>>,
    /// Time and speed.
    pub throughput: Throughput,
}

/// The uninterrupted runs, summed over the phases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Runs of each phase; of the phase with the fewest.
    pub runs: u64,
    /// Mutations.
    pub ops: u64,
    /// Completed flushes.
    pub flushes: u64,
    /// Bytes in which the runs differ.
    pub volatile_bytes: u64,
}

/// Crash points as they were reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Points {
    /// Points at op boundaries of the uninterrupted runs; in a sweep also those inside writes.
    pub possible: u64,
    /// Points tried; with random kills the same as `attempted`.
    pub explored: u64,
    /// Kills that the seed gave; in a sweep, points to look at.
    pub planned: u64,
    /// Live kills attempted, late ones and those that make up for them included.
    pub attempted: u64,
    /// Live kills that landed; in a sweep, those that also left the recorded state.
    pub landed: u64,
}

/// Crash states unlike both the phase's start and its baseline, as they were reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Interior {
    /// How many.
    pub kills: u64,
    /// Their share of the crash states as they were reached, 0 to 1.
    pub share: f64,
}

/// Crash states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct States {
    /// Crash states as they were reached.
    pub raw: u64,
    /// Different ones among them.
    pub distinct: u64,
    /// Of those that were reached, the ones that differ from a judged one only in what its resume never asked for.
    pub merged: u64,
    /// Different ones that were judged, by a resume of their own or by proof.
    pub judged: u64,
    /// Of those that were judged, the ones that differ from another only in bytes that its resume overwrote before it
    /// read them.
    #[serde(default)]
    pub unread: u64,
    /// Whether the resume closure of every phase was followed to its end.
    pub closure_complete: bool,
    /// The resume closure, where it was asked for.
    pub closure: Option<Closure>,
}

/// What was looked at of a phase under the power model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PhaseClaims {
    /// Phase.
    pub phase: String,
    /// Its epochs in which something changes, in order.
    pub epochs: Vec<EpochClaim>,
}

/// What crashes of resumes led to, summed over the phases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Closure {
    /// Crashes of a resume one after the other, at most.
    pub depth: u32,
    /// Crash points of resumes.
    pub points: u64,
    /// States among them that no crash of the run alone leaves.
    pub states: u64,
}

/// Crash points of a sweep, explored of possible, in order of appearance. Points of resumes are none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// By crash model.
    pub by_model: Vec<Covered>,
    /// By step.
    pub by_step: Vec<Covered>,
    /// By what the op at the point is about.
    pub by_region: Vec<Covered>,
}

/// Crash points with something in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Covered {
    /// What.
    pub name: String,
    /// Points that there are.
    pub possible: u64,
    /// Points that were looked at.
    pub explored: u64,
}

/// Distinct states by verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs)] // Each is the count of the [`Verdict`] of its name.
pub struct Verdicts {
    pub recovered: u64,
    pub rolled_back: u64,
    pub refused: u64,
    pub crashed: u64,
    pub diverged: u64,
    pub corrupt: u64,
    pub hung: u64,
    pub not_measured: u64,
}

/// Copy destinations as sampled in crash states, as they were reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // Each is the count of the [`CopyState`] of its name.
pub struct CopyStates {
    pub empty: u64,
    pub partial: u64,
    pub complete: u64,
}

/// GPT samples of crash states as they were reached. Categories may overlap, but for `clean`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gpt {
    /// Samples taken.
    pub samples: u64,
    /// Nothing below holds.
    pub clean: u64,
    /// A header's own CRC or signature is wrong.
    pub header_crc: u64,
    /// The primary entry array does not match its header's CRC.
    pub torn_primary: u64,
    /// The backup entry array does not match its header's CRC.
    pub torn_backup: u64,
    /// The entry arrays differ.
    pub mismatch: u64,
    /// Neither copy is valid.
    pub no_valid_copy: u64,
}

/// Findings that the scenario expects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Those that appeared.
    pub seen: u64,
    /// Those that no longer appeared.
    pub vanished: u64,
}

/// Time and speed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Throughput {
    /// Duration in seconds; none where the stream was cut.
    pub wall_s: Option<f64>,
    /// How much of it went by before the first iteration or crash point, in seconds; none where the stream was cut.
    pub prepared_s: Option<f64>,
    /// Distinct states judged a second, over the duration without the preparation.
    pub judged_states_per_s: f64,
}

impl From<&Tally> for Report {
    fn from(tally: &Tally) -> Self {
        let campaign = tally.campaign.clone();
        let (command, seam) = campaign.as_ref().map(|c| (c.command, c.seam)).unzip();
        let (iterations_asked, for_s) = campaign.as_ref().map_or((None, None), |c| (c.iterations, c.for_s));
        let scale = campaign.as_ref().and_then(|c| c.scale.clone());
        let seed = campaign.as_ref().map_or(0, |c| c.seed);
        let (killpoint, scenario, scenario_digest, tool_versions, model, phases) = campaign
            .map(|c| (c.killpoint, c.scenario, c.scenario_digest, c.tool_versions, c.model, c.phases))
            .unwrap_or_default();
        Self {
            schema: SCHEMA,
            killpoint,
            scenario,
            scale,
            scenario_digest,
            fixture_id: tally.fixture_id.clone(),
            tool_versions,
            command,
            seam,
            seed,
            model,
            phases,
            iterations: tally.iterations_done,
            iterations_asked,
            for_s,
            outcome: tally.outcome.clone(),
            exit_code: tally.exit_code,
            baseline: Baseline::from(tally),
            points: Points {
                possible: tally.possible_points(),
                explored: tally.explored,
                planned: if tally.is_sweep() { tally.planned_points() } else { tally.planned },
                attempted: tally.attempted,
                landed: tally.landed,
            },
            interior: Interior { kills: tally.interior, share: tally.interior_share() },
            states: States {
                raw: tally.raw,
                distinct: tally.distinct_states(),
                merged: tally.merged,
                judged: tally.judged_states(),
                unread: tally.unread,
                closure_complete: !tally.closures.is_empty()
                    && tally.closures.values().all(|closure| closure.complete),
                closure: (!tally.closures.is_empty()).then(|| Closure::from(tally)),
            },
            barriers: tally.barriers.clone(),
            resume_cuts: tally.resume_cuts.clone(),
            power: tally
                .power
                .iter()
                .map(|(phase, epochs)| PhaseClaims { phase: phase.clone(), epochs: epochs.clone() })
                .collect(),
            coverage: Coverage::from(tally),
            verdicts: Verdicts::from(tally),
            kills_by_step: tally.kills_by_step.clone(),
            copy_states: CopyStates::from(tally),
            gpt: Gpt::from(tally),
            expected: Expected { seen: tally.expected_seen, vanished: tally.expected_vanished },
            findings: tally.findings.clone(),
            not_tested: tally.not_tested.clone(),
            warnings: tally.warnings.clone(),
            oracles_proved: tally
                .oracles_proved
                .iter()
                .map(|(phase, oracles)| (phase.clone(), oracles.iter().cloned().collect()))
                .collect(),
            throughput: Throughput {
                wall_s: tally.wall_s,
                prepared_s: tally.prepared_s,
                judged_states_per_s: tally.judged_states_per_s(),
            },
        }
    }
}

impl From<&Tally> for Closure {
    fn from(tally: &Tally) -> Self {
        let closures = || tally.closures.values();
        Self {
            depth: closures().map(|closure| closure.depth).max().unwrap_or(0),
            points: closures().map(|closure| closure.points).sum(),
            states: closures().map(|closure| closure.states).sum(),
        }
    }
}

impl From<&Tally> for Coverage {
    fn from(tally: &Tally) -> Self {
        let rows = |rows: Vec<(&str, tally::Covered)>| -> Vec<Covered> {
            let row = |(name, row): (&str, tally::Covered)| Covered {
                name: name.to_owned(),
                possible: row.possible,
                explored: row.explored,
            };
            rows.into_iter().map(row).collect()
        };
        Self {
            by_model: rows(tally.coverage.by(|model, _, _| model.name())),
            by_step: rows(tally.coverage.by(|_, step, _| step)),
            by_region: rows(tally.coverage.by(|_, _, region| region)),
        }
    }
}

impl From<&Tally> for Baseline {
    fn from(tally: &Tally) -> Self {
        let phases = || tally.baselines.values();
        Self {
            runs: phases().map(|phase| phase.runs).min().unwrap_or(0),
            ops: phases().map(|phase| phase.ops).sum(),
            flushes: phases().map(|phase| phase.flushes).sum(),
            volatile_bytes: phases().map(|phase| phase.volatile_bytes).sum(),
        }
    }
}

impl From<&Tally> for Verdicts {
    fn from(tally: &Tally) -> Self {
        Self {
            recovered: tally.verdict(Verdict::Recovered),
            rolled_back: tally.verdict(Verdict::RolledBack),
            refused: tally.verdict(Verdict::Refused),
            crashed: tally.verdict(Verdict::Crashed),
            diverged: tally.verdict(Verdict::Diverged),
            corrupt: tally.verdict(Verdict::Corrupt),
            hung: tally.verdict(Verdict::Hung),
            not_measured: tally.verdict(Verdict::NotMeasured),
        }
    }
}

impl Verdicts {
    /// The count of `verdict`.
    pub fn get(&self, verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Recovered => self.recovered,
            Verdict::RolledBack => self.rolled_back,
            Verdict::Refused => self.refused,
            Verdict::Crashed => self.crashed,
            Verdict::Diverged => self.diverged,
            Verdict::Corrupt => self.corrupt,
            Verdict::Hung => self.hung,
            Verdict::NotMeasured => self.not_measured,
        }
    }
}

impl From<&Tally> for CopyStates {
    fn from(tally: &Tally) -> Self {
        let count = |state| tally.copy_states.get(&state).copied().unwrap_or(0);
        Self {
            empty: count(CopyState::Empty),
            partial: count(CopyState::Partial),
            complete: count(CopyState::Complete),
        }
    }
}

impl From<&Tally> for Gpt {
    fn from(tally: &Tally) -> Self {
        let gpt = &tally.gpt;
        Self {
            samples: tally.gpt_samples,
            clean: gpt.clean,
            header_crc: gpt.header_crc,
            torn_primary: gpt.torn_primary,
            torn_backup: gpt.torn_backup,
            mismatch: gpt.mismatch,
            no_valid_copy: gpt.no_valid_copy,
        }
    }
}

impl Report {
    /// Path of the report in the run directory `dir`.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(FILE_NAME)
    }

    /// The report as indented JSON with a newline at its end: what `report.json` holds and `--format json` prints.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Writes `report.json` into the run directory `dir`: whole or not at all, durable, in place of an older one.
    /// It first gives up the room that the event log reserved, so it works on a full disk. Returns the path.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<PathBuf, StoreError> {
        let dir = dir.as_ref();
        let path = Self::path(dir);
        let json = self.to_json().map_err(|source| StoreError::Encode { path: path.clone(), source })?;
        ballast::release(dir).map_err(|source| StoreError::Write { path: ballast::path(dir), source })?;
        replace_file(&path, json.as_bytes())?;
        Ok(path)
    }

    /// Reads the report of the run directory `dir`.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = Self::path(dir.as_ref());
        let json = fs::read(&path).map_err(|source| StoreError::Read { path: path.clone(), source })?;
        serde_json::from_slice(&json)
            .and_then(|report: Self| match report.schema {
                SCHEMA => Ok(report),
                other => Err(serde_json::Error::custom(format_args!("schema {other}, not {SCHEMA}"))),
            })
            .map_err(|source| StoreError::Report { path, source })
    }
}

/// Writes `content` to `path`: whole or not at all, durable, in place of an older file.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    replace(&temporary, path, content).map_err(|source| {
        // The failure that is reported is the first one; this only tidies up after it.
        let _ = fs::remove_file(&temporary);
        StoreError::Write { path: path.to_owned(), source }
    })
}

/// Puts `content` in `path`'s place by way of `temporary`, so that no reader and no crash sees half of it.
fn replace(temporary: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    // A bare name's folder is the current one.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests;
