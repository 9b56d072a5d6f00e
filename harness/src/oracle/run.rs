//! Runs a checker with limits: on time, since checkers were seen to loop on broken file systems, and on captured
//! output, since they print while they loop. Nothing of a checker that overran is left.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::tools::SEARCH_PATH;

/// An exit is noticed within this time where something else holds the output open.
const EXIT_POLL: Duration = Duration::from_millis(20);

/// What was left behind by a program that has ended gets this long to let go of its output.
const LINGER: Duration = Duration::from_millis(200);

/// What a checker may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Wall-clock time.
    pub time: Duration,
    /// Output, standard and error together.
    pub output_bytes: usize,
}

/// How a checker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exited {
        /// Exit code.
        code: i32,
        /// Standard output and error in the order of arrival.
        output: Vec<u8>,
    },
    /// By a signal of its own.
    Signalled(i32),
    /// Stopped after its time limit.
    OutOfTime(Duration),
    /// Stopped after that much output.
    TooMuchOutput(usize),
    /// There is no such program.
    NotFound,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code, output } => {
                write!(f, "exits {code}: {}", gist(output))
            }
            Self::Signalled(signal) => write!(f, "dies of signal {signal}"),
            Self::OutOfTime(limit) => write!(f, "runs longer than {}", humantime::format_duration(*limit)),
            Self::TooMuchOutput(limit) => write!(f, "prints more than {limit} bytes"),
            Self::NotFound => f.write_str("is not installed"),
        }
    }
}

impl Ended {
    /// The exit code, where it ended by itself.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Exited { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Calls a file by another name in the output: the paths that checkers are given say nothing to a person.
    pub fn renaming(self, path: &OsStr, name: &str) -> Self {
        match self {
            Self::Exited { code, output } => {
                let text = String::from_utf8_lossy(&output).replace(&*path.to_string_lossy(), name);
                Self::Exited { code, output: text.into_bytes() }
            }
            other => other,
        }
    }
}

/// The lines of a checker's output that say something: no headings, no file name, no more than a few.
fn gist(output: &[u8]) -> String {
    const LINES: usize = 6;
    let text = String::from_utf8_lossy(output);
    let mut telling = text.lines().map(str::trim).filter(|line| {
        !line.is_empty()
            && !line.starts_with("Pass ")
            && !line.starts_with("fsck.fat ")
            && !line.starts_with("e2fsck ")
            && !line.starts_with("debugfs ")
    });
    let mut shown = telling.by_ref().take(LINES).collect::<Vec<_>>().join(" | ");
    if telling.next().is_some() {
        shown.push_str(" | …");
    }
    shown
}

/// A program as it is started: nothing is inherited, and its standard input is empty.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// Its name, looked up in `PATH` and the system folders, or its path.
    pub name: &'a OsStr,
    /// Arguments.
    pub arguments: Vec<OsString>,
    /// The whole environment.
    pub environment: BTreeMap<String, OsString>,
    /// Working directory; that of this process where there is none.
    pub directory: Option<&'a Path>,
}

