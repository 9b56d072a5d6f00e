//! Damage that an oracle is there to find: which bytes of the baseline to change, so that what guards them must object.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use scenarios::model::{FileSystem, GptNeed};

use crate::content::{BootSector, Kind};
use crate::gpt::{Gpt, Layout};
use crate::image::ReadAt;
use crate::mask;

use super::content::Expected;
use super::isolation::Isolation;
use super::spot::Spot;
use super::subject::Disk;
use super::untouched::Guard;
use super::{CheckKind, Halt, OracleError, World, at};

/// Files of a volume of which a byte is changed, at most: a proof of a tree need not touch all of it.
const FILES_DAMAGED: usize = 16;

/// A change of the baseline.
#[derive(Debug)]
pub(super) struct Damage {
    /// What it is, in words.
    pub what: String,
    /// The file that it changes.
    pub file: PathBuf,
    pub harm: Harm,
}

/// Bytes, and the offset that they are for.
pub(super) type Patch = (u64, Vec<u8>);

/// What becomes of the file.
#[derive(Debug)]
pub(super) enum Harm {
    /// These bytes, each at its offset.
    Bytes(Vec<Patch>),
    /// It is removed. Only of a state in memory, as all that follow.
    Gone,
    /// Another mode.
    Mode,
    /// A copy takes its place, under the same name.
    Replaced,
    /// It gets this name as well.
    Linked(PathBuf),
}

impl Damage {
    /// Runs of bytes inverted: offset and length of each.
    fn invert(disk: &Disk, file: &Path, runs: &[(u64, usize)], what: String) -> Result<Self, OracleError> {
        let inverted = |(offset, len): &(u64, usize)| {
            let mut bytes = vec![0; *len];
            disk.bytes.fill(*offset, &mut bytes)?;
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
            Ok((*offset, bytes))
        };
        let patches = runs.iter().map(inverted).collect::<io::Result<_>>().map_err(at(&disk.path))?;
        Ok(Self { what, file: file.to_owned(), harm: Harm::Bytes(patches) })
    }
}

/// The damages that a check must object to, by what it guards; none for a command, which brings its own.
pub(super) fn damages(kind: &CheckKind, world: &World) -> Result<Vec<Damage>, OracleError> {
    match kind {
        CheckKind::Baseline(_) => of_baseline(world),
        CheckKind::Table(table) => of_table(&table.file, table.need, world),
        CheckKind::Untouched(untouched) => {
            let guarded = untouched.guarded.iter().filter(|guarded| !guarded.extent.is_empty());
            let damaged = guarded.map(|guarded| {
                let disk = world.baseline.disk(&guarded.file)?;
                let what = match guarded.what {
                    Guard::Range => {
                        format!("a changed byte at {:#x} of {}", guarded.extent.start, guarded.name())
                    }
                    Guard::Partition(_) | Guard::File => format!("a changed byte in {}", guarded.name()),
                };
                Damage::invert(&disk, &guarded.file, &[(guarded.extent.start, 1)], what)
            });
            damaged.collect()
        }
        CheckKind::Fsck(fsck) => {
            let targets = fsck.targets.iter().map(|target| (&target.spot, target.fs));
            let damaged = targets.filter_map(|(spot, fs)| {
                let (disk, extent) = place(spot, world).transpose()?.ok()?;
                let what = format!("broken metadata in {}", spot.name());
                let run = metadata(&disk, &extent, fs).map_err(at(&disk.path));
                Some(run.and_then(|run| Damage::invert(&disk, &spot.file, &[run], what)))
            });
            damaged.collect()
        }
        CheckKind::Content(content) => {
            let mut found = Vec::new();
            for target in &content.targets {
                let spot = &target.spot;
                let Some((disk, extent)) = place(spot, world)? else { continue };
                let data = match &target.expected {
                    Expected::Bytes(before) if before.is_empty() => continue,
                    Expected::Bytes(_) => Some(extent.start),
                    Expected::Tree(tree) => world
                        .reader
                        .data_offset(target.kind, &disk.bytes, &extent, tree)
                        .map_err(|source| OracleError::Tree { name: spot.name(), source })?,
                };
                // A file system without any data has only its metadata to lose.
                let run = match (data, target.kind) {
                    (Some(offset), _) => (offset, 1),
                    (None, Kind::Fat) => {
                        metadata(&disk, &extent, FileSystem::Vfat).map_err(at(&disk.path))?
                    }
                    (None, _) => metadata(&disk, &extent, FileSystem::Ext4).map_err(at(&disk.path))?,
                };
                let what = format!("changed data in {}", spot.name());
                found.push(Damage::invert(&disk, &spot.file, &[run], what)?);
            }
            Ok(found)
        }
        CheckKind::Isolation(isolation) => of_source(isolation, world),
        CheckKind::Command(_) => Ok(Vec::new()),
    }
}

/// A source file that changes, that another takes the place of, and that the copy shares.
fn of_source(isolation: &Isolation, world: &World) -> Result<Vec<Damage>, OracleError> {
    let file = isolation.first_file();
    let name = file.display();
    let disk = world.baseline.disk(file)?;
    let mut found = Vec::new();
    if disk.len_bytes()? > 0 {
        found.push(Damage::invert(&disk, file, &[(0, 1)], format!("a changed byte in `{name}`"))?);
    }
    if world.baseline.memory.is_some() {
        let link = isolation.place_of_proof(&world.baseline);
        let (replaced, linked) = (
            format!("another file in the place of `{name}`"),
            format!("a hard link from `{}` to `{name}`", link.display()),
        );
        found.push(Damage { what: replaced, file: file.to_owned(), harm: Harm::Replaced });
        found.push(Damage { what: linked, file: file.to_owned(), harm: Harm::Linked(link) });
    }
    Ok(found)
}

