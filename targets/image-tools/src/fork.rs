//! A fork of a guest's snapshot: a copy of its directory that shares nothing that can be written to.
//!
//! It is made under a name of its own beside its final one, flushed, and renamed, so that a fork under its final name is
//! always whole; what a killed run left is removed first by the next. A fork that is there already and is what would be
//! made is a success, which a run that was killed right after its rename needs; any other is an error.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};

use crate::compare::{self, CompareError};
use crate::copy::{Calls, CopyError, Reflink, copy_file};
use crate::planted;
use crate::skip::Skips;

/// What a fork took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Forked {
    /// It was there already.
    pub already: bool,
    /// Regular files.
    pub files: u64,
    /// Their length in bytes.
    pub len_bytes: u64,
    /// Files that share their blocks with the source until one is written to.
    pub reflinked: u64,
}

/// A fork could not be made. There is none under its name, but for [`ForkError::Exists`].
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// The source is no directory.
    #[error("the snapshot `{}` is no directory", .0.display())]
    NoSnapshot(PathBuf),
    /// The fork has no name, such as `/`.
    #[error("`{}` is no name for a fork", .0.display())]
    NoName(PathBuf),
    /// The fork would lie in its own source.
    #[error("the fork `{}` would lie inside its own snapshot; choose a place outside", .0.display())]
    Inside(PathBuf),
    /// Something else is there.
    #[error("`{}` exists and is no fork of this snapshot: {how}; remove it or choose another name", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
        /// How it differs.
        how: String,
    },
    /// Another run makes it.
    #[error("another run is making `{}`; wait for it", .0.display())]
    Busy(PathBuf),
    /// Something that can't be copied.
    #[error("`{}` is a {kind}, which a snapshot can't have; skip it with --skip", path.display())]
    Kind {
        /// What.
        path: PathBuf,
        /// Its kind.
        kind: &'static str,
    },
    /// A file.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The comparison with what is there.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// Anything else.
    #[error("`{}` can't be {action}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What could not be done with it.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl ForkError {
    /// Whether the caller asked for what can't be, rather than something failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoSnapshot(_) | Self::NoName(_) | Self::Inside(_) | Self::Exists { .. } | Self::Kind { .. }
        )
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ForkError {
    let path = path.to_owned();
    move |source| ForkError::Io { path, action, source }
}

/// Makes a fork of a snapshot.
pub fn fork<C: Calls>(
    snapshot: &Path,
    fork: &Path,
    skips: &Skips,
    reflink: &mut Reflink<C>,
) -> Result<Forked, ForkError> {
    if !snapshot.is_dir() {
        return Err(ForkError::NoSnapshot(snapshot.to_owned()));
    }
    let place = Place::of(snapshot, fork)?;
    if fs::symlink_metadata(&place.fork).is_ok() {
        return already(snapshot, &place, skips);
    }
    let goes_on = fs::symlink_metadata(&place.temporary).is_ok();
    let making = place.begin()?;
    let shares_memory = goes_on && planted::is_active("hardlink-memory");
    let made = copy_tree((snapshot, &place.temporary), skips, reflink, shares_memory).and_then(|forked| {
        place.finish()?;
        Ok(forked)
    });
    if made.is_err() {
        // What is reported is why the fork failed; a rest that can't be removed is found by the next run.
        let _ = remove_tree(&place.temporary);
    }
    drop(making);
    made
}

/// Where a fork comes to lie.
struct Place {
    parent: PathBuf,
    fork: PathBuf,
    temporary: PathBuf,
}

impl Place {
    fn of(snapshot: &Path, fork: &Path) -> Result<Self, ForkError> {
        let name = fork.file_name().ok_or_else(|| ForkError::NoName(fork.to_owned()))?;
        let parent = match fork.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent = fs::canonicalize(parent).map_err(failed("found", parent))?;
        let source = fs::canonicalize(snapshot).map_err(failed("found", snapshot))?;
        if parent.starts_with(&source) {
            return Err(ForkError::Inside(fork.to_owned()));
        }
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(".fork-tmp");
        Ok(Self { fork: parent.join(name), temporary: parent.join(temporary), parent })
    }

