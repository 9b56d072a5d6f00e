//! What a fork leaves out: what a running guest's manager keeps beside the snapshot, and what the caller names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The folder of logs, at the top alone.
const LOGS: &str = "logs";

/// Ends of the names of half-written compressed files.
const UNFINISHED: &[&str] = &[".lz4.tmp", ".zst.tmp"];

/// Paths that are left out, relative to the source.
#[derive(Clone, Debug, Default)]
pub struct Skips {
    paths: BTreeSet<PathBuf>,
    /// Not even what no fork has.
    nothing: bool,
}

/// What is to be left out can't be told.
#[derive(Debug, thiserror::Error)]
pub enum SkipError {
    /// The list can't be read.
    #[error("the list `{}` can't be read", path.display())]
    Read {
        /// The list.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list names nothing, which is more likely a mistake than a wish.
    #[error("the list `{}` names no path; leave --skip-from out to skip nothing", .0.display())]
    Empty(PathBuf),
    /// A path that can't be inside the source.
    #[error("`{}` is no path inside the snapshot; name it relative to that, without `..`", .0.display())]
    Outside(PathBuf),
}

impl Skips {
    /// What a caller names: paths, and files with a path on each line. There a carriage return before the end of the line,
    /// blanks around a path, empty lines and lines that begin with `#` don't count.
    pub fn new(paths: &[PathBuf], lists: &[PathBuf]) -> Result<Self, SkipError> {
        let mut skips = Self::default();
        paths.iter().try_for_each(|path| skips.add(path))?;
        for list in lists {
            let text =
                fs::read_to_string(list).map_err(|source| SkipError::Read { path: list.clone(), source })?;
            let mut named = text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .peekable();
            if named.peek().is_none() {
                return Err(SkipError::Empty(list.clone()));
            }
            named.try_for_each(|line| skips.add(Path::new(line)))?;
        }
        Ok(skips)
    }

    /// Leaves out nothing, to see a directory as it is.
    pub(crate) fn nothing() -> Self {
        Self { nothing: true, ..Self::default() }
    }

    /// Whether sockets, whatever their name, are left out.
    pub(crate) fn leave_out_sockets(&self) -> bool {
        !self.nothing
    }

    fn add(&mut self, path: &Path) -> Result<(), SkipError> {
        let mut inside = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => inside.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(SkipError::Outside(path.to_owned()));
                }
            }
        }
        if inside.as_os_str().is_empty() {
            return Err(SkipError::Outside(path.to_owned()));
        }
        self.paths.insert(inside);
        Ok(())
    }

    /// Whether a path, relative to the source, is left out for its name.
    pub fn leave_out(&self, path: &Path, is_dir: bool) -> bool {
        if self.nothing {
            return false;
        }
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let unfinished = !is_dir && UNFINISHED.iter().any(|end| name.ends_with(end));
        unfinished || (is_dir && path == Path::new(LOGS)) || self.paths.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_list(text: &str) -> Result<Skips, SkipError> {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        fs::write(&list, text).unwrap();
        Skips::new(&[], &[list])
    }

    #[test]
    fn a_list_may_have_carriage_returns_comments_and_blank_lines() {
        for text in ["a\nb/c\n", "a\r\nb/c\r\n", "# two\r\n\r\na\r\n  b/c  \r\n#d", "./a\nb//c"] {
            let skips = from_list(text).unwrap();
            let wanted: BTreeSet<PathBuf> = ["a", "b/c"].into_iter().map(PathBuf::from).collect();
            assert_eq!(skips.paths, wanted, "{text:?}");
        }
    }

    #[test]
    fn a_list_without_an_entry_is_an_error() {
        for text in ["", "\n\r\n", "# nothing\n", "#a\r\n  \r\n"] {
            assert!(matches!(from_list(text), Err(SkipError::Empty(_))), "{text:?}");
        }
        let missing = Skips::new(&[], &["/nonexistent/list".into()]);
        assert!(matches!(missing, Err(SkipError::Read { .. })));
    }

    #[test]
    fn a_path_that_leads_out_is_an_error() {
        for path in ["/etc", "..", "a/../../b", ".", ""] {
            let error = Skips::new(&[path.into()], &[]);
            assert!(matches!(error, Err(SkipError::Outside(_))), "{path:?}");
        }
    }

    #[test]
    fn what_a_manager_keeps_beside_a_snapshot_is_left_out() {
        let skips = Skips::new(&["mem/old".into()], &[]).unwrap();
        for (path, is_dir, wanted) in [
            ("logs", true, true),
            ("logs", false, false),
            ("vm/logs", true, false),
            ("memory.lz4.tmp", false, true),
            ("vm/state.zst.tmp", false, true),
            ("memory.lz4", false, false),
            ("tmp", false, false),
            ("mem/old", true, true),
            ("mem/older", true, false),
            ("old", true, false),
        ] {
            assert_eq!(skips.leave_out(Path::new(path), is_dir), wanted, "{path}");
        }
    }
}
