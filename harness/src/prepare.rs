//! Everything that is there before the first kill: the fixture, three uninterrupted runs of each phase, the volatile
//! mask, oracles that have shown that they can object, and the window that random times are drawn from.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fault_backend::oplog::Op;
use fault_backend::{ContentId, Region};
use reports::{Event, Stream};
use scenarios::model::{Oracle, Phase};
use scenarios::{Resolved, programs};

use crate::copies::Copies;
use crate::draw::{self, OpTime, Window};
use crate::error::{Error, Missing};
use crate::fingerprint::Fingerprint;
use crate::image;
use crate::mask::Mask;
use crate::oracle::OracleSet;
use crate::process::run::Runner;
use crate::process::{Containment, End, Run};
use crate::subject::{Attempt, Subject};
use crate::tools::{self, Needs};
use crate::workdir::{self, WorkDir};
use crate::{fixtures, layout, live};

/// Uninterrupted runs of each phase.
const BASELINE_RUNS: u32 = 3;

/// Largest share of a file that may differ between uninterrupted runs.
const MAX_VOLATILE_SHARE: f64 = 0.001;

/// Copies of the volume that lie in the working area at the same time: the live one, three runs, one that is
/// damaged for the oracles, staged copies of the tool, and one per phase and fixture.
const COPIES_BESIDES_PHASES: u64 = 6;

/// How a campaign's tools are run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Wait before and after each write that touches the GPT.
    pub gpt_delay: Option<Duration>,
    /// Planted bug.
    pub bug: Option<String>,
    /// Where the working area is made.
    pub work_parent: Option<PathBuf>,
    /// The binary that launches tools.
    pub launcher: PathBuf,
    /// Set by a signal to killpoint.
    pub interrupted: &'static AtomicBool,
    /// Print the partition table at each step's boundary.
    pub layouts: bool,
    /// Have each oracle shown a damaged copy.
    pub prove: bool,
}

/// A campaign that can begin.
#[derive(Debug)]
pub struct Prepared {
    /// Phases in order.
    pub phases: Vec<PreparedPhase>,
    /// What they share; last, so that everything in its working area is closed before that goes.
    pub ground: Ground,
}

/// What all phases of a campaign share.
#[derive(Debug)]
pub struct Ground {
    /// Scenario.
    pub resolved: Resolved,
    /// Content id of the fixture.
    pub fixture_id: ContentId,
    /// Runs the tool.
    pub subject: Subject,
    /// Removed when the campaign ends.
    pub work: WorkDir,
}

/// A phase that can be crashed.
#[derive(Debug)]
pub struct PreparedPhase {
    /// The model.
    pub phase: Phase,
    /// The volume before it.
    pub start: PathBuf,
    /// Its content id.
    pub start_id: ContentId,
    /// Content id of the volume after an uninterrupted run.
    pub baseline_id: ContentId,
    /// Chunk hashes of the volume before it, where the seam sees all that the tool writes.
    pub fingerprint: Option<Fingerprint>,
    /// Ranges that an uninterrupted run writes.
    pub written: Vec<Range<u64>>,
    /// The checks.
    pub oracles: OracleSet,
    /// The copies that it makes.
    pub copies: Copies,
    /// Where random times are drawn from.
    pub window: Window,
    /// Ops of an uninterrupted run.
    pub ops: u64,
}

/// Programs that a scenario names and that are not here, split into needed and optional ones.
fn missing(names: &[String]) -> Vec<Missing> {
    names
        .iter()
        .filter(|name| !tools::is_own(name) && tools::find_in_path(name).is_none())
        .map(|name| Missing { program: name.clone(), package: programs::package_of(name) })
        .collect()
}

/// The programs of a scenario.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Paths by the name that the phases use.
    paths: BTreeMap<String, PathBuf>,
    /// Optional ones that are not here.
    missing_optional: Vec<Missing>,
}

