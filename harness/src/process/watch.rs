//! The one loop of a run: waits for output, trapped calls, the end, a time to kill at, a limit and a signal to killpoint,
//! whichever comes first. It has no thread beside it; a seam's server only rings its bell.

use std::fs;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::command::{Aim, Anchor, Command, Mark};
use super::keeper::Keeper;
use super::kill::{Killer, Seam};
use super::outputs::Outputs;
use super::run::RunError;
use super::traps::Traps;
use super::wire::{Death, Message, Stage};

/// An op is noticed in an op log within this time, while a kill counts from it.
const OP_POLL: Duration = Duration::from_micros(50);

/// A signal to killpoint is noticed within this time.
const INTERRUPT_POLL: Duration = Duration::from_millis(50);

/// A process that was sent SIGKILL is gone within this time, unless the kernel holds it.
pub(super) const GONE_WITHIN: Duration = Duration::from_secs(20);

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It ended by itself, or by a seam.
    Ended,
    /// We killed it at a time.
    Killed,
    /// It went past a limit.
    Limit,
    /// killpoint was asked to stop.
    Interrupted,
}

/// What a kill at a time waits for.
#[derive(Clone, Copy)]
enum Trigger<'a> {
    /// There is no kill.
    Never,
    /// The mark of its step.
    Mark(&'a Aim),
    /// The seam's next op.
    Op(&'a Aim),
    /// The op log to become longer than this.
    LogOver(&'a Aim, u64),
    /// This time.
    At(Instant),
}

/// A run that is under way.
pub(super) struct Watch<'a> {
    pub(super) command: &'a Command,
    pub(super) began: Instant,
    pub(super) interrupted: &'a AtomicBool,
    pub(super) on_mark: &'a mut dyn FnMut(&Mark),
    pub(super) outputs: &'a Outputs,
    pub(super) keeper: &'a Keeper,
    pub(super) killer: &'a Killer,
    pub(super) seam: Option<&'a dyn Seam>,
    pub(super) traps: Option<Traps<'a>>,
    pub(super) over: Over,
    /// No time is counted from anything that it prints.
    pub(super) patient: bool,
    /// Until then its output is left where it is.
    pub(super) deaf_until: Instant,
}

/// A tool's output is looked at no more often than this; it fits a pipe meanwhile, or its tool waits.
const DEAF: Duration = Duration::from_millis(2);

/// How far a run has come, and at last how it ended.
#[derive(Debug, Default)]
pub(super) struct Over {
    /// None: it is not dead, though it was killed [`GONE_WITHIN`] ago.
    pub(super) death: Option<Death>,
    /// It was never executed.
    pub(super) failure: Option<(Stage, Errno)>,
    /// Sleep that it was spared.
    pub(super) sleeps_skipped: Duration,
    /// Marks that were told.
    pub(super) marks_told: usize,
}

impl<'a> Watch<'a> {
    /// Watches it to its end, which comes at the aim if not before.
    pub(super) fn until_over(mut self, aim: Option<&'a Aim>) -> Result<(Cause, Over), RunError> {
        let cause = self.until_cause(aim)?;
        if cause != Cause::Ended {
            self.cut()?;
        }
        self.leave_traps();
        Ok((cause, self.over))
    }

    fn until_cause(&mut self, aim: Option<&'a Aim>) -> Result<Cause, RunError> {
        let limit = self.began + self.command.time_limit;
        let mut trigger = self.first_trigger(aim);
        loop {
            for mark in self.outputs.marks_from(self.over.marks_told) {
                trigger = self.on_mark(trigger, &mark);
                (self.on_mark)(&mark);
                self.over.marks_told += 1;
            }
            if self.over.death.is_some() {
                return Ok(Cause::Ended);
            }
            let now = Instant::now();
            trigger = self.on_op(trigger, now);
            let next = match trigger {
                Trigger::At(at) if at <= now => return Ok(Cause::Killed),
                Trigger::At(at) => at,
                Trigger::LogOver(..) => now + OP_POLL,
                Trigger::Never | Trigger::Mark(_) | Trigger::Op(_) => limit,
            };
            if limit <= now || self.outputs.is_too_much() {
                return Ok(Cause::Limit);
            }
            if self.interrupted.load(Ordering::Relaxed) {
                return Ok(Cause::Interrupted);
            }
            self.wait(next.min(limit).min(now + INTERRUPT_POLL) - now, true)?;
        }
    }

    /// Kills it, and waits for its death.
    fn cut(&mut self) -> Result<(), RunError> {
        if let Some(seam) = self.seam {
            seam.freeze();
        }
        self.killer.kill();
        // A call that still waits for an answer gets none before its process is dead.
        self.leave_traps();
        let deadline = Instant::now() + GONE_WITHIN;
        while self.over.death.is_none() && Instant::now() < deadline {
            self.wait(INTERRUPT_POLL, false)?;
        }
        Ok(())
    }

    fn leave_traps(&mut self) {
        if let Some(traps) = self.traps.take() {
            self.over.sleeps_skipped = traps.skipped();
        }
    }

    /// Waits until something happens, for this time at most, and deals with it. Output is only looked at if asked for.
    fn wait(&mut self, timeout: Duration, output: bool) -> Result<(), RunError> {
        let socket = self.keeper.socket().map_err(RunError::Launcher)?;
        let deaf = self.deaf_until.saturating_duration_since(Instant::now());
        let output = output && deaf.is_zero();
        let timeout = if deaf.is_zero() { timeout } else { timeout.min(deaf) };
        let fds: Vec<BorrowedFd> = std::iter::once(socket)
            .chain(self.traps.as_ref().map(Traps::fd))
            .chain(self.outputs.waitable().filter(|_| output))
            .collect();
        let mut polled: Vec<PollFd> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match ppoll(&mut polled, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(errno) => return Err(RunError::Wait(errno.into())),
        }
        let happened: Vec<PollFlags> =
            polled.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        let (told, rest) = happened.split_at(1);
        let (trapped, printed) = rest.split_at(usize::from(self.traps.is_some()));
        if printed.iter().any(|flags| !flags.is_empty()) {
            self.outputs.hear_bell();
            self.outputs.drain();
            // Nobody waits for a mark, and a tool that prints much must not wake us with each line.
            if self.command.step.is_none() && self.patient {
                self.deaf_until = Instant::now() + DEAF;
            }
        }
        for flags in trapped {
            self.serve_trap(*flags)?;
        }
        if told.iter().any(|flags| !flags.is_empty()) {
            self.hear()?;
        }
        Ok(())
    }

    fn serve_trap(&mut self, flags: PollFlags) -> Result<(), RunError> {
        if !flags.contains(PollFlags::POLLIN) {
            // Nobody is left who could call.
            if !flags.is_empty() {
                self.leave_traps();
            }
            return Ok(());
        }
        if let Some(traps) = &mut self.traps {
            traps.serve().map_err(|errno| RunError::Wait(errno.into()))?;
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<(), RunError> {
        match self.keeper.next_message().map_err(RunError::Launcher)?.0 {
            Message::Ended(death) => self.over.death = Some(death),
            Message::Failed(stage, errno) => self.over.failure = Some((stage, errno)),
            Message::Ready(_) | Message::Started(_) => {
                return Err(RunError::Launcher(std::io::ErrorKind::InvalidData.into()));
            }
        }
        Ok(())
    }

    fn first_trigger(&self, aim: Option<&'a Aim>) -> Trigger<'a> {
        match aim {
            None => Trigger::Never,
            Some(Aim { anchor: Anchor::Start, delay }) => Trigger::At(self.began + *delay),
            Some(aim) => {
                if let (Anchor::FirstOpIn(step), None) = (&aim.anchor, &self.command.op_log) {
                    self.outputs.await_op_after(step);
                }
                Trigger::Mark(aim)
            }
        }
    }

    fn on_mark(&self, trigger: Trigger<'a>, mark: &Mark) -> Trigger<'a> {
        match trigger {
            Trigger::Mark(aim) if aim.anchor.name() == mark.name => match aim.anchor {
                Anchor::FirstOpIn(_) if self.command.op_log.is_some() => {
                    Trigger::LogOver(aim, self.log_len())
                }
                Anchor::FirstOpIn(_) => Trigger::Op(aim),
                _ => Trigger::At(self.began + mark.at + aim.delay),
            },
            other => other,
        }
    }

    fn on_op(&self, trigger: Trigger<'a>, now: Instant) -> Trigger<'a> {
        match trigger {
            Trigger::LogOver(aim, before) if self.log_len() > before => Trigger::At(now + aim.delay),
            Trigger::Op(aim) => match self.outputs.first_op() {
                Some(at) => Trigger::At(at + aim.delay),
                None => trigger,
            },
            other => other,
        }
    }

    fn log_len(&self) -> u64 {
        let log = self.command.op_log.as_deref();
        log.and_then(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.len())
    }
}
