//! Writing to a disk only what differs from what already lies there.
//!
//! A finished copy that is done again writes nothing, and holes of a sparse image stay holes, but for short ones between
//! what is written: fewer and longer writes are faster, and leave fewer states to a crash. Every write is at most
//! [`WRITE_MAX_BYTES`] long; the order is that of the calls, and flushing is left to the caller.

use std::ops::Range;

use crate::disk::Disk;
use crate::error::{Error, Result};

/// The longest single write.
pub const WRITE_MAX_BYTES: usize = 512 * 1024;

/// The longest stretch between two that differ that is written with them although it does not.
const JOIN_MAX_BYTES: usize = 64 * 1024;

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
        let mut run: Option<Range<usize>> = None;
        let mut at = 0;
        while at < data.len() {
            let end = if at == 0 { first } else { (at + PAGE_BYTES).min(data.len()) };
            if self.present[at..end] != data[at..end] {
                run = match run {
                    Some(before) if at - before.end <= JOIN_MAX_BYTES => Some(before.start..end),
                    Some(before) => {
                        write(self.disk, offset_bytes + before.start as u64, &data[before])?;
                        Some(at..end)
                    }
                    None => Some(at..end),
                };
            }
            at = end;
        }
        if let Some(last) = run {
            write(self.disk, offset_bytes + last.start as u64, &data[last])?;
        }
        Ok(true)
    }
}

/// A [`Patch`] from front to back, in windows of [`WRITE_MAX_BYTES`] however short the parts are that it is given.
pub struct Sequence<'a> {
    patch: Patch<'a>,
    /// Where the window begins.
    at_bytes: u64,
    window: Vec<u8>,
}

impl<'a> Sequence<'a> {
    /// One that begins at `at_bytes` of `disk`.
    pub fn new(disk: &'a dyn Disk, at_bytes: u64) -> Self {
        Sequence { patch: Patch::new(disk), at_bytes, window: Vec::with_capacity(WRITE_MAX_BYTES) }
    }

    /// Puts `data` next.
    pub fn put(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let (part, rest) = data.split_at(data.len().min(self.room()));
            self.window.extend_from_slice(part);
            data = rest;
            self.pass_on(WRITE_MAX_BYTES)?;
        }
        Ok(())
    }

    /// Puts zeros up to `end_bytes` of the disk.
    pub fn zero_to(&mut self, end_bytes: u64) -> Result<()> {
        let mut left = end_bytes - self.at_bytes - self.window.len() as u64;
        while left > 0 {
            let part = left.min(self.room() as u64);
            self.window.resize(self.window.len() + part as usize, 0);
            left -= part;
            self.pass_on(WRITE_MAX_BYTES)?;
        }
        Ok(())
    }

    /// Puts `len_bytes` next that lie at `from_bytes` of the same disk.
    pub fn copy(&mut self, mut from_bytes: u64, mut len_bytes: u64) -> Result<()> {
        while len_bytes > 0 {
            let part = len_bytes.min(self.room() as u64);
            let before = self.window.len();
            self.window.resize(before + part as usize, 0);
            read(self.patch.disk, from_bytes, &mut self.window[before..])?;
            from_bytes += part;
            len_bytes -= part;
            self.pass_on(WRITE_MAX_BYTES)?;
        }
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Result<()> {
        self.pass_on(1)
    }

    fn room(&self) -> usize {
        WRITE_MAX_BYTES - self.window.len()
    }

    /// Writes the window where it holds `least` bytes.
    fn pass_on(&mut self, least: usize) -> Result<()> {
        if self.window.len() >= least {
            self.patch.put(self.at_bytes, &self.window)?;
            self.at_bytes += self.window.len() as u64;
            self.window.clear();
        }
        Ok(())
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
