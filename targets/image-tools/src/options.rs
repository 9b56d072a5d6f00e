//! Options that several commands have: sizes, a fixed clock, and how the result is printed.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde::Serialize;

/// How the result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A few lines.
    #[default]
    Human,
    /// One JSON object.
    Json,
}

/// What is no size.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no size: give a whole number, with B, K, M, G or T (1024-based)")]
pub struct SizeError(String);

/// Reads a size such as `64M`: B, K, M, G, T are 1024-based, and without a unit it is bytes.
pub fn size(text: &str) -> Result<u64, SizeError> {
    let wrong = || SizeError(text.to_owned());
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// The time that ages count from: what was given in seconds since 1970, else now.
pub fn now(given_s: Option<u64>) -> SystemTime {
    given_s.map_or_else(SystemTime::now, |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs))
}

/// Prints a result as one line of JSON.
pub fn print_json(out: &mut dyn Write, result: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, result)?;
    writeln!(out)
}

/// An error with its causes, on one line.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}

/// How every error of the program begins.
pub const ERROR_PREFIX: &str = "image-tools: error: ";

/// Says on one line what went wrong.
pub fn complain(err: &mut dyn Write, error: &dyn std::error::Error) -> io::Result<()> {
    writeln!(err, "{ERROR_PREFIX}{}", explain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_1024_based_and_anything_else_is_refused() {
        for (text, bytes) in
            [("0", 0), ("7b", 7), ("3K", 3072), ("64M", 64 << 20), ("2g", 2 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "M", "1.5G", "-1", "1MiB", "1KK", "1 G", "16777216T", "+1"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
