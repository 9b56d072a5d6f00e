//! One of a GPT's two copies (UEFI 2.10 §5.3.2): its header, its entry array, and everything that is wrong with
//! either. A copy is read wherever it is looked for, and never trusted beyond what its checksums cover.

use std::fmt;
use std::io;
use std::ops::Range;

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use super::entry::{ENTRY_BYTES, Guid, Partition, array};
use crate::image::ReadAt;

/// The fields of a header: name and byte range within its sector.
pub const HEADER_FIELDS: [(&str, Range<usize>); 14] = [
    ("signature", 0..8),
    ("revision", 8..12),
    ("header size", 12..16),
    ("header CRC", 16..20),
    ("reserved field", 20..24),
    ("own LBA", 24..32),
    ("alternate LBA", 32..40),
    ("first usable LBA", 40..48),
    ("last usable LBA", 48..56),
    ("disk GUID", 56..72),
    ("array LBA", 72..80),
    ("entry count", 80..84),
    ("entry size", 84..88),
    ("array CRC", 88..92),
];

/// Largest entry array that is read: 128 times the usual one. A larger claim is a fault, not an allocation.
const MAX_ARRAY_BYTES: u64 = 2 << 20;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_BYTES: usize = 92;
/// Sixteen bytes at a time: a table is read in each state that is judged.
static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Which of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// At the disk's start, header in LBA 1.
    Primary,
    /// At its end.
    Backup,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
        })
    }
}

/// What is wrong with a copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The disk is too short to hold the header.
    #[error("header lies outside the disk")]
    NoRoom,
    /// No `EFI PART`.
    #[error("header has no `EFI PART` signature")]
    Signature,
    /// A header size outside 92 bytes to one sector.
    #[error("header size is {0} bytes")]
    HeaderSize(u32),
    /// The header's CRC of itself.
    #[error("header CRC is {stored:#010x}, its bytes give {computed:#010x}")]
    HeaderCrc {
        /// As stored.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// The header says that it is somewhere else.
    #[error("own LBA is {stored}, but the header is at {actual}")]
    OwnLba {
        /// As stored.
        stored: u64,
        /// Where it is.
        actual: u64,
    },
    /// An entry array that can't be: entry size, count or place.
    #[error("entry array of {count} × {size} bytes at LBA {lba} is not possible on this disk")]
    ArrayShape {
        /// Number of entries.
        count: u32,
        /// Length of one.
        size: u32,
        /// First block.
        lba: u64,
    },
    /// The array's CRC.
    #[error("array CRC is {stored:#010x}, its bytes give {computed:#010x}")]
    ArrayCrc {
        /// As stored.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
}

impl Fault {
    /// Whether it is the header itself that can't be trusted (the array may still be fine).
    pub fn is_of_header(&self) -> bool {
        !matches!(self, Self::ArrayShape { .. } | Self::ArrayCrc { .. })
    }
}

/// A header's fields, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the header says it is.
    pub own_lba: u64,
    /// Where it says the other copy's header is.
    pub alternate_lba: u64,
    /// First block that partitions may use.
    pub first_usable_lba: u64,
    /// Last block that partitions may use.
    pub last_usable_lba: u64,
    /// The disk's GUID.
    pub disk_guid: Guid,
    /// First block of the entry array.
    pub array_lba: u64,
    /// Number of entries.
    pub entry_count: u32,
    /// Length of an entry in bytes.
    pub entry_bytes: u32,
    /// CRC of the array.
    pub array_crc: u32,
}

/// One copy as found on the disk.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Which copy.
    pub side: Side,
    /// Where its header was looked for.
    pub lba: u64,
    /// Its header; none where there is no signature.
    pub header: Option<Header>,
    /// Everything that is wrong with it; a copy is valid where there is nothing.
    pub faults: Vec<Fault>,
    /// Its used entries in table order; trusted only where the copy is valid.
    pub partitions: Vec<Partition>,
    /// The entry array's bytes; empty where the header doesn't say where they are.
    pub(super) array: Vec<u8>,
    sector_bytes: u32,
}

impl Copy {
    /// Reads the copy whose header is at `lba`.
    pub(super) fn read(
        disk: &dyn ReadAt,
        len_bytes: u64,
        sector: u32,
        side: Side,
        lba: u64,
    ) -> io::Result<Self> {
        let mut copy = Self {
            side,
            lba,
            header: None,
            faults: Vec::new(),
            partitions: Vec::new(),
            array: Vec::new(),
            sector_bytes: sector,
        };
        let Some(raw) = sector_at(disk, len_bytes, sector, lba)? else {
            copy.faults.push(Fault::NoRoom);
            return Ok(copy);
        };
        copy.take_header(&raw);
        if copy.header_is_good() {
            copy.take_array(disk, len_bytes)?;
        }
        Ok(copy)
    }

