//! Bytes that can be read at any place, wherever they lie: in a file of the host, or in memory. What reads tables, file
//! systems and differences goes by this, so that looking at a state in memory costs no system call.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use fault_backend::Image;
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// Something with bytes.
pub trait ReadAt {
    /// Length in bytes.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Fills all of `buffer` from an offset; `UnexpectedEof` where the bytes end before.
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// First byte at or behind `at` that may be other than zero; `None` where only a hole follows.
    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        Ok((at < self.len_bytes()?).then_some(at))
    }

    /// First byte at or behind `at` that is known to be in a hole; the end counts as one.
    fn next_hole(&self, _at: u64) -> io::Result<u64> {
        self.len_bytes()
    }
}

impl ReadAt for File {
    /// By seeking, since the metadata of a block device hold no length.
    fn len_bytes(&self) -> io::Result<u64> {
        io::Seek::seek(&mut &*self, io::SeekFrom::End(0))
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        match seek(self, at, Whence::SeekData) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENXIO) => Ok(None),
            // A file system that knows no holes.
            Err(Errno::EINVAL) => Ok(Some(at)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn next_hole(&self, at: u64) -> io::Result<u64> {
        match seek(self, at, Whence::SeekHole) {
            Err(Errno::EINVAL) => self.len_bytes(),
            found => Ok(found?),
        }
    }
}

fn seek(file: &File, at: u64, whence: Whence) -> Result<u64, Errno> {
    let at = i64::try_from(at).map_err(|_| Errno::ENXIO)?;
    lseek(file, at, whence).map(|found| found as u64)
}

impl ReadAt for Image {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(Image::len_bytes(self))
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.read_at(offset, buffer)? {
            len if len == buffer.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        Ok(Image::next_data(self, at))
    }

    fn next_hole(&self, at: u64) -> io::Result<u64> {
        Ok(Image::next_hole(self, at))
    }
}

/// A file of a volume.
#[derive(Debug)]
pub enum Bytes {
    /// On the host.
    File(File),
    /// In memory.
    Image(Image),
}

impl Bytes {
    /// The same bytes, for an owner of its own.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::File(file) => Self::File(file.try_clone()?),
            Self::Image(image) => Self::Image(image.clone()),
        })
    }

    /// All ranges in which two of them differ; where one is longer, the rest of it differs throughout. In memory it
    /// costs what the chunks that differ cost.
    pub fn differences(&self, other: &Self) -> io::Result<Vec<Range<u64>>> {
        if let (Self::Image(a), Self::Image(b)) = (self, other) {
            return a.diff(b);
        }
        super::all_differences(self, other)
    }
}

impl ReadAt for Bytes {
    fn len_bytes(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => ReadAt::len_bytes(file),
            Self::Image(image) => ReadAt::len_bytes(image),
        }
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.fill(offset, buffer),
            Self::Image(image) => image.fill(offset, buffer),
        }
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        match self {
            Self::File(file) => file.next_data(at),
            Self::Image(image) => ReadAt::next_data(image, at),
        }
    }

    fn next_hole(&self, at: u64) -> io::Result<u64> {
        match self {
            Self::File(file) => file.next_hole(at),
            Self::Image(image) => ReadAt::next_hole(image, at),
        }
    }
}
