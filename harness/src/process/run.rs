//! Runs one command of the tool under test to its end, or to its kill at a time or by a seam.
//!
//! The tool's whole tree is dead when a run returns, however it ended: nothing that it left behind goes on writing.
//! Time and captured output are limited.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

pub use super::command::{Aim, Anchor, Command, End, Mark, Run, StepRule};
use super::containment::{Containment, ContainmentError};
use super::keeper::{Keeper, StartError};
use super::kill::{Killer, Seam, Wiring};
pub use super::outputs::OUTPUT_LIMIT_BYTES;
use super::outputs::Outputs;
use super::traps::{self, Traps};
use super::tree::living_descendants;
use super::watch::{Cause, GONE_WITHIN, Over, Watch};
use super::wire::{self, DeathBy, Request, Stage, Streams};

/// A run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program can't be executed.
    #[error("`{program}` can't be started")]
    Spawn {
        /// Program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something before that failed.
    #[error("`{program}` can't be started: {stage}")]
    Launch {
        /// Program.
        program: PathBuf,
        /// What was to be done.
        stage: Stage,
        /// Why.
        source: Errno,
    },
    /// A file can't stand in another's place.
    #[error("the tool can't be shown `{}` as `{}`", bind.source.display(), bind.target.display())]
    Bind {
        /// The two.
        bind: super::Bind,
        /// Why.
        source: Errno,
    },
    /// The launcher is not there or does not answer.
    #[error("killpoint's launcher fails")]
    Launcher(#[source] io::Error),
    /// Waiting for it failed.
    #[error("can't wait for the tool")]
    Wait(#[source] io::Error),
    /// Its tree could not be ended.
    #[error(transparent)]
    Containment(#[from] ContainmentError),
    /// A signal asked killpoint to stop; the tool was killed.
    #[error("interrupted")]
    Interrupted,
}

/// Runs tools one after the other in one containment.
#[derive(Debug)]
pub struct Runner {
    /// Where the processes are kept together.
    pub containment: Containment,
    /// The binary that [`launch`](super::launch) is part of.
    pub launcher: PathBuf,
}

/// How a command is run.
struct Job<'a> {
    command: &'a Command,
    seam: Option<&'a dyn Seam>,
    aim: Option<&'a Aim>,
    /// A hook in the tool was told to kill it, so that SIGKILL is no crash of its own.
    expect_kill: bool,
    interrupted: &'a AtomicBool,
}

impl Runner {
    /// Runs a command. With an aim, it is killed then, if it still lives; `expect_kill` says that the hook was told
    /// to kill it, so that SIGKILL is no crash of its own. `on_mark` is called as marks arrive.
    pub fn run(
        &self,
        command: &Command,
        aim: Option<&Aim>,
        expect_kill: bool,
        interrupted: &AtomicBool,
        on_mark: &mut dyn FnMut(&Mark),
    ) -> Result<Run, RunError> {
        self.start(&Job { command, seam: None, aim, expect_kill, interrupted }, on_mark)
    }

    /// Runs a command whose I/O passes through a seam, which can kill it.
    pub fn run_on(
        &self,
        seam: &dyn Seam,
        command: &Command,
        aim: Option<&Aim>,
        interrupted: &AtomicBool,
        on_mark: &mut dyn FnMut(&Mark),
    ) -> Result<Run, RunError> {
        self.start(&Job { command, seam: Some(seam), aim, expect_kill: false, interrupted }, on_mark)
    }

    /// Whether long sleeps can be skipped and wishes to sync be heard here: the kernel must let us be asked about
    /// system calls.
    pub fn sleeps_skipped(&self) -> Result<bool, RunError> {
        let keeper = self.containment.keeper(&self.launcher).map_err(RunError::Launcher)?;
        Ok(keeper.as_ref().is_some_and(|keeper| keeper.refusal().is_none()))
    }

    fn start(&self, job: &Job, on_mark: &mut dyn FnMut(&Mark)) -> Result<Run, RunError> {
        let mut slot = self.containment.keeper(&self.launcher).map_err(RunError::Launcher)?;
        let Some(keeper) = &*slot else {
            return Err(RunError::Launcher(io::ErrorKind::NotConnected.into()));
        };
        let killer = Arc::new(Killer::new(self.containment.kill_file(), keeper.pid()));
        let result = job.run(keeper, &killer, on_mark);
        if matches!(result, Err(RunError::Launcher(_) | RunError::Wait(_) | RunError::Containment(_))) {
            // The launcher may be in the middle of anything, or gone: the next run gets a new one.
            killer.kill();
            *slot = None;
        }
        killer.run_is_over();
        result
    }
}

impl Job<'_> {
    fn run(
        &self,
        keeper: &Keeper,
        killer: &Arc<Killer>,
        on_mark: &mut dyn FnMut(&Mark),
    ) -> Result<Run, RunError> {
        let (began, began_ns) = (Instant::now(), now_ns().map_err(wait)?);
        let (outputs, [stdout, stderr]) = Outputs::new(self.command, began).map_err(RunError::Wait)?;
        let outputs = Arc::new(outputs);
        if let Some(seam) = self.seam {
            seam.begin(wiring(killer, &outputs));
        }
        let input = self.command.input.as_deref().map(wire::memory_file).transpose();
        let streams =
            Streams { output: stdout.into(), errors: stderr.into(), input: input.map_err(RunError::Wait)? };
        let trapped = traps::numbers(self.command.real_time, self.seam.is_some());
        let cpus = own_cpus().map_err(wait)?;
        let request = Request::new(self.command, cpus, trapped).map_err(RunError::Wait)?;
        let started = keeper.launch(&request, streams).map_err(|error| match error {
            StartError::Failed(stage, errno) => self.failure(stage, errno),
            StartError::Launcher(error) => RunError::Launcher(error),
        })?;
        killer.started(started.main);
        let watch = Watch {
            command: self.command,
            began,
            interrupted: self.interrupted,
            on_mark: &mut *on_mark,
            outputs: &outputs,
            keeper,
            killer,
            seam: self.seam,
            traps: started.listener.map(|listener| Traps::new(listener, self.seam)),
            over: Over::default(),
            patient: self.aim.is_none(),
            deaf_until: began,
        };
        let (cause, over) = watch.until_over(self.aim)?;
        let Some(death) = over.death else { return Err(still_there(keeper.pid()).into()) };
        let (marks, acks, [stdout, stderr]) = outputs.finish();
        marks.iter().skip(over.marks_told).for_each(on_mark);
        if let Some((stage, errno)) = over.failure {
            return Err(self.failure(stage, errno));
        }
        let killed_by_us = self.expect_kill || killer.has_killed();
        let end = match (cause, death.by) {
            (Cause::Interrupted, _) => return Err(RunError::Interrupted),
            (Cause::Limit, _) => End::Hung,
            (_, DeathBy::Exit(code)) => End::Exited(code),
            (_, DeathBy::Signal(libc::SIGKILL)) if killed_by_us => End::Killed,
            (_, DeathBy::Signal(signal)) => End::Signalled(signal),
        };
        Ok(Run {
            end,
            marks,
            acks,
            stdout,
            stderr,
            wall: Duration::from_nanos(death.at_ns.saturating_sub(began_ns)),
            began_ns,
            sleeps_skipped: over.sleeps_skipped,
        })
    }

    fn failure(&self, stage: Stage, errno: Errno) -> RunError {
        let program = self.command.program.clone();
        match stage {
            Stage::Exec => RunError::Spawn { program, source: errno.into() },
            Stage::Bind(index) => match self.command.binds.get(index as usize) {
                Some(bind) => RunError::Bind { bind: bind.clone(), source: errno },
                None => RunError::Launch { program, stage, source: errno },
            },
            _ => RunError::Launch { program, stage, source: errno },
        }
    }
}

fn wiring(killer: &Arc<Killer>, outputs: &Arc<Outputs>) -> Wiring {
    let (to_kill, to_signal, to_step) = (killer.clone(), killer.clone(), outputs.clone());
    Wiring {
        kill: Arc::new(move || to_kill.kill()),
        signal: Arc::new(move |number| to_signal.signal(number)),
        progress: Arc::new(move || to_step.progress()),
    }
}

fn still_there(launcher: Pid) -> ContainmentError {
    match living_descendants(launcher) {
        Ok(alive) => ContainmentError::StillThere {
            pids: alive.iter().map(|pid| pid.as_raw()).collect(),
            after_s: GONE_WITHIN.as_secs(),
        },
        Err(source) => ContainmentError::Io { path: PathBuf::from("/proc"), source },
    }
}

/// The CPUs that the calling thread may run on, which are the tool's too.
fn own_cpus() -> Result<Vec<u32>, Errno> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).map(|cpu| cpu as u32).collect())
}

fn now_ns() -> Result<u64, Errno> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

fn wait(errno: Errno) -> RunError {
    RunError::Wait(errno.into())
}
