//! Changes that are no tool's: what a harness does to a volume between runs, which no log holds.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use super::Volume;
use super::mutation::Owned;
use super::node::{Entries, Ino, NodeKind, Timestamp};
use crate::image::Image;

/// Directories that are made on the way.
const DIR: Owned = Owned { mode: 0o755, uid: 0, gid: 0 };

/// Files that are put in.
const FILE: Owned = Owned { mode: 0o644, uid: 0, gid: 0 };

impl Volume {
    /// Puts a content at a path, with directories made on the way (mode 0o755, and 0o644 for the file, user and group
    /// 0, time 0). A file that is there keeps its attributes and gets the content.
    pub fn insert_file(&mut self, path: &Path, image: Image) -> Result<Ino, Errno> {
        let names = names(path)?;
        let Some((name, parents)) = names.split_last() else { return Err(Errno::EISDIR) };
        let parent = self.make_dirs(parents)?;
        match self.lookup(parent, name) {
            None => self.add(parent, name, NodeKind::File(image)),
            Some(ino) => match &mut self.node_mut(ino)?.kind {
                NodeKind::File(old) => {
                    *old = image;
                    Ok(ino)
                }
                NodeKind::Dir(_) => Err(Errno::EISDIR),
                _ => Err(Errno::EEXIST),
            },
        }
    }

    /// Makes a directory and those on the way to it; one that is there stays as it is.
    pub fn insert_dir(&mut self, path: &Path) -> Result<Ino, Errno> {
        self.make_dirs(&names(path)?)
    }

    /// Removes what is at a path, and all that is below it. Inodes that have no name left are gone, open or not.
    pub fn remove_tree(&mut self, path: &Path) -> Result<(), Errno> {
        let names = names(path)?;
        let Some((name, parents)) = names.split_last() else { return Err(Errno::EBUSY) };
        let parent = self.resolve(&parents.iter().collect::<PathBuf>()).ok_or(Errno::ENOENT)?;
        let ino = self.lookup(parent, name).ok_or(Errno::ENOENT)?;
        self.empty(ino)?;
        self.remove(parent, name)
    }

    /// Removes all that is in a directory, and keeps the directory with its attributes.
    pub fn clear_dir(&mut self, path: &Path) -> Result<(), Errno> {
        let ino = self.resolve(path).ok_or(Errno::ENOENT)?;
        if self.known(ino)?.is_dir() { self.empty(ino) } else { Err(Errno::ENOTDIR) }
    }

    /// The directory at a path as a volume of its own; what it holds is shared. None where no directory is there.
    pub fn subtree(&self, path: &Path) -> Option<Self> {
        let top = self.resolve(path).filter(|ino| self.entries(*ino).is_some())?;
        let mut volume = Self::new();
        volume.copy_into(Ino::ROOT, self, top).ok()?;
        Some(volume)
    }

    /// Makes the directory at a path the same as another volume's root, attributes included; what was in it goes, and
    /// directories on the way are made. Names that are one file stay one file.
    pub fn graft(&mut self, at: &Path, other: &Self) -> Result<(), Errno> {
        let top = self.insert_dir(at)?;
        self.empty(top)?;
        self.copy_into(top, other, Ino::ROOT)
    }

    /// Copies a directory's attributes and all that is below it into an empty directory.
    fn copy_into(&mut self, top: Ino, other: &Self, other_top: Ino) -> Result<(), Errno> {
        let mut copies: HashMap<Ino, Ino> = HashMap::from([(other_top, top)]);
        let mut waiting = vec![other_top];
        while let Some(source) = waiting.pop() {
            let dir = copies[&source];
            for (name, child) in other.entries(source).into_iter().flatten() {
                if let Some(copy) = copies.get(child) {
                    self.add_name(dir, name, *copy, Timestamp::default())?;
                    continue;
                }
                let node = other.known(*child)?;
                let kind = match &node.kind {
                    NodeKind::Dir(_) => NodeKind::Dir(Entries::new()),
                    kind => kind.clone(),
                };
                copies.insert(*child, self.add(dir, name, kind)?);
                if node.is_dir() {
                    waiting.push(*child);
                }
            }
        }
        for (source, copy) in copies {
            let nlink = self.known(copy)?.attr.nlink;
            let mut attr = other.known(source)?.attr.clone();
            attr.nlink = nlink;
            self.node_mut(copy)?.attr = attr;
        }
        Ok(())
    }

    fn make_dirs(&mut self, names: &[OsString]) -> Result<Ino, Errno> {
        names.iter().try_fold(Ino::ROOT, |at, name| match self.lookup(at, name) {
            Some(next) if self.known(next)?.is_dir() => Ok(next),
            Some(_) => Err(Errno::ENOTDIR),
            None => self.add(at, name, NodeKind::Dir(Entries::new())),
        })
    }

    fn add(&mut self, parent: Ino, name: &OsStr, kind: NodeKind) -> Result<Ino, Errno> {
        let owned = if matches!(kind, NodeKind::Dir(_)) { DIR } else { FILE };
        let time = self.known(parent)?.attr.mtime;
        self.make(parent, name, kind, owned, time)?.ino.ok_or(Errno::EIO)
    }

    /// Removes all that is below a directory, the deepest first.
    fn empty(&mut self, top: Ino) -> Result<(), Errno> {
        let dirs: Vec<(Ino, Entries)> = self
            .walk_from(top)
            .filter_map(|(_, ino)| self.entries(ino).map(|entries| (ino, entries.clone())))
            .collect();
        for (dir, entries) in dirs.into_iter().rev() {
            for name in entries.keys() {
                self.remove(dir, name)?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        let time = self.known(parent)?.attr.mtime;
        if let Some(orphan) = self.remove_name(parent, name, time)? {
            self.drop_orphan(orphan);
        }
        Ok(())
    }
}

/// The names of a path from the root; `..` is refused.
fn names(path: &Path) -> Result<Vec<OsString>, Errno> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(Ok(name.to_owned())),
            Component::ParentDir => Some(Err(Errno::EINVAL)),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}
