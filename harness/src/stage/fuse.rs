//! The FUSE seam: the tool works in a file system of ours, unmodified, and each of its ops is seen, counted and, where
//! asked for, recorded or cut. States are clones in memory, so putting one there costs nothing.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fault_backend::fuse::{Recorded, Run, Seam, SeamOptions, Slot, Wiring};
use fault_backend::oplog::{Op, OpLog, Outcome};
use fault_backend::replay::Point;
use fault_backend::volume::Volume;
use fault_backend::{Action, ContentId, Fault, FaultPlan, Region};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use super::{Attempt, Cut, Job, Look, OpTrace, Saved, Words};
use crate::error::Error;
use crate::exec::Spec;
use crate::fixtures::Fixture;
use crate::gpt::Gpt;
use crate::image::{SCRATCH, VOLUME};
use crate::judge::Failure;
use crate::oracle::Showcase;
use crate::prepare::Setting;
use crate::process::run::{Mark, Runner};
use crate::process::{self, End};
use crate::workdir::WorkDir;

/// What a tool may write beyond its fixture, at least and as a multiple of what the fixture holds. What needs more
/// finds the disk full.
const MIN_ROOM_BYTES: u64 = 256 << 20;
const ROOM_SHARE: u64 = 3;

/// Payload that a recording may hold.
const LOG_LIMIT_BYTES: u64 = 2 << 30;

/// Where the seam is mounted where nobody else can see it: the same path in every campaign, since some tools write
/// the paths of their files into them.
const PRIVATE_MOUNT: &str = "/run/killpoint";

/// What the FUSE seam needs to run tools.
pub struct FuseStage {
    words: Words,
    runner: Runner,
    pub(super) interrupted: &'static AtomicBool,
    gpt_delay: Option<Duration>,
    disk: Option<Disk>,
    limit_bytes: u64,
    /// Files of the user in whose place files of the seam are mounted.
    stand_ins: Vec<PathBuf>,
    counting: bool,
    threads: Arc<AtomicU64>,
    seam: Arc<Mounted>,
    view: PathBuf,
    now: Volume,
    log: Option<Arc<OpLog>>,
    entered: Option<(ContentId, ContentId)>,
}

/// The disk whose regions faults refer to.
#[derive(Clone, Debug)]
struct Disk {
    path: PathBuf,
    len_bytes: u64,
    sector_bytes: u32,
}

/// The mount, and who is running on it.
struct Mounted {
    seam: Seam,
    /// `st_dev` of the mount.
    device: Option<u64>,
    running: Mutex<Option<process::Wiring>>,
}

impl Mounted {
    fn running(&self) -> Option<process::Wiring> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_running(&self, wiring: Option<process::Wiring>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = wiring;
    }
}

impl process::Seam for Mounted {
    fn begin(&self, wiring: process::Wiring) {
        self.set_running(Some(wiring));
    }

    fn sync(&self, pid: i32) {
        // A fault that makes the flush fail can't be told to the caller of `sync`, which knows no errors.
        let _ = self.seam.barrier(pid);
    }

    fn freeze(&self) {
        self.seam.freeze();
    }

    fn device(&self) -> Option<u64> {
        self.device
    }
}

/// The slot in which volumes are looked at.
struct View(Arc<Mounted>);

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

impl Showcase for View {
    fn show(&self, volume: &Volume) -> PathBuf {
        self.0.seam.load(Slot::View, volume.clone());
        self.0.seam.path(Slot::View).join(VOLUME)
    }
}

impl fmt::Debug for FuseStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FuseStage").field("root", &self.seam.seam.root()).finish_non_exhaustive()
    }
}

