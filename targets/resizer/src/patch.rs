//! Writing to a disk only what differs from what already lies there.
//!
//! A finished copy that is done again writes nothing, and holes of a sparse image stay holes. Every write is at
//! most [`WRITE_MAX_BYTES`] long; the order is that of the calls, and flushing is left to the caller.

use crate::disk::Disk;
use crate::error::{Error, Result};

/// The longest single write.
pub const WRITE_MAX_BYTES: usize = 256 * 1024;

/// What is compared and written as one: the unit that the page cache and most disks work in.
const PAGE_BYTES: usize = 4096;

static ZEROS: [u8; WRITE_MAX_BYTES] = [0; WRITE_MAX_BYTES];

/// Writes to one disk, with a buffer for what lay there before.
pub struct Patch<'a> {
    disk: &'a dyn Disk,
    present: Vec<u8>,
}

impl<'a> Patch<'a> {
    /// A patch of `disk`.
    pub fn new(disk: &'a dyn Disk) -> Self {
        Patch { disk, present: Vec::new() }
    }

    /// Makes the bytes from `offset_bytes` on equal to `data`; whether anything had to be written.
    pub fn put(&mut self, offset_bytes: u64, data: &[u8]) -> Result<bool> {
        let mut written = false;
        let mut done = 0;
        for chunk in data.chunks(WRITE_MAX_BYTES) {
            written |= self.put_chunk(offset_bytes + done, chunk)?;
            done += chunk.len() as u64;
        }
        Ok(written)
    }

    /// Makes `len_bytes` from `offset_bytes` on zero; whether anything had to be written.
    pub fn zero(&mut self, offset_bytes: u64, len_bytes: u64) -> Result<bool> {
        let mut written = false;
        let mut at = offset_bytes;
        let end = offset_bytes + len_bytes;
        while at < end {
            let len = (end - at).min(WRITE_MAX_BYTES as u64) as usize;
            written |= self.put_chunk(at, &ZEROS[..len])?;
            at += len as u64;
        }
        Ok(written)
    }

    fn put_chunk(&mut self, offset_bytes: u64, data: &[u8]) -> Result<bool> {
        self.present.resize(data.len(), 0);
        read(self.disk, offset_bytes, &mut self.present)?;
        if self.present == data {
            return Ok(false);
        }
        // Pages are those of the disk, so that a partly differing write never straddles one more than it must.
        let first = (PAGE_BYTES - (offset_bytes % PAGE_BYTES as u64) as usize).min(data.len());
        let mut run_start = None;
        let mut at = 0;
        while at < data.len() {
            let end = if at == 0 { first } else { (at + PAGE_BYTES).min(data.len()) };
            if self.present[at..end] != data[at..end] {
                run_start.get_or_insert(at);
            } else if let Some(start) = run_start.take() {
                write(self.disk, offset_bytes + start as u64, &data[start..at])?;
            }
            at = end;
        }
        if let Some(start) = run_start {
            write(self.disk, offset_bytes + start as u64, &data[start..])?;
        }
        Ok(true)
    }
}

/// Reads from a disk, with its path in the error.
pub fn read(disk: &dyn Disk, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
    disk.read_at(offset_bytes, buf).map_err(Error::io("read", disk.path()))
}

/// Flushes a disk, with its path in the error.
pub fn flush(disk: &dyn Disk) -> Result<()> {
    disk.flush().map_err(Error::io("flush", disk.path()))
}

fn write(disk: &dyn Disk, offset_bytes: u64, data: &[u8]) -> Result<()> {
    disk.write_at(offset_bytes, data).map_err(Error::io("write", disk.path()))
}

/// Whether every byte is zero.
pub fn is_zero(data: &[u8]) -> bool {
    data.chunks(WRITE_MAX_BYTES).all(|chunk| *chunk == ZEROS[..chunk.len()])
}
