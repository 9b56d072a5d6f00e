//! What all phases of a campaign stand on: the setting that was asked for, the fixture, and a stage with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use fault_backend::ContentId;
use reports::{Event, Stream};
use scenarios::Resolved;
use scenarios::model::Oracle;

use crate::error::Error;
use crate::exec::Spec;
use crate::fixtures::{Fixture, FixtureContent};
use crate::gpt::Gpt;
use crate::image::View;
use crate::namespace;
use crate::process::Containment;
use crate::process::run::Runner;
use crate::programs::Programs;
use crate::room::Room;
use crate::stage::fuse::{FuseStage, StageSeed};
use crate::stage::hook::{self, HookStage};
use crate::stage::{Stage, Words};
use crate::tools;
use crate::workdir::WorkDir;

/// Copies of the volume that lie in the working area at the same time on the in-process seam: the live one, three
/// runs, one that is damaged for the oracles, staged copies of the tool, and one per phase and fixture.
const COPIES_BESIDES_PHASES: u64 = 6;

/// How a campaign's tools are run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where the tool's I/O passes through us.
    pub seam: reports::Seam,
    /// This process has mounts of its own.
    pub private_mounts: bool,
    /// Wait before and after each write that touches the GPT.
    pub gpt_delay: Option<Duration>,
    /// Planted bug.
    pub bug: Option<String>,
    /// The tools' sleeps last as long as they ask for.
    pub real_time: bool,
    /// Where the working area is made.
    pub work_parent: Option<PathBuf>,
    /// The binary that launches tools.
    pub launcher: PathBuf,
    /// The CPUs that may be used, the first one by a campaign's own thread.
    pub cpus: Vec<usize>,
    /// Set by a signal to killpoint.
    pub interrupted: &'static AtomicBool,
    /// Print the partition table at each step's boundary.
    pub layouts: bool,
    /// Have each oracle shown a damaged copy.
    pub prove: bool,
    /// What a command line asks for, in place of a scenario's fixture.
    pub exec: Option<Spec>,
}

/// What all phases of a campaign share.
#[derive(Debug)]
pub struct Ground {
    /// Scenario.
    pub resolved: Resolved,
    /// Content id of the fixture.
    pub fixture_id: ContentId,
    /// The volume's file whose GPT is sampled.
    pub gpt_file: Option<PathBuf>,
    /// Where the tool works.
    pub stage: Stage,
    /// Removed when the campaign ends.
    pub work: WorkDir,
    /// Watches the disks, where there is a campaign.
    room: Option<Arc<Room>>,
}

/// The fixture, and a stage with it.
pub fn ground(
    resolved: Resolved,
    programs: &Programs,
    setting: &Setting,
    stream: &mut Stream,
) -> Result<Ground, Error> {
    let began = Instant::now();
    let fixture = match &setting.exec {
        Some(spec) => Fixture::of_user(spec)?,
        None => Fixture::of_scenario(&resolved)?,
    };
    stream.emit(&Event::FixtureReady {
        fixture_id: fixture.id.to_string(),
        cached: fixture.cached,
        len_bytes: fixture.len_bytes,
        wall_ms: began.elapsed().as_millis() as u64,
    })?;
    let phases = resolved.scenario.phase.len() as u64;
    // On the FUSE seam states lie in memory, as what differs from the fixture.
    let needed = match setting.seam {
        reports::Seam::Fuse => 0,
        reports::Seam::InProcess => fixture.used_bytes * (COPIES_BESIDES_PHASES + phases),
    };
    let work = WorkDir::create(setting.work_parent.as_deref(), needed, needed.min(fixture.used_bytes))?;
    let words = words(&resolved, programs, setting, &work)?;
    let runner = Runner { containment: Containment::choose()?, launcher: setting.launcher.clone() };
    let mut stage = match (setting.seam, &fixture.content) {
        (reports::Seam::InProcess, FixtureContent::Folder(volume)) => {
            let delay = setting.gpt_delay;
            let stage = HookStage::new(work.path(), volume, words, delay, runner, setting.interrupted)?;
            Stage::Hook(Box::new(stage))
        }
        _ => Stage::Fuse(Box::new(FuseStage::new(&work, &fixture, words, setting, runner)?)),
    };
    let gpt_file = gpt_file(&resolved, &mut stage)?;
    stage.set_disk(gpt_file.as_deref())?;
    Ok(Ground { fixture_id: fixture.id, gpt_file, stage, work, room: None, resolved })
}

