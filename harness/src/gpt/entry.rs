//! One entry of a GPT partition array (UEFI 2.10 §5.3.3), decoded from its raw bytes. Nothing here is trusted:
//! extents may lie anywhere and names may be no text, so that hostile tables can be shown as they are.

use std::fmt;
use std::ops::Range;

/// Length of the part of an entry that the standard defines.
pub const ENTRY_BYTES: usize = 128;

/// The fields of an entry: name and byte range within the entry.
pub const ENTRY_FIELDS: [(&str, Range<usize>); 6] = [
    ("type GUID", 0..16),
    ("unique GUID", 16..32),
    ("first LBA", 32..40),
    ("last LBA", 40..48),
    ("attributes", 48..56),
    ("name", 56..128),
];

/// A GUID as it is stored: the first three groups little-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = self.0;
        let a = u32::from_le_bytes([a0, a1, a2, a3]);
        let b = u16::from_le_bytes([b0, b1]);
        let c = u16::from_le_bytes([c0, c1]);
        write!(f, "{a:08X}-{b:04X}-{c:04X}-{:02X}{:02X}-", rest[0], rest[1])?;
        rest[2..].iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A used entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Number, from 1.
    pub index: u32,
    /// Name, up to its first NUL; what is no UTF-16 shows as U+FFFD.
    pub label: String,
    /// Partition type.
    pub type_guid: Guid,
    /// The partition's own GUID.
    pub unique_guid: Guid,
    /// All 64 attribute bits.
    pub attributes: u64,
    /// First block.
    pub first_lba: u64,
    /// Last block, inclusive.
    pub last_lba: u64,
    /// First byte to one past the last on the disk; empty where last lies before first.
    pub extent: Range<u64>,
}

impl Partition {
    /// Decodes an entry; `None` where it is unused (type GUID of zeros) or shorter than [`ENTRY_BYTES`].
    pub fn decode(index: u32, raw: &[u8], sector_bytes: u32) -> Option<Self> {
        let type_guid = Guid(array(raw, 0)?);
        if type_guid.0 == [0; 16] {
            return None;
        }
        let first_lba = u64::from_le_bytes(array(raw, 32)?);
        let last_lba = u64::from_le_bytes(array(raw, 40)?);
        let sector = u64::from(sector_bytes);
        let start = first_lba.saturating_mul(sector);
        let end = last_lba.saturating_add(1).saturating_mul(sector).max(start);
        let units: Vec<u16> = raw
            .get(56..ENTRY_BYTES)?
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .take_while(|unit| *unit != 0)
            .collect();
        Some(Self {
            index,
            label: String::from_utf16_lossy(&units),
            type_guid,
            unique_guid: Guid(array(raw, 16)?),
            attributes: u64::from_le_bytes(array(raw, 48)?),
            first_lba,
            last_lba,
            extent: start..end,
        })
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.extent.end - self.extent.start
    }
}

/// `N` bytes at an offset, if they are there.
pub(super) fn array<const N: usize>(raw: &[u8], at: usize) -> Option<[u8; N]> {
    raw.get(at..at.checked_add(N)?)?.try_into().ok()
}
