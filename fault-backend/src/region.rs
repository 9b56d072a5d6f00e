//! Regions of a disk that a fault can be tied to.

use std::ops::Range;

/// A part of a disk with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// Protective MBR, both GPT headers and both entry arrays at their usual places.
    Gpt,
}

/// Bytes of a partition entry array of the usual 128 entries (UEFI 2.10 §5.3).
const GPT_ARRAY_BYTES: u64 = 128 * 128;

impl Region {
    /// Whether a non-empty range of bytes touches the region of a disk of this length and sector size.
    pub fn touches(self, range: &Range<u64>, len_bytes: u64, sector_bytes: u32) -> bool {
        match self {
            Self::Gpt => {
                let sector = u64::from(sector_bytes);
                // MBR, header, array in front (LBA 0..=33 at 512 bytes); array and header at the end.
                let front = 2 * sector + GPT_ARRAY_BYTES;
                let back = len_bytes.saturating_sub(sector + GPT_ARRAY_BYTES);
                range.start < range.end && (range.start < front || range.end > back)
            }
        }
    }

    /// The name in a fault's text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt => "gpt",
        }
    }
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
}
