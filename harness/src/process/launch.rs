//! The launcher: this binary, started once more under another name, as a small process without threads that starts the
//! tools one after the other. It is the parent of whatever they leave behind, and reports an end when nothing is left.
//!
//! A fork of this process costs the same whatever killpoint's own size is, and needs no second exec. When killpoint
//! goes, by whatever end, the launcher ends the tool's tree and goes too.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, getppid, setpgid};

use super::sys;
use super::tree::living_descendants;
use super::wire::{Death, DeathBy, Message, Request, Stage, Streams};

/// First argument that makes the binary a launcher.
pub const ARGUMENT: &str = "__launch";

/// Stands for "no cgroup" in the launcher's arguments.
pub(super) const NO_CGROUP: &str = "-";

/// What a shell answers where a command can't be executed.
const CANNOT_EXECUTE: i32 = 126;

/// A tree that was told to die is looked at again after this time, for those that left the cgroup or were just born.
const KILL_AGAIN_MS: u8 = 20;

/// Serves killpoint, which is at the other end of standard input, until it goes.
pub fn serve(mut arguments: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    let cgroup = arguments.next().filter(|dir| dir != NO_CGROUP).map(PathBuf::from);
    // A copy that no tool inherits.
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    // It must not keep a file system busy.
    std::env::set_current_dir("/")?;
    prctl::set_child_subreaper(true)?;
    // A tool that crashes must not leave a core file on the volume.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let mut deaths = SigSet::empty();
    deaths.add(Signal::SIGCHLD);
    deaths.thread_block()?;
    let launcher = Launcher {
        procs: cgroup
            .as_ref()
            .map(|dir| OpenOptions::new().write(true).open(dir.join("cgroup.procs")))
            .transpose()?,
        cgroup,
        socket,
        deaths: SignalFd::with_flags(&deaths, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
    };
    launcher.ready()?;
    let result = launcher.serve();
    if let Some(dir) = &launcher.cgroup {
        // A killpoint that was killed can't do this itself.
        let _ = fs::remove_dir(dir);
    }
    Ok(result?)
}

struct Launcher {
    cgroup: Option<PathBuf>,
    procs: Option<File>,
    socket: OwnedFd,
    deaths: SignalFd,
}

/// A step on the way to the tool that failed.
struct Failure(Stage, Errno);

impl Stage {
    fn failed(self) -> impl FnOnce(Errno) -> Failure {
        move |errno| Failure(self, errno)
    }
}

fn errno(error: &io::Error) -> Errno {
    // An argument with a NUL byte is refused before any system call.
    error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw)
}

