//! Oracle `untouched`: partitions that the phase has no business with keep their bytes and their table entries.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fault_backend::ContentId;

use crate::gpt::Partition;
use crate::image;

use super::subject::{Disk, Extract, Subject};
use super::{OracleError, Outcome, Setup, World, at, starting_partition};

/// The partitions of one file, as they are when the phase starts.
#[derive(Debug)]
pub(super) struct Untouched {
    pub file: PathBuf,
    pub guarded: Vec<Guarded>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Guarded {
    pub partition: Partition,
    content: ContentId,
}

impl Untouched {
    pub fn new(setup: &Setup<'_>, file: &str, labels: &[String]) -> Result<Self, OracleError> {
        let disk = setup.disk(file)?;
        let guard = |label: &String| {
            let (partition, _) = starting_partition("untouched", &disk, file, label)?;
            let content = image::content_of(&disk.file, partition.extent.clone()).map_err(at(&disk.path))?;
            Ok(Guarded { partition, content })
        };
        Ok(Self { file: file.into(), guarded: labels.iter().map(guard).collect::<Result<_, _>>()? })
    }

    pub fn ask(&self, subject: &Subject<'_>, world: &mut World) -> Result<Outcome, OracleError> {
        let disk = subject.disk(&self.file)?;
        let mut parts = Vec::new();
        for guarded in &self.guarded {
            parts.push(guarded.entry(&disk));
            parts.push(guarded.bytes(&self.file, subject, &disk, world)?);
        }
        Ok(Outcome::all(parts))
    }
}

impl Guarded {
    /// Whether the best copy lists the partition as it was.
    fn entry(&self, disk: &Disk) -> Outcome {
        let before = &self.partition;
        let label = &before.label;
        let Some(copy) = disk.gpt.best() else {
            return Outcome::failed(format!("`{label}`: no GPT copy is valid, so nothing lists it"));
        };
        let Some(now) = copy.partitions.iter().find(|p| p.unique_guid == before.unique_guid) else {
            return Outcome::failed(format!(
                "`{label}`: the {} GPT copy has no entry with its GUID {}",
                copy.side, before.unique_guid
            ));
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
        Outcome::all(changed.map(|(what, a, b)| {
            Outcome::failed(format!("`{label}`: {what} {a} → {b} in the {} GPT copy", copy.side))
        }))
    }

    /// Whether its bytes are what they were.
    fn bytes(
        &self,
        file: &Path,
        subject: &Subject<'_>,
        disk: &Disk,
        world: &mut World,
    ) -> Result<Outcome, OracleError> {
        let extent = &self.partition.extent;
        let label = &self.partition.label;
        if extent.end > disk.gpt.len_bytes {
            return Ok(Outcome::failed(format!("`{label}`: the disk ends inside it")));
        }
        if subject.content_id(file, disk, extent, world)? == self.content {
            return Ok(Outcome::Held);
        }
        let start = Disk::open(&world.start.join(file))?;
        let mut extract = Extract::default();
        let len = extent.end - extent.start;
        let _ = image::compare_parts((&start.file, extent.start), (&disk.file, extent.start), len, |range| {
            extract.add(range);
            ControlFlow::Continue(())
        })
        .map_err(at(&disk.path))?;
        Ok(Outcome::failed(extract.text(|offset| format!("`{label}`+{offset:#x}"))))
    }
}
