//! The FUSE seam: the tool works in a file system of ours, unmodified, and each of its ops is seen, counted and, where
//! asked for, recorded or cut. States are clones in memory, so putting one there costs nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fault_backend::fuse::{Run, Slot};
use fault_backend::oplog::OpLog;
use fault_backend::volume::Volume;
use fault_backend::{ContentId, Fault, FaultPlan, Region};

use super::mounted::{self, Mounted, StandIns, View};
use super::{Attempt, Cut, Job, Look, Saved, Words, recorded};
use crate::error::Error;
use crate::exec::Spec;
use crate::fixtures::Fixture;
use crate::gpt::Gpt;
use crate::ground::Setting;
use crate::image::{SCRATCH, VOLUME};
use crate::judge::Failure;
use crate::oracle::Showcase;
use crate::process::run::Runner;
use crate::process::{self, Containment, End, Mark};
use crate::workdir::WorkDir;

/// What a tool may write beyond its fixture, at least and as a multiple of what the fixture holds. What needs more
/// finds the disk full.
const MIN_ROOM_BYTES: u64 = 256 << 20;
const ROOM_SHARE: u64 = 3;

/// Payload that a recording may hold.
const LOG_LIMIT_BYTES: u64 = 2 << 30;

/// What the FUSE seam needs to run tools.
pub struct FuseStage {
    seed: StageSeed,
    runner: Runner,
    disk: Option<Disk>,
    /// Files of the user in whose place files of the seam are mounted.
    _stand_ins: StandIns,
    counting: bool,
    threads: Arc<AtomicU64>,
    seam: Arc<Mounted>,
    view: PathBuf,
    now: Volume,
    log: Option<Arc<OpLog>>,
    /// Of runs that are not cut only the end counts.
    only_ends: bool,
    entered: Option<(ContentId, ContentId)>,
}

/// Makes a stage.
#[derive(Clone)]
pub struct StageSeed {
    /// How commands are made; where the volume and the scratch directory are, the mount says.
    words: Words,
    launcher: PathBuf,
    /// The mounts of each thread are its own.
    pub private_mounts: bool,
    interrupted: &'static AtomicBool,
    gpt_delay: Option<Duration>,
    limit_bytes: u64,
    exec: Option<Spec>,
    now: Volume,
}

impl fmt::Debug for StageSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageSeed").field("private_mounts", &self.private_mounts).finish_non_exhaustive()
    }
}

impl StageSeed {
    /// The stage, for the calling thread, which is bound to a CPU.
    pub fn grow(self, work: &WorkDir, cpu: usize) -> Result<FuseStage, Error> {
        let runner = Runner { containment: Containment::choose()?, launcher: self.launcher.clone() };
        self.with_runner(work, cpu, runner)
    }

    fn with_runner(mut self, work: &WorkDir, cpu: usize, runner: Runner) -> Result<FuseStage, Error> {
        let seam = Arc::new(Mounted::new(work, self.private_mounts, cpu)?);
        let root = seam.seam.path(Slot::Work);
        (self.words.volume, self.words.scratch) = (root.join(VOLUME), root.join(SCRATCH));
        let mut stand_ins = StandIns::default();
        if let Some(spec) = &self.exec {
            seam.seam.load(Slot::Work, self.now.clone());
            stand_ins = mounted::stand_in(spec, &self.words.volume)?;
        }
        Ok(FuseStage {
            view: seam.seam.path(Slot::View).join(VOLUME),
            runner,
            disk: None,
            _stand_ins: stand_ins,
            counting: false,
            threads: Arc::default(),
            seam,
            now: self.now.clone(),
            log: None,
            only_ends: false,
            entered: None,
            seed: self,
        })
    }
}

/// The disk whose regions faults refer to.
#[derive(Clone, Debug)]
struct Disk {
    path: PathBuf,
    len_bytes: u64,
    sector_bytes: u32,
}

impl fmt::Debug for FuseStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FuseStage").field("root", &self.seam.seam.root()).finish_non_exhaustive()
    }
}

