//! The fields of structures, and how their values are shown. A table lists a structure's fields by byte range; two copies
//! of the structure become the list of fields in which they differ, checksums told apart from what they cover.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::gpt::Guid;

/// Characters of a value that are shown.
const VALUE_SHOWN: usize = 48;

/// One field of a structure: its name, its bytes within the structure (cut to the structure's length), its form.
pub type Spec = (&'static str, Range<usize>, Form);

/// How a field's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An integer, little-endian, in decimal.
    Le,
    /// An integer, little-endian, in hexadecimal.
    LeHex,
    /// A checksum, little-endian.
    LeCrc,
    /// An integer, big-endian, in decimal.
    Be,
    /// An integer, big-endian, in hexadecimal.
    BeHex,
    /// A GUID as GPT stores it.
    Guid,
    /// Text of single bytes, ended by a NUL.
    Text,
    /// Text of UTF-16 units, ended by a NUL.
    Utf16,
    /// Seconds since 1970, little-endian.
    Seconds,
    /// How many bits are set.
    Bits,
    /// Bytes.
    Raw,
}

/// A field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// Its name.
    pub name: String,
    /// Its value where all is well.
    pub wanted: String,
    /// Its value in the state that is explained.
    pub found: String,
    /// It is a checksum of other bytes: it differs since they do, or stands alone against them.
    pub checksum: bool,
}

/// The fields in which two copies of a structure differ, in the order of the table.
pub fn changes(specs: &[Spec], wanted: &[u8], found: &[u8]) -> Vec<FieldChange> {
    let len = wanted.len().min(found.len());
    let differing = specs.iter().filter_map(|(name, at, form)| {
        let at = at.start.min(len)..at.end.min(len);
        let (wanted, found) = (&wanted[at.clone()], &found[at]);
        (wanted != found).then(|| FieldChange {
            name: (*name).to_owned(),
            wanted: form.shown(wanted),
            found: form.shown(found),
            checksum: *form == Form::LeCrc,
        })
    });
    differing.collect()
}

impl Form {
    /// A value for a person.
    fn shown(self, raw: &[u8]) -> String {
        let text = match self {
            Self::Le => format!("{}", integer(raw.iter().rev())),
            Self::LeHex | Self::LeCrc => {
                format!("{:#0width$x}", integer(raw.iter().rev()), width = 2 + 2 * raw.len())
            }
            Self::Be => format!("{}", integer(raw.iter())),
            Self::BeHex => format!("{:#x}", integer(raw.iter())),
            Self::Guid => match raw.try_into() {
                Ok(raw) => Guid(raw).to_string(),
                Err(_) => hexadecimal(raw),
            },
            Self::Text => {
                let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
                format!("`{}`", raw[..end].escape_ascii())
            }
            Self::Utf16 => {
                let units = raw.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
                let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
                format!("`{}`", String::from_utf16_lossy(&units).escape_debug())
            }
            Self::Seconds => {
                let seconds = integer(raw.iter().rev());
                match i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()) {
                    Some(time) if seconds != 0 => time.to_string(),
                    _ => seconds.to_string(),
                }
            }
            Self::Bits => raw.iter().map(|byte| byte.count_ones()).sum::<u32>().to_string(),
            Self::Raw => hexadecimal(raw),
        };
        match text.char_indices().nth(VALUE_SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

/// An integer from its bytes, the highest first; what is above 64 bits is lost.
fn integer<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    bytes.fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn hexadecimal(raw: &[u8]) -> String {
    raw.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_shows_its_value_as_a_person_reads_it() {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        for (form, raw, expected) in [
            (Form::Le, vec![1, 2], "513"),
            (Form::LeHex, vec![1, 2], "0x0201"),
            (Form::LeCrc, vec![1, 0, 0, 0], "0x00000001"),
            (Form::Be, vec![1, 2], "258"),
            (Form::BeHex, vec![0, 0x20], "0x20"),
            (Form::Text, b"root\0xyz".to_vec(), "`root`"),
            (Form::Utf16, utf16("P3\0x"), "`P3`"),
            (Form::Seconds, vec![0, 0, 0, 0], "0"),
            (Form::Seconds, 86_400u32.to_le_bytes().to_vec(), "1970-01-02T00:00:00Z"),
            (Form::Bits, vec![0xFF, 1], "9"),
            (Form::Raw, vec![0xAB, 1], "ab01"),
            (Form::Guid, vec![1], "01"),
            (Form::Guid, (0..16).collect(), "03020100-0504-0706-0809-0A0B0C0D0E0F"),
        ] {
            assert_eq!(form.shown(&raw), expected, "{form:?} {raw:?}");
        }
        assert_eq!(Form::Raw.shown(&[0; 99]).chars().count(), VALUE_SHOWN + 1);
    }

    #[test]
    fn only_fields_that_differ_are_listed_and_a_checksum_is_told_apart() {
        const SPECS: [Spec; 3] =
            [("size", 0..2, Form::Le), ("name", 2..4, Form::Text), ("CRC", 4..8, Form::LeCrc)];
        let found = changes(&SPECS, &[1, 0, b'a', 0, 9, 0, 0, 0], &[2, 0, b'a', 0, 8, 0, 0, 0]);
        let told: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.wanted.as_str(), f.checksum)).collect();
        assert_eq!(told, [("size", "1", false), ("CRC", "0x00000009", true)]);
        // A piece that a damaged structure cuts short has the fields that are left.
        assert_eq!(changes(&SPECS, &[1, 0, b'a'], &[1, 0, b'b']).len(), 1);
    }
}
