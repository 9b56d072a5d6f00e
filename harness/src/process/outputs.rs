//! What a tool prints: read as it comes, searched for step marks and acknowledgements, its end kept.
//!
//! Whoever is about to give an op its number reads first, so marks and ops are in the order in which the tool made
//! them. Captured output is limited.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fault_backend::oplog::Progress;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use regex::bytes::Regex;

use super::command::{Command, Mark, START, StepRule};

/// Output of a tool beyond this is taken for a hang: no tool that works prints that much.
pub const OUTPUT_LIMIT_BYTES: u64 = 8 << 20;

/// So much of the end of each output stream is kept.
const TAIL_BYTES: usize = 8 << 10;

/// A line longer than this is nothing but output.
const LINE_LIMIT_BYTES: usize = 4 << 10;

/// Read at once.
const READ_BYTES: usize = 64 << 10;

/// Read from one stream in one go: the most that a pipe may hold (`pipe-max-size` in proc(5)). What was printed before
/// is in that; more could be printed for ever.
const DRAIN_BYTES: usize = 1 << 20;

/// Both output streams of a run.
#[derive(Debug)]
pub(super) struct Outputs {
    pipes: [PipeReader; 2],
    /// Rung when another thread has read something that the run's loop waits for.
    bell: EventFd,
    found: Mutex<Found>,
}

#[derive(Debug)]
struct Found {
    began: Instant,
    step_rule: Option<StepRule>,
    ack_rule: Option<Regex>,
    streams: [Stream; 2],
    buffer: Vec<u8>,
    marks: Vec<Mark>,
    acks: Vec<Mark>,
    step: Arc<str>,
    /// First mark of this step is waited for; then the first op.
    awaited: Option<String>,
    awaiting_op: bool,
    first_op: Option<Instant>,
}

#[derive(Debug, Default)]
struct Stream {
    over: bool,
    total_bytes: u64,
    tail: VecDeque<u8>,
    /// Begin of a line whose end is still to come.
    line: Vec<u8>,
}

