//! Regions of a disk that a fault can be tied to.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A part of a disk with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// Protective MBR, both GPT headers and both entry arrays at their usual places.
    Gpt,
    /// The primary header: LBA 1.
    GptPrimaryHeader,
    /// The primary entry array: from LBA 2, 128 entries of 128 bytes.
    GptPrimaryArray,
    /// The backup entry array: just before the last sector, 128 entries of 128 bytes.
    GptBackupArray,
    /// The backup header: the last sector.
    GptBackupHeader,
    /// Bytes of the disk.
    Bytes {
        /// First byte.
        first: u64,
        /// First byte behind it; greater than `first`.
        end: u64,
    },
}

/// Bytes of a partition entry array of the usual 128 entries (UEFI 2.10 §5.3).
const GPT_ARRAY_BYTES: u64 = 128 * 128;

/// The regions that are a name alone.
const NAMED: [(Region, &str); 5] = [
    (Region::Gpt, "gpt"),
    (Region::GptPrimaryHeader, "gpt-primary-header"),
    (Region::GptPrimaryArray, "gpt-primary-array"),
    (Region::GptBackupArray, "gpt-backup-array"),
    (Region::GptBackupHeader, "gpt-backup-header"),
];

/// A text that is not a region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a region: expected `gpt`, `gpt-primary-header`, `gpt-primary-array`, `gpt-backup-array`, \
    `gpt-backup-header` or `bytes-FIRST-END`"
)]
pub struct NotARegion(String);

impl Region {
    /// Whether a non-empty range of bytes touches the region of a disk of this length and sector size.
    pub fn touches(self, range: &Range<u64>, len_bytes: u64, sector_bytes: u32) -> bool {
        let parts = self.parts(len_bytes, u64::from(sector_bytes));
        range.start < range.end && parts.iter().any(|part| range.start < part.end && part.start < range.end)
    }

    /// The bytes of the region on a disk; `gpt` has two parts, the others one.
    fn parts(self, len_bytes: u64, sector: u64) -> [Range<u64>; 2] {
        let header = len_bytes.saturating_sub(sector);
        let array = header.saturating_sub(GPT_ARRAY_BYTES);
        let one = |part: Range<u64>| [part, 0..0];
        match self {
            // MBR, header, array in front (LBA 0..=33 at 512 bytes); array and header at the end, and whatever a tool
            // writes behind them.
            Self::Gpt => [0..2 * sector + GPT_ARRAY_BYTES, array..u64::MAX],
            Self::GptPrimaryHeader => one(sector..2 * sector),
            Self::GptPrimaryArray => one(2 * sector..2 * sector + GPT_ARRAY_BYTES),
            Self::GptBackupArray => one(array..header),
            Self::GptBackupHeader => one(header..len_bytes),
            Self::Bytes { first, end } => one(first..end),
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Bytes { first, end } = self {
            return write!(f, "bytes-{first}-{end}");
        }
        NAMED.iter().filter(|(region, _)| region == self).try_for_each(|(_, name)| f.write_str(name))
    }
}

impl FromStr for Region {
    type Err = NotARegion;
    fn from_str(text: &str) -> Result<Self, NotARegion> {
        if let Some((region, _)) = NAMED.iter().find(|(_, name)| *name == text) {
            return Ok(*region);
        }
        let bytes = || {
            let (first, end) = text.strip_prefix("bytes-")?.split_once('-')?;
            let (first, end) = (digits(first)?, digits(end)?);
            (first < end).then_some(Self::Bytes { first, end })
        };
        bytes().ok_or_else(|| NotARegion(text.to_owned()))
    }
}

/// A number as digits alone: `u64::from_str` takes a sign, but a text here has one spelling only.
pub(crate) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt_is_lba_0_to_33_and_the_last_33_at_512_bytes() {
        let len = 1 << 20;
        let lba = |first: u64, count: u64| first * 512..(first + count) * 512;
        let last = len / 512 - 1;
        for (range, expected) in [
            (lba(0, 1), true),
            (lba(33, 1), true),
            (lba(34, 1), false),
            (lba(20, 100), true),
            (lba(last, 1), true),
            (lba(last - 32, 1), true),
            (lba(last - 33, 1), false),
            (lba(34, last - 33 - 33), false),
            (5..5, false),
        ] {
            assert_eq!(Region::Gpt.touches(&range, len, 512), expected, "{range:?}");
        }
    }

    #[test]
    fn gpt_of_4096_byte_sectors_is_six_sectors_in_front_and_five_at_the_end() {
        let len = 64 * 4096;
        for (sector, expected) in [(0, true), (5, true), (6, false), (58, false), (59, true), (63, true)] {
            let range = sector * 4096..(sector + 1) * 4096;
            assert_eq!(Region::Gpt.touches(&range, len, 4096), expected, "sector {sector}");
        }
    }

    #[test]
    fn the_parts_of_the_gpt_are_told_apart_by_sector() {
        let len = 1 << 20;
        let last = len / 512 - 1;
        let touched = |lba: u64| {
            let range = lba * 512..(lba + 1) * 512;
            NAMED[1..]
                .iter()
                .map(|(region, _)| u8::from(region.touches(&range, len, 512)))
                .collect::<Vec<_>>()
        };
        for (lba, expected) in [
            (0, [0, 0, 0, 0]),
            (1, [1, 0, 0, 0]),
            (2, [0, 1, 0, 0]),
            (33, [0, 1, 0, 0]),
            (34, [0, 0, 0, 0]),
            (last - 33, [0, 0, 0, 0]),
            (last - 32, [0, 0, 1, 0]),
            (last - 1, [0, 0, 1, 0]),
            (last, [0, 0, 0, 1]),
        ] {
            assert_eq!(touched(lba), expected, "LBA {lba}");
        }
    }

    #[test]
    fn a_region_parses_back_from_its_text() {
        let bytes = Region::Bytes { first: 512, end: 1024 };
        for region in NAMED.iter().map(|(region, _)| *region).chain([bytes]) {
            assert_eq!(region.to_string().parse(), Ok(region));
        }
        assert!(bytes.touches(&(1023..1024), 1 << 20, 512) && !bytes.touches(&(1024..1025), 1 << 20, 512));
        for text in
            ["", "fat", "gpt-", "bytes", "bytes-1", "bytes-2-2", "bytes-3-2", "bytes-+1-2", "bytes-1-2-3"]
        {
            assert!(text.parse::<Region>().is_err(), "{text}");
        }
    }
}