/// What the scenario's commands are made from.
fn words(
    resolved: &Resolved,
    programs: &Programs,
    setting: &Setting,
    work: &WorkDir,
) -> Result<Words, Error> {
    let mut environment = resolved.scenario.environment.clone();
    if let Some(bug) = &setting.bug {
        let own = programs.paths.keys().filter(|program| tools::is_own(program)).cloned();
        environment.extend(hook::bug_environment(bug, own));
    }
    let scenario_dir = match resolved.assets.is_empty() {
        true => resolved.dir.clone(),
        false => {
            let dir = work.subdir("scenario")?;
            resolved.write_assets(&dir)?;
            dir
        }
    };
    Ok(Words {
        volume: work.path().join("volume"),
        scratch: work.path().join("scratch"),
        scenario_dir,
        directory: setting.exec.as_ref().map(|spec| spec.directory.clone()),
        programs: programs.paths.clone(),
        environment,
        real_time: setting.real_time,
    })
}

impl Ground {
    /// What another thread needs for a ground like this one.
    pub fn seed(&mut self) -> Result<GroundSeed, Error> {
        Ok(GroundSeed {
            resolved: self.resolved.clone(),
            fixture_id: self.fixture_id,
            gpt_file: self.gpt_file.clone(),
            stage: self.stage.fuse()?.seed(),
            work_parent: self.work.path().parent().map(Path::to_owned),
            room: self.room.clone(),
        })
    }

    /// Has the campaign end where the disk of its working area or of its run directory has too little room left, as
    /// [`Room::new`] says. Grounds that are made like this one ask the same guard.
    pub fn watch_room(&mut self, run_dir: &Path, min_free_bytes: Option<u64>) {
        self.room = Some(Arc::new(Room::new(&self.work, run_dir, min_free_bytes)));
    }

    /// An error where nothing more is to be run: a signal asked for the end, or a disk has no room left.
    pub fn may_go_on(&self) -> Result<(), Error> {
        if self.stage.interrupted() {
            return Err(Error::Interrupted);
        }
        self.room.as_ref().map_or(Ok(()), |room| room.check())
    }

    /// Tells of disks that are short of room, of each once.
    pub fn warn_of_room(&self, stream: &mut Stream) -> Result<(), Error> {
        for text in self.room.iter().flat_map(|room| room.take_warnings()) {
            stream.emit(&Event::Warning { text })?;
        }
        Ok(())
    }
}

/// Makes a ground like another one, for another thread.
#[derive(Clone, Debug)]
pub struct GroundSeed {
    resolved: Resolved,
    fixture_id: ContentId,
    gpt_file: Option<PathBuf>,
    stage: StageSeed,
    work_parent: Option<PathBuf>,
    room: Option<Arc<Room>>,
}

impl GroundSeed {
    /// Whether the other thread has mounts of its own, so that its paths are the same.
    pub fn has_private_mounts(&self) -> bool {
        self.stage.private_mounts
    }

    /// The ground, with a seam of its own on a CPU of its own. To be called by the thread that uses it, which leaves
    /// the mounts of the others.
    pub fn grow(self, cpu: usize) -> Result<Ground, Error> {
        if self.stage.private_mounts {
            namespace::leave().map_err(Error::Namespace)?;
        }
        let work = WorkDir::create(self.work_parent.as_deref(), 0, 0)?;
        let stage = Stage::Fuse(Box::new(self.stage.grow(&work, cpu)?));
        let Self { resolved, fixture_id, gpt_file, room, .. } = self;
        let mut ground = Ground { resolved, fixture_id, gpt_file, stage, work, room };
        let gpt_file = ground.gpt_file.clone();
        ground.stage.set_disk(gpt_file.as_deref())?;
        Ok(ground)
    }
}

/// The file whose table is sampled: the one that an oracle names, else the declared disk, else the only file, if it
/// holds a table.
fn gpt_file(resolved: &Resolved, stage: &mut Stage) -> Result<Option<PathBuf>, Error> {
    let scenario = &resolved.scenario;
    let named = scenario.oracle.iter().find(|oracle| matches!(oracle, Oracle::Gpt { .. }));
    if let Some(file) = named.and_then(Oracle::file) {
        return Ok(Some(file.into()));
    }
    if let Some(disk) = scenario.fixture.disk() {
        return Ok(Some(disk.file.clone().into()));
    }
    let look = stage.look()?;
    let volume = View::from(&look);
    let failed = Error::io(look.path);
    let Ok([name]) = <[PathBuf; 1]>::try_from(volume.files().map_err(failed)?) else { return Ok(None) };
    let failed = |source| Error::io(look.path.join(&name))(source);
    let disk = volume.open(&name).map_err(failed)?;
    Ok(Gpt::read(&disk).map_err(failed)?.best().is_some().then_some(name))
}

/// A tool that failed because our own disk is full says nothing about the tool. It may have tidied up since, so the
/// room of a whole volume has to be there.
pub fn full_check(work: &WorkDir) -> Result<(), Error> {
    match work.fullness().map_err(Error::io(work.path()))? {
        Some(free_bytes) => Err(Error::WorkDirFull { path: work.path().to_owned(), free_bytes }),
        None => Ok(()),
    }
}
