//! What killpoint and its launcher say to each other: one request for each run, and small messages about it. Both ends
//! are the same binary, so there is no version. A request travels in a memory file, for which no length is too long.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Pid;

use super::command::{Bind, Command};
use super::sys;

/// Longest message in bytes.
const MESSAGE_BYTES: usize = 17;

/// The one content of a request's message; the request itself is its first file descriptor.
const REQUEST: &[u8] = b"r";

/// What is done on the way from a command to a running tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A process is made.
    Fork,
    /// It is tied to the launcher's life and gets a group of its own.
    Process,
    /// It enters the cgroup.
    Cgroup,
    /// It gets a view of the mounts of its own.
    MountNamespace,
    /// A file is mounted over another: the n-th bind, from 0.
    Bind(u32),
    /// It becomes the program.
    Exec,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fork => "no process can be made",
            Self::Process => "its process can't be set up",
            Self::Cgroup => "its process can't enter the cgroup",
            Self::MountNamespace => "it can't have mounts of its own, which takes CAP_SYS_ADMIN",
            Self::Bind(_) => "a file can't be mounted over another",
            Self::Exec => "it can't be executed",
        })
    }
}

/// From the launcher, or a process that is about to become the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The launcher is there. System calls can be trapped, or why not.
    Ready(Option<Errno>),
    /// The tool is about to be executed. A listener comes with it where calls are trapped.
    Started(Pid),
    /// It could not be.
    Failed(Stage, Errno),
    /// It and all that it left behind are dead.
    Ended(Death),
}

/// How the tool's main process died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Death {
    /// Of what.
    pub(super) by: DeathBy,
    /// CLOCK_MONOTONIC, in nanoseconds.
    pub(super) at_ns: u64,
}

/// What ended a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeathBy {
    /// It exited with this code.
    Exit(i32),
    /// This signal.
    Signal(i32),
}

impl Message {
    fn to_bytes(self) -> [u8; MESSAGE_BYTES] {
        let (kind, first, second, third) = match self {
            Self::Ready(errno) => (0, errno.map_or(0, |errno| errno as i32), 0, 0),
            Self::Started(pid) => (1, pid.as_raw(), 0, 0),
            Self::Failed(stage, errno) => {
                let (stage, index) = match stage {
                    Stage::Fork => (0, 0),
                    Stage::Process => (1, 0),
                    Stage::Cgroup => (2, 0),
                    Stage::MountNamespace => (3, 0),
                    Stage::Bind(index) => (4, index.into()),
                    Stage::Exec => (5, 0),
                };
                (2, stage, errno as i32, index)
            }
            Self::Ended(Death { by: DeathBy::Exit(code), at_ns }) => (3, 0, code, at_ns),
            Self::Ended(Death { by: DeathBy::Signal(signal), at_ns }) => (3, 1, signal, at_ns),
        };
        let mut bytes = [kind; MESSAGE_BYTES];
        bytes[1..5].copy_from_slice(&first.to_ne_bytes());
        bytes[5..9].copy_from_slice(&second.to_ne_bytes());
        bytes[9..].copy_from_slice(&third.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; MESSAGE_BYTES]) -> Option<Self> {
        let [kind, a, b, c, d, e, f, g, h, third @ ..] = *bytes;
        let (first, second) = (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]));
        let third = u64::from_ne_bytes(third);
        Some(match (kind, first) {
            (0, 0) => Self::Ready(None),
            (0, errno) => Self::Ready(Some(Errno::from_raw(errno))),
            (1, pid) => Self::Started(Pid::from_raw(pid)),
            (2, stage) => {
                let stage = match stage {
                    0 => Stage::Fork,
                    1 => Stage::Process,
                    2 => Stage::Cgroup,
                    3 => Stage::MountNamespace,
                    4 => Stage::Bind(u32::try_from(third).ok()?),
                    5 => Stage::Exec,
                    _ => return None,
                };
                Self::Failed(stage, Errno::from_raw(second))
            }
            (3, 0) => Self::Ended(Death { by: DeathBy::Exit(second), at_ns: third }),
            (3, 1) => Self::Ended(Death { by: DeathBy::Signal(second), at_ns: third }),
            _ => return None,
        })
    }

    /// Sends it, with a file descriptor perhaps.
    pub(super) fn send(self, socket: BorrowedFd, fd: Option<BorrowedFd>) -> Result<(), Errno> {
        sys::send(socket, &self.to_bytes(), fd.as_slice())
    }

    /// Waits for one; none when the other side is gone.
    pub(super) fn receive(socket: BorrowedFd) -> io::Result<Option<(Self, Option<OwnedFd>)>> {
        let mut bytes = [0; MESSAGE_BYTES];
        let (len, fds) = sys::receive(socket, &mut bytes)?;
        if len == 0 {
            return Ok(None);
        }
        let message = Self::from_bytes(&bytes).filter(|_| len == MESSAGE_BYTES);
        Ok(Some((message.ok_or(io::ErrorKind::InvalidData)?, fds.into_iter().next())))
    }
}