impl Programs {
    /// Finds, and where need be builds, everything that a scenario runs. Nothing was made yet when this fails.
    /// `say` is told before something is built.
    pub fn find(resolved: &Resolved, bug: Option<&str>, say: &mut dyn FnMut(&str)) -> Result<Self, Error> {
        let scenario = &resolved.scenario;
        let lacking = missing(&scenario.requires);
        if !lacking.is_empty() {
            return Err(Error::MissingPrograms(lacking));
        }
        let needs = Needs { planted: bug.is_some() };
        let mut paths = BTreeMap::new();
        for command in
            scenario.phase.iter().flat_map(|phase| std::iter::once(&phase.run).chain(&phase.resume))
        {
            let Some(name) = command.first() else { continue };
            if name.contains('/') || paths.contains_key(name) {
                continue;
            }
            let path = if tools::is_own(name) {
                tools::find_own(name, needs, say)?
            } else {
                tools::find_in_path(name)
                    .ok_or_else(|| Error::MissingPrograms(missing(std::slice::from_ref(name))))?
            };
            paths.insert(name.clone(), path);
        }
        Ok(Self { paths, missing_optional: missing(&scenario.optional) })
    }

    /// Versions by program, of those that tell theirs.
    pub fn versions(&self, resolved: &Resolved) -> BTreeMap<String, String> {
        let scenario = &resolved.scenario;
        let system = scenario.requires.iter().chain(&scenario.optional);
        let system = system.filter_map(|name| Some((name.clone(), tools::find_in_path(name)?)));
        let own = self.paths.clone().into_iter();
        own.chain(system).filter_map(|(name, path)| Some((name, tools::version_of(&path)?))).collect()
    }
}

/// Makes everything ready. `only_phase` leaves out the phases after it, and the oracles of those before it.
pub fn prepare(
    resolved: Resolved,
    programs: Programs,
    setting: &Setting,
    only_phase: Option<usize>,
    stream: &mut Stream,
) -> Result<Prepared, Error> {
    let scenario = &resolved.scenario;
    let began = Instant::now();
    let fixture = fixtures::obtain(scenario, &fixtures::default_root()?)?;
    let len_bytes = volume_len(&fixture.volume)?;
    stream.emit(&Event::FixtureReady {
        fixture_id: fixture.id.to_string(),
        cached: fixture.cached,
        len_bytes,
        wall_ms: began.elapsed().as_millis() as u64,
    })?;

    let used = volume_used(&fixture.volume)?;
    let copies = COPIES_BESIDES_PHASES + scenario.phase.len() as u64;
    let work = WorkDir::create(setting.work_parent.as_deref(), used * copies, used)?;
    let mut environment = scenario.environment.clone();
    if let Some(bug) = &setting.bug {
        for tool in programs.paths.keys().filter(|program| tools::is_own(program)) {
            environment.insert(format!("{}_BUG", tool.to_uppercase().replace('-', "_")), bug.clone());
        }
    }
    let subject = Subject {
        volume: work.path().join("volume"),
        scratch: work.subdir("scratch")?,
        logs: work.subdir("logs")?,
        scenario_dir: resolved.dir.clone(),
        programs: programs.paths,
        environment,
        gpt_delay: setting.gpt_delay,
        runner: Runner { containment: Containment::choose()?, launcher: setting.launcher.clone() },
        interrupted: setting.interrupted,
        runs: AtomicU64::new(0),
    };
    let start = work.path().join("start");
    image::copy_sparse(&fixture.volume, &start).map_err(Error::io(&start))?;
    image::copy_sparse(&fixture.volume, &subject.volume).map_err(Error::io(&subject.volume))?;

    let ground = Ground { fixture_id: fixture.id, subject, work, resolved: resolved.clone() };
    let mut phases = Vec::new();
    let mut before = (start, fixture.id);
    for (index, phase) in scenario.phase.iter().enumerate() {
        let judged = only_phase.is_none_or(|only| only == index);
        let baseline = baseline(&ground, phase, &before, setting, stream)?;
        let after = (baseline.volume.clone(), baseline.id);
        if judged {
            let ready =
                prepare_phase(&ground, phase, before, baseline, &programs.missing_optional, setting, stream)?;
            phases.push(ready);
        }
        if only_phase == Some(index) {
            break;
        }
        before = after;
    }
    Ok(Prepared { phases, ground })
}

/// What the uninterrupted runs of a phase gave.
struct Baseline {
    volume: PathBuf,
    id: ContentId,
    mask: Mask,
    first: Attempt,
    /// The quickest run: the first one is often slowed down by cold caches.
    quickest: Attempt,
}

