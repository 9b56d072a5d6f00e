//! Places that a scenario names: a partition of a file, or the file from a byte on. They are looked up anew in each
//! state, since a partition may move; what was found about the same bytes at the same place is remembered.

use std::ops::Range;
use std::path::PathBuf;

use scenarios::Problem;
use scenarios::model::{PartitionRef, Target};

use crate::gpt::Partition;

use super::memory::Question;
use super::subject::{Disk, Subject, is_meant, name_of};
use super::{Halt, OracleError, Outcome, Setup, World};

/// A place in a file of the volume.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub file: PathBuf,
    pub place: Place,
}

/// Where in the file.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Where this partition lies.
    Partition(PartitionRef),
    /// From this byte to the end.
    From(u64),
}

impl Spot {
    /// The places that an oracle's keys name, each with its extent when the phase starts.
    pub fn find(
        setup: &Setup<'_>,
        disk: &Disk,
        file: &str,
        partitions: &[String],
        offset: Option<&str>,
    ) -> Result<Vec<(Self, Range<u64>)>, OracleError> {
        let unreadable =
            || setup.error_at("offset", None, Problem::Offset(offset.unwrap_or_default().to_owned()));
        let spot = |place| Self { file: file.into(), place };
        match Target::parse(partitions, offset).ok_or_else(unreadable)? {
            Target::Offset(start) => {
                let len_bytes = disk.len_bytes()?;
                if start > len_bytes || start == len_bytes && start > 0 {
                    return Err(unreadable());
                }
                Ok(vec![(spot(Place::From(start)), start..len_bytes)])
            }
            Target::Partitions(wanted) => {
                let found = wanted.into_iter().enumerate().map(|(item, wanted)| {
                    let extent = starting_partition(setup, disk, item, &wanted)?.extent.clone();
                    Ok((spot(Place::Partition(wanted)), extent))
                });
                found.collect()
            }
        }
    }

    /// Its name in explanations.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Partition(wanted) => name_of(wanted),
            Place::From(0) => format!("`{}`", self.file.display()),
            Place::From(start) => format!("`{}` from {start:#x} on", self.file.display()),
        }
    }

    /// A byte of it in explanations.
    pub fn byte(&self, offset: u64) -> String {
        match &self.place {
            Place::Partition(wanted) => format!("{}+{offset:#x}", name_of(wanted)),
            Place::From(start) => format!("`{}`+{:#x}", self.file.display(), start + offset),
        }
    }

    /// Where it is now.
    pub fn extent(&self, disk: &Disk) -> Result<Range<u64>, Halt> {
        match &self.place {
            Place::Partition(wanted) => Ok(disk.partition(wanted)?.extent.clone()),
            Place::From(start) => {
                let len_bytes = disk.len_bytes()?;
                if *start > len_bytes {
                    let text = format!("`{}` ends at {len_bytes:#x}, before {start:#x}", self.file.display());
                    return Err(Halt::Says(Outcome::failed(text)));
                }
                Ok(*start..len_bytes)
            }
        }
    }
}

/// The one partition that an oracle names, when the phase starts; `item` is its place in the oracle's list.
pub(super) fn starting_partition<'d>(
    setup: &Setup<'_>,
    disk: &'d Disk,
    item: usize,
    wanted: &PartitionRef,
) -> Result<&'d Partition, OracleError> {
    let gpt = disk.gpt()?;
    let partitions = gpt.best().map_or(&[][..], |copy| &copy.partitions);
    let mut meant = partitions.iter().filter(|p| is_meant(p, wanted) && p.extent.end <= gpt.len_bytes);
    match (meant.next(), meant.next()) {
        (Some(partition), None) => Ok(partition),
        (Some(_), Some(_)) => Err(OracleError::Ambiguous { name: name_of(wanted) }),
        (None, _) => {
            let known = partitions.iter().map(|partition| partition.label.clone()).collect();
            let problem = Problem::UnknownPartition { label: wanted.to_string(), known };
            Err(setup.error_at("partitions", Some(item), problem))
        }
    }
}

/// Something that is asked about one place.
pub(super) trait Ask {
    /// The place.
    fn spot(&self) -> &Spot;

    /// So many bytes from its start decide the answer; all of it where `None`.
    fn deciding_bytes(&self) -> Option<u64> {
        None
    }

    /// Judges what is in an extent of the disk.
    fn judge(
        &self,
        subject: &Subject<'_>,
        disk: &Disk,
        extent: &Range<u64>,
        world: &World,
    ) -> Result<Outcome, Halt>;
}

/// Asks about each place of an oracle and adds the answers up; `number` tells the oracle from others.
pub(super) fn ask_each<T: Ask>(
    targets: &[T],
    number: usize,
    subject: &Subject<'_>,
    world: &mut World,
) -> Result<Outcome, Halt> {
    let mut parts = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        parts.push(match ask_one(target, (number, index), subject, world) {
            Err(Halt::Says(outcome)) => outcome,
            answer => answer?,
        });
    }
    Ok(Outcome::all(parts))
}

fn ask_one<T: Ask>(
    target: &T,
    (number, index): (usize, usize),
    subject: &Subject<'_>,
    world: &mut World,
) -> Result<Outcome, Halt> {
    let spot = target.spot();
    let disk = subject.disk(&spot.file)?;
    let extent = spot.extent(&disk)?;
    let len = extent.end - extent.start;
    if let Some(wanted) = target.deciding_bytes()
        && len < wanted
    {
        let text = format!("{}: {len} bytes cannot hold the {wanted} it had", spot.name());
        return Err(Halt::Says(Outcome::failed(text)));
    }
    let deciding = extent.start..target.deciding_bytes().map_or(extent.end, |bytes| extent.start + bytes);
    let id = subject.extent_id(&spot.file, &disk, &deciding, world)?;
    let question = Question::Extent { number, index, start: deciding.start, end: deciding.end, id };
    if let Some(answer) = world.memory.recall(&question) {
        return Ok(answer);
    }
    let answer = target.judge(subject, &disk, &deciding, world)?;
    world.memory.keep(question, &answer);
    Ok(answer)
}
