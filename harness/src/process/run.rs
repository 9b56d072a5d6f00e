//! Runs one command of the tool under test to its end, or to its kill at a time.
//!
//! The tool's whole tree is dead when [`run`] returns, however it ended: nothing that it left behind goes on
//! writing. Time and captured output are limited. Step marks are stamped when their line arrives.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::containment::{Containment, ContainmentError};
use super::launch;

/// Output of a tool beyond this is taken for a hang: no tool that works prints that much.
pub const OUTPUT_LIMIT_BYTES: u64 = 8 << 20;

/// So much of the end of each output stream is kept.
const TAIL_BYTES: usize = 8 << 10;

/// A line longer than this is cut; it is no step mark.
const LINE_LIMIT_BYTES: u64 = 4 << 10;

/// An op is noticed within this time, while a kill counts from it.
const OP_POLL: Duration = Duration::from_micros(50);

/// A signal to killpoint is noticed within this time.
const INTERRUPT_POLL: Duration = Duration::from_millis(50);

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct Command {
    /// Program, as a path or a name in `PATH` of `environment`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The whole environment; nothing is inherited.
    pub environment: BTreeMap<String, OsString>,
    /// Working directory.
    pub directory: PathBuf,
    /// Text before a step's name on a line of standard output.
    pub step_prefix: Option<String>,
    /// Longest time it may take.
    pub time_limit: Duration,
    /// A file that grows with each of the tool's ops: its op log.
    pub op_log: Option<PathBuf>,
}

/// A point in time of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Aim {
    /// What the delay counts from.
    pub anchor: Anchor,
    /// Time after it.
    pub delay: Duration,
}

/// Something in a run that a time can count from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The spawn.
    Start,
    /// The first mark of this step.
    Step(String),
    /// The first op that is seen after the first mark of this step.
    FirstOpIn(String),
}

impl Anchor {
    /// The step's name; `start` for the spawn.
    pub fn name(&self) -> &str {
        match self {
            Self::Start => "start",
            Self::Step(step) | Self::FirstOpIn(step) => step,
        }
    }
}

/// A step mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The step's name.
    pub name: String,
    /// Time from the spawn.
    pub at: Duration,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Exited(i32),
    /// It died of SIGKILL that we, or the hook on our behalf, sent.
    Killed,
    /// It died of another signal.
    Signalled(i32),
    /// It ran past its limit of time or output, and was killed for it.
    Hung,
}

/// What a run was.
#[derive(Clone, Debug)]
pub struct Run {
    /// How it ended.
    pub end: End,
    /// Step marks in order.
    pub marks: Vec<Mark>,
    /// End of standard output.
    pub stdout: String,
    /// End of standard error.
    pub stderr: String,
    /// Duration from spawn to death.
    pub wall: Duration,
    /// CLOCK_MONOTONIC at the spawn, in nanoseconds.
    pub began_ns: u64,
}

