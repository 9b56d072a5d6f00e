//! Device profiles: what a device writes at once, what is found where a write did not arrive, and whether it
//! honours flushes. They are small TOML files; three of them ship.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, fs, io};

use serde::{Deserialize, Serialize};

/// The profiles that ship, by name.
const SHIPPED: [(&str, &str); 3] = [
    ("eatmydata", include_str!("../../profiles/eatmydata.toml")),
    ("nvme-4k", include_str!("../../profiles/nvme-4k.toml")),
    ("sata-512", include_str!("../../profiles/sata-512.toml")),
];

/// Version of the files.
const SCHEMA: u32 = 1;

/// What a device writes as a whole or not at all. Prints as `write`, `512` or `4096`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum AtomicUnit {
    /// A whole write: nothing is torn.
    #[default]
    Write,
    /// Blocks of so many bytes, which begin at multiples of it in the file: 512 or 4096.
    Bytes(u32),
}

/// A text that is no atomic unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no atomic unit: expected `write`, `512` or `4096`")]
pub struct NoSuchUnit(String);

impl fmt::Display for AtomicUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write => f.write_str("write"),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

impl FromStr for AtomicUnit {
    type Err = NoSuchUnit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "write" => Ok(Self::Write),
            "512" => Ok(Self::Bytes(512)),
            "4096" => Ok(Self::Bytes(4096)),
            _ => Err(NoSuchUnit(text.to_owned())),
        }
    }
}

impl From<AtomicUnit> for String {
    fn from(unit: AtomicUnit) -> Self {
        unit.to_string()
    }
}

impl TryFrom<String> for AtomicUnit {
    type Error = NoSuchUnit;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What is read where a write, or a part of one, did not arrive. A write beyond the end of its file, which would have
/// made it longer, leaves nothing there in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dropped {
    /// What was there before.
    #[default]
    Old,
    /// Zeros.
    Zeros,
    /// Bytes drawn from the seed.
    Garbage,
}

impl Dropped {
    const NAMES: [(Self, &'static str); 3] =
        [(Self::Old, "old"), (Self::Zeros, "zeros"), (Self::Garbage, "garbage")];
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::NAMES.iter().find(|(kind, _)| kind == self).map_or(Ok(()), |(_, name)| f.write_str(name))
    }
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// Version of the file: 1.
    schema: u32,
    /// Its name.
    pub name: String,
    /// What it writes at once.
    pub atomic_unit: AtomicUnit,
    /// What is found where a write did not arrive.
    pub dropped: Dropped,
    /// Whether a flush or a forced write makes anything durable.
    pub honours_flush: bool,
}

impl Default for DeviceProfile {
    /// Whole writes, old content, and flushes that are honoured.
    fn default() -> Self {
        Self::new("whole-writes", AtomicUnit::Write, Dropped::Old, true)
    }
}

/// A text that is no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no device: expected an atomic unit, what dropped writes leave, and whether flushes count, as `4096.old`"
)]
pub struct NotADevice(String);

/// A profile can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is neither one that ships nor a file.
    #[error(
        "`{name}` is no device profile: expected {} or the path of a `.toml` file",
        DeviceProfile::names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The file can't be read.
    #[error("can't read the device profile `{path}`")]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no profile.
    #[error("`{origin}` is no device profile")]
    Parse {
        /// Its name or path.
        origin: String,
        /// Why, with line and column.
        source: Box<toml::de::Error>,
    },
    /// It is of another version.
    #[error("the device profile `{origin}` has schema {found}: expected {SCHEMA}")]
    Schema {
        /// Its name or path.
        origin: String,
        /// Its version.
        found: u32,
    },
}

impl DeviceProfile {
    /// A profile that is in no file.
    pub fn new(name: &str, atomic_unit: AtomicUnit, dropped: Dropped, honours_flush: bool) -> Self {
        Self { schema: SCHEMA, name: name.to_owned(), atomic_unit, dropped, honours_flush }
    }

    /// The device with another atomic unit.
    #[must_use]
    pub fn with_unit(self, atomic_unit: AtomicUnit) -> Self {
        Self { atomic_unit, ..self }
    }

    /// The device as a word for tokens, without its name: `4096.old`, or `write.garbage.deaf` where flushes are ignored.
    pub fn word(&self) -> String {
        let deaf = if self.honours_flush { "" } else { ".deaf" };
        format!("{}.{}{deaf}", self.atomic_unit, self.dropped)
    }

