//! Oracle `content`: a partition or file holds what it held when the phase started, wherever it lies now and however
//! large it is: the same tree for a file system, the same leading bytes for anything else.
//!
//! What is expected comes from the phase's start and not from its baseline, so a tool that damages content in
//! every run is caught too.

use std::ops::Range;

use crate::content::{Kind, Tree};

use super::spot::{Ask, Spot, ask_each};
use super::subject::{Disk, Subject, compare};
use super::{Halt, OracleError, Outcome, Setup, World, at, chain};

/// Differing paths that are named.
const PATHS_SHOWN: usize = 5;

/// The places of one file.
#[derive(Debug)]
pub(super) struct Content {
    pub targets: Vec<Target>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Target {
    pub spot: Spot,
    pub kind: Kind,
    pub expected: Expected,
}

/// What it held.
#[derive(Debug)]
pub(super) enum Expected {
    /// A file system.
    Tree(Tree),
    /// Bytes, and where they lay.
    Bytes(Range<u64>),
}

impl Content {
    pub fn new(
        setup: &mut Setup<'_>,
        file: &str,
        partitions: &[String],
        offset: Option<&str>,
    ) -> Result<Self, OracleError> {
        let disk = setup.disk(file)?;
        let mut targets = Vec::new();
        for (spot, extent) in Spot::find(setup, &disk, file, partitions, offset)? {
            let kind = Kind::detect(&disk.bytes, &extent).map_err(at(&disk.path))?;
            let expected = if kind == Kind::Bytes {
                Expected::Bytes(extent)
            } else {
                if kind == Kind::Ext4 && !setup.reader.debugfs {
                    let what =
                        format!("extended attributes and hard links of {}", spot.name().replace('`', ""));
                    setup.leave_out(what, "debugfs");
                }
                let sector = disk.gpt()?.sector_bytes;
                let tree = setup
                    .reader
                    .read(kind, (&disk.bytes, &disk.path), &extent, sector, None)
                    .map_err(|source| OracleError::Tree { name: spot.name(), source })?;
                Expected::Tree(tree)
            };
            targets.push(Target { spot, kind, expected });
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

    fn deciding_bytes(&self) -> Option<u64> {
        match &self.expected {
            Expected::Tree(_) => None,
            Expected::Bytes(before) => Some(before.end - before.start),
        }
    }

    fn judge(
        &self,
        subject: &Subject<'_>,
        disk: &Disk,
        extent: &Range<u64>,
        world: &World,
    ) -> Result<Outcome, Halt> {
        let expected = match &self.expected {
            Expected::Tree(tree) => tree,
            Expected::Bytes(before) => {
                let start = world.start.disk(&self.spot.file)?;
                let (was, is) = ((&start.bytes, before.start), (&disk.bytes, extent.start));
                let found = compare(was, is, before.end - before.start).map_err(at(&disk.path))?;
                return Ok(found.outcome(|offset| self.spot.byte(offset)));
            }
        };
        let name = self.spot.name();
        let path = subject.path(world).join(&self.spot.file);
        let sector = disk.gpt()?.sector_bytes;
        Ok(match world.reader.read(self.kind, (&disk.bytes, &path), extent, sector, Some(expected)) {
            Ok(now) => {
                let found = expected.differences(&now, PATHS_SHOWN);
                Outcome::all(found.into_iter().map(|line| Outcome::failed(format!("{name} {line}"))))
            }
            Err(error) if error.blames_content() => Outcome::failed(format!("{name}: {}", chain(&error))),
            Err(error) => Outcome::NotMeasured { why: format!("{name}: {}", chain(&error)) },
        })
    }
}
