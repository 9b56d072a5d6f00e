//! Answers as replies of the protocol.

use std::time::Duration;

use fuser::{FileAttr, Generation, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyXattr};

use super::attr::fuse_errno;
use super::server::Answer;

/// The kernel keeps nothing: a slot may be reloaded at any time.
pub(super) const TTL: Duration = Duration::ZERO;
/// Inode numbers are used once in a volume, and the same file has the same number after a reload.
pub(super) const GENERATION: Generation = Generation(0);

/// Success or an error.
pub(super) fn empty(reply: ReplyEmpty, answer: Answer<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(fuse_errno(errno)),
    }
}

/// A name that was found or made.
pub(super) fn entry(reply: ReplyEntry, answer: Answer<FileAttr>) {
    match answer {
        Ok(attr) => reply.entry(&TTL, &attr, GENERATION),
        Err(errno) => reply.error(fuse_errno(errno)),
    }
}

/// Attributes of a node.
pub(super) fn attributes(reply: ReplyAttr, answer: Answer<FileAttr>) {
    match answer {
        Ok(attr) => reply.attr(&TTL, &attr),
        Err(errno) => reply.error(fuse_errno(errno)),
    }
}

/// A value of which the caller may first ask the length.
pub(super) fn sized(reply: ReplyXattr, answer: Answer<Vec<u8>>, room: u32) {
    match answer {
        Err(errno) => reply.error(fuse_errno(errno)),
        Ok(value) if room == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > room as usize => reply.error(fuser::Errno::ERANGE),
        Ok(value) => reply.data(&value),
    }
}
