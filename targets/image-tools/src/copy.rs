//! Copies one file so that it shares nothing that can be written to: by reflink where the file system can, else by its
//! data alone with the holes kept. A whole file's copy is durable when this returns, and where it fails there is none; who
//! has made the file for the copy already copies the content alone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Bytes that are read and written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Runs of zeros of this length become holes where the file system does not tell its own.
const BLOCK_BYTES: usize = 4096;

/// The errors that say that no reflink can be made here, rather than that this one failed.
const UNSUPPORTED: &[Errno] =
    &[Errno::EINVAL, Errno::EOPNOTSUPP, Errno::EXDEV, Errno::ETXTBSY, Errno::EISDIR, Errno::ENOTTY];

/// A file could not be copied. There is no copy, or what was made for it is not whole.
#[derive(Debug, thiserror::Error)]
#[error("`{}` can't be copied: `{}` can't be {action}", source_path.display(), at.display())]
pub struct CopyError {
    /// The file.
    pub source_path: PathBuf,
    /// The file that the error came from, this or the copy.
    pub at: PathBuf,
    /// What could not be done with it.
    pub action: &'static str,
    /// Why.
    pub source: io::Error,
}

/// The system calls of a copy that a test has to be able to answer by itself.
pub trait Calls {
    /// `ioctl(FICLONE)`.
    fn clone_file(&mut self, source: &File, copy: &File) -> Result<(), Errno>;
    /// `lseek(SEEK_DATA)`: the first byte of data at or after an offset, `ENXIO` where there is none.
    fn seek_data(&mut self, file: &File, offset: u64) -> Result<u64, Errno>;
    /// `lseek(SEEK_HOLE)`: the first byte that is no data at or after an offset.
    fn seek_hole(&mut self, file: &File, offset: u64) -> Result<u64, Errno>;
    /// `pread`.
    fn read_at(&mut self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// `pwrite` of all bytes.
    fn write_at(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
}

/// The kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

impl Calls for Kernel {
    fn clone_file(&mut self, source: &File, copy: &File) -> Result<(), Errno> {
        rustix::fs::ioctl_ficlone(copy, source).map_err(errno)
    }

    fn seek_data(&mut self, file: &File, offset: u64) -> Result<u64, Errno> {
        rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)).map_err(errno)
    }

