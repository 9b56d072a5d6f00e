//! The disk that is resized: a small trait over an image file or a block device, and byte extents on it.
//!
//! Everything that the resizer changes on a disk goes through [`Disk::write_at`] and [`Disk::flush`], in one
//! thread and in a fixed order, so that a wrapper sees every write. Child programs only ever get staged copies
//! or read-only access.

use std::io;
use std::path::Path;

/// A byte-addressed disk.
pub trait Disk {
    /// Length in bytes.
    fn len_bytes(&self) -> u64;

    /// Where the disk lies; child programs that only read (`e2fsck -n`) open it there.
    fn path(&self) -> &Path;

    /// Fills `buf` from `offset_bytes`. A read beyond the end is `UnexpectedEof`.
    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset_bytes`. A write beyond the end is an error: a disk never grows.
    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()>;

    /// Makes every completed write durable.
    fn flush(&self) -> io::Result<()>;
}

/// A contiguous range of bytes on a disk, such as a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// First byte.
    pub offset_bytes: u64,
    /// Length in bytes.
    pub len_bytes: u64,
}

impl Extent {
    /// One past the last byte.
    pub fn end_bytes(&self) -> u64 {
        self.offset_bytes + self.len_bytes
    }
}