    /// Makes the directory that the fork grows in, without what a killed run left there, and holds it against others.
    fn begin(&self) -> Result<Flock<File>, ForkError> {
        let path = &self.temporary;
        self.clear()?;
        // Only the owner may look in before the modes are right.
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ForkError::Busy(self.fork.clone()));
            }
            made => made.map_err(failed("made", path))?,
        }
        self.lock()
    }

    /// Removes what a killed run left.
    fn clear(&self) -> Result<(), ForkError> {
        let path = &self.temporary;
        if fs::symlink_metadata(path).is_err() {
            return Ok(());
        }
        let left = self.lock()?;
        remove_tree(path).map_err(failed("removed", path))?;
        drop(left);
        Ok(())
    }

    fn lock(&self) -> Result<Flock<File>, ForkError> {
        let path = &self.temporary;
        let dir = File::open(path).map_err(failed("opened", path))?;
        let lock = Flock::lock(dir, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => ForkError::Busy(self.fork.clone()),
            errno => failed("locked", path)(errno.into()),
        })?;
        // Another run may have taken this directory for one that was left, and put its own in its place.
        let held = lock.metadata().map_err(failed("read", path))?;
        match fs::symlink_metadata(path) {
            Ok(now) if (now.dev(), now.ino()) == (held.dev(), held.ino()) => Ok(lock),
            _ => Err(ForkError::Busy(self.fork.clone())),
        }
    }

    /// Gives the fork, which is flushed, its name.
    fn finish(&self) -> Result<(), ForkError> {
        // Never over anything: an empty directory made meanwhile would be replaced by a plain rename.
        let renamed =
            renameat2(AT_FDCWD, &self.temporary, AT_FDCWD, &self.fork, RenameFlags::RENAME_NOREPLACE);
        match renamed {
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                fs::rename(&self.temporary, &self.fork).map_err(failed("renamed", &self.temporary))?;
            }
            Err(Errno::EEXIST) => {
                let how = "it was made meanwhile".to_owned();
                return Err(ForkError::Exists { path: self.fork.clone(), how });
            }
            renamed => renamed.map_err(|errno| failed("renamed", &self.temporary)(errno.into()))?,
        }
        self.sync_parent()
    }

    fn sync_parent(&self) -> Result<(), ForkError> {
        File::open(&self.parent).and_then(|dir| dir.sync_all()).map_err(failed("flushed", &self.parent))
    }
}

/// Answers for a name that is taken.
fn already(snapshot: &Path, place: &Place, skips: &Skips) -> Result<Forked, ForkError> {
    if let Some(how) = compare::difference(snapshot, &place.fork, skips)? {
        return Err(ForkError::Exists { path: place.fork.clone(), how });
    }
    // Its run may have been killed before this.
    place.sync_parent()?;
    // Left by a run that was killed while this fork was made by another.
    place.clear()?;
    let mut forked = Forked { already: true, ..Forked::default() };
    for entry in entries(snapshot, skips)? {
        if let Kind::File { len_bytes } = entry.kind {
            forked.files += 1;
            forked.len_bytes += len_bytes;
        }
    }
    Ok(forked)
}

/// What a fork has of a snapshot.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Relative to the snapshot; the first entry is the snapshot itself, with the empty path.
    pub path: PathBuf,
    pub kind: Kind,
    pub mode: u32,
    pub owner: (u32, u32),
}

/// Its kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dir,
    File { len_bytes: u64 },
    Symlink { target: PathBuf },
}

