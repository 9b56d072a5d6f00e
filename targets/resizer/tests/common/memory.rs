//! A disk in memory that records its operations and can be cut off: after a number of them each further one fails, as
//! if the process had been killed there, the first after some pages.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;

use resizer::disk::{Disk, Extent};
use resizer::patch::WRITE_MAX_BYTES;

/// What a kill can't cut in two.
const PAGE_BYTES: usize = 4096;

/// What was done to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Write { offset: usize, data: Vec<u8> },
    Flush,
}

/// The disk.
pub struct MemoryDisk {
    pub bytes: RefCell<Vec<u8>>,
    /// Everything done so far.
    pub ops: RefCell<Vec<Op>>,
    /// Operations that still succeed, and how many pages of the next write do too.
    left: Cell<(usize, usize)>,
}

impl MemoryDisk {
    pub fn new(bytes: Vec<u8>) -> MemoryDisk {
        MemoryDisk { bytes: RefCell::new(bytes), ops: RefCell::default(), left: Cell::new((usize::MAX, 0)) }
    }

    /// Lets `count` operations through from now on, and `pages` pages of the next; fails every later one.
    pub fn cut_after(self, count: usize, pages: usize) -> MemoryDisk {
        self.left.set((count, pages));
        self
    }

    /// Starts again with `bytes`, in the memory that is there.
    pub fn reset(&self, bytes: &[u8]) {
        self.bytes.borrow_mut().copy_from_slice(bytes);
        self.ops.borrow_mut().clear();
    }

    pub fn ops(&self) -> Vec<Op> {
        self.ops.borrow().clone()
    }

    pub fn slice(&self, at: Extent) -> Vec<u8> {
        self.bytes.borrow()[at.offset_bytes as usize..at.end_bytes() as usize].to_vec()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_inner()
    }

    fn record(&self, op: Op) -> io::Result<()> {
        let (count, pages) = self.left.get();
        if count == 0 {
            self.left.set((0, 0));
            replay(&mut self.bytes.borrow_mut(), torn(&op, pages).iter());
            return Err(io::Error::from_raw_os_error(5));
        }
        self.left.set((count - 1, pages));
        replay(&mut self.bytes.borrow_mut(), [&op]);
        self.ops.borrow_mut().push(op);
        Ok(())
    }
}

/// Applies the writes among `ops` to `bytes`.
pub fn replay<'a>(bytes: &mut [u8], ops: impl IntoIterator<Item = &'a Op>) {
    for op in ops {
        if let Op::Write { offset, data } = op {
            bytes[*offset..*offset + data.len()].copy_from_slice(data);
        }
    }
}

/// The first `pages` pages of a write, if that is not all of it.
pub fn torn(op: &Op, pages: usize) -> Option<Op> {
    match op {
        Op::Write { offset, data } => {
            let first = PAGE_BYTES - offset % PAGE_BYTES;
            let len = first + PAGE_BYTES * pages.checked_sub(1)?;
            (len < data.len()).then(|| Op::Write { offset: *offset, data: data[..len].to_vec() })
        }
        Op::Flush => None,
    }
}

/// The states that a power cut during a resume can leave of a disk that was `start`, where the killed run had done
/// `killed` and the resume then did `resume`: the cache outlives a kill, so the resume builds on what the killed run had
/// not flushed, and the cut takes that away. Of the resume's own writes before its first flush the first half is there,
/// or all; none where it flushes first.
pub fn power_cuts_in_resume(start: &[u8], killed: &[Op], resume: &[Op]) -> Vec<Vec<u8>> {
    let is_flush = |op: &Op| matches!(op, Op::Flush);
    let durable = killed.iter().rposition(is_flush).map_or(0, |at| at + 1);
    let volatile = resume.iter().position(is_flush).unwrap_or(resume.len());
    if durable == killed.len() || volatile == 0 {
        return Vec::new();
    }
    let mut state = start.to_vec();
    replay(&mut state, &killed[..durable]);
    let half = volatile.div_ceil(2);
    replay(&mut state, &resume[..half]);
    let mut states = vec![state.clone()];
    if half < volatile {
        replay(&mut state, &resume[half..volatile]);
        states.push(state);
    }
    states
}

impl Disk for MemoryDisk {
    fn len_bytes(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }

    fn path(&self) -> &Path {
        Path::new("disk in memory")
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.borrow();
        let from = offset_bytes as usize;
        let source = bytes.get(from..from + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(source);
        Ok(())
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        assert!(data.len() <= WRITE_MAX_BYTES, "a write of {} bytes", data.len());
        assert!(offset_bytes + data.len() as u64 <= self.len_bytes(), "a write beyond the end");
        self.record(Op::Write { offset: offset_bytes as usize, data: data.to_vec() })
    }

    fn flush(&self) -> io::Result<()> {
        self.record(Op::Flush)
    }
}