/// A run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program can't be started.
    #[error("`{program}` can't be started")]
    Spawn {
        /// Program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Waiting for it failed.
    #[error("can't wait for the tool")]
    Wait(#[source] io::Error),
    /// Its tree could not be ended.
    #[error(transparent)]
    Containment(#[from] ContainmentError),
    /// A signal asked killpoint to stop; the tool was killed.
    #[error("interrupted")]
    Interrupted,
}

enum Notice {
    Mark(String, Instant),
    Exited(Instant),
    TooMuchOutput,
}

/// Runs tools one after the other in one containment.
#[derive(Debug)]
pub struct Runner {
    /// Where the processes are kept together.
    pub containment: Containment,
    /// The binary that [`launch`] is part of.
    pub launcher: PathBuf,
}

impl Runner {
    /// Runs a command. With an aim, it is killed then, if it still lives; `expect_kill` says that the hook was told
    /// to kill it, so that SIGKILL is no crash of its own. `on_mark` is called as marks arrive.
    pub fn run(
        &self,
        command: &Command,
        aim: Option<&Aim>,
        expect_kill: bool,
        interrupted: &AtomicBool,
        on_mark: &mut dyn FnMut(&Mark),
    ) -> Result<Run, RunError> {
        let began = Instant::now();
        let began_ns = fault_backend::oplog::now_ns().map_err(RunError::Wait)?;
        let mut child = self.spawn(command)?;
        let pid = Pid::from_raw(child.id() as i32);
        let (sender, notices) = mpsc::channel();
        let stdout =
            child.stdout.take().map(|pipe| read_lines(pipe, command.step_prefix.clone(), sender.clone()));
        let stderr = child.stderr.take().map(|pipe| read_lines(pipe, None, sender.clone()));
        let waiter = thread::spawn(move || wait_without_reaping(pid, &sender));

        let mut watch = Watch {
            command,
            began,
            interrupted,
            marks: Vec::new(),
            on_mark,
            exited: None,
            trigger: Trigger::new(aim, began),
        };
        let cause = watch.until_over(&notices);
        let (mut marks, exited) = (watch.marks, watch.exited);

        // Also after a normal exit: what it left behind must not go on writing.
        self.containment.kill_all(pid)?;
        let joined = waiter.join();
        let status = child.wait().map_err(RunError::Wait)?;
        let wall = exited.unwrap_or_else(Instant::now).duration_since(began);
        let stdout = stdout.map_or_else(String::new, finish_reader);
        let stderr = stderr.map_or_else(String::new, finish_reader);
        // Marks that were still in the pipe when it died.
        marks.extend(notices.try_iter().filter_map(|notice| match notice {
            Notice::Mark(name, at) => Some(Mark { name, at: at.duration_since(began) }),
            Notice::Exited(_) | Notice::TooMuchOutput => None,
        }));
        if let Ok(Err(errno)) = joined {
            return Err(RunError::Wait(errno.into()));
        }
        let end = match cause {
            Cause::Interrupted => return Err(RunError::Interrupted),
            Cause::Limit => End::Hung,
            Cause::Killed => end_of(status, true),
            Cause::Exited => end_of(status, expect_kill),
        };
        Ok(Run { end, marks, stdout, stderr, wall, began_ns })
    }

    fn spawn(&self, command: &Command) -> Result<Child, RunError> {
        let membership = self.containment.membership_file();
        let mut spawn = std::process::Command::new(&self.launcher);
        spawn
            .args(launch::arguments(membership.as_deref(), Pid::this()))
            .arg(&command.program)
            .args(&command.arguments)
            .env_clear()
            .envs(&command.environment)
            .current_dir(&command.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        spawn.spawn().map_err(|source| RunError::Spawn { program: command.program.clone(), source })
    }
}

/// Why watching ended.
enum Cause {
    Exited,
    Killed,
    Limit,
    Interrupted,
}

/// What a kill at a time waits for.
#[derive(Clone, Copy)]
enum Trigger<'a> {
    /// There is no kill.
    Never,
    /// The mark of its step.
    Mark(&'a Aim),
    /// The op log to become longer than this.
    Op(&'a Aim, u64),
    /// This time.
    At(Instant),
}

impl<'a> Trigger<'a> {
    fn new(aim: Option<&'a Aim>, began: Instant) -> Self {
        match aim {
            None => Self::Never,
            Some(Aim { anchor: Anchor::Start, delay }) => Self::At(began + *delay),
            Some(aim) => Self::Mark(aim),
        }
    }

    fn on_mark(self, name: &str, at: Instant, ops_len: impl FnOnce() -> u64) -> Self {
        match self {
            Self::Mark(aim) if aim.anchor.name() == name => match aim.anchor {
                Anchor::FirstOpIn(_) => Self::Op(aim, ops_len()),
                _ => Self::At(at + aim.delay),
            },
            other => other,
        }
    }

    fn on_poll(self, now: Instant, ops_len: impl FnOnce() -> u64) -> Self {
        match self {
            Self::Op(aim, before) if ops_len() > before => Self::At(now + aim.delay),
            other => other,
        }
    }
}

struct Watch<'a> {
    command: &'a Command,
    began: Instant,
    interrupted: &'a AtomicBool,
    marks: Vec<Mark>,
    on_mark: &'a mut dyn FnMut(&Mark),
    exited: Option<Instant>,
    trigger: Trigger<'a>,
}

impl Watch<'_> {
    fn until_over(&mut self, notices: &Receiver<Notice>) -> Cause {
        let limit = self.began + self.command.time_limit;
        let op_log = self.command.op_log.as_deref();
        let ops_len = || op_log.and_then(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.len());
        loop {
            let now = Instant::now();
            self.trigger = self.trigger.on_poll(now, ops_len);
            let next = match self.trigger {
                Trigger::At(at) if at <= now => return Cause::Killed,
                Trigger::At(at) => at,
                Trigger::Op(..) => now + OP_POLL,
                Trigger::Never | Trigger::Mark(_) => limit,
            };
            if limit <= now {
                return Cause::Limit;
            }
            if self.interrupted.load(Ordering::Relaxed) {
                return Cause::Interrupted;
            }
            match notices.recv_timeout(next.min(limit).min(now + INTERRUPT_POLL) - now) {
                Ok(Notice::Mark(name, at)) => {
                    self.trigger = self.trigger.on_mark(&name, at, ops_len);
                    let mark = Mark { name, at: at.duration_since(self.began) };
                    (self.on_mark)(&mark);
                    self.marks.push(mark);
                }
                Ok(Notice::Exited(at)) => {
                    self.exited = Some(at);
                    return Cause::Exited;
                }
                Ok(Notice::TooMuchOutput) => return Cause::Limit,
                Err(RecvTimeoutError::Timeout) => {}
                // The waiter sends before it ends, so this is only reached when it failed.
                Err(RecvTimeoutError::Disconnected) => return Cause::Exited,
            }
        }
    }
}

fn end_of(status: ExitStatus, kill_was_ours: bool) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(libc::SIGKILL)) if kill_was_ours => End::Killed,
        (None, signal) => End::Signalled(signal.unwrap_or(0)),
    }
}

