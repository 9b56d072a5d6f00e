//! A disk that knows whether everything on it is durable, as far as one run can know.
//!
//! The page cache outlives a killed run, so a resume reads what that run had written and not flushed, and a power
//! cut may still take it away. A run therefore begins not knowing: its first flush always happens. After that, a
//! flush with no write since the last one has nothing to do and is left out. So whoever relies on durability asks
//! for it where that is needed, and no barrier is paid for twice.

use std::cell::Cell;
use std::io;
use std::path::Path;

use crate::disk::Disk;

/// A disk whose needless flushes are left out.
pub struct Barrier<'a> {
    disk: &'a dyn Disk,
    durable: Cell<bool>,
}

impl<'a> Barrier<'a> {
    /// `disk` at the start of a run, whatever an earlier one may have left of it in the cache.
    pub fn new(disk: &'a dyn Disk) -> Self {
        Barrier { disk, durable: Cell::new(false) }
    }
}

impl Disk for Barrier<'_> {
    fn len_bytes(&self) -> u64 {
        self.disk.len_bytes()
    }

    fn path(&self) -> &Path {
        self.disk.path()
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset_bytes, buf)
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        // Also a write that fails may have changed something.
        self.durable.set(false);
        self.disk.write_at(offset_bytes, data)
    }

    fn flush(&self) -> io::Result<()> {
        if !self.durable.get() {
            self.disk.flush()?;
            self.durable.set(true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Notes what reaches it, and fails what it is told to.
    #[derive(Default)]
    struct Notes {
        done: RefCell<String>,
        failing: Cell<bool>,
    }

    impl Notes {
        fn note(&self, what: char) -> io::Result<()> {
            if self.failing.get() {
                return Err(io::ErrorKind::Other.into());
            }
            self.done.borrow_mut().push(what);
            Ok(())
        }
    }

    impl Disk for Notes {
        fn len_bytes(&self) -> u64 {
            0
        }

        fn path(&self) -> &Path {
            Path::new("notes")
        }

        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            Ok(())
        }

        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            self.note('w')
        }

        fn flush(&self) -> io::Result<()> {
            self.note('f')
        }
    }

    /// `w` and `f` are a write and a flush, `W` and `F` ones that fail.
    #[test]
    fn a_flush_reaches_the_disk_where_something_may_not_be_durable() {
        for (asked, reaches) in [
            ("f", "f"),
            ("ff", "f"),
            ("wf", "wf"),
            ("fwff", "fwf"),
            ("fWf", "ff"),
            ("Ff", "f"),
            ("wFf", "wf"),
        ] {
            let notes = Notes::default();
            let disk = Barrier::new(&notes);
            for op in asked.chars() {
                notes.failing.set(op.is_uppercase());
                let result = if op.eq_ignore_ascii_case(&'w') { disk.write_at(0, &[]) } else { disk.flush() };
                assert_eq!(result.is_err(), op.is_uppercase(), "{op} of {asked}");
            }
            assert_eq!(*notes.done.borrow(), reaches, "{asked}");
        }
    }
}
