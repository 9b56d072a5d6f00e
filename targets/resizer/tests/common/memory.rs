//! A disk in memory that records its operations and can be cut off: after a number of them, or on demand, each
//! further one fails, as if the process had been killed there.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;

use resizer::disk::Disk;

/// What was done to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Write { offset: usize, data: Vec<u8> },
    Flush,
}

/// The disk.
#[derive(Default)]
pub struct MemoryDisk {
    bytes: RefCell<Vec<u8>>,
    ops: RefCell<Vec<Op>>,
    limit: Cell<Option<usize>>,
}

impl MemoryDisk {
    pub fn new(bytes: Vec<u8>) -> MemoryDisk {
        MemoryDisk { bytes: RefCell::new(bytes), ..MemoryDisk::default() }
    }

    /// Lets `count` operations through from now on, and fails every later one.
    pub fn cut_after(self, count: usize) -> MemoryDisk {
        self.limit.set(Some(count));
        self
    }

    /// Fails every operation from now on.
    pub fn cut_now(&self) {
        self.limit.set(Some(self.ops.borrow().len()));
    }

    pub fn ops(&self) -> Vec<Op> {
        self.ops.borrow().clone()
    }

    pub fn writes(&self) -> usize {
        self.ops.borrow().iter().filter(|op| matches!(op, Op::Write { .. })).count()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_inner()
    }

    fn record(&self, op: Op) -> io::Result<()> {
        if self.limit.get().is_some_and(|limit| self.ops.borrow().len() >= limit) {
            return Err(io::Error::other("cut off"));
        }
        if let Op::Write { offset, data } = &op {
            self.bytes.borrow_mut()[*offset..*offset + data.len()].copy_from_slice(data);
        }
        self.ops.borrow_mut().push(op);
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn len_bytes(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }

    fn path(&self) -> &Path {
        Path::new("memory")
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.borrow();
        let from = offset_bytes as usize;
        let source = bytes.get(from..from + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(source);
        Ok(())
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        self.record(Op::Write { offset: offset_bytes as usize, data: data.to_vec() })
    }

    fn flush(&self) -> io::Result<()> {
        self.record(Op::Flush)
    }
}