/// Leaves the zombie, so that the process id can't be given to another process before the tree is dead.
fn wait_without_reaping(pid: Pid, notices: &Sender<Notice>) -> Result<(), Errno> {
    loop {
        match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(Errno::EINTR) => {}
            result => {
                let _ = notices.send(Notice::Exited(Instant::now()));
                return result.map(drop);
            }
        }
    }
}

/// Reads a stream to its end in a thread of its own; gives its last bytes.
fn read_lines(
    pipe: impl Read + Send + 'static,
    step_prefix: Option<String>,
    notices: Sender<Notice>,
) -> thread::JoinHandle<VecDeque<u8>> {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut tail = VecDeque::new();
        let mut total = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            // An error is as good as the end: the tool is dead or dying.
            let Ok(len) = (&mut reader).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line) else { break };
            if len == 0 {
                break;
            }
            if let Some(step) = step_prefix.as_deref().and_then(|prefix| step_of(&line, prefix)) {
                let _ = notices.send(Notice::Mark(step, Instant::now()));
            }
            total += len as u64;
            if total > OUTPUT_LIMIT_BYTES {
                let _ = notices.send(Notice::TooMuchOutput);
                break;
            }
            tail.extend(&line);
            let excess = tail.len().saturating_sub(TAIL_BYTES);
            tail.drain(..excess);
        }
        tail
    })
}

fn step_of(line: &[u8], prefix: &str) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let name = line.trim_end_matches(['\n', '\r']).strip_prefix(prefix)?.split_whitespace().next()?;
    Some(name.to_owned())
}

fn finish_reader(reader: thread::JoinHandle<VecDeque<u8>>) -> String {
    // The thread has no way to panic; an empty tail stands for one that did.
    let tail = reader.join().unwrap_or_default();
    String::from_utf8_lossy(&Vec::from(tail)).into_owned()
}
