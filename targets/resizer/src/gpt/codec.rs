//! Headers and entry arrays to bytes and back, by crate `gpt`, on memory only.
//!
//! The crate works on seekable devices, so a [`Window`] shows it the two ranges that it touches of a disk whose
//! other bytes do not exist. What the crate can't keep (headers longer than 92 bytes, entries of another size than
//! 128) is refused here before it sees it.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use ::gpt::disk::LogicalBlockSize;
use ::gpt::header::{Header, HeaderError, read_header_from_arbitrary_device};
use ::gpt::partition::{Partition, file_read_partitions};

use super::{ENTRY_LEN, MAX_ENTRIES};

/// Length of the header that UEFI 2.10 defines; the rest of its sector is zeros.
const HEADER_LEN: u32 = 92;

/// Why a copy of the table can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// The header's sector does not begin with `EFI PART`.
    #[error("no header")]
    NoHeader,
    /// The header's checksum is wrong, or a field of it makes no sense.
    #[error("the header is damaged")]
    Header(#[source] HeaderError),
    /// The header says that it lies elsewhere.
    #[error("its header says that it belongs to LBA {0}")]
    Misplaced(u64),
    /// The header is longer than the 92 bytes that are defined.
    #[error("a header of {0} bytes isn't supported")]
    HeaderLen(u32),
    /// Entries are not 128 bytes long.
    #[error("entries of {0} bytes aren't supported")]
    EntryLen(u32),
    /// The array has too many entries, or none.
    #[error("a table of {0} entries isn't supported (1 to {MAX_ENTRIES})")]
    EntryCount(u32),
    /// Table, usable space and disk do not fit together.
    #[error("its structures overlap or lie outside of the disk")]
    Bounds,
    /// The array's checksum is wrong.
    #[error("the entry array is damaged")]
    Array(#[source] io::Error),
}

/// Decodes the header in `sector`, which was read from `lba`.
pub(super) fn decode_header(sector: &[u8], lba: u64, sector_size: LogicalBlockSize) -> Result<Header, Flaw> {
    let field = |at: usize| u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]]);
    if !sector.starts_with(b"EFI PART") {
        return Err(Flaw::NoHeader);
    }
    if field(12) != HEADER_LEN {
        return Err(Flaw::HeaderLen(field(12)));
    }
    // The crate reads a header from LBA 1 of whatever it is given.
    let mut disk = vec![0; sector_size.as_usize()];
    disk.extend_from_slice(sector);
    let header =
        read_header_from_arbitrary_device(&mut Cursor::new(disk), sector_size).map_err(Flaw::Header)?;
    if header.current_lba != lba {
        return Err(Flaw::Misplaced(header.current_lba));
    }
    if header.part_size as usize != ENTRY_LEN {
        return Err(Flaw::EntryLen(header.part_size));
    }
    if header.num_parts == 0 || header.num_parts > MAX_ENTRIES {
        return Err(Flaw::EntryCount(header.num_parts));
    }
    Ok(header)
}

/// Checks `array` against the checksum in `header`.
pub(super) fn check_array(header: &Header, array: &[u8]) -> Result<(), Flaw> {
    let at_zero = Header { part_start: 0, ..header.clone() };
    file_read_partitions(&mut Cursor::new(array), &at_zero, LogicalBlockSize::Lb512)
        .map(drop)
        .map_err(Flaw::Array)
}

/// The sector that holds `header`, with the checksums of itself and of `array`.
pub(super) fn encode_header(
    header: &Header,
    array: &[u8],
    sector_size: LogicalBlockSize,
) -> Result<Vec<u8>, HeaderError> {
    let sector_len = sector_size.as_u64();
    let mut window = Window {
        array: (header.part_start.saturating_mul(sector_len), array),
        header: (header.current_lba.saturating_mul(sector_len), vec![0; sector_size.as_usize()]),
        position: 0,
    };
    let mut header = header.clone();
    if header.current_lba < header.backup_lba {
        header.write_primary(&mut window, sector_size)?;
    } else {
        header.write_backup(&mut window, sector_size)?;
    }
    Ok(window.header.1)
}

/// Decodes one entry; `None` where its type GUID says that it is unused.
pub(super) fn decode_entry(raw: &[u8]) -> io::Result<Option<Partition>> {
    let header = Header {
        signature: String::new(),
        revision: (1, 0),
        header_size_le: HEADER_LEN,
        crc32: 0,
        reserved: 0,
        current_lba: 1,
        backup_lba: 0,
        first_usable: 0,
        last_usable: 0,
        disk_guid: uuid::Uuid::nil(),
        part_start: 0,
        num_parts: 1,
        part_size: ENTRY_LEN as u32,
        crc32_parts: crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(raw),
    };
    let mut found = file_read_partitions(&mut Cursor::new(raw), &header, LogicalBlockSize::Lb512)?;
    Ok(found.remove(&1).filter(Partition::is_used))
}

/// The 128 bytes of `partition`.
pub(super) fn encode_entry(partition: &Partition) -> io::Result<Vec<u8>> {
    let mut raw = Cursor::new(Vec::with_capacity(ENTRY_LEN));
    partition.write_to_device(&mut raw, 0, 0, LogicalBlockSize::Lb512, ENTRY_LEN as u32)?;
    Ok(raw.into_inner())
}

/// A disk of which only an entry array (to read) and one header sector (to write) exist.
struct Window<'a> {
    array: (u64, &'a [u8]),
    header: (u64, Vec<u8>),
    position: u64,
}

/// The part of `range` from `position` on.
fn offset_in(range_start: u64, range_len: usize, position: u64) -> io::Result<usize> {
    position
        .checked_sub(range_start)
        .and_then(|offset| usize::try_from(offset).ok())
        .filter(|offset| *offset < range_len)
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

impl Read for Window<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (start, bytes) = self.array;
        let rest = &bytes[offset_in(start, bytes.len(), self.position)?..];
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        self.position += len as u64;
        Ok(len)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let (start, bytes) = &mut self.header;
        let offset = offset_in(*start, bytes.len(), self.position)?;
        let len = data.len().min(bytes.len() - offset);
        bytes[offset..offset + len].copy_from_slice(&data[..len]);
        self.position += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(_) => None,
        }
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
