//! Extended attributes: the namespaces `user.`, `trusted.` and `security.`, as xattr(7) describes them. POSIX ACLs
//! (`system.`) are not kept, since they would have to be enforced.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, Request};
use nix::errno::Errno;
use nix::libc;

use super::server::{Answer, Server, inside};
use crate::volume::{Mutation, XattrMode};

impl Server {
    pub(super) fn set_xattr(
        &self,
        request: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
    ) -> Answer<()> {
        supported(name)?;
        let (slot, ino) = inside(node)?;
        let (name, mode) = (name.to_owned(), xattr_mode(flags)?);
        self.change(request, slot, Mutation::SetXattr { ino, name, value: value.into(), mode }).map(drop)
    }

    pub(super) fn remove_xattr(&self, request: &Request, node: INodeNo, name: &OsStr) -> Answer<()> {
        supported(name)?;
        let (slot, ino) = inside(node)?;
        self.change(request, slot, Mutation::RemoveXattr { ino, name: name.to_owned() }).map(drop)
    }

    pub(super) fn xattr_names(&self, request: &Request, node: INodeNo) -> Answer<Vec<u8>> {
        if node == INodeNo::ROOT {
            return Ok(Vec::new());
        }
        self.with_node(node, |_, _, node| {
            // `trusted.` is for root's eyes only, as xattr(7) says.
            let shown = |name: &&OsString| request.uid() == 0 || !name.as_bytes().starts_with(b"trusted.");
            let names = node.attr.xattrs.keys().filter(shown);
            Ok(names.flat_map(|name| name.as_bytes().iter().copied().chain([0])).collect())
        })
    }

    pub(super) fn xattr(&self, node: INodeNo, name: &OsStr) -> Answer<Vec<u8>> {
        supported(name)?;
        if node == INodeNo::ROOT {
            return Err(Errno::ENODATA);
        }
        self.with_node(node, |_, _, node| node.xattr(name).map(<[u8]>::to_vec).ok_or(Errno::ENODATA))
    }
}

/// Namespaces that a volume keeps.
fn supported(name: &OsStr) -> Answer<()> {
    let kept = [&b"user."[..], b"trusted.", b"security."];
    let known = kept.iter().any(|space| name.as_bytes().starts_with(space));
    if known { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

fn xattr_mode(flags: i32) -> Answer<XattrMode> {
    match flags {
        0 => Ok(XattrMode::Any),
        libc::XATTR_CREATE => Ok(XattrMode::Create),
        libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(Errno::EINVAL),
    }
}
