//! A volume as it can be looked at, on either seam: a directory of the host, or a tree in memory.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use fault_backend::Volume;
use fault_backend::volume::NodeKind;

use super::{Bytes, files};
use crate::stage::{Look, Saved};

/// Folder of a state in memory that is its volume; beside it lies the scratch directory.
pub const VOLUME: &str = "volume";
/// Folder of a state in memory that is its scratch directory.
pub const SCRATCH: &str = "scratch";

/// Where a volume is.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// In a directory.
    Dir(&'a Path),
    /// In the folder [`VOLUME`] of a state in memory.
    Memory(&'a Volume),
}

impl View<'_> {
    /// A file of the volume; `NotFound` where there is none, and for what is no file: links are not followed.
    pub fn open(&self, file: &Path) -> io::Result<Bytes> {
        match self {
            Self::Dir(dir) => {
                let path = dir.join(file);
                // Looked at before it is opened: opening a pipe would wait for a writer.
                match path.symlink_metadata()?.file_type() {
                    kind if kind.is_file() || kind.is_block_device() => File::open(path).map(Bytes::File),
                    _ => Err(io::ErrorKind::NotFound.into()),
                }
            }
            Self::Memory(state) => match state.file(&Path::new(VOLUME).join(file)) {
                Some(image) => Ok(Bytes::Image(image.clone())),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }

    /// Where a link of the volume leads to; `None` for what is none.
    pub fn target(&self, link: &Path) -> io::Result<Option<OsString>> {
        match self {
            Self::Dir(dir) => {
                let path = dir.join(link);
                let is_link = path.symlink_metadata()?.is_symlink();
                is_link.then(|| path.read_link().map(PathBuf::into_os_string)).transpose()
            }
            Self::Memory(state) => {
                let node = state.resolve(&Path::new(VOLUME).join(link)).and_then(|ino| state.node(ino));
                Ok(node.and_then(|node| match &node.kind {
                    NodeKind::Symlink(target) => Some(target.clone()),
                    _ => None,
                }))
            }
        }
    }

    /// Paths of all that is no directory, relative to the volume, sorted.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let state = match self {
            Self::Dir(dir) => return files(dir),
            Self::Memory(state) => state,
        };
        let names = state.walk().filter(|(_, ino)| state.entries(*ino).is_none());
        let inside = names.filter_map(|(path, _)| Some(path.strip_prefix(VOLUME).ok()?.to_owned()));
        let mut names: Vec<PathBuf> = inside.collect();
        names.sort();
        Ok(names)
    }
}

impl<'a> From<&'a Path> for View<'a> {
    fn from(dir: &'a Path) -> Self {
        Self::Dir(dir)
    }
}

impl<'a> From<&'a PathBuf> for View<'a> {
    fn from(dir: &'a PathBuf) -> Self {
        Self::Dir(dir)
    }
}

impl<'a> From<&'a Saved> for View<'a> {
    fn from(state: &'a Saved) -> Self {
        state.memory.as_ref().map_or(Self::Dir(&state.path), Self::Memory)
    }
}

impl<'a> From<&'a Look<'a>> for View<'a> {
    fn from(look: &'a Look<'a>) -> Self {
        look.memory.map_or(Self::Dir(look.path), Self::Memory)
    }
}
