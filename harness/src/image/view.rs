//! A volume as it can be looked at, on either seam: a directory of the host, or a tree in memory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use fault_backend::Volume;

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
    /// A file of the volume; `NotFound` where there is none.
    pub fn open(&self, file: &Path) -> io::Result<Bytes> {
        match self {
            Self::Dir(dir) => File::open(dir.join(file)).map(Bytes::File),
            Self::Memory(state) => match state.file(&Path::new(VOLUME).join(file)) {
                Some(image) => Ok(Bytes::Image(image.clone())),
                None => Err(io::ErrorKind::NotFound.into()),
            },
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