impl Outputs {
    /// Two new pipes, and what the tool gets of them.
    pub(super) fn new(command: &Command, began: Instant) -> io::Result<(Self, [PipeWriter; 2])> {
        let ((first, stdout), (second, stderr)) = (io::pipe()?, io::pipe()?);
        for pipe in [&first, &second] {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let found = Found {
            began,
            step_rule: command.step.clone(),
            ack_rule: command.ack.clone(),
            streams: Default::default(),
            buffer: vec![0; READ_BYTES],
            marks: Vec::new(),
            acks: Vec::new(),
            step: START.into(),
            awaited: None,
            awaiting_op: false,
            first_op: None,
        };
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok((Self { pipes: [first, second], bell, found: Mutex::new(found) }, [stdout, stderr]))
    }

    /// Reads whatever is there now.
    pub(super) fn drain(&self) {
        self.lock().drain(&self.pipes);
    }

    /// Reads whatever is there now, and says how far the tool has come. An op is about to happen.
    pub(super) fn progress(&self) -> Progress {
        let mut found = self.lock();
        let before = (found.marks.len(), found.is_too_much());
        found.drain(&self.pipes);
        let mut news = before != (found.marks.len(), found.is_too_much());
        if take(&mut found.awaiting_op) {
            found.first_op = Some(Instant::now());
            news = true;
        }
        if news {
            // A bell that has rung is as good.
            let _ = self.bell.write(1);
        }
        let acks = u32::try_from(found.acks.len()).unwrap_or(u32::MAX);
        Progress { step: found.step.clone(), acks }
    }

    /// From the first mark of this step on, the next op's time is noted.
    pub(super) fn await_op_after(&self, step: &str) {
        self.lock().awaited = Some(step.to_owned());
    }

    /// When the awaited op happened.
    pub(super) fn first_op(&self) -> Option<Instant> {
        self.lock().first_op
    }

    /// Marks from this one on.
    pub(super) fn marks_from(&self, index: usize) -> Vec<Mark> {
        self.lock().marks.get(index..).unwrap_or_default().to_vec()
    }

    /// Whether more was printed than a tool that works prints.
    pub(super) fn is_too_much(&self) -> bool {
        self.lock().is_too_much()
    }

    /// What can be waited for: the bell, and the streams that are still open.
    pub(super) fn waitable(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let found = self.lock();
        let open = [0, 1].map(|index| !found.streams[index].over);
        let pipes = self.pipes.iter().zip(open).filter(|(_, open)| *open).map(|(pipe, _)| pipe.as_fd());
        std::iter::once(self.bell.as_fd()).chain(pipes)
    }

    /// Silences the bell.
    pub(super) fn hear_bell(&self) {
        let _ = self.bell.read();
    }

    /// What is left in the pipes of a tool that is dead, and all that was found: marks, acknowledgements, and the end
    /// of each stream.
    pub(super) fn finish(&self) -> (Vec<Mark>, Vec<Mark>, [String; 2]) {
        let mut found = self.lock();
        found.drain(&self.pipes);
        for index in [0, 1] {
            // A last line without an end.
            let line = take(&mut found.streams[index].line);
            if !line.is_empty() {
                found.examine(&line);
            }
        }
        let tails = [0, 1].map(|index| {
            let tail = Vec::from(take(&mut found.streams[index].tail));
            String::from_utf8_lossy(&tail).into_owned()
        });
        (take(&mut found.marks), take(&mut found.acks), tails)
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn is_too_much(&self) -> bool {
        self.streams.iter().any(|stream| stream.total_bytes > OUTPUT_LIMIT_BYTES)
    }

    fn drain(&mut self, pipes: &[PipeReader; 2]) {
        let mut buffer = take(&mut self.buffer);
        for (index, mut pipe) in pipes.iter().enumerate() {
            let mut left = DRAIN_BYTES;
            while left > 0 && !self.streams[index].over && !self.is_too_much() {
                match pipe.read(&mut buffer) {
                    Ok(0) => self.streams[index].over = true,
                    Ok(len) => {
                        self.take_in(index, &buffer[..len]);
                        left = left.saturating_sub(len);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // As good as the end: the tool is dead or dying.
                    Err(_) => self.streams[index].over = true,
                }
            }
        }
        self.buffer = buffer;
    }

    fn take_in(&mut self, index: usize, bytes: &[u8]) {
        self.streams[index].take_in(bytes);
        if self.step_rule.is_none() && self.ack_rule.is_none() {
            return;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut line = take(&mut self.streams[index].line);
            // The rest of a line that is too long only keeps it too long.
            let room = (LINE_LIMIT_BYTES + 1).saturating_sub(line.len());
            line.extend(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.examine(&line);
            } else {
                self.streams[index].line = line;
            }
        }
    }

    fn examine(&mut self, line: &[u8]) {
        if line.len() > LINE_LIMIT_BYTES {
            return;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(name) = self.step_rule.as_ref().and_then(|rule| rule.step_of(line)) {
            self.step = name.as_str().into();
            if self.awaited.as_ref() == Some(&name) {
                self.awaited = None;
                self.awaiting_op = true;
            }
            self.marks.push(Mark { name, at: self.began.elapsed() });
        }
        if let Some(name) = self.ack_rule.as_ref().and_then(|rule| first_group(rule, line)) {
            self.acks.push(Mark { name, at: self.began.elapsed() });
        }
    }
}

impl Stream {
    fn take_in(&mut self, bytes: &[u8]) {
        self.total_bytes += bytes.len() as u64;
        self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
    }
}

impl StepRule {
    fn step_of(&self, line: &[u8]) -> Option<String> {
        match self {
            Self::Prefix(prefix) => {
                let rest = std::str::from_utf8(line.strip_prefix(prefix.as_bytes())?).ok()?;
                Some(rest.split_whitespace().next()?.to_owned())
            }
            Self::Pattern(pattern) => first_group(pattern, line),
        }
    }
}

/// The first group of a match, or the whole of it where the pattern has no group.
fn first_group(pattern: &Regex, line: &[u8]) -> Option<String> {
    let groups = pattern.captures(line)?;
    let text = groups.get(1).or_else(|| groups.get(0))?.as_bytes();
    Some(String::from_utf8_lossy(text).into_owned())
}
