//! The op log of the in-process hook: every write and flush of one run, in the order in which the device saw them.
//!
//! It is an append-only file. An op is noted before it happens and again when it is complete, so after a SIGKILL
//! the log tells which op was cut; a record that was cut itself is the file's last and is left out on reading.
//! Page digests of the payload tell afterwards how much of a cut write arrived.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};
use xxhash_rust::xxh3::xxh3_64;

/// A buffered write that is killed is cut at a page of the file.
pub const PAGE_BYTES: u64 = 4096;

const MAGIC: &[u8; 8] = b"KPOPLOG1";
const HEAD_BYTES: usize = 40;

/// What an op does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// Writes a range.
    Write,
    /// Makes everything before it durable.
    Flush,
}

/// One op of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Number in its run, from 1.
    pub number: u64,
    /// What it does.
    pub kind: OpKind,
    /// Bytes that it writes; empty for a flush.
    pub range: Range<u64>,
    /// CLOCK_MONOTONIC when it began, in nanoseconds.
    pub began_ns: u64,
    /// CLOCK_MONOTONIC when it was complete; none where the run was cut inside it or the op was made to fail.
    pub ended_ns: Option<u64>,
    /// xxh3-64 of the payload's part in each page of the file that the range touches.
    page_digests: Vec<u64>,
}

/// An op log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum OpLogError {
    /// The file can't be read.
    #[error("op log `{path}` can't be read")]
    Io {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no op log of this version, or one that was damaged.
    #[error("op log `{path}` is damaged at byte {at}")]
    Damaged {
        /// The log.
        path: PathBuf,
        /// First byte that makes no sense.
        at: usize,
    },
}

/// Pages of the file that a byte range touches, each cut to the range.
fn pages(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let (start, end) = (range.start, range.end);
    (start / PAGE_BYTES..end.div_ceil(PAGE_BYTES))
        .map(move |page| start.max(page * PAGE_BYTES)..end.min((page + 1) * PAGE_BYTES))
        .filter(|page| page.start < page.end)
}

impl Op {
    /// Number of bytes of the write that are on the disk, counted from its start in whole pages of the file.
    ///
    /// `read` fills a buffer from an offset of the crash state. Where a page held the payload's bytes before,
    /// it counts as arrived, which is the same content.
    pub fn arrived_bytes(&self, mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>) -> io::Result<u64> {
        let mut buf = [0; PAGE_BYTES as usize];
        for (page, digest) in pages(&self.range).zip(&self.page_digests) {
            let part = &mut buf[..(page.end - page.start) as usize];
            read(page.start, part)?;
            if xxh3_64(part) != *digest {
                return Ok(page.start - self.range.start);
            }
        }
        Ok(self.range.end - self.range.start)
    }
}

/// CLOCK_MONOTONIC in nanoseconds; it is the same for all processes of a machine.
pub fn now_ns() -> io::Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// Appends to an op log.
#[derive(Debug)]
pub struct OpLogWriter {
    file: File,
}

impl OpLogWriter {
    /// Starts a new log; an existing file is an error, since two runs must not share one.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().append(true).create_new(true).open(path)?;
        file.write_all(MAGIC)?;
        Ok(Self { file })
    }

    /// Notes that a write is about to happen.
    pub fn write_begins(&mut self, number: u64, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        let range = offset_bytes..offset_bytes + data.len() as u64;
        let mut tail = Vec::new();
        for page in pages(&range) {
            let part = &data[(page.start - offset_bytes) as usize..(page.end - offset_bytes) as usize];
            tail.extend(xxh3_64(part).to_le_bytes());
        }
        self.append(b'w', number, &range, &tail)
    }

    /// Notes that a flush is about to happen.
    pub fn flush_begins(&mut self, number: u64) -> io::Result<()> {
        self.append(b'f', number, &(0..0), &[])
    }

    /// Notes that an op is complete.
    pub fn ends(&mut self, number: u64) -> io::Result<()> {
        self.append(b'e', number, &(0..0), &[])
    }

    fn append(&mut self, kind: u8, number: u64, range: &Range<u64>, tail: &[u8]) -> io::Result<()> {
        let mut record = Vec::with_capacity(HEAD_BYTES + tail.len());
        let fields = [u64::from(kind), number, range.start, range.end - range.start, now_ns()?];
        for field in fields {
            record.extend(field.to_le_bytes());
        }
        record.extend(tail);
        self.file.write_all(&record)
    }
}

