//! A finding as files that need no killpoint: the image before the run, the recorded run, what of it is there at the
//! crash, and the commands that resume. Which files there are, and what is in them, is in their own `README.txt`.
//!
//! A log is of one disk, so the run has to write one file of the volume and to leave its length and all names alone.

mod crash_log;
mod disk;
mod readme;
mod resume;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault_backend::oplog::OpLog;
use fault_backend::power::log_writes;
use fault_backend::replay::Point;
use fault_backend::volume::Volume;
use fault_backend::{Action, Fault, Image};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::image::VOLUME;
use crate::judge::Judgement;
use crate::outage::{Outage, PowerCut};
use crate::prepare::{Known, Prepared};
use crate::repro::{self, Followed};
use crate::stage::Words;
use crate::store::{self, Past, Reached};
use crate::token::{Token, TokenKill};
use disk::Disk;

/// Bytes of a sector in the logs: what every disk's length is a multiple of.
const SECTOR_BYTES: u32 = 512;

/// Bytes that are hashed at once.
const HASHED_BYTES: usize = 1 << 20;

/// A finding can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The run was not cut, or more than once.
    #[error(
        "the finding has {found} kills, and what is exported is one recorded run up to one kill: export one of a sweep \
         without --closure"
    )]
    Kills {
        /// Kills.
        found: usize,
    },
    /// The run went on.
    #[error(
        "the run was disturbed ({point}) and went on, so that no recorded run leads to the state: export a finding of model \
         kill, torn or power"
    )]
    Disturbed {
        /// How, in words.
        point: String,
    },
    /// The kill is not inside the recorded run.
    #[error("the recorded run has no op {number} that a kill could be inside of")]
    NoSuchOp {
        /// Op.
        number: u64,
    },
    /// A log is of one file.
    #[error("the run writes {} files of the volume ({}), and a log is of one", files.len(), disk::listed(files))]
    NotOneFile {
        /// Which.
        files: Vec<PathBuf>,
    },
    /// A log has no names.
    #[error(
        "the run makes, renames or removes names in the volume ({}), and a log is of the content of one file that stays",
        disk::listed(names)
    )]
    Names {
        /// Which.
        names: Vec<PathBuf>,
    },
    /// A name that the formats and the scripts can't hold.
    #[error("the file's name `{}` can't be exported: it has a backslash or a control character", .0.display())]
    Name(PathBuf),
    /// The directory is taken.
    #[error("`{}` exists and is not an empty directory; name another one with --out", .0.display())]
    Taken(PathBuf),
    /// The recorded run leads elsewhere.
    #[error(
        "not measured: the recorded run leads to the crash state `{found}`, and the token's is `{recorded}`: the tool does not \
         do the same in each run"
    )]
    OtherState {
        /// Recorded id, 16 digits.
        recorded: String,
        /// Id of the state that was found, 16 digits.
        found: String,
    },
    /// The run is none of a disk.
    #[error("the run can't be written as a log of a disk")]
    Log(#[from] log_writes::ExportError),
}

/// What is known of a finding besides what the run shows.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Versions by program.
    pub tool_versions: BTreeMap<String, String>,
    /// The scenario ships, so that what lies beside it comes along.
    pub ships: bool,
    /// The way to the crash state, where a run directory keeps it.
    pub kept: Option<Vec<Past>>,
}

/// What was exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The file that the run writes, as it is named in the volume.
    pub file: PathBuf,
    /// What the resume makes of the crash state.
    pub judgement: Judgement,
    /// Entries of the whole run's log, and of the crash state's.
    pub entries: (u64, u64),
}

/// Everything that goes into the files.
struct Specimen<'a> {
    token: &'a Token,
    facts: &'a Facts,
    known: &'a Known,
    words: &'a Words,
    judgement: &'a Judgement,
    /// The recorded run and where it is cut.
    past: &'a Past,
    disk: &'a Disk,
    start: &'a Volume,
    /// The file at the crash.
    crash: Image,
    /// The file after an uninterrupted run.
    baseline: Image,
    /// Files that lie in the scratch directory at the crash.
    scratch_files: usize,
}

