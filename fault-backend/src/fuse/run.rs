//! The way of a change: from a request to the volume, and in the slot of the tool through the plan into the log.
//!
//! A change is staged on a clone first (writes, which can't fail, are not): one that the volume itself refuses is no
//! op. Then it gets its number, and the plan says what happens. The state is unlocked while the supervisor is called
//! and while a delay lasts, so that a freeze from outside is never kept waiting.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::slot::{Content, Slot};
use super::state::State;
use super::verdict::{End, Verdict};
use super::{Recorded, Wiring};
use crate::fault::torn_bytes;
use crate::oplog::{OpKind, Outcome, Progress};
use crate::volume::{Applied, Ino, Mutation, Volume};

/// The state of a seam, and what waits for it.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// A slot was closed: delays end.
    closed: Condvar,
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caller {
    /// Thread, 0 for the kernel itself.
    pub pid: u32,
    /// Durable once it completed.
    pub fua: bool,
    /// Comes from the page cache.
    pub cached: bool,
}

/// A change that a request asks for.
#[derive(Clone, Debug)]
pub(super) enum Change<'a> {
    /// Bytes of a file; their copy is made only for the log.
    Write { ino: Ino, offset: u64, data: &'a [u8] },
    /// Anything else that changes the volume.
    Mutation(Mutation),
    /// A barrier.
    Flush { ino: Option<Ino>, data_only: bool },
}

/// An op's run, and what has been asked of its supervisor. By the time the state is locked again, that run may be over
/// and another one on.
struct Asked<'a> {
    run: u64,
    wiring: &'a Wiring,
    progress: &'a Progress,
    caller: Caller,
}

/// What a change did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub applied: Applied,
    /// Bytes of a write.
    pub written: usize,
}

type Locked<'a> = MutexGuard<'a, State>;

impl Shared {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State::new()), closed: Condvar::new() }
    }

    /// The state. Handlers catch panics and mark the run broken, so a poisoned lock says nothing more.
    pub(super) fn lock(&self) -> Locked<'_> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the run from outside.
    pub(super) fn freeze(&self) {
        self.lock().freeze();
        self.closed.notify_all();
    }

    /// Ends the run, and whatever still waits in it.
    pub(super) fn end(&self) -> Option<Recorded> {
        let recorded = self.lock().end();
        self.closed.notify_all();
        recorded
    }

    /// A handler failed: nothing that the run does from here on can be trusted.
    pub(super) fn broke(&self) {
        let mut state = self.lock();
        state.freeze();
        if let Some(run) = &mut state.run {
            run.broken = true;
        }
        drop(state);
        self.closed.notify_all();
    }

    /// Makes a change that is no op, since no content tells it: times.
    pub(super) fn unrecorded(&self, slot: Slot, mutation: Mutation) -> Result<Done, Errno> {
        let mut state = self.lock();
        let done = quietly(state.content_mut(slot), &Change::Mutation(mutation));
        match state.run.as_ref().map(|run| run.id) {
            Some(run) if slot == Slot::Work && state.content(slot).closed => Err(refused(state, run)),
            _ => done,
        }
    }

    /// Makes a change, as an op where the slot is the tool's and a run is on.
    ///
    /// # Errors
    /// What the volume, the plan or the limit answers; EIO once the slot is closed.
    pub(super) fn change(&self, caller: Caller, slot: Slot, change: Change<'_>) -> Result<Done, Errno> {
        let (run, wiring) = {
            let mut state = self.lock();
            match &mut state.run {
                Some(run) if slot == Slot::Work => (run.id, run.wiring.clone()),
                _ => return quietly(state.content_mut(slot), &change),
            }
        };
        let progress = (wiring.progress)();
        let asked = Asked { run, wiring: &wiring, progress: &progress, caller };
        self.op(self.lock(), &asked, change)
    }

    /// Takes an op of the run through the plan.
    fn op<'a>(
        &'a self,
        mut state: Locked<'a>,
        asked: &Asked<'_>,
        mut change: Change<'_>,
    ) -> Result<Done, Errno> {
        let Asked { wiring, progress, caller, .. } = asked;
        if state.late(asked.run) {
            return Err(refused(state, asked.run));
        }
        check(&state, &change)?;
        let verdict = state.ask_plan(&change, caller, &progress.step);
        state = self.before(state, asked, &verdict)?;

        let end = state.end_of(&change, caller, &verdict);
        let (result, outcome) = match end {
            End::Complete | End::KillAfter => (None, Outcome::Completed),
            End::Short(bytes) => {
                change = shortened(change, bytes);
                (None, Outcome::Completed)
            }
            End::KillTorn(sectors) => match torn(&change, sectors) {
                Some(bytes) => (Some(Err(Errno::EIO)), Outcome::Torn { bytes }),
                None => (Some(Err(Errno::EIO)), Outcome::Skipped),
            },
            End::KillBefore => (Some(Err(Errno::EIO)), Outcome::Skipped),
            End::Fail(errno) => (Some(Err(errno)), Outcome::Failed(errno)),
            End::DropFlush => (Some(Ok(Done::default())), Outcome::Dropped),
        };
        let done = match outcome {
            Outcome::Completed => state.content_mut(Slot::Work).apply(&change)?,
            Outcome::Torn { bytes } => {
                state.content_mut(Slot::Work).apply(&shortened(change.clone(), bytes))?
            }
            _ => Done::default(),
        };
        state.record(&change, caller, progress, outcome);
        if outcome == Outcome::Completed {
            state.overwrites(&change);
        }
        if end.kills() {
            state.freeze();
            drop(state);
            (wiring.kill)();
            return result.unwrap_or(Ok(done));
        }
        if !verdict.signals.is_empty() {
            // The op has happened and is not answered yet, so whatever the signal ends finds it done, every time.
            drop(state);
            for signal in &verdict.signals {
                (wiring.signal)(*signal);
            }
            state = self.lock();
        }
        if !verdict.delay.is_zero() {
            drop(self.wait(state, asked.run, verdict.delay));
        }
        result.unwrap_or(Ok(done))
    }

    /// What the plan wants before the op: the first half of a delay.
    fn before<'a>(
        &'a self,
        mut state: Locked<'a>,
        asked: &Asked<'_>,
        verdict: &Verdict,
    ) -> Result<Locked<'a>, Errno> {
        if !verdict.delay.is_zero() {
            state = self.wait(state, asked.run, verdict.delay);
        }
        if state.late(asked.run) { Err(refused(state, asked.run)) } else { Ok(state) }
    }

    /// Waits, unlocked, until the time is over or the run is cut or over.
    fn wait<'a>(&'a self, mut state: Locked<'a>, run: u64, delay: Duration) -> Locked<'a> {
        let deadline = Instant::now() + delay;
        while state.is_on(run) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.closed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }
}

