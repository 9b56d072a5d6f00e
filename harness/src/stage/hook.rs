//! The in-process seam: the tool has `fault-backend` linked in and works in a directory, which is put right after
//! each chain by what the seam saw written rather than by a copy of the whole disk.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fault_backend::hook::{self, HookConfig};
use fault_backend::hook_log::{self, Op, OpKind, OpLogError};
use fault_backend::{Action, Fault, FaultPlan, Region};
use scenarios::model::Phase;

use super::{Attempt, Cut, Job, Look, OpTrace, Saved, Words};
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::gpt::Gpt;
use crate::judge::Failure;
use crate::process::End;
use crate::process::run::{Mark, Run, Runner};
use crate::{image, ranges, workdir};

/// What the in-process seam needs to run tools.
#[derive(Debug)]
pub struct HookStage {
    /// How commands are made.
    pub words: Words,
    /// Wait before and after each write that touches the GPT, in runs that are killed at a time.
    pub gpt_delay: Option<Duration>,
    /// Starts the processes.
    pub runner: Runner,
    /// Set by a signal to killpoint.
    pub interrupted: &'static AtomicBool,
    area: PathBuf,
    logs: PathBuf,
    runs: u64,
    disk: Option<(u64, u32)>,
    legs: Vec<Leg>,
    now: Now,
}

/// A phase whose uninterrupted runs are there.
#[derive(Debug)]
struct Leg {
    start: PathBuf,
    /// Ranges that an uninterrupted run writes.
    written: Vec<Range<u64>>,
    /// Chunk hashes at the start, where the seam sees all that the tool writes.
    fingerprint: Option<Fingerprint>,
}

/// What is known of the volume as it is.
#[derive(Debug, Default)]
struct Now {
    /// It is the start of this leg but for `written`, as far as the seam saw it.
    leg: Option<usize>,
    written: Vec<Range<u64>>,
    fingerprint: Option<Fingerprint>,
    /// Nothing but `written` was written: every byte was compared.
    confirmed: bool,
}

impl HookStage {
    /// Copies the fixture into the area, which gets the volume, the scratch directory and the op logs.
    pub fn new(
        area: &Path,
        fixture: &Path,
        words: Words,
        gpt_delay: Option<Duration>,
        runner: Runner,
        interrupted: &'static AtomicBool,
    ) -> Result<Self, Error> {
        let logs = area.join("logs");
        for dir in [&logs, &words.scratch] {
            fs::create_dir(dir).map_err(Error::io(dir))?;
        }
        image::copy_sparse(fixture, &words.volume).map_err(Error::io(&words.volume))?;
        Ok(Self {
            words,
            gpt_delay,
            runner,
            interrupted,
            area: area.to_owned(),
            logs,
            runs: 0,
            disk: None,
            legs: Vec::new(),
            now: Now::default(),
        })
    }

    pub(super) fn save(&mut self, name: &str) -> Result<Saved, Error> {
        let path = self.area.join(name);
        image::copy_sparse(&self.words.volume, &path).map_err(Error::io(&path))?;
        let id = image::content_id(&path).map_err(Error::io(&path))?;
        Ok(Saved { id, path, memory: None })
    }

    pub(super) fn place(&mut self, state: &Saved) -> Result<(), Error> {
        let volume = &self.words.volume;
        let leg = self.legs.iter().position(|leg| leg.start == state.path);
        let now = std::mem::take(&mut self.now);
        match (now.leg, leg) {
            (Some(from), Some(to)) if now.confirmed => {
                // From one phase's start to another's, the uninterrupted runs between them made the difference.
                let between = self.legs[from.min(to)..from.max(to)].iter();
                let between = between.flat_map(|leg| leg.written.iter().cloned());
                image::restore_ranges(&state.path, volume, ranges::merged(between.chain(now.written)))
            }
            _ => image::restore(&state.path, volume),
        }
        .map_err(Error::io(volume))?;
        let fingerprint = leg.and_then(|leg| self.legs[leg].fingerprint.clone());
        self.now = Now { leg, written: Vec::new(), fingerprint, confirmed: false };
        self.clear_scratch()
    }

