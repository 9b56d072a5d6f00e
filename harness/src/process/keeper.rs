//! killpoint's end of the launcher: starts it, hands it a command, hears of the command's end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;

use super::launch;
use super::wire::{Message, Request, Stage, Streams};

/// The launcher answers within this time.
const ANSWERS_WITHIN_MS: u16 = 20_000;

/// The launcher, and what it still has to end, goes within this time.
const GOES_WITHIN_MS: u32 = 2_000;

/// A running launcher.
#[derive(Debug)]
pub(super) struct Keeper {
    /// None only while it is being let go.
    socket: Option<OwnedFd>,
    process: Child,
    refusal: Option<Errno>,
}

/// A tool that is about to be executed.
#[derive(Debug)]
pub(super) struct Started {
    /// Its main process.
    pub(super) main: Pid,
    /// Where its trapped calls arrive.
    pub(super) listener: Option<OwnedFd>,
}

/// A tool could not be started.
#[derive(Debug)]
pub(super) enum StartError {
    /// This failed on the way.
    Failed(Stage, Errno),
    /// The launcher can't be spoken with.
    Launcher(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Launcher(error)
    }
}

impl Keeper {
    /// Starts the launcher that `binary` can be, for tools in this cgroup.
    pub(super) fn start(binary: &Path, cgroup: Option<&Path>) -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let process = Command::new(binary)
            .arg(launch::ARGUMENT)
            .arg(cgroup.unwrap_or(Path::new(launch::NO_CGROUP)))
            .env_clear()
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal from the terminal is killpoint's to deal with.
            .process_group(0)
            .spawn()?;
        let mut keeper = Self { socket: Some(ours), process, refusal: None };
        match keeper.next_message()? {
            (Message::Ready(refusal), _) => keeper.refusal = refusal,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(keeper)
    }

    /// Why system calls can't be trapped here, if they can't.
    pub(super) fn refusal(&self) -> Option<Errno> {
        self.refusal
    }

    /// The launcher's process id: all of a tool's processes are below it.
    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// Starts a tool. Its end, or a failure to execute it, is told by a message.
    pub(super) fn launch(&self, request: &Request, streams: Streams) -> Result<Started, StartError> {
        request.send(self.socket()?, &streams)?;
        // Else the pipes would not end with the tool.
        drop(streams);
        let mut failure = None;
        loop {
            match (self.next_message()?, failure) {
                ((Message::Started(main), listener), _) => return Ok(Started { main, listener }),
                ((Message::Failed(stage, errno), _), _) => failure = Some((stage, errno)),
                ((Message::Ended(_), _), Some((stage, errno))) => {
                    return Err(StartError::Failed(stage, errno));
                }
                // Whatever killed it did so before it was the tool.
                ((Message::Ended(_), _), None) => {
                    return Err(StartError::Failed(Stage::Process, Errno::EINTR));
                }
                ((Message::Ready(_), _), _) => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
            }
        }
    }

    /// What becomes readable when there is a message.
    pub(super) fn socket(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?.as_fd())
    }

    /// Waits for a message; a launcher that went or hangs is an error.
    pub(super) fn next_message(&self) -> io::Result<(Message, Option<OwnedFd>)> {
        let socket = self.socket()?;
        loop {
            match poll(&mut [PollFd::new(socket, PollFlags::POLLIN)], PollTimeout::from(ANSWERS_WITHIN_MS)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Message::receive(socket)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It hears that we go, ends what still runs, and goes.
        self.socket = None;
        for _ in 0..GOES_WITHIN_MS * 10 {
            match self.process.try_wait() {
                Ok(None) => sleep(Duration::from_micros(100)),
                _ => return,
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