/// Runs a program with the C locale in a process group of its own, with nothing on its standard input.
pub fn run_limited(
    program: &str,
    arguments: &[&OsStr],
    environment: &[(&str, OsString)],
    limits: Limits,
) -> io::Result<Ended> {
    let fixed = [("PATH", SEARCH_PATH.into()), ("LC_ALL", "C".into())];
    let environment =
        fixed.iter().chain(environment).map(|(name, value)| ((*name).to_owned(), value.clone()));
    let program = Program {
        name: program.as_ref(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: environment.collect(),
        directory: None,
    };
    run_program(&program, limits)
}

/// Runs a program in a process group of its own, which is gone when this returns.
pub fn run_program(program: &Program<'_>, limits: Limits) -> io::Result<Ended> {
    // A program given by its path is started without copying this process (posix_spawn), so it is looked up here.
    let Some(path) = program.name.to_str().and_then(scenarios::programs::find) else {
        return Ok(Ended::NotFound);
    };
    let (reader, writer) = io::pipe()?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut command = Command::new(path);
    command
        .arg0(program.name)
        .args(&program.arguments)
        .env_clear()
        .envs(&program.environment)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    if let Some(directory) = program.directory {
        command.current_dir(directory);
    }
    let deadline = Instant::now() + limits.time;
    let child = command.spawn()?;
    // It holds the writing end, without which the output would never end.
    drop(command);
    Watch { child, reader, output: Vec::new(), exited: None }.until_over(deadline, limits)
}

/// A program that runs, and its output so far.
struct Watch {
    child: Child,
    reader: PipeReader,
    output: Vec<u8>,
    /// When it was seen to have ended; its group was ended then, too.
    exited: Option<Instant>,
}

impl Watch {
    fn until_over(mut self, deadline: Instant, limits: Limits) -> io::Result<Ended> {
        let over = self.watch(deadline, limits);
        // The child is not reaped yet, so its id can't be another's; a group that is gone is what is wanted.
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let status = self.child.wait()?;
        if let Some(overrun) = over? {
            return Ok(overrun);
        }
        Ok(match status.code() {
            Some(code) => Ended::Exited { code, output: self.output },
            None => Ended::Signalled(status.signal().unwrap_or(0)),
        })
    }

    /// Until it has ended by itself or has overrun a limit.
    fn watch(&mut self, deadline: Instant, limits: Limits) -> io::Result<Option<Ended>> {
        let mut open = true;
        loop {
            let now = Instant::now();
            if self.exited.is_some_and(|at| !open || now >= at + LINGER) {
                return Ok(None);
            }
            if now >= deadline {
                return Ok(Some(Ended::OutOfTime(limits.time)));
            }
            if open {
                self.wait_for_output((deadline - now).min(EXIT_POLL))?;
                open = self.read_more(limits.output_bytes)?;
                if self.output.len() > limits.output_bytes {
                    return Ok(Some(Ended::TooMuchOutput(limits.output_bytes)));
                }
            } else {
                // Its output has ended, which it does at exit; it may also have closed it and linger.
                thread::sleep(Duration::from_micros(50));
            }
            self.look_for_exit()?;
        }
    }

    fn wait_for_output(&self, longest: Duration) -> io::Result<()> {
        let timeout = PollTimeout::try_from(longest.as_millis()).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads what is there, at most a little beyond a limit; whether more may come.
    fn read_more(&mut self, limit_bytes: usize) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        while self.output.len() <= limit_bytes {
            match self.reader.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(len) => self.output.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Notes the program's end and ends what it left in its group, which may hold the output open.
    fn look_for_exit(&mut self) -> io::Result<()> {
        let pid = Pid::from_raw(self.child.id() as i32);
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        if self.exited.is_none() && waitid(Id::Pid(pid), flags)? != WaitStatus::StillAlive {
            self.exited = Some(Instant::now());
            let _ = killpg(pid, Signal::SIGKILL);
        }
        Ok(())
    }
}

/// A part of an image as e2fsprogs takes it: `FILE?offset=N`.
///
/// The file is named by an open descriptor of this process, since a `?` in its own name would end it. The answer is
/// good as long as it lives.
pub fn source_argument(disk: &File, offset: u64) -> OsString {
    format!("/proc/{}/fd/{}?offset={offset}", std::process::id(), disk.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, time_ms: u64, output_bytes: usize) -> Ended {
        let limits = Limits { time: Duration::from_millis(time_ms), output_bytes };
        run_limited("sh", &[OsStr::new("-c"), OsStr::new(script)], &[], limits).expect("run sh")
    }

    #[test]
    fn code_and_both_outputs_are_kept_in_order() {
        let ended = sh("echo one; echo two >&2; exit 4", 5000, 100);
        assert_eq!(ended, Ended::Exited { code: 4, output: b"one\ntwo\n".to_vec() });
        assert_eq!(ended.to_string(), "exits 4: one | two");
        assert_eq!(sh("kill -SEGV $$", 5000, 100), Ended::Signalled(11));
    }

    /// Neither silence, nor endless printing, nor a child that outlives its parent holds a judgement up.
    #[test]
    fn what_overruns_a_limit_is_stopped() {
        let started = Instant::now();
        assert_eq!(sh("sleep 60", 50, 100), Ended::OutOfTime(Duration::from_millis(50)));
        assert_eq!(sh("sleep 60 & wait", 50, 100), Ended::OutOfTime(Duration::from_millis(50)));
        // One that ends is not waited for by what it left behind, which ends with it.
        assert_eq!(sh("sleep 60 & echo $!", 30_000, 100).code(), Some(0));
        assert_eq!(sh("exec >&- 2>&-; sleep 60", 50, 100), Ended::OutOfTime(Duration::from_millis(50)));
        assert_eq!(sh("while :; do echo loop; done", 30_000, 1000), Ended::TooMuchOutput(1000));
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_program_that_is_not_there_is_no_error() {
        let limits = Limits { time: Duration::from_secs(1), output_bytes: 1 };
        assert_eq!(run_limited("no-such-checker", &[], &[], limits).expect("an answer"), Ended::NotFound);
    }
}
