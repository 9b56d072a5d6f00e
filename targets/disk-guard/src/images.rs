//! The collector of disk images: deletes `images/disk-images/*.ext4` of a home that no `boxes/*/disks/*.qcow2` needs and
//! whose last change is older than a grace. Nothing else is ever deleted.
//!
//! It fails closed: where one chain can't be read to its end, or a folder can't be listed, nothing at all is deleted. The
//! images are listed before the chains are read, and each is looked at again right before it goes. That leaves one gap to
//! whoever starts a box on an old image: change the image's modification time first, then make the overlay.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::chain::{self, ChainError};

/// Time after its last change for which an image counts as being made.
pub const GRACE: Duration = Duration::from_secs(600);

/// Unit of `st_blocks`.
const STAT_BLOCK_BYTES: u64 = 512;

/// Collects the images of one home.
#[derive(Clone, Debug)]
pub struct Collector {
    /// The home, with `images/disk-images` and `boxes`.
    pub home: PathBuf,
    /// Images that changed within this time stay.
    pub grace: Duration,
    /// The time that ages count from.
    pub now: SystemTime,
    /// Finds the same, and deletes nothing.
    pub dry_run: bool,
    /// Deliberate bug: a chain that can't be read counts as one that has ended.
    #[cfg(feature = "planted")]
    pub chain_error_is_end: bool,
}

/// An image that nothing needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Where it is, below the home as that was given.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Bytes that it takes on the disk.
    pub allocated_bytes: u64,
}

/// What a collection found and did.
#[derive(Debug, Default)]
pub struct Collected {
    /// Images that were deleted, or in a dry run would be; in the order of their names.
    pub deleted: Vec<Image>,
    /// Images that a chain reaches.
    pub pinned: u64,
    /// Images that nothing reaches and that are too young.
    pub young: u64,
    /// Images that somebody changed or removed while this ran.
    pub changed: u64,
    /// Chains that can't be read. Where there is one, nothing was deleted.
    pub unreadable: Vec<ChainError>,
}

impl Collected {
    /// Length of all deleted images in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.deleted.iter().map(|image| image.len_bytes).sum()
    }

    /// Bytes that all deleted images took on the disk.
    pub fn allocated_bytes(&self) -> u64 {
        self.deleted.iter().map(|image| image.allocated_bytes).sum()
    }
}

/// Why nothing was collected, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Without the folder of the boxes it can't be told what is needed.
    #[error("`{}` is no home: `{}` is not there, so nothing tells which images are needed; nothing was deleted",
        home.display(), missing.display())]
    NoHome {
        /// What was given.
        home: PathBuf,
        /// What is not there.
        missing: PathBuf,
    },
    /// The folder of the images is elsewhere.
    #[error("`{}` leads out of the home, to `{}`; nothing was deleted", path.display(), target.display())]
    Elsewhere {
        /// The folder.
        path: PathBuf,
        /// Where it really is.
        target: PathBuf,
    },
    /// Something can't be looked at.
    #[error("`{}` can't be read; nothing was deleted", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image can't be deleted.
    #[error("`{}` can't be deleted; {} were deleted before it", path.display(), before.deleted.len())]
    Delete {
        /// The image.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// What was done until then.
        before: Box<Collected>,
    },
    /// The deletions can't be made durable.
    #[error("what was deleted in `{}` may come back after a power loss", path.display())]
    Sync {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// What was deleted.
        before: Box<Collected>,
    },
}

/// An image that may go.
struct Candidate {
    path: PathBuf,
    metadata: Metadata,
}

