//! What differs between two volumes, as a list that a person or a report can read.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Volume;
use super::node::{Attr, Ino, Node, NodeKind};
use crate::image::Image;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, relative to the root, which is the empty path.
    pub path: PathBuf,
    /// What.
    pub what: What,
}

/// How the new volume differs from the old one at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Only the new one has something there.
    Added,
    /// Only the old one has something there.
    Removed,
    /// Something of another kind, as [`NodeKind::name`] says it.
    Kind {
        /// Kind in the old one.
        old: &'static str,
        /// Kind in the new one.
        new: &'static str,
    },
    /// Another attribute.
    Attr {
        /// Which.
        field: Field,
        /// Value in the old one.
        old: String,
        /// Value in the new one.
        new: String,
    },
    /// Another length of a file, in bytes.
    Length {
        /// Length in the old one.
        old: u64,
        /// Length in the new one.
        new: u64,
    },
    /// Bytes that differ, in order, within the length that both have.
    Data(Vec<Range<u64>>),
    /// Another target of a symbolic link.
    Target {
        /// Target in the old one.
        old: OsString,
        /// Target in the new one.
        new: OsString,
    },
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// Permission bits, in octal.
    Mode,
    /// `UID:GID`.
    Owner,
    /// The extended attribute with this name, in hexadecimal; `absent` where there is none.
    Xattr(OsString),
    /// The names that are one file: the first of them, or `alone`.
    Link,
}

/// For each inode with several names, the first.
type Links = HashMap<Ino, PathBuf>;

/// A path, and what either volume has there.
type Pair = (PathBuf, Option<Ino>, Option<Ino>);

impl Volume {
    /// The differences from this volume to `other`, in the order of their paths: none exactly where both have the same
    /// content id. What is added or removed is listed path by path.
    pub fn diff(&self, other: &Self) -> io::Result<Vec<Change>> {
        let mut changes = Changes::default();
        if self.nodes.ptr_eq(&other.nodes) {
            return Ok(changes.list);
        }
        let links = (self.links(), other.links());
        let mut waiting: Vec<Pair> = vec![(PathBuf::new(), Some(Ino::ROOT), Some(Ino::ROOT))];
        while let Some((path, old, new)) = waiting.pop() {
            waiting.extend(self.children(other, &path, old, new).into_iter().rev());
            changes.path = path;
            let (old_node, new_node) = (self.shared(old), other.shared(new));
            match (old_node, new_node) {
                (Some(old_node), Some(new_node)) => {
                    if !Arc::ptr_eq(old_node, new_node) {
                        let (old_link, new_link) =
                            (old.and_then(|ino| links.0.get(&ino)), new.and_then(|ino| links.1.get(&ino)));
                        changes.link(old_link, new_link);
                        changes.node(old_node, new_node)?;
                    }
                }
                (Some(_), None) => changes.push(What::Removed),
                (None, Some(_)) => changes.push(What::Added),
                (None, None) => {}
            }
        }
        Ok(changes.list)
    }

    fn shared(&self, ino: Option<Ino>) -> Option<&Arc<Node>> {
        self.nodes.get(&ino?.0)
    }

    /// The names in either directory at a path, in order.
    fn children(&self, other: &Self, path: &Path, old: Option<Ino>, new: Option<Ino>) -> Vec<Pair> {
        let old = old.and_then(|ino| self.entries(ino));
        let new = new.and_then(|ino| other.entries(ino));
        let names: BTreeSet<&OsStr> =
            old.into_iter().chain(new).flat_map(|entries| entries.keys()).map(OsString::as_os_str).collect();
        let inode = |entries: Option<&super::Entries>, name: &OsStr| entries?.get(name).copied();
        names.into_iter().map(|name| (path.join(name), inode(old, name), inode(new, name))).collect()
    }

    fn links(&self) -> Links {
        let mut links = Links::new();
        let several = |node: &Node| !node.is_dir() && node.attr.nlink > 1;
        if self.nodes.values().any(|node| several(node)) {
            for (path, ino) in self.walk() {
                if self.node(ino).is_some_and(several) {
                    links.entry(ino).or_insert(path);
                }
            }
        }
        links
    }
}

/// The list, and the path that is being looked at.
#[derive(Default)]
struct Changes {
    list: Vec<Change>,
    path: PathBuf,
}

impl Changes {
    fn push(&mut self, what: What) {
        self.list.push(Change { path: self.path.clone(), what });
    }

    fn attr(&mut self, field: Field, old: String, new: String) {
        if old != new {
            self.push(What::Attr { field, old, new });
        }
    }

    fn link(&mut self, old: Option<&PathBuf>, new: Option<&PathBuf>) {
        let shown = |first: Option<&PathBuf>| match first {
            Some(first) => format!("same file as `{}`", first.display()),
            None => "alone".to_owned(),
        };
        if old != new {
            self.push(What::Attr { field: Field::Link, old: shown(old), new: shown(new) });
        }
    }

    fn node(&mut self, old: &Node, new: &Node) -> io::Result<()> {
        if old.kind.name() != new.kind.name() {
            self.push(What::Kind { old: old.kind.name(), new: new.kind.name() });
        }
        self.attrs(&old.attr, &new.attr);
        match (&old.kind, &new.kind) {
            (NodeKind::File(old), NodeKind::File(new)) => self.data(old, new),
            (NodeKind::Symlink(old), NodeKind::Symlink(new)) if old != new => {
                self.push(What::Target { old: old.clone(), new: new.clone() });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn attrs(&mut self, old: &Attr, new: &Attr) {
        self.attr(Field::Mode, format!("{:04o}", old.mode), format!("{:04o}", new.mode));
        let owner = |attr: &Attr| format!("{}:{}", attr.uid, attr.gid);
        self.attr(Field::Owner, owner(old), owner(new));
        if old.xattrs.ptr_eq(&new.xattrs) {
            return;
        }
        let names: BTreeSet<&OsString> = old.xattrs.keys().chain(new.xattrs.keys()).collect();
        for name in names {
            let value = |attr: &Attr| match attr.xattrs.get(name) {
                Some(value) => value.iter().map(|byte| format!("{byte:02x}")).collect(),
                None => "absent".to_owned(),
            };
            self.attr(Field::Xattr(name.clone()), value(old), value(new));
        }
    }

    fn data(&mut self, old: &Image, new: &Image) -> io::Result<()> {
        let lens = (old.len_bytes(), new.len_bytes());
        if lens.0 != lens.1 {
            self.push(What::Length { old: lens.0, new: lens.1 });
        }
        let common = lens.0.min(lens.1);
        let mut ranges = old.diff(new)?;
        // What lies behind the shorter one's end is told by the lengths.
        ranges.retain(|range| range.start < common);
        if let Some(last) = ranges.last_mut() {
            last.end = last.end.min(common);
            self.push(What::Data(ranges));
        }
        Ok(())
    }
}
