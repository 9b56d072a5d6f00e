//! Oracle `fsck`: the file system's own checker, which is told to change nothing, finds nothing.

use std::ffi::OsStr;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::content::Kind;
use crate::gpt::Partition;
use crate::image;

use super::run::{Ended, Limits, run_limited, source_argument};
use super::subject::{Disk, Subject};
use super::{OracleError, Outcome, Setup, World, at, starting_partition};

/// A checker was seen to loop for ever, printing.
const LIMITS: Limits = Limits { time: Duration::from_secs(60), output_bytes: 1 << 20 };

/// The partitions of one file that have a checker.
#[derive(Debug)]
pub(super) struct Fsck {
    pub file: PathBuf,
    pub targets: Vec<Target>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Target {
    pub label: String,
    pub kind: Kind,
}

impl Fsck {
    pub fn new(setup: &mut Setup<'_>, file: &str, labels: &[String]) -> Result<Self, OracleError> {
        let disk = setup.disk(file)?;
        let mut targets = Vec::new();
        for label in labels {
            let (_, kind) = starting_partition("fsck", &disk, file, label)?;
            let program = program(kind).ok_or_else(|| OracleError::NoChecker { label: label.clone() })?;
            if setup.lacking.iter().any(|lacking| lacking == program) {
                setup.leave_out(format!("fsck of {label}"), program);
            } else {
                targets.push(Target { label: label.clone(), kind });
            }
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
            let id = subject.content_id(&self.file, &disk, &partition.extent, world)?;
            let question = (number, index, partition.extent.start, id);
            let answer = match world.memory.recall(&question) {
                Some(answer) => answer,
                None => target.check(&disk, partition, world)?,
            };
            world.memory.keep(question, &answer);
            parts.push(answer);
        }
        Ok(Outcome::all(parts))
    }
}

impl Target {
    fn check(&self, disk: &Disk, partition: &Partition, world: &World) -> Result<Outcome, OracleError> {
        let Some(program) = program(self.kind) else { return Ok(Outcome::Held) };
        let label = &self.label;
        let ended = match self.kind {
            Kind::Fat => {
                // fsck.fat knows no offsets: it gets the partition as a file.
                let copy = tempfile::NamedTempFile::new_in(&world.work).map_err(at(&world.work))?;
                image::copy_part(&disk.file, partition.extent.clone(), copy.as_file())
                    .map_err(at(copy.path()))?;
                let name = copy.path().as_os_str();
                run_limited(program, &[OsStr::new("-n"), name], &[], LIMITS)
                    .map(|ended| ended.renaming(name, label))
            }
            _ => {
                let source = source_argument(&disk.file, partition.extent.start);
                let now = clock(&disk.file, &partition.extent).map_err(at(&disk.path))?;
                let environment = [("E2FSCK_TIME", now.to_string().into())];
                run_limited(program, &[OsStr::new("-fn"), &source], &environment, LIMITS)
                    .map(|ended| ended.renaming(&source, label))
            }
        };
        Ok(match ended.map_err(at(&disk.path))? {
            Ended::Exited { code: 0, .. } => Outcome::Held,
            ended @ Ended::Exited { .. } => Outcome::failed(format!("`{label}`: {program} {ended}")),
            ended @ (Ended::OutOfTime(_) | Ended::TooMuchOutput(_)) => {
                Outcome::Hung { what: format!("`{label}`: {program} {ended}") }
            }
            ended @ (Ended::Signalled(_) | Ended::NotFound) => {
                Outcome::NotMeasured { why: format!("`{label}`: {program} {ended}") }
            }
        })
    }
}

/// The checker for what a partition holds.
fn program(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Ext4 => Some("e2fsck"),
        Kind::Fat => Some("fsck.fat"),
        Kind::Bytes => None,
    }
}

/// A time at which nothing in an ext4 superblock lies in the future: the latest of its mount, write and check times
/// (offsets 0x2C, 0x30 and 0x40). With it e2fsck says the same whenever it runs.
fn clock(disk: &File, extent: &Range<u64>) -> std::io::Result<u32> {
    let mut superblock = [0; 68];
    disk.read_exact_at(&mut superblock, extent.start + 1024)?;
    let time = |at: usize| {
        u32::from_le_bytes([superblock[at], superblock[at + 1], superblock[at + 2], superblock[at + 3]])
    };
    Ok([0x2C, 0x30, 0x40].map(time).into_iter().max().unwrap_or(0).max(1))
}
