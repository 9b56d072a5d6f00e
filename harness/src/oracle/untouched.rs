//! Oracle `untouched`: partitions, byte ranges and files that the phase has no business with keep their bytes, and
//! partitions their table entries.

use std::ops::Range;
use std::path::PathBuf;

use scenarios::Problem;
use scenarios::model::{PartitionRef, range};

use crate::gpt::Partition;

use super::spot::starting_partition;
use super::subject::{Disk, ExtentId, Subject, compare};
use super::{Halt, OracleError, Outcome, Setup, World, at};

/// What is guarded, as it is when the phase starts.
#[derive(Debug)]
pub(super) struct Untouched {
    pub guarded: Vec<Guarded>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Guarded {
    pub file: PathBuf,
    pub what: Guard,
    pub extent: Range<u64>,
    content: ExtentId,
}

/// Its kind.
#[derive(Debug)]
pub(super) enum Guard {
    Partition(Partition),
    Range,
    File,
}

impl Untouched {
    pub fn new(
        setup: &mut Setup<'_>,
        file: &str,
        (partitions, ranges, files): (&[String], &[String], &[String]),
    ) -> Result<Self, OracleError> {
        let mut guarded = Vec::new();
        if !partitions.is_empty() || !ranges.is_empty() {
            let disk = setup.disk(file)?;
            for (item, text) in partitions.iter().enumerate() {
                let partition = starting_partition(setup, &disk, item, &PartitionRef::parse(text))?.clone();
                let extent = partition.extent.clone();
                guarded.push(Guarded::new(setup, file, &disk, Guard::Partition(partition), extent)?);
            }
            let len_bytes = disk.len_bytes()?;
            for (item, text) in ranges.iter().enumerate() {
                let extent = range(text).filter(|range| range.end <= len_bytes);
                let outside = || setup.error_at("ranges", Some(item), Problem::Range(text.clone()));
                let extent = extent.ok_or_else(outside)?;
                guarded.push(Guarded::new(setup, file, &disk, Guard::Range, extent)?);
            }
        }
        for (item, file) in files.iter().enumerate() {
            let disk = setup.disk_at(file, "files", Some(item))?;
            let extent = 0..disk.len_bytes()?;
            guarded.push(Guarded::new(setup, file, &disk, Guard::File, extent)?);
        }
        Ok(Self { guarded })
    }

    pub fn ask(&self, subject: &Subject<'_>, world: &mut World) -> Result<Outcome, Halt> {
        let mut parts = Vec::new();
        for guarded in &self.guarded {
            match guarded.ask(subject, world) {
                Ok(outcome) | Err(Halt::Says(outcome)) => parts.push(outcome),
                Err(error) => return Err(error),
            }
        }
        Ok(Outcome::all(parts))
    }
}

impl Guarded {
    fn new(
        setup: &mut Setup<'_>,
        file: &str,
        disk: &Disk,
        what: Guard,
        extent: Range<u64>,
    ) -> Result<Self, OracleError> {
        let content = setup.starting_id(file.as_ref(), disk, &extent)?;
        Ok(Self { file: file.into(), what, extent, content })
    }

    fn ask(&self, subject: &Subject<'_>, world: &mut World) -> Result<Outcome, Halt> {
        let disk = subject.disk(&self.file)?;
        let frame = match &self.what {
            Guard::Partition(before) => entry(before, &disk)?,
            Guard::Range => Outcome::Held,
            Guard::File => match (disk.len_bytes()?, self.extent.end) {
                (now, before) if now != before => {
                    Outcome::failed(format!("`{}` is {now} bytes long, not {before}", self.file.display()))
                }
                _ => Outcome::Held,
            },
        };
        Ok(Outcome::all([frame, self.bytes(subject, &disk, world)?]))
    }

    /// Its name in explanations.
    pub fn name(&self) -> String {
        match &self.what {
            Guard::Partition(partition) => format!("`{}`", partition.label),
            Guard::Range | Guard::File => format!("`{}`", self.file.display()),
        }
    }

    /// Whether its bytes are what they were.
    fn bytes(&self, subject: &Subject<'_>, disk: &Disk, world: &mut World) -> Result<Outcome, Halt> {
        let extent = &self.extent;
        if extent.end > disk.len_bytes()? {
            return Ok(match self.what {
                // Its length was told already.
                Guard::File => Outcome::Held,
                Guard::Partition(_) | Guard::Range => {
                    Outcome::failed(format!("{}: the disk ends inside it", self.name()))
                }
            });
        }
        if subject.extent_id(&self.file, disk, extent, world)? == self.content {
            return Ok(Outcome::Held);
        }
        let start = world.start.disk(&self.file)?;
        let places = ((&start.bytes, extent.start), (&disk.bytes, extent.start));
        let found = compare(places.0, places.1, extent.end - extent.start).map_err(at(&disk.path))?;
        let base = if matches!(self.what, Guard::Range) { extent.start } else { 0 };
        Ok(found.outcome(|offset| format!("{}+{:#x}", self.name(), base + offset)))
    }
}

/// Whether the best copy lists the partition as it was.
fn entry(before: &Partition, disk: &Disk) -> Result<Outcome, Halt> {
    let label = &before.label;
    let Some(copy) = disk.gpt()?.best() else {
        return Ok(Outcome::failed(format!("`{label}`: no GPT copy is valid, so nothing lists it")));
    };
    let Some(now) = copy.partitions.iter().find(|p| p.unique_guid == before.unique_guid) else {
        return Ok(Outcome::failed(format!(
            "`{label}`: the {} GPT copy has no entry with its GUID {}",
            copy.side, before.unique_guid
        )));
    };
    let fields = [
        ("entry", before.index.to_string(), now.index.to_string()),
        ("name", before.label.clone(), now.label.clone()),
        ("type GUID", before.type_guid.to_string(), now.type_guid.to_string()),
        ("attributes", format!("{:#018x}", before.attributes), format!("{:#018x}", now.attributes)),
        ("first LBA", before.first_lba.to_string(), now.first_lba.to_string()),
        ("last LBA", before.last_lba.to_string(), now.last_lba.to_string()),
    ];
    let changed = fields.iter().filter(|(_, a, b)| a != b);
    Ok(Outcome::all(changed.map(|(what, a, b)| {
        Outcome::failed(format!("`{label}`: {what} {a} → {b} in the {} GPT copy", copy.side))
    })))
}
