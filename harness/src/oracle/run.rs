//! Runs a checker with limits: on time, since checkers were seen to loop on broken file systems, and on captured
//! output, since they print while they loop. Nothing of a checker that overran is left.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

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
            Self::OutOfTime(limit) => write!(f, "runs longer than {} s", limit.as_secs()),
            Self::TooMuchOutput(limit) => write!(f, "prints more than {limit} bytes"),
            Self::NotFound => f.write_str("is not installed"),
        }
    }
}

impl Ended {
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

/// Runs a program with the C locale in a process group of its own, with nothing on its standard input.
pub fn run_limited(
    program: &str,
    arguments: &[&OsStr],
    environment: &[(&str, OsString)],
    limits: Limits,
) -> io::Result<Ended> {
    // A program given by its path is started without copying this process (posix_spawn), so it is looked up here.
    let Some(path) = scenarios::programs::find(program) else { return Ok(Ended::NotFound) };
    let deadline = Instant::now() + limits.time;
    let (mut reader, writer) = io::pipe()?;
    let mut child = Command::new(path)
        .arg0(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    let (done, captured) = mpsc::channel();
    thread::spawn(move || {
        let mut output = Vec::new();
        let read = (&mut reader).take(limits.output_bytes as u64 + 1).read_to_end(&mut output);
        // Nobody listens any more where the time limit came first.
        let _ = done.send(read.map(|_| output));
    });
    let Ok(captured) = captured.recv_timeout(limits.time) else {
        stop(&mut child)?;
        return Ok(Ended::OutOfTime(limits.time));
    };
    let output = match captured {
        Ok(output) if output.len() <= limits.output_bytes => output,
        Ok(_) => {
            stop(&mut child)?;
            return Ok(Ended::TooMuchOutput(limits.output_bytes));
        }
        Err(error) => {
            stop(&mut child)?;
            return Err(error);
        }
    };
    // Its output has ended, which it does at exit; it may also have closed it and linger.
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(match status.code() {
                Some(code) => Ended::Exited { code, output },
                None => Ended::Signalled(status.signal().unwrap_or(0)),
            });
        }
        if Instant::now() >= deadline {
            stop(&mut child)?;
            return Ok(Ended::OutOfTime(limits.time));
        }
        thread::sleep(Duration::from_micros(100));
    }
}

/// Ends the child with its process group.
fn stop(child: &mut Child) -> io::Result<()> {
    // The child is not reaped yet, so its id can't be another's; a group that is gone already is what is wanted.
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    child.wait().map(|_| ())
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
