//! Mutations of names: making, linking, removing, renaming.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use super::Volume;
use super::apply::NOTHING;
use super::mutation::{Applied, Owned, RenameMode};
use super::node::{Attr, Entries, Ino, Node, NodeKind, Timestamp};

/// Longest name in bytes (`NAME_MAX`).
const NAME_MAX: usize = 255;

/// Longest target of a symbolic link in bytes (`PATH_MAX` less its final zero).
const TARGET_MAX: usize = 4095;

/// Most names that an inode may have (`EXT4_LINK_MAX`).
const LINK_MAX: u32 = 65000;

impl Volume {
    /// Makes an inode with a name.
    pub(super) fn make(
        &mut self,
        parent: Ino,
        name: &OsStr,
        kind: NodeKind,
        owned: Owned,
        now: Timestamp,
    ) -> Result<Applied, Errno> {
        self.must_be_free(parent, name)?;
        let node = Node { attr: Attr::of(owned, now), kind, home: (parent, name.to_owned()) };
        let ino = self.insert_node(node);
        self.add_name(parent, name, ino, now)?;
        Ok(Applied { ino: Some(ino), orphaned: None })
    }

    pub(super) fn make_symlink(
        &mut self,
        parent: Ino,
        name: &OsStr,
        target: &OsStr,
        owned: Owned,
        now: Timestamp,
    ) -> Result<Applied, Errno> {
        match target.len() {
            0 => Err(Errno::ENOENT),
            len if len > TARGET_MAX => Err(Errno::ENAMETOOLONG),
            _ => {
                let owned = Owned { mode: 0o777, ..owned };
                self.make(parent, name, NodeKind::Symlink(target.to_owned()), owned, now)
            }
        }
    }

    pub(super) fn link(
        &mut self,
        ino: Ino,
        parent: Ino,
        name: &OsStr,
        now: Timestamp,
    ) -> Result<Applied, Errno> {
        self.must_be_free(parent, name)?;
        let node = self.known(ino)?;
        if node.is_dir() {
            return Err(Errno::EPERM);
        } else if node.attr.nlink == 0 {
            return Err(Errno::ENOENT);
        } else if node.attr.nlink >= LINK_MAX {
            return Err(Errno::EMLINK);
        }
        self.add_name(parent, name, ino, now)?;
        Ok(Applied { ino: Some(ino), orphaned: None })
    }

    pub(super) fn unlink(&mut self, parent: Ino, name: &OsStr, now: Timestamp) -> Result<Applied, Errno> {
        let ino = self.named(parent, name)?;
        if self.known(ino)?.is_dir() {
            return Err(Errno::EISDIR);
        }
        let orphaned = self.remove_name(parent, name, now)?;
        Ok(Applied { ino: None, orphaned })
    }

    pub(super) fn rmdir(&mut self, parent: Ino, name: &OsStr, now: Timestamp) -> Result<Applied, Errno> {
        let ino = self.named(parent, name)?;
        match self.entries(ino) {
            None => Err(Errno::ENOTDIR),
            Some(entries) if !entries.is_empty() => Err(Errno::ENOTEMPTY),
            Some(_) => {
                let orphaned = self.remove_name(parent, name, now)?;
                Ok(Applied { ino: None, orphaned })
            }
        }
    }

    pub(super) fn rename(
        &mut self,
        from: (Ino, &OsStr),
        to: (Ino, &OsStr),
        mode: RenameMode,
        now: Timestamp,
    ) -> Result<Applied, Errno> {
        let moved = self.named(from.0, from.1)?;
        self.check_dir_and_name(to.0, to.1)?;
        let replaced = self.lookup(to.0, to.1);
        match (mode, replaced) {
            (RenameMode::Exchange, None) => return Err(Errno::ENOENT),
            (RenameMode::NoReplace, Some(_)) => return Err(Errno::EEXIST),
            _ if self.is_inside(to.0, moved) => return Err(Errno::EINVAL),
            (RenameMode::Exchange, Some(other)) if self.is_inside(from.0, other) => {
                return Err(Errno::EINVAL);
            }
            (RenameMode::Replace, Some(other)) if self.is_inside(from.0, other) => {
                return Err(Errno::ENOTEMPTY);
            }
            // Two names of one inode: both stay.
            (_, Some(other)) if other == moved => return Ok(NOTHING),
            (RenameMode::Exchange, Some(other)) => {
                self.remove_name(from.0, from.1, now)?;
                self.remove_name(to.0, to.1, now)?;
                self.add_name(from.0, from.1, other, now)?;
                self.add_name(to.0, to.1, moved, now)?;
                return Ok(NOTHING);
            }
            (RenameMode::Replace, Some(other)) => self.check_replaceable(moved, other)?,
            (_, None) => {}
        }
        let orphaned = match replaced {
            Some(_) => self.remove_name(to.0, to.1, now)?,
            None => None,
        };
        self.remove_name(from.0, from.1, now)?;
        self.add_name(to.0, to.1, moved, now)?;
        Ok(Applied { ino: None, orphaned })
    }