impl Collector {
    /// For a home, with the usual grace and the time as it is.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            grace: GRACE,
            now: SystemTime::now(),
            dry_run: false,
            #[cfg(feature = "planted")]
            chain_error_is_end: false,
        }
    }

    /// Deletes what nothing needs.
    pub fn collect(&self) -> Result<Collected, CollectError> {
        let boxes = self.home.join("boxes");
        if !is_dir(&boxes)? {
            return Err(CollectError::NoHome { home: self.home.clone(), missing: boxes });
        }
        let Some(folder) = self.images_folder()? else { return Ok(Collected::default()) };
        let candidates = images_in(&folder)?;
        let mut collected = Collected::default();
        let needed = self.needed(&boxes, &mut collected)?;
        if !collected.unreadable.is_empty() {
            return Ok(collected);
        }
        for candidate in candidates {
            if needed.contains(&id(&candidate.metadata)) {
                collected.pinned += 1;
            } else if !self.is_old(&candidate.metadata) {
                collected.young += 1;
            } else {
                collected = self.delete(candidate, collected)?;
            }
        }
        if !self.dry_run && !collected.deleted.is_empty() {
            let synced = File::open(&folder).and_then(|folder| folder.sync_all());
            if let Err(source) = synced {
                return Err(CollectError::Sync { path: folder, source, before: Box::new(collected) });
            }
        }
        Ok(collected)
    }

    /// The folder of the images, if there is one. It has to lie in the home, since things are deleted in it.
    fn images_folder(&self) -> Result<Option<PathBuf>, CollectError> {
        let path = self.home.join("images/disk-images");
        if !is_dir(&path)? {
            return Ok(None);
        }
        let read = |path: &Path| fs::canonicalize(path).map_err(unreadable(path));
        let target = read(&path)?;
        if target != read(&self.home)?.join("images/disk-images") {
            return Err(CollectError::Elsewhere { path, target });
        }
        Ok(Some(path))
    }

    /// Device and inode of every file that some chain reaches. Chains that can't be read are noted.
    fn needed(&self, boxes: &Path, collected: &mut Collected) -> Result<HashSet<(u64, u64)>, CollectError> {
        let mut needed = HashSet::new();
        for overlay in overlays(boxes)? {
            match chain::read(&overlay) {
                Ok(links) => needed.extend(links.into_iter().map(|link| link.id)),
                // A box that was removed since its folder was listed needs nothing any more.
                Err(_) if is_gone(&overlay) => {}
                #[cfg(feature = "planted")]
                Err(_) if self.chain_error_is_end => {}
                Err(error) => collected.unreadable.push(error),
            }
        }
        Ok(needed)
    }

    fn is_old(&self, metadata: &Metadata) -> bool {
        let changed = metadata.modified().ok();
        // A time in the future has no age.
        changed.and_then(|at| self.now.duration_since(at).ok()).is_some_and(|age| age > self.grace)
    }

    fn delete(&self, candidate: Candidate, mut collected: Collected) -> Result<Collected, CollectError> {
        let Candidate { path, metadata } = candidate;
        let now = match fs::symlink_metadata(&path) {
            Ok(now) => now,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                collected.changed += 1;
                return Ok(collected);
            }
            Err(source) => return Err(CollectError::Delete { path, source, before: Box::new(collected) }),
        };
        if id(&now) != id(&metadata) || !now.is_file() || !self.is_old(&now) {
            collected.changed += 1;
            return Ok(collected);
        }
        let image = Image {
            path: path.clone(),
            len_bytes: now.len(),
            allocated_bytes: now.blocks() * STAT_BLOCK_BYTES,
        };
        if !self.dry_run
            && let Err(source) = fs::remove_file(&path)
        {
            return Err(CollectError::Delete { path, source, before: Box::new(collected) });
        }
        collected.deleted.push(image);
        Ok(collected)
    }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> CollectError {
    let path = path.to_owned();
    move |source| CollectError::Read { path, source }
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn is_dir(path: &Path) -> Result<bool, CollectError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(CollectError::Read { path: path.to_owned(), source }),
    }
}

/// Whether there is nothing at a path, not even a link that leads nowhere.
fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The entries of a folder in the order of their names.
fn listed(dir: &Path) -> Result<Vec<PathBuf>, CollectError> {
    let entries = fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>());
    let mut paths: Vec<PathBuf> = entries.map_err(unreadable(dir))?;
    paths.sort_unstable();
    Ok(paths)
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension == wanted)
}

/// The images of a folder: regular files, and no links.
fn images_in(folder: &Path) -> Result<Vec<Candidate>, CollectError> {
    let mut found = Vec::new();
    for path in listed(folder)?.into_iter().filter(|path| has_extension(path, "ext4")) {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => found.push(Candidate { path, metadata }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CollectError::Read { path, source }),
        }
    }
    Ok(found)
}

/// Every overlay of every box. A box may be a link: what it leads to is only read. One that is removed meanwhile is
/// passed over.
fn overlays(boxes: &Path) -> Result<Vec<PathBuf>, CollectError> {
    let mut found = Vec::new();
    for of_box in listed(boxes)? {
        let disks = of_box.join("disks");
        let kind = match fs::metadata(&of_box) {
            Err(_) if is_gone(&of_box) => continue,
            kind => kind.map_err(unreadable(&of_box))?,
        };
        if !kind.is_dir() || is_gone(&disks) {
            continue;
        }
        let paths = match listed(&disks) {
            Err(_) if is_gone(&disks) => continue,
            paths => paths?,
        };
        found.extend(paths.into_iter().filter(|path| has_extension(path, "qcow2")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    //! What happens between the listing and a deletion, which no test from outside can time.

    use super::*;

    fn old_image(dir: &Path) -> (Collector, Candidate) {
        let path = dir.join("a.ext4");
        fs::write(&path, "abc").unwrap();
        let collector = Collector { now: SystemTime::now() + 2 * GRACE, ..Collector::new(dir) };
        let metadata = fs::symlink_metadata(&path).unwrap();
        (collector, Candidate { path, metadata })
    }

    #[test]
    fn an_image_that_somebody_takes_into_use_before_it_goes_stays() {
        type Change = fn(&Path, SystemTime);
        let changes: &[(&str, Change)] = &[
            ("touched", |path, now| File::open(path).unwrap().set_modified(now).unwrap()),
            ("replaced", |path, _| {
                fs::write(path.with_extension("new"), "x").unwrap();
                fs::rename(path.with_extension("new"), path).unwrap();
            }),
            ("made a link", |path, _| {
                fs::rename(path, path.with_extension("moved")).unwrap();
                std::os::unix::fs::symlink("a.moved", path).unwrap();
            }),
        ];
        for (what, change) in changes {
            let dir = tempfile::tempdir().unwrap();
            let (collector, candidate) = old_image(dir.path());
            let path = candidate.path.clone();
            change(&path, collector.now);
            let collected = collector.delete(candidate, Collected::default()).unwrap();
            assert_eq!((collected.deleted.len(), collected.changed), (0, 1), "{what}");
            assert!(!is_gone(&path), "{what}");
        }
    }

    #[test]
    fn an_image_that_somebody_else_deletes_is_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (collector, candidate) = old_image(dir.path());
        fs::remove_file(&candidate.path).unwrap();
        let collected = collector.delete(candidate, Collected::default()).unwrap();
        assert_eq!((collected.deleted.len(), collected.changed), (0, 1));
    }
}
