//! The system calls that no safe wrapper exists for: fork in a process without threads, the seccomp filter and its
//! notifications, and file descriptors that arrive in a message. All `unsafe` of the crate is in this file.
//!
//! Formats: seccomp(2), seccomp_unotify(2), cmsg(3).
#![allow(unsafe_code)]

use std::io::{IoSlice, IoSliceMut};
use std::mem::{offset_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::unistd::{ForkResult, Pid};

/// Most file descriptors in one message.
const FDS_MAX: usize = 4;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the number of this architecture in seccomp's data is not known here");

/// Forks; gives the child's id in the parent, and nothing in the child. Only for a process that has no other thread.
pub(super) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: the only caller is the launcher, which never starts a thread, so no lock can be held by another one.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Reaps a child that is dead, if there is one; ECHILD where there is no child at all. It knows all signals, also those
/// that [`nix`] has no name for.
pub(super) fn bury_one() -> Result<Option<(Pid, ExitStatus)>, Errno> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is of the type that the call writes to.
        match Errno::result(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) }) {
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some((Pid::from_raw(pid), ExitStatus::from_raw(status)))),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Sends one message of a message socket. More than four file descriptors are refused.
pub(super) fn send(socket: BorrowedFd, bytes: &[u8], fds: &[BorrowedFd]) -> Result<(), Errno> {
    if fds.len() > FDS_MAX {
        return Err(Errno::E2BIG);
    }
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None)
        {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

/// Receives one message of a message socket into `buffer`: its length, 0 when the other side is closed, and the file
/// descriptors that came with it.
pub(super) fn receive(socket: BorrowedFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut control = nix::cmsg_space!([RawFd; FDS_MAX]);
    loop {
        let mut parts = [IoSliceMut::new(buffer)];
        let message = match recvmsg::<()>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        let mut fds = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = part {
                // SAFETY: the kernel has just made these for us, and nothing else knows of them.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        return Ok((message.bytes, fds));
    }
}

/// Has the kernel ask us about these system calls of this process and its children to come; gives where it asks.
/// A process without privileges loses the right to gain some by exec, as seccomp(2) demands.
pub(super) fn trap(numbers: &[i64]) -> Result<OwnedFd, Errno> {
    let mut program = filter(numbers);
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // Without that flag (before Linux 5.19) a signal handler makes a trapped call start again, which costs time only.
    match install(&program, flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::EINVAL) => install(&program, flags),
        result => result,
    }
}

fn install(program: &libc::sock_fprog, flags: libc::c_ulong) -> Result<OwnedFd, Errno> {
    let seccomp = || {
        // SAFETY: `program` and what it points to live through the call, which only reads them.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                std::ptr::from_ref(program),
            )
        };
        Errno::result(fd)
    };
    let fd = match seccomp() {
        Err(Errno::EACCES) => {
            prctl::set_no_new_privs()?;
            seccomp()
        }
        result => result,
    }?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// BPF: calls of the native ABI with one of the numbers are asked about, all others pass.
fn filter(numbers: &[i64]) -> Vec<libc::sock_filter> {
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at: usize| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at as u32);
    let equal = |k: u32, jt: u8, jf: u8| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, jf, k);
    let answer = |action: u32| op(libc::BPF_RET | libc::BPF_K, 0, 0, action);
    let len = numbers.len() as u8;
    let mut program = vec![
        load(offset_of!(libc::seccomp_data, arch)),
        equal(AUDIT_ARCH, 0, len + 1),
        load(offset_of!(libc::seccomp_data, nr)),
    ];
    for (index, number) in numbers.iter().enumerate() {
        program.push(equal(*number as u32, len - index as u8, 0));
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program.push(answer(libc::SECCOMP_RET_USER_NOTIF));
    program
}

/// A system call that waits for our answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trapped {
    id: u64,
    /// Thread that made it.
    pub(super) thread: Pid,
    /// Its number.
    pub(super) number: i64,
    /// Its arguments.
    pub(super) arguments: [u64; 6],
}

/// What a trapped call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It returns 0 and is not made.
    Success,
    /// It is made.
    Continue,
}

/// Where the kernel asks about trapped calls.
#[derive(Debug)]
pub(super) struct Listener(OwnedFd);

impl Listener {
    /// Takes what [`trap`] gave.
    pub(super) fn new(fd: OwnedFd) -> Self {
        // A wake-up that stays on the tool's CPU (SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6) saves time, no more.
        // SAFETY: the flag is a plain number.
        let _ = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, 1_u64) };
        Self(fd)
    }

    /// The next trapped call; none if its thread has given up waiting. Only after poll(2) said that there is one.
    pub(super) fn receive(&self) -> Result<Option<Trapped>, Errno> {
        // SAFETY: the structure is plain numbers, for which zeros are valid, and the kernel demands zeros.
        let mut request: libc::seccomp_notif = unsafe { zeroed() };
        // SAFETY: `request` is of the size that the ioctl writes to.
        let received = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, std::ptr::from_mut(&mut request))
        };
        match Errno::result(received) {
            Ok(_) => {}
            Err(Errno::ENOENT | Errno::EINTR) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        Ok(Some(Trapped {
            id: request.id,
            thread: Pid::from_raw(request.pid as i32),
            number: request.data.nr.into(),
            arguments: request.data.args,
        }))
    }

    /// Whether the thread still waits: what was read of its memory before this call was its own.
    pub(super) fn still_waits(&self, call: &Trapped) -> bool {
        // SAFETY: the kernel only reads the number.
        let valid = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, std::ptr::from_ref(&call.id))
        };
        valid == 0
    }

    /// Answers; a thread that no longer waits is no error.
    pub(super) fn answer(&self, call: &Trapped, answer: Answer) -> Result<(), Errno> {
        let flags = match answer {
            Answer::Success => 0,
            Answer::Continue => libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        let mut response = libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags };
        // SAFETY: `response` is of the type that the ioctl reads.
        let sent = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, std::ptr::from_mut(&mut response))
        };
        match Errno::result(sent) {
            Ok(_) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