    fn check_replaceable(&self, moved: Ino, replaced: Ino) -> Result<(), Errno> {
        match (self.known(moved)?.is_dir(), self.entries(replaced)) {
            (true, None) => Err(Errno::ENOTDIR),
            (false, Some(_)) => Err(Errno::EISDIR),
            (_, Some(entries)) if !entries.is_empty() => Err(Errno::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Whether a directory is another inode or lies below it.
    fn is_inside(&self, dir: Ino, top: Ino) -> bool {
        let mut at = dir;
        while at != top {
            match self.parent(at) {
                Some(parent) if parent != at => at = parent,
                _ => return false,
            }
        }
        true
    }

    /// The inode of a name that must exist.
    fn named(&self, parent: Ino, name: &OsStr) -> Result<Ino, Errno> {
        self.check_dir_and_name(parent, name)?;
        self.lookup(parent, name).ok_or(Errno::ENOENT)
    }

    pub(super) fn must_be_free(&self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        self.check_dir_and_name(parent, name)?;
        if self.lookup(parent, name).is_some() { Err(Errno::EEXIST) } else { Ok(()) }
    }

    fn check_dir_and_name(&self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        let dir = self.known(parent)?;
        let bytes = name.as_bytes();
        if !dir.is_dir() {
            Err(Errno::ENOTDIR)
        } else if dir.attr.nlink == 0 {
            Err(Errno::ENOENT)
        } else if bytes.len() > NAME_MAX {
            Err(Errno::ENAMETOOLONG)
        } else if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
            Err(Errno::EINVAL)
        } else {
            Ok(())
        }
    }

    fn entries_mut(&mut self, dir: Ino, now: Timestamp) -> Result<(&mut Entries, &mut Attr), Errno> {
        let node = self.node_mut(dir)?;
        node.touch(now);
        match &mut node.kind {
            NodeKind::Dir(entries) => Ok((entries, &mut node.attr)),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Adds a name that is free, and counts it.
    pub(super) fn add_name(
        &mut self,
        parent: Ino,
        name: &OsStr,
        ino: Ino,
        now: Timestamp,
    ) -> Result<(), Errno> {
        let node = self.node_mut(ino)?;
        let is_dir = node.is_dir();
        node.attr.nlink += if is_dir { 2 } else { 1 };
        node.attr.ctime = now;
        node.home = (parent, name.to_owned());
        self.orphans.remove(&ino.0);
        let (entries, attr) = self.entries_mut(parent, now)?;
        entries.insert(name.to_owned(), ino);
        attr.nlink += u32::from(is_dir);
        Ok(())
    }

    /// Removes a name; the inode where it was its last one.
    pub(super) fn remove_name(
        &mut self,
        parent: Ino,
        name: &OsStr,
        now: Timestamp,
    ) -> Result<Option<Ino>, Errno> {
        let (entries, _) = self.entries_mut(parent, now)?;
        let ino = entries.remove(name).ok_or(Errno::ENOENT)?;
        let node = self.node_mut(ino)?;
        let is_dir = node.is_dir();
        node.attr.nlink -= if is_dir { 2 } else { 1 };
        node.attr.ctime = now;
        let orphaned = node.attr.nlink == 0;
        if is_dir {
            self.node_mut(parent)?.attr.nlink -= 1;
        }
        if orphaned {
            self.orphans.insert(ino.0);
        }
        Ok(orphaned.then_some(ino))
    }
}
