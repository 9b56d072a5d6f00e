//! The protocol side of the server: each request of the kernel gets exactly one reply here, whatever happens. A panic
//! is caught and answered with EIO, since a request without an answer would hang the tool for ever.

use std::ffi::OsStr;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::PoisonError;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, IoctlFlags, KernelConfig,
    LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use nix::errno::Errno;
use nix::libc;

use super::attr::fuse_errno;
use super::replies::{GENERATION, TTL, attributes, empty, entry, sized};
use super::run::Caller;
use super::server::{self, Server, Wanted};
use super::slot::Slot;
use super::state::Active;
use crate::volume::{Mutation, Special};

/// Largest write that comes in one request; the kernel takes no more than 256 pages.
const MAX_WRITE_BYTES: u32 = 1 << 20;
/// Unit of what `statfs` says.
const BLOCK_BYTES: u32 = 4096;

impl Server {
    /// How the kernel serves an open file: the tool's goes past the page cache, so that each of its writes is a request
    /// and each of its reads sees all writes, unless its run asks for the cache. Where oracles only read, the kernel may
    /// read ahead (it halves the time of e2fsck); it drops its pages when the file is opened again, and a reload drops
    /// them as well.
    fn caching(&self, node: INodeNo, flags: OpenFlags) -> FopenFlags {
        let Some((slot, ino)) = Slot::of_node(node.0) else { return FopenFlags::FOPEN_DIRECT_IO };
        let mut state = self.shared.lock();
        let cached = match slot {
            Slot::Work => state.run.as_ref().is_some_and(Active::uses_page_cache),
            _ => flags.acc_mode() == OpenAccMode::O_RDONLY,
        };
        if !cached {
            return FopenFlags::FOPEN_DIRECT_IO;
        }
        state.content_mut(slot).cached.insert(ino);
        FopenFlags::empty()
    }

    /// Runs a handler. Where it panics, its reply goes with it, and answers EIO.
    fn guarded(&self, handler: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(handler)).is_err() {
            self.shared.broke();
        }
    }
}

