//! Sizes as they are written on the command line: whole numbers with a 1024-based unit.

use crate::usage::UsageError;

/// One mebibyte: partitions begin at multiples of it, and file systems are shrunk to multiples of it.
pub const MIB: u64 = 1 << 20;

/// One gibibyte: the step of a shrink whose size is not given.
pub const GIB: u64 = 1 << 30;

/// Reads a size such as `300M`; the unit is one of B, K, M, G, T in any case, and bytes without one.
pub fn parse(text: &str) -> Result<u64, UsageError> {
    let wrong = || UsageError::Size { text: text.to_owned() };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    // More than a disk can have would overflow sector arithmetic later on.
    if bytes > i64::MAX as u64 {
        return Err(wrong());
    }
    if bytes == 0 { Err(UsageError::ZeroSize) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_1024_based_in_any_case() {
        let table = [
            ("1", 1),
            ("7b", 7),
            ("3K", 3072),
            ("96M", 96 * MIB),
            ("2g", 2 * GIB),
            ("1T", 1 << 40),
            ("08k", 8192),
        ];
        for (text, bytes) in table {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "M",
            "1.5G",
            "-1",
            "+1",
            "1MiB",
            "1 M",
            "0x10",
            "0",
            "0G",
            "99999999T",
            "18446744073709551616",
            "9é",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
