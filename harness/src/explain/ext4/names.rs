//! Paths of an ext4's inodes, by reading its directories block by block, breadth first, from the root.

use std::collections::{HashMap, VecDeque};

use super::geometry::{Geometry, le};
use super::owners::{Owners, Use};
use crate::explain::file_system::Part;

/// Blocks of directories that are read.
const MAX_BLOCKS: usize = 1 << 14;
/// Names above each other that are put together to a path.
const MAX_DEPTH: usize = 64;
const ROOT: u32 = 2;

/// For each inode that was found, the first name and the directory that it is in.
#[derive(Debug, Default)]
pub struct Names(HashMap<u32, (u32, Vec<u8>)>);

impl Names {
    /// Reads the directories that can be reached.
    pub fn read(part: Part<'_>, geometry: &Geometry, owners: &Owners) -> Self {
        let mut blocks: HashMap<u32, Vec<u64>> = HashMap::new();
        let mut left = MAX_BLOCKS;
        for (run, (inode, usage)) in &owners.runs {
            let inode = owners.inodes[*inode];
            if inode.directory && matches!(usage, Use::Data(_)) {
                let of_inode = blocks.entry(inode.number).or_default();
                let before = of_inode.len();
                of_inode.extend(run.clone().take(left));
                left -= of_inode.len() - before;
            }
        }
        let mut names = Self::default();
        let mut waiting = VecDeque::from([ROOT]);
        while let Some(directory) = waiting.pop_front() {
            for block in blocks.remove(&directory).unwrap_or_default() {
                let Some(raw) = part.read(block * geometry.block_bytes, geometry.block_bytes) else {
                    continue;
                };
                names.take(directory, &raw, &mut waiting);
            }
        }
        names
    }

    fn take(&mut self, directory: u32, raw: &[u8], waiting: &mut VecDeque<u32>) {
        let mut at = 0;
        while at + 8 <= raw.len() {
            let inode = le(raw, at, 4) as u32;
            // In blocks of 64 KiB the length that doesn't fit is written as the highest that does, or 0.
            let len = match le(raw, at + 4, 2) as usize {
                0 | 0xFFFF => raw.len() - at,
                len => len,
            };
            let name_len = usize::from(raw[at + 6]);
            if len < 8 || at + len > raw.len() || name_len > len - 8 {
                return;
            }
            let name = &raw[at + 8..at + 8 + name_len];
            if inode != 0
                && !matches!(name, b"" | b"." | b"..")
                && !self.0.contains_key(&inode)
                && inode != ROOT
            {
                self.0.insert(inode, (directory, name.to_vec()));
                waiting.push_back(inode);
            }
            at += len;
        }
    }

    /// A path to an inode, from the file system's root.
    pub fn path(&self, inode: u32) -> Option<String> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = inode;
        while at != ROOT {
            let (directory, name) = self.0.get(&at)?;
            names.push(name);
            if names.len() > MAX_DEPTH {
                return None;
            }
            at = *directory;
        }
        let shown = |name: &[u8]| String::from_utf8_lossy(name).escape_debug().to_string();
        Some(format!("/{}", names.into_iter().rev().map(shown).collect::<Vec<_>>().join("/")))
    }
}
