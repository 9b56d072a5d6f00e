//! The file systems' own checkers: which program it is, how it is told to change nothing, and what it looks at. Those
//! that know no offsets get a part of a file as a file of its own.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use scenarios::model::FileSystem;

use crate::image::{self, ReadAt};

use super::run::{Ended, Limits, run_limited, source_argument};
use super::subject::Disk;

/// A checker was seen to loop for ever, printing.
const LIMITS: Limits = Limits { time: Duration::from_secs(60), output_bytes: 1 << 20 };

/// The checker's name.
pub(super) fn program(fs: FileSystem) -> &'static str {
    match fs {
        FileSystem::Ext4 => "e2fsck",
        FileSystem::Vfat => "fsck.fat",
        FileSystem::Xfs => "xfs_repair",
        FileSystem::Btrfs => "btrfs",
        FileSystem::Ntfs => "ntfsresize",
    }
}

/// What it is given before the file. `ntfsresize --info` refuses what `ntfsfix -n` lets pass.
fn arguments(fs: FileSystem) -> &'static [&'static str] {
    match fs {
        FileSystem::Ext4 => &["-fn"],
        FileSystem::Vfat => &["-n"],
        FileSystem::Xfs => &["-n", "-f"],
        FileSystem::Btrfs => &["check", "--readonly", "--force"],
        FileSystem::Ntfs => &["--info", "--force", "--no-progress-bar"],
    }
}

/// Checks the file system in an extent of a disk, which on the host is the file `path`; it is called `name` in what the
/// checker prints. `work` takes a copy where one is needed.
pub(super) fn check(
    fs: FileSystem,
    (disk, path): (&Disk, &Path),
    extent: &Range<u64>,
    name: &str,
    work: &Path,
) -> io::Result<Ended> {
    let run = |file: &OsStr, environment: &[(&str, OsString)]| {
        let fixed = arguments(fs).iter().map(OsStr::new);
        let all: Vec<&OsStr> = fixed.chain([file]).collect();
        run_limited(program(fs), &all, environment, LIMITS).map(|ended| ended.renaming(file, name))
    };
    if fs == FileSystem::Ext4 {
        let file = File::open(path)?;
        return run(
            &source_argument(&file, extent.start),
            &[("E2FSCK_TIME", clock(disk, extent)?.to_string().into())],
        );
    }
    if *extent == (0..disk.bytes.len_bytes()?) {
        return run(path.as_os_str(), &[]);
    }
    let copy = tempfile::NamedTempFile::new_in(work)?;
    image::copy_part(&disk.bytes, extent.clone(), copy.as_file())?;
    run(copy.path().as_os_str(), &[])
}

/// A time at which nothing in an ext4 superblock lies in the future: the latest of its mount, write and check times
/// (offsets 0x2C, 0x30 and 0x40). With it e2fsck says the same whenever it runs.
fn clock(disk: &Disk, extent: &Range<u64>) -> io::Result<u32> {
    let mut superblock = [0; 68];
    match disk.bytes.fill(extent.start + 1024, &mut superblock) {
        // Of what is cut short e2fsck says so itself.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        read => read?,
    }
    let time = |at: usize| {
        u32::from_le_bytes([superblock[at], superblock[at + 1], superblock[at + 2], superblock[at + 3]])
    };
    Ok([0x2C, 0x30, 0x40].map(time).into_iter().max().unwrap_or(0).max(1))
}
