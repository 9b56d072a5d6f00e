//! The working area of one campaign: where the tool runs and its states lie.
//!
//! It lies in memory (`/dev/shm`) where there is room, since the states are copied and compared over and over, and
//! is removed when the campaign ends. A campaign that was killed leaves its area behind, unlocked; the next one
//! removes it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use disk_guard::{Space, collect_stale_work_dirs};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;

const PREFIX: &str = "killpoint-work-";
const LOCK_FILE: &str = "lock";
const UNNAMED_LOCK_FILE: &str = "lock.new";
const MEMORY: &str = "/dev/shm";

/// An area of our own, removed on drop.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    full_below_bytes: u64,
    _lock: Flock<File>,
}

/// No working area can be had.
#[derive(Debug, thiserror::Error)]
pub enum WorkDirError {
    /// It can't be made.
    #[error("no working area can be made in `{path}`; name another place with --work-dir")]
    Io {
        /// Its parent.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is too little room.
    #[error(
        "`{path}` has {free} free, and this scenario needs {needed} for its working copies; name another place with \
         --work-dir",
        free = bytesize::ByteSize(*free_bytes), needed = bytesize::ByteSize(*needed_bytes)
    )]
    NoRoom {
        /// Its parent.
        path: PathBuf,
        /// Bytes that are free.
        free_bytes: u64,
        /// Bytes that are needed.
        needed_bytes: u64,
    },
}

impl WorkDir {
    /// Makes an area in `parent`, or, where none is named, in memory if `needed_bytes` fit there and else in the
    /// directory for temporary files. With less than `full_below_bytes` free it counts as full later.
    pub fn create(
        parent: Option<&Path>,
        needed_bytes: u64,
        full_below_bytes: u64,
    ) -> Result<Self, WorkDirError> {
        let fits = |path: &Path| free_bytes(path).is_ok_and(|free| free >= needed_bytes);
        let parent = match parent {
            Some(path) => path.to_owned(),
            None if fits(Path::new(MEMORY)) => PathBuf::from(MEMORY),
            None => std::env::temp_dir(),
        };
        let error = |source| WorkDirError::Io { path: parent.clone(), source };
        let free_bytes = free_bytes(&parent).map_err(error)?;
        if free_bytes < needed_bytes {
            return Err(WorkDirError::NoRoom { path: parent, free_bytes, needed_bytes });
        }
        remove_abandoned(&parent);
        for ordinal in 0.. {
            let path = parent.join(format!("{PREFIX}{}-{ordinal}", Pid::this()));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let lock = locked(&path).map_err(|source| {
                        // Without a lock it would be left alone for ever.
                        let _ = fs::remove_dir_all(&path);
                        error(source)
                    })?;
                    return Ok(Self { path, full_below_bytes, _lock: lock });
                }
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(error(source)),
            }
        }
        Err(error(io::ErrorKind::AlreadyExists.into()))
    }

    /// The area.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new directory in the area.
    pub fn subdir(&self, name: &str) -> Result<PathBuf, WorkDirError> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(|source| WorkDirError::Io { path: path.clone(), source })?;
        Ok(path)
    }

    /// The bytes that are left, where they are too few: a tool that fails then may have failed for that.
    pub fn fullness(&self) -> io::Result<Option<u64>> {
        let free_bytes = free_bytes(&self.path)?;
        Ok((free_bytes < self.full_below_bytes).then_some(free_bytes))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The lock of an area. It has its name only once it is locked: another campaign that looks for abandoned areas at this
/// very moment would take it for free.
fn locked(area: &Path) -> io::Result<Flock<File>> {
    let unnamed = area.join(UNNAMED_LOCK_FILE);
    let lock =
        Flock::lock(File::create(&unnamed)?, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
    fs::rename(unnamed, area.join(LOCK_FILE))?;
    Ok(lock)
}

/// Bytes that an unprivileged process could still write below a path.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    Space::of(path).map(|space| space.free_bytes)
}

/// Empties a directory, as a reboot does with a temporary one.
pub fn wipe(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Removes the areas in a directory whose owner is gone, which shows in their lock being free.
pub fn remove_abandoned(parent: &Path) {
    // What can't be removed is in nobody's way but for the space that it takes.
    let _ = collect_stale_work_dirs(parent, PREFIX, |area| {
        // An area that is just being made has no lock file yet, and is left alone.
        claim(area, File::open(area.join(LOCK_FILE)).ok()?)
    });
}

/// The lock of an area, of whose lock file this is a handle, where its owner is gone. It is held until the area is removed.
fn claim(area: &Path, lock: File) -> Option<Flock<File>> {
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).ok()?;
    // Since the file was opened its owner may have removed the area, and another one made one of this name.
    let (ours, there) = (lock.metadata().ok()?, fs::metadata(area.join(LOCK_FILE)).ok()?);
    (ours.ino() == there.ino()).then_some(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_goes_with_its_owner_and_one_whose_owner_was_killed_goes_with_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let abandoned = parent.path().join("killpoint-work-1-0");
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join(LOCK_FILE), "").unwrap();
        let first = WorkDir::create(Some(parent.path()), 1, 0).unwrap();
        let second = WorkDir::create(Some(parent.path()), 1, 0).unwrap();
        assert!(!abandoned.exists());
        assert!(first.path().exists() && second.path().exists(), "a living owner's area stays");
        drop((first, second));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_area_is_claimed_once_and_not_by_the_lock_of_one_that_had_its_name_before() {
        let parent = tempfile::tempdir().unwrap();
        let area = parent.path().join("killpoint-work-1-0");
        let open = || File::open(area.join(LOCK_FILE)).unwrap();
        fs::create_dir(&area).unwrap();
        fs::write(area.join(LOCK_FILE), "").unwrap();
        let held = claim(&area, open());
        assert!(held.is_some() && claim(&area, open()).is_none(), "it is held while it is removed");
        drop(held);
        let before = open();
        fs::remove_dir_all(&area).unwrap();
        fs::create_dir(&area).unwrap();
        let _owner = locked(&area).unwrap();
        assert!(claim(&area, before).is_none(), "the area has another lock now");
    }

    #[test]
    fn areas_made_at_once_do_not_remove_each_other() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let area = WorkDir::create(Some(parent.path()), 1, 0).unwrap();
                        assert!(area.path().join(LOCK_FILE).exists());
                    }
                });
            }
        });
    }

    #[test]
    fn too_little_room_is_said_with_both_figures() {
        let parent = tempfile::tempdir().unwrap();
        let error = WorkDir::create(Some(parent.path()), u64::MAX, 0).unwrap_err();
        assert!(matches!(error, WorkDirError::NoRoom { needed_bytes: u64::MAX, .. }));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_area_with_less_than_it_should_have_is_full() {
        let parent = tempfile::tempdir().unwrap();
        assert_eq!(WorkDir::create(Some(parent.path()), 1, 0).unwrap().fullness().unwrap(), None);
        assert!(WorkDir::create(Some(parent.path()), 1, u64::MAX).unwrap().fullness().unwrap().is_some());
    }

    #[test]
    fn wiping_leaves_the_directory_empty() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/c"), "x").unwrap();
        fs::write(dir.path().join("d"), "x").unwrap();
        std::os::unix::fs::symlink("/nonexistent", dir.path().join("e")).unwrap();
        wipe(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