fn baseline(
    ground: &Ground,
    phase: &Phase,
    (start, start_id): &(PathBuf, ContentId),
    setting: &Setting,
    stream: &mut Stream,
) -> Result<Baseline, Error> {
    let subject = &ground.subject;
    let mut volumes: Vec<PathBuf> = Vec::new();
    let mut first: Option<Attempt> = None;
    let mut quickest: Option<Attempt> = None;
    for run in 1..=BASELINE_RUNS {
        // Whatever depends on the clock's seconds shows as a difference.
        sleep_into_next_second();
        image::restore(start, &subject.volume).map_err(Error::io(&subject.volume))?;
        workdir::wipe(&subject.scratch).map_err(Error::io(&subject.scratch))?;
        let mut layouts = Vec::new();
        let attempt = subject.run(phase, &phase.run, None, None, &mut |mark| {
            if setting.layouts && run == 1 {
                layouts.push((mark.name.clone(), layout::of_volume(&subject.volume)));
            }
        })?;
        for (step, lines) in layouts {
            stream.emit(&Event::Layout { phase: phase.name.clone(), step, lines })?;
        }
        check_end(ground, phase, &attempt.run)?;
        stream.emit(&Event::BaselineRun {
            phase: phase.name.clone(),
            run,
            ops: attempt.ops.len() as u64,
            flushes: attempt.flushes(),
            wall_ms: attempt.run.wall.as_millis() as u64,
        })?;
        let volume = ground.work.path().join(format!("baseline-{}-{run}", phase.name));
        image::copy_sparse(&subject.volume, &volume).map_err(Error::io(&volume))?;
        volumes.push(volume);
        if quickest.as_ref().is_none_or(|quickest: &Attempt| attempt.run.wall < quickest.run.wall) {
            quickest = Some(attempt.clone());
        }
        first.get_or_insert(attempt);
    }
    let paths: Vec<&Path> = volumes.iter().map(PathBuf::as_path).collect();
    let mask = Mask::measure(&paths, &baseline_mask(ground), MAX_VOLATILE_SHARE)
        .map_err(|source| Error::Mask { phase: phase.name.clone(), source })?;
    for extra in volumes.drain(1..) {
        fs::remove_dir_all(&extra).map_err(Error::io(&extra))?;
    }
    let (Some(volume), Some(first), Some(quickest)) = (volumes.pop(), first, quickest) else {
        unreachable!("there is at least one uninterrupted run")
    };
    let id = image::content_id(&volume).map_err(Error::io(&volume))?;
    let text = match id == *start_id {
        true if phase.run_exit == [0] => Some("the uninterrupted run changes nothing"),
        _ => None,
    };
    if let Some(text) = text {
        stream.emit(&Event::Warning { text: format!("phase `{}`: {text}", phase.name) })?;
    }
    stream.emit(&Event::BaselineReady {
        phase: phase.name.clone(),
        volatile_bytes: mask.volatile_bytes(),
        content_id: id.to_string(),
        steps: first.run.marks.iter().map(|mark| mark.name.clone()).collect(),
    })?;
    Ok(Baseline { volume, id, mask, first, quickest })
}

fn prepare_phase(
    ground: &Ground,
    phase: &Phase,
    (start, start_id): (PathBuf, ContentId),
    baseline: Baseline,
    optional: &[Missing],
    setting: &Setting,
    stream: &mut Stream,
) -> Result<PreparedPhase, Error> {
    let scenario = &ground.resolved.scenario;
    let fingerprint = fingerprint(phase, &start, &baseline, stream)?;
    let work = ground.work.subdir(&format!("oracles-{}", phase.name))?;
    let lacking: Vec<String> = optional.iter().map(|missing| missing.program.clone()).collect();
    let mut oracles =
        OracleSet::new(scenario, phase, &start, &baseline.volume, baseline.mask, &work, &lacking)?;
    for what in oracles.not_tested() {
        stream.emit(&Event::NotTested { what: format!("phase `{}`: {what}", phase.name) })?;
    }
    if setting.prove {
        let proved =
            oracles.prove().map_err(|source| Error::Unproved { phase: phase.name.clone(), source })?;
        for oracle in proved {
            stream.emit(&Event::OracleProved { phase: phase.name.clone(), oracle })?;
        }
    }
    let copies = Copies::new(phase, &scenario.fixture.disk.file, &start, &baseline.volume)?;
    let run = &baseline.quickest.run;
    let ops = op_times(ground, &baseline.quickest, setting.gpt_delay)?;
    let steps = draw::profile(&run.marks, &ops, run.wall);
    Ok(PreparedPhase {
        phase: phase.clone(),
        start,
        start_id,
        baseline_id: baseline.id,
        fingerprint,
        written: live::merged(baseline.first.written().collect()),
        oracles,
        copies,
        window: Window::new(&steps),
        ops: baseline.first.ops.len() as u64,
    })
}

