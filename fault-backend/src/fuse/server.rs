//! What the server answers: a request that changes something becomes a [`Change`], any other reads the slot's volume as
//! it is. The protocol around it (replies, capabilities) is in [`super::handlers`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{FileAttr, FileHandle, INodeNo, RenameFlags, Request, TimeOrNow};
use nix::errno::Errno;
use nix::libc;

use super::attr;
use super::folders::{Folders, slot_named};
use super::run::{Caller, Change, Done, Shared};
use super::slot::Slot;
use super::state::State;
use crate::volume::{Ino, Mutation, Node, NodeKind, Owned, RenameMode, SetAttr};

/// What `statfs` says where there is no limit: plenty, and the same on every machine.
const SPACE_BYTES: u64 = 1 << 40;
/// Longest name of a directory entry.
pub(super) const NAME_BYTES: usize = 255;
/// `SEEK_DATA` and `SEEK_HOLE` of lseek(2).
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// The server of a mount.
#[derive(Debug)]
pub(super) struct Server {
    pub shared: Arc<Shared>,
    folders: Mutex<Folders>,
    /// Bytes of a read, kept from request to request.
    pub buffer: Mutex<Vec<u8>>,
}

/// What becomes a reply.
pub(super) type Answer<T> = Result<T, Errno>;

