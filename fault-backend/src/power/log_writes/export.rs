//! Writes the log of one file of a volume as one of a disk.

use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

use super::{DISCARD, ENTRY_BYTES, FLUSH, FUA, MAGIC, MARK, SUPER_BYTES, VERSION, is_sector, read};
use crate::image::Image;
use crate::oplog::{Op, OpKind, OpLog, Outcome};
use crate::volume::{Ino, Mutation};

/// Bytes of one discard, at most: `replay-log` leaves out those of more than 128 MiB where it has to write zeros.
const DISCARD_MAX_BYTES: u64 = 64 << 20;

/// A recording can't be written as a log of a disk.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There are no such sectors.
    #[error("{0} bytes are no sector: expected a power of two from 512 to 65536")]
    NoSector(u32),
    /// The disk is no whole number of sectors.
    #[error("a disk of {len_bytes} bytes is no whole number of sectors of {sector_bytes} bytes")]
    NotWhole {
        /// Its length.
        len_bytes: u64,
        /// Bytes of a sector.
        sector_bytes: u32,
    },
    /// A disk has one length, and the op gives the file another one.
    #[error("op {number} changes the file's length, which a disk can't")]
    Resizes {
        /// Number of the op.
        number: u64,
    },
    /// The content could not be read, or the log not written.
    #[error("can't write the log at op {number}")]
    Io {
        /// Number of the op; 0 for the super block.
        number: u64,
        /// Why.
        source: io::Error,
    },
}

/// Writes what was done to one file, `ino`, whose content before the run is `start`; the number of entries.
///
/// Writes that are no whole sectors are widened by what was around them then. Punched and zeroed ranges become
/// discards, which a replay has to read as zeros, and writes at their edges. A flush of the file or of everything
/// becomes a flush, unless it failed or was dropped; a new step becomes a mark. Ops on other files are left out.
pub fn export(
    log: &OpLog,
    ino: Ino,
    start: &Image,
    sector_bytes: u32,
    out: &mut (impl Write + Seek),
) -> Result<u64, ExportError> {
    if !is_sector(sector_bytes) {
        return Err(ExportError::NoSector(sector_bytes));
    }
    let len_bytes = start.len_bytes();
    if !len_bytes.is_multiple_of(u64::from(sector_bytes)) {
        return Err(ExportError::NotWhole { len_bytes, sector_bytes });
    }
    let mut writer = Writer { out, sector: u64::from(sector_bytes), image: start.clone(), entries: 0 };
    let at = |number| move |source| ExportError::Io { number, source };
    let begin = writer.out.stream_position().map_err(at(0))?;
    writer.super_block().map_err(at(0))?;
    let mut step: Option<&Arc<str>> = None;
    for op in &log.ops {
        if !matches!(op.outcome, Outcome::Completed | Outcome::Torn { .. }) {
            continue;
        }
        if step.replace(&op.step) != Some(&op.step) {
            writer.mark(op.step.as_bytes()).map_err(at(op.number))?;
        }
        writer.op(op, ino)?;
    }
    let end = writer.out.stream_position().map_err(at(0))?;
    writer.out.seek(SeekFrom::Start(begin)).map_err(at(0))?;
    writer.super_block().map_err(at(0))?;
    writer.out.seek(SeekFrom::Start(end)).map_err(at(0))?;
    Ok(writer.entries)
}

struct Writer<'a, W> {
    out: &'a mut W,
    sector: u64,
    /// The disk after the ops so far.
    image: Image,
    entries: u64,
}

impl<W: Write> Writer<'_, W> {
    fn super_block(&mut self) -> io::Result<()> {
        let mut block = vec![0; self.sector as usize];
        for (place, field) in block.chunks_exact_mut(8).zip([MAGIC, VERSION, self.entries]) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        block[SUPER_BYTES - 4..SUPER_BYTES].copy_from_slice(&(self.sector as u32).to_le_bytes());
        self.out.write_all(&block)
    }

    fn entry(&mut self, sectors: Range<u64>, flags: u64, text: &[u8]) -> io::Result<()> {
        let mut block = vec![0; self.sector as usize];
        let fields = [sectors.start, sectors.end - sectors.start, flags, text.len() as u64];
        for (place, field) in block.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        block[ENTRY_BYTES..ENTRY_BYTES + text.len()].copy_from_slice(text);
        self.entries += 1;
        self.out.write_all(&block)
    }

    /// A mark; a text that is too long for its sector is cut. Readers expect a zero behind it.
    fn mark(&mut self, text: &[u8]) -> io::Result<()> {
        let room = self.sector as usize - ENTRY_BYTES - 1;
        self.entry(0..0, MARK, &text[..text.len().min(room)])
    }

    fn op(&mut self, op: &Op, ino: Ino) -> Result<(), ExportError> {
        let mutation = match &op.kind {
            OpKind::Flush { ino: synced, .. } => {
                let own = synced.is_none_or(|synced| synced == ino);
                return if own { self.entry(0..0, FLUSH, &[]).map_err(io_error(op)) } else { Ok(()) };
            }
            OpKind::Mutation(mutation) if mutation.ino() == Some(ino) => mutation,
            OpKind::Mutation(_) => return Ok(()),
        };
        let len = self.image.len_bytes();
        let resizes = match mutation {
            Mutation::Truncate { len: new, .. } => *new != len,
            Mutation::Write { .. } => mutation.range().is_some_and(|range| range.end > len),
            Mutation::Allocate { range, .. } | Mutation::Zero { range, keep_len: false, .. } => {
                range.end > len
            }
            _ => false,
        };
        if resizes {
            return Err(ExportError::Resizes { number: op.number });
        }
        let flags = if op.fua { FUA } else { 0 };
        let done = match mutation {
            Mutation::Write { offset, data, .. } => self.write(*offset, op.arrived(data), flags),
            Mutation::Punch { range, .. } | Mutation::Zero { range, .. } => {
                self.discard(range.start..range.end.min(len), flags)
            }
            _ => Ok(()),
        };
        done.map_err(io_error(op))
    }

    fn write(&mut self, offset: u64, data: &[u8], flags: u64) -> io::Result<()> {
        self.image.write_at(offset, data)?;
        self.sectors(offset..offset + data.len() as u64, flags)
    }

    /// The sectors that hold a range, as they are now.
    fn sectors(&mut self, range: Range<u64>, flags: u64) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let sectors = range.start / self.sector..range.end.div_ceil(self.sector);
        let bytes = read(&self.image, sectors.start * self.sector..sectors.end * self.sector)?;
        self.entry(sectors, flags, &[])?;
        self.out.write_all(&bytes)
    }

    fn discard(&mut self, range: Range<u64>, flags: u64) -> io::Result<()> {
        self.image.punch(range.clone())?;
        let whole = range.start.next_multiple_of(self.sector)..range.end / self.sector * self.sector;
        if whole.is_empty() {
            return self.sectors(range, flags);
        }
        self.sectors(range.start..whole.start, flags)?;
        let mut at = whole.start;
        while at < whole.end {
            let end = whole.end.min(at + DISCARD_MAX_BYTES);
            self.entry(at / self.sector..end / self.sector, DISCARD | flags, &[])?;
            at = end;
        }
        self.sectors(whole.end..range.end, flags)
    }
}

fn io_error(op: &Op) -> impl FnOnce(io::Error) -> ExportError + use<> {
    let number = op.number;
    move |source| ExportError::Io { number, source }
}