/// What a change is answered that comes too late. Where its run was cut, the tool is killed before it hears of it: an
/// error that no disk gave is nothing that a tool may see, print or act on. Another run that is on by now has nothing to do
/// with it.
fn refused(mut state: Locked<'_>, run: u64) -> Errno {
    let active = state.run.as_mut().filter(|active| active.id == run);
    let kill = active.and_then(|active| active.is_cut().then(|| active.wiring.kill.clone()));
    drop(state);
    if let Some(kill) = kill {
        kill();
    }
    Errno::EIO
}

/// Makes a change that nobody counts.
fn quietly(content: &mut Content, change: &Change<'_>) -> Result<Done, Errno> {
    if content.closed {
        return Err(Errno::EIO);
    }
    content.apply(change)
}

/// Whether the volume itself would refuse the change.
fn check(state: &State, change: &Change<'_>) -> Result<(), Errno> {
    let volume = &state.content(Slot::Work).volume;
    match change {
        Change::Write { ino, offset, data } => check_write(volume, *ino, *offset, data.len()),
        Change::Mutation(mutation) => {
            volume.clone().apply(mutation, state.content(Slot::Work).now()).map(drop)
        }
        Change::Flush { .. } => Ok(()),
    }
}

fn check_write(volume: &Volume, ino: Ino, offset: u64, len: usize) -> Result<(), Errno> {
    let node = volume.node(ino).ok_or(Errno::ESTALE)?;
    if node.image().is_none() {
        return Err(Errno::EISDIR);
    }
    let end = offset.checked_add(len as u64).ok_or(Errno::EFBIG)?;
    if i64::try_from(end).is_err() { Err(Errno::EFBIG) } else { Ok(()) }
}

impl Content {
    /// Applies a change at the next tick of the clock.
    pub(super) fn apply(&mut self, change: &Change<'_>) -> Result<Done, Errno> {
        match change {
            Change::Write { ino, offset, data } => {
                check_write(&self.volume, *ino, *offset, data.len())?;
                if data.is_empty() {
                    return Ok(Done::default());
                }
                let now = self.tick();
                self.volume.write(*ino, *offset, data, now)?;
                Ok(Done { written: data.len(), ..Done::default() })
            }
            Change::Mutation(mutation) => {
                let now = self.tick();
                let applied = self.volume.apply(mutation, now)?;
                if let Some(ino) = applied.orphaned {
                    self.orphaned(ino);
                }
                Ok(Done { applied, written: 0 })
            }
            Change::Flush { .. } => Ok(Done::default()),
        }
    }
}

/// The change, of a write only the first bytes.
fn shortened(change: Change<'_>, bytes: u64) -> Change<'_> {
    match change {
        Change::Write { ino, offset, data } => {
            let kept = data.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
            Change::Write { ino, offset, data: &data[..kept] }
        }
        other => other,
    }
}

/// Bytes of a write that lie in its first sectors; none for anything else.
fn torn(change: &Change<'_>, sectors: u32) -> Option<u64> {
    match change {
        Change::Write { offset, data, .. } => {
            let sector = crate::fault::TORN_SECTOR_BYTES as u64;
            Some(torn_bytes(*offset, data.len() as u64, u64::from(sectors), sector))
        }
        _ => None,
    }
}

impl Change<'_> {
    /// Whether paths may differ after it.
    pub(super) fn renames(&self) -> bool {
        matches!(
            self,
            Self::Mutation(
                Mutation::Rename { .. }
                    | Mutation::Link { .. }
                    | Mutation::Unlink { .. }
                    | Mutation::Rmdir { .. }
            )
        )
    }

    /// As the log keeps it.
    pub(super) fn op_kind(&self) -> OpKind {
        match self {
            Self::Write { ino, offset, data } => {
                OpKind::Mutation(Mutation::Write { ino: *ino, offset: *offset, data: Arc::from(*data) })
            }
            Self::Mutation(mutation) => OpKind::Mutation(mutation.clone()),
            Self::Flush { ino, data_only } => OpKind::Flush { ino: *ino, data_only: *data_only },
        }
    }
}
