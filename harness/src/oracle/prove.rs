//! Shows that oracles can object: each is asked about the baseline, which it must accept, and then about private
//! copies of it that carry the damage it exists to find. An oracle that never objects would pass everything.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use reports::Exit;
use scenarios::model::GptNeed;

use crate::content::{BootSector, Kind};
use crate::gpt::{Gpt, Layout, Partition};
use crate::{image, mask};

use super::content::Expected;
use super::subject::{Disk, Subject};
use super::{Check, CheckKind, OracleError, Outcome, World, at};

/// Why an oracle can't be relied on.
#[derive(Debug, thiserror::Error)]
pub enum Unproved {
    /// It objects to the uninterrupted run's own result.
    #[error("oracle `{oracle}` objects to the uninterrupted run's result: {explain}")]
    BaselineFails {
        /// Oracle.
        oracle: String,
        /// What it says.
        explain: String,
    },
    /// It accepts damage.
    #[error("oracle `{oracle}` does not object to {damage}")]
    Silent {
        /// Oracle.
        oracle: String,
        /// What was done to the copy.
        damage: String,
    },
    /// It could not look.
    #[error("oracle `{oracle}` could not be proved: {why}")]
    NotMeasured {
        /// Oracle.
        oracle: String,
        /// Why.
        why: String,
    },
    /// The damaged copy could not be made.
    #[error("oracle `{oracle}` could not be proved")]
    Failed {
        /// Oracle.
        oracle: String,
        /// Why.
        source: OracleError,
    },
}

impl Unproved {
    /// The exit code that it leads to: a bad baseline is not an oracle that can't look.
    pub fn exit(&self) -> Exit {
        match self {
            Self::BaselineFails { .. } => Exit::Baseline,
            Self::Silent { .. } | Self::NotMeasured { .. } | Self::Failed { .. } => Exit::NotMeasured,
        }
    }
}

/// Bytes to write over a file of the copy, and what they stand for.
struct Damage {
    what: String,
    file: PathBuf,
    patches: Vec<(u64, Vec<u8>)>,
}

/// Proves the checks one after the other on one copy, which is put right after each damage.
pub(super) fn prove(checks: &[Check], world: &mut World) -> Result<Vec<String>, Unproved> {
    let copy = world.work.join("proof");
    let mut proved: Vec<String> = Vec::new();
    let made = image::copy_sparse(&world.baseline, &copy).map_err(at(&copy));
    let result = made.map_err(failed("baseline")).and_then(|()| {
        for (number, check) in checks.iter().enumerate() {
            if prove_one(number, check, &copy, world)? && !proved.iter().any(|name| name == check.name()) {
                proved.push(check.name().to_owned());
            }
        }
        Ok(())
    });
    let cleared = match fs::remove_dir_all(&copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&copy)(error)),
        _ => Ok(()),
    };
    result?;
    cleared.map_err(failed("baseline"))?;
    Ok(proved)
}

/// Whether there was anything to prove.
fn prove_one(number: usize, check: &Check, copy: &Path, world: &mut World) -> Result<bool, Unproved> {
    let oracle = check.name().to_owned();
    match check.ask(number, &Subject::new(copy), world) {
        Outcome::Held => {}
        Outcome::Failed { explain } => return Err(Unproved::BaselineFails { oracle, explain }),
        Outcome::NotMeasured { why } | Outcome::Hung { what: why } => {
            return Err(Unproved::NotMeasured { oracle, why });
        }
    }
    let damages = damages(check, world).map_err(failed(&oracle))?;
    if damages.is_empty() && matches!(check.kind, CheckKind::Baseline) {
        return Err(Unproved::Silent { oracle, damage: "any change: its mask covers every byte".to_owned() });
    }
    for damage in &damages {
        let path = copy.join(&damage.file);
        let undo = damage.inflict(&path).map_err(at(&path)).map_err(failed(&oracle))?;
        let outcome = check.ask(number, &Subject::new(copy), world);
        write_all(&path, &undo).map_err(at(&path)).map_err(failed(&oracle))?;
        match outcome {
            Outcome::Failed { .. } => {}
            Outcome::Held => return Err(Unproved::Silent { oracle, damage: damage.what.clone() }),
            Outcome::NotMeasured { why } | Outcome::Hung { what: why } => {
                return Err(Unproved::NotMeasured { oracle, why: format!("{}: {why}", damage.what) });
            }
        }
    }
    Ok(!damages.is_empty())
}

impl Damage {
    /// A byte inverted.
    fn flip(disk: &File, file: &Path, offset: u64, what: String) -> io::Result<Self> {
        Self::invert(disk, file, &[(offset, 1)], what)
    }

    /// Runs of bytes inverted: offset and length of each.
    fn invert(disk: &File, file: &Path, runs: &[(u64, usize)], what: String) -> io::Result<Self> {
        let patches = runs
            .iter()
            .map(|(offset, len)| {
                let mut bytes = vec![0; *len];
                disk.read_exact_at(&mut bytes, *offset)?;
                bytes.iter_mut().for_each(|byte| *byte = !*byte);
                Ok((*offset, bytes))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { what, file: file.to_owned(), patches })
    }

    /// Writes the damage; answers what was there.
    fn inflict(&self, path: &Path) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let file = File::open(path)?;
        let undo = self.patches.iter().map(|(offset, bytes)| {
            let mut before = vec![0; bytes.len()];
            file.read_exact_at(&mut before, *offset)?;
            Ok((*offset, before))
        });
        let undo = undo.collect::<io::Result<Vec<_>>>()?;
        write_all(path, &self.patches)?;
        Ok(undo)
    }
}

