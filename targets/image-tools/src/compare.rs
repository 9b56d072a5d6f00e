//! Whether a directory is what a fork of a snapshot would be: the same names, kinds, modes, owners, link targets and
//! bytes. Times don't count.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::fork::{Entry, ForkError, Kind, entries};
use crate::skip::Skips;

/// Bytes that are compared at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Two files could not be compared.
#[derive(Debug, thiserror::Error)]
#[error("`{}` can't be compared", path.display())]
pub struct CompareError {
    /// One of them.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The first difference of a directory from what a fork of a snapshot would be, in words; `None` where there is none.
pub(crate) fn difference(snapshot: &Path, fork: &Path, skips: &Skips) -> Result<Option<String>, ForkError> {
    if !fork.is_dir() || fork.is_symlink() {
        return Ok(Some("it is no directory".to_owned()));
    }
    let wanted = entries(snapshot, skips)?;
    let found = match entries(fork, &Skips::nothing()) {
        // Something that no fork has.
        Err(ForkError::Kind { path, kind }) => {
            return Ok(Some(format!("`{}` is a {kind}", path.display())));
        }
        found => found?,
    };
    let mut pairs = wanted.iter().zip(&found);
    if let Some((wanted, found)) = pairs.find(|(wanted, found)| !alike(wanted, found)) {
        return Ok(Some(match wanted.path == found.path {
            true => format!("`{}` differs", wanted.path.display()),
            false => {
                format!("`{}` is there and `{}` is expected", found.path.display(), wanted.path.display())
            }
        }));
    }
    if let Some(entry) = wanted.get(found.len()).or_else(|| found.get(wanted.len())) {
        let how = if wanted.len() > found.len() { "is missing" } else { "is left over" };
        return Ok(Some(format!("`{}` {how}", entry.path.display())));
    }
    for entry in wanted.iter().filter(|entry| matches!(entry.kind, Kind::File { .. })) {
        if !same_bytes(&snapshot.join(&entry.path), &fork.join(&entry.path))? {
            return Ok(Some(format!("`{}` holds other bytes", entry.path.display())));
        }
    }
    Ok(None)
}

fn alike(wanted: &Entry, found: &Entry) -> bool {
    wanted.path == found.path
        && wanted.kind == found.kind
        && wanted.owner == found.owner
        && (wanted.mode == found.mode || matches!(wanted.kind, Kind::Symlink { .. }))
}

fn same_bytes(a: &Path, b: &Path) -> Result<bool, CompareError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| CompareError { path, source }
    };
    let (mut one, mut other) = (File::open(a).map_err(at(a))?, File::open(b).map_err(at(b))?);
    let (mut first, mut second) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let len = read_full(&mut one, &mut first).map_err(at(a))?;
        let len_b = read_full(&mut other, &mut second).map_err(at(b))?;
        if first[..len] != second[..len_b] {
            return Ok(false);
        }
        if len == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
