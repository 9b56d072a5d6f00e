//! The process subject: one phase's commands of the tool under test, run on the live volume through the in-process
//! seam, each with its own op log.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fault_backend::hook::{self, HookConfig};
use fault_backend::oplog::{self, Op, OpKind, OpLogError};
use fault_backend::{Action, Fault, FaultPlan, Region};
use scenarios::model::Phase;

use crate::process::run::{Mark, Run, RunError, Runner};
use crate::process::{Aim, Command};
use crate::tools::SEARCH_PATH;

/// What a phase's commands run with.
#[derive(Debug)]
pub struct Subject {
    /// The volume that the tool works on.
    pub volume: PathBuf,
    /// Its scratch directory.
    pub scratch: PathBuf,
    /// Where op logs go.
    pub logs: PathBuf,
    /// Folder of the scenario file.
    pub scenario_dir: PathBuf,
    /// Programs by the name that the scenario uses.
    pub programs: BTreeMap<String, PathBuf>,
    /// The scenario's environment, and that of a planted bug.
    pub environment: BTreeMap<String, String>,
    /// Wait before and after each write that touches the GPT, in runs that are killed at a time.
    pub gpt_delay: Option<Duration>,
    /// Starts the processes.
    pub runner: Runner,
    /// Set by a signal to killpoint.
    pub interrupted: &'static AtomicBool,
    /// Number of runs so far, for names of op logs.
    pub runs: AtomicU64,
}

/// One run and what it did.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// How it went.
    pub run: Run,
    /// Its ops; the last one has no end where it was cut.
    pub ops: Vec<Op>,
}

/// A run could not be made or its log not be read.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The log.
    #[error(transparent)]
    OpLog(#[from] OpLogError),
    /// A file of the working area.
    #[error("`{path}` can't be used")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The phase's limit is no duration.
    #[error("the `time_limit` of phase `{phase}` is no duration such as `30s`")]
    TimeLimit {
        /// Phase.
        phase: String,
        /// Why.
        source: humantime::DurationError,
    },
    /// The hook's configuration can't be written down.
    #[error("the hook's configuration can't be written down")]
    Config(#[from] serde_json::Error),
}

impl Attempt {
    /// Number of writes that began.
    pub fn writes(&self) -> usize {
        self.ops.iter().filter(|op| op.kind == OpKind::Write).count()
    }

    /// Ranges that were written, or may have been.
    pub fn written(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ops.iter().map(|op| op.range.clone())
    }

    /// Number of flushes that were completed.
    pub fn flushes(&self) -> u64 {
        self.ops.iter().filter(|op| op.kind == OpKind::Flush && op.ended_ns.is_some()).count() as u64
    }

    /// Number of the last op that completed.
    pub fn completed(&self) -> u64 {
        self.ops.iter().filter(|op| op.ended_ns.is_some()).count() as u64
    }

    /// When each op began, from the spawn.
    pub fn op_times(&self) -> Vec<Duration> {
        self.ops
            .iter()
            .map(|op| Duration::from_nanos(op.began_ns.saturating_sub(self.run.began_ns)))
            .collect()
    }

    /// The fault that brings this crash state back by op: the bytes of a write that was cut are looked up in the
    /// state itself.
    pub fn as_fault(&self, read: impl FnMut(u64, &mut [u8]) -> io::Result<()>) -> io::Result<Fault> {
        let after = |number| Fault::AtOp(number, Action::KillAfter);
        let Some(last) = self.ops.last() else { return Ok(after(0)) };
        if last.ended_ns.is_some() {
            return Ok(after(last.number));
        }
        let arrived = match last.kind {
            OpKind::Flush => 0,
            OpKind::Write => last.arrived_bytes(read)?,
        };
        let whole = last.range.end - last.range.start;
        Ok(if arrived == 0 {
            after(last.number - 1)
        } else if arrived == whole {
            after(last.number)
        } else {
            let sectors = arrived / fault_backend::fault::TORN_SECTOR_BYTES as u64;
            Fault::AtOp(last.number, Action::KillTorn(u32::try_from(sectors).unwrap_or(u32::MAX)))
        })
    }
}

impl Subject {
    /// Runs a phase's command. `fault` has the hook cut the run at an op, `aim` cuts it at a time.
    pub fn run(
        &self,
        phase: &Phase,
        command: &[String],
        fault: Option<Fault>,
        aim: Option<&Aim>,
        on_mark: &mut dyn FnMut(&Mark),
    ) -> Result<Attempt, SubjectError> {
        let log = self.logs.join(format!("ops-{}", self.runs.fetch_add(1, Ordering::Relaxed)));
        // Only a run that is to be killed at a time is slowed down; a fault by op needs no time to land.
        let delay = self
            .gpt_delay
            .filter(|_| aim.is_some())
            .map(|delay| Fault::Delay(Region::Gpt, delay.as_millis() as u64));
        let plan = FaultPlan(delay.into_iter().chain(fault).collect());
        let config = HookConfig { log: Some(log.clone()), plan: plan.to_string() };
        let command = self.command(phase, command, &config)?;
        let run = self.runner.run(&command, aim, fault.is_some(), self.interrupted, on_mark)?;
        let ops = match oplog::read(&log) {
            // Killed before it opened its disk.
            Err(OpLogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
            ops => ops?,
        };
        if let Err(source) = fs::remove_file(&log)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(SubjectError::Io { path: log, source });
        }
        Ok(Attempt { run, ops })
    }

    fn command(
        &self,
        phase: &Phase,
        command: &[String],
        config: &HookConfig,
    ) -> Result<Command, SubjectError> {
        let time_limit = humantime::parse_duration(&phase.time_limit)
            .map_err(|source| SubjectError::TimeLimit { phase: phase.name.clone(), source })?;
        let mut words = command.iter().map(|word| self.fill_in(word));
        let name = words.next().unwrap_or_default();
        let program = self.programs.get(&name).cloned().unwrap_or_else(|| PathBuf::from(&name));
        let mut environment: BTreeMap<String, OsString> = BTreeMap::new();
        for (name, value) in [("PATH", SEARCH_PATH), ("HOME", "/nonexistent"), ("LC_ALL", "C"), ("TZ", "UTC")]
        {
            environment.insert(name.to_owned(), value.into());
        }
        environment.insert("TMPDIR".to_owned(), self.scratch.clone().into());
        environment.insert(hook::ENVIRONMENT.to_owned(), serde_json::to_string(config)?.into());
        for (name, value) in &self.environment {
            environment.insert(name.clone(), self.fill_in(value).into());
        }
        Ok(Command {
            program,
            arguments: words.map(OsString::from).collect(),
            environment,
            directory: self.volume.clone(),
            step_prefix: phase.step_prefix.clone(),
            time_limit,
            op_log: config.log.clone(),
        })
    }

    /// Replaces the placeholders that only a run knows.
    fn fill_in(&self, word: &str) -> String {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        word.replace("{volume}", &text(&self.volume))
            .replace("{scratch}", &text(&self.scratch))
            .replace("{scenario_dir}", &text(&self.scenario_dir))
    }
}
