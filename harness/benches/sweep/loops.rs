//! Other ways to get at crash states of an unmodified tool, as loops that go on for a while: kill at random, have strace
//! kill at a system call, or copy what a replayed log gives. Each resumes what it got.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fault_backend::ContentId;
use fault_backend::replay::{Point, Replay};
use fault_backend::volume::Volume;
use killpoint::process::{self, Aim, Anchor, End};
use killpoint::seeds;
use killpoint::stage::Which;
use rand::RngExt;

use super::bare::Plain;

static NEVER: AtomicBool = AtomicBool::new(false);

/// What a loop came to.
pub struct Found {
    pub kills_per_min: f64,
    /// Different states, start and end included.
    pub distinct: usize,
    /// Different ones among them that are neither.
    inner: usize,
}

impl Found {
    pub fn inner_per_min(&self, time: Duration) -> f64 {
        self.inner as f64 * 60.0 / time.as_secs_f64()
    }
}

/// What a loop has seen.
struct Seen {
    start: ContentId,
    end: ContentId,
    states: HashSet<ContentId>,
    kills: u64,
}

impl Seen {
    fn of(plain: &Plain) -> Result<Self> {
        let log = plain.log()?;
        let start = plain.start()?;
        let end = Replay::new(start.clone(), &log).state(Point::After(log.len()))?;
        let [start, end] = [&start, &end].map(Volume::content_id);
        Ok(Self { start, end, states: HashSet::new(), kills: 0 })
    }

    /// Takes in what a kill left.
    fn take(&mut self, dir: &Path) -> Result<()> {
        self.kills += 1;
        self.states.insert(Volume::import(dir)?.content_id());
        Ok(())
    }

    fn found(self, took: Duration) -> Found {
        let inner = self.states.iter().filter(|id| **id != self.start && **id != self.end).count();
        let per_min = self.kills as f64 * 60.0 / took.as_secs_f64();
        Found { kills_per_min: per_min, distinct: self.states.len(), inner }
    }
}

/// Runs the tool, kills it at a random time, resumes. Sleeps are skipped as in a sweep.
pub fn random_kills(scenario: &str, work: &Path, time: Duration) -> Result<Found> {
    let plain = Plain::of(scenario, work)?;
    let mut seen = Seen::of(&plain)?;
    let start = plain.start()?;
    let command = one(plain.commands(Which::Run)?)?;
    plain.place(&start)?;
    let whole = plain.run(&command, None)?.wall;
    let mut random = seeds::stream(1, "random kills", &[]);
    let began = Instant::now();
    while began.elapsed() < time {
        plain.place(&start)?;
        let aim = Aim { anchor: Anchor::Start, delay: whole.mul_f64(random.random_range(0.0..1.0)) };
        if plain.run(&command, Some(&aim))?.end == End::Killed {
            seen.take(plain.dir())?;
        }
        plain.resume()?;
    }
    Ok(seen.found(began.elapsed()))
}

/// Has strace kill at the n-th call of a set, for every n, and then again.
pub fn strace(scenario: &str, calls: &str, work: &Path, time: Duration) -> Result<Found> {
    let plain = Plain::of(scenario, work)?;
    let mut seen = Seen::of(&plain)?;
    let start = plain.start()?;
    let command = one(plain.commands(Which::Run)?)?;
    let began = Instant::now();
    let mut n = 0;
    while began.elapsed() < time {
        n += 1;
        plain.place(&start)?;
        let traced = traced(&command, calls, n)?;
        let run = plain.runner.run(&traced, None, true, &NEVER, &mut |_| {})?;
        // strace ends as the tool did.
        if matches!(run.end, End::Killed | End::Signalled(_) | End::Exited(137)) {
            seen.take(plain.dir())?;
        } else {
            ensure!(n > 1, "strace kills nothing: {}", run.stderr);
            n = 0;
        }
        plain.resume()?;
    }
    Ok(seen.found(began.elapsed()))
}

fn traced(command: &process::Command, calls: &str, n: u64) -> Result<process::Command> {
    let strace = scenarios::programs::find("strace").context("strace is not installed")?;
    let options = ["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"];
    let inject = format!("inject={calls}:signal=SIGKILL:when={n}");
    let mut arguments: Vec<std::ffi::OsString> = options.iter().map(Into::into).collect();
    arguments.extend([inject.into(), command.program.clone().into()]);
    arguments.extend(command.arguments.iter().cloned());
    // The filter that skips sleeps is not for strace; without it sgdisk sleeps.
    Ok(process::Command { program: strace, arguments, ..command.clone() })
}

/// Writes a recorded log op by op into a plain file and resumes a copy of it after each; states a minute.
pub fn replayed_copies(scenario: &str, work: &Path, time: Duration) -> Result<f64> {
    let plain = Plain::of(scenario, work)?;
    let log = plain.log()?;
    let mut replay = Replay::new(plain.start()?, &log);
    let current = work.join("replayed.img");
    let (began, mut done) = (Instant::now(), 0u64);
    'again: loop {
        for op in 0..=log.len() {
            if began.elapsed() >= time {
                break 'again;
            }
            let state = replay.state(Point::After(op))?;
            // The replayed file itself is written beforehand: only its copy is the loop's.
            plain.place(&state)?;
            let disk = plain.dir().join("volume/disk.img");
            std::fs::rename(&disk, &current)?;
            killpoint::image::copy_sparse(&current, &disk)?;
            plain.resume()?;
            done += 1;
        }
    }
    Ok(done as f64 * 60.0 / began.elapsed().as_secs_f64())
}

fn one(commands: Vec<process::Command>) -> Result<process::Command> {
    commands.into_iter().next().context("the phase has a command")
}
