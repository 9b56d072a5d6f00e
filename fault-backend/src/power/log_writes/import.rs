//! Reads a log of a disk, entry by entry or as ops. It comes from elsewhere, so everything in it is checked, and what it
//! makes us hold in memory is never more than what it holds itself.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use super::{DISCARD, ENTRY_BYTES, FLUSH, FUA, MAGIC, MARK, METADATA, SUPER_BYTES, VERSION, is_sector};
use crate::oplog::{Op, OpKind, OpLog, Outcome};
use crate::volume::{Ino, Mutation, Timestamp};

/// What is no log of the disk.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It begins otherwise.
    #[error("this is no dm-log-writes log: its magic number is {0:#x}, expected {MAGIC:#x}")]
    NoLog(u64),
    /// It is of another version.
    #[error("the log has version {0}: expected {VERSION}")]
    Version(u64),
    /// There are no such sectors.
    #[error("the log has sectors of {0} bytes: expected a power of two from 512 to 65536")]
    NoSector(u32),
    /// An entry is beyond the disk.
    #[error("entry {entry} of the log ends beyond the disk, which has {len_bytes} bytes")]
    BeyondEnd {
        /// Which, from 1.
        entry: u64,
        /// Length of the disk.
        len_bytes: u64,
    },
    /// An entry has flags that are not known, or a mark that is longer than its sector or has data.
    #[error("entry {entry} of the log makes no sense: flags {flags:#x}, {inline_bytes} bytes in its sector")]
    Malformed {
        /// Which, from 1.
        entry: u64,
        /// Its flags.
        flags: u64,
        /// Data in its own sector.
        inline_bytes: u64,
    },
    /// It ends too early, or can't be read.
    #[error("can't read entry {entry} of the log")]
    Io {
        /// Which, from 1; 0 for the super block.
        entry: u64,
        /// Why.
        source: io::Error,
    },
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which, from 1.
    pub number: u64,
    /// All that was done before is made durable first.
    pub flush: bool,
    /// What was done is durable once it completed.
    pub fua: bool,
    /// What was done.
    pub action: EntryAction,
}

/// What an entry says was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryAction {
    /// Nothing, besides a flush.
    Nothing,
    /// User space made a mark of this name.
    Mark(String),
    /// Bytes were written.
    Write {
        /// First byte.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// Bytes were discarded, and read as zeros from then on.
    Discard(Range<u64>),
}

/// Reads the entries of a log of a disk, in order. After an error there are no more.
#[derive(Debug)]
pub struct Entries<R> {
    input: R,
    len_bytes: u64,
    /// The sector of the entry that is read.
    block: Vec<u8>,
    next: u64,
    count: u64,
}

impl<R: Read> Entries<R> {
    /// Reads the super block of a log of a disk of `len_bytes` bytes.
    pub fn open(mut input: R, len_bytes: u64) -> Result<Self, ImportError> {
        let mut fields = [0; SUPER_BYTES];
        let broken = |source| ImportError::Io { entry: 0, source };
        input.read_exact(&mut fields).map_err(broken)?;
        let [magic, version, count] = [0, 8, 16].map(|at| number(&fields, at));
        let sector_bytes = u32::from_le_bytes(std::array::from_fn(|at| fields[SUPER_BYTES - 4 + at]));
        if magic != MAGIC {
            return Err(ImportError::NoLog(magic));
        } else if version != VERSION {
            return Err(ImportError::Version(version));
        } else if !is_sector(sector_bytes) {
            return Err(ImportError::NoSector(sector_bytes));
        }
        let mut block = vec![0; sector_bytes as usize];
        input.read_exact(&mut block[SUPER_BYTES..]).map_err(broken)?;
        Ok(Self { input, len_bytes, block, next: 1, count })
    }