impl Drop for FuseStage {
    fn drop(&mut self) {
        // What stands in for other files keeps the seam busy.
        for target in self.stand_ins.drain(..).rev() {
            let _ = umount2(&target, MntFlags::MNT_DETACH);
        }
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
        let at = mount_point(work, setting.private_mounts)?;
        let cpu = bind_to_one_cpu()?;
        let seam = Seam::mount(&at, &SeamOptions { cpu: Some(cpu) })?;
        let root = seam.path(Slot::Work);
        let device = std::fs::metadata(seam.root()).ok().map(|metadata| metadata.dev());
        let words = Words { volume: root.join(VOLUME), scratch: root.join(SCRATCH), ..words };
        let mut now = Volume::new();
        now.graft(Path::new(VOLUME), &fixture.content.volume()?)?;
        now.insert_dir(Path::new(SCRATCH))?;
        let mut stand_ins = Vec::new();
        if let Some(spec) = &setting.exec {
            seam.load(Slot::Work, now.clone());
            stand_ins = stand_in(spec, &words.volume)?;
        }
        Ok(Self {
            view: seam.path(Slot::View).join(VOLUME),
            words,
            runner,
            interrupted: setting.interrupted,
            gpt_delay: setting.gpt_delay,
            disk: None,
            limit_bytes: (fixture.used_bytes * ROOM_SHARE).max(MIN_ROOM_BYTES),
            stand_ins,
            counting: false,
            threads: Arc::default(),
            seam: Arc::new(Mounted { device, seam, running: Mutex::new(None) }),
            now,
            log: None,
            entered: None,
        })
    }

    /// How commands are made.
    pub fn words(&self) -> &Words {
        &self.words
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
        let delay = self.gpt_delay.filter(|_| aim.is_some());
        let delay = delay.map(|delay| Fault::Delay(Region::Gpt, delay.as_millis() as u64));
        let plan = FaultPlan(delay.into_iter().chain(fault).collect());
        self.seam.seam.load(Slot::Work, self.now.clone());
        self.seam.seam.begin(Run {
            plan,
            limit_bytes: Some(self.now.dirty_bytes() + self.limit_bytes),
            log_limit_bytes: Some(LOG_LIMIT_BYTES),
            sector_bytes: self.disk.as_ref().map_or(512, |disk| disk.sector_bytes),
            disk: self.disk.as_ref().map(|disk| disk.path.clone()),
            ..Run::new(self.wiring())
        });
        let ran = self.run_commands(job, aim, on_mark);
        self.seam.set_running(None);
        let recorded = self.seam.seam.end();
        let (runs, failure) = ran?;
        let recorded = recorded.ok_or(Error::NotRecorded)?;
        if recorded.broken {
            return Err(Error::SeamBroken);
        }
        if recorded.log_cut {
            return Err(Error::TooLong { limit_bytes: LOG_LIMIT_BYTES });
        }
        self.now = recorded.volume.clone();
        let disk = self.disk.as_ref().map(|disk| disk.path.as_path());
        attempt(runs, failure, recorded, disk, &mut self.log)
    }

