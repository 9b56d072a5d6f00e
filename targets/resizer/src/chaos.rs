//! With cargo feature `chaos`: every operation on the disk passes through killpoint's in-process hook, which
//! records, delays, tears or ends it as its environment says.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use fault_backend::hook::{self, HookError};
use fault_backend::{BlockDevice, FaultyDevice};

use crate::disk::Disk;
use crate::file_disk::FileDisk;

/// The resizer's disk as the hook wants to see it.
struct Inner<'a> {
    disk: &'a FileDisk,
    sector_bytes: u32,
}

impl BlockDevice for Inner<'_> {
    fn len_bytes(&self) -> u64 {
        self.disk.len_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset_bytes, buf)
    }

    fn write_at(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write_at(offset_bytes, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
    }
}

/// A disk behind the hook.
pub struct HookedDisk<'a> {
    inner: RefCell<FaultyDevice<Inner<'a>>>,
    path: PathBuf,
    len_bytes: u64,
}

impl<'a> HookedDisk<'a> {
    /// Puts the hook before `disk`.
    pub fn new(disk: &'a FileDisk, sector_bytes: u32) -> Result<HookedDisk<'a>, HookError> {
        let inner = RefCell::new(hook::wrap(Inner { disk, sector_bytes })?);
        Ok(HookedDisk { inner, path: disk.path().to_path_buf(), len_bytes: disk.len_bytes() })
    }
}

impl Disk for HookedDisk<'_> {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        self.inner.borrow().read_at(offset_bytes, buf)
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        self.inner.borrow_mut().write_at(offset_bytes, data)
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.borrow_mut().flush()
    }
}
