//! Where the content of an archive's files lies in the archive, and reading it there.
//!
//! A sparse file is a list of segments and then the data of all, one behind the other. In the format of GNU tar the first
//! four are in the header, more in blocks behind it; in that of pax they are lines of text before the data.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
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
    let (mut segments, mut position) = (Vec::new(), position);
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
    place(&mut segments, len, position)?;
    Ok((len, segments))
}

/// Segments of a sparse file of `len` bytes in format 1.0 of pax: the data of the entry, `stored` bytes from `position`
/// on, begins with their number, places and lengths, a line each, in whole records.
pub(super) fn pax_map(len: u64, position: u64, stored: u64, archive: &File) -> io::Result<Vec<Segment>> {
    let all = [Segment { at: 0, len: stored, start: position }];
    let mut lines = BufReader::new(TarFile { archive, segments: &all, len: stored, at: 0 });
    let mut read = 0;
    let mut number = || -> io::Result<u64> {
        let mut line = String::new();
        read += lines.read_line(&mut line)? as u64;
        line.trim_end_matches('\n').parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    let mut segments = Vec::new();
    for _ in 0..number()? {
        segments.push(Segment { at: number()?, len: number()?, start: 0 });
    }
    place(&mut segments, len, position + read.next_multiple_of(RECORD_BYTES))?;
    Ok(segments)
}

/// Gives segments their places in the archive, one behind the other, if they are in order and within the file.
fn place(segments: &mut [Segment], len: u64, mut position: u64) -> io::Result<()> {
    let mut end = 0;
    for segment in segments {
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
    Ok(())
}

fn add_all(headers: &[GnuSparseHeader], segments: &mut Vec<Segment>) -> io::Result<()> {
    for header in headers.iter().filter(|header| !header.is_empty()) {
        segments.push(Segment { at: header.offset()?, len: header.length()?, start: 0 });
    }
    Ok(())
}