/// Everything that a fork has of a snapshot, each directory before what is in it, sorted by name. Kinds that can't be
/// copied are an error, so that nothing is made of such a snapshot.
pub(crate) fn entries(snapshot: &Path, skips: &Skips) -> Result<Vec<Entry>, ForkError> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let path = snapshot.join(&relative);
        // The snapshot itself may be named by a link.
        let metadata = match relative.as_os_str().is_empty() {
            true => fs::metadata(&path),
            false => fs::symlink_metadata(&path),
        };
        let metadata = metadata.map_err(failed("read", &path))?;
        let file_type = metadata.file_type();
        let left_out = skips.leave_out(&relative, file_type.is_dir())
            || (file_type.is_socket() && skips.leave_out_sockets());
        if left_out {
            continue;
        }
        let kind = if file_type.is_dir() {
            let names = fs::read_dir(&path)
                .and_then(|names| names.map(|name| Ok(name?.file_name())).collect::<io::Result<Vec<_>>>());
            let mut names = names.map_err(failed("listed", &path))?;
            names.sort_unstable();
            waiting.extend(names.iter().rev().map(|name| relative.join(name)));
            Kind::Dir
        } else if file_type.is_file() {
            Kind::File { len_bytes: metadata.len() }
        } else if file_type.is_symlink() {
            Kind::Symlink { target: fs::read_link(&path).map_err(failed("read", &path))? }
        } else {
            let kind = match (file_type.is_fifo(), file_type.is_socket()) {
                (true, _) => "pipe",
                (_, true) => "socket",
                _ => "device",
            };
            return Err(ForkError::Kind { path, kind });
        };
        let owner = (metadata.uid(), metadata.gid());
        found.push(Entry { path: relative, kind, mode: metadata.mode() & 0o7777, owner });
    }
    Ok(found)
}

/// Copies everything. `shares_memory`, a deliberate bug, hard-links the biggest file.
fn copy_tree<C: Calls>(
    (snapshot, target): (&Path, &Path),
    skips: &Skips,
    reflink: &mut Reflink<C>,
    shares_memory: bool,
) -> Result<Forked, ForkError> {
    let mut forked = Forked::default();
    let mut dirs = Vec::new();
    let before = reflink.cloned_files;
    let entries = entries(snapshot, skips)?;
    let biggest = biggest(&entries);
    for (place, entry) in entries.iter().enumerate() {
        let path = if place == 0 { target.to_owned() } else { target.join(&entry.path) };
        match &entry.kind {
            Kind::Dir => {
                if place > 0 {
                    fs::create_dir(&path).map_err(failed("made", &path))?;
                }
                dirs.push((path, entry));
            }
            Kind::File { len_bytes } => {
                let source = snapshot.join(&entry.path);
                if shares_memory && biggest == Some(place) {
                    fs::hard_link(&source, &path).map_err(failed("linked", &path))?;
                } else {
                    copy_file(&source, &path, reflink)?;
                }
                forked.files += 1;
                forked.len_bytes += len_bytes;
            }
            Kind::Symlink { target } => {
                symlink(target, &path).map_err(failed("made", &path))?;
                own(&path, entry.owner)?;
            }
        }
    }
    // The deepest first, so that a directory is flushed when nothing in it changes any more.
    for (path, entry) in dirs.into_iter().rev() {
        own(&path, entry.owner)?;
        let mode = fs::Permissions::from_mode(entry.mode);
        fs::set_permissions(&path, mode).map_err(failed("given its mode", &path))?;
        File::open(&path).and_then(|dir| dir.sync_all()).map_err(failed("flushed", &path))?;
    }
    forked.reflinked = reflink.cloned_files - before;
    Ok(forked)
}

/// The place of the longest file: a guest's memory.
fn biggest(entries: &[Entry]) -> Option<usize> {
    let len_of = |entry: &Entry| match entry.kind {
        Kind::File { len_bytes } => Some(len_bytes),
        _ => None,
    };
    let files = entries.iter().enumerate().filter_map(|(place, entry)| Some((len_of(entry)?, place)));
    files.max().map(|(_, place)| place)
}

fn own(path: &Path, owner: (u32, u32)) -> Result<(), ForkError> {
    let now = fs::symlink_metadata(path).map_err(failed("read", path))?;
    if (now.uid(), now.gid()) == owner {
        return Ok(());
    }
    lchown(path, Some(owner.0), Some(owner.1)).map_err(failed("given its owner", path))
}

/// Removes a tree, also one of whose directories the source's modes allow no change.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mut waiting = vec![path.to_owned()];
            while let Some(dir) = waiting.pop() {
                fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
                for entry in fs::read_dir(&dir)? {
                    let entry = entry?;
                    if entry.file_type()?.is_dir() {
                        waiting.push(entry.path());
                    }
                }
            }
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}
