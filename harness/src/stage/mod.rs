//! Where the tool under test works: its volume, its scratch directory, and the seam that its I/O passes through.
//!
//! Both seams offer the same few things: put a state there, run commands on it (cut or not), look at what is there,
//! keep it. What makes each of them quick is its own affair.

mod command;
pub mod fuse;
pub mod hook;
mod mounted;
pub mod recorded;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fault_backend::footprint::Footprint;
use fault_backend::fuse::Glances;
use fault_backend::oplog::OpLog;
use fault_backend::replay::Point;
use fault_backend::volume::Volume;
use fault_backend::{ContentId, Fault};
use scenarios::model::Phase;

use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::judge::Failure;
use crate::oracle::Showcase;
use crate::process::{Aim, End, Mark, Run};

pub use command::Words;
use fuse::FuseStage;
use hook::HookStage;

/// What cuts a run.
#[derive(Clone, Debug)]
pub enum Cut {
    /// A kill from outside, at a time after the first command's start.
    Time(Aim),
    /// The seam, at an op.
    Op(Fault),
}

/// Commands to be run one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The phase that they belong to.
    pub phase: &'a Phase,
    /// Whether they are the phase's run or what resumes it.
    pub which: Which,
    /// What cuts them.
    pub cut: Option<&'a Cut>,
}

/// Which commands of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The run.
    Run,
    /// What resumes it after a crash.
    Resume,
}

impl<'a> Job<'a> {
    /// The commands, and the exit codes that each may have.
    pub fn commands(&self) -> Vec<(&'a [String], &'a [i32])> {
        let phase = self.phase;
        let accepted = |index: usize| phase.resume_exit.get(index).unwrap_or(&phase.run_exit).as_slice();
        match self.which {
            Which::Run => vec![(&phase.run, &phase.run_exit)],
            Which::Resume if phase.resume.is_empty() => vec![(&phase.run, accepted(0))],
            Which::Resume => phase
                .resume
                .iter()
                .enumerate()
                .map(|(index, command)| (command.as_slice(), accepted(index)))
                .collect(),
        }
    }
}

/// What commands did.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// How the last one that ran went. Marks are those of all.
    pub run: Run,
    /// How it failed, if it did; the ones after it were not run.
    pub failure: Option<Failure>,
    /// Their ops, in order.
    pub ops: Vec<OpTrace>,
    /// The cut by op, where they were cut.
    pub cut: Option<Fault>,
    /// The recording and the point in it at which they were cut, on a seam that records.
    pub past: Option<(Arc<OpLog>, Point)>,
    /// They wrote through a writable shared mapping, whose pages survive a kill at times that are the kernel's choice.
    pub mapped: bool,
    /// What they asked about what lay in the scratch directory, on a seam that sees that.
    pub glances: Option<Glances>,
    /// What it read and overwrote, on a seam that sees that, of a run that was not to be cut.
    pub footprint: Option<Footprint>,
}

/// One op, as far as both seams know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpTrace {
    /// Bytes of the disk that it changes; empty for a flush, and for a change of anything else.
    pub range: Range<u64>,
    /// Makes what was before it durable, and changes nothing.
    pub flush: bool,
    /// When it began, from the spawn.
    pub at: Duration,
    /// It was complete when the run ended.
    pub complete: bool,
}

impl Attempt {
    /// Whether they were cut as asked for.
    pub fn was_cut(&self) -> bool {
        self.run.end == End::Killed
    }

    /// Number of mutations that began.
    pub fn writes(&self) -> usize {
        self.ops.iter().filter(|op| !op.flush).count()
    }

    /// Number of flushes that were completed.
    pub fn flushes(&self) -> u64 {
        self.ops.iter().filter(|op| op.flush && op.complete).count() as u64
    }

    /// Number of the last op that completed.
    pub fn completed(&self) -> u64 {
        self.ops.iter().filter(|op| op.complete).count() as u64
    }

    /// Ranges that were written, or may have been.
    pub fn written(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ops.iter().map(|op| op.range.clone())
    }

    /// What was acknowledged, in order.
    pub fn acks(&self) -> impl Iterator<Item = String> + '_ {
        self.run.acks.iter().map(|ack| ack.name.clone())
    }

    /// Name of the last step mark; `start` before the first.
    pub fn step(&self) -> &str {
        self.run.marks.last().map_or("start", |mark| &mark.name)
    }
}

/// A state that is kept.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Its content id.
    pub id: ContentId,
    /// The volume, as a directory that can be looked at while its phase is entered.
    pub path: PathBuf,
    /// The same in memory, with the scratch directory, on a seam that has it there.
    pub memory: Option<Volume>,
}

/// The state that is there now.
#[derive(Debug)]
pub struct Look<'a> {
    /// Its content id.
    pub id: ContentId,
    /// The volume, as a directory; a private copy, where the seam has that for nothing.
    pub path: &'a Path,
    /// Chunk hashes of a volume that is one file, where they are known.
    pub hashes: Option<&'a Fingerprint>,
    /// The same in memory, with the scratch directory, on a seam that has it there.
    pub memory: Option<&'a Volume>,
}

