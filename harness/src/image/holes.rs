//! Holes of files: walking over the data between them, and making them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::{BLOCK_BYTES, ReadAt};

/// Walks a file's data from front to back, holes left out: reading a hole costs as much as reading data. A file
/// system that knows no holes shows one stretch of data.
pub(super) struct DataSeeker<'a> {
    file: &'a dyn ReadAt,
    limit: u64,
    /// Whether stretches end where holes begin.
    exact: bool,
    /// From here to the start of `known` there is a hole.
    asked: u64,
    known: Range<u64>,
}

impl<'a> DataSeeker<'a> {
    /// Stretches end where holes begin.
    pub fn exact(file: &'a dyn ReadAt, limit: u64) -> Self {
        Self { file, limit, exact: true, asked: 0, known: 0..0 }
    }

    /// Stretches end at the next block's start at the latest and may have holes in them, which read as zeros: to find
    /// where a hole begins, the kernel looks at each page before it, which takes almost as long as reading them.
    pub fn blockwise(file: &'a dyn ReadAt, limit: u64) -> Self {
        Self { exact: false, ..Self::exact(file, limit) }
    }

    /// The first byte of data at or after `at`, below the limit.
    pub fn next_from(&mut self, at: u64) -> io::Result<Option<u64>> {
        if at >= self.limit {
            return Ok(None);
        }
        if !(self.asked..self.known.end).contains(&at) {
            self.known = match self.file.next_data(at)? {
                Some(start) if self.exact => start..self.file.next_hole(start)?,
                Some(start) => start..start.saturating_add(1).next_multiple_of(BLOCK_BYTES as u64),
                None => self.limit..self.limit,
            };
            self.asked = at;
        }
        Ok(Some(self.known.start.max(at)).filter(|next| *next < self.limit))
    }

    /// End of the stretch that [`Self::next_from`] found last, at most the limit.
    pub fn end(&self) -> u64 {
        self.known.end.min(self.limit)
    }

    /// Fills a buffer from a place below the limit, holes as zeros.
    pub fn fill(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let next = self.next_from(at + done as u64)?.unwrap_or(self.limit);
            let data = ((next - at) as usize).min(buffer.len());
            buffer[done..data].fill(0);
            done = ((self.end() - at) as usize).clamp(data, buffer.len());
            self.file.fill(at + data as u64, &mut buffer[data..done])?;
        }
        Ok(())
    }
}

/// Makes a range of a file read as zeros, and a hole where the file system can. It is not looked at first: that would
/// take longer than punching what is a hole already.
pub(crate) fn punch(file: &File, range: Range<u64>) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let signed = |n: u64| i64::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
    match fallocate(file, flags, signed(range.start)?, signed(range.end - range.start)?) {
        Ok(()) => Ok(()),
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => write_zeros(file, range),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes zeros over the data of a range.
fn write_zeros(file: &File, range: Range<u64>) -> io::Result<()> {
    let zeros = vec![0; BLOCK_BYTES];
    let mut data = DataSeeker::blockwise(file, range.end);
    let mut at = range.start;
    while let Some(next) = data.next_from(at)? {
        let len = (data.end() - next).min(BLOCK_BYTES as u64);
        file.write_all_at(&zeros[..len as usize], next)?;
        at = next + len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_written_over_exactly_the_range() {
        let file = tempfile::tempfile().expect("a temporary file");
        let block = BLOCK_BYTES as u64;
        file.write_all_at(&vec![1; 3 * BLOCK_BYTES], block).expect("write");
        write_zeros(&file, 10..3 * block + 5).expect("write zeros");
        let mut bytes = vec![9; 4 * BLOCK_BYTES];
        file.read_exact_at(&mut bytes, 0).expect("read");
        assert!(bytes[..3 * BLOCK_BYTES + 5].iter().all(|byte| *byte == 0));
        assert!(bytes[3 * BLOCK_BYTES + 5..].iter().all(|byte| *byte == 1));
    }
}
