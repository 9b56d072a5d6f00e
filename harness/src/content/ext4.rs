//! The tree of an ext4 file system, read by crate `ext4-view`, which shares no code with e2fsprogs or with a tool
//! that is built on them. Inode numbers, block places, change times and directory sizes are left out: a resize may
//! move inodes, which renumbers them and stamps them anew.

use std::collections::VecDeque;
use std::error::Error;
use std::ops::Range;

use ext4_view::{Ext4, Ext4Error, Ext4Read, Metadata, Path, Timestamp};

use super::tree::{DIRECTORY, hash_of, shown};
use super::{Facts, Tree, TreeError};
use crate::image::{Bytes, ReadAt};

/// More entries than any image here holds; a directory loop reaches it.
const MAX_ENTRIES: usize = 4_000_000;
/// Deeper than PATH_MAX allows.
const MAX_DEPTH: usize = 2048;

/// A part of a disk, read-only.
struct Part {
    disk: Bytes,
    extent: Range<u64>,
}

impl Ext4Read for Part {
    fn read(&mut self, start_byte: u64, dst: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let at = self.extent.start.checked_add(start_byte);
        let end = at.and_then(|at| at.checked_add(dst.len() as u64));
        match (at, end) {
            (Some(at), Some(end)) if end <= self.extent.end => Ok(self.disk.fill(at, dst)?),
            _ => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        }
    }
}

/// Reads the tree in an extent.
pub(super) fn read(disk: &Bytes, extent: &Range<u64>, expected: Option<&Tree>) -> Result<Tree, TreeError> {
    let part = Part { disk: disk.try_clone()?, extent: extent.clone() };
    let fs = Ext4::load(Box::new(part)).map_err(at(b""))?;
    let mut tree = Tree::default();
    let label = fs.label().to_str().map_or_else(|_| "no text".to_owned(), str::to_owned);
    tree.nodes.insert(
        Vec::new(),
        Facts::from([("UUID".to_owned(), fs.uuid().to_string()), ("label".to_owned(), label)]),
    );
    let mut todo = VecDeque::from([(b"/".to_vec(), 0)]);
    while let Some((path, depth)) = todo.pop_front() {
        if tree.nodes.len() >= MAX_ENTRIES || depth >= MAX_DEPTH {
            return Err(TreeError::Endless { entries: tree.nodes.len(), depth });
        }
        let ext4_path = Path::try_from(path.as_slice()).map_err(|_| TreeError::Unaskable(shown(&path)))?;
        let metadata = fs.symlink_metadata(ext4_path).map_err(at(&path))?;
        let mut facts = facts(&metadata);
        let kind = metadata.file_type();
        if kind.is_dir() {
            for entry in fs.read_dir(ext4_path).map_err(at(&path))? {
                let entry = entry.map_err(at(&path))?;
                let name = entry.file_name();
                if name != "." && name != ".." {
                    todo.push_back((joined(&path, name.as_ref()), depth + 1));
                }
            }
        } else {
            facts.insert("size".to_owned(), metadata.len().to_string());
        }
        if kind.is_symlink() {
            let target = fs.read_link(ext4_path).map_err(at(&path))?;
            facts.insert("target".to_owned(), shown(target.as_ref()));
        } else if kind.is_regular_file() && Tree::may_match(expected, &path, metadata.len()) {
            let mut file = fs.open(ext4_path).map_err(at(&path))?;
            let hash = hash_of(|buffer| file.read_bytes(buffer)).map_err(at(&path))?;
            facts.insert("data".to_owned(), hash);
        }
        tree.nodes.insert(path, facts);
    }
    Ok(tree)
}

fn facts(metadata: &Metadata) -> Facts {
    let mut facts = Facts::from([
        ("type".to_owned(), kind_of(metadata)),
        ("mode".to_owned(), format!("{:04o}", metadata.mode())),
        ("owner".to_owned(), format!("{}:{}", metadata.uid(), metadata.gid())),
        ("modified".to_owned(), time(metadata.modified())),
        ("accessed".to_owned(), time(metadata.accessed())),
    ]);
    if let Some(created) = metadata.created() {
        facts.insert("created".to_owned(), time(created));
    }
    facts
}

fn kind_of(metadata: &Metadata) -> String {
    if metadata.is_dir() { DIRECTORY.to_owned() } else { format!("{:?}", metadata.file_type()) }
}

fn time(time: Timestamp) -> String {
    format!("{}.{:09}", time.seconds(), time.nanoseconds())
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if path != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

fn at(path: &[u8]) -> impl FnOnce(Ext4Error) -> TreeError {
    let path = shown(path);
    move |source| TreeError::Ext4 { path, source: Box::new(source) }
}

/// Offset on the disk of some file's first byte: of the largest whose first bytes are found in a block of their own.
pub(super) fn data_offset(disk: &Bytes, extent: &Range<u64>, tree: &Tree) -> Result<Option<u64>, TreeError> {
    /// Smallest block of an ext4; the sample is as long, so that it tells one block from others.
    const SAMPLE_BYTES: usize = 1024;
    const WINDOW_BYTES: usize = 1 << 20;
    let part = Part { disk: disk.try_clone()?, extent: extent.clone() };
    let fs = Ext4::load(Box::new(part)).map_err(at(b""))?;
    let size =
        |facts: &Facts| facts.get("data").and(facts.get("size")).and_then(|size| size.parse::<u64>().ok());
    let mut files: Vec<(u64, &Vec<u8>)> = tree
        .nodes
        .iter()
        .filter_map(|(path, facts)| Some((size(facts)?, path)))
        .filter(|(size, _)| *size >= SAMPLE_BYTES as u64)
        .collect();
    files.sort();
    for (_, path) in files.iter().rev().take(8) {
        let ext4_path = Path::try_from(path.as_slice()).map_err(|_| TreeError::Unaskable(shown(path)))?;
        let mut file = fs.open(ext4_path).map_err(at(path))?;
        let mut sample = [0; SAMPLE_BYTES];
        let mut got = 0;
        while got < SAMPLE_BYTES {
            match file.read_bytes(&mut sample[got..]).map_err(at(path))? {
                0 => break,
                more => got += more,
            }
        }
        // A hole, or padding, is found everywhere.
        if got < SAMPLE_BYTES || sample.iter().all(|byte| *byte == sample[0]) {
            continue;
        }
        let mut window = vec![0; WINDOW_BYTES];
        let mut start = extent.start;
        while start < extent.end {
            let len = (extent.end - start).min(WINDOW_BYTES as u64) as usize;
            disk.fill(start, &mut window[..len])?;
            if let Some(block) = window[..len].chunks_exact(SAMPLE_BYTES).position(|block| block == sample) {
                return Ok(Some(start + (block * SAMPLE_BYTES) as u64));
            }
            start += len as u64;
        }
    }
    Ok(None)
}
