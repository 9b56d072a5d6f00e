//! The op log of the FUSE seam: every mutation and barrier of one run with its payload, in the order in which the
//! seam saw them. It is what crash states are replayed from; [`crate::hook_log`] is the in-process hook's own.

mod file;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::fault::{TORN_SECTOR_BYTES, torn_bytes};
use crate::volume::{Ino, Mutation, Timestamp};

/// A buffered write that is killed is cut at a page of the file.
pub const PAGE_BYTES: u64 = 4096;

/// What an op does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpKind {
    /// It changes the volume.
    Mutation(Mutation),
    /// It makes what came before it durable.
    Flush {
        /// The file or directory that was synced; none for everything (`sync`, `syncfs`).
        ino: Option<Ino>,
        /// Only the data (`fdatasync`).
        data_only: bool,
    },
}

/// What became of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It happened whole. A write that was cut short by a fault is recorded as the shorter write that happened.
    Completed,
    /// The run was cut inside the write.
    Torn {
        /// Bytes of the payload that arrived, from its first.
        bytes: u64,
    },
    /// The run was cut before it.
    Skipped,
    /// It answered an error and changed nothing.
    Failed(#[serde(with = "file::errno")] Errno),
    /// A flush that was answered with success and made nothing durable.
    Dropped,
}

/// One op.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Number in its run, from 1.
    pub number: u64,
    /// What it does.
    pub kind: OpKind,
    /// Durable once it completed (O_SYNC, O_DSYNC).
    pub fua: bool,
    /// It came from a writable shared mapping or the page cache.
    pub cached: bool,
    /// Name of the process that asked for it.
    pub process: Arc<str>,
    /// The step that the run was in.
    pub step: Arc<str>,
    /// Acknowledgements that the tool had printed when it began: what they name must survive from then on.
    pub acks: u32,
    /// Flushes of the run that completed before it: ops with the same number are one epoch.
    pub epoch: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// The clock of the volume when it happened.
    pub time: Timestamp,
    /// The file's path at that time, relative to the root, where the op is about one: the new name of a rename, the
    /// name that is removed or made.
    pub path: Option<Arc<Path>>,
}

/// How far a run has come by what its tool has printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The step that it is in.
    pub step: Arc<str>,
    /// Acknowledgements so far.
    pub acks: u32,
}

impl Progress {
    /// Of a run in this step that has acknowledged nothing.
    pub fn in_step(step: impl Into<Arc<str>>) -> Self {
        Self { step: step.into(), acks: 0 }
    }
}

/// The ops of one run; op `n` is at index `n - 1`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OpLog {
    /// The ops.
    pub ops: Vec<Op>,
    /// Names of the processes, each once, in the order of their first op.
    pub processes: Vec<Arc<str>>,
    /// Names of the steps, each once, in the order of their first op.
    pub steps: Vec<Arc<str>>,
}

impl OpLog {
    /// Appends an op, and its process and step where they are new.
    pub fn push(&mut self, op: Op) {
        if !self.processes.contains(&op.process) {
            self.processes.push(op.process.clone());
        }
        if self.steps.last() != Some(&op.step) && !self.steps.contains(&op.step) {
            self.steps.push(op.step.clone());
        }
        self.ops.push(op);
    }

