//! Collects the working directories of runs that are dead: killed runs can't remove their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What was found and done.
#[derive(Debug, Default)]
pub struct Stale {
    /// Directories that are gone.
    pub removed: Vec<PathBuf>,
    /// Dead ones that could not be removed, each with why.
    pub failed: Vec<(PathBuf, io::Error)>,
}

/// Removes the directories right below `root` whose names begin with `prefix` and whose owner is dead, as `claim`
/// tells: it answers what keeps others from claiming the directory, such as a lock, which is held until it is gone, and
/// nothing where the owner lives or that isn't sure. What is no directory of its own (a file, a link) is left alone. An
/// error is one of listing `root`.
pub fn collect_stale_work_dirs<Claim>(
    root: &Path,
    prefix: &str,
    claim: impl Fn(&Path) -> Option<Claim>,
) -> io::Result<Stale> {
    let mut stale = Stale::default();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let named_so = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        if !named_so || !entry.file_type()?.is_dir() {
            continue;
        }
        let path = entry.path();
        let Some(_claim) = claim(&path) else { continue };
        match fs::remove_dir_all(&path) {
            Ok(()) => stale.removed.push(path),
            // Another run collects as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => stale.failed.push((path, error)),
        }
    }
    stale.removed.sort_unstable();
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_directories_of_that_name_go() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for name in ["run-1", "run-2", "run-3", "other-1"] {
            fs::create_dir_all(path(name).join("deep/er")).unwrap();
        }
        fs::write(path("run-4"), "a file").unwrap();
        std::os::unix::fs::symlink(path("other-1"), path("run-5")).unwrap();
        let stale =
            collect_stale_work_dirs(root.path(), "run-", |path| (!path.ends_with("run-2")).then_some(()))
                .unwrap();
        assert_eq!(stale.removed, [path("run-1"), path("run-3")]);
        assert!(stale.failed.is_empty());
        let mut left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, ["other-1", "run-2", "run-4", "run-5"]);
        assert!(path("other-1/deep/er").exists(), "a link is not followed");
    }

    #[test]
    fn a_root_that_cannot_be_listed_is_an_error() {
        let error = collect_stale_work_dirs(Path::new("/nonexistent"), "run-", |_| Some(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
