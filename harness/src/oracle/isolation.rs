//! Oracle `isolation`: what a folder is copied from stays as it is. Each of its files keeps its inode and its SHA-256, and
//! none gets a name outside the folder, be it in the copy or in a half-made one beside it.
//!
//! Inode numbers are part of a state in memory. Directories on the host are copied from state to state, so there it is the
//! contents alone, and links between what the folder and the rest hold.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fault_backend::Image;
use fault_backend::volume::NodeKind;
use scenarios::Problem;
use sha2::{Digest, Sha256};

use crate::image::{Bytes, ReadAt, VOLUME};

use super::memory::Memory;
use super::subject::{Side, Subject};
use super::{Halt, OracleError, Outcome, Setup, World, at};

/// Bytes that are hashed at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Shown in an explanation, at most.
const SHOWN: usize = 5;

type Sha = [u8; 32];

/// A folder that is copied, as it is when the phase starts.
#[derive(Debug)]
pub(super) struct Isolation {
    source: PathBuf,
    fork: PathBuf,
    files: BTreeMap<PathBuf, Guarded>,
}

/// A file of it.
#[derive(Debug)]
struct Guarded {
    /// Number of its inode, where that is kept from state to state.
    ino: Option<u64>,
    sha256: Sha,
    /// Names outside the folder that it has from the start.
    outside: Vec<PathBuf>,
}

/// The regular files of a volume by path, each with a number that files which are one have in common.
type Names = BTreeMap<PathBuf, (u64, u64)>;

impl Isolation {
    pub fn new(setup: &mut Setup<'_>, source: &str, fork: &str) -> Result<Self, OracleError> {
        let (source, fork) = (PathBuf::from(source), PathBuf::from(fork));
        let (side, memory) = setup.start();
        let (names, numbered) = (names(side)?, side.memory.is_some());
        let mut files = BTreeMap::new();
        for (path, id) in names.iter().filter(|(path, _)| path.starts_with(&source)) {
            let sha256 = sha256(&side.disk(path)?.bytes, memory).map_err(at(path))?;
            let outside = outside(&names, &source, *id).cloned().collect();
            files.insert(path.clone(), Guarded { ino: numbered.then_some(id.1), sha256, outside });
        }
        if files.is_empty() {
            let problem = Problem::NoFolder(source.display().to_string());
            return Err(setup.error_at("source", None, problem));
        }
        if !numbered {
            setup.not_tested(format!(
                "isolation: whether the files of `{}` keep their inodes: only states in memory have lasting ones",
                source.display()
            ));
        }
        Ok(Self { source, fork, files })
    }

    pub fn ask(&self, subject: &Subject<'_>, world: &mut World) -> Result<Outcome, Halt> {
        let names = names(&subject.side)?;
        let mut wrong = Vec::new();
        for (path, guarded) in &self.files {
            let shown = path.display();
            let Some(id) = names.get(path) else {
                wrong.push(format!("`{shown}` is missing"));
                continue;
            };
            if guarded.ino.is_some_and(|ino| ino != id.1) {
                wrong.push(format!("`{shown}` is another file than before"));
            }
            let disk = subject.disk(path)?;
            if sha256(&disk.bytes, &mut world.memory).map_err(at(path))? != guarded.sha256 {
                wrong.push(format!("`{shown}` has another SHA-256 than before"));
            }
            let new = outside(&names, &self.source, *id).filter(|name| !guarded.outside.contains(name));
            wrong.extend(new.map(|name| format!("`{}` is a hard link to `{shown}`", name.display())));
        }
        if wrong.is_empty() {
            return Ok(Outcome::Held);
        }
        let more = wrong.len().saturating_sub(SHOWN);
        wrong.truncate(SHOWN);
        if more > 0 {
            wrong.push(format!("{more} more"));
        }
        Ok(Outcome::failed(wrong.join("; ")))
    }

    /// The file that is damaged to prove the oracle.
    pub fn first_file(&self) -> &Path {
        self.files.keys().next().map_or(Path::new(""), PathBuf::as_path)
    }

    /// A free name for a link: in the copy, or at the top where there is none.
    pub fn place_of_proof(&self, baseline: &Side) -> PathBuf {
        let in_fork = Path::new(VOLUME).join(&self.fork);
        let state = baseline.memory.as_ref();
        let is_dir = state
            .is_some_and(|state| state.resolve(&in_fork).is_some_and(|ino| state.entries(ino).is_some()));
        let folder = if is_dir { self.fork.as_path() } else { Path::new("") };
        folder.join(OsStr::new(".isolation-proof"))
    }
}

/// Names of a file outside a folder.
fn outside<'a>(names: &'a Names, folder: &'a Path, id: (u64, u64)) -> impl Iterator<Item = &'a PathBuf> {
    let others = names.iter().filter(move |(path, other)| **other == id && !path.starts_with(folder));
    others.map(|(path, _)| path)
}

fn names(side: &Side) -> Result<Names, OracleError> {
    let mut names = Names::new();
    match &side.memory {
        Some(state) => {
            for (path, ino) in state.walk() {
                let Ok(path) = path.strip_prefix(VOLUME) else { continue };
                if state.node(ino).is_some_and(|node| matches!(node.kind, NodeKind::File(_))) {
                    names.insert(path.to_owned(), (0, ino.0));
                }
            }
        }
        None => {
            for path in side.view().files().map_err(at(&side.path))? {
                let metadata = side.path.join(&path).symlink_metadata().map_err(at(&path))?;
                if metadata.is_file() {
                    names.insert(path, (metadata.dev(), metadata.ino()));
                }
            }
        }
    }
    Ok(names)
}

/// SHA-256 of a file; of an image in memory it is remembered by its content id.
fn sha256(bytes: &Bytes, memory: &mut Memory) -> io::Result<Sha> {
    let Bytes::Image(image) = bytes else { return digest(bytes, bytes.len_bytes()?) };
    let id = Image::content_id(image);
    if let Some(known) = memory.sha256.get(&id) {
        return Ok(*known);
    }
    let sha = digest(image, image.len_bytes())?;
    memory.sha256.insert(id, sha);
    Ok(sha)
}

fn digest(bytes: &dyn ReadAt, len_bytes: u64) -> io::Result<Sha> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < len_bytes {
        let piece = &mut buffer[..(len_bytes - offset).min(CHUNK_BYTES as u64) as usize];
        bytes.fill(offset, piece)?;
        hasher.update(&*piece);
        offset += piece.len() as u64;
    }
    Ok(hasher.finalize().into())
}
