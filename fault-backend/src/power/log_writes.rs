//! Recordings in the format of the kernel's dm-log-writes target, written and read, so that a run that was recorded
//! by either can be replayed by the other's tools (xfstests' `replay-log`).
//!
//! All numbers are little-endian. Sector 0 holds the super block: magic `0x6a736677736872` (8 bytes), version 1 (8),
//! number of entries (8), bytes of a sector (4). Each entry is a sector with its first sector on the disk (8),
//! number of sectors (8), flags (8), bytes of data in the sector itself (8) and, for a mark, its text; the sectors
//! that were written follow it, but not for a discard. See `drivers/md/dm-log-writes.c` and
//! `Documentation/admin-guide/device-mapper/log-writes.rst` of Linux. The target logs a write once it is covered by
//! a flush; that order is the op log's, which has one op at a time.
//!
//! A log is of one disk, whose content before the run is the other file that a replay needs (see [`Image::export`]).

mod export;
mod import;

#[cfg(test)]
mod tests;

use std::io;

use crate::image::Image;

pub use export::{ExportError, export};
pub use import::{Entries, Entry, EntryAction, ImportError, import};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;

/// Bytes of the super block's fields.
const SUPER_BYTES: usize = 28;

/// Bytes of an entry's fields; a mark's text begins behind them.
const ENTRY_BYTES: usize = 32;

/// What was done comes after a flush.
const FLUSH: u64 = 1;
/// The write was forced.
const FUA: u64 = 1 << 1;
/// The sectors were discarded.
const DISCARD: u64 = 1 << 2;
/// A mark that user space made.
const MARK: u64 = 1 << 3;
/// The write was of a file system's metadata.
const METADATA: u64 = 1 << 4;

/// Sector sizes that the target can have.
const SECTORS: std::ops::RangeInclusive<u32> = 512..=65536;

fn is_sector(bytes: u32) -> bool {
    bytes.is_power_of_two() && SECTORS.contains(&bytes)
}

/// Reads all of a range of an image.
fn read(image: &Image, range: std::ops::Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    let read = image.read_at(range.start, &mut bytes)?;
    if read == bytes.len() { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