    /// Header and array match their checksums, and the header is where it says it is.
    pub fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }

    /// The header can be trusted, whatever its array is.
    pub fn header_is_good(&self) -> bool {
        self.header.is_some() && !self.faults.iter().any(Fault::is_of_header)
    }

    /// The header can be trusted and its array is not what its CRC says.
    pub fn is_torn(&self) -> bool {
        self.header_is_good() && !self.is_valid()
    }

    /// The bytes on the disk that the entry array takes; `None` where no trusted header says so.
    pub fn array_extent(&self) -> Option<Range<u64>> {
        let header = self.header.as_ref().filter(|_| self.header_is_good())?;
        let start = header.array_lba.checked_mul(u64::from(self.sector_bytes))?;
        let len = u64::from(header.entry_count) * u64::from(header.entry_bytes);
        Some(start..start.checked_add(len)?)
    }

    /// The bytes that partitions may take, by the header; empty where it can't be trusted.
    pub fn usable_bytes(&self) -> Range<u64> {
        let Some(header) = self.header.as_ref().filter(|_| self.header_is_good()) else { return 0..0 };
        let sector = u64::from(self.sector_bytes);
        let start = header.first_usable_lba.saturating_mul(sector);
        start..header.last_usable_lba.saturating_add(1).saturating_mul(sector).max(start)
    }

    fn take_header(&mut self, raw: &[u8]) {
        let header = if raw.starts_with(SIGNATURE) { decode_header(raw) } else { None };
        let Some(header) = header else {
            self.faults.push(Fault::Signature);
            return;
        };
        let stored_size = u32_at(raw, 12);
        match usize::try_from(stored_size) {
            Ok(size) if (HEADER_BYTES..=raw.len()).contains(&size) => {
                let stored = u32_at(raw, 16);
                let computed = header_crc(&raw[..size]);
                if stored != computed {
                    self.faults.push(Fault::HeaderCrc { stored, computed });
                }
            }
            _ => self.faults.push(Fault::HeaderSize(stored_size)),
        }
        if header.own_lba != self.lba {
            self.faults.push(Fault::OwnLba { stored: header.own_lba, actual: self.lba });
        }
        self.header = Some(header);
    }

    fn take_array(&mut self, disk: &dyn ReadAt, len_bytes: u64) -> io::Result<()> {
        let Some(header) = self.header.as_ref() else { return Ok(()) };
        let impossible =
            Fault::ArrayShape { count: header.entry_count, size: header.entry_bytes, lba: header.array_lba };
        let extent = self.array_extent().filter(|extent| {
            header.entry_bytes.is_power_of_two()
                && header.entry_bytes as usize >= ENTRY_BYTES
                && extent.end - extent.start <= MAX_ARRAY_BYTES
                && extent.end <= len_bytes
        });
        let Some(extent) = extent else {
            self.faults.push(impossible);
            return Ok(());
        };
        let mut array = vec![0; (extent.end - extent.start) as usize];
        disk.fill(extent.start, &mut array)?;
        let computed = CRC32.checksum(&array);
        if computed != header.array_crc {
            self.faults.push(Fault::ArrayCrc { stored: header.array_crc, computed });
        }
        self.partitions = array
            .chunks_exact(header.entry_bytes as usize)
            .zip(1..)
            .filter_map(|(raw, index)| Partition::decode(index, raw, self.sector_bytes))
            .collect();
        self.array = array;
        Ok(())
    }
}

/// One whole sector, or `None` where the disk has no such.
pub(super) fn sector_at(
    disk: &dyn ReadAt,
    len_bytes: u64,
    sector: u32,
    lba: u64,
) -> io::Result<Option<Vec<u8>>> {
    let sector = u64::from(sector);
    let end = lba.checked_add(1).and_then(|next| next.checked_mul(sector));
    let Some(end) = end.filter(|end| *end <= len_bytes) else { return Ok(None) };
    let mut raw = vec![0; sector as usize];
    disk.fill(end - sector, &mut raw)?;
    Ok(Some(raw))
}

fn header_crc(header: &[u8]) -> u32 {
    let mut digest = CRC32.digest();
    digest.update(&header[..16]);
    digest.update(&[0; 4]);
    digest.update(&header[20..]);
    digest.finalize()
}

fn decode_header(raw: &[u8]) -> Option<Header> {
    Some(Header {
        own_lba: u64::from_le_bytes(array(raw, 24)?),
        alternate_lba: u64::from_le_bytes(array(raw, 32)?),
        first_usable_lba: u64::from_le_bytes(array(raw, 40)?),
        last_usable_lba: u64::from_le_bytes(array(raw, 48)?),
        disk_guid: Guid(array(raw, 56)?),
        array_lba: u64::from_le_bytes(array(raw, 72)?),
        entry_count: u32::from_le_bytes(array(raw, 80)?),
        entry_bytes: u32::from_le_bytes(array(raw, 84)?),
        array_crc: u32::from_le_bytes(array(raw, 88)?),
    })
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    array(raw, at).map_or(0, u32::from_le_bytes)
}