/// Reads a log; a last record that was cut is left out.
pub fn read(path: &Path) -> Result<Vec<Op>, OpLogError> {
    let bytes = std::fs::read(path).map_err(|source| OpLogError::Io { path: path.to_owned(), source })?;
    let damaged = |at: usize| OpLogError::Damaged { path: path.to_owned(), at };
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        // A run that was cut while it started its log did nothing yet.
        return if MAGIC.starts_with(&bytes) { Ok(Vec::new()) } else { Err(damaged(0)) };
    };
    let mut ops: Vec<Op> = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let at = bytes.len() - rest.len();
        let (fields, _) = head.as_chunks::<8>();
        let [kind, number, offset, len, time_ns] =
            <[u64; 5]>::try_from(fields.iter().map(|field| u64::from_le_bytes(*field)).collect::<Vec<_>>())
                .map_err(|_| damaged(at))?;
        let end = offset.checked_add(len).ok_or_else(|| damaged(at))?;
        match kind as u8 {
            kind @ (b'w' | b'f') if number == ops.len() as u64 + 1 => {
                let range = offset..end;
                let tail_bytes = if kind == b'w' { page_count(&range) * 8 } else { 0 };
                let Some((tail, after)) = after.split_at_checked(tail_bytes) else { break };
                let (digests, _) = tail.as_chunks::<8>();
                ops.push(Op {
                    number,
                    kind: if kind == b'w' { OpKind::Write } else { OpKind::Flush },
                    range,
                    began_ns: time_ns,
                    ended_ns: None,
                    page_digests: digests.iter().map(|digest| u64::from_le_bytes(*digest)).collect(),
                });
                rest = after;
            }
            b'e' => {
                let op = ops.last_mut().filter(|op| op.number == number).ok_or_else(|| damaged(at))?;
                op.ended_ns = Some(time_ns);
                rest = after;
            }
            _ => return Err(damaged(at)),
        }
    }
    Ok(ops)
}

fn page_count(range: &Range<u64>) -> usize {
    if range.is_empty() { 0 } else { (range.end.div_ceil(PAGE_BYTES) - range.start / PAGE_BYTES) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(write: impl FnOnce(&mut OpLogWriter)) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ops");
        write(&mut OpLogWriter::create(&path).unwrap());
        (dir, path)
    }

    #[test]
    fn ops_come_back_in_order_and_the_one_that_was_cut_has_no_end() {
        let (_dir, path) = log_of(|log| {
            log.write_begins(1, 512, &[7; 5000]).unwrap();
            log.ends(1).unwrap();
            log.flush_begins(2).unwrap();
            log.ends(2).unwrap();
            log.write_begins(3, 0, &[1]).unwrap();
        });
        let ops = read(&path).unwrap();
        let seen: Vec<_> =
            ops.iter().map(|op| (op.number, op.kind, op.range.clone(), op.ended_ns.is_some())).collect();
        assert_eq!(
            seen,
            [
                (1, OpKind::Write, 512..5512, true),
                (2, OpKind::Flush, 0..0, true),
                (3, OpKind::Write, 0..1, false)
            ]
        );
        assert!(ops[0].began_ns <= ops[0].ended_ns.unwrap() && ops[0].ended_ns.unwrap() <= ops[1].began_ns);
    }

    #[test]
    fn a_log_cut_at_any_byte_gives_the_ops_before_the_cut() {
        let (dir, path) = log_of(|log| {
            log.write_begins(1, 100, &[7; 9000]).unwrap();
            log.ends(1).unwrap();
            log.flush_begins(2).unwrap();
        });
        let whole = std::fs::read(&path).unwrap();
        let cut = dir.path().join("cut");
        let mut counts = Vec::new();
        for len in 0..=whole.len() {
            std::fs::write(&cut, &whole[..len]).unwrap();
            counts.push(read(&cut).unwrap().len());
        }
        assert!(counts.is_sorted());
        counts.dedup();
        assert_eq!(counts, [0, 1, 2]);
    }

    #[test]
    fn a_log_of_something_else_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ops");
        for bytes in [b"KPOPLOG9........".to_vec(), [MAGIC.as_slice(), &[b'x'; 40]].concat()] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(read(&path), Err(OpLogError::Damaged { .. })));
        }
    }

    #[test]
    fn a_second_run_does_not_get_the_first_ones_log() {
        let (_dir, path) = log_of(|_| {});
        assert_eq!(OpLogWriter::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn arrived_bytes_are_whole_pages_of_the_file_from_the_writes_start() {
        let payload: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8 + 1).collect();
        let offset = 1024usize;
        let (_dir, path) = log_of(|log| log.write_begins(1, offset as u64, &payload).unwrap());
        let op = read(&path).unwrap().remove(0);
        // Page boundaries of the file lie 3072, 7168 and then 10,000 bytes into the write.
        for (written, arrived) in
            [(0, 0), (3071, 0), (3072, 3072), (7168, 7168), (9999, 7168), (10_000, 10_000)]
        {
            let mut disk = vec![0; 20_000];
            disk[offset..offset + written].copy_from_slice(&payload[..written]);
            let read = |at: u64, buf: &mut [u8]| {
                buf.copy_from_slice(&disk[at as usize..at as usize + buf.len()]);
                Ok(())
            };
            assert_eq!(op.arrived_bytes(read).unwrap(), arrived, "{written} bytes written");
        }
    }
}
