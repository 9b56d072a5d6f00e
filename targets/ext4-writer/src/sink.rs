//! Writes that mostly go forward, gathered into large ones. What is never written stays a hole.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::copy_file_range;

/// Gathered at most.
const BUFFER_BYTES: usize = 1 << 20;

/// Which side of a copy failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// A file that is written through a buffer.
pub(crate) struct Sink<'a> {
    file: &'a File,
    /// Where the buffer belongs.
    start: u64,
    buffer: Vec<u8>,
    filled: usize,
}

impl<'a> Sink<'a> {
    pub fn new(file: &'a File) -> Self {
        Self { file, start: 0, buffer: vec![0; BUFFER_BYTES], filled: 0 }
    }

    /// Writes bytes at a place.
    pub fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        match self.copy(at, bytes.len() as u64, &mut &bytes[..]) {
            Ok(()) => Ok(()),
            Err(CopyError::Read(error) | CopyError::Write(error)) => Err(error),
        }
    }

    /// Writes `len` bytes of a reader at a place.
    pub fn copy(&mut self, at: u64, len: u64, from: &mut dyn Read) -> Result<(), CopyError> {
        if at != self.start + self.filled as u64 {
            self.flush().map_err(CopyError::Write)?;
            self.start = at;
        }
        let mut left = len;
        while left > 0 {
            if self.filled == BUFFER_BYTES {
                self.flush().map_err(CopyError::Write)?;
            }
            let room = &mut self.buffer[self.filled..];
            let part = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            from.read_exact(&mut room[..part]).map_err(CopyError::Read)?;
            self.filled += part;
            left -= part as u64;
        }
        Ok(())
    }

    /// Has the kernel copy a range of a file to a place, without a way through this process and, where the file system
    /// can, without a copy. False where it can't; what was copied until then is to be copied again.
    pub fn copy_file(&mut self, at: u64, from: &File, range: Range<u64>) -> bool {
        let (mut start, mut at) = (range.start, at);
        while start < range.end {
            let left = usize::try_from(range.end - start).unwrap_or(usize::MAX);
            match copy_file_range(from, Some(&mut start), self.file, Some(&mut at), left) {
                // The end of a file that has shrunk, or a file system that has its own idea of lengths.
                Ok(0) => return false,
                Ok(_) => {}
                // Which side failed is not told: reading and writing by ourselves will.
                Err(_) => return false,
            }
        }
        true
    }

    /// Hands everything to the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer[..self.filled], self.start)?;
        self.start += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}