impl Launcher {
    /// Tries out whether calls can be trapped, in a process of its own: a filter can't be taken off again.
    fn ready(&self) -> Result<(), Errno> {
        let Some(child) = sys::fork()? else {
            let result = sys::trap(&[]);
            std::process::exit(result.map_or_else(|errno| errno as i32, |_| 0));
        };
        let refusal = match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => None,
            WaitStatus::Exited(_, errno) => Some(Errno::from_raw(errno)),
            _ => Some(Errno::EPERM),
        };
        Message::Ready(refusal).send(self.socket.as_fd(), None)
    }

    fn serve(&self) -> io::Result<()> {
        let mut cpus = Vec::new();
        while let Some((request, streams)) = Request::receive(self.socket.as_fd())? {
            // The launcher moves along: a fork, and what it says, are cheaper on one CPU.
            if cpus != request.cpus {
                move_to(&request.cpus)?;
                cpus.clone_from(&request.cpus);
            }
            let death = match sys::fork() {
                Ok(None) => {
                    let Err(Failure(stage, errno)) = self.become_tool(request, streams);
                    let _ = Message::Failed(stage, errno).send(self.socket.as_fd(), None);
                    std::process::exit(CANNOT_EXECUTE);
                }
                Ok(Some(main)) => {
                    // Else the pipes would not end with the tool.
                    drop(streams);
                    self.wait_for_all(main)?
                }
                Err(errno) => {
                    Message::Failed(Stage::Fork, errno).send(self.socket.as_fd(), None)?;
                    Death { by: DeathBy::Exit(CANNOT_EXECUTE), at_ns: now_ns()? }
                }
            };
            Message::Ended(death).send(self.socket.as_fd(), None)?;
        }
        Ok(())
    }

    fn become_tool(&self, request: Request, streams: Streams) -> Result<Infallible, Failure> {
        let launcher = getppid();
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(Stage::Process.failed())?;
        // It may have died before this was asked for.
        if getppid() != launcher {
            return Err(Failure(Stage::Process, Errno::ESRCH));
        }
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(Stage::Process.failed())?;
        // The launcher blocks SIGCHLD, for which a tool may wait.
        SigSet::empty().thread_set_mask().map_err(Stage::Process.failed())?;
        if let Some(mut procs) = self.procs.as_ref() {
            // cgroups(7): 0 stands for the writer.
            procs.write_all(b"0").map_err(|error| Failure(Stage::Cgroup, errno(&error)))?;
        }
        bind_all(&request)?;
        let mut command = Command::new(&request.program);
        command
            .args(&request.arguments)
            .env_clear()
            .envs(request.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&request.directory)
            .stdin(streams.input.map_or_else(Stdio::null, Stdio::from))
            .stdout(streams.output)
            .stderr(streams.errors);
        let trapped: Vec<i64> = request.trapped.iter().map(|number| i64::from(*number)).collect();
        // Where it can't be had, the tool runs without: whether it can was reported at the start.
        let listener = (!trapped.is_empty()).then(|| sys::trap(&trapped).ok()).flatten();
        Message::Started(Pid::this())
            .send(self.socket.as_fd(), listener.as_ref().map(AsFd::as_fd))
            .map_err(Stage::Process.failed())?;
        drop(listener);
        Err(Failure(Stage::Exec, errno(&command.exec())))
    }

    /// Waits for the end of the tool, and ends what it leaves behind. Where killpoint goes first, the tool ends too.
    fn wait_for_all(&self, main: Pid) -> io::Result<Death> {
        let mut death = None;
        let mut left = self.reap(main, &mut death)?;
        while death.is_none() {
            let mut polled = [
                PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.socket.as_fd(), PollFlags::empty()),
            ];
            wait(&mut polled, PollTimeout::NONE)?;
            if polled[1].any() == Some(true) {
                break;
            }
            left = self.reap(main, &mut death)?;
        }
        // A cgroup knows more than the list of processes, which costs more; who left it is found by the latter.
        let mut by_cgroup = self.cgroup.is_some();
        while left {
            match &self.cgroup {
                Some(dir) if by_cgroup => fs::write(dir.join("cgroup.kill"), "1")?,
                _ => kill_descendants()?,
            }
            by_cgroup = false;
            wait(
                &mut [PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN)],
                PollTimeout::from(KILL_AGAIN_MS),
            )?;
            left = self.reap(main, &mut death)?;
        }
        death.ok_or_else(|| Errno::ECHILD.into())
    }

    /// Buries the dead and notes the tool's own death; whether somebody is left.
    fn reap(&self, main: Pid, death: &mut Option<Death>) -> io::Result<bool> {
        // Several deaths may be one signal.
        while self.deaths.read_signal()?.is_some() {}
        loop {
            let (pid, status) = match sys::bury_one() {
                Ok(Some(dead)) => dead,
                Ok(None) => return Ok(true),
                Err(Errno::ECHILD) => return Ok(false),
                Err(errno) => return Err(errno.into()),
            };
            if pid == main {
                let by = match status.signal() {
                    Some(signal) => DeathBy::Signal(signal),
                    None => DeathBy::Exit(status.code().unwrap_or_default()),
                };
                *death = Some(Death { by, at_ns: now_ns()? });
            }
        }
    }
}

fn move_to(cpus: &[u32]) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu as usize)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}

fn wait(polled: &mut [PollFd], timeout: PollTimeout) -> Result<(), Errno> {
    match poll(polled, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn kill_descendants() -> io::Result<()> {
    for pid in living_descendants(Pid::this())? {
        match kill(pid, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn bind_all(request: &Request) -> Result<(), Failure> {
    if request.binds.is_empty() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS).map_err(Stage::MountNamespace.failed())?;
    // What is unmounted outside goes here too, so that nobody has to wait for the tool; what is mounted here stays here.
    let flags = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).map_err(Stage::MountNamespace.failed())?;
    for (bind, index) in request.binds.iter().zip(0..) {
        mount(Some(&bind.source), &bind.target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(Stage::Bind(index).failed())?;
    }
    Ok(())
}

fn now_ns() -> Result<u64, Errno> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}