/// A place in the baseline; `None` where the uninterrupted run leaves no such.
fn place(spot: &Spot, world: &World) -> Result<Option<(Disk, Range<u64>)>, OracleError> {
    let disk = world.baseline.disk(&spot.file)?;
    match spot.extent(&disk) {
        Ok(extent) => Ok(Some((disk, extent))),
        Err(Halt::Says(_)) => Ok(None),
        Err(Halt::Fails(error)) => Err(error),
    }
}

fn of_baseline(world: &World) -> Result<Vec<Damage>, OracleError> {
    let mut found = Vec::new();
    let files = world.baseline.view().files().map_err(at(&world.baseline.path))?;
    for file in files {
        let disk = match world.baseline.disk(&file) {
            // Names without bytes: links, pipes.
            Err(OracleError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
            disk => disk?,
        };
        if found.is_empty() && world.baseline.memory.is_some() {
            let name = file.display();
            let (gone, mode) = (format!("`{name}` removed"), format!("another mode of `{name}`"));
            found.push(Damage { what: gone, file: file.clone(), harm: Harm::Gone });
            found.push(Damage { what: mode, file: file.clone(), harm: Harm::Mode });
        }
        if let Some(offset) = telling_offset(disk.gpt()?, world.mask.ranges(&file)) {
            let what = format!("a changed byte at {offset:#x} of `{}`", file.display());
            found.push(Damage::invert(&disk, &file, &[(offset, 1)], what)?);
        }
        if found.len() >= FILES_DAMAGED {
            break;
        }
    }
    // Where every byte is masked, nothing but names is compared.
    if !found.iter().any(|damage| matches!(damage.harm, Harm::Bytes(_))) {
        found.clear();
    }
    Ok(found)
}

fn of_table(file: &Path, need: GptNeed, world: &World) -> Result<Vec<Damage>, OracleError> {
    let disk = world.baseline.disk(file)?;
    let gpt = disk.gpt()?;
    let sector = u64::from(gpt.sector_bytes);
    // The header's CRC field is at byte 16.
    let both = [&gpt.primary, &gpt.backup].map(|copy| (copy.lba * sector + 16, 4));
    let invert = |runs: &[(u64, usize)], what: &str| Damage::invert(&disk, file, runs, what.to_owned());
    let mut found = vec![invert(&both, "broken CRCs of both GPT headers")?];
    if need == GptNeed::BothValid {
        found.push(invert(&both[..1], "a broken CRC of the primary GPT header")?);
        found.push(invert(&both[1..], "a broken CRC of the backup GPT header")?);
    }
    Ok(found)
}

/// A byte that must count: the first compared one of a partition, else the first compared one at all.
fn telling_offset(gpt: &Gpt, excused: &[Range<u64>]) -> Option<u64> {
    let layout = Layout::of(gpt);
    let partitions = layout.as_ref().map_or(&[][..], Layout::partitions);
    let extents = partitions.iter().map(|p| p.extent.clone()).chain(std::iter::once(0..gpt.len_bytes));
    let inside = extents.filter(|extent| extent.end <= gpt.len_bytes);
    inside.flat_map(|extent| mask::outside(extent, excused)).next().map(|range| range.start)
}

/// Offset and length of something that a checker can't overlook.
fn metadata(disk: &Disk, extent: &Range<u64>, fs: FileSystem) -> io::Result<(u64, usize)> {
    let start = extent.start;
    let mut head = [0; 2048];
    disk.bytes.fill(start, &mut head)?;
    let u16_at = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let u32_at = |raw: &[u8], at: usize| {
        u64::from(u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]))
    };
    Ok(match fs {
        // The root directory's inode, the second of the first group's table. ext4 disk layout: s_log_block_size at
        // 0x18 of the superblock at 1024, s_inode_size at 0x58, bg_inode_table_lo at 8.
        FileSystem::Ext4 => {
            let block_bytes = 1024 << u32_at(&head, 1024 + 0x18).min(6);
            let mut group = [0; 32];
            let table = if block_bytes == 1024 { 2048 } else { block_bytes };
            disk.bytes.fill(start + table, &mut group)?;
            (start + u32_at(&group, 8) * block_bytes + u16_at(1024 + 0x58), 32)
        }
        // The first table's first entries; what is no FAT any more is damaged at its boot sector.
        FileSystem::Vfat => {
            (start + BootSector::parse(&head[..512]).map_or(0, |boot| boot.table_start()), 32)
        }
        // The magic number of the first allocation group's free space, in the second sector (XFS disk format;
        // sb_sectsize, big-endian, at 102).
        FileSystem::Xfs => (start + u64::from(u16::from_be_bytes([head[102], head[103]])), 4),
        // The superblock's checksum, at 64 KiB.
        FileSystem::Btrfs => (start + (64 << 10), 32),
        // The magic number of the master file table's first record. NTFS boot sector: bytes per sector at 11, sectors
        // per cluster at 13, the table's cluster at 48.
        FileSystem::Ntfs => (start + u32_at(&head, 48) * u16_at(11) * u64::from(head[13]), 4),
    })
}