    pub(super) fn set_disk(&mut self, file: Option<&Path>) -> Result<(), Error> {
        self.disk = None;
        if let Some(file) = file {
            let path = self.words.volume.join(file);
            let disk = File::open(&path).map_err(Error::io(&path))?;
            let gpt = Gpt::read(&disk).map_err(Error::io(&path))?;
            self.disk = Some((gpt.len_bytes, gpt.sector_bytes));
        }
        Ok(())
    }

    pub(super) fn disk(&self) -> Option<(u64, u32)> {
        self.disk
    }

    pub(super) fn clear_scratch(&mut self) -> Result<(), Error> {
        workdir::wipe(&self.words.scratch).map_err(Error::io(&self.words.scratch))
    }

    pub(super) fn confirmed(&mut self) {
        // Without a fingerprint it is not known that the seam sees all that is written.
        self.now.confirmed = self.now.fingerprint.is_some();
    }

    pub(super) fn look(&mut self) -> Result<Look<'_>, Error> {
        let volume = &self.words.volume;
        let id = match &self.now.fingerprint {
            Some(fingerprint) => fingerprint.id(),
            None => image::content_id(volume).map_err(Error::io(volume))?,
        };
        Ok(Look { id, path: volume, hashes: self.now.fingerprint.as_ref(), memory: None })
    }

    /// Takes chunk hashes of the start, if following the ops of an uninterrupted run from there gives the baseline.
    pub(super) fn learn(
        &mut self,
        phase: &Phase,
        start: &Saved,
        baseline: &Saved,
        run: &Attempt,
    ) -> Result<Option<String>, Error> {
        let mut leg =
            Leg { start: start.path.clone(), written: ranges::merged(run.written()), fingerprint: None };
        // Without ops there is nothing to follow: the tool writes nothing, or nothing that the seam sees.
        let followed = match !run.ops.is_empty() || baseline.id != start.id {
            true => Fingerprint::of_volume(&start.path).map_err(Error::io(&start.path))?,
            false => None,
        };
        let mut past_the_seam = false;
        if let Some(at_start) = followed {
            let mut followed = at_start.clone();
            followed.update(&baseline.path, run.written()).map_err(Error::io(&baseline.path))?;
            past_the_seam = followed.id() != baseline.id;
            leg.fingerprint = (!past_the_seam).then_some(at_start);
        }
        self.legs.push(leg);
        Ok(past_the_seam.then(|| {
            format!(
                "phase `{}`: the tool writes past the in-process seam; a kill there can't be brought back by op",
                phase.name
            )
        }))
    }

    pub(super) fn run(
        &mut self,
        job: Job<'_>,
        on_mark: &mut dyn FnMut(&Mark, &Path),
    ) -> Result<Attempt, Error> {
        let mut whole: Option<Attempt> = None;
        for (index, (command, accepted)) in job.commands().into_iter().enumerate() {
            // The hook counts the ops of one process, so a cut falls into the first command.
            let cut = job.cut.filter(|_| index == 0);
            let one = self.run_one(job.phase, command, accepted, cut, on_mark)?;
            let last = one.was_cut() || one.failure.is_some();
            whole = Some(match whole {
                None => one,
                Some(before) => joined(before, one),
            });
            if last {
                break;
            }
        }
        whole.ok_or_else(|| Error::NoCommand { phase: job.phase.name.clone() })
    }

    fn run_one(
        &mut self,
        phase: &Phase,
        command: &[String],
        accepted: &[i32],
        cut: Option<&Cut>,
        on_mark: &mut dyn FnMut(&Mark, &Path),
    ) -> Result<Attempt, Error> {
        let (fault, aim) = match cut {
            None => (None, None),
            Some(Cut::Time(aim)) => (None, Some(aim)),
            Some(Cut::Op(fault)) => (Some(fault.clone()), None),
        };
        self.runs += 1;
        let log = self.logs.join(format!("ops-{}", self.runs));
        // Only a run that is to be killed at a time is slowed down; a fault by op needs no time to land.
        let delay = self
            .gpt_delay
            .filter(|_| aim.is_some())
            .map(|delay| Fault::Delay(Region::Gpt, delay.as_millis() as u64));
        let plan = FaultPlan(delay.into_iter().chain(fault.clone()).collect());
        let config = HookConfig { log: Some(log.clone()), plan: plan.to_string() };
        let mut command = self.words.command(phase, command)?;
        let config = serde_json::to_string(&config).map_err(Error::Json)?;
        command.environment.insert(hook::ENVIRONMENT.to_owned(), config.into());
        command.op_log = Some(log.clone());
        // The hook's own delays are sleeps of the tool.
        command.real_time = true;
        let volume = self.words.volume.clone();
        let run = self
            .runner
            .run(&command, aim, fault.is_some(), self.interrupted, &mut |mark| on_mark(mark, &volume))?;
        let ops = match hook_log::read(&log) {
            // Killed before it opened its disk.
            Err(OpLogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
            ops => ops?,
        };
        if let Err(source) = fs::remove_file(&log)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::io(&log)(source));
        }
        self.taken_in(run, ops, accepted)
    }

    /// Brings what is known of the volume up to date.
    fn taken_in(&mut self, run: Run, ops: Vec<Op>, accepted: &[i32]) -> Result<Attempt, Error> {
        let volume = &self.words.volume;
        let cut = match run.end {
            End::Killed => Some(as_fault(&ops, volume)?),
            _ => None,
        };
        self.now.confirmed = false;
        self.now.written.extend(ops.iter().map(|op| op.range.clone()));
        if let Some(fingerprint) = &mut self.now.fingerprint {
            let written = ops.iter().map(|op| op.range.clone());
            fingerprint.update(volume, written).map_err(Error::io(volume))?;
        }
        let began_ns = run.began_ns;
        let trace = |op: Op| OpTrace {
            flush: op.kind == OpKind::Flush,
            at: Duration::from_nanos(op.began_ns.saturating_sub(began_ns)),
            complete: op.ended_ns.is_some(),
            range: op.range,
        };
        let failure = if cut.is_some() { None } else { Failure::of(&run, accepted) };
        Ok(Attempt {
            run,
            failure,
            ops: ops.into_iter().map(trace).collect(),
            cut,
            past: None,
            mapped: false,
            glances: None,
            footprint: None,
        })
    }
}

