//! A dm-log-writes log, done to an image: writes, forced writes, flushes and discards in their order. So a run that was
//! recorded elsewhere can be watched, and crashed, like any other tool's.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fault_backend::power::log_writes::{Entries, Entry, EntryAction, ImportError};
use libc::O_DSYNC;

use crate::image::punch;

/// A log can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayLogError {
    /// A file can't be opened.
    #[error("`{path}` can't be opened")]
    Open {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is to be written to is no image file.
    #[error(
        "`{path}` is no regular file: a log is replayed onto an image alone; copy what it holds into a file first"
    )]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// It is no log of this image.
    #[error("the log `{path}` can't be replayed")]
    Log {
        /// Log.
        path: PathBuf,
        /// What is wrong, and where.
        source: ImportError,
    },
    /// The image can't be written.
    #[error("entry {entry} of the log can't be done to `{path}`")]
    Image {
        /// Image.
        path: PathBuf,
        /// Which, from 1.
        entry: u64,
        /// Why.
        source: io::Error,
    },
}

/// Does to an image what a log says; `on_mark` is told of each mark when it is come to. Gives the number of entries.
///
/// Discarded ranges become holes. A forced write is made with O_DSYNC, a flush is an fsync.
pub fn replay(log: &Path, image: &Path, on_mark: &mut dyn FnMut(&str)) -> Result<u64, ReplayLogError> {
    let entries = open(log, image)?;
    let opening = |source| ReplayLogError::Open { path: image.to_owned(), source };
    let plain = OpenOptions::new().write(true).open(image).map_err(opening)?;
    let forced = OpenOptions::new().write(true).custom_flags(O_DSYNC).open(image).map_err(opening)?;
    each(log, entries, |entry| {
        let file = if entry.fua { &forced } else { &plain };
        let done = (|| {
            if entry.flush {
                plain.sync_all()?;
            }
            match &entry.action {
                EntryAction::Nothing => Ok(()),
                EntryAction::Mark(name) => {
                    on_mark(name);
                    Ok(())
                }
                EntryAction::Write { offset, data } => file.write_all_at(data, *offset),
                EntryAction::Discard(range) => punch(file, range.clone()),
            }
        })();
        let path = || image.to_owned();
        done.map_err(|source| ReplayLogError::Image { path: path(), entry: entry.number, source })
    })
}

/// Reads a whole log and says what is wrong with it, if anything. Gives the number of entries.
pub fn check(log: &Path, image: &Path) -> Result<u64, ReplayLogError> {
    each(log, open(log, image)?, |_| Ok(()))
}

/// The log's entries, for an image of that length.
fn open(log: &Path, image: &Path) -> Result<Entries<BufReader<File>>, ReplayLogError> {
    let opening = |path: &Path| {
        let path = path.to_owned();
        move |source| ReplayLogError::Open { path, source }
    };
    let metadata = image.metadata().map_err(opening(image))?;
    if !metadata.is_file() {
        return Err(ReplayLogError::NoFile { path: image.to_owned() });
    }
    let input = BufReader::new(File::open(log).map_err(opening(log))?);
    Entries::open(input, metadata.len()).map_err(broken(log))
}

fn each(
    log: &Path,
    entries: Entries<BufReader<File>>,
    mut visit: impl FnMut(&Entry) -> Result<(), ReplayLogError>,
) -> Result<u64, ReplayLogError> {
    let mut count = 0;
    for entry in entries {
        visit(&entry.map_err(broken(log))?)?;
        count += 1;
    }
    Ok(count)
}

fn broken(log: &Path) -> impl FnOnce(ImportError) -> ReplayLogError + use<> {
    let path = log.to_owned();
    move |source| ReplayLogError::Log { path, source }
}