/// What the launcher needs to know of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Absolute.
    pub(super) directory: PathBuf,
    pub(super) binds: Vec<Bind>,
    /// CPUs that it may run on.
    pub(super) cpus: Vec<u32>,
    /// Numbers of the system calls to trap.
    pub(super) trapped: Vec<u32>,
}

/// The tool's standard streams.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) output: OwnedFd,
    pub(super) errors: OwnedFd,
    /// Without, there is nothing to read.
    pub(super) input: Option<OwnedFd>,
}

impl Request {
    pub(super) fn new(command: &Command, cpus: Vec<u32>, trapped: Vec<u32>) -> io::Result<Self> {
        let own = |(name, value): (&String, &OsString)| (name.into(), value.clone());
        Ok(Self {
            program: command.program.clone().into(),
            arguments: command.arguments.clone(),
            environment: command.environment.iter().map(own).collect(),
            directory: std::path::absolute(&command.directory)?,
            binds: command.binds.clone(),
            cpus,
            trapped,
        })
    }

    /// Sends it.
    pub(super) fn send(&self, socket: BorrowedFd, streams: &Streams) -> io::Result<()> {
        let request = memory_file(&self.to_bytes())?;
        let mut fds = vec![request.as_fd(), streams.output.as_fd(), streams.errors.as_fd()];
        fds.extend(streams.input.as_ref().map(AsFd::as_fd));
        Ok(sys::send(socket, REQUEST, &fds)?)
    }

    /// Waits for one; none when the other side is gone.
    pub(super) fn receive(socket: BorrowedFd) -> io::Result<Option<(Self, Streams)>> {
        let mut byte = [0];
        let (len, fds) = sys::receive(socket, &mut byte)?;
        if len == 0 {
            return Ok(None);
        }
        let mut fds = fds.into_iter();
        let (Some(request), Some(output), Some(errors)) = (fds.next(), fds.next(), fds.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut bytes = Vec::new();
        File::from(request).read_to_end(&mut bytes)?;
        let request = Self::from_bytes(&bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((request, Streams { output, errors, input: fds.next() })))
    }

    /// Length-prefixed strings in the order of the fields, each list behind its number of items.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let number = |bytes: &mut Vec<u8>, n: usize| bytes.extend((n as u32).to_ne_bytes());
        let text = |bytes: &mut Vec<u8>, text: &OsStr| {
            number(bytes, text.len());
            bytes.extend(text.as_bytes());
        };
        text(&mut bytes, &self.program);
        text(&mut bytes, self.directory.as_os_str());
        number(&mut bytes, self.arguments.len());
        self.arguments.iter().for_each(|argument| text(&mut bytes, argument));
        number(&mut bytes, self.environment.len());
        for (name, value) in &self.environment {
            text(&mut bytes, name);
            text(&mut bytes, value);
        }
        number(&mut bytes, self.binds.len());
        for bind in &self.binds {
            text(&mut bytes, bind.source.as_os_str());
            text(&mut bytes, bind.target.as_os_str());
        }
        for list in [&self.cpus, &self.trapped] {
            number(&mut bytes, list.len());
            list.iter().for_each(|n| number(&mut bytes, *n as usize));
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        Some(Self {
            program: rest.text()?,
            directory: rest.text()?.into(),
            arguments: rest.list(Rest::text)?,
            environment: rest.list(|rest| Some((rest.text()?, rest.text()?)))?,
            binds: rest
                .list(|rest| Some(Bind { source: rest.text()?.into(), target: rest.text()?.into() }))?,
            cpus: rest.list(Rest::number)?,
            trapped: rest.list(Rest::number)?,
        })
    }
}

/// What is still to be read of a request.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_ne_bytes(*number))
    }

    fn text(&mut self) -> Option<OsString> {
        let len = self.number()? as usize;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(OsString::from_vec(text.to_vec()))
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.number()?).map(|_| item(self)).collect()
    }
}

/// A file without a name that holds these bytes and is read from its start.
pub(super) fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("killpoint", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_every_message_come_back_as_they_were() {
        let request = Request {
            program: OsString::from_vec(vec![b'/', 0xff]),
            arguments: vec!["a".into(), OsString::new()],
            environment: vec![("A".into(), "=".into())],
            directory: "/tmp".into(),
            binds: vec![Bind { source: "/a".into(), target: "/b".into() }],
            cpus: vec![0, 1023],
            trapped: vec![35],
        };
        let bytes = request.to_bytes();
        assert_eq!(Request::from_bytes(&bytes), Some(request));
        assert_eq!(Request::from_bytes(&bytes[..bytes.len() - 1]), None);
        let stages =
            [Stage::Fork, Stage::Process, Stage::Cgroup, Stage::MountNamespace, Stage::Bind(7), Stage::Exec];
        let deaths = [DeathBy::Exit(3), DeathBy::Signal(9)];
        let messages =
            [Message::Ready(None), Message::Ready(Some(Errno::EBUSY)), Message::Started(Pid::this())]
                .into_iter()
                .chain(stages.map(|stage| Message::Failed(stage, Errno::ENOENT)))
                .chain(deaths.map(|by| Message::Ended(Death { by, at_ns: u64::MAX })));
        for message in messages {
            assert_eq!(Message::from_bytes(&message.to_bytes()), Some(message));
        }
    }
}
