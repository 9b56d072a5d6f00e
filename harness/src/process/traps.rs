//! Answers the system calls of a tool that are trapped: long sleeps are over at once, and a wish to make everything
//! durable goes to the seam, which sync(2) would otherwise not reach.
//!
//! Short sleeps are slept: Go's scheduler relies on them. So is everything that we can't judge.

use std::fs;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::time::{ClockId, clock_gettime};

use super::kill::Seam;
use super::sys::{Answer, Listener, Trapped};

/// A sleep of this length is skipped, and a shorter one is not.
const SKIPPED_FROM: Duration = Duration::from_millis(50);

const NANOSLEEP: i64 = libc::SYS_nanosleep;
const CLOCK_NANOSLEEP: i64 = libc::SYS_clock_nanosleep;
const SYNC: i64 = libc::SYS_sync;
const SYNCFS: i64 = libc::SYS_syncfs;

/// The system calls that have to be trapped.
pub(super) fn numbers(real_time: bool, seam: bool) -> Vec<u32> {
    let sleeps = [NANOSLEEP, CLOCK_NANOSLEEP].into_iter().filter(|_| !real_time);
    let syncs = [SYNC, SYNCFS].into_iter().filter(|_| seam);
    sleeps.chain(syncs).map(|number| number as u32).collect()
}

/// The trapped calls of one run.
pub(super) struct Traps<'a> {
    listener: Listener,
    seam: Option<&'a dyn Seam>,
    skipped: Duration,
}

impl<'a> Traps<'a> {
    pub(super) fn new(listener: OwnedFd, seam: Option<&'a dyn Seam>) -> Self {
        Self { listener: Listener::new(listener), seam, skipped: Duration::ZERO }
    }

    /// Sleep that was asked for and not slept.
    pub(super) fn skipped(&self) -> Duration {
        self.skipped
    }

    /// What is readable when a call waits.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Answers one call. Only after poll(2) said that there is one.
    pub(super) fn serve(&mut self) -> Result<(), Errno> {
        let Some(call) = self.listener.receive()? else { return Ok(()) };
        let answer = match call.number {
            NANOSLEEP => self.sleep(&call, ClockId::CLOCK_MONOTONIC, 0, call.arguments[0]),
            CLOCK_NANOSLEEP => {
                let clock = ClockId::from_raw(call.arguments[0] as libc::clockid_t);
                self.sleep(&call, clock, call.arguments[1], call.arguments[2])
            }
            SYNC => self.sync(&call),
            SYNCFS if self.is_on_the_seam(&call) => self.sync(&call),
            _ => Answer::Continue,
        };
        self.listener.answer(&call, answer)
    }

    fn sync(&self, call: &Trapped) -> Answer {
        match self.seam {
            Some(seam) => {
                seam.sync(call.thread.as_raw());
                Answer::Success
            }
            None => Answer::Continue,
        }
    }

    /// Whether the file descriptor that syncfs(2) is called with is a file of the seam.
    fn is_on_the_seam(&self, call: &Trapped) -> bool {
        // The kernel takes an int: the upper half of the register may hold anything.
        let path = format!("/proc/{}/fd/{}", call.thread, call.arguments[0] as i32);
        let device = fs::metadata(path).ok().map(|metadata| metadata.dev());
        device.is_some() && self.seam.and_then(Seam::device) == device && self.listener.still_waits(call)
    }

    fn sleep(&mut self, call: &Trapped, clock: ClockId, flags: u64, request: u64) -> Answer {
        let Some(time) = self.read_time(call, request) else { return Answer::Continue };
        let left = if flags as i32 & libc::TIMER_ABSTIME == 0 {
            Some(time)
        } else {
            now(clock).map(|now| time.saturating_sub(now))
        };
        match left {
            Some(left) if left >= SKIPPED_FROM => {
                self.skipped = self.skipped.saturating_add(left);
                Answer::Success
            }
            _ => Answer::Continue,
        }
    }

    /// The `struct timespec` at this address of the tool.
    fn read_time(&self, call: &Trapped, address: u64) -> Option<Duration> {
        let mut bytes = [0; size_of::<libc::timespec>()];
        let remote = [RemoteIoVec { base: address as usize, len: bytes.len() }];
        let len = process_vm_readv(call.thread, &mut [IoSliceMut::new(&mut bytes)], &remote).ok()?;
        if len != bytes.len() || !self.listener.still_waits(call) {
            return None;
        }
        let (seconds, nanoseconds) = bytes.split_at(size_of::<libc::time_t>());
        let seconds = u64::try_from(i64::from_ne_bytes(seconds.try_into().ok()?)).ok()?;
        let nanoseconds = u32::try_from(i64::from_ne_bytes(nanoseconds.try_into().ok()?)).ok()?;
        // More than a second's worth is an error, for which the kernel has the answer.
        (nanoseconds < 1_000_000_000).then(|| Duration::new(seconds, nanoseconds))
    }
}

/// The time of a clock that all processes share.
fn now(clock: ClockId) -> Option<Duration> {
    const SHARED: [ClockId; 3] = [ClockId::CLOCK_REALTIME, ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_BOOTTIME];
    let now = SHARED.contains(&clock).then(|| clock_gettime(clock).ok()).flatten()?;
    Some(Duration::new(u64::try_from(now.tv_sec()).ok()?, u32::try_from(now.tv_nsec()).ok()?))
}
