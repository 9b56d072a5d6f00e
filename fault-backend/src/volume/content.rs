//! The content id of a volume: one name for everything in it that an uninterrupted run leaves the same.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::Volume;
use super::node::{Ino, Node, NodeKind};
use crate::content_id::ContentId;

/// Keeps ids of trees apart from ids of disks.
const SEED: u64 = u64::from_le_bytes(*b"kpvolume");

impl Volume {
    /// The id over names, kinds, modes, owners, extended attributes, link targets, contents, and over which names are
    /// one file. Times do not count, since uninterrupted runs differ in them, and neither do inode numbers: the same
    /// tree has the same id however it came about. Costs a walk over the names, not over the contents.
    pub fn content_id(&self) -> ContentId {
        self.content_id_below(Ino::ROOT)
    }

    /// The id of what is at a path: of a directory with all that is below it. None where nothing is there.
    pub fn content_id_at(&self, path: &Path) -> Option<ContentId> {
        self.resolve(path).map(|ino| self.content_id_below(ino))
    }

    fn content_id_below(&self, top: Ino) -> ContentId {
        let mut hasher = Xxh3::with_seed(SEED);
        let mut record = Vec::new();
        let mut links: HashMap<Ino, u64> = HashMap::new();
        let mut waiting: Vec<(u64, &OsStr, Ino)> = vec![(0, OsStr::new(""), top)];
        while let Some((depth, name, ino)) = waiting.pop() {
            let Some(node) = self.node(ino) else { continue };
            record.clear();
            number(&mut record, depth);
            text(&mut record, name.as_bytes());
            let known = links.len() as u64;
            match links.get(&ino) {
                Some(earlier) => {
                    record.push(b'L');
                    number(&mut record, *earlier);
                }
                None => encode(&mut record, node),
            }
            if node.attr.nlink > 1 && !node.is_dir() {
                links.entry(ino).or_insert(known);
            }
            hasher.update(&record);
            for (name, child) in node.entries().into_iter().flatten().rev() {
                waiting.push((depth + 1, name, *child));
            }
        }
        ContentId::of_digest(hasher.digest128())
    }
}

/// Attributes and what a node holds, each part with its length, so that no two nodes read the same.
fn encode(record: &mut Vec<u8>, node: &Node) {
    let attr = &node.attr;
    for field in [node.kind.type_bits() | attr.mode, attr.uid, attr.gid] {
        number(record, u64::from(field));
    }
    number(record, attr.xattrs.len() as u64);
    for (name, value) in &attr.xattrs {
        text(record, name.as_bytes());
        text(record, value);
    }
    match &node.kind {
        NodeKind::File(image) => record.extend(image.content_id().digest().to_le_bytes()),
        NodeKind::Symlink(target) => text(record, target.as_bytes()),
        NodeKind::Dir(_) | NodeKind::Fifo | NodeKind::Socket => {}
    }
}

fn number(record: &mut Vec<u8>, number: u64) {
    record.extend(number.to_le_bytes());
}

fn text(record: &mut Vec<u8>, text: &[u8]) {
    number(record, text.len() as u64);
    record.extend(text);
}
