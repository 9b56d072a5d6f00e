//! How a run is cut from outside of its loop: by a seam, which decides on it while the tool waits for an answer. What a
//! seam is given, and what it has to offer.

use std::fmt;
use std::fs::File;
use std::mem::take;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fault_backend::oplog::Progress;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::tree::living_descendants;

/// A tree is listed this often at most for one kill: some may be born while a list is used.
const LISTS_MAX: usize = 3;

/// Where the tool's I/O passes through us.
pub trait Seam {
    /// A run begins; the closures do nothing any more once it is over.
    fn begin(&self, wiring: Wiring);

    /// A process of the tool asks for everything to be made durable: sync(2), or syncfs(2) on the seam. Called from
    /// the run's thread; the tool goes on when this returns.
    fn sync(&self, pid: i32);

    /// The tool is about to be killed from outside: when this returns, nothing that it does arrives any more.
    fn freeze(&self);

    /// `st_dev` of the file system that the seam is, if it is one: tells which syncfs(2) it hears of.
    fn device(&self) -> Option<u64> {
        None
    }
}

/// What a seam can do to the run that it serves, from any thread.
#[derive(Clone)]
pub struct Wiring {
    /// Sends SIGKILL to the whole tree, without waiting for its end.
    pub kill: Arc<dyn Fn() + Send + Sync>,
    /// Sends another signal to the tool's process group.
    pub signal: Arc<dyn Fn(i32) + Send + Sync>,
    /// Reads what the tool has printed, and gives the step that it is in: `start` before the first mark. To be called
    /// before an op gets its number, so that a mark which was printed before the op precedes it.
    pub progress: Arc<dyn Fn() -> Progress + Send + Sync>,
}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wiring").finish_non_exhaustive()
    }
}

/// Kills one run's tree.
#[derive(Debug)]
pub(super) struct Killer {
    /// `cgroup.kill`.
    file: Option<Arc<File>>,
    launcher: Pid,
    /// Locked while signals are sent, so that none is sent once the run is over.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    main: Option<Pid>,
    killed: bool,
    /// Signals that were asked for before the tool was there.
    early: Vec<Signal>,
    /// Its processes' ids may be others' from now on, and the next tool is in the cgroup.
    over: bool,
}

impl Killer {
    pub(super) fn new(file: Option<Arc<File>>, launcher: Pid) -> Self {
        Self { file, launcher, state: Mutex::default() }
    }

    /// The tool is this process. It was in the cgroup, and in a group of its own, before this was known.
    pub(super) fn started(&self, main: Pid) {
        let mut state = self.lock();
        state.main = Some(main);
        for signal in take(&mut state.early) {
            let _ = killpg(main, signal);
        }
        if state.killed {
            self.send_kill(Some(main));
        }
    }

    /// Whether it was asked to kill.
    pub(super) fn has_killed(&self) -> bool {
        self.lock().killed
    }

    /// From now on does nothing.
    pub(super) fn run_is_over(&self) {
        self.lock().over = true;
    }

    /// Sends SIGKILL to all, at once. The launcher sees to those that are not reached.
    pub(super) fn kill(&self) {
        let mut state = self.lock();
        if !state.over {
            state.killed = true;
            self.send_kill(state.main);
        }
    }

    /// Sends a signal to the tool's process group; a number that is no signal does nothing.
    pub(super) fn signal(&self, number: i32) {
        let Ok(signal) = Signal::try_from(number) else { return };
        let mut state = self.lock();
        match state.main {
            _ if state.over => {}
            Some(main) => drop(killpg(main, signal)),
            None => state.early.push(signal),
        }
    }

    fn send_kill(&self, main: Option<Pid>) {
        if self.file.as_ref().is_some_and(|file| file.write_at(b"1", 0).is_ok()) {
            return;
        }
        if let Some(main) = main {
            let _ = killpg(main, Signal::SIGKILL);
        }
        for _ in 0..LISTS_MAX {
            let Ok(alive) = living_descendants(self.launcher) else { return };
            if alive.is_empty() {
                return;
            }
            for pid in alive {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
