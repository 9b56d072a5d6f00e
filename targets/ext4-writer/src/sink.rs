//! Writes that mostly go forward, gathered into large ones. What is never written stays a hole.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use rustix::fs::copy_file_range;

/// Gathered at most.
const BUFFER_BYTES: usize = 256 << 10;

/// Which side of a copy failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Bytes that belong at a place: the first `filled` of a buffer.
pub(crate) struct Gathered {
    pub start: u64,
    pub buffer: Vec<u8>,
    pub filled: usize,
}

/// Where gathered bytes go.
enum Target<'a> {
    File(&'a File),
    /// To a thread that writes them, which gives buffers back.
    Thread {
        full: SyncSender<Gathered>,
        empty: Receiver<Vec<u8>>,
    },
}

/// A file that is written through a buffer.
pub(crate) struct Sink<'a> {
    target: Target<'a>,
    /// Where the buffer belongs.
    start: u64,
    buffer: Vec<u8>,
    filled: usize,
}

impl<'a> Sink<'a> {
    pub fn new(file: &'a File) -> Self {
        Self { target: Target::File(file), start: 0, buffer: vec![0; BUFFER_BYTES], filled: 0 }
    }

    /// A sink that hands what it gathers to another thread, in the order in which a sink of a file would write it. With
    /// it come what that thread receives, and what it gives buffers back by.
    pub fn of_thread(ahead: usize) -> (Self, Receiver<Gathered>, Sender<Vec<u8>>) {
        let (full, gathered) = sync_channel(ahead);
        let (back, empty) = channel();
        for _ in 0..ahead {
            // The receiver lies here, so it is there.
            back.send(vec![0; BUFFER_BYTES]).ok();
        }
        let target = Target::Thread { full, empty };
        (Self { target, start: 0, buffer: vec![0; BUFFER_BYTES], filled: 0 }, gathered, back)
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
        let Target::File(file) = self.target else { return false };
        let (mut start, mut at) = (range.start, at);
        while start < range.end {
            let left = usize::try_from(range.end - start).unwrap_or(usize::MAX);
            match copy_file_range(from, Some(&mut start), file, Some(&mut at), left) {
                // The end of a file that has shrunk, or a file system that has its own idea of lengths.
                Ok(0) => return false,
                Ok(_) => {}
                // Which side failed is not told: reading and writing by ourselves will.
                Err(_) => return false,
            }
        }
        true
    }

    /// Hands everything on.
    pub fn flush(&mut self) -> io::Result<()> {
        match &self.target {
            _ if self.filled == 0 => {}
            Target::File(file) => file.write_all_at(&self.buffer[..self.filled], self.start)?,
            Target::Thread { full, empty } => {
                let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
                let buffer = std::mem::replace(&mut self.buffer, empty.recv().map_err(|_| gone())?);
                let gathered = Gathered { start: self.start, buffer, filled: self.filled };
                full.send(gathered).map_err(|_| gone())?;
            }
        }
        self.start += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}