impl Server {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, folders: Mutex::default(), buffer: Mutex::default() }
    }

    pub(super) fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a node.
    pub(super) fn with_node<T>(
        &self,
        node: INodeNo,
        look: impl FnOnce(Slot, Ino, &Node) -> Answer<T>,
    ) -> Answer<T> {
        let (slot, ino) = inside(node)?;
        let state = self.shared.lock();
        look(slot, ino, state.content(slot).volume.node(ino).ok_or(Errno::ESTALE)?)
    }

    pub(super) fn attr(&self, node: INodeNo) -> Answer<FileAttr> {
        if node == INodeNo::ROOT {
            return Ok(attr::root_attr());
        }
        self.with_node(node, |slot, ino, node| Ok(attr::file_attr(slot, ino, node)))
    }

    pub(super) fn find(&self, parent: INodeNo, name: &OsStr) -> Answer<FileAttr> {
        if name.len() > NAME_BYTES {
            return Err(Errno::ENAMETOOLONG);
        }
        if parent == INodeNo::ROOT {
            let slot = slot_named(name).ok_or(Errno::ENOENT)?;
            return self.attr(INodeNo(slot.node_id(Ino::ROOT)));
        }
        let (slot, dir) = inside(parent)?;
        self.shared.lock().glance(slot, dir, Some(name));
        let child = self.with_node(parent, |slot, _, node| {
            let entries = node.entries().ok_or(Errno::ENOTDIR)?;
            Ok(INodeNo(slot.node_id(*entries.get(name).ok_or(Errno::ENOENT)?)))
        })?;
        self.attr(child)
    }

    /// The tool asks more of a node than its name.
    pub(super) fn touched(&self, node: INodeNo) {
        if let Some((slot, ino)) = Slot::of_node(node.0) {
            self.shared.lock().touch(slot, ino);
        }
    }

    /// The same for the node that has a name.
    pub(super) fn touched_name(&self, parent: INodeNo, name: &OsStr) {
        if let Some((slot, dir)) = Slot::of_node(parent.0) {
            let mut state = self.shared.lock();
            if let Some(ino) = state.content(slot).volume.lookup(dir, name) {
                state.touch(slot, ino);
            }
        }
    }

    /// Makes a change; the mount's own root takes none.
    pub(super) fn change(&self, request: &Request, slot: Slot, mutation: Mutation) -> Answer<Done> {
        self.shared.change(caller(request), slot, Change::Mutation(mutation))
    }

    /// Makes something with a new name and says what the kernel must know of it.
    pub(super) fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mutation: impl FnOnce(Ino) -> Answer<Mutation>,
    ) -> Answer<FileAttr> {
        if name.len() > NAME_BYTES {
            return Err(Errno::ENAMETOOLONG);
        }
        let (slot, parent) = inside(parent)?;
        let done = self.change(request, slot, mutation(parent)?)?;
        let ino = done.applied.ino.ok_or(Errno::EIO)?;
        self.attr(INodeNo(slot.node_id(ino)))
    }

    /// Mode and owner of what is made in a directory: one with set-group-id hands on its group.
    pub(super) fn owned(
        &self,
        request: &Request,
        parent: INodeNo,
        mode: u32,
        umask: u32,
        dir: bool,
    ) -> Owned {
        let mut owned = Owned { mode: mode & !umask & 0o7777, uid: request.uid(), gid: request.gid() };
        // A parent that is gone is refused when the change is made.
        let _ = self.with_node(parent, |_, _, node| {
            if node.attr.mode & libc::S_ISGID != 0 {
                owned.gid = node.attr.gid;
                owned.mode |= if dir { libc::S_ISGID } else { 0 };
            }
            Ok(())
        });
        owned
    }

    pub(super) fn open_file(&self, request: &Request, node: INodeNo) -> Answer<FileHandle> {
        let (slot, ino) = inside(node)?;
        let mut state = self.shared.lock();
        state.names.refresh(request.pid());
        let content = state.content_mut(slot);
        content.volume.node(ino).ok_or(Errno::ESTALE)?;
        content.opened(ino);
        Ok(FileHandle(content.generation))
    }

    pub(super) fn setattr(&self, request: &Request, node: INodeNo, wanted: &Wanted) -> Answer<FileAttr> {
        let (slot, ino) = inside(node)?;
        if let Some(handle) = wanted.handle {
            current(&self.shared.lock(), slot, handle)?;
        }
        if let Some(len) = wanted.size {
            self.change(request, slot, Mutation::Truncate { ino, len })?;
        }
        let now = self.shared.lock().content(slot).now();
        let set = SetAttr {
            mode: wanted.mode.map(|mode| mode & 0o7777),
            uid: wanted.uid,
            gid: wanted.gid,
            atime: wanted.atime.map(|time| attr::timestamp(time, now)),
            mtime: wanted.mtime.map(|time| attr::timestamp(time, now)),
        };
        if !set.is_times_only() {
            self.change(request, slot, Mutation::SetAttr { ino, set })?;
        } else if set.atime.is_some() || set.mtime.is_some() {
            self.shared.unrecorded(slot, Mutation::SetAttr { ino, set })?;
        }
        self.attr(node)
    }

    pub(super) fn read_into(
        &self,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        cached: bool,
        into: &mut [u8],
    ) -> Answer<usize> {
        let (slot, ino) = inside(node)?;
        let mut state = self.shared.lock();
        current(&state, slot, handle)?;
        let content = state.content_mut(slot);
        if cached {
            content.cached.insert(ino);
        }
        let node = content.volume.node(ino).ok_or(Errno::ESTALE)?;
        let image = node.image().ok_or(Errno::EISDIR)?;
        let read = image
            .read_at(offset, into)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        if let Some(footprint) = state.footprint(slot) {
            footprint.read(ino, offset..offset + read as u64);
        }
        Ok(read)
    }

    pub(super) fn seek(&self, node: INodeNo, handle: FileHandle, offset: i64, whence: i32) -> Answer<i64> {
        let (slot, ino) = inside(node)?;
        let mut state = self.shared.lock();
        current(&state, slot, handle)?;
        if let Some(footprint) = state.footprint(slot) {
            footprint.asked(ino);
        }
        drop(state);
        self.with_node(node, |_, _, node| {
            let image = node.image().ok_or(Errno::EINVAL)?;
            let from = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            if from >= image.len_bytes() {
                return Err(Errno::ENXIO);
            }
            let found = match whence {
                SEEK_DATA => image.next_data(from).ok_or(Errno::ENXIO)?,
                SEEK_HOLE => image.next_hole(from).min(image.len_bytes()),
                _ => return Err(Errno::EINVAL),
            };
            i64::try_from(found).map_err(|_| Errno::EOVERFLOW)
        })
    }

    pub(super) fn write_from(
        &self,
        request: Caller,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
    ) -> Answer<usize> {
        let (slot, ino) = inside(node)?;
        {
            let mut state = self.shared.lock();
            current(&state, slot, handle)?;
            if request.cached {
                state.content_mut(slot).cached.insert(ino);
            }
        }
        let result = self.shared.change(request, slot, Change::Write { ino, offset, data });
        if request.cached && result.is_err() {
            self.shared.lock().content_mut(slot).tainted.insert(ino);
        }
        Ok(result?.written)
    }

    /// Closes a file. A handle of an earlier load counts for nothing.
    pub(super) fn close_file(&self, node: INodeNo, handle: FileHandle) {
        let mut state = self.shared.lock();
        if let Some((slot, ino)) = Slot::of_node(node.0)
            && state.content(slot).generation == handle.0
        {
            state.content_mut(slot).released(ino);
        }
    }

    pub(super) fn flush_file(
        &self,
        request: &Request,
        node: INodeNo,
        handle: FileHandle,
        data_only: bool,
    ) -> Answer<()> {
        current(&self.shared.lock(), inside(node)?.0, handle)?;
        self.flush_node(request, node, data_only)
    }

    pub(super) fn flush_node(&self, request: &Request, node: INodeNo, data_only: bool) -> Answer<()> {
        // The mount's own root has nothing to make durable.
        let Some((slot, ino)) = Slot::of_node(node.0) else { return Ok(()) };
        self.with_node(node, |_, _, _| Ok(()))?;
        self.shared.change(caller(request), slot, Change::Flush { ino: Some(ino), data_only }).map(drop)
    }

    pub(super) fn allocate(
        &self,
        request: &Request,
        node: INodeNo,
        handle: FileHandle,
        range: std::ops::Range<u64>,
        mode: i32,
    ) -> Answer<()> {
        let (slot, ino) = inside(node)?;
        current(&self.shared.lock(), slot, handle)?;
        let keep_len = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let mutation = match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 if keep_len => {
                // Space that lies beyond the end shows in no content: an op that changes nothing.
                let len = self.with_node(node, |_, _, node| Ok(node.len_bytes()))?;
                Mutation::Allocate { ino, range: range.start.min(len)..range.end.min(len) }
            }
            0 => Mutation::Allocate { ino, range },
            libc::FALLOC_FL_PUNCH_HOLE => Mutation::Punch { ino, range },
            libc::FALLOC_FL_ZERO_RANGE => Mutation::Zero { ino, range, keep_len },
            _ => return Err(Errno::EOPNOTSUPP),
        };
        self.change(request, slot, mutation).map(drop)
    }

    pub(super) fn space(&self, node: INodeNo) -> (u64, u64) {
        let slot = Slot::of_node(node.0).map(|(slot, _)| slot);
        let limited = (slot == Some(Slot::Work)).then(|| self.shared.lock().space()).flatten();
        limited.unwrap_or((SPACE_BYTES, SPACE_BYTES))
    }

    pub(super) fn target(&self, node: INodeNo) -> Answer<Vec<u8>> {
        self.with_node(node, |_, _, node| match &node.kind {
            NodeKind::Symlink(target) => Ok(target.as_bytes().to_vec()),
            _ => Err(Errno::EINVAL),
        })
    }

    /// Makes a change of a directory's names.
    pub(super) fn in_dir(
        &self,
        request: &Request,
        parent: INodeNo,
        mutation: impl FnOnce(Ino) -> Mutation,
    ) -> Answer<()> {
        let (slot, parent) = inside(parent)?;
        self.change(request, slot, mutation(parent)).map(drop)
    }

    pub(super) fn rename_to(
        &self,
        request: &Request,
        (parent, name): (INodeNo, &OsStr),
        (to, to_name): (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> Answer<()> {
        if to_name.len() > NAME_BYTES {
            return Err(Errno::ENAMETOOLONG);
        }
        let ((slot, from), (to_slot, to)) = (inside(parent)?, inside(to)?);
        if slot != to_slot {
            return Err(Errno::EXDEV);
        }
        let (from_name, to_name) = (name.to_owned(), to_name.to_owned());
        let mode = rename_mode(flags)?;
        self.change(request, slot, Mutation::Rename { from, from_name, to, to_name, mode }).map(drop)
    }
}

/// What a setattr request asks for.
pub(super) struct Wanted {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<TimeOrNow>,
    pub mtime: Option<TimeOrNow>,
    pub handle: Option<FileHandle>,
}

/// The slot and inode of a node; the mount's own root is not to be changed.
pub(super) fn inside(node: INodeNo) -> Answer<(Slot, Ino)> {
    Slot::of_node(node.0).ok_or(Errno::EPERM)
}

/// A handle of an earlier load is stale.
pub(super) fn current(state: &State, slot: Slot, handle: FileHandle) -> Answer<()> {
    if state.content(slot).generation == handle.0 { Ok(()) } else { Err(Errno::ESTALE) }
}

pub(super) fn caller(request: &Request) -> Caller {
    Caller { pid: request.pid(), ..Caller::default() }
}

pub(super) fn rename_mode(flags: RenameFlags) -> Answer<RenameMode> {
    match flags {
        flags if flags.is_empty() => Ok(RenameMode::Replace),
        RenameFlags::RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
        RenameFlags::RENAME_EXCHANGE => Ok(RenameMode::Exchange),
        _ => Err(Errno::EINVAL),
    }
}