/// Two runs, one after the other, as one.
fn joined(before: Attempt, after: Attempt) -> Attempt {
    let marks = before.run.marks.into_iter().chain(after.run.marks).collect();
    let run = Run { marks, wall: before.run.wall + after.run.wall, ..after.run };
    Attempt { run, ops: before.ops.into_iter().chain(after.ops).collect(), ..after }
}

/// The fault that brings a crash state back by op: the bytes of a write that was cut are looked up in the state
/// itself.
fn as_fault(ops: &[Op], volume: &Path) -> Result<Fault, Error> {
    let after = |number| Fault::AtOp(number, Action::KillAfter);
    let Some(last) = ops.last() else { return Ok(after(0)) };
    if last.ended_ns.is_some() {
        return Ok(after(last.number));
    }
    let arrived = match last.kind {
        OpKind::Flush => 0,
        OpKind::Write => {
            // The hook's log knows one file; with several there is no telling which was cut.
            let Ok([name]) = <[PathBuf; 1]>::try_from(image::files(volume).map_err(Error::io(volume))?)
            else {
                return Ok(after(last.number - 1));
            };
            let path = volume.join(name);
            let file = File::open(&path).map_err(Error::io(&path))?;
            last.arrived_bytes(|at, buf| file.read_exact_at(buf, at)).map_err(Error::io(&path))?
        }
    };
    let whole = last.range.end - last.range.start;
    let sector_bytes = fault_backend::fault::TORN_SECTOR_BYTES as u64;
    Ok(if arrived == 0 {
        after(last.number - 1)
    } else if arrived == whole {
        after(last.number)
    } else {
        // Counted from the sector of the file that the write begins in.
        let sectors = (last.range.start % sector_bytes + arrived) / sector_bytes;
        Fault::AtOp(last.number, Action::KillTorn(u32::try_from(sectors).unwrap_or(u32::MAX)))
    })
}

/// The environment that has a tool with a planted bug show it: `RESIZER_BUG`.
pub fn bug_environment(
    bug: &str,
    tools: impl Iterator<Item = String>,
) -> impl Iterator<Item = (String, String)> {
    tools.map(move |tool| (format!("{}_BUG", tool.to_uppercase().replace('-', "_")), bug.to_owned()))
}
