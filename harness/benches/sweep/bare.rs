//! The bare floor: the commands of a state's judgement on plain files in memory, with no seam; and the scenarios as the
//! loops take them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fault_backend::oplog::OpLog;
use fault_backend::replay::{Point, Replay};
use fault_backend::volume::Volume;
use killpoint::ground::Setting;
use killpoint::prepare::{Prepared, prepare};
use killpoint::process::run::Runner;
use killpoint::process::{Aim, Containment, End};
use killpoint::programs::Programs;
use killpoint::seam::{self, Wish};
use killpoint::stage::{Job, Which};
use killpoint::tools::Needs;
use killpoint::{cpus, process};
use reports::{Seam, Stream};

use super::Subject;

/// States that the floor is measured on.
const SAMPLES: usize = 120;

static NEVER: AtomicBool = AtomicBool::new(false);

/// In place of a seam: `sync` is not let through to the host, as it is not in a sweep either, and nothing else is done.
struct NoSeam;

impl process::Seam for NoSeam {
    fn begin(&self, _: process::Wiring) {}

    fn sync(&self, _: i32) {}

    fn freeze(&self) {}

    fn device(&self) -> Option<u64> {
        None
    }
}

/// What the floor is.
pub struct Bare {
    /// Of one state, in milliseconds.
    pub wall_ms: f64,
}

/// A scenario's first phase, recorded, and its commands for plain files.
pub struct Plain {
    prepared: Prepared,
    pub runner: Runner,
    dir: PathBuf,
}

impl Plain {
    /// Makes everything ready below a folder.
    pub fn of(scenario: &str, work: &Path) -> Result<Self> {
        let resolved = scenarios::load(scenario, None)?;
        let programs = Programs::find(&resolved, Needs { hook: false, planted: false }, &mut |_| {})?;
        let launcher = PathBuf::from(env!("CARGO_BIN_EXE_killpoint"));
        // Only the first one leaves the mounts; the others find that done.
        let chosen = seam::choose(Wish::This(Seam::Fuse), &[&resolved])?;
        let setting = Setting {
            seam: Seam::Fuse,
            private_mounts: chosen.private_mounts,
            gpt_delay: None,
            bug: None,
            real_time: false,
            work_parent: None,
            launcher: launcher.clone(),
            cpus: cpus::allowed()?,
            interrupted: &NEVER,
            layouts: false,
            prove: false,
            exec: None,
        };
        let mut stream = Stream::new(Vec::new());
        let prepared = prepare(resolved, programs, &setting, Some(0), &mut stream)?;
        let runner = Runner { containment: Containment::choose()?, launcher };
        let dir = work.join("plain");
        Ok(Self { prepared, runner, dir })
    }

    pub fn log(&self) -> Result<Arc<OpLog>> {
        self.prepared.phases[0].known.log.clone().context("the run is recorded")
    }

    pub fn start(&self) -> Result<Volume> {
        self.prepared.phases[0].known.start.memory.clone().context("the start is in memory")
    }

    /// Folder of the plain files: `volume` and `scratch`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts a state there.
    pub fn place(&self, state: &Volume) -> Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        fs::create_dir_all(&self.dir)?;
        Ok(state.export(&self.dir)?)
    }

    /// The commands of the run, or of the resume, on the plain files.
    pub fn commands(&self, which: Which) -> Result<Vec<process::Command>> {
        let phase = &self.prepared.phases[0].known.phase;
        let mut words = self.prepared.ground.stage.words().clone();
        words.volume = self.dir.join("volume");
        words.scratch = self.dir.join("scratch");
        let job = Job { phase, which, cut: None };
        Ok(job
            .commands()
            .into_iter()
            .map(|(command, _)| words.command(phase, command))
            .collect::<Result<_, _>>()?)
    }

    /// Runs a command on the plain files.
    pub fn run(&self, command: &process::Command, aim: Option<&Aim>) -> Result<process::Run> {
        Ok(self.runner.run_on(&NoSeam, command, aim, &NEVER, &mut |_| {})?)
    }

    /// Runs what resumes, until a command fails.
    pub fn resume(&self) -> Result<()> {
        for command in self.commands(Which::Resume)? {
            let run = self.run(&command, None)?;
            if !matches!(run.end, End::Exited(0 | 1)) {
                break;
            }
        }
        Ok(())
    }

    /// The same with nothing of killpoint in it. A tool that sleeps, or calls `sync`, takes longer so.
    fn resume_bare(&self) -> Result<()> {
        for command in self.commands(Which::Resume)? {
            let mut bare = std::process::Command::new(&command.program);
            bare.args(&command.arguments).env_clear().envs(&command.environment);
            if !matches!(bare.current_dir(&command.directory).output()?.status.code(), Some(0 | 1)) {
                break;
            }
        }
        Ok(())
    }

    /// Runs a program on the disk, as an oracle would.
    fn check(&self, words: &[&str]) -> Result<()> {
        let [program, options @ ..] = words else { bail!("a checker has a name") };
        let mut command = std::process::Command::new(program);
        command.args(options).arg(self.dir.join("volume/disk.img"));
        command.output()?;
        Ok(())
    }
}

impl Bare {
    /// Resumes and checks a sample of the scenario's distinct crash states.
    pub fn of(subject: &Subject, work: &Path, time: Duration) -> Result<Self> {
        let plain = Plain::of(subject.scenario, work)?;
        let log = plain.log()?;
        let mut replay = Replay::new(plain.start()?, &log);
        let mut seen = HashSet::new();
        let mut states = Vec::new();
        for op in 0..=log.len() {
            let state = replay.state(Point::After(op))?;
            if seen.insert(state.content_id()) {
                states.push(state);
            }
        }
        let every = states.len().div_ceil(SAMPLES);
        let (began, mut took, mut done) = (Instant::now(), Duration::ZERO, 0);
        for state in states.iter().step_by(every) {
            plain.place(state)?;
            let started = Instant::now();
            if subject.sleeps {
                plain.resume()?;
            } else {
                plain.resume_bare()?;
            }
            if let Some(checker) = subject.checker {
                plain.check(checker)?;
            }
            took += started.elapsed();
            done += 1;
            if began.elapsed() > time * 2 {
                break;
            }
        }
        Ok(Self { wall_ms: took.as_secs_f64() * 1000.0 / f64::from(done) })
    }
}

/// A recorded run of resize2fs over one on plain files in memory; the quickest of ten each, taken in turns.
pub fn recording(work: &Path) -> Result<f64> {
    let mut plain = Plain::of("resize2fs-shrink", work)?;
    let start = plain.start()?;
    let phase = plain.prepared.phases[0].known.phase.clone();
    let [mut bare, mut recorded] = [Duration::MAX; 2];
    for _ in 0..10 {
        plain.place(&start)?;
        for command in plain.commands(Which::Run)? {
            bare = bare.min(plain.run(&command, None)?.wall);
        }
        let saved = plain.prepared.phases[0].known.start.clone();
        let stage = &mut plain.prepared.ground.stage;
        stage.place(&saved)?;
        let run = stage.run(Job { phase: &phase, which: Which::Run, cut: None }, &mut |_, _| {})?;
        recorded = recorded.min(run.run.wall);
    }
    Ok(recorded.as_secs_f64() / bare.as_secs_f64())
}
