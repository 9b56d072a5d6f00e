//! What a file system's differences mean for the files in it: which are missing, which hold something else. A checker of
//! structures may be content with either, so this is told first.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::difference::Difference;
use super::place::PartitionName;
use crate::content::{Kind, Reader, Tree};
use crate::gpt::Gpt;
use crate::image::{Bytes, ReadAt, View};

/// What became of the files of one file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// File of the volume.
    pub file: String,
    /// The partition; none where the file is the file system.
    pub partition: Option<PartitionName>,
    /// The file system's kind.
    pub kind: String,
    /// Files and folders that are wanted and not there.
    pub missing: u64,
    /// The first of them.
    pub first_missing: Option<String>,
    /// Files and folders of which content, length or type are not what is wanted.
    pub changed: u64,
    /// The first of them.
    pub first_changed: Option<String>,
    /// Files and folders that are there and not wanted.
    pub extra: u64,
    /// It can't be read any more, and why.
    pub unreadable: Option<String>,
}

/// The file systems among these differences of which files are not as wanted. What can't be read on the wanted side says
/// nothing.
pub(super) fn of(wanted: View<'_>, found: View<'_>, differences: &[Difference]) -> Vec<Files> {
    let mut places: Vec<(&str, Option<&PartitionName>)> = Vec::new();
    for difference in differences.iter().filter(|difference| difference.note.is_none()) {
        let place = (difference.file.as_str(), difference.place.partition.as_ref());
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let all = places.into_iter().filter_map(|place| compared(wanted, found, place));
    all.filter(|files| !files.are_as_wanted()).collect()
}

/// A file system on both sides; none where it is on one of them only, or can't be told.
fn compared(
    wanted: View<'_>,
    found: View<'_>,
    (file, partition): (&str, Option<&PartitionName>),
) -> Option<Files> {
    let open = |view: View<'_>| view.open(Path::new(file)).ok();
    let (wanted, found) = (open(wanted)?, open(found)?);
    let (kind, wanted) = tree(&wanted, partition)?;
    let name = match kind {
        Kind::Ext4 => "ext4",
        Kind::Fat => "FAT",
        Kind::Bytes => return None,
    };
    let mut files = Files {
        file: file.to_owned(),
        partition: partition.cloned(),
        kind: name.to_owned(),
        missing: 0,
        first_missing: None,
        changed: 0,
        first_changed: None,
        extra: 0,
        unreadable: None,
    };
    match (wanted, tree(&found, partition)) {
        (Ok(_), Some((other, _))) if other != kind => {
            files.unreadable = Some("nothing there looks like one".to_owned());
        }
        (Ok(wanted), Some((_, Ok(found)))) => files.count(&wanted, &found),
        (Ok(_), Some((_, Err(why)))) => files.unreadable = Some(why),
        _ => return None,
    }
    Some(files)
}

/// The tree in a partition of a disk, or in a file as a whole; none where there is no such partition.
fn tree(disk: &Bytes, partition: Option<&PartitionName>) -> Option<(Kind, Result<Tree, String>)> {
    let (extent, sector_bytes) = match partition {
        None => (0..disk.len_bytes().ok()?, 512),
        Some(name) => {
            let gpt = Gpt::read(disk).ok()?;
            let same = gpt.partitions().into_iter().find(|partition| partition.index == name.index)?;
            (same.extent.clone(), gpt.sector_bytes)
        }
    };
    let kind = Kind::detect(disk, &extent).ok()?;
    // Without debugfs nothing is written anywhere.
    let reader = Reader { work: Default::default(), debugfs: false };
    let tree = reader.read(kind, (disk, Path::new("")), &extent, sector_bytes, None);
    Some((kind, tree.map_err(|error| error.to_string())))
}

impl Files {
    fn count(&mut self, wanted: &Tree, found: &Tree) {
        let path = |path: &[u8]| Some(String::from_utf8_lossy(path).into_owned());
        for (name, facts) in wanted.nodes.iter().filter(|(name, _)| !name.is_empty()) {
            let Some(now) = found.nodes.get(name) else {
                self.missing += 1;
                self.first_missing = self.first_missing.take().or_else(|| path(name));
                continue;
            };
            if ["type", "size", "data"].iter().any(|fact| facts.get(*fact) != now.get(*fact)) {
                self.changed += 1;
                self.first_changed = self.first_changed.take().or_else(|| path(name));
            }
        }
        self.extra = found.nodes.keys().filter(|name| !wanted.nodes.contains_key(*name)).count() as u64;
    }

    fn are_as_wanted(&self) -> bool {
        self.missing + self.changed + self.extra == 0 && self.unreadable.is_none()
    }
}

impl fmt::Display for Files {
    /// As the beginning of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.file)?;
        if let Some(partition) = &self.partition {
            write!(f, ", {partition}")?;
        }
        write!(f, ": {} ", self.kind)?;
        if let Some(why) = &self.unreadable {
            return write!(f, "can't be read any more ({why})");
        }
        let some = |count: u64, one: &str, more: &str, first: &Option<String>| {
            let first = first.as_ref().map_or_else(String::new, |path| format!(" (`{path}`)"));
            (count > 0).then(|| format!("{count} {}{first}", if count == 1 { one } else { more }))
        };
        let told = [
            some(self.missing, "file is missing", "files are missing", &self.first_missing),
            some(self.changed, "file holds something else", "files hold something else", &self.first_changed),
            some(self.extra, "file should not be there", "files should not be there", &None),
        ];
        write!(f, "in which {}", told.into_iter().flatten().collect::<Vec<_>>().join(" and "))
    }
}
