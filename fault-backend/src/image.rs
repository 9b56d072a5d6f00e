//! The content of a disk or file, in chunks that clones share.
//!
//! A clone costs nothing and then only what is written to either side; the content id is kept up to date by each
//! change; a difference costs what the chunks that differ cost. A read-only file may lie below, from which chunks
//! that were not written are read, so only that part can fail.

mod base;
mod diff;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::iter::from_fn;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use imbl::OrdMap;

use crate::content_id::{CHUNK_BYTES, ContentHasher, ContentId, is_zero};

pub use base::Base;

const CHUNK: u64 = CHUNK_BYTES as u64;

/// No file can be longer: its offsets are signed numbers of 64 bits.
const MAX_LEN_BYTES: u64 = i64::MAX as u64;

/// Chunks that an export writes at once.
const EXPORT_CHUNKS: u64 = 256;

type Bytes = [u8; CHUNK_BYTES];

static ZEROS: Bytes = [0; CHUNK_BYTES];

/// A chunk that the image holds itself.
#[derive(Clone, Debug)]
struct Chunk {
    /// Its part of the content sum.
    part: u128,
    /// Its bytes; none for zeros, which are noted only over a base that has data there.
    bytes: Option<Arc<Bytes>>,
}

/// Equal parts are equal content: see [`crate::content_id`].
impl PartialEq for Chunk {
    fn eq(&self, other: &Self) -> bool {
        self.part == other.part
    }
}

/// A byte-addressed content of any length; holes are zeros. Bytes of its last chunk behind the end are zeros too.
#[derive(Clone, Debug)]
pub struct Image {
    len_bytes: u64,
    sum: ContentHasher,
    chunks: OrdMap<u64, Chunk>,
    /// Chunks of the map that have bytes.
    held_chunks: u64,
    base: Option<Arc<Base>>,
    /// Chunks of the base from this one on are hidden.
    base_chunks: u64,
}

impl Image {
    /// Zeros of the given length.
    pub fn new(len_bytes: u64) -> Self {
        let sum = ContentHasher::new(len_bytes);
        Self { len_bytes, sum, chunks: OrdMap::new(), held_chunks: 0, base: None, base_chunks: 0 }
    }

    /// The content of a file, which is read where it is needed.
    pub fn over(base: Arc<Base>) -> Self {
        let mut image = Self::new(base.len_bytes());
        image.sum.add(base.sum());
        image.base_chunks = base.len_bytes().div_ceil(CHUNK);
        image.base = Some(base);
        image
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Its content id; costs nothing.
    pub fn content_id(&self) -> ContentId {
        self.sum.finish()
    }

    /// Memory that chunks beyond the base take, in bytes; clones that share them count them too.
    pub fn dirty_bytes(&self) -> u64 {
        self.held_chunks * CHUNK
    }

    /// Fills `buf` from an offset, zeros where there is a hole; the number of bytes read, which falls short at the end.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.len_bytes.saturating_sub(offset).min(buf.len() as u64) as usize;
        let buf = &mut buf[..len];
        let mut done = 0;
        let chunks = offset / CHUNK..(offset + len as u64).div_ceil(CHUNK);
        for (index, chunk) in self.chunks.range(chunks) {
            let inside = (offset + done as u64).max(index * CHUNK);
            let at = (inside - offset) as usize;
            self.read_base(offset + done as u64, &mut buf[done..at])?;
            let within = (inside - index * CHUNK) as usize;
            let part = &mut buf[at..len.min(at + CHUNK_BYTES - within)];
            match &chunk.bytes {
                Some(bytes) => part.copy_from_slice(&bytes[within..within + part.len()]),
                None => part.fill(0),
            }
            done = at + part.len();
        }
        self.read_base(offset + done as u64, &mut buf[done..])?;
        Ok(len)
    }