fn write_all(path: &Path, patches: &[(u64, Vec<u8>)]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    patches.iter().try_for_each(|(offset, bytes)| file.write_all_at(bytes, *offset))
}

/// The damages that a check must object to, by what it guards.
fn damages(check: &Check, world: &World) -> Result<Vec<Damage>, OracleError> {
    let open = |file: &Path| Disk::open(&world.baseline.join(file));
    let mut found = Vec::new();
    match &check.kind {
        CheckKind::Baseline => {
            for file in image::files(&world.baseline).map_err(at(&world.baseline))? {
                let disk = open(&file)?;
                if let Some(offset) = telling_offset(&disk.gpt, world.mask.ranges(&file)) {
                    let what = format!("a changed byte at {offset:#x} of `{}`", file.display());
                    found.push(Damage::flip(&disk.file, &file, offset, what).map_err(at(&disk.path))?);
                }
            }
        }
        CheckKind::Table(table) => {
            let disk = open(&table.file)?;
            let sector = u64::from(disk.gpt.sector_bytes);
            // The header's CRC field is at byte 16.
            let crc = |lba: u64| (lba * sector + 16, 4);
            let both = [crc(disk.gpt.primary.lba), crc(disk.gpt.backup.lba)];
            let invert = |runs: &[(u64, usize)], what: &str| {
                Damage::invert(&disk.file, &table.file, runs, what.to_owned()).map_err(at(&disk.path))
            };
            found.push(invert(&both, "broken CRCs of both GPT headers")?);
            if table.need == GptNeed::BothValid {
                found.push(invert(&both[..1], "a broken CRC of the primary GPT header")?);
                found.push(invert(&both[1..], "a broken CRC of the backup GPT header")?);
            }
        }
        CheckKind::Untouched(untouched) => {
            let disk = open(&untouched.file)?;
            for guarded in &untouched.guarded {
                let what = format!("a changed byte in `{}`", guarded.partition.label);
                let offset = guarded.partition.extent.start;
                found.push(Damage::flip(&disk.file, &untouched.file, offset, what).map_err(at(&disk.path))?);
            }
        }
        CheckKind::Fsck(fsck) => {
            let disk = open(&fsck.file)?;
            for target in &fsck.targets {
                if let Ok(partition) = disk.partition(&target.label) {
                    let what = format!("broken metadata in `{}`", target.label);
                    let run = metadata(&disk, partition, target.kind).map_err(at(&disk.path))?;
                    found.push(Damage::invert(&disk.file, &fsck.file, &[run], what).map_err(at(&disk.path))?);
                }
            }
        }
        CheckKind::Content(content) => {
            let disk = open(&content.file)?;
            for target in &content.targets {
                let Ok(partition) = disk.partition(&target.label) else { continue };
                let offset = match &target.expected {
                    Expected::Bytes(..) => Some(partition.extent.start),
                    Expected::Tree(tree) => world
                        .reader
                        .data_offset(target.kind, &disk.file, &partition.extent, tree)
                        .map_err(|source| OracleError::Tree { label: target.label.clone(), source })?,
                };
                // A file system without any data has only its metadata to lose.
                let damaged = match offset {
                    Some(offset) => (offset, 1),
                    None => metadata(&disk, partition, target.kind).map_err(at(&disk.path))?,
                };
                let what = format!("changed data in `{}`", target.label);
                found.push(
                    Damage::invert(&disk.file, &content.file, &[damaged], what).map_err(at(&disk.path))?,
                );
            }
        }
    }
    Ok(found)
}

/// A byte that must count: the first compared one of a partition, else the first compared one at all.
fn telling_offset(gpt: &Gpt, excused: &[std::ops::Range<u64>]) -> Option<u64> {
    let layout = Layout::of(gpt);
    let partitions = layout.as_ref().map_or(&[][..], Layout::partitions);
    let extents = partitions.iter().map(|p| p.extent.clone()).chain(std::iter::once(0..gpt.len_bytes));
    extents.flat_map(|extent| mask::outside(extent, excused)).next().map(|range| range.start)
}

/// Offset and length of something that a checker can't overlook: the root directory's inode of an ext4, the first
/// table's first entries of a FAT.
fn metadata(disk: &Disk, partition: &Partition, kind: Kind) -> io::Result<(u64, usize)> {
    let start = partition.extent.start;
    match kind {
        Kind::Ext4 => {
            let mut superblock = [0; 1024];
            disk.file.read_exact_at(&mut superblock, start + 1024)?;
            let u32_at = |raw: &[u8], at: usize| {
                u64::from(u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]))
            };
            // ext4 disk layout: s_log_block_size at 0x18, s_inode_size at 0x58, bg_inode_table_lo at 8.
            let block_bytes = 1024 << u32_at(&superblock, 0x18).min(6);
            let inode_bytes = u64::from(u16::from_le_bytes([superblock[0x58], superblock[0x59]]));
            let mut group = [0; 32];
            let table = if block_bytes == 1024 { 2048 } else { block_bytes };
            disk.file.read_exact_at(&mut group, start + table)?;
            // The root directory is inode 2, the second of the first group's table.
            Ok((start + u32_at(&group, 8) * block_bytes + inode_bytes, 32))
        }
        Kind::Fat => {
            let mut boot = [0; 512];
            disk.file.read_exact_at(&mut boot, start)?;
            // What is no FAT any more is damaged at its boot sector.
            Ok((start + BootSector::parse(&boot).map_or(0, |boot| boot.table_start()), 32))
        }
        Kind::Bytes => Ok((start, 1)),
    }
}

fn failed(oracle: &str) -> impl FnOnce(OracleError) -> Unproved {
    let oracle = oracle.to_owned();
    move |source| Unproved::Failed { oracle, source }
}