/// Chunk hashes of the start, if following the ops of an uninterrupted run from there gives the baseline's id.
fn fingerprint(
    phase: &Phase,
    start: &Path,
    baseline: &Baseline,
    stream: &mut Stream,
) -> Result<Option<Fingerprint>, Error> {
    // Without ops there is nothing to follow: the tool writes nothing, or nothing that the seam sees.
    if baseline.first.ops.is_empty() && baseline.id == image::content_id(start).map_err(Error::io(start))? {
        return Ok(None);
    }
    let Some(at_start) = Fingerprint::of_volume(start).map_err(Error::io(start))? else { return Ok(None) };
    let mut followed = at_start.clone();
    followed.update(&baseline.volume, baseline.first.written()).map_err(Error::io(&baseline.volume))?;
    if followed.id() == baseline.id {
        return Ok(Some(at_start));
    }
    let text = format!(
        "phase `{}`: the tool writes past the in-process seam; a kill there can't be brought back by op",
        phase.name
    );
    stream.emit(&Event::Warning { text })?;
    Ok(None)
}

/// When the ops of a run began, and how long they wait, before and after, where kills slow the table's writes down.
fn op_times(ground: &Ground, run: &Attempt, gpt_delay: Option<Duration>) -> Result<Vec<OpTime>, Error> {
    let disk = &ground.resolved.scenario.fixture.disk;
    let path = ground.subject.volume.join(&disk.file);
    let len_bytes = fs::metadata(&path).map_err(Error::io(&path))?.len();
    let delay_of = |op: &Op| match gpt_delay {
        Some(delay) if Region::Gpt.touches(&op.range, len_bytes, disk.sector_size) => delay,
        _ => Duration::ZERO,
    };
    Ok(run.ops.iter().zip(run.op_times()).map(|(op, at)| OpTime { at, delay: delay_of(op) }).collect())
}

/// The masks that the scenario's baseline oracle names.
fn baseline_mask(ground: &Ground) -> Vec<String> {
    let oracles = ground.resolved.scenario.oracle.iter();
    oracles
        .filter_map(|oracle| match oracle {
            Oracle::Baseline { mask } => Some(mask.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

/// An uninterrupted run that did not end as the scenario says is no baseline.
fn check_end(ground: &Ground, phase: &Phase, run: &Run) -> Result<(), Error> {
    let how = match run.end {
        End::Exited(code) if phase.run_exit.contains(&code) => return Ok(()),
        End::Exited(code) => format!("exited with {code}"),
        End::Killed => "was killed".to_owned(),
        End::Signalled(signal) => format!("died of signal {signal}"),
        End::Hung => format!("ran past its limit of {}", phase.time_limit),
    };
    full_check(&ground.work)?;
    let output = format!("{}{}", run.stdout, run.stderr);
    Err(Error::Baseline { phase: phase.name.clone(), how, output: output.trim_end().to_owned() })
}

/// A tool that failed because our own disk is full says nothing about the tool. It may have tidied up since, so the
/// room of a whole volume has to be there.
pub fn full_check(work: &WorkDir) -> Result<(), Error> {
    match work.fullness().map_err(Error::io(work.path()))? {
        Some(free_bytes) => Err(Error::WorkDirFull { path: work.path().to_owned(), free_bytes }),
        None => Ok(()),
    }
}

fn sleep_into_next_second() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    sleep(Duration::from_secs(1) - Duration::from_nanos(u64::from(now.subsec_nanos())));
}

fn volume_len(volume: &Path) -> Result<u64, Error> {
    sum_of_files(volume, |metadata| metadata.len())
}

fn volume_used(volume: &Path) -> Result<u64, Error> {
    sum_of_files(volume, |metadata| std::os::unix::fs::MetadataExt::blocks(metadata) * 512)
}

fn sum_of_files(volume: &Path, size: impl Fn(&fs::Metadata) -> u64) -> Result<u64, Error> {
    let files = image::files(volume).map_err(Error::io(volume))?;
    files.iter().try_fold(0, |sum, file| {
        let path = volume.join(file);
        let metadata = fs::metadata(&path).map_err(Error::io(&path))?;
        Ok(sum + size(&metadata))
    })
}
