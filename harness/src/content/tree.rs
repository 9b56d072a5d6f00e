//! A tree as plain facts by path, and how two of them differ. Facts are text, since their only use is to be equal
//! or to be shown.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::Xxh3;

/// Facts about one path: `mode` → `4755`. Sorted by name, so that they read the same everywhere.
pub type Facts = BTreeMap<String, String>;

/// The fact `type` of a directory.
pub(super) const DIRECTORY: &str = "Directory";

/// Length of the buffer that data is hashed through.
const BUFFER_BYTES: usize = 256 << 10;

/// A file system's content by path (from `/`); the file system itself has the path ``.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Facts by path.
    pub nodes: BTreeMap<Vec<u8>, Facts>,
    /// Extended attributes, and which names are one file, were not asked for: they are not compared.
    pub partial: bool,
}

/// Begin of the name of an extended attribute's fact.
pub(super) const XATTR: &str = "xattr ";

/// The fact that names are one file.
pub(super) const SAME_FILE: &str = "same file as";

impl Tree {
    /// Whether data is worth reading: it may equal what is expected.
    pub(super) fn may_match(expected: Option<&Self>, path: &[u8], size: u64) -> bool {
        expected.is_none_or(|tree| {
            tree.nodes.get(path).is_some_and(|facts| facts.get("size") == Some(&size.to_string()))
        })
    }

    /// How `now` differs from this tree, a line for each difference, at most `limit` and then a count.
    pub fn differences(&self, now: &Self, limit: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let partial = self.partial || now.partial;
        let compared = |name: &&String| !partial || !name.starts_with(XATTR) && name.as_str() != SAME_FILE;
        let paths: BTreeSet<&Vec<u8>> = self.nodes.keys().chain(now.nodes.keys()).collect();
        for path in paths {
            let shown = shown(path);
            match (self.nodes.get(path), now.nodes.get(path)) {
                (Some(_), None) => lines.push(format!("{shown}: missing")),
                (None, Some(_)) => lines.push(format!("{shown}: was not there before")),
                (Some(before), Some(after)) if before != after => {
                    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                    let changes: Vec<String> = names
                        .into_iter()
                        .filter(compared)
                        .filter_map(|name| change(name, before.get(name), after.get(name)))
                        .collect();
                    if !changes.is_empty() {
                        lines.push(format!("{shown}: {}", changes.join(", ")));
                    }
                }
                _ => {}
            }
        }
        let more = lines.len().saturating_sub(limit);
        lines.truncate(limit);
        if more > 0 {
            lines.push(format!("{more} more paths differ"));
        }
        lines
    }
}

/// A path for a person: what is no UTF-8 or no printable character is escaped.
pub(super) fn shown(path: &[u8]) -> String {
    if path.is_empty() {
        return "file system".to_owned();
    }
    String::from_utf8_lossy(path)
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

fn change(name: &str, before: Option<&String>, after: Option<&String>) -> Option<String> {
    match (before, after) {
        (Some(a), Some(b)) if a == b => None,
        // Hashes say nothing to a person.
        (Some(_), Some(_)) if name == "data" || name == "boot code" => Some(format!("{name} differs")),
        (Some(_), None) if name == "data" => None,
        (Some(a), Some(b)) => Some(format!("{name} {a} → {b}")),
        (Some(a), None) => Some(format!("{name} {a} → none")),
        (None, Some(b)) => Some(format!("{name} none → {b}")),
        (None, None) => None,
    }
}

/// Hash of everything that a read function gives, until it gives 0 bytes.
pub(super) fn hash_of<E>(mut read: impl FnMut(&mut [u8]) -> Result<usize, E>) -> Result<String, E> {
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let len = read(&mut buffer)?;
        if len == 0 {
            return Ok(format!("{:032x}", hasher.digest128()));
        }
        hasher.update(&buffer[..len]);
    }
}