    /// Number of ops.
    pub fn len(&self) -> u64 {
        self.ops.len() as u64
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The op with a number, from 1.
    pub fn op(&self, number: u64) -> Option<&Op> {
        self.ops.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// Acknowledgements that there were when the run was cut after so many ops, of `all` in the whole run: those that were
    /// printed before the next op.
    pub fn acks_after(&self, cut: u64, all: u32) -> u32 {
        self.op(cut + 1).map_or(all, |next| next.acks)
    }

    /// The ops that change the volume, each with its mutation.
    pub fn mutations(&self) -> impl Iterator<Item = (&Op, &Mutation)> {
        self.ops.iter().filter_map(|op| op.mutation().map(|mutation| (op, mutation)))
    }

    /// The ops that are barriers.
    pub fn flushes(&self) -> impl Iterator<Item = &Op> {
        self.ops.iter().filter(|op| op.is_flush())
    }

    /// The ops of each epoch, in order, the flush that ends an epoch being its last op.
    pub fn epochs(&self) -> impl Iterator<Item = &[Op]> {
        self.ops.chunk_by(|a, b| a.epoch == b.epoch)
    }

    /// The same run as if the flush with this number had been answered with success and had made nothing durable, or the
    /// write with this number had not been forced; the log as it is where the op is neither. It shows which flushes carry weight.
    pub fn without_flush(&self, number: u64) -> Self {
        let mut log = self.clone();
        if let Some(op) = log.ops.iter_mut().find(|op| op.number == number && op.fua) {
            op.fua = false;
            return log;
        }
        let completed = |op: &Op| op.is_flush() && op.outcome == Outcome::Completed;
        let Some(at) = log.ops.iter().position(|op| op.number == number && completed(op)) else { return log };
        log.ops[at].outcome = Outcome::Dropped;
        for op in &mut log.ops[at + 1..] {
            op.epoch = op.epoch.saturating_sub(1);
        }
        log
    }

    /// The run up to an op, as if it had been cut after it.
    pub fn until(&self, cut: u64) -> Self {
        let mut log = Self::default();
        for op in self.ops.iter().take_while(|op| op.number <= cut) {
            log.push(op.clone());
        }
        log
    }

    /// The run with another one after it, that began with what it left: one history, whose ops and flushes are counted on,
    /// and acknowledgements from those that there were before.
    pub fn then(mut self, next: &Self, acks_before: u32) -> Self {
        let ops = self.len();
        let epoch = self
            .ops
            .last()
            .map_or(0, |op| op.epoch + u32::from(op.is_flush() && op.outcome == Outcome::Completed));
        for op in &next.ops {
            let (number, acks, epoch) = (ops + op.number, acks_before + op.acks, epoch + op.epoch);
            self.push(Op { number, acks, epoch, ..op.clone() });
        }
        self
    }

    /// Ops of a step, in order.
    pub fn of_step<'a>(&'a self, step: &'a str) -> impl Iterator<Item = &'a Op> {
        self.ops.iter().filter(move |op| &*op.step == step)
    }
}

impl Op {
    /// The mutation, where it is one.
    pub fn mutation(&self) -> Option<&Mutation> {
        match &self.kind {
            OpKind::Mutation(mutation) => Some(mutation),
            OpKind::Flush { .. } => None,
        }
    }

    /// What arrived of a write's payload: less than all where the run was cut inside of it.
    pub(crate) fn arrived<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        match self.outcome {
            Outcome::Torn { bytes } => &data[..data.len().min(usize::try_from(bytes).unwrap_or(usize::MAX))],
            _ => data,
        }
    }

    /// Whether it is a barrier.
    pub fn is_flush(&self) -> bool {
        matches!(self.kind, OpKind::Flush { .. })
    }

    /// The bytes of the file that it writes or zeroes; none where it does neither.
    pub fn range(&self) -> Option<Range<u64>> {
        self.mutation()?.range()
    }

    /// Pages of the file, 4 KiB each, that a write touches; 0 for anything else. A write of `s` pages has `s - 1`
    /// torn states.
    pub fn pages(&self) -> u64 {
        self.units(PAGE_BYTES)
    }

    /// Bytes of the payload that lie before the `k`-th page boundary inside the write, `k` from 1 to `pages() - 1`.
    pub fn torn_bytes(&self, k: u64) -> u64 {
        self.bytes_before(k, PAGE_BYTES)
    }

    /// Sectors of the file, 512 bytes each, that a write touches; 0 for anything else.
    pub fn sectors(&self) -> u64 {
        self.units(TORN_SECTOR_BYTES as u64)
    }

    /// Bytes of the payload that lie in the first `k` sectors that the write touches, as
    /// [`crate::Action::KillTorn`] counts them.
    pub fn torn_sector_bytes(&self, k: u64) -> u64 {
        self.bytes_before(k, TORN_SECTOR_BYTES as u64)
    }

    /// Sectors that the `k`-th page boundary inside the write lies after: the `k` of a torn fault for
    /// [`Op::torn_bytes`].
    pub fn torn_sectors(&self, k: u64) -> u64 {
        let Some(range) = self.write_range() else { return 0 };
        let sector = TORN_SECTOR_BYTES as u64;
        (range.start / PAGE_BYTES + k) * (PAGE_BYTES / sector) - range.start / sector
    }

    fn write_range(&self) -> Option<Range<u64>> {
        self.mutation().filter(|mutation| mutation.is_write())?.range()
    }

    fn units(&self, unit: u64) -> u64 {
        match self.write_range() {
            Some(range) if !range.is_empty() => range.end.div_ceil(unit) - range.start / unit,
            _ => 0,
        }
    }

    fn bytes_before(&self, k: u64, unit: u64) -> u64 {
        self.write_range().map_or(0, |range| torn_bytes(range.start, range.end - range.start, k, unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(kind: OpKind) -> Op {
        Op {
            number: 1,
            kind,
            fua: false,
            cached: false,
            process: "tool".into(),
            step: "start".into(),
            acks: 0,
            epoch: 0,
            outcome: Outcome::Completed,
            time: Timestamp::default(),
            path: None,
        }
    }

    fn write(offset: u64, len: usize) -> Op {
        op(OpKind::Mutation(Mutation::Write { ino: Ino(2), offset, data: vec![1; len].into() }))
    }

    #[test]
    fn a_write_is_torn_at_the_pages_and_sectors_of_its_file() {
        let pages = |offset, len| {
            let op = write(offset, len);
            (1..op.pages()).map(|k| op.torn_bytes(k)).collect::<Vec<_>>()
        };
        assert_eq!(pages(0, 4096), Vec::<u64>::new());
        assert_eq!(pages(4095, 2), [1]);
        assert_eq!(pages(1024, 10_000), [3072, 7168]);
        assert_eq!(pages(8192, 8193), [4096, 8192]);
        assert_eq!(write(5, 0).pages(), 0);
        let sectors = write(1000, 600);
        assert_eq!(
            (sectors.sectors(), [1, 2, 3, 4].map(|k| sectors.torn_sector_bytes(k))),
            (3, [24, 536, 600, 600])
        );
    }

    #[test]
    fn the_sectors_of_a_page_boundary_give_its_bytes() {
        for (offset, len) in [(0, 20_000), (100, 20_000), (1024, 9000), (4095, 4098)] {
            let op = write(offset, len);
            for k in 1..op.pages() {
                assert_eq!(op.torn_sector_bytes(op.torn_sectors(k)), op.torn_bytes(k), "{offset} {len} {k}");
            }
        }
    }

    #[test]
    fn only_writes_have_an_inside() {
        let zero = op(OpKind::Mutation(Mutation::Zero { ino: Ino(2), range: 0..9000, keep_len: true }));
        let flush = op(OpKind::Flush { ino: None, data_only: false });
        assert_eq!((zero.pages(), zero.sectors(), zero.range()), (0, 0, Some(0..9000)));
        assert_eq!((flush.pages(), flush.range(), flush.is_flush()), (0, None, true));
    }

    #[test]
    fn without_a_flush_two_epochs_are_one_and_nothing_else_changes() {
        let mut log = OpLog::default();
        let flush = || OpKind::Flush { ino: None, data_only: false };
        for (number, (kind, epoch)) in (1..).zip([
            (write(0, 1).kind, 0),
            (flush(), 0),
            (write(0, 1).kind, 1),
            (flush(), 1),
            (write(0, 1).kind, 2),
        ]) {
            log.push(Op { number, epoch, ..op(kind) });
        }
        let without = log.without_flush(2);
        assert_eq!(without.ops.iter().map(|op| op.epoch).collect::<Vec<_>>(), [0, 0, 0, 0, 1]);
        assert_eq!(without.op(2).unwrap().outcome, Outcome::Dropped);
        assert!(log.same_ops(&without, |_| true));
        for not_a_flush in [0, 1, 6] {
            assert_eq!(log.without_flush(not_a_flush).ops, log.ops);
        }
        assert_eq!(without.without_flush(2).ops, without.ops, "it is dropped already");
    }

    /// What was recorded as one, cut anywhere and put together again, is what it was: numbers, epochs and acknowledgements
    /// are counted on.
    #[test]
    fn a_run_that_was_cut_and_one_after_it_are_one_history() {
        let mut whole = OpLog::default();
        let flush = || OpKind::Flush { ino: None, data_only: false };
        let kinds =
            [write(0, 1).kind, flush(), write(1, 1).kind, write(2, 1).kind, flush(), write(3, 1).kind];
        for (number, (kind, (epoch, acks))) in
            (1..).zip(kinds.into_iter().zip([(0, 0), (0, 1), (1, 1), (1, 3), (1, 3), (2, 4)]))
        {
            whole.push(Op { number, epoch, acks, ..op(kind) });
        }
        for cut in 0..=6 {
            let before = whole.until(cut);
            assert_eq!(before.ops, whole.ops[..cut as usize]);
            // What came after, as a run of its own records it.
            let mut after = OpLog::default();
            let acks_before = whole.acks_after(cut, 4);
            let epoch_before = whole.op(cut + 1).map_or(0, |op| op.epoch);
            for op in &whole.ops[cut as usize..] {
                let (number, epoch) = (op.number - cut, op.epoch - epoch_before);
                after.push(Op { number, epoch, acks: op.acks - acks_before, ..op.clone() });
            }
            assert_eq!(before.then(&after, acks_before).ops, whole.ops, "cut after op {cut}");
        }
    }

    #[test]
    fn epochs_end_with_their_flush_and_names_are_kept_once_each() {
        let mut log = OpLog::default();
        let flush = || OpKind::Flush { ino: None, data_only: false };
        for (number, (kind, epoch, step)) in (1..).zip([
            (write(0, 1).kind, 0, "a"),
            (flush(), 0, "a"),
            (write(0, 1).kind, 1, "b"),
            (write(0, 1).kind, 1, "a"),
        ]) {
            log.push(Op { number, epoch, step: step.into(), ..op(kind) });
        }
        let numbers = |ops: &[Op]| ops.iter().map(|op| op.number).collect::<Vec<_>>();
        assert_eq!(log.epochs().map(numbers).collect::<Vec<_>>(), [vec![1, 2], vec![3, 4]]);
        assert_eq!((log.mutations().count(), log.flushes().count(), log.of_step("a").count()), (3, 1, 3));
        assert_eq!((log.op(0), log.op(5), log.op(3).map(|op| op.number)), (None, None, Some(3)));
        assert_eq!(log.steps, ["a".into(), "b".into()] as [Arc<str>; 2]);
        assert_eq!(log.processes.len(), 1);
    }
}
