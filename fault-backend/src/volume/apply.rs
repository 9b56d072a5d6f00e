//! Mutations of what an inode holds and of its attributes, and the entrance for all of them.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use nix::errno::Errno;

use super::mutation::{Applied, Mutation, SetAttr, Special, XattrMode};
use super::node::{Ino, Node, NodeKind, Timestamp};
use super::{Entries, Volume};
use crate::image::Image;

/// Longest name of an extended attribute, in bytes (`XATTR_NAME_MAX`).
const XATTR_NAME_MAX: usize = 255;

/// Longest value of an extended attribute, in bytes (`XATTR_SIZE_MAX`).
const XATTR_SIZE_MAX: usize = 65536;

impl Volume {
    /// Does what the mutation says, at that time. An error is the one that a file system would answer, and changes
    /// nothing. Permissions are not looked at.
    pub fn apply(&mut self, mutation: &Mutation, now: Timestamp) -> Result<Applied, Errno> {
        match mutation {
            Mutation::Write { ino, offset, data } => self.write(*ino, *offset, data, now).map(|()| NOTHING),
            Mutation::Truncate { ino, len } => self.set_content(*ino, now, |image| image.set_len(*len)),
            Mutation::Allocate { ino, range } => self.set_content(*ino, now, |image| grow(image, range)),
            Mutation::Punch { ino, range } => self.set_content(*ino, now, |image| image.punch(range.clone())),
            Mutation::Zero { ino, range, keep_len } => self.set_content(*ino, now, |image| {
                if !keep_len {
                    grow(image, range)?;
                }
                image.punch(range.clone())
            }),
            Mutation::Create { parent, name, owned } => {
                self.make(*parent, name, NodeKind::File(Image::new(0)), *owned, now)
            }
            Mutation::Mkdir { parent, name, owned } => {
                self.make(*parent, name, NodeKind::Dir(Entries::new()), *owned, now)
            }
            Mutation::Symlink { parent, name, target, owned } => {
                self.make_symlink(*parent, name, target, *owned, now)
            }
            Mutation::Mknod { parent, name, special, owned } => {
                let kind = match special {
                    Special::Fifo => NodeKind::Fifo,
                    Special::Socket => NodeKind::Socket,
                };
                self.make(*parent, name, kind, *owned, now)
            }
            Mutation::Link { ino, parent, name } => self.link(*ino, *parent, name, now),
            Mutation::Unlink { parent, name } => self.unlink(*parent, name, now),
            Mutation::Rmdir { parent, name } => self.rmdir(*parent, name, now),
            Mutation::Rename { from, from_name, to, to_name, mode } => {
                self.rename((*from, from_name), (*to, to_name), *mode, now)
            }
            Mutation::SetAttr { ino, set } => self.set_attr(*ino, set, now),
            Mutation::SetXattr { ino, name, value, mode } => self.set_xattr(*ino, name, value, *mode, now),
            Mutation::RemoveXattr { ino, name } => self.remove_xattr(*ino, name, now),
        }
    }

    /// As [`Volume::apply`], and what is made gets the number that it had where nothing before it was left out.
    pub(crate) fn apply_as(
        &mut self,
        mutation: &Mutation,
        now: Timestamp,
        made: Option<Ino>,
    ) -> Result<Applied, Errno> {
        let next = self.next;
        self.next = made.map_or(next, |ino| ino.0);
        let applied = self.apply(mutation, now);
        self.next = self.next.max(next);
        applied
    }

    /// Writes into a file, as [`Mutation::Write`] does.
    pub fn write(&mut self, ino: Ino, offset: u64, data: &[u8], now: Timestamp) -> Result<(), Errno> {
        self.set_content(ino, now, |image| image.write_at(offset, data)).map(drop)
    }

    fn set_content(
        &mut self,
        ino: Ino,
        now: Timestamp,
        change: impl FnOnce(&mut Image) -> io::Result<()>,
    ) -> Result<Applied, Errno> {
        let node = self.node_mut(ino)?;
        match &mut node.kind {
            NodeKind::File(image) => change(image).map_err(|error| errno_of(&error))?,
            NodeKind::Dir(_) => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        node.touch(now);
        Ok(NOTHING)
    }

    fn set_attr(&mut self, ino: Ino, set: &SetAttr, now: Timestamp) -> Result<Applied, Errno> {
        let attr = &mut self.node_mut(ino)?.attr;
        attr.mode = set.mode.map_or(attr.mode, |mode| mode & 0o7777);
        attr.uid = set.uid.unwrap_or(attr.uid);
        attr.gid = set.gid.unwrap_or(attr.gid);
        attr.atime = set.atime.unwrap_or(attr.atime);
        attr.mtime = set.mtime.unwrap_or(attr.mtime);
        attr.ctime = now;
        Ok(NOTHING)
    }

    fn set_xattr(
        &mut self,
        ino: Ino,
        name: &OsStr,
        value: &Arc<[u8]>,
        mode: XattrMode,
        now: Timestamp,
    ) -> Result<Applied, Errno> {
        let exists = self.known(ino)?.attr.xattrs.contains_key(name);
        match mode {
            _ if name.is_empty() || name.len() > XATTR_NAME_MAX => return Err(Errno::ERANGE),
            _ if value.len() > XATTR_SIZE_MAX => return Err(Errno::E2BIG),
            XattrMode::Create if exists => return Err(Errno::EEXIST),
            XattrMode::Replace if !exists => return Err(Errno::ENODATA),
            _ => {}
        }
        let attr = &mut self.node_mut(ino)?.attr;
        attr.xattrs.insert(name.to_owned(), value.clone());
        attr.ctime = now;
        Ok(NOTHING)
    }

    fn remove_xattr(&mut self, ino: Ino, name: &OsStr, now: Timestamp) -> Result<Applied, Errno> {
        if !self.known(ino)?.attr.xattrs.contains_key(name) {
            return Err(Errno::ENODATA);
        }
        let attr = &mut self.node_mut(ino)?.attr;
        attr.xattrs.remove(name);
        attr.ctime = now;
        Ok(NOTHING)
    }
}

pub(super) const NOTHING: Applied = Applied { ino: None, orphaned: None };

impl Node {
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.attr.mtime = now;
        self.attr.ctime = now;
    }
}

fn grow(image: &mut Image, range: &Range<u64>) -> io::Result<()> {
    if range.end > image.len_bytes() { image.set_len(range.end) } else { Ok(()) }
}

/// A content's error as a file system answers it.
fn errno_of(error: &io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Errno::EFBIG,
        _ => error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
    }
}
