//! What a disk has to offer to be wrapped, and the plainest one: a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A byte-addressed disk of fixed length.
///
/// Implementations return `UnexpectedEof` for a read beyond the end and `StorageFull` or `InvalidInput` for a
/// write beyond it; a short transfer is never success.
pub trait BlockDevice {
    /// Length in bytes.
    fn len_bytes(&self) -> u64;

    /// Logical sector size in bytes.
    fn sector_bytes(&self) -> u32;

    /// Fills `buf` from `offset_bytes`.
    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset_bytes`.
    fn write_at(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()>;

    /// Makes every write that completed before this call durable.
    fn flush(&mut self) -> io::Result<()>;
}

/// A file, or a block device node, as a disk.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    len_bytes: u64,
    sector_bytes: u32,
}

impl FileDevice {
    /// Takes a file that is open for what will be done with it. The length is passed in, since a block device's
    /// metadata does not hold it.
    pub fn new(file: File, len_bytes: u64, sector_bytes: u32) -> Self {
        Self { file, len_bytes, sector_bytes }
    }
}

impl BlockDevice for FileDevice {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset_bytes)
    }

    fn write_at(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        // A write beyond the end would make a file grow; a disk never does.
        if offset_bytes.checked_add(data.len() as u64).is_none_or(|end| end > self.len_bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file.write_all_at(data, offset_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(len_bytes: u64) -> FileDevice {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len_bytes).unwrap();
        FileDevice::new(file, len_bytes, 512)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let mut device = device(8192);
        device.write_at(4000, b"across a page").unwrap();
        device.flush().unwrap();
        let mut buf = [0; 13];
        device.read_at(4000, &mut buf).unwrap();
        assert_eq!(&buf, b"across a page");
    }

    #[test]
    fn a_write_beyond_the_end_is_refused_and_changes_nothing() {
        let mut device = device(4096);
        assert!(device.write_at(4090, &[1; 7]).is_err());
        assert!(device.write_at(u64::MAX, &[1]).is_err());
        assert_eq!(device.file.metadata().unwrap().len(), 4096);
        let mut buf = [9; 6];
        device.read_at(4090, &mut buf).unwrap();
        assert_eq!(buf, [0; 6]);
    }

    #[test]
    fn a_read_beyond_the_end_is_an_error() {
        assert_eq!(device(10).read_at(8, &mut [0; 3]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
