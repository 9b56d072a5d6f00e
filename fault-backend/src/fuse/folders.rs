//! Reading directories: a listing is taken when the reading begins, so that a tool which removes what it reads misses
//! no entry.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use fuser::{FileType, INodeNo, ReplyDirectory};
use nix::errno::Errno;

use super::attr;
use super::slot::Slot;
use super::state::State;
use crate::volume::Ino;

/// Listings by the handle of the open directory.
#[derive(Debug, Default)]
pub(super) struct Folders {
    listings: HashMap<u64, Listing>,
    last_handle: u64,
}

type Listing = Vec<(INodeNo, FileType, OsString)>;

impl Folders {
    /// A handle for a directory that was opened; its listing comes with the first read.
    pub(super) fn open(&mut self) -> u64 {
        self.last_handle += 1;
        self.listings.insert(self.last_handle, Listing::new());
        self.last_handle
    }

    /// Forgets a handle and its listing.
    pub(super) fn close(&mut self, handle: u64) {
        self.listings.remove(&handle);
    }

    /// Fills the reply from the entry at `offset` on; from 0, the directory is listed anew.
    pub(super) fn read(
        &mut self,
        state: &State,
        node: u64,
        handle: u64,
        offset: u64,
        reply: &mut ReplyDirectory,
    ) -> Result<(), Errno> {
        let listing = self.listings.get_mut(&handle).ok_or(Errno::EBADF)?;
        if offset == 0 {
            *listing = list(state, node)?;
        }
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, (ino, kind, name)) in listing.iter().enumerate().skip(skipped) {
            if reply.add(*ino, index as u64 + 1, *kind, name) {
                break;
            }
        }
        Ok(())
    }
}

fn list(state: &State, node: u64) -> Result<Listing, Errno> {
    let dots = [".", ".."].map(|name| (INodeNo(node), FileType::Directory, OsString::from(name)));
    let mut listing = Listing::from(dots);
    let Some((slot, ino)) = Slot::of_node(node) else {
        let root = |slot: Slot| (INodeNo(slot.node_id(Ino::ROOT)), FileType::Directory, slot.name().into());
        listing.extend(Slot::ALL.map(root));
        return Ok(listing);
    };
    let volume = &state.content(slot).volume;
    let entries = volume.node(ino).ok_or(Errno::ESTALE)?.entries().ok_or(Errno::ENOTDIR)?;
    for (name, ino) in entries {
        let kind = volume.node(*ino).map_or(FileType::RegularFile, |node| attr::file_type(&node.kind));
        listing.push((INodeNo(slot.node_id(*ino)), kind, name.clone()));
    }
    Ok(listing)
}

/// The slot with a name, in the mount's root.
pub(super) fn slot_named(name: &OsStr) -> Option<Slot> {
    Slot::ALL.into_iter().find(|slot| slot.name() == name)
}
