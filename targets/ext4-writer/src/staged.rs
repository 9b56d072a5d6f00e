//! A file that appears under its name only when it is whole: written beside it, flushed, renamed, the folder flushed.
//!
//! The temporary name follows from the final one, so that a run that was killed leaves nothing that the next one does
//! not take over. A lock on it keeps two runs apart; the lock goes with the process.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::planted;

/// What the temporary name has around the final one.
const PREFIX: &str = ".";
const SUFFIX: &str = ".part";

/// A file can't be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A path without a last name.
    #[error("`{path}` names no file; give the path of the file to write", path = path.display())]
    NoName {
        /// What was given.
        path: PathBuf,
    },
    /// Somebody else has the temporary file.
    #[error("`{path}` is being written by another run; wait for it", path = path.display())]
    Busy {
        /// The file that is written.
        path: PathBuf,
    },
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
}

/// A file under its temporary name. Dropped before [`StagedFile::finish`], it is removed.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    is_finished: bool,
}

impl StagedFile {
    /// An empty file that will be `target`.
    pub fn create(target: &Path) -> Result<Self, StageError> {
        let temporary = temporary_name(target)?;
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| StageError::Io { action, path, source }
        };
        loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(&temporary)
                .map_err(io("created", &temporary))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(StageError::Busy { path: target.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(io("locked", &temporary)(source)),
            }
            // Another run may have finished between the opening and the lock: then this is its result, not our file.
            if is_named(&file, &temporary).map_err(io("looked at", &temporary))? {
                file.set_len(0).map_err(io("emptied", &temporary))?;
                return Ok(Self { file, temporary, target: target.to_owned(), is_finished: false });
            }
        }
    }

    /// The file, for writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its path while it is being written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Makes the content durable and gives the file its name, in place of what had it before.
    pub fn finish(mut self) -> Result<(), StageError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| StageError::Io { action, path, source }
        };
        self.file.sync_all().map_err(io("flushed", &self.temporary))?;
        if self.temporary != self.target {
            fs::rename(&self.temporary, &self.target).map_err(io("renamed", &self.temporary))?;
        }
        self.is_finished = true;
        let folder = folder_of(&self.target);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("flushed", folder))
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // The run has failed already, for a reason that matters more than a file that the next run takes over.
            fs::remove_file(&self.temporary).ok();
        }
    }
}

/// Whether a run that was killed has left something of `target`. What planted bugs ask that show only then.
#[cfg(feature = "planted")]
#[must_use]
pub fn is_left_over(target: &Path) -> bool {
    temporary_name(target).is_ok_and(|temporary| temporary.exists())
}

fn temporary_name(target: &Path) -> Result<PathBuf, StageError> {
    let name = target.file_name().ok_or_else(|| StageError::NoName { path: target.to_owned() })?;
    if planted::is_active("in-place-build") || planted::is_active("half-target") {
        return Ok(target.to_owned());
    }
    let mut temporary = OsString::from(PREFIX);
    temporary.push(name);
    temporary.push(SUFFIX);
    Ok(target.with_file_name(temporary))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a file that is open still has that name.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((own.dev(), own.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn the_name_keeps_its_old_content_until_the_new_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("disk");
        fs::write(&target, "old").unwrap();
        let staged = StagedFile::create(&target).unwrap();
        staged.file().write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        staged.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["disk"]);
    }

    #[test]
    fn what_a_killed_run_left_is_taken_over_and_what_a_failed_one_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("disk");
        fs::write(folder.path().join(".disk.part"), "left behind").unwrap();
        let staged = StagedFile::create(&target).unwrap();
        assert_eq!(staged.file().metadata().unwrap().len(), 0);
        drop(staged);
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn two_runs_of_one_target_do_not_mix_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("disk");
        let first = StagedFile::create(&target).unwrap();
        let second = StagedFile::create(&target).unwrap_err();
        assert!(matches!(second, StageError::Busy { .. }), "{second}");
        drop(first);
        std::os::unix::fs::symlink("elsewhere", folder.path().join(".disk.part")).unwrap();
        assert!(matches!(StagedFile::create(&target).unwrap_err(), StageError::Io { action: "created", .. }));
        assert!(matches!(StagedFile::create(Path::new("/")).unwrap_err(), StageError::NoName { .. }));
    }
}
