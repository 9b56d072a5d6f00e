//! Sizes on the command line: bytes, or with K, M, G or T in units of 1024.

/// A size that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no size; write bytes, or a number with K, M, G or T")]
pub struct SizeError {
    text: String,
}

/// Bytes that a size means.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let unknown = || SizeError { text: text.to_owned() };
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(unknown()),
    };
    let number = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let number: u64 = number.and_then(|digits| digits.parse().ok()).ok_or_else(unknown)?;
    number.checked_mul(1 << shift).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_in_1024() {
        for (text, bytes) in [("0", Some(0)), ("4096", Some(4096)), ("3K", Some(3072)), ("2T", Some(2 << 40))]
        {
            assert_eq!(parse(text).ok(), bytes, "{text}");
        }
        for text in ["", "K", "-1", "+1", "1k", "1KB", "1KK", "1.5G", "99999999999T"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
