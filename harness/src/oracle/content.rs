//! Oracle `content`: a partition holds what it held when the phase started, wherever it lies now and however large
//! it is: the same tree for a file system, the same leading bytes for anything else.
//!
//! What is expected comes from the phase's start and not from its baseline, so a tool that damages content in
//! every run is caught too.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use fault_backend::ContentId;

use crate::content::{Kind, Tree};
use crate::gpt::Partition;
use crate::image;

use super::subject::{Disk, Extract, Subject};
use super::{OracleError, Outcome, Setup, World, at, chain, starting_partition};

/// Differing paths that are named.
const PATHS_SHOWN: usize = 5;

/// The partitions of one file.
#[derive(Debug)]
pub(super) struct Content {
    pub file: PathBuf,
    pub targets: Vec<Target>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Target {
    pub label: String,
    pub kind: Kind,
    pub expected: Expected,
}

/// What a partition held.
#[derive(Debug)]
pub(super) enum Expected {
    /// A file system.
    Tree(Tree),
    /// Bytes, and where they lay.
    Bytes(ContentId, Range<u64>),
}

impl Content {
    pub fn new(setup: &mut Setup<'_>, file: &str, labels: &[String]) -> Result<Self, OracleError> {
        let disk = setup.disk(file)?;
        let mut targets = Vec::new();
        for label in labels {
            let (partition, kind) = starting_partition("content", &disk, file, label)?;
            let expected = if kind == Kind::Bytes {
                let id = image::content_of(&disk.file, partition.extent.clone()).map_err(at(&disk.path))?;
                Expected::Bytes(id, partition.extent)
            } else {
                if kind == Kind::Ext4 && !setup.reader.debugfs {
                    let what = format!("extended attributes and hard links of {label}");
                    setup.leave_out(what, "debugfs");
                }
                let tree = setup
                    .reader
                    .read(kind, &disk.file, &partition.extent, disk.gpt.sector_bytes, None)
                    .map_err(|source| OracleError::Tree { label: label.clone(), source })?;
                Expected::Tree(tree)
            };
            targets.push(Target { label: label.clone(), kind, expected });
        }
        Ok(Self { file: file.into(), targets })
    }

    pub fn ask(
        &self,
        number: usize,
        subject: &Subject<'_>,
        world: &mut World,
    ) -> Result<Outcome, OracleError> {
        let disk = subject.disk(&self.file)?;
        let mut parts = Vec::new();
        for (index, target) in self.targets.iter().enumerate() {
            let partition = match disk.partition(&target.label) {
                Ok(partition) => partition,
                Err(outcome) => {
                    parts.push(outcome);
                    continue;
                }
            };
            parts.push(match &target.expected {
                Expected::Bytes(id, before) => {
                    target.leading_bytes(&self.file, subject, &disk, partition, (id, before), world)?
                }
                Expected::Tree(expected) => {
                    let id = subject.content_id(&self.file, &disk, &partition.extent, world)?;
                    let question = (number, index, partition.extent.start, id);
                    let answer = match world.memory.recall(&question) {
                        Some(answer) => answer,
                        None => target.tree(&disk, partition, expected, world),
                    };
                    world.memory.keep(question, &answer);
                    answer
                }
            });
        }
        Ok(Outcome::all(parts))
    }
}

impl Target {
    fn leading_bytes(
        &self,
        file: &Path,
        subject: &Subject<'_>,
        disk: &Disk,
        partition: &Partition,
        (id, before): (&ContentId, &Range<u64>),
        world: &mut World,
    ) -> Result<Outcome, OracleError> {
        let label = &self.label;
        let (len, len_before) = (partition.len_bytes(), before.end - before.start);
        if len < len_before {
            return Ok(Outcome::failed(format!(
                "`{label}`: {len} bytes cannot hold the {len_before} it had"
            )));
        }
        let now = partition.extent.start..partition.extent.start + len_before;
        if subject.content_id(file, disk, &now, world)? == *id {
            return Ok(Outcome::Held);
        }
        let start = Disk::open(&world.start.join(file))?;
        let mut extract = Extract::default();
        let _ =
            image::compare_parts((&start.file, before.start), (&disk.file, now.start), len_before, |range| {
                extract.add(range);
                ControlFlow::Continue(())
            })
            .map_err(at(&disk.path))?;
        Ok(Outcome::failed(extract.text(|offset| format!("`{label}`+{offset:#x}"))))
    }

    fn tree(&self, disk: &Disk, partition: &Partition, expected: &Tree, world: &World) -> Outcome {
        let label = &self.label;
        let sector = disk.gpt.sector_bytes;
        match world.reader.read(self.kind, &disk.file, &partition.extent, sector, Some(expected)) {
            Ok(now) => {
                let found = expected.differences(&now, PATHS_SHOWN);
                Outcome::all(found.into_iter().map(|line| Outcome::failed(format!("`{label}` {line}"))))
            }
            Err(error) if error.blames_content() => Outcome::failed(format!("`{label}`: {}", chain(&error))),
            Err(error) => Outcome::NotMeasured { why: format!("`{label}`: {}", chain(&error)) },
        }
    }
}
