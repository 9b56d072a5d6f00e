//! The oracles of a scenario: each looks at a volume and says whether one thing about it holds.
//!
//! An [`OracleSet`] is made once per phase, from the volume at the phase's start and the one that an uninterrupted
//! run leaves (the baseline); what can be known beforehand is computed then. A volume that equals its baseline costs
//! one full comparison. Before a set is relied on, [`OracleSet::prove`] shows that each oracle objects to damage.

mod baseline;
mod content;
mod fsck;
mod memory;
mod prove;
mod run;
mod subject;
mod table;
mod untouched;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use scenarios::model::{At, Oracle, Phase, Scenario};

use crate::content::{Kind, Reader, TreeError};
use crate::gpt::{Gpt, Partition};
use crate::mask::Mask;

pub use prove::Unproved;
pub use run::{Ended, Limits, run_limited, source_argument};

use memory::Memory;
use subject::{Disk, Subject};

/// What one oracle says about one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Name, as in scenario files: `fsck`.
    pub oracle: String,
    /// What it says.
    pub outcome: Outcome,
}

/// What an oracle can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What it guards is as it should be.
    Held,
    /// It is not.
    Failed {
        /// What is wrong, in the terms of the structure that it is wrong in.
        explain: String,
    },
    /// It could not look.
    NotMeasured {
        /// Why not.
        why: String,
    },
    /// Its checker ran past a limit.
    Hung {
        /// Which one, on what, which limit.
        what: String,
    },
}

impl Outcome {
    /// Fails with an explanation.
    fn failed(explain: impl Into<String>) -> Self {
        Self::Failed { explain: explain.into() }
    }

    /// All answers about the parts of one question as one: the worst kind, with every text of that kind.
    fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let (mut failed, mut hung, mut unmeasured) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            match part {
                Self::Held => {}
                Self::Failed { explain } => failed.push(explain),
                Self::Hung { what } => hung.push(what),
                Self::NotMeasured { why } => unmeasured.push(why),
            }
        }
        if !failed.is_empty() {
            Self::failed(failed.join("; "))
        } else if !hung.is_empty() {
            Self::Hung { what: hung.join("; ") }
        } else if !unmeasured.is_empty() {
            Self::NotMeasured { why: unmeasured.join("; ") }
        } else {
            Self::Held
        }
    }
}

/// Why a scenario's oracles can't be set up, or one can't look.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// Reading or writing failed.
    #[error("cannot access `{path}`")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The phase starts without a table where an oracle needs one.
    #[error("oracle `{oracle}`: `{file}` has no valid GPT copy when the phase starts")]
    NoTable {
        /// Oracle.
        oracle: &'static str,
        /// File of the volume.
        file: String,
    },
    /// The phase starts without a partition that an oracle guards, or with several of that label.
    #[error("oracle `{oracle}`: there is not exactly one partition `{label}` when the phase starts")]
    NoPartition {
        /// Oracle.
        oracle: &'static str,
        /// Label.
        label: String,
    },
    /// There is no checker for what the partition holds.
    #[error("oracle `fsck`: `{label}` holds neither ext4 nor FAT when the phase starts")]
    NoChecker {
        /// Label.
        label: String,
    },
    /// The tree of a file system can't be read.
    #[error("cannot read the content of `{label}`")]
    Tree {
        /// Label.
        label: String,
        /// Why.
        source: TreeError,
    },
}

/// The oracles of one phase.
#[derive(Debug)]
pub struct OracleSet {
    checks: Vec<Check>,
    world: World,
    not_tested: Vec<String>,
}

/// One oracle of the scenario, ready to be asked.
#[derive(Debug)]
struct Check {
    at: At,
    kind: CheckKind,
}

#[derive(Debug)]
enum CheckKind {
    Baseline,
    Table(table::Table),
    Untouched(untouched::Untouched),
    Fsck(fsck::Fsck),
    Content(content::Content),
}

/// What all oracles of a set share.
#[derive(Debug)]
struct World {
    start: PathBuf,
    baseline: PathBuf,
    mask: Mask,
    work: PathBuf,
    reader: Reader,
    memory: Memory,
}

impl OracleSet {
    /// Sets up the oracles of a scenario for one phase. `start` and `baseline` are volumes that stay as they are as
    /// long as the set lives; `work` is a folder for temporary files; `missing` names the programs of the scenario
    /// that this machine lacks: what needs an optional one is left out and named by [`Self::not_tested`].
    pub fn new(
        scenario: &Scenario,
        phase: &Phase,
        start: &Path,
        baseline: &Path,
        mask: Mask,
        work: &Path,
        missing: &[String],
    ) -> Result<Self, OracleError> {
        fs::create_dir_all(work).map_err(at(work))?;
        let lacks = |program: &str| missing.iter().any(|name| name == program);
        let mut setup = Setup {
            start,
            reader: Reader { work: work.to_owned(), debugfs: !lacks("debugfs") },
            lacking: missing.iter().filter(|program| scenario.optional.contains(program)).cloned().collect(),
            not_tested: Vec::new(),
        };
        let mut checks = vec![Check { at: At::End, kind: CheckKind::Baseline }];
        for oracle in &scenario.oracle {
            let check = match oracle {
                Oracle::Baseline { .. } => continue,
                Oracle::Gpt { file, at, need } => {
                    Check { at: *at, kind: CheckKind::Table(table::Table::new(file, *need)) }
                }
                Oracle::Untouched { phases, .. } if !phases.is_empty() && !phases.contains(&phase.name) => {
                    continue;
                }
                Oracle::Untouched { file, at, partitions, .. } => {
                    let untouched = untouched::Untouched::new(&setup, file, partitions)?;
                    Check { at: *at, kind: CheckKind::Untouched(untouched) }
                }
                Oracle::Fsck { file, at, partitions } => {
                    Check { at: *at, kind: CheckKind::Fsck(fsck::Fsck::new(&mut setup, file, partitions)?) }
                }
                Oracle::Content { file, at, partitions } => Check {
                    at: *at,
                    kind: CheckKind::Content(content::Content::new(&mut setup, file, partitions)?),
                },
            };
            checks.push(check);
        }
        let Setup { reader, not_tested, .. } = setup;
        let world = World {
            start: start.to_owned(),
            baseline: baseline.to_owned(),
            mask,
            work: work.to_owned(),
            reader,
            memory: Memory::default(),
        };
        Ok(Self { checks, world, not_tested })
    }

