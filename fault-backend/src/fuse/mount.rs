//! Mounting, serving and unmounting: what the seam needs of the machine, and what is said where the machine lacks it.
//! One thread serves all requests; it inherits its CPU from the thread that starts it. An unmount tries again for a
//! while, because the kernel releases files a moment after their last close, and then detaches. Only a mount of this
//! kind is ever taken away.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fuser::{Config, MountOption, Notifier, Session, SessionACL};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, geteuid};

use super::server::Server;

/// Name of the mounts, as the mount table gives their source and, without root, a part of their type.
const NAME: &str = "killpoint";
/// How long an unmount is tried before the mount is detached instead.
const UNMOUNT_PATIENCE: Duration = Duration::from_millis(500);
/// Pause between two tries.
const UNMOUNT_PAUSE: Duration = Duration::from_millis(5);
/// How long the server thread may take to end after its mount is gone.
const SERVER_PATIENCE: Duration = Duration::from_secs(2);

/// What kept the seam from being mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel offers no FUSE, or this process may not use it.
    #[error(
        "`/dev/fuse` can't be opened (is the `fuse` module loaded, and is the device passed into the container?)"
    )]
    Device(#[source] io::Error),
    /// Without root, mounts go through the setuid helper of the package fuse3.
    #[error("`fusermount3` was not found: without root it is needed to mount (package `fuse3`)")]
    Helper,
    /// The mount point does not exist or is no directory.
    #[error("the mount point `{at}` can't be used")]
    Point {
        /// Where the mount was to be.
        at: PathBuf,
        /// Why it can't be used.
        #[source]
        source: io::Error,
    },
    /// The kernel, or the helper, refused the mount.
    #[error(
        "mounting FUSE at `{at}` was refused (a container needs CAP_SYS_ADMIN and the device `/dev/fuse`)"
    )]
    Refused {
        /// Where the mount was to be.
        at: PathBuf,
        /// The refusal, with the helper's words where it gave any.
        #[source]
        source: io::Error,
    },
    /// The server thread could not be bound to its CPU.
    #[error("the server can't be bound to CPU {cpu}")]
    Cpu {
        /// Number of the CPU, counted from 0.
        cpu: usize,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server thread could not be started.
    #[error("the server's thread can't be started")]
    Thread(#[source] io::Error),
}

/// A served mount. Dropping it unmounts.
#[derive(Debug)]
pub(super) struct Mounted {
    at: PathBuf,
    /// Sends invalidations to the kernel; dropped before the server is waited for, since it holds the device open.
    notifier: Option<Notifier>,
    server: Option<JoinHandle<()>>,
}

impl Mounted {
    /// Mounts at an existing folder and starts to serve there.
    pub(super) fn new(at: &Path, cpu: Option<usize>, server: Server) -> Result<Self, MountError> {
        let at = usable_point(at)?;
        OpenOptions::new().read(true).write(true).open("/dev/fuse").map_err(MountError::Device)?;
        let root = geteuid().is_root();
        if !root && !has_helper() {
            return Err(MountError::Helper);
        }
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName(NAME.into()),
            MountOption::Subtype(NAME.into()),
            MountOption::DefaultPermissions,
            MountOption::NoDev,
            MountOption::NoSuid,
        ];
        // Without root, `allow_other` needs a line in /etc/fuse.conf; the tool then runs as the same user anyway.
        config.acl = if root { SessionACL::All } else { SessionACL::Owner };
        config.n_threads = Some(1);

        let session = Session::new(server, &at, &config)
            .map_err(|source| MountError::Refused { at: at.clone(), source })?;
        let notifier = session.notifier();
        let thread = match serve(session, cpu, at.clone()) {
            Ok(thread) => thread,
            Err(error) => {
                unmount(&at);
                return Err(error);
            }
        };
        Ok(Self { at, notifier: Some(notifier), server: Some(thread) })
    }

    /// The absolute path of the mount point.
    pub(super) fn at(&self) -> &Path {
        &self.at
    }

    /// Sends invalidations to the kernel. Never from a handler: the kernel may have to ask the handler's thread first.
    pub(super) fn notifier(&self) -> Option<&Notifier> {
        self.notifier.as_ref()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.notifier = None;
        unmount(&self.at);
        let Some(server) = self.server.take() else { return };
        let deadline = Instant::now() + SERVER_PATIENCE;
        // A detached mount without root lives on until its last file is closed; its server must then live on as well.
        while !server.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if server.is_finished() {
            // The thread returns nothing, and a panic in it has been reported by then.
            let _ = server.join();
        }
    }
}

