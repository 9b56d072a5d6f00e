//! Mounts of our own: killpoint leaves the mount namespace that it was started in, so that nothing that it mounts is
//! seen by anybody else or stays behind, even if it is killed.

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Leaves the namespace, for this thread and what it starts: to be called before there are other threads. Answers
/// whether that could be done, which takes CAP_SYS_ADMIN.
pub fn leave() -> Result<bool, Errno> {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Ok(()) => {}
        Err(Errno::EPERM | Errno::ENOSYS | Errno::EINVAL) => return Ok(false),
        Err(errno) => return Err(errno),
    }
    // What is mounted here must not reach the namespace that this one was copied from.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    Ok(true)
}