    /// Writes, and grows where the image ends before; beyond 2^63 bytes is an error.
    pub fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset
            .checked_add(data.len() as u64)
            .filter(|end| *end <= MAX_LEN_BYTES)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        // What can fail comes first, so that a failed write changes nothing.
        let mut under = self.load_edges(offset..end)?;
        self.grow(end);
        for (index, within) in pieces(offset..end) {
            let from = (index * CHUNK + within.start as u64 - offset) as usize;
            self.write_piece(index, within.start, &data[from..from + within.len()], under.take(index));
        }
        Ok(())
    }

    /// Takes another length; what is added is zeros.
    pub fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
        if len_bytes > MAX_LEN_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if len_bytes < self.len_bytes {
            self.punch(len_bytes..self.len_bytes.min(len_bytes.next_multiple_of(CHUNK)))?;
            self.drop_chunks(len_bytes.div_ceil(CHUNK));
            self.len_bytes = len_bytes;
            self.sum.set_len(len_bytes);
        }
        self.grow(len_bytes);
        Ok(())
    }

    /// Zeroes the part of a range that lies in the image; the length stays.
    pub fn punch(&mut self, range: Range<u64>) -> io::Result<()> {
        let range = range.start..range.end.min(self.len_bytes);
        if range.is_empty() {
            return Ok(());
        }
        let mut under = self.load_edges(range.clone())?;
        // The last chunk is whole if the range reaches the end of the image.
        let whole_end =
            if range.end == self.len_bytes { range.end.div_ceil(CHUNK) } else { range.end / CHUNK };
        let whole = range.start.div_ceil(CHUNK)..whole_end;
        let (first, last) = (range.start / CHUNK, (range.end - 1) / CHUNK);
        for index in [Some(first), (last != first).then_some(last)].into_iter().flatten() {
            if !whole.contains(&index) {
                let start = range.start.max(index * CHUNK);
                let end = range.end.min((index + 1) * CHUNK);
                let zeros = &ZEROS[..(end - start) as usize];
                self.write_piece(index, (start - index * CHUNK) as usize, zeros, under.take(index));
            }
        }
        self.zero_chunks(whole);
        Ok(())
    }

    /// First byte at or behind `offset` that lies in a chunk with data; none where only holes follow.
    pub fn next_data(&self, offset: u64) -> Option<u64> {
        let (index, _) = self.data_chunks(offset / CHUNK).next()?;
        Some(offset.max(index * CHUNK)).filter(|at| *at < self.len_bytes)
    }

    /// First byte at or behind `offset` that lies in a hole; the end counts as one.
    pub fn next_hole(&self, offset: u64) -> u64 {
        let first = offset / CHUNK;
        let solid =
            self.data_chunks(first).zip(first..).take_while(|((index, _), at)| index == at).count() as u64;
        offset.max((first + solid) * CHUNK).min(self.len_bytes)
    }

    /// Writes the content into a file, whose old content goes; holes stay holes.
    pub fn export(&self, file: &File) -> io::Result<()> {
        file.set_len(0)?;
        file.set_len(self.len_bytes)?;
        let mut buf = vec![0; (EXPORT_CHUNKS * CHUNK) as usize];
        let mut at = 0;
        while let Some(start) = self.next_data(at) {
            let end = self.next_hole(start);
            at = start;
            while at < end {
                let part = &mut buf[..(end - at).min(EXPORT_CHUNKS * CHUNK) as usize];
                self.read_at(at, part)?;
                file.write_all_at(part, at)?;
                at += part.len() as u64;
            }
        }
        Ok(())
    }

    fn base_part(&self, index: u64) -> u128 {
        match &self.base {
            Some(base) if index < self.base_chunks => base.part(index),
            _ => 0,
        }
    }

    /// A chunk's part of the content sum; 0 for zeros.
    fn part(&self, index: u64) -> u128 {
        self.chunks.get(&index).map_or_else(|| self.base_part(index), |chunk| chunk.part)
    }

    /// Fills a part of a read that no chunk of the map covers.
    fn read_base(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let Some(base) = &self.base else {
            buf.fill(0);
            return Ok(());
        };
        let visible = (self.base_chunks * CHUNK).saturating_sub(offset).min(buf.len() as u64) as usize;
        let (below, behind) = buf.split_at_mut(visible);
        behind.fill(0);
        base.read_at(offset, below)
    }

    /// Reads a whole chunk; zeros behind the end.
    fn load(&self, index: u64) -> io::Result<Bytes> {
        let mut bytes = ZEROS;
        match self.chunks.get(&index) {
            Some(Chunk { bytes: Some(held), .. }) => bytes = **held,
            Some(_) => {}
            None => self.read_base(index * CHUNK, &mut bytes)?,
        }
        Ok(bytes)
    }

    /// Reads from the base the chunks that a range covers in part, of which there are two at most.
    fn load_edges(&self, range: Range<u64>) -> io::Result<Edges> {
        let mut edges = Edges::default();
        let (first, last) = (range.start / CHUNK, (range.end - 1) / CHUNK);
        let partial = [!range.start.is_multiple_of(CHUNK) || range.end < (first + 1) * CHUNK, {
            last != first && !range.end.is_multiple_of(CHUNK)
        }];
        for ((index, partial), edge) in [first, last].into_iter().zip(partial).zip(&mut edges.0) {
            if partial && self.base_part(index) != 0 && !self.chunks.contains_key(&index) {
                *edge = Some((index, Arc::new(self.load(index)?)));
            }
        }
        Ok(edges)
    }

    fn grow(&mut self, len_bytes: u64) {
        if len_bytes > self.len_bytes {
            self.len_bytes = len_bytes;
            self.sum.set_len(len_bytes);
        }
    }

    /// Writes inside one chunk. `under` is what the base holds there, where the piece is not the whole chunk.
    fn write_piece(&mut self, index: u64, at: usize, piece: &[u8], under: Option<Arc<Bytes>>) {
        if self.part(index) == 0 && is_zero(piece) {
            return;
        }
        let base_part = self.base_part(index);
        let (old, new) = match self.chunks.get_mut(&index) {
            Some(chunk) => {
                self.held_chunks += u64::from(chunk.bytes.is_none());
                let bytes = chunk.bytes.get_or_insert_with(|| Arc::new(ZEROS));
                let same = bytes[at..at + piece.len()] == *piece;
                if !same {
                    Arc::make_mut(bytes)[at..at + piece.len()].copy_from_slice(piece);
                }
                let new = if same { chunk.part } else { ContentId::of_chunk(index, &**bytes) };
                (std::mem::replace(&mut chunk.part, new), new)
            }
            None => {
                let mut bytes = under.unwrap_or_else(|| Arc::new(ZEROS));
                Arc::make_mut(&mut bytes)[at..at + piece.len()].copy_from_slice(piece);
                let part = ContentId::of_chunk(index, &*bytes);
                self.held_chunks += 1;
                self.chunks.insert(index, Chunk { part, bytes: Some(bytes) });
                (base_part, part)
            }
        };
        self.sum.remove(old);
        self.sum.add(new);
        if new == base_part || new == 0 {
            self.unhold(index, base_part, new);
        }
    }

    /// Gives up a chunk's bytes that are the base's again, or zeros.
    fn unhold(&mut self, index: u64, base_part: u128, part: u128) {
        if part == base_part {
            if let Some(Chunk { bytes: Some(_), .. }) = self.chunks.remove(&index) {
                self.held_chunks -= 1;
            }
        } else if let Some(chunk) = self.chunks.get_mut(&index)
            && chunk.bytes.take().is_some()
        {
            self.held_chunks -= 1;
        }
    }

    /// Makes whole chunks zero.
    fn zero_chunks(&mut self, range: Range<u64>) {
        let data: Vec<(u64, u128)> =
            self.data_chunks(range.start).take_while(|(index, _)| *index < range.end).collect();
        for (index, part) in data {
            self.sum.remove(part);
            let base_part = self.base_part(index);
            match self.chunks.get_mut(&index) {
                Some(chunk) => {
                    chunk.part = 0;
                    self.unhold(index, base_part, 0);
                }
                None => {
                    self.chunks.insert(index, Chunk { part: 0, bytes: None });
                }
            }
        }
    }

    /// Drops every chunk from one on, and hides the base's.
    fn drop_chunks(&mut self, first: u64) {
        let data: Vec<u128> = self.data_chunks(first).map(|(_, part)| part).collect();
        data.into_iter().for_each(|part| self.sum.remove(part));
        let dropped: Vec<u64> = self.chunks.range(first..).map(|(index, _)| *index).collect();
        for index in dropped {
            if let Some(Chunk { bytes: Some(_), .. }) = self.chunks.remove(&index) {
                self.held_chunks -= 1;
            }
        }
        self.base_chunks = self.base_chunks.min(first);
    }

    /// The chunks with data from one on, in order, each with its part of the content sum.
    fn data_chunks(&self, first: u64) -> impl Iterator<Item = (u64, u128)> + '_ {
        let mut held = self.chunks.range(first..).map(|(index, chunk)| (*index, chunk.part)).peekable();
        let below = first..self.base_chunks.max(first);
        let mut base = self.base.iter().flat_map(move |base| base.data_chunks(below.clone())).peekable();
        from_fn(move || {
            loop {
                let next = match (held.peek(), base.peek()) {
                    (Some((own, _)), Some((under, _))) if under < own => base.next(),
                    (Some((own, _)), under) => {
                        if under.is_some_and(|(under, _)| under == own) {
                            base.next();
                        }
                        held.next()
                    }
                    (None, _) => base.next(),
                };
                if next.is_none_or(|(_, part)| part != 0) {
                    return next;
                }
            }
        })
    }
}

/// The image of these bytes.
impl From<Vec<u8>> for Image {
    fn from(bytes: Vec<u8>) -> Self {
        let mut image = Self::new(bytes.len() as u64);
        for (index, chunk) in (0..).zip(bytes.chunks(CHUNK_BYTES)) {
            image.write_piece(index, 0, chunk, None);
        }
        image
    }
}

/// The base's bytes of the first and last chunk of a range.
#[derive(Default)]
struct Edges([Option<(u64, Arc<Bytes>)>; 2]);

impl Edges {
    fn take(&mut self, index: u64) -> Option<Arc<Bytes>> {
        self.0
            .iter_mut()
            .find(|edge| edge.as_ref().is_some_and(|(at, _)| *at == index))?
            .take()
            .map(|(_, b)| b)
    }
}

/// The chunks that a range of bytes touches, each with the bytes of it that lie in the range.
fn pieces(range: Range<u64>) -> impl Iterator<Item = (u64, Range<usize>)> {
    (range.start / CHUNK..range.end.div_ceil(CHUNK)).map(move |index| {
        let start = range.start.max(index * CHUNK) - index * CHUNK;
        let end = range.end.min((index + 1) * CHUNK) - index * CHUNK;
        (index, start as usize..end as usize)
    })
}