/// Starts the thread that serves: it binds itself to the CPU first, and the session's own thread inherits that.
fn serve(session: Session<Server>, cpu: Option<usize>, at: PathBuf) -> Result<JoinHandle<()>, MountError> {
    let (ready, bound) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("seam".into())
        .spawn(move || {
            let result = cpu.map_or(Ok(()), bind);
            let failed = result.is_err();
            // The other end waits for this message.
            let _ = ready.send(result);
            if failed {
                return;
            }
            if session.run().is_err() {
                // The server is gone while the mount may still be there: every request would wait for ever.
                detach(&at);
            }
        })
        .map_err(MountError::Thread)?;
    match bound.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(source)) => {
            // The session, and with it the mount, goes with the thread.
            let _ = thread.join();
            Err(MountError::Cpu { cpu: cpu.unwrap_or_default(), source: source.into() })
        }
        Err(_) => Err(MountError::Thread(io::ErrorKind::BrokenPipe.into())),
    }
}

/// Binds the calling thread to one CPU.
fn bind(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// The canonical path of the mount point. A mount whose server died (`ENOTCONN`) is taken away first.
fn usable_point(at: &Path) -> Result<PathBuf, MountError> {
    let error = |source| MountError::Point { at: at.to_owned(), source };
    if let Err(failure) = at.metadata()
        && failure.raw_os_error() == Some(Errno::ENOTCONN as i32)
    {
        detach(at);
    }
    if !at.metadata().map_err(error)?.is_dir() {
        return Err(error(io::ErrorKind::NotADirectory.into()));
    }
    at.canonicalize().map_err(error)
}

fn has_helper() -> bool {
    Command::new("fusermount3")
        .arg("-V")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Takes the mount away: at once where nothing uses it, else detached (and its requests aborted, where permitted).
fn unmount(at: &Path) {
    let deadline = Instant::now() + UNMOUNT_PATIENCE;
    while is_ours(at) {
        match umount2(at, MntFlags::empty()) {
            Ok(()) => return,
            Err(Errno::EPERM) if helper_unmounts(at, &["-u", "-q"]) => return,
            Err(_) if Instant::now() < deadline => thread::sleep(UNMOUNT_PAUSE),
            Err(_) => return detach(at),
        }
    }
}

fn detach(at: &Path) {
    if !is_ours(at) {
        return;
    }
    if umount2(at, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).is_err() {
        helper_unmounts(at, &["-u", "-q", "-z"]);
    }
}

fn helper_unmounts(at: &Path, options: &[&str]) -> bool {
    Command::new("fusermount3")
        .args(options)
        .arg("--")
        .arg(at)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether the topmost mount at a path is a seam (proc_pid_mountinfo(5): the fifth field is the mount point; type and
/// source come behind a lone `-`).
fn is_ours(at: &Path) -> bool {
    let Ok(table) = fs::read("/proc/self/mountinfo") else { return false };
    let mut ours = false;
    for line in table.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ');
        if fields.nth(4).is_none_or(|field| OsStr::from_bytes(&unescaped(field)) != at.as_os_str()) {
            continue;
        }
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        ours = fields.next().is_some_and(|kind| kind.starts_with(b"fuse"))
            && fields.next() == Some(NAME.as_bytes());
    }
    ours
}

/// A path of the mount table: space, tab, newline and backslash are `\` and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let code = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        path.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_paths_of_the_mount_table_are_read() {
        for (field, path) in [("/a", "/a"), (r"/a\040b", "/a b"), (r"\134\011", "\\\t"), (r"/x\9", r"/x\9")] {
            assert_eq!(unescaped(field.as_bytes()), path.as_bytes(), "{field}");
        }
    }

    #[test]
    fn other_mounts_are_not_ours() {
        assert!(!is_ours("/proc".as_ref()) && !is_ours("/nowhere".as_ref()));
    }
}
