//! A tree from what an ext4 image holds, read without mounting it.
//!
//! Owner and group become root's. The reader knows neither holes nor extended attributes nor inode numbers: blocks of
//! zeros become holes, attributes are left out, and each name of a hard link becomes a file of its own.

use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ext4_view::{DirEntry, Ext4, FileType, Metadata};
use ext4_writer::{BLOCK_BYTES, Contents, FileData, Kind, Meta, NodeId, Opened, Time, Tree, TreeError};

/// An image's content can't be made a tree.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The image is none, or is damaged.
    #[error("`{image}` can't be read as ext4", image = image.display())]
    Open {
        /// The image.
        image: PathBuf,
        /// Why.
        source: ext4_view::Ext4Error,
    },
    /// Something in the image can't be read.
    #[error("`{path}` in the image can't be read", path = path.display())]
    Read {
        /// Path in the image.
        path: PathBuf,
        /// Why.
        source: ext4_view::Ext4Error,
    },
    /// A file in the image can't be read.
    #[error("the content of `{path}` in the image can't be read", path = path.display())]
    Content {
        /// Path in the image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A work disk holds folders, files and symlinks.
    #[error("`{path}` is a device, pipe or socket, which a work disk can't hold; remove it", path = path.display())]
    Special {
        /// Path in the image.
        path: PathBuf,
    },
    /// The top of the tree has to be a folder.
    #[error("`{path}` in the image is no folder", path = path.display())]
    NotADirectory {
        /// Path in the image.
        path: PathBuf,
    },
    /// A node that an image can't hold.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// The content of an image's files.
pub struct ImageFiles {
    ext4: Ext4,
    paths: Vec<ext4_view::PathBuf>,
}

impl Contents for ImageFiles {
    fn open(&self, content: u64) -> io::Result<Opened<'_>> {
        let path = usize::try_from(content).ok().and_then(|index| self.paths.get(index));
        let file = self.ext4.open(path.ok_or(io::ErrorKind::NotFound)?)?;
        Ok(Opened::Reader(Box::new(file)))
    }
}

/// The tree below a folder of an image; an empty one where the image has nothing of that name.
pub fn read(image: &Path, top: &str) -> Result<(Tree, ImageFiles), SourceError> {
    let opened = Ext4::load_from_path(image);
    let ext4 = opened.map_err(|source| SourceError::Open { image: image.to_owned(), source })?;
    let path = ext4_view::PathBuf::new(top);
    let mut files = ImageFiles { ext4, paths: Vec::new() };
    if !files.ext4.exists(&path).map_err(failed(&path))? {
        let tree = Tree::new(Meta { mode: 0o700, ..Meta::default() });
        return Ok((tree, files));
    }
    let meta = files.ext4.symlink_metadata(&path).map_err(failed(&path))?;
    if !meta.is_dir() {
        return Err(SourceError::NotADirectory { path: shown(&path) });
    }
    let mut tree = Tree::new(meta_of(&meta));
    let mut waiting = vec![(path, tree.root())];
    while let Some((folder, parent)) = waiting.pop() {
        add_folder(&mut tree, &mut files, &folder, parent, &mut waiting)?;
    }
    Ok((tree, files))
}

fn add_folder(
    tree: &mut Tree,
    files: &mut ImageFiles,
    folder: &ext4_view::PathBuf,
    parent: NodeId,
    waiting: &mut Vec<(ext4_view::PathBuf, NodeId)>,
) -> Result<(), SourceError> {
    let entries = files.ext4.read_dir(folder).and_then(Iterator::collect::<Result<Vec<DirEntry>, _>>);
    let mut entries = entries.map_err(failed(folder))?;
    entries.sort_by(|left, right| left.file_name().as_ref().cmp(right.file_name().as_ref()));
    let mut folders = Vec::new();
    for entry in entries {
        let name = entry.file_name();
        if [&b"."[..], b".."].contains(&name.as_ref()) {
            continue;
        }
        let path = entry.path();
        let meta = files.ext4.symlink_metadata(&path).map_err(failed(&path))?;
        let kind = match meta.file_type() {
            FileType::Directory => Kind::Directory,
            FileType::Regular => {
                files.paths.push(path.clone());
                Kind::File(file_data(files, &path, meta.len())?)
            }
            FileType::Symlink => {
                let target = files.ext4.read_link(&path).map_err(failed(&path))?;
                Kind::Symlink(target.as_ref().to_vec())
            }
            _ => return Err(SourceError::Special { path: shown(&path) }),
        };
        let is_folder = kind == Kind::Directory;
        let id = tree.add(parent, name.as_ref(), meta_of(&meta), kind)?;
        if is_folder {
            folders.push((path, id));
        }
    }
    waiting.extend(folders.into_iter().rev());
    Ok(())
}

/// The last file that was added, its blocks of zeros as holes.
fn file_data(files: &ImageFiles, path: &ext4_view::PathBuf, len: u64) -> Result<FileData, SourceError> {
    let content = files.paths.len() as u64 - 1;
    if len <= BLOCK_BYTES {
        return Ok(FileData::whole(len, content));
    }
    let file = files.ext4.open(path).map_err(failed(path))?;
    let ranges =
        data_ranges(file, len).map_err(|source| SourceError::Content { path: shown(path), source })?;
    Ok(FileData::sparse(len, content, ranges))
}

/// Ranges of whole blocks that are not all zeros.
fn data_ranges(mut file: impl Read, len: u64) -> io::Result<Vec<Range<u64>>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut block = [0; BLOCK_BYTES as usize];
    for start in (0..len).step_by(block.len()) {
        let end = len.min(start + BLOCK_BYTES);
        let part = &mut block[..(end - start) as usize];
        file.read_exact(part)?;
        if part.iter().all(|byte| *byte == 0) {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    Ok(ranges)
}

fn meta_of(meta: &Metadata) -> Meta {
    let time = meta.modified();
    let mtime = Time { seconds: time.seconds(), nanoseconds: time.nanoseconds() };
    Meta { mode: meta.mode() & 0o7777, mtime, ..Meta::default() }
}

fn failed(path: &ext4_view::PathBuf) -> impl FnOnce(ext4_view::Ext4Error) -> SourceError {
    let path = shown(path);
    move |source| SourceError::Read { path, source }
}

fn shown(path: &ext4_view::PathBuf) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(path.as_ref()).into()
}
