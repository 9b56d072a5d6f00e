//! How two volumes differ, as wholes: which names, kinds, attributes and bytes. In memory everything counts but times,
//! at the cost of what differs; of directories on the host it is the files' names and bytes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fault_backend::Volume;
use fault_backend::volume::{self, Field};

use super::{ReadAt, SCRATCH, VOLUME, View};

/// Characters of an attribute's value that are shown.
const VALUE_SHOWN: usize = 64;

/// A difference from one volume to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, relative to the volume; `.` for the volume's own directory.
    pub path: PathBuf,
    /// What.
    pub what: What,
}

/// How the second volume differs from the first. Prints as what follows the path in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Only the first has it.
    Missing,
    /// Only the second has it.
    LeftOver,
    /// A file has another length, in bytes.
    Length {
        /// In the first.
        wanted: u64,
        /// In the second.
        found: u64,
    },
    /// Bytes differ, in these ranges of the length that both have: sorted, disjoint.
    Data(Vec<Range<u64>>),
    /// Its kind or an attribute differs, in words.
    Attribute(String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::LeftOver => f.write_str("is left over"),
            Self::Length { wanted, found } => write!(f, "is {found} bytes long, not {wanted}"),
            Self::Data(ranges) => {
                write!(f, "differs from byte {:#x} on", ranges.first().map_or(0, |r| r.start))
            }
            Self::Attribute(text) => f.write_str(text),
        }
    }
}

/// The differences between the volumes of two states, in the order of their paths; scratch directories don't count.
pub fn differences_of_volumes<'a>(
    wanted: impl Into<View<'a>>,
    found: impl Into<View<'a>>,
) -> io::Result<Vec<Difference>> {
    match (wanted.into(), found.into()) {
        (View::Memory(wanted), View::Memory(found)) => {
            let changes = without_scratch(wanted)?.diff(&without_scratch(found)?)?;
            Ok(changes.into_iter().filter_map(difference).collect())
        }
        (wanted, found) => by_files(wanted, found),
    }
}

/// A state whose scratch directory is empty.
pub fn without_scratch(state: &Volume) -> io::Result<Volume> {
    let mut state = state.clone();
    let scratch = Path::new(SCRATCH);
    let entries = state.resolve(scratch).and_then(|dir| state.entries(dir));
    if entries.is_some_and(|entries| !entries.is_empty()) {
        state.clear_dir(scratch)?;
    }
    Ok(state)
}

/// What a change in a state means for its volume; `None` where it is elsewhere.
fn difference(change: volume::Change) -> Option<Difference> {
    let path = match change.path.strip_prefix(VOLUME).ok()? {
        path if path.as_os_str().is_empty() => PathBuf::from("."),
        path => path.to_owned(),
    };
    let what = match change.what {
        volume::What::Added => What::LeftOver,
        volume::What::Removed => What::Missing,
        volume::What::Length { old, new } => What::Length { wanted: old, found: new },
        volume::What::Data(ranges) => What::Data(ranges),
        volume::What::Kind { old, new } => What::Attribute(format!("is a {new}, not a {old}")),
        volume::What::Target { old, new } => {
            What::Attribute(format!("leads to `{}`, not `{}`", new.display(), old.display()))
        }
        volume::What::Attr { field, old, new } => {
            let (old, new) = (value(&field, &old), value(&field, &new));
            What::Attribute(match field {
                Field::Mode => format!("has mode {new}, not {old}"),
                Field::Owner => format!("belongs to {new}, not {old}"),
                Field::Link => format!("is {new}, not {old}"),
                Field::Xattr(name) => format!("has the xattr {} {new}, not {old}", name.display()),
            })
        }
    };
    Some(Difference { path, what })
}

/// An attribute's value as it is shown: short, and with paths that begin at the volume.
fn value(field: &Field, value: &str) -> String {
    match field {
        Field::Link => value.replace(&format!("`{VOLUME}/"), "`"),
        _ if value.chars().count() > VALUE_SHOWN => {
            value.chars().take(VALUE_SHOWN).chain(std::iter::once('…')).collect()
        }
        _ => value.to_owned(),
    }
}

fn by_files(wanted: View<'_>, found: View<'_>) -> io::Result<Vec<Difference>> {
    let (wanted_files, found_files) = (wanted.files()?, found.files()?);
    let names: BTreeSet<&PathBuf> = wanted_files.iter().chain(&found_files).collect();
    let mut differences = Vec::new();
    for name in names {
        let mut push = |what| differences.push(Difference { path: name.clone(), what });
        if found_files.binary_search(name).is_err() {
            push(What::Missing);
        } else if wanted_files.binary_search(name).is_err() {
            push(What::LeftOver);
        } else {
            match (wanted.target(name)?, found.target(name)?) {
                (None, None) => of_bytes(wanted, found, name, &mut push)?,
                (Some(wanted), Some(found)) if wanted == found => {}
                (wanted, found) => {
                    let shown = |target: Option<OsString>| match target {
                        Some(target) => format!("a link to `{}`", target.display()),
                        None => "no link".to_owned(),
                    };
                    push(What::Attribute(format!("is {}, not {}", shown(found), shown(wanted))));
                }
            }
        }
    }
    Ok(differences)
}

/// How the bytes of a file differ; what is no file in either has none.
fn of_bytes(wanted: View<'_>, found: View<'_>, name: &Path, push: &mut dyn FnMut(What)) -> io::Result<()> {
    let opened = |view: View<'_>| match view.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some),
    };
    let (wanted, found) = match (opened(wanted)?, opened(found)?) {
        (Some(wanted), Some(found)) => (wanted, found),
        (None, None) => return Ok(()),
        _ => {
            push(What::Attribute("is a file in one and none in the other".to_owned()));
            return Ok(());
        }
    };
    let (wanted_len, found_len) = (wanted.len_bytes()?, found.len_bytes()?);
    let mut ranges = wanted.differences(&found)?;
    if wanted_len != found_len {
        push(What::Length { wanted: wanted_len, found: found_len });
        let common = wanted_len.min(found_len);
        ranges.retain_mut(|range| {
            range.end = range.end.min(common);
            range.start < range.end
        });
    }
    if !ranges.is_empty() {
        push(What::Data(ranges));
    }
    Ok(())
}
