//! What an oracle's strings select: a partition, a byte range, a place, a mask. The model keeps them as they are
//! written, so that an error can show them; these functions read them, and loading a scenario has called them all.

use std::fmt;
use std::ops::Range;

use crate::size;

/// A partition as an oracle names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionRef {
    /// By its label.
    Label(String),
    /// By its number in the table, from 1.
    Index(u32),
}

impl PartitionRef {
    /// Reads `index:3`, `3` (a number alone), `label:3`, or anything else as a label.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let number = text.strip_prefix("index:").unwrap_or(text);
        match (number.parse(), text.strip_prefix("label:")) {
            (Ok(index), _) => Self::Index(index),
            (Err(_), Some(label)) => Self::Label(label.to_owned()),
            (Err(_), None) => Self::Label(text.to_owned()),
        }
    }
}

impl fmt::Display for PartitionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => f.write_str(label),
            Self::Index(index) => write!(f, "index:{index}"),
        }
    }
}

/// Where the file systems are that `fsck` and `content` look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// In these partitions of the file.
    Partitions(Vec<PartitionRef>),
    /// From this byte of the file on; 0 where the file is the file system.
    Offset(u64),
}

impl Target {
    /// Reads the two keys of such an oracle; `None` where the offset is none or both are given.
    #[must_use]
    pub fn parse(partitions: &[String], at: Option<&str>) -> Option<Self> {
        match (partitions, at) {
            ([], None) => Some(Self::Offset(0)),
            ([], Some(text)) => offset(text).map(Self::Offset),
            (names, None) => {
                Some(Self::Partitions(names.iter().map(|name| PartitionRef::parse(name)).collect()))
            }
            (_, Some(_)) => None,
        }
    }
}

/// What a baseline's `mask` excuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mask {
    /// Space that belongs to no partition and no table, in every file that has a GPT.
    Unallocated,
    /// All of every file: uninterrupted runs differ anywhere, and nothing is compared with them.
    Everything,
    /// Bytes of one file, or of every file where none is named.
    Range {
        /// Path inside the volume.
        file: Option<String>,
        /// The bytes.
        bytes: Range<u64>,
    },
}

impl Mask {
    /// Reads `unallocated`, `everything`, `0x1000+512` or `disk.img:0x1000+512`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "unallocated" => return Some(Self::Unallocated),
            "everything" => return Some(Self::Everything),
            _ => {}
        }
        let (file, bytes) = match text.rsplit_once(':') {
            Some((file, bytes)) => (Some(file.to_owned()), bytes),
            None => (None, text),
        };
        Some(Self::Range { file, bytes: range(bytes)? })
    }
}

/// Reads a byte range `START+LENGTH`, both hexadecimal with `0x` or as sizes (`1M+512`).
#[must_use]
pub fn range(text: &str) -> Option<Range<u64>> {
    let (start, len) = text.split_once('+')?;
    let start = offset(start)?;
    Some(start..start.checked_add(offset(len)?)?)
}

/// Reads a number of bytes: hexadecimal with `0x`, or a size (`1M`).
#[must_use]
pub fn offset(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        // `from_str_radix` would take a sign.
        Some(hex) if hex.starts_with(|first: char| first.is_ascii_hexdigit()) => {
            u64::from_str_radix(hex, 16).ok()
        }
        Some(_) => None,
        None => size::parse(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_an_index_and_anything_else_a_label() {
        for (text, read) in [
            ("3", PartitionRef::Index(3)),
            ("index:3", PartitionRef::Index(3)),
            ("label:3", PartitionRef::Label("3".to_owned())),
            ("P3", PartitionRef::Label("P3".to_owned())),
            ("index:P3", PartitionRef::Label("index:P3".to_owned())),
        ] {
            assert_eq!(PartitionRef::parse(text), read, "{text}");
        }
    }

    #[test]
    fn masks_are_unallocated_or_ranges_of_one_or_every_file() {
        let of = |file: Option<&str>, bytes| Some(Mask::Range { file: file.map(str::to_owned), bytes });
        for (text, read) in [
            ("unallocated", Some(Mask::Unallocated)),
            ("everything", Some(Mask::Everything)),
            ("0x1000+512", of(None, 0x1000..0x1200)),
            ("1M+4K", of(None, 1 << 20..(1 << 20) + 4096)),
            ("a/disk.img:0+1", of(Some("a/disk.img"), 0..1)),
            ("0x10-0x20", None),
            ("0x+1", None),
            ("0x+5+1", None),
            ("16777215T+16777215T", None),
        ] {
            assert_eq!(Mask::parse(text), read, "{text}");
        }
    }

    #[test]
    fn a_file_system_is_in_partitions_at_an_offset_or_the_whole_file() {
        let label = ["P3".to_owned()];
        assert_eq!(Target::parse(&[], None), Some(Target::Offset(0)));
        assert_eq!(Target::parse(&[], Some("1M")), Some(Target::Offset(1 << 20)));
        assert_eq!(
            Target::parse(&label, None),
            Some(Target::Partitions(vec![PartitionRef::Label("P3".to_owned())]))
        );
        assert_eq!(Target::parse(&label, Some("1M")), None);
        assert_eq!(Target::parse(&[], Some("first MiB")), None);
    }
}
