//! Between a volume's terms and the FUSE protocol's: attributes, kinds, times, errors.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use nix::errno::Errno;

use super::slot::{self, Slot};
use crate::volume::{Attr, Ino, Node, NodeKind, Timestamp};

/// What `stat` gives as block size: one chunk of an image.
const BLOCK_BYTES: u32 = 4096;
/// Unit of `st_blocks`.
const STAT_BLOCK_BYTES: u64 = 512;

/// Attributes of a node, as the kernel wants them.
pub(super) fn file_attr(slot: Slot, ino: Ino, node: &Node) -> FileAttr {
    let Attr { mode, uid, gid, nlink, atime, mtime, ctime, .. } = node.attr;
    FileAttr {
        ino: INodeNo(slot.node_id(ino)),
        size: node.len_bytes(),
        blocks: blocks(node),
        atime: system_time(atime),
        mtime: system_time(mtime),
        ctime: system_time(ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(&node.kind),
        perm: (mode & 0o7777) as u16,
        nlink,
        uid,
        gid,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// Attributes of the mount's own root, which holds the slots and belongs to the user of the server.
pub(super) fn root_attr() -> FileAttr {
    let time = system_time(slot::epoch());
    FileAttr {
        ino: INodeNo::ROOT,
        size: u64::from(BLOCK_BYTES),
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: UNIX_EPOCH,
        kind: FileType::Directory,
        perm: 0o755,
        nlink: 2 + Slot::ALL.len() as u32,
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// `st_blocks`: what is held in memory, at least one block where there is data. It is too low over a base file, which
/// makes copying tools look for holes and find none; 0 would make some take the file for empty.
fn blocks(node: &Node) -> u64 {
    let NodeKind::File(image) = &node.kind else { return 0 };
    let held = image.dirty_bytes().min(image.len_bytes()).div_ceil(STAT_BLOCK_BYTES);
    held.max(u64::from(image.next_data(0).is_some()))
}

/// The kind, as directory entries and attributes say it.
pub(super) fn file_type(kind: &NodeKind) -> FileType {
    match kind {
        NodeKind::File(_) => FileType::RegularFile,
        NodeKind::Dir(_) => FileType::Directory,
        NodeKind::Symlink(_) => FileType::Symlink,
        NodeKind::Fifo => FileType::NamedPipe,
        NodeKind::Socket => FileType::Socket,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    let secs = Duration::from_secs(time.secs.unsigned_abs());
    let whole = if time.secs < 0 { UNIX_EPOCH.checked_sub(secs) } else { UNIX_EPOCH.checked_add(secs) };
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

/// A time that a request sets; `now` is the volume's clock.
pub(super) fn timestamp(time: TimeOrNow, now: Timestamp) -> Timestamp {
    let time = match time {
        TimeOrNow::Now => return now,
        TimeOrNow::SpecificTime(time) => time,
    };
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp {
            secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        },
        Err(before) => {
            let before = before.duration();
            let secs = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => Timestamp { secs: -secs, nanos: 0 },
                nanos => Timestamp { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
            }
        }
    }
}

/// An error number in the protocol's type.
pub(super) fn fuse_errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_through_the_protocol_unchanged() {
        for (secs, nanos) in [(0, 0), (1, 999_999_999), (-1, 0), (-1, 1), (-7, 800_000_000), (1 << 40, 5)] {
            let time = Timestamp { secs, nanos };
            let there = TimeOrNow::SpecificTime(system_time(time));
            assert_eq!(timestamp(there, Timestamp::default()), time);
        }
    }
}
