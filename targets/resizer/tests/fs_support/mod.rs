//! What the file-system tests share: a disk in memory that logs what is done to it and can fail like a killed
//! process, and running the reference programs.

// Each test crate uses its own part of this.
#![allow(dead_code)]

pub mod ext4;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::process::Command;

use resizer::disk::{Disk, Extent};

/// What a kill can't cut in two.
const PAGE_BYTES: usize = 4096;

/// One thing done to a disk.
#[derive(Clone)]
pub enum Op {
    /// Bytes written at an offset.
    Write(u64, Vec<u8>),
    /// A flush.
    Flush,
}

/// A disk in memory.
pub struct MemDisk {
    pub bytes: RefCell<Vec<u8>>,
    /// Everything done so far.
    pub ops: RefCell<Vec<Op>>,
    /// Operations that still succeed, and how many pages of the next write do too.
    pub left: Cell<(usize, usize)>,
}

impl MemDisk {
    pub fn new(bytes: Vec<u8>) -> MemDisk {
        MemDisk { bytes: RefCell::new(bytes), ops: RefCell::default(), left: Cell::new((usize::MAX, 0)) }
    }

    /// A disk that stops working after `ops` operations and `pages` pages of the next.
    pub fn failing(bytes: Vec<u8>, ops: usize, pages: usize) -> MemDisk {
        let disk = MemDisk::new(bytes);
        disk.left.set((ops, pages));
        disk
    }

    pub fn slice(&self, at: Extent) -> Vec<u8> {
        self.bytes.borrow()[at.offset_bytes as usize..at.end_bytes() as usize].to_vec()
    }

    /// Whether the next operation goes on; if not, how many pages of it still land.
    fn next(&self) -> Result<(), usize> {
        let (ops, pages) = self.left.get();
        if ops == 0 {
            self.left.set((0, 0));
            return Err(pages);
        }
        self.left.set((ops - 1, pages));
        Ok(())
    }

    fn store(&self, offset_bytes: u64, data: &[u8]) {
        let at = offset_bytes as usize;
        self.bytes.borrow_mut()[at..at + data.len()].copy_from_slice(data);
    }
}

/// Applies the logged writes among `ops` to `bytes`.
pub fn replay<'a>(bytes: &mut [u8], ops: impl IntoIterator<Item = &'a Op>) {
    for op in ops {
        if let Op::Write(offset, data) = op {
            bytes[*offset as usize..*offset as usize + data.len()].copy_from_slice(data);
        }
    }
}

/// The first `pages` pages of a write.
pub fn torn(op: &Op, pages: usize) -> Option<Op> {
    match op {
        Op::Write(offset, data) => {
            let first = PAGE_BYTES - *offset as usize % PAGE_BYTES;
            let len = first + PAGE_BYTES * pages.checked_sub(1)?;
            (len < data.len()).then(|| Op::Write(*offset, data[..len].to_vec()))
        }
        Op::Flush => None,
    }
}

impl Disk for MemDisk {
    fn len_bytes(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }

    fn path(&self) -> &Path {
        Path::new("disk in memory")
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.borrow();
        let end = offset_bytes as usize + buf.len();
        let from = bytes.get(offset_bytes as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(from);
        Ok(())
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        assert!(data.len() <= resizer::patch::WRITE_MAX_BYTES, "a write of {} bytes", data.len());
        assert!(offset_bytes + data.len() as u64 <= self.len_bytes(), "a write beyond the end");
        let op = Op::Write(offset_bytes, data.to_vec());
        if let Err(pages) = self.next() {
            if let Some(Op::Write(offset, data)) = torn(&op, pages) {
                self.store(offset, &data);
            }
            return Err(io::Error::from_raw_os_error(5));
        }
        self.store(offset_bytes, data);
        self.ops.borrow_mut().push(op);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        if self.next().is_err() {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.ops.borrow_mut().push(Op::Flush);
        Ok(())
    }
}

/// Runs a reference program that has to succeed; what it printed.
pub fn tool(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC0")
        .env("E2FSPROGS_FAKE_TIME", "1700000000")
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {}\n{text}", output.status);
    text
}