    fn seek_hole(&mut self, file: &File, offset: u64) -> Result<u64, Errno> {
        rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(offset)).map_err(errno)
    }

    fn read_at(&mut self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(bytes, offset)
    }

    fn write_at(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// How copies are made: whether reflinks still are tried, and what became of them. Once one is not supported, none is
/// tried any more.
#[derive(Debug)]
pub struct Reflink<C = Kernel> {
    calls: C,
    tried: bool,
    /// Files that were reflinked.
    pub cloned_files: u64,
    /// Files that were copied.
    pub copied_files: u64,
}

impl Reflink {
    /// Reflinks where they can be had, or none at all.
    pub fn new(wanted: bool) -> Self {
        Self::with_calls(Kernel, wanted)
    }
}

impl<C: Calls> Reflink<C> {
    /// As [`Reflink::new`], with system calls of one's own.
    pub fn with_calls(calls: C, wanted: bool) -> Self {
        Self { calls, tried: wanted, cloned_files: 0, copied_files: 0 }
    }

    /// Whether the next file would be tried to be reflinked.
    pub fn is_tried(&self) -> bool {
        self.tried
    }

    /// Makes the copy share the source's blocks; whether it does.
    fn clone_file(&mut self, source: &File, copy: &File) -> io::Result<bool> {
        if !self.tried {
            return Ok(false);
        }
        match self.calls.clone_file(source, copy) {
            Ok(()) => Ok(true),
            Err(errno) if UNSUPPORTED.contains(&errno) => {
                self.tried = false;
                Ok(false)
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

/// What failed, with which of the two files.
type Failure = (End, &'static str, io::Error);
type Step<T> = Result<T, Failure>;

/// One of the two files.
#[derive(Clone, Copy)]
enum End {
    Source,
    Copy,
}

fn step<T>(end: End, action: &'static str, result: io::Result<T>) -> Step<T> {
    result.map_err(|error| (end, action, error))
}

impl CopyError {
    fn new(source_path: &Path, copy: &Path, (end, action, source): Failure) -> Self {
        let at = match end {
            End::Source => source_path,
            End::Copy => copy,
        };
        Self { source_path: source_path.to_owned(), at: at.to_owned(), action, source }
    }
}

/// Copies a regular file to a name that does not exist, with its mode, and its owner where that is another. It is durable
/// but for its name.
pub fn copy_file<C: Calls>(source: &Path, copy: &Path, reflink: &mut Reflink<C>) -> Result<(), CopyError> {
    let failed = |failure| CopyError::new(source, copy, failure);
    let from = step(End::Source, "opened", File::open(source)).map_err(failed)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let to = step(End::Copy, "made", options.open(copy)).map_err(failed)?;
    fill(&from, &to, reflink).map_err(|error| {
        // What is reported is why the copy failed; a rest that can't be removed is found by the next run.
        let _ = fs::remove_file(copy);
        failed(error)
    })
}

/// Copies what a file holds to one that is open and empty. It is not flushed, and its owner and mode stay.
pub fn copy_content<C: Calls>(
    (source, from): (&Path, &File),
    (copy, to): (&Path, &File),
    reflink: &mut Reflink<C>,
) -> Result<(), CopyError> {
    fill_content(from, to, reflink).map_err(|failure| CopyError::new(source, copy, failure))
}

fn fill_content<C: Calls>(from: &File, to: &File, reflink: &mut Reflink<C>) -> Step<()> {
    let len_bytes = step(End::Source, "read", from.metadata())?.len();
    if step(End::Copy, "reflinked", reflink.clone_file(from, to))? {
        reflink.cloned_files += 1;
    } else {
        copy_data(&mut reflink.calls, from, to, len_bytes)?;
        reflink.copied_files += 1;
    }
    Ok(())
}

fn fill<C: Calls>(from: &File, to: &File, reflink: &mut Reflink<C>) -> Step<()> {
    let metadata = step(End::Source, "read", from.metadata())?;
    fill_content(from, to, reflink)?;
    let now = step(End::Copy, "read", to.metadata())?;
    if (now.uid(), now.gid()) != (metadata.uid(), metadata.gid()) {
        let owned = std::os::unix::fs::fchown(to, Some(metadata.uid()), Some(metadata.gid()));
        step(End::Copy, "given its owner", owned)?;
    }
    let mode = fs::Permissions::from_mode(metadata.mode() & 0o7777);
    step(End::Copy, "given its mode", to.set_permissions(mode))?;
    step(End::Copy, "flushed", to.sync_all())
}

/// Copies the stretches of data. Where the file system doesn't tell where they are, everything from there on is read, and
/// zeros become holes.
fn copy_data(calls: &mut impl Calls, from: &File, to: &File, len_bytes: u64) -> Step<()> {
    step(End::Copy, "sized", to.set_len(len_bytes))?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < len_bytes {
        let (start, end, dense) = match stretch(calls, from, at, len_bytes) {
            Ok(Some((start, end))) => (start, end, false),
            Ok(None) => break,
            // The disk's own fault is no matter of what the file system can tell.
            Err(Errno::EIO) => return step(End::Source, "read", Err(Errno::EIO.into())),
            Err(_) => (at, len_bytes, true),
        };
        copy_stretch(calls, (from, to), start..end, dense, &mut buffer)?;
        at = end;
    }
    Ok(())
}

/// The next stretch of data at or after an offset, never an empty one.
fn stretch(
    calls: &mut impl Calls,
    file: &File,
    at: u64,
    len_bytes: u64,
) -> Result<Option<(u64, u64)>, Errno> {
    let start = match calls.seek_data(file, at) {
        Err(Errno::ENXIO) => return Ok(None),
        start => start?,
    };
    let end = calls.seek_hole(file, start)?.min(len_bytes);
    // Data that begins before what was asked for, or has no end, is no answer.
    if start < at || (start < len_bytes && end <= start) {
        return Err(Errno::EINVAL);
    }
    Ok((start < len_bytes).then_some((start, end)))
}

fn copy_stretch(
    calls: &mut impl Calls,
    (from, to): (&File, &File),
    range: std::ops::Range<u64>,
    dense: bool,
    buffer: &mut [u8],
) -> Step<()> {
    let mut at = range.start;
    while at < range.end {
        let wanted = (range.end - at).min(buffer.len() as u64) as usize;
        let len = step(End::Source, "read", calls.read_at(from, &mut buffer[..wanted], at))?;
        if len == 0 {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was copied");
            return step(End::Source, "read", Err(error));
        }
        let blocks = buffer[..len].chunks(if dense { BLOCK_BYTES } else { len });
        let mut offset = at;
        for block in blocks {
            if !dense || block.iter().any(|byte| *byte != 0) {
                step(End::Copy, "written", calls.write_at(to, block, offset))?;
            }
            offset += block.len() as u64;
        }
        at += len as u64;
    }
    Ok(())
}