    fn entry(&mut self, entry: u64) -> Result<Entry, ImportError> {
        let broken = |source| ImportError::Io { entry, source };
        self.input.read_exact(&mut self.block).map_err(broken)?;
        let [sector, count, flags, inline_bytes] = [0, 8, 16, 24].map(|at| number(&self.block, at));
        let room = (self.block.len() - ENTRY_BYTES) as u64;
        let is_mark = flags & MARK != 0;
        if flags & !(FLUSH | FUA | DISCARD | MARK | METADATA) != 0
            || inline_bytes > room
            || (is_mark && (count > 0 || flags & !MARK != 0))
        {
            return Err(ImportError::Malformed { entry, flags, inline_bytes });
        }
        let range = self.range(sector, count, entry)?;
        let action = if is_mark {
            let text = &self.block[ENTRY_BYTES..ENTRY_BYTES + inline_bytes as usize];
            EntryAction::Mark(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
        } else if range.is_empty() {
            EntryAction::Nothing
        } else if flags & DISCARD != 0 {
            EntryAction::Discard(range)
        } else {
            EntryAction::Write { offset: range.start, data: self.data(&range, entry)? }
        };
        Ok(Entry { number: entry, flush: flags & FLUSH != 0, fua: flags & FUA != 0, action })
    }

    /// The bytes of an entry's sectors.
    fn range(&self, sector: u64, count: u64, entry: u64) -> Result<Range<u64>, ImportError> {
        let sector_bytes = self.block.len() as u64;
        let start = sector.checked_mul(sector_bytes);
        let end = sector.checked_add(count).and_then(|end| end.checked_mul(sector_bytes));
        match (start, end) {
            (Some(start), Some(end)) if count == 0 || end <= self.len_bytes => Ok(start..end),
            _ => Err(ImportError::BeyondEnd { entry, len_bytes: self.len_bytes }),
        }
    }

    fn data(&mut self, range: &Range<u64>, entry: u64) -> Result<Vec<u8>, ImportError> {
        let len = range.end - range.start;
        let mut data = Vec::new();
        // It grows with what is there, whatever the entry says.
        let read = self.input.by_ref().take(len).read_to_end(&mut data);
        let read = read.map_err(|source| ImportError::Io { entry, source })?;
        if (read as u64) < len {
            return Err(ImportError::Io { entry, source: io::ErrorKind::UnexpectedEof.into() });
        }
        Ok(data)
    }
}

impl<R: Read> Iterator for Entries<R> {
    type Item = Result<Entry, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.count {
            return None;
        }
        let entry = self.entry(self.next);
        match entry {
            Ok(_) => self.next += 1,
            Err(_) => self.count = 0,
        }
        Some(entry)
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

/// Reads a log as the ops on one file, `ino`, of `len_bytes` bytes. Writes are of whole sectors, discards are punched
/// ranges, a mark begins a step of its name.
pub fn import(input: &mut impl Read, ino: Ino, len_bytes: u64) -> Result<OpLog, ImportError> {
    let mut ops =
        Ops { step: "start".into(), process: "dm-log-writes".into(), epoch: 0, log: OpLog::default() };
    for entry in Entries::open(input, len_bytes)? {
        let Entry { flush, fua, action, .. } = entry?;
        if flush {
            ops.push(OpKind::Flush { ino: None, data_only: false }, false);
            ops.epoch += 1;
        }
        let mutation = match action {
            EntryAction::Nothing => continue,
            EntryAction::Mark(name) => {
                ops.step = name.into();
                continue;
            }
            EntryAction::Write { offset, data } => Mutation::Write { ino, offset, data: data.into() },
            EntryAction::Discard(range) => Mutation::Punch { ino, range },
        };
        ops.push(OpKind::Mutation(mutation), fua);
    }
    Ok(ops.log)
}

/// A log in the making.
struct Ops {
    step: Arc<str>,
    process: Arc<str>,
    epoch: u32,
    log: OpLog,
}

impl Ops {
    fn push(&mut self, kind: OpKind, fua: bool) {
        self.log.push(Op {
            number: self.log.len() + 1,
            kind,
            fua,
            cached: false,
            process: self.process.clone(),
            step: self.step.clone(),
            acks: 0,
            epoch: self.epoch,
            outcome: Outcome::Completed,
            time: Timestamp::default(),
            path: None,
        });
    }
}