    /// Reads [`Self::word`] back; the name is the word.
    ///
    /// # Errors
    /// What is no such word.
    pub fn from_word(word: &str) -> Result<Self, NotADevice> {
        let wrong = || NotADevice(word.to_owned());
        let parts: Vec<&str> = word.split('.').collect();
        let (unit, dropped, honours) = match parts.as_slice() {
            [unit, dropped] => (unit, dropped, true),
            [unit, dropped, "deaf"] => (unit, dropped, false),
            _ => return Err(wrong()),
        };
        let unit = unit.parse().map_err(|_| wrong())?;
        let dropped = Dropped::NAMES.iter().find(|(_, name)| name == dropped).ok_or_else(wrong)?.0;
        Ok(Self::new(word, unit, dropped, honours))
    }

    /// Names of the profiles that ship.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The profile of a name that ships, or else of a file, whose name ends in `.toml`.
    pub fn load(name_or_path: &str) -> Result<Self, ProfileError> {
        if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(name, text);
        }
        let path = Path::new(name_or_path);
        if path.extension().is_none_or(|extension| extension != "toml") {
            return Err(ProfileError::Unknown { name: name_or_path.to_owned() });
        }
        let text = fs::read_to_string(path)
            .map_err(|source| ProfileError::Read { path: path.to_owned(), source })?;
        Self::parse(name_or_path, &text)
    }

    fn parse(origin: &str, text: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(text)
            .map_err(|source| ProfileError::Parse { origin: origin.to_owned(), source: Box::new(source) })?;
        match profile.schema {
            SCHEMA => Ok(profile),
            found => Err(ProfileError::Schema { origin: origin.to_owned(), found }),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: a profile is what its file says, and a file that says something else is refused with a reason.

    use std::error::Error as _;

    use super::*;

    #[test]
    fn each_profile_that_ships_has_its_own_name_and_properties() {
        let of = |name: &str| {
            let profile = DeviceProfile::load(name).unwrap();
            assert_eq!(profile.name, name);
            (profile.atomic_unit, profile.dropped, profile.honours_flush)
        };
        let shipped: Vec<_> = DeviceProfile::names().map(of).collect();
        assert_eq!(
            shipped,
            [
                (AtomicUnit::Write, Dropped::Old, false),
                (AtomicUnit::Bytes(4096), Dropped::Old, true),
                (AtomicUnit::Bytes(512), Dropped::Old, true),
            ]
        );
    }

    #[test]
    fn a_profile_of_ones_own_is_read_from_its_file_and_written_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let profile = DeviceProfile::new("mine", AtomicUnit::Bytes(512), Dropped::Garbage, false);
        fs::write(&path, toml::to_string(&profile).unwrap()).unwrap();
        assert_eq!(DeviceProfile::load(path.to_str().unwrap()).unwrap(), profile);
    }

    #[test]
    fn a_device_is_read_back_from_its_word() {
        for (word, unit, dropped, honours) in [
            ("4096.old", AtomicUnit::Bytes(4096), Dropped::Old, true),
            ("write.garbage.deaf", AtomicUnit::Write, Dropped::Garbage, false),
            ("512.zeros", AtomicUnit::Bytes(512), Dropped::Zeros, true),
        ] {
            assert_eq!(DeviceProfile::from_word(word), Ok(DeviceProfile::new(word, unit, dropped, honours)));
            assert_eq!(DeviceProfile::new("any", unit, dropped, honours).word(), word);
        }
        for word in ["", "4096", "1000.old", "512.new", "512.old.", "512.old.deaf.deaf"] {
            assert!(DeviceProfile::from_word(word).is_err(), "{word}");
        }
    }

    #[test]
    fn what_is_no_profile_is_refused_with_a_reason() {
        let good = SHIPPED[1].1;
        let parse = |text: &str| DeviceProfile::parse("x.toml", text).unwrap_err();
        let why = |error: ProfileError| error.source().map(ToString::to_string).unwrap_or_default();
        assert!(matches!(parse(&good.replace("schema = 1", "schema = 2")), ProfileError::Schema { .. }));
        assert!(why(parse(&format!("{good}colour = 1"))).contains("colour"));
        assert!(why(parse(&good.replace("4096", "1000"))).contains("`1000` is no atomic unit"));
        assert!(why(parse(&good.replace("\"old\"", "\"new\""))).contains("line 5"));
        let unknown = DeviceProfile::load("floppy").unwrap_err().to_string();
        assert!(unknown.contains("`floppy`") && unknown.contains("`sata-512`"), "{unknown}");
        assert!(matches!(DeviceProfile::load("/nowhere/x.toml"), Err(ProfileError::Read { .. })));
    }
}
