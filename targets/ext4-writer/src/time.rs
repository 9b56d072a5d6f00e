//! Times of an inode: seconds in 32 bits, and 32 more bits with nanoseconds and two bits that carry on the seconds.

/// A point in time since 1970, as files have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970, may be negative.
    pub seconds: i64,
    /// Nanoseconds from there, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// The earliest and the latest second that an inode can hold: December 1901 and May 2446.
const RANGE: (i64, i64) = (i32::MIN as i64, (3 << 32) + i32::MAX as i64);

impl Time {
    /// The two fields of an inode. What lies outside of the range becomes its nearest end.
    pub(crate) fn to_fields(self) -> (u32, u32) {
        let seconds = self.seconds.clamp(RANGE.0, RANGE.1);
        let low = seconds as u32;
        let epoch = ((seconds - i64::from(low as i32)) >> 32) as u32;
        (low, self.nanoseconds.min(999_999_999) << 2 | epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_carry_on_in_the_extra_bits() {
        for (seconds, fields) in [
            (0, (0, 0)),
            (-1, (u32::MAX, 0)),
            (i64::from(i32::MAX), (0x7fff_ffff, 0)),
            (1 << 31, (0x8000_0000, 1)),
            (1 << 32, (0, 1)),
            (RANGE.1, (0x7fff_ffff, 3)),
            (i64::MAX, (0x7fff_ffff, 3)),
            (i64::MIN, (0x8000_0000, 0)),
        ] {
            assert_eq!(Time { seconds, nanoseconds: 0 }.to_fields(), fields, "{seconds}");
        }
        assert_eq!(Time { seconds: 1 << 31, nanoseconds: 5 }.to_fields().1, 5 << 2 | 1);
    }
}
