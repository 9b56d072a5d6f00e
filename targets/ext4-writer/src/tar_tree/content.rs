//! Where the content of an archive's files lies in the archive, and reading it there.
//!
//! A sparse file of GNU tar is a list of segments: the first four in the header, more in blocks behind it, then the data
//! of all, one behind the other.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::tree::{Contents, Opened};

const RECORD_BYTES: u64 = 512;

/// A run of a file's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where in the file.
    pub at: u64,
    /// Bytes.
    pub len: u64,
    /// Where in the archive.
    pub start: u64,
}

/// The content of an archive's files.
#[derive(Debug)]
pub struct TarFiles {
    archive: File,
    /// Bytes of each file, and its data.
    files: Vec<(u64, Vec<Segment>)>,
}

impl TarFiles {
    pub(super) fn new(archive: File, files: Vec<(u64, Vec<Segment>)>) -> Self {
        Self { archive, files }
    }
}

impl Contents for TarFiles {
    fn open(&self, content: u64) -> io::Result<Opened<'_>> {
        let file = usize::try_from(content).ok().and_then(|index| self.files.get(index));
        let (len, segments) = file.ok_or(io::ErrorKind::NotFound)?;
        let file = TarFile { archive: &self.archive, segments, len: *len, at: 0 };
        Ok(Opened::Reader(Box::new(file)))
    }
}

struct TarFile<'a> {
    archive: &'a File,
    segments: &'a [Segment],
    len: u64,
    at: u64,
}

impl Read for TarFile<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let next = self.segments.iter().find(|segment| segment.at + segment.len > self.at && segment.len > 0);
        let (end, data) = match next {
            Some(segment) if segment.at <= self.at => (segment.at + segment.len, Some(segment)),
            Some(segment) => (segment.at, None),
            None => (self.len, None),
        };
        let room = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buf.len());
        let part = &mut buf[..room];
        let read = match data {
            Some(segment) => self.archive.read_at(part, segment.start + (self.at - segment.at))?,
            None => {
                part.fill(0);
                room
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for TarFile<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Length and segments of a sparse file whose header ends at `position` in the archive.
pub(super) fn sparse_map(header: &Header, position: u64, archive: &File) -> io::Result<(u64, Vec<Segment>)> {
    let gnu = header.as_gnu().ok_or(io::ErrorKind::InvalidData)?;
    let mut segments = Vec::new();
    let mut position = position;
    add_all(&gnu.sparse, &mut segments)?;
    let mut goes_on = gnu.is_extended();
    while goes_on {
        let mut more = GnuExtSparseHeader::new();
        archive.read_exact_at(more.as_mut_bytes(), position)?;
        position += RECORD_BYTES;
        add_all(more.sparse(), &mut segments)?;
        goes_on = more.is_extended();
    }
    let len = gnu.real_size()?;
    let mut end = 0;
    for segment in &mut segments {
        if segment.at < end || segment.at.checked_add(segment.len).is_none_or(|end| end > len) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the map of a sparse file is not in order",
            ));
        }
        end = segment.at + segment.len;
        segment.start = position;
        position += segment.len;
    }
    Ok((len, segments))
}

fn add_all(headers: &[GnuSparseHeader], segments: &mut Vec<Segment>) -> io::Result<()> {
    for header in headers.iter().filter(|header| !header.is_empty()) {
        segments.push(Segment { at: header.offset()?, len: header.length()?, start: 0 });
    }
    Ok(())
}
