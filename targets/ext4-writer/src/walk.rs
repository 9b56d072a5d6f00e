//! A tree from a folder: everything below it in the order of names, with holes, hard links and attributes kept.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::time::Time;
use crate::tree::{Contents, FileData, Kind, Meta, NodeId, Opened, Tree, TreeError};

/// `st_blocks` counts in these.
const SECTOR_BYTES: u64 = 512;

/// A folder can't be made a tree.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The system refused.
    #[error("`{path}` can't be {action}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A node that an image can't hold.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// The content of a walked folder's files.
#[derive(Debug, Default)]
pub struct Files {
    paths: Vec<PathBuf>,
}

impl Contents for Files {
    fn open(&self, content: u64) -> io::Result<Opened<'_>> {
        let path = usize::try_from(content).ok().and_then(|index| self.paths.get(index));
        let path = path.ok_or(io::ErrorKind::NotFound)?;
        File::open(path).map(Opened::File)
    }

    fn shared(&self) -> Option<&(dyn Contents + Sync)> {
        Some(self)
    }
}

/// The tree of all that is below `root`, whose own owner, mode and attributes become those of the top folder.
pub fn walk(root: &Path) -> Result<(Tree, Files), WalkError> {
    let meta = fs::metadata(root).map_err(failed("read", root))?;
    let tree = Tree::new(meta_of(root, &meta)?);
    let top = tree.root();
    let mut walk = Walk { tree, files: Files::default(), linked: HashMap::new() };
    walk.folder(root, top)?;
    Ok((walk.tree, walk.files))
}

struct Walk {
    tree: Tree,
    files: Files,
    /// Files of several names that were seen, by device and inode.
    linked: HashMap<(u64, u64), NodeId>,
}

impl Walk {
    fn folder(&mut self, top: &Path, root: NodeId) -> Result<(), WalkError> {
        let mut waiting = vec![(top.to_owned(), root)];
        while let Some((folder, parent)) = waiting.pop() {
            let entries = fs::read_dir(&folder).map_err(failed("listed", &folder))?;
            let mut names = entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<io::Result<Vec<_>>>()
                .map_err(failed("listed", &folder))?;
            names.sort_unstable();
            let mut folders = Vec::new();
            for name in names {
                let path = folder.join(&name);
                if let Some(id) = self.node(&path, parent, name.as_bytes())? {
                    folders.push((path, id));
                }
            }
            waiting.extend(folders.into_iter().rev());
        }
        Ok(())
    }

    /// Adds what has that name; gives a folder's node, to go on with.
    fn node(&mut self, path: &Path, parent: NodeId, name: &[u8]) -> Result<Option<NodeId>, WalkError> {
        let meta = fs::symlink_metadata(path).map_err(failed("read", path))?;
        let key = (meta.dev(), meta.ino());
        let has_more_names = meta.nlink() > 1 && !meta.is_dir();
        if has_more_names && let Some(first) = self.linked.get(&key) {
            self.tree.link(parent, name, *first)?;
            return Ok(None);
        }
        let kind = self.kind(path, &meta)?;
        let is_folder = kind == Kind::Directory;
        let id = self.tree.add(parent, name, meta_of(path, &meta)?, kind)?;
        if has_more_names {
            self.linked.insert(key, id);
        }
        Ok(is_folder.then_some(id))
    }

    fn kind(&mut self, path: &Path, meta: &Metadata) -> Result<Kind, WalkError> {
        let kind = meta.file_type();
        let (major, minor) =
            (nix::sys::stat::major(meta.rdev()) as u32, nix::sys::stat::minor(meta.rdev()) as u32);
        Ok(if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            let target = fs::read_link(path).map_err(failed("read", path))?;
            Kind::Symlink(target.into_os_string().into_vec())
        } else if kind.is_file() {
            Kind::File(self.file(path, meta)?)
        } else if kind.is_char_device() {
            Kind::CharDevice { major, minor }
        } else if kind.is_block_device() {
            Kind::BlockDevice { major, minor }
        } else if kind.is_fifo() {
            Kind::Fifo
        } else {
            Kind::Socket
        })
    }

    fn file(&mut self, path: &Path, meta: &Metadata) -> Result<FileData, WalkError> {
        let content = self.files.paths.len() as u64;
        self.files.paths.push(path.to_owned());
        if meta.blocks() * SECTOR_BYTES >= meta.len() {
            return Ok(FileData::whole(meta.len(), content));
        }
        let data = data_ranges(path, meta.len()).map_err(failed("searched for holes", path))?;
        Ok(match data {
            Some(data) => FileData::sparse(meta.len(), content, data),
            None => FileData::whole(meta.len(), content),
        })
    }
}

/// Byte ranges that hold data; none where the file system can't tell.
fn data_ranges(path: &Path, len: u64) -> io::Result<Option<Vec<Range<u64>>>> {
    let file = File::open(path)?;
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < len {
        let start = match lseek(&file, at as i64, Whence::SeekData) {
            Ok(start) => start as u64,
            Err(Errno::ENXIO) => break,
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        at = lseek(&file, start as i64, Whence::SeekHole)? as u64;
        ranges.push(start..at.min(len));
    }
    Ok(Some(ranges))
}

fn meta_of(path: &Path, meta: &Metadata) -> Result<Meta, WalkError> {
    let xattrs = xattrs_of(path).map_err(failed("read for extended attributes", path))?;
    Ok(Meta {
        mode: (meta.mode() & 0o7777) as u16,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: Time { seconds: meta.mtime(), nanoseconds: meta.mtime_nsec() as u32 },
        xattrs,
    })
}

fn xattrs_of(path: &Path) -> io::Result<std::collections::BTreeMap<Vec<u8>, Vec<u8>>> {
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => return Ok(Default::default()),
        Err(error) => return Err(error),
    };
    let value = |name: &OsStr| xattr::get(path, name).map(Option::unwrap_or_default);
    names.map(|name| Ok((name.as_bytes().to_vec(), value(&name)?))).collect()
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WalkError {
    move |source| WalkError::Io { action, path: path.to_owned(), source }
}