    /// Closures for the seam that reach whatever runs at the moment.
    fn wiring(&self) -> Wiring {
        let [kill, signal, step] = [(); 3].map(|()| Arc::clone(&self.seam));
        let start: Arc<str> = "start".into();
        let listed = self.runner.containment.threads_file().filter(|_| self.counting);
        let threads = Arc::clone(&self.threads);
        Wiring {
            kill: Arc::new(move || {
                if let Some(running) = kill.running() {
                    (running.kill)();
                }
            }),
            signal: Arc::new(move |number| {
                if let Some(running) = signal.running() {
                    (running.signal)(number);
                }
            }),
            step: Arc::new(move || {
                if let Some(Ok(list)) = listed.as_ref().map(std::fs::read_to_string) {
                    threads.fetch_max(list.lines().count() as u64, Ordering::Relaxed);
                }
                match step.running() {
                    Some(running) => (running.step)(),
                    None => Arc::clone(&start),
                }
            }),
        }
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
            let command = self.words.command(job.phase, command)?;
            // A time counts from the start of the first command.
            let aim = aim.filter(|_| index == 0);
            let volume = &self.words.volume;
            let mut marked = |mark: &Mark| on_mark(mark, volume);
            let run = self.runner.run_on(&*self.seam, &command, aim, self.interrupted, &mut marked)?;
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

fn attempt(
    mut runs: Vec<process::Run>,
    failure: Option<Failure>,
    recorded: Recorded,
    disk: Option<&Path>,
    log: &mut Option<Arc<OpLog>>,
) -> Result<Attempt, Error> {
    let marks: Vec<Mark> = runs.iter().flat_map(|run| run.marks.iter().cloned()).collect();
    let acks = runs.iter().flat_map(|run| run.acks.iter().cloned()).collect();
    let wall = runs.iter().map(|run| run.wall).sum();
    let Some(last) = runs.pop() else { return Err(Error::NotRecorded) };
    let run = process::Run { marks, acks, wall, ..last };
    let ops = traces(&recorded.log, &run.marks, disk);
    let recording = Arc::new(recorded.log);
    let (mut cut, mut past) = (None, None);
    if run.end == End::Killed {
        let (fault, point) = where_cut(&recording);
        (cut, past) = (Some(fault), Some((recording, point)));
    } else {
        *log = Some(recording);
    }
    Ok(Attempt { run, failure, ops, cut, past, mapped: recorded.mapped })
}

/// Whether an op is about the volume and not about the scratch directory.
pub fn is_in_volume(op: &Op) -> bool {
    op.path.as_ref().is_none_or(|path| path.starts_with(VOLUME))
}

/// The path inside the volume of a path inside a state; none below the scratch directory.
pub fn in_volume(path: &Path) -> Option<&Path> {
    path.strip_prefix(VOLUME).ok()
}

/// Content id of a state without its scratch directory.
pub fn volume_id(state: &Volume) -> Option<ContentId> {
    state.content_id_at(Path::new(VOLUME))
}

/// The ops as both seams know them, with the bytes of the disk that they change. Their clock is the volume's, so each is placed behind the mark of its step.
fn traces(log: &OpLog, marks: &[Mark], disk: Option<&Path>) -> Vec<OpTrace> {
    let trace = |op: &Op| {
        let marked = marks.iter().find(|mark| mark.name == *op.step);
        OpTrace {
            range: op.range().filter(|_| op.path.as_deref() == disk).unwrap_or(0..0),
            flush: op.is_flush(),
            at: marked.map_or(Duration::ZERO, |mark| mark.at) + Duration::from_nanos(op.number),
            complete: !matches!(op.outcome, Outcome::Torn { .. } | Outcome::Skipped),
        }
    };
    log.ops.iter().map(trace).collect()
}

/// The fault that brings a cut back, and its point in the recording.
fn where_cut(log: &OpLog) -> (Fault, Point) {
    let after = |number| (Fault::AtOp(number, Action::KillAfter), Point::After(number));
    match log.ops.last() {
        None => after(0),
        Some(op) => match op.outcome {
            Outcome::Skipped => after(op.number - 1),
            Outcome::Torn { bytes } => {
                let sectors = (1..=op.sectors()).find(|k| op.torn_sector_bytes(*k) >= bytes).unwrap_or(0);
                let sectors = u32::try_from(sectors).unwrap_or(u32::MAX);
                let fault = Fault::AtOp(op.number, Action::KillTorn(sectors));
                (fault, Point::Torn { op: op.number, bytes })
            }
            Outcome::Completed | Outcome::Failed(_) | Outcome::Dropped => after(op.number),
        },
    }
}

/// Binds this thread, and the tools that it starts, to the CPU that it runs on: the seam's server gets the same one, so
/// that no answer has to wake another.
fn bind_to_one_cpu() -> Result<usize, Error> {
    let cpu = sched_getcpu().map_err(Error::Cpu)?;
    let mut set = CpuSet::new();
    set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).map_err(Error::Cpu)?;
    Ok(cpu)
}

/// Puts the volume's files in the place of the user's, for this process and what it starts: nothing that is run can
/// reach the files themselves any more. A mount follows its inode, which every state has at the same number.
fn stand_in(spec: &Spec, volume: &Path) -> Result<Vec<PathBuf>, Error> {
    let pairs = match &spec.volume {
        Some(dir) => vec![(volume.to_owned(), dir.clone())],
        None => spec.files().into_iter().map(|(name, path)| (volume.join(name), path)).collect(),
    };
    for (from, to) in &pairs {
        mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|errno| Error::io(to)(errno.into()))?;
    }
    Ok(pairs.into_iter().map(|(_, to)| to).collect())
}

/// A folder to mount at: the fixed one where this process has mounts of its own, else one in the working area.
fn mount_point(work: &WorkDir, private: bool) -> Result<PathBuf, Error> {
    if private && std::fs::create_dir_all(PRIVATE_MOUNT).is_ok() {
        return Ok(PathBuf::from(PRIVATE_MOUNT));
    }
    Ok(work.subdir("seam")?)
}
