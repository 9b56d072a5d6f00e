//! `image-tools clone`: a copy of a file that is whole as soon as it has its name.
//!
//! Blocks are shared where the file system can (FICLONE); else data is copied and holes stay holes.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ext4_writer::staged::{StageError, StagedFile};

use crate::copy::{CopyError, Reflink, copy_content};
use crate::planted;

/// The bits of a mode that are kept.
const MODE_BITS: u32 = 0o7777;

/// A file and its copy.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The file
    pub src: PathBuf,
    /// Its copy; what had this name before is replaced
    pub dst: PathBuf,
}

/// A file can't be cloned.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// Only files have content to copy.
    #[error("`{path}` is no regular file; only those can be cloned", path = path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// The file can't be looked at, or its copy not be given its mode.
    #[error("`{src}` can't be copied to `{dst}`", src = src.display(), dst = dst.display())]
    Copy {
        /// The file.
        src: PathBuf,
        /// Its copy.
        dst: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it holds can't be copied.
    #[error(transparent)]
    Content(#[from] CopyError),
    /// The copy can't be put in its place.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), CloneError> {
    clone_file(&args.src, &args.dst)
}

/// Copies a file with its mode. Whenever that is interrupted, `dst` is what it was before or the whole copy, and the
/// same call again makes up for it.
pub fn clone_file(src: &Path, dst: &Path) -> Result<(), CloneError> {
    if planted::is_active("half-target") && dst.exists() {
        return Ok(());
    }
    let failed = |source| CloneError::Copy { src: src.to_owned(), dst: dst.to_owned(), source };
    let from = File::open(src).map_err(failed)?;
    let meta = from.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(CloneError::NotAFile { path: src.to_owned() });
    }
    let staged = StagedFile::create(dst)?;
    copy_content((src, &from), (staged.path(), staged.file()), &mut Reflink::new(true))?;
    let mode = Permissions::from_mode(meta.permissions().mode() & MODE_BITS);
    fs::set_permissions(staged.path(), mode).map_err(failed)?;
    Ok(staged.finish()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_copy_has_content_holes_and_mode_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let (src, dst) = (folder.path().join("a"), folder.path().join("b"));
        let file = File::create(&src).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(&[7; 5000], 3 << 20).unwrap();
        fs::set_permissions(&src, Permissions::from_mode(0o4750)).unwrap();
        fs::write(&dst, "before").unwrap();
        clone_file(&src, &dst).unwrap();
        assert!(fs::read(&src).unwrap() == fs::read(&dst).unwrap());
        let meta = fs::metadata(&dst).unwrap();
        assert_eq!(meta.mode() & MODE_BITS, 0o4750);
        assert!(meta.blocks() * 512 <= 64 << 10, "{} sectors", meta.blocks());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_source_that_is_no_file_or_not_there_leaves_the_target_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dst = folder.path().join("b");
        fs::write(&dst, "before").unwrap();
        assert!(matches!(clone_file(folder.path(), &dst), Err(CloneError::NotAFile { .. })));
        assert!(matches!(clone_file(&folder.path().join("a"), &dst), Err(CloneError::Copy { .. })));
        assert_eq!(fs::read(&dst).unwrap(), b"before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
