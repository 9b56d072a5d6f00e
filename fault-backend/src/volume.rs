//! A tree of files with everything that a tool can change in it: directories, files, links, attributes.
//!
//! A clone costs nothing and shares what stays the same. Mutations are values ([`Mutation`]), so a recorded run can
//! be applied again; the same mutations give the same inode numbers. Nothing here asks the host or its clock, but
//! for `import` and `export`.

mod apply;
mod content;
mod diff;
mod edit;
mod host;
mod mutation;
mod names;
mod node;

#[cfg(test)]
pub(crate) mod tests;

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use nix::errno::Errno;

use crate::image::Image;

pub use diff::{Change, Field, What};
pub use host::HostError;
pub use mutation::{Applied, Mutation, Owned, RenameMode, SetAttr, Special, XattrMode};
pub use node::{Attr, Entries, Ino, Node, NodeKind, Timestamp};

/// A tree of files. Its root is [`Ino::ROOT`].
#[derive(Clone, Debug)]
pub struct Volume {
    nodes: OrdMap<u64, Arc<Node>>,
    /// Inodes without a name, which somebody may hold open.
    orphans: OrdSet<u64>,
    /// Number of the next inode.
    next: u64,
}

impl Default for Volume {
    fn default() -> Self {
        Self::new()
    }
}

impl Volume {
    /// An empty root directory that belongs to user and group 0, mode 0o755, at time 0.
    pub fn new() -> Self {
        let owned = Owned { mode: 0o755, uid: 0, gid: 0 };
        let attr = Attr { nlink: 2, ..Attr::of(owned, Timestamp::default()) };
        let root = Node { attr, kind: NodeKind::Dir(Entries::new()), home: (Ino::ROOT, OsString::new()) };
        let nodes = OrdMap::unit(Ino::ROOT.0, Arc::new(root));
        Self { nodes, orphans: OrdSet::new(), next: Ino::ROOT.0 + 1 }
    }

    /// An inode, orphans included.
    pub fn node(&self, ino: Ino) -> Option<&Node> {
        self.nodes.get(&ino.0).map(|node| &**node)
    }

    /// The inode of a name in a directory; `.` and `..` are no names.
    pub fn lookup(&self, dir: Ino, name: &OsStr) -> Option<Ino> {
        self.entries(dir)?.get(name).copied()
    }

    /// The entries of a directory; none where it is not one.
    pub fn entries(&self, dir: Ino) -> Option<&Entries> {
        self.node(dir)?.entries()
    }

    /// The directory that a directory is in; the root is in itself.
    pub fn parent(&self, dir: Ino) -> Option<Ino> {
        self.node(dir).filter(|node| node.is_dir()).map(|node| node.home.0)
    }

    /// The inode at a path from the root. Symbolic links are not followed; a leading `/` is the root.
    pub fn resolve(&self, path: &Path) -> Option<Ino> {
        path.components().try_fold(Ino::ROOT, |at, component| match component {
            Component::Normal(name) => self.lookup(at, name),
            Component::ParentDir => self.parent(at),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => Some(at),
        })
    }

    /// The content of the file at a path.
    pub fn file(&self, path: &Path) -> Option<&Image> {
        self.node(self.resolve(path)?)?.image()
    }

    /// A path to an inode, relative to the root, which is the empty path; none for an orphan and what is in one. Of
    /// several names it is the first in the order of paths.
    pub fn path_of(&self, ino: Ino) -> Option<PathBuf> {
        let node = self.node(ino).filter(|node| node.attr.nlink > 0)?;
        let (dir, name) = &node.home;
        let home_holds = ino == Ino::ROOT || self.lookup(*dir, name) == Some(ino);
        if home_holds && (node.is_dir() || node.attr.nlink == 1) {
            return self.path_upwards(ino);
        }
        self.walk().find(|(_, at)| *at == ino).map(|(path, _)| path)
    }

    fn path_upwards(&self, ino: Ino) -> Option<PathBuf> {
        let mut names = Vec::new();
        let mut at = ino;
        while at != Ino::ROOT {
            let node = self.node(at).filter(|node| node.attr.nlink > 0)?;
            names.push(node.home.1.as_os_str());
            at = node.home.0;
        }
        Some(names.into_iter().rev().collect())
    }

    /// Every name in the volume, each with its path and inode, directories before what is in them and names in the
    /// order of their bytes. The root is the first, with the empty path.
    pub fn walk(&self) -> impl Iterator<Item = (PathBuf, Ino)> + '_ {
        self.walk_from(Ino::ROOT)
    }

    /// As [`Volume::walk`], from a directory, with paths relative to it.
    fn walk_from(&self, top: Ino) -> impl Iterator<Item = (PathBuf, Ino)> + '_ {
        let mut waiting = vec![(PathBuf::new(), top)];
        std::iter::from_fn(move || {
            let (path, ino) = waiting.pop()?;
            if let Some(entries) = self.entries(ino) {
                let children = entries.iter().rev().map(|(name, child)| (path.join(name), *child));
                waiting.extend(children);
            }
            Some((path, ino))
        })
    }

    /// Memory that all contents take beyond their bases, in bytes.
    pub fn dirty_bytes(&self) -> u64 {
        self.nodes.values().filter_map(|node| node.image()).map(Image::dirty_bytes).sum()
    }

    /// Number of inodes, orphans included.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Removes an inode that has no name; whether it was one.
    pub fn drop_orphan(&mut self, ino: Ino) -> bool {
        let orphan = self.orphans.remove(&ino.0).is_some();
        if orphan {
            self.nodes.remove(&ino.0);
        }
        orphan
    }

    /// Removes every inode that has no name; how many there were.
    pub fn drop_orphans(&mut self) -> usize {
        let orphans = std::mem::take(&mut self.orphans);
        for ino in &orphans {
            self.nodes.remove(ino);
        }
        orphans.len()
    }

    /// The inodes that have no name.
    pub fn orphans(&self) -> impl Iterator<Item = Ino> + '_ {
        self.orphans.iter().map(|ino| Ino(*ino))
    }

    fn node_mut(&mut self, ino: Ino) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino.0).map(Arc::make_mut).ok_or(Errno::ENOENT)
    }

    fn known(&self, ino: Ino) -> Result<&Node, Errno> {
        self.node(ino).ok_or(Errno::ENOENT)
    }

    /// Puts a new inode in; it has no name yet.
    fn insert_node(&mut self, node: Node) -> Ino {
        let ino = Ino(self.next);
        self.next += 1;
        self.nodes.insert(ino.0, Arc::new(node));
        ino
    }
}

impl Attr {
    /// Attributes of a new inode without a name.
    fn of(owned: Owned, now: Timestamp) -> Self {
        Self {
            mode: owned.mode & 0o7777,
            uid: owned.uid,
            gid: owned.gid,
            nlink: 0,
            atime: now,
            mtime: now,
            ctime: now,
            xattrs: OrdMap::new(),
        }
    }
}