impl Filesystem for Server {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Refused values are replaced by what the kernel allows; both are about speed alone.
        if let Err(most) = config.set_max_write(MAX_WRITE_BYTES) {
            let _ = config.set_max_write(most);
        }
        if let Err(most) = config.set_max_readahead(MAX_WRITE_BYTES) {
            let _ = config.set_max_readahead(most);
        }
        // Locks are left to the kernel: their capabilities are not asked for.
        let maps = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP).is_ok();
        self.shared.lock().maps = maps;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.guarded(|| entry(reply, self.find(parent, name)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.touched(ino);
        self.guarded(|| attributes(reply, self.attr(ino)));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let wanted = Wanted { mode, uid, gid, size, atime, mtime, handle };
        self.touched(ino);
        self.guarded(|| attributes(reply, self.setattr(request, ino, &wanted)));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        self.touched(ino);
        self.guarded(|| match self.target(ino) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(fuse_errno(errno)),
        });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        self.guarded(|| {
            let owned = self.owned(request, parent, mode, umask, false);
            let made = self.make(request, parent, name, |parent| {
                let name = name.to_owned();
                match mode & libc::S_IFMT {
                    libc::S_IFREG | 0 => Ok(Mutation::Create { parent, name, owned }),
                    libc::S_IFIFO => Ok(Mutation::Mknod { parent, name, special: Special::Fifo, owned }),
                    libc::S_IFSOCK => Ok(Mutation::Mknod { parent, name, special: Special::Socket, owned }),
                    _ => Err(Errno::EPERM),
                }
            });
            entry(reply, made);
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        self.guarded(|| {
            let owned = self.owned(request, parent, mode, umask, true);
            let name_owned = name.to_owned();
            let made = self.make(request, parent, name, |parent| {
                Ok(Mutation::Mkdir { parent, name: name_owned, owned })
            });
            entry(reply, made);
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.guarded(|| {
            let name = name.to_owned();
            empty(reply, self.in_dir(request, parent, |parent| Mutation::Unlink { parent, name }));
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.touched_name(parent, name);
        self.guarded(|| {
            let name = name.to_owned();
            empty(reply, self.in_dir(request, parent, |parent| Mutation::Rmdir { parent, name }));
        });
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.guarded(|| {
            let owned = self.owned(request, parent, 0o777, 0, false);
            let target = target.as_os_str().to_owned();
            let made = self.make(request, parent, name, |parent| {
                Ok(Mutation::Symlink { parent, name: name.to_owned(), target, owned })
            });
            entry(reply, made);
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.touched_name(parent, name);
        self.guarded(|| empty(reply, self.rename_to(request, (parent, name), (to, to_name), flags)));
    }

    fn link(&self, request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.touched(ino);
        self.guarded(|| {
            let made = server::inside(ino).and_then(|(slot, ino)| {
                let same_slot = server::inside(parent)?.0 == slot;
                self.make(request, parent, name, |parent| match same_slot {
                    true => Ok(Mutation::Link { ino, parent, name: name.to_owned() }),
                    false => Err(Errno::EXDEV),
                })
            });
            entry(reply, made);
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.touched(ino);
        self.guarded(|| match self.open_file(request, ino) {
            Ok(handle) => reply.opened(handle, self.caching(ino, flags)),
            Err(errno) => reply.error(fuse_errno(errno)),
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.guarded(|| {
            let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
            let size = size as usize;
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            // Only a read that a process asked for has an owner; the others fill the page cache.
            match self.read_into(ino, handle, offset, lock_owner.is_none(), &mut buffer[..size]) {
                Ok(read) => reply.data(&buffer[..read]),
                Err(errno) => reply.error(fuse_errno(errno)),
            }
        });
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.guarded(|| {
            let cached = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
            // O_SYNC has the bit of O_DSYNC; the flags of pages that are written back are a guess.
            let fua = !cached && flags.0 & libc::O_DSYNC != 0;
            let caller = Caller { pid: if cached { 0 } else { request.pid() }, fua, cached };
            match self.write_from(caller, ino, handle, offset, data) {
                // No request is longer than what its 32-bit length can say.
                Ok(written) => reply.written(u32::try_from(written).unwrap_or(u32::MAX)),
                Err(errno) => reply.error(fuse_errno(errno)),
            }
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A close makes nothing durable. The kernel stops asking after this answer.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.guarded(|| {
            self.close_file(ino, handle);
            reply.ok();
        });
    }

    fn fsync(&self, request: &Request, ino: INodeNo, handle: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.guarded(|| empty(reply, self.flush_file(request, ino, handle, datasync)));
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.touched(ino);
        self.guarded(|| {
            self.shared.lock().names.refresh(request.pid());
            match self.attr(ino) {
                Ok(_) => reply.opened(FileHandle(self.folders().open()), FopenFlags::empty()),
                Err(errno) => reply.error(fuse_errno(errno)),
            }
        });
    }

    fn readdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.guarded(|| {
            let mut state = self.shared.lock();
            if let Some((slot, dir)) = Slot::of_node(ino.0) {
                state.glance(slot, dir, None);
            }
            match self.folders().read(&state, ino.0, handle.0, offset, &mut reply) {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(fuse_errno(errno)),
            }
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.guarded(|| {
            self.folders().close(handle.0);
            reply.ok();
        });
    }

    fn fsyncdir(&self, request: &Request, ino: INodeNo, _: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.guarded(|| empty(reply, self.flush_node(request, ino, datasync)));
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.guarded(|| {
            let (all, free) = self.space(ino);
            let blocks = |bytes: u64| bytes / u64::from(BLOCK_BYTES);
            let inodes = 1 << 30;
            let name_bytes = server::NAME_BYTES as u32;
            let (all, free) = (blocks(all), blocks(free));
            reply.statfs(all, free, free, inodes, inodes, BLOCK_BYTES, name_bytes, BLOCK_BYTES);
        });
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        self.touched(ino);
        self.guarded(|| empty(reply, self.set_xattr(request, ino, name, value, flags)));
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.touched(ino);
        self.guarded(|| sized(reply, self.xattr(ino, name), size));
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.touched(ino);
        self.guarded(|| sized(reply, self.xattr_names(request, ino), size));
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.touched(ino);
        self.guarded(|| empty(reply, self.remove_xattr(request, ino, name)));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        self.guarded(|| {
            let owned = self.owned(request, parent, mode, umask, false);
            let made = self
                .make(request, parent, name, |parent| {
                    Ok(Mutation::Create { parent, name: name.to_owned(), owned })
                })
                .and_then(|attr| Ok((attr, self.open_file(request, attr.ino)?)));
            match made {
                Ok((attr, handle)) => {
                    let caching = self.caching(attr.ino, OpenFlags(libc::O_RDWR));
                    reply.created(&TTL, &attr, GENERATION, handle, caching);
                }
                Err(errno) => reply.error(fuse_errno(errno)),
            }
        });
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let range = offset..offset.saturating_add(length);
        self.guarded(|| empty(reply, self.allocate(request, ino, handle, range, mode)));
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        self.guarded(|| match self.seek(ino, handle, offset, whence) {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(fuse_errno(errno)),
        });
    }
}
