//! Sizes as people write them in a scenario: an integer and a unit, 1024-based. Only whole numbers are read, so that
//! no size is ever rounded.

use thiserror::Error;

/// Why a size can't be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SizeError {
    /// No digits at the start.
    #[error("`{0}` is not a size: write an integer and B, K, M, G or T, such as `33M`")]
    NotANumber(String),
    /// Something other than a unit after the digits.
    #[error("`{0}` has an unknown unit: use B, K, M, G or T")]
    UnknownUnit(String),
    /// More than 64 bits.
    #[error("`{0}` is more than 64 bits hold")]
    TooLarge(String),
}

/// Bytes of `33M`, `512K`, `1G`, `4096`, `4096B`; units are 1024-based and of any case.
///
/// # Errors
/// Where the text is anything but an integer and at most one unit, or does not fit 64 bits.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    if digits.is_empty() {
        return Err(SizeError::NotANumber(text.to_owned()));
    }
    let shift = match unit {
        "" | "B" | "b" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return Err(SizeError::UnknownUnit(text.to_owned())),
    };
    let too_large = || SizeError::TooLarge(text.to_owned());
    let number: u64 = digits.parse().map_err(|_| too_large())?;
    number.checked_mul(1 << shift).ok_or_else(too_large)
}

/// The shortest spelling that [`parse`] reads back as `bytes`.
#[must_use]
pub fn print(bytes: u64) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_1024_based_and_of_any_case() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("3k", 3072),
            ("33M", 33 << 20),
            ("1g", 1 << 30),
            ("2T", 2 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "M", "-1M", "1.5M", "1 M", "1MB", "1MiB", "0x10", "16777216T", "99999999999999999999"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(bytes: u64) {
            prop_assert_eq!(parse(&print(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_unit_multiplies(number in 0u64..1 << 20, unit in 0usize..5) {
            let text = format!("{number}{}", ["B", "K", "M", "G", "T"][unit]);
            prop_assert_eq!(parse(&text), Ok(number << (10 * unit)));
        }
    }
}
