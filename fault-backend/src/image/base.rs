//! A file that images lie over: its bytes stay on disk, only each data chunk's part of the content sum is in memory.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use super::CHUNK;
use crate::content_id::ContentId;

/// Bytes that are read at once, in chunks.
const READ_CHUNKS: u64 = 256;

/// A read-only file, held open. Nothing may write to it as long as it is in use.
#[derive(Debug)]
pub struct Base {
    file: File,
    len_bytes: u64,
    /// Stretches of chunks that are not zero, in order, with a gap between any two.
    runs: Vec<Run>,
    sum: u128,
}

/// Neighbouring chunks with data.
#[derive(Debug)]
struct Run {
    first: u64,
    parts: Vec<u128>,
}

impl Run {
    fn end(&self) -> u64 {
        self.first + self.parts.len() as u64
    }
}

impl Base {
    /// Reads a file's data once. Holes cost nothing, zeros no memory.
    pub fn open(file: File) -> io::Result<Self> {
        let len_bytes = file.metadata()?.len();
        Self::read(file, len_bytes, next_extent)
    }

    /// Reads what `next_extent` says is no hole, from an offset on.
    fn read(
        file: File,
        len_bytes: u64,
        next_extent: impl Fn(&File, u64, u64) -> io::Result<Option<Range<u64>>>,
    ) -> io::Result<Self> {
        let mut base = Self { file, len_bytes, runs: Vec::new(), sum: 0 };
        let mut buf = vec![0; (READ_CHUNKS * CHUNK) as usize];
        let mut at = 0;
        while at < len_bytes
            && let Some(data) = next_extent(&base.file, at, len_bytes)?
        {
            // Extents begin and end with blocks of the host, which may be smaller than a chunk.
            at = at.max(data.start / CHUNK * CHUNK);
            let end = data.end.next_multiple_of(CHUNK).min(len_bytes);
            while at < end {
                let part = &mut buf[..(end - at).min(READ_CHUNKS * CHUNK) as usize];
                base.file.read_exact_at(part, at)?;
                for (chunk, index) in part.chunks(CHUNK as usize).zip(at / CHUNK..) {
                    base.push(index, ContentId::of_chunk(index, chunk));
                }
                at += part.len() as u64;
            }
        }
        Ok(base)
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Sum of all parts.
    pub(super) fn sum(&self) -> u128 {
        self.sum
    }

    /// A chunk's part of the content sum; 0 for zeros and behind the end.
    pub(super) fn part(&self, index: u64) -> u128 {
        let run = self.runs.partition_point(|run| run.end() <= index);
        match self.runs.get(run) {
            Some(run) if run.first <= index => run.parts[(index - run.first) as usize],
            _ => 0,
        }
    }

    /// The chunks of a range that have data, with their parts, in order.
    pub(super) fn data_chunks(&self, range: Range<u64>) -> impl Iterator<Item = (u64, u128)> + '_ {
        let first = self.runs.partition_point(|run| run.end() <= range.start);
        self.runs[first..]
            .iter()
            .take_while(move |run| run.first < range.end)
            .flat_map(move |run| {
                let skip = range.start.saturating_sub(run.first);
                run.parts[skip as usize..].iter().zip(run.first + skip..).map(|(part, index)| (index, *part))
            })
            .take_while(move |(index, _)| *index < range.end)
    }

    /// Fills a buffer; zeros behind the end. A file that became shorter is `UnexpectedEof`.
    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let inside = self.len_bytes.saturating_sub(offset).min(buf.len() as u64) as usize;
        let (inside, behind) = buf.split_at_mut(inside);
        behind.fill(0);
        let chunks = offset / CHUNK..(offset + inside.len() as u64).div_ceil(CHUNK);
        if self.data_chunks(chunks).next().is_none() {
            inside.fill(0);
            return Ok(());
        }
        self.file.read_exact_at(inside, offset)
    }

    fn push(&mut self, index: u64, part: u128) {
        if part == 0 {
            return;
        }
        self.sum = self.sum.wrapping_add(part);
        match self.runs.last_mut() {
            Some(run) if run.end() == index => run.parts.push(part),
            _ => self.runs.push(Run { first: index, parts: vec![part] }),
        }
    }
}

/// The next stretch of the file, from an offset on, that the host does not know to be a hole.
fn next_extent(file: &File, at: u64, len_bytes: u64) -> io::Result<Option<Range<u64>>> {
    let offset = i64::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let start = match lseek(file, offset, Whence::SeekData) {
        Ok(start) => start as u64,
        Err(Errno::ENXIO) => return Ok(None),
        // A file system that knows no holes.
        Err(Errno::EINVAL | Errno::ENOTSUP) => return Ok(Some(at..len_bytes)),
        Err(errno) => return Err(errno.into()),
    };
    let end = lseek(file, start as i64, Whence::SeekHole)? as u64;
    Ok(Some(start..end.min(len_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content_id::CHUNK_BYTES;

    #[test]
    fn extents_that_begin_and_end_inside_a_chunk_give_whole_chunks() {
        let mut bytes = vec![0; 5 * CHUNK_BYTES + 100];
        for start in [512, 2560, 2 * CHUNK_BYTES + 1024, 5 * CHUNK_BYTES] {
            bytes[start..start + 100].fill(7);
        }
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let len_bytes = bytes.len() as u64;
        // A host with blocks of 512 bytes.
        let blocks = |_: &File, at: u64, len: u64| {
            let has_data =
                |block: &u64| bytes[*block as usize * 512..].iter().take(512).any(|byte| *byte != 0);
            Ok((at / 512..len.div_ceil(512))
                .find(has_data)
                .map(|block| block * 512..(block * 512 + 512).min(len)))
        };
        let small = Base::read(file.try_clone().unwrap(), len_bytes, blocks).unwrap();
        let whole = Base::open(file).unwrap();
        assert_eq!(small.sum, whole.sum);
        let chunks: Vec<u64> = small.data_chunks(0..9).map(|(index, _)| index).collect();
        assert_eq!(chunks, [0, 2, 5]);
    }
}
