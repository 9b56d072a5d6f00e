//! Oracle `fsck`: the file system's own checker, which is told to change nothing, finds nothing.

use std::ops::Range;

use scenarios::Problem;
use scenarios::model::FileSystem;

use crate::content::file_system;

use super::checker::{check, program};
use super::run::Ended;
use super::spot::{Ask, Place, Spot, ask_each};
use super::subject::{Disk, Subject};
use super::{Halt, OracleError, Outcome, Setup, World, at};

/// The file systems of one file.
#[derive(Debug)]
pub(super) struct Fsck {
    pub targets: Vec<Target>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Target {
    pub spot: Spot,
    pub fs: FileSystem,
}

impl Fsck {
    pub fn new(
        setup: &mut Setup<'_>,
        file: &str,
        partitions: &[String],
        (offset, fs): (Option<&str>, Option<FileSystem>),
    ) -> Result<Self, OracleError> {
        let disk = setup.disk(file)?;
        let mut targets = Vec::new();
        for (item, (spot, extent)) in
            Spot::find(setup, &disk, file, partitions, offset)?.into_iter().enumerate()
        {
            let found = match fs {
                Some(fs) => Some(fs),
                None => file_system(&disk.bytes, &extent).map_err(at(&disk.path))?,
            };
            let Some(fs) = found else {
                let (key, item) = match spot.place {
                    Place::Partition(_) => ("partitions", Some(item)),
                    Place::From(_) => ("kind", None),
                };
                let name = spot.name().replace('`', "");
                return Err(setup.error_at(key, item, Problem::NoChecker(name)));
            };
            let program = program(fs);
            if setup.lacking.iter().any(|lacking| lacking == program) {
                setup.leave_out(format!("fsck of {}", spot.name().replace('`', "")), program);
            } else {
                targets.push(Target { spot, fs });
            }
        }
        Ok(Self { targets })
    }

    pub fn ask(&self, number: usize, subject: &Subject<'_>, world: &mut World) -> Result<Outcome, Halt> {
        ask_each(&self.targets, number, subject, world)
    }
}

impl Ask for Target {
    fn spot(&self) -> &Spot {
        &self.spot
    }

    fn judge(
        &self,
        subject: &Subject<'_>,
        disk: &Disk,
        extent: &Range<u64>,
        world: &World,
    ) -> Result<Outcome, Halt> {
        let (name, program) = (self.spot.name(), program(self.fs));
        let path = subject.path(world).join(&self.spot.file);
        let plain = name.replace('`', "");
        let ended = check(self.fs, (disk, &path), extent, &plain, &world.work).map_err(at(&path))?;
        Ok(match ended {
            Ended::Exited { code: 0, .. } => Outcome::Held,
            ended @ Ended::Exited { .. } => Outcome::failed(format!("{name}: {program} {ended}")),
            ended @ (Ended::OutOfTime(_) | Ended::TooMuchOutput(_)) => {
                Outcome::Hung { what: format!("{name}: {program} {ended}") }
            }
            ended @ (Ended::Signalled(_) | Ended::NotFound) => {
                Outcome::NotMeasured { why: format!("{name}: {program} {ended}") }
            }
        })
    }
}
