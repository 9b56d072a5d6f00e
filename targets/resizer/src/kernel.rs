//! The kernel's own idea of a block device's partitions: who uses them, and telling it what changed.
//!
//! It is read from sysfs. What differs from the table is deleted, resized and added by BLKPG; where that fails,
//! BLKRRPART has the table read again; where that fails too, only a reboot helps. A device of which the kernel
//! keeps no partitions, such as most loop devices, needs no telling.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::file_disk::FileDisk;
use crate::gpt::Table;
use crate::ioctl::{self, PartitionOp};
use crate::usage::UsageError;

/// sysfs counts in these, whatever a device's sectors are.
const SYSFS_UNIT: u64 = 512;

/// A partition as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    number: u32,
    start_bytes: u64,
    len_bytes: u64,
    /// As in sysfs and mountinfo: `major:minor`.
    device: String,
    directory: PathBuf,
}

/// One call of BLKPG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    op: PartitionOp,
    number: u32,
    start_bytes: u64,
    len_bytes: u64,
}

fn known_partitions(device: u64) -> Result<Vec<Known>> {
    let directory = PathBuf::from(format!("/sys/dev/block/{}:{}", major(device), minor(device)));
    let children = fs::read_dir(&directory).map_err(Error::io("list", &directory))?;
    let mut known = Vec::new();
    for child in children {
        let directory = child.map_err(Error::io("list", &directory))?.path();
        if directory.join("partition").exists() {
            known.push(Known {
                number: number_in(&directory.join("partition"))? as u32,
                start_bytes: number_in(&directory.join("start"))? * SYSFS_UNIT,
                len_bytes: number_in(&directory.join("size"))? * SYSFS_UNIT,
                device: text_of(&directory.join("dev"))?.trim().to_owned(),
                directory,
            });
        }
    }
    known.sort_by_key(|partition| partition.number);
    Ok(known)
}

fn text_of(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io("read", path))
}

fn number_in(path: &Path) -> Result<u64> {
    let parsed = text_of(path)?.trim().parse();
    parsed.map_err(|error| Error::Io {
        what: "read",
        path: path.to_path_buf(),
        source: io::Error::other(error),
    })
}

/// Refuses where the kernel uses one of the partitions `indices` of `disk`: mounted, swap, or part of a mapping.
pub fn refuse_busy(disk: &FileDisk, indices: &[u32]) -> Result<()> {
    let Some(device) = disk.device() else { return Ok(()) };
    let mounts = text_of(Path::new("/proc/self/mountinfo"))?;
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    for known in known_partitions(device)? {
        if indices.contains(&known.number)
            && let Some(by) = user_of(&known, &mounts, &swaps)
        {
            return Err(UsageError::Busy { index: known.number, by }.into());
        }
    }
    Ok(())
}

fn user_of(known: &Known, mounts: &str, swaps: &str) -> Option<String> {
    if let Some(place) = mount_point(mounts, &known.device) {
        return Some(format!("mounted on {place}"));
    }
    if swaps.lines().skip(1).any(|line| is_swap_on(line, &known.device)) {
        return Some("swap".to_owned());
    }
    let holder = fs::read_dir(known.directory.join("holders")).ok()?.flatten().next()?;
    Some(format!("held by {}", holder.file_name().to_string_lossy()))
}

/// Where mountinfo says that `device` is mounted: its third field is the device, its fifth the place.
fn mount_point<'a>(mounts: &'a str, device: &str) -> Option<&'a str> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        (fields.next()? == device).then(|| fields.nth(1)).flatten()
    })
}

fn is_swap_on(line: &str, device: &str) -> bool {
    let path = line.split_whitespace().next().unwrap_or_default();
    fs::metadata(path).is_ok_and(|meta| {
        meta.file_type().is_block_device()
            && format!("{}:{}", major(meta.rdev()), minor(meta.rdev())) == device
    })
}

/// What to tell the kernel so that `known` becomes what `table` says: deletions first, so that nothing overlaps.
fn changes(known: &[Known], table: &Table) -> Vec<Change> {
    let wanted: Vec<(u32, u64, u64)> = table
        .entries()
        .map(|(index, entry)| (index, table.extent(entry.span())))
        .map(|(index, extent)| (index, extent.offset_bytes, extent.len_bytes))
        .collect();
    let (mut deleted, mut resized, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for old in known {
        let change =
            |op, len_bytes| Change { op, number: old.number, start_bytes: old.start_bytes, len_bytes };
        match wanted.iter().find(|(number, start, _)| *number == old.number && *start == old.start_bytes) {
            None => deleted.push(change(PartitionOp::Delete, old.len_bytes)),
            Some((_, _, len)) if *len != old.len_bytes => resized.push(change(PartitionOp::Resize, *len)),
            Some(_) => {}
        }
    }
    for (number, start_bytes, len_bytes) in wanted {
        if !known.iter().any(|old| old.number == number && old.start_bytes == start_bytes) {
            added.push(Change { op: PartitionOp::Add, number, start_bytes, len_bytes });
        }
    }
    // What shrinks makes room for what grows.
    resized.sort_by_key(|change| change.len_bytes);
    [deleted, resized, added].concat()
}

/// Makes the kernel's idea of `disk` the one in `table`, where it has one.
pub fn tell(disk: &FileDisk, table: &Table) -> Result<()> {
    let Some(device) = disk.device() else { return Ok(()) };
    let known = known_partitions(device)?;
    if known.is_empty() {
        return Ok(());
    }
    let tell_each = || -> io::Result<()> {
        for Change { op, number, start_bytes, len_bytes } in changes(&known, table) {
            ioctl::change_partition(disk.file(), op, number, start_bytes, len_bytes)?;
        }
        Ok(())
    };
    if tell_each().is_err() {
        ioctl::reread_table(disk.file())
            .map_err(|source| Error::Reboot { path: disk.path().to_path_buf(), source })?;
    }
    Ok(())
}