/// Where the tool works.
#[derive(Debug)]
pub enum Stage {
    /// In a directory; the tool itself has the seam linked in.
    Hook(Box<HookStage>),
    /// In a file system of ours.
    Fuse(Box<FuseStage>),
}

impl Stage {
    /// The seam.
    pub fn seam(&self) -> reports::Seam {
        match self {
            Self::Hook(_) => reports::Seam::InProcess,
            Self::Fuse(_) => reports::Seam::Fuse,
        }
    }

    /// Keeps what is there now under a name.
    pub fn save(&mut self, name: &str) -> Result<Saved, Error> {
        match self {
            Self::Hook(stage) => stage.save(name),
            Self::Fuse(stage) => stage.save(),
        }
    }

    /// Makes what oracles compare with visible at its paths. To be called before a phase is judged.
    pub fn enter(&mut self, start: &mut Saved, baseline: &mut Saved) -> Result<(), Error> {
        match self {
            Self::Hook(_) => Ok(()),
            Self::Fuse(stage) => stage.enter(start, baseline),
        }
    }

    /// Puts a kept state there, with an empty scratch directory.
    pub fn place(&mut self, state: &Saved) -> Result<(), Error> {
        match self {
            Self::Hook(stage) => stage.place(state),
            Self::Fuse(stage) => stage.place(state),
        }
    }

    /// Runs commands until one is cut or does not end as it should.
    pub fn run(&mut self, job: Job<'_>, on_mark: &mut dyn FnMut(&Mark, &Path)) -> Result<Attempt, Error> {
        match self {
            Self::Hook(stage) => stage.run(job, on_mark),
            Self::Fuse(stage) => stage.run(job, on_mark),
        }
    }

    /// What is there now.
    pub fn look(&mut self) -> Result<Look<'_>, Error> {
        match self {
            Self::Hook(stage) => stage.look(),
            Self::Fuse(stage) => stage.look(),
        }
    }

    /// Empties the scratch directory.
    pub fn clear_scratch(&mut self) -> Result<(), Error> {
        match self {
            Self::Hook(stage) => stage.clear_scratch(),
            Self::Fuse(stage) => stage.clear_scratch(),
        }
    }

    /// Gives up a kept state that nothing needs any more.
    pub fn drop_state(&mut self, state: Saved) -> Result<(), Error> {
        match self {
            Self::Hook(_) => std::fs::remove_dir_all(&state.path).map_err(Error::io(&state.path)),
            Self::Fuse(_) => Ok(()),
        }
    }

    /// How commands are made.
    pub fn words(&self) -> &Words {
        match self {
            Self::Hook(stage) => &stage.words,
            Self::Fuse(stage) => stage.words(),
        }
    }

    /// Names the disk whose regions faults refer to.
    pub fn set_disk(&mut self, file: Option<&Path>) -> Result<(), Error> {
        match self {
            Self::Hook(stage) => stage.set_disk(file),
            Self::Fuse(stage) => stage.set_disk(file),
        }
    }

    /// Length in bytes and sector size of the disk that was named, where it is there.
    pub fn disk(&self) -> Option<(u64, u32)> {
        match self {
            Self::Hook(stage) => stage.disk(),
            Self::Fuse(stage) => stage.disk(),
        }
    }

    /// The recording of the last run that was not cut, on a seam that records.
    pub fn take_log(&mut self) -> Option<Arc<OpLog>> {
        match self {
            Self::Hook(_) => None,
            Self::Fuse(stage) => stage.take_log(),
        }
    }

    /// Whether a signal asked killpoint to stop.
    pub fn interrupted(&self) -> bool {
        let flag = match self {
            Self::Hook(stage) => stage.interrupted,
            Self::Fuse(stage) => stage.interrupted(),
        };
        flag.load(Ordering::Relaxed)
    }

    /// The FUSE seam, where it is that one.
    pub fn fuse(&mut self) -> Result<&mut FuseStage, Error> {
        match self {
            Self::Hook(_) => Err(Error::NotRecorded),
            Self::Fuse(stage) => Ok(stage),
        }
    }

    /// Shows volumes that are in memory to checkers, on the seam that has them there.
    pub fn showcase(&self) -> Option<Arc<dyn Showcase>> {
        match self {
            Self::Hook(_) => None,
            Self::Fuse(stage) => Some(stage.showcase()),
        }
    }

    /// Tells of a phase whose uninterrupted runs are there. Answers what a person should know of it.
    pub fn learn(
        &mut self,
        phase: &Phase,
        start: &Saved,
        baseline: &Saved,
        run: &Attempt,
    ) -> Result<Option<String>, Error> {
        match self {
            Self::Hook(stage) => stage.learn(phase, start, baseline, run),
            Self::Fuse(_) => Ok(None),
        }
    }

    /// What is there now was judged to be the phase's baseline, outside of its mask.
    pub fn confirmed(&mut self) {
        if let Self::Hook(stage) = self {
            stage.confirmed();
        }
    }
}