/// Refuses what can't be exported, before anything is made ready for it.
pub fn check(token: &Token, out: &Path) -> Result<(), ExportError> {
    let [kill] = token.kills.as_slice() else {
        return Err(ExportError::Kills { found: token.kills.len() });
    };
    if kill.power.is_none() && !kill.fault.is_kill() {
        return Err(ExportError::Disturbed { point: kill.describe() });
    }
    let free = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if free { Ok(()) } else { Err(ExportError::Taken(out.to_owned())) }
}

/// Writes a finding into the directory `out`, which is there with all files or not at all.
pub fn export(
    token: &Token,
    facts: &Facts,
    prepared: &mut Prepared,
    exec: Option<&crate::exec::Spec>,
    out: &Path,
) -> Result<Exported, Error> {
    let (past, judgement) = judged(token, facts, prepared)?;
    let known = repro::last_of(&mut prepared.phases, token)?.known.clone();
    let stage = &mut prepared.ground.stage;
    let start = known.start.memory.clone().ok_or(Error::NotRecorded)?;
    let end = known.baseline.memory.as_ref().ok_or(Error::NotRecorded)?;
    let disk = Disk::of(&start, &past.log)?;
    let fuse = stage.fuse()?;
    let state = store::follow(start.clone(), std::slice::from_ref(&past), |state| {
        fuse.without_scratch(state).map(drop)
    })?;
    let words = stage.words();
    let specimen = Specimen {
        token,
        facts,
        known: &known,
        words,
        judgement: &judgement,
        past: &past,
        crash: disk.image(&state)?,
        baseline: disk.image(end)?,
        scratch_files: crate::stage::recorded::scratch_names(&state).len(),
        disk: &disk,
        start: &start,
    };
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = tempfile::Builder::new()
        .prefix(".killpoint-export-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(parent)
        .map_err(Error::io(parent))?;
    let entries = specimen.write(temporary.path(), &prepared.ground.resolved, exec)?;
    fs::rename(temporary.path(), out).map_err(Error::io(out))?;
    // It has another name by now.
    let _ = temporary.keep();
    Ok(Exported { file: disk.name, judgement, entries })
}

/// The recorded run that leads to the token's state, and what becomes of that. The kept one is asked where the tool has
/// done something else this time.
fn judged(token: &Token, facts: &Facts, prepared: &mut Prepared) -> Result<(Past, Judgement), Error> {
    let known = &repro::last_of(&mut prepared.phases, token)?.known;
    let log = known.log.clone().ok_or(Error::NotRecorded)?;
    let recorded = token.kills.iter().map(|kill| past_of(token, kill, &log)).next();
    let kept = facts.kept.clone().unwrap_or_default();
    let mut elsewhere = String::new();
    for past in recorded.transpose()?.into_iter().chain(kept) {
        match repro::follow(token, std::slice::from_ref(&past), prepared, &mut |_| Ok(()))? {
            Followed::Judged(finished) => return Ok((past, finished.judgement)),
            Followed::OtherState(found) => elsewhere = found,
        }
    }
    Err(ExportError::OtherState { recorded: token.crash.clone(), found: elsewhere }.into())
}

/// A kill of a recorded run.
fn past_of(token: &Token, kill: &TokenKill, log: &Arc<OpLog>) -> Result<Past, Error> {
    let at = match (&kill.power, &kill.fault) {
        (Some(state), _) => {
            let (device, durability) = token.device.clone().ok_or(Error::NotRecorded)?;
            let outage = Arc::new(Outage { device, durability, seed: token.seed });
            Reached::Power(PowerCut { state: state.clone(), outage })
        }
        (None, Fault::AtOp(op, Action::KillBefore)) => Reached::Point(Point::After(op.saturating_sub(1))),
        (None, Fault::AtOp(op, Action::KillTorn(sectors))) => {
            let torn = log.op(*op).ok_or(ExportError::NoSuchOp { number: *op })?;
            let bytes = torn.torn_sector_bytes(u64::from(*sectors));
            Reached::Point(Point::Torn { op: *op, bytes })
        }
        (None, Fault::AtOp(op, _)) => Reached::Point(Point::After(*op)),
        _ => return Err(ExportError::Disturbed { point: kill.describe() }.into()),
    };
    Ok(Past { log: Arc::clone(log), at, wiped: kill.wipe })
}

impl Specimen<'_> {
    /// Writes all files into a directory.
    fn write(
        &self,
        dir: &Path,
        resolved: &scenarios::Resolved,
        exec: Option<&crate::exec::Spec>,
    ) -> Result<(u64, u64), Error> {
        let base = self.disk.image(self.start)?;
        let run = self.write_log(&dir.join("run.log"), &self.past.log, &base)?;
        let crash_log =
            crash_log::of(self.past, self.disk.ino, &base, &self.crash).map_err(Error::io(dir))?;
        let crash = self.write_log(&dir.join("crash.log"), &crash_log, &base)?;
        let path = dir.join("base.img");
        File::create(&path).and_then(|file| base.export(&file)).map_err(Error::io(&path))?;
        self.write_others(dir)?;
        let texts =
            [("state.sha256", self.sum(&self.crash)), ("uninterrupted.sha256", self.sum(&self.baseline))];
        for (name, text) in texts {
            put(dir, name, &text.map_err(Error::io(dir.join(name)))?)?;
        }
        put(dir, "kept.txt", &crash_log::kept_lines(self.past, self.disk.ino))?;
        let script = resume::Script::new(&self.known.phase, self.words, exec, self.is_done());
        if script.names_scenario_dir() && !resolved.assets.is_empty() {
            resolved.write_assets(&dir.join("scenario"))?;
        }
        put(dir, "resume.sh", &script.text(!resolved.assets.is_empty()))?;
        put(dir, "README.txt", &self.readme(resolved, &script))?;
        Ok((run, crash))
    }

    fn write_log(&self, path: &Path, log: &OpLog, base: &Image) -> Result<u64, Error> {
        let file = File::create(path).map_err(Error::io(path))?;
        let mut out = BufWriter::new(file);
        let entries = log_writes::export(log, self.disk.ino, base, SECTOR_BYTES, &mut out);
        let entries = entries.map_err(ExportError::Log)?;
        out.flush().map_err(Error::io(path))?;
        Ok(entries)
    }

    /// The volume's other files, which the commands may read.
    fn write_others(&self, dir: &Path) -> Result<(), Error> {
        let Some(mut others) = self.start.subtree(Path::new(VOLUME)) else { return Ok(()) };
        others.remove_tree(&self.disk.name)?;
        if others.walk().any(|(_, ino)| others.entries(ino).is_none()) {
            others.export(&dir.join("others"))?;
        }
        Ok(())
    }

    /// A line as `sha256sum -c` reads it.
    fn sum(&self, image: &Image) -> io::Result<String> {
        let mut hasher = Sha256::new();
        let mut bytes = vec![0; HASHED_BYTES];
        let mut at = 0;
        while at < image.len_bytes() {
            let read = image.read_at(at, &mut bytes)?;
            hasher.update(&bytes[..read]);
            at += read as u64;
        }
        let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{digest}  {}\n", self.disk.name.display()))
    }

    /// Whether the tool had said that it was done, so that nothing is resumed.
    fn is_done(&self) -> bool {
        repro::ends_done(&self.token.kills)
    }
}

fn put(dir: &Path, name: &str, text: &str) -> Result<(), Error> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(Error::io(&path))
}