    /// What is left out for want of an optional program, each with its reason and the package to install.
    pub fn not_tested(&self) -> Vec<String> {
        self.not_tested.clone()
    }

    /// Asks the oracles that look at a crash state, before any resume.
    pub fn at_crash(&mut self, volume: &Path) -> Vec<Answer> {
        self.ask_all(volume, |at| matches!(at, At::Crash | At::Both))
    }

    /// Asks the oracles that look at the end, after the resume.
    pub fn at_end(&mut self, volume: &Path) -> Vec<Answer> {
        self.ask_all(volume, |at| matches!(at, At::End | At::Both))
    }

    /// Shows that each oracle holds on the baseline and objects to a copy of it with the damage that the oracle is
    /// there to find. Answers the names of the oracles that were proved.
    pub fn prove(&mut self) -> Result<Vec<String>, Unproved> {
        prove::prove(&self.checks, &mut self.world)
    }

    fn ask_all(&mut self, volume: &Path, when: impl Fn(At) -> bool) -> Vec<Answer> {
        // The baseline comes first: what it finds equal, the others need not read again.
        let subject = Subject::new(volume);
        let asked = self.checks.iter().enumerate().filter(|(_, check)| when(check.at));
        asked
            .map(|(number, check)| Answer {
                oracle: check.name().to_owned(),
                outcome: check.ask(number, &subject, &mut self.world),
            })
            .collect()
    }
}

impl Check {
    fn name(&self) -> &'static str {
        match self.kind {
            CheckKind::Baseline => "baseline",
            CheckKind::Table(_) => "gpt",
            CheckKind::Untouched(_) => "untouched",
            CheckKind::Fsck(_) => "fsck",
            CheckKind::Content(_) => "content",
        }
    }

    /// Asks this oracle; `number` tells its remembered answers from those of others.
    fn ask(&self, number: usize, subject: &Subject<'_>, world: &mut World) -> Outcome {
        let answer = match &self.kind {
            CheckKind::Baseline => baseline::ask(subject, world),
            CheckKind::Table(table) => table.ask(subject),
            CheckKind::Untouched(untouched) => untouched.ask(subject, world),
            CheckKind::Fsck(fsck) => fsck.ask(number, subject, world),
            CheckKind::Content(content) => content.ask(number, subject, world),
        };
        answer.unwrap_or_else(|error| Outcome::NotMeasured { why: chain(&error) })
    }
}

/// What the constructors of the oracles share.
struct Setup<'a> {
    start: &'a Path,
    reader: Reader,
    /// Programs that are missing and optional.
    lacking: Vec<String>,
    not_tested: Vec<String>,
}

impl Setup<'_> {
    /// The volume's file when the phase starts.
    fn disk(&self, file: &str) -> Result<Disk, OracleError> {
        Disk::open(&self.start.join(file))
    }

    /// Notes that something is left out for want of a program.
    fn leave_out(&mut self, what: String, program: &str) {
        let package = scenarios::programs::package_of(program);
        let hint = package.map_or_else(String::new, |package| format!(" (Debian package {package})"));
        self.not_tested.push(format!("{what}: {program} is not installed{hint}"));
    }
}

/// The one partition of that label when the phase starts, and what it holds.
fn starting_partition(
    oracle: &'static str,
    disk: &Disk,
    file: &str,
    label: &str,
) -> Result<(Partition, Kind), OracleError> {
    let no_table = || OracleError::NoTable { oracle, file: file.to_owned() };
    let partitions = &disk.gpt.best().ok_or_else(no_table)?.partitions;
    let mut named = partitions.iter().filter(|p| p.label == label && p.extent.end <= disk.gpt.len_bytes);
    match (named.next(), named.next()) {
        (Some(partition), None) => {
            let kind = Kind::detect(&disk.file, &partition.extent).map_err(at(&disk.path))?;
            Ok((partition.clone(), kind))
        }
        _ => Err(OracleError::NoPartition { oracle, label: label.to_owned() }),
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OracleError {
    let path = path.to_owned();
    move |source| OracleError::Io { path, source }
}

/// Reads a file's table.
fn table_of(file: &fs::File, path: &Path) -> Result<Gpt, OracleError> {
    Gpt::read(file).map_err(at(path))
}