impl FuseStage {
    /// Mounts the seam with the fixture in it, and an empty scratch directory.
    pub fn new(
        work: &WorkDir,
        fixture: &Fixture,
        words: Words,
        setting: &Setting,
        runner: Runner,
    ) -> Result<Self, Error> {
        let mut now = Volume::new();
        now.graft(Path::new(VOLUME), &fixture.content.volume()?)?;
        now.insert_dir(Path::new(SCRATCH))?;
        let seed = StageSeed {
            words,
            launcher: runner.launcher.clone(),
            private_mounts: setting.private_mounts,
            interrupted: setting.interrupted,
            gpt_delay: setting.gpt_delay,
            limit_bytes: (fixture.used_bytes * ROOM_SHARE).max(MIN_ROOM_BYTES),
            exec: setting.exec.clone(),
            now,
        };
        seed.with_runner(work, setting.cpus[0], runner)
    }

    /// What another thread needs for a stage like this one.
    pub fn seed(&self) -> StageSeed {
        StageSeed { now: self.now.clone(), ..self.seed.clone() }
    }

    pub(super) fn interrupted(&self) -> &'static AtomicBool {
        self.seed.interrupted
    }

    /// How commands are made.
    pub fn words(&self) -> &Words {
        &self.seed.words
    }

    /// Names the disk whose regions faults refer to; what is no GPT disk has none.
    pub fn set_disk(&mut self, file: Option<&Path>) -> Result<(), Error> {
        self.disk = None;
        if let Some(file) = file {
            let path = Path::new(VOLUME).join(file);
            if let Some(image) = self.now.file(&path) {
                let gpt = Gpt::read(image).map_err(Error::io(&path))?;
                self.disk = Some(Disk { path, len_bytes: gpt.len_bytes, sector_bytes: gpt.sector_bytes });
            }
        }
        Ok(())
    }

    /// Length and sector size of the disk that was named.
    pub fn disk(&self) -> Option<(u64, u32)> {
        self.disk.as_ref().map(|disk| (disk.len_bytes, disk.sector_bytes))
    }

    /// Begins or ends counting the tool's threads at each op; the most that were seen since the last beginning.
    pub fn count_threads(&mut self, on: bool) -> u64 {
        self.counting = on;
        match on {
            true => self.threads.swap(0, Ordering::Relaxed),
            false => self.threads.load(Ordering::Relaxed),
        }
    }

    /// The recording of the last run that was not cut.
    pub fn take_log(&mut self) -> Option<Arc<OpLog>> {
        self.log.take()
    }

    /// Says whether of runs that are not cut only the end counts, and not the numbers of their ops: they are quicker then.
    pub fn want_ends_alone(&mut self, yes: bool) {
        self.only_ends = yes;
    }

    /// Puts a state there, scratch directory and all.
    pub fn place_volume(&mut self, state: Volume) {
        self.now = state;
    }

    /// The state that is there.
    pub fn now(&self) -> &Volume {
        &self.now
    }

    /// Empties the scratch directory of a state; whether there was anything in it.
    pub fn without_scratch(&self, state: &mut Volume) -> Result<bool, Error> {
        let before = state.content_id();
        state.clear_dir(Path::new(SCRATCH))?;
        Ok(state.content_id() != before)
    }

    /// Shows volumes to checkers.
    pub fn showcase(&self) -> Arc<dyn Showcase> {
        Arc::new(View(Arc::clone(&self.seam)))
    }

    pub(super) fn save(&mut self) -> Result<Saved, Error> {
        // Its path is known once its phase is entered.
        Ok(Saved { id: self.now.content_id(), path: PathBuf::new(), memory: Some(self.now.clone()) })
    }

    pub(super) fn enter(&mut self, start: &mut Saved, baseline: &mut Saved) -> Result<(), Error> {
        let slots = [(Slot::Start, start), (Slot::Baseline, baseline)];
        let wanted = (slots[0].1.id, slots[1].1.id);
        for (slot, saved) in slots {
            saved.path = self.seam.seam.path(slot).join(VOLUME);
            if self.entered != Some(wanted)
                && let Some(volume) = &saved.memory
            {
                self.seam.seam.load(slot, volume.clone());
            }
        }
        self.entered = Some(wanted);
        Ok(())
    }

    pub(super) fn place(&mut self, state: &Saved) -> Result<(), Error> {
        let Some(volume) = &state.memory else { return Err(Error::NotRecorded) };
        self.now = volume.clone();
        self.clear_scratch()
    }

    pub(super) fn clear_scratch(&mut self) -> Result<(), Error> {
        Ok(self.now.clear_dir(Path::new(SCRATCH))?)
    }

    pub(super) fn look(&mut self) -> Result<Look<'_>, Error> {
        self.seam.seam.load(Slot::View, self.now.clone());
        Ok(Look { id: self.now.content_id(), path: &self.view, hashes: None, memory: Some(&self.now) })
    }

    pub(super) fn run(
        &mut self,
        job: Job<'_>,
        on_mark: &mut dyn FnMut(&Mark, &Path),
    ) -> Result<Attempt, Error> {
        let (fault, aim) = match job.cut {
            None => (None, None),
            Some(Cut::Time(aim)) => (None, Some(aim)),
            Some(Cut::Op(fault)) => (Some(fault.clone()), None),
        };
        // Only a run that is to be killed at a time is slowed down; a fault by op needs no time to land.
        let delay = self.seed.gpt_delay.filter(|_| aim.is_some());
        let delay = delay.map(|delay| Fault::Delay(Region::Gpt, delay.as_millis() as u64));
        let plan = FaultPlan(delay.into_iter().chain(fault).collect());
        self.seam.seam.load(Slot::Work, self.now.clone());
        let listed = self.runner.containment.threads_file().filter(|_| self.counting);
        let only_the_end = self.only_ends && job.cut.is_none();
        self.seam.seam.begin(Run {
            plan,
            record: !only_the_end,
            limit_bytes: Some(self.now.dirty_bytes() + self.seed.limit_bytes),
            log_limit_bytes: Some(LOG_LIMIT_BYTES),
            sector_bytes: self.disk.as_ref().map_or(512, |disk| disk.sector_bytes),
            disk: self.disk.as_ref().map(|disk| disk.path.clone()),
            page_cache: only_the_end,
            watch: Some(PathBuf::from(SCRATCH)),
            trace: job.cut.is_none(),
            ..Run::new(mounted::wiring(&self.seam, listed, &self.threads))
        });
        self.seam.reset_acks();
        let ran = self.run_commands(job, aim, on_mark);
        self.seam.set_running(None);
        let ended = self.seam.seam.end();
        let (runs, failure) = ran?;
        let ended = ended.ok_or(Error::NotRecorded)?;
        if ended.broken {
            return Err(Error::SeamBroken);
        }
        if ended.log_cut {
            return Err(Error::TooLong { limit_bytes: LOG_LIMIT_BYTES });
        }
        self.now = ended.volume.clone();
        let disk = self.disk.as_ref().map(|disk| disk.path.as_path());
        recorded::attempt(runs, failure, ended, disk, &mut self.log)
    }

    /// Runs the commands until one is cut or does not end as it should.
    fn run_commands(
        &self,
        job: Job<'_>,
        aim: Option<&process::Aim>,
        on_mark: &mut dyn FnMut(&Mark, &Path),
    ) -> Result<(Vec<process::Run>, Option<Failure>), Error> {
        let mut runs = Vec::new();
        for (index, (command, accepted)) in job.commands().into_iter().enumerate() {
            let command = self.seed.words.command(job.phase, command)?;
            // A time counts from the start of the first command.
            let aim = aim.filter(|_| index == 0);
            let volume = &self.seed.words.volume;
            let mut marked = |mark: &Mark| on_mark(mark, volume);
            let run = self.runner.run_on(&*self.seam, &command, aim, self.seed.interrupted, &mut marked)?;
            self.seam.add_acks(run.acks.len());
            let killed = run.end == End::Killed;
            let failure = if killed { None } else { Failure::of(&run, accepted) };
            runs.push(run);
            if killed || failure.is_some() {
                return Ok((runs, failure));
            }
        }
        Ok((runs, None))
    }
}
