//! A disk image file or a block device as a [`Disk`].
//!
//! It is opened without `O_EXCL`, since the file-system tools open child partitions exclusively, but an advisory
//! lock keeps a second resizer away for as long as the disk is open.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ::gpt::disk::LogicalBlockSize;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::usage::UsageError;
use crate::{gpt, holes, ioctl};

/// How often the lock is asked for, and the pause between. A resizer that is killed while it starts a program leaves
/// the lock to that child until the program itself runs, and a resume must not fail for that.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What a disk is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    Write,
}

/// An open image file or block device.
#[derive(Debug)]
pub struct FileDisk {
    file: Flock<File>,
    path: PathBuf,
    len_bytes: u64,
    device: Option<u64>,
}

impl FileDisk {
    /// Opens and locks the disk at `path`.
    pub fn open(path: &Path, access: Access) -> Result<FileDisk> {
        let path = path.to_path_buf();
        let cannot_open = |source| UsageError::Open { path: path.clone(), source };
        let meta = path.metadata().map_err(cannot_open)?;
        let is_device = meta.file_type().is_block_device();
        if !is_device && !meta.is_file() {
            return Err(UsageError::NotADisk { path }.into());
        }
        if access == Access::Write && !is_device && is_write_protected(&meta) {
            return Err(UsageError::ReadOnly { path }.into());
        }
        let file =
            OpenOptions::new().read(true).write(access == Access::Write).open(&path).map_err(|source| {
                match Errno::try_from(source) {
                    Ok(Errno::EROFS | Errno::EACCES | Errno::EPERM)
                        if access == Access::Write && File::open(&path).is_ok() =>
                    {
                        UsageError::ReadOnly { path: path.clone() }
                    }
                    Ok(errno) => cannot_open(errno.into()),
                    Err(source) => cannot_open(source),
                }
            })?;
        let mut file = lock(file, &path)?;
        // A device's metadata does not hold its length, its end does.
        let len_bytes = file.seek(SeekFrom::End(0)).map_err(Error::io("find the end of", &path))?;
        let disk = FileDisk { file, path, len_bytes, device: is_device.then(|| meta.rdev()) };
        if is_device {
            if access == Access::Write
                && ioctl::is_read_only(&disk.file).map_err(Error::io("ask", &disk.path))?
            {
                return Err(UsageError::ReadOnly { path: disk.path }.into());
            }
            // What was written through a partition's own node may be newer than what is cached of the disk. Only
            // root may ask for this; for others the pages go when the last user closes the device.
            match ioctl::drop_cache(&disk.file) {
                Ok(()) | Err(Errno::EACCES | Errno::EPERM) => {}
                Err(errno) => return Err(Error::Io { what: "flush", path: disk.path, source: errno.into() }),
            }
        }
        Ok(disk)
    }

    /// The logical sector size: what a device says, or what an image's table shows.
    pub fn sector_size(&self) -> Result<LogicalBlockSize> {
        if self.device.is_none() {
            return gpt::detect_sector_size(self);
        }
        let bytes = ioctl::sector_len(&self.file).map_err(Error::io("ask", &self.path))?;
        LogicalBlockSize::try_from(u64::from(bytes))
            .map_err(|_| UsageError::SectorSize { path: self.path.clone(), bytes }.into())
    }

    /// The device number, where this is a block device.
    pub fn device(&self) -> Option<u64> {
        self.device
    }

    /// The open file, for what only the kernel can do with it.
    pub fn file(&self) -> &File {
        &self.file
    }
}

fn lock(mut file: File, path: &Path) -> Result<Flock<File>> {
    for _ in 0..LOCK_ATTEMPTS {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => {
                return Err(Error::Io { what: "lock", path: path.to_path_buf(), source: errno.into() });
            }
        };
        thread::sleep(LOCK_PAUSE);
    }
    Err(UsageError::InUse { path: path.to_path_buf() }.into())
}

/// Whether no one may write a file. Root could all the same, but someone has meant this.
fn is_write_protected(meta: &Metadata) -> bool {
    meta.permissions().mode() & 0o222 == 0
}

impl Disk for FileDisk {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset_bytes.saturating_add(buf.len() as u64);
        match self.device {
            None if end <= self.len_bytes => holes::read_at(&self.file, offset_bytes, buf),
            _ => self.file.read_exact_at(buf, offset_bytes),
        }
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        // A write beyond the end would make a file grow; a disk never does.
        if offset_bytes.checked_add(data.len() as u64).is_none_or(|end| end > self.len_bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file.write_all_at(data, offset_bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
