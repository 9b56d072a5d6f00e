//! Which partition an argument means: `BY:VALUE`, matched against a table.

use std::fmt;

use uuid::Uuid;

use crate::gpt::{Entry, Table};
use crate::plan;
use crate::size;
use crate::usage::UsageError;

/// The ways to identify a partition, as they are written.
const BY: [&str; 4] = ["label", "name", "uuid", "index"];

/// A partition, described in one of four ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// The name in the table.
    Label(String),
    /// The name as Linux shows it (`PARTNAME` in a device's uevent): one byte for each code unit.
    Name(String),
    /// The partition's unique GUID.
    Uuid(Uuid),
    /// The position in the table, from 1.
    Index(u32),
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identifier::Label(label) => write!(f, "label `{}`", label.escape_debug()),
            Identifier::Name(name) => write!(f, "name `{}`", name.escape_debug()),
            Identifier::Uuid(uuid) => write!(f, "uuid {uuid}"),
            Identifier::Index(index) => write!(f, "index {index}"),
        }
    }
}

impl Identifier {
    fn parse(by: &str, value: &str) -> Result<Identifier, UsageError> {
        let text = || value.to_owned();
        match by {
            "label" => Ok(Identifier::Label(text())),
            "name" => Ok(Identifier::Name(text())),
            "uuid" => {
                Uuid::try_parse(value).map(Identifier::Uuid).map_err(|_| UsageError::Uuid { text: text() })
            }
            "index" => match value.parse() {
                Ok(index) if index > 0 => Ok(Identifier::Index(index)),
                _ => Err(UsageError::Index { text: text() }),
            },
            _ => Err(UsageError::Identifier { text: format!("{by}:{value}") }),
        }
    }

    fn fits(&self, index: u32, entry: &Entry) -> bool {
        match self {
            Identifier::Label(label) => label.encode_utf16().eq(entry.name_units()),
            Identifier::Name(name) => name.bytes().eq(entry.name_units().into_iter().map(kernel_char)),
            Identifier::Uuid(uuid) => entry.guid() == *uuid,
            Identifier::Index(wanted) => index == *wanted,
        }
    }

    /// The index of the one partition that fits. A partition that an interrupted run has begun never fits: it is
    /// not there yet for anyone but that run.
    pub fn resolve(&self, table: &Table) -> Result<u32, UsageError> {
        let begun: Vec<Uuid> = table.entries().map(|(_, entry)| plan::derived_guid(entry.guid())).collect();
        let real = || table.entries().filter(|(_, entry)| !begun.contains(&entry.guid()));
        let fitting: Vec<(u32, &Entry)> = real().filter(|(index, entry)| self.fits(*index, entry)).collect();
        match fitting[..] {
            [(index, _)] => Ok(index),
            [] => Err(UsageError::UnknownPartition { wanted: self.to_string(), candidates: list(real()) }),
            _ => Err(UsageError::AmbiguousPartition {
                wanted: self.to_string(),
                candidates: list(fitting.into_iter()),
            }),
        }
    }
}

/// What the kernel makes of a code unit of a name (`utf16_le_to_7bit` in `block/partitions/efi.c`): its low byte,
/// or `!` where that is not printable in Latin-1.
fn kernel_char(unit: u16) -> u8 {
    match unit as u8 {
        byte @ (b' '..=b'~' | 0xA0..) => byte,
        _ => b'!',
    }
}

fn list<'a>(entries: impl Iterator<Item = (u32, &'a Entry)>) -> String {
    let all: Vec<String> = entries
        .map(|(index, entry)| format!("{index} `{}` ({})", entry.name().escape_debug(), entry.guid()))
        .collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// The value of `--grow-partition`: a partition and the size that it shall have at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowArg {
    /// Which one.
    pub partition: Identifier,
    /// The size in bytes.
    pub len_bytes: u64,
}

/// The value of `--shrink-partition`: a partition and, perhaps, the size that it may be shrunk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShrinkArg {
    /// Which one.
    pub partition: Identifier,
    /// The size in bytes; as much as is missing if `None`.
    pub len_bytes: Option<u64>,
}

fn split_by(text: &str) -> Result<(&str, &str), UsageError> {
    text.split_once(':').ok_or_else(|| UsageError::Identifier { text: text.to_owned() })
}

impl std::str::FromStr for GrowArg {
    type Err = UsageError;

    fn from_str(text: &str) -> Result<GrowArg, UsageError> {
        let (by, rest) = split_by(text)?;
        if !BY.contains(&by) {
            return Err(UsageError::Identifier { text: text.to_owned() });
        }
        // A label may hold colons, so the size is what follows the last one.
        let (value, len) =
            rest.rsplit_once(':').ok_or_else(|| UsageError::SizeMissing { text: text.to_owned() })?;
        Ok(GrowArg { partition: Identifier::parse(by, value)?, len_bytes: size::parse(len)? })
    }
}

impl std::str::FromStr for ShrinkArg {
    type Err = UsageError;

    fn from_str(text: &str) -> Result<ShrinkArg, UsageError> {
        let (by, rest) = split_by(text)?;
        // What follows a colon and begins with a digit is meant as a size; else the colon belongs to the label.
        let (value, len) = match rest.rsplit_once(':') {
            Some((value, len)) if len.starts_with(|c: char| c.is_ascii_digit()) => {
                (value, Some(size::parse(len)?))
            }
            _ => (rest, None),
        };
        Ok(ShrinkArg { partition: Identifier::parse(by, value)?, len_bytes: len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> Identifier {
        Identifier::Label(text.to_owned())
    }

    #[test]
    fn labels_may_hold_colons_and_spaces() {
        let grow: GrowArg = "label:EFI: System:96M".parse().unwrap();
        assert_eq!(grow, GrowArg { partition: label("EFI: System"), len_bytes: 96 << 20 });
        let shrink: ShrinkArg = "label:a:b".parse().unwrap();
        assert_eq!(shrink, ShrinkArg { partition: label("a:b"), len_bytes: None });
    }

    #[test]
    fn every_way_to_identify_is_read() {
        let uuid = "0F0E0D0C-0B0A-0908-0706-050403020100";
        for (text, partition) in [
            ("label:P3:1G", label("P3")),
            ("name:P3:1G", Identifier::Name("P3".to_owned())),
            ("index:9:1G", Identifier::Index(9)),
            (&format!("uuid:{uuid}:1G"), Identifier::Uuid(uuid.parse().unwrap())),
        ] {
            assert_eq!(text.parse::<GrowArg>().unwrap(), GrowArg { partition, len_bytes: 1 << 30 });
        }
    }

    #[test]
    fn malformed_arguments_say_what_is_wrong() {
        for (text, message) in [
            ("P3", "`P3` does not begin with label:, name:, uuid: or index:"),
            ("part:P3:1G", "`part:P3:1G` does not begin with label:, name:, uuid: or index:"),
            ("label:P3", "`label:P3` has no size; the form is BY:VALUE:SIZE"),
            ("index:0:1G", "`0` is not a partition index"),
            ("uuid:12:1G", "`12` is not a UUID"),
            ("label:P3:many", "`many` is not a size: a whole number with B, K, M, G or T"),
        ] {
            assert_eq!(text.parse::<GrowArg>().unwrap_err().to_string(), message);
        }
        assert!("label:P3:3x".parse::<ShrinkArg>().is_err());
    }

    #[test]
    fn names_match_as_the_kernel_shows_them() {
        let shown: Vec<u8> = "Aé€\u{1}".encode_utf16().map(kernel_char).collect();
        assert_eq!(shown, [b'A', 0xE9, 0xAC, b'!']);
    }
}
