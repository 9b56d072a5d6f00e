//! The CPUs that this process may use, and threads that are bound to some of them.

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use crate::error::Error;

/// The calling thread itself.
const SELF: Pid = Pid::from_raw(0);

/// The CPUs that the calling thread may run on, the one that it runs on first. To be asked before it is bound to one.
pub fn allowed() -> Result<Vec<usize>, Error> {
    let set = sched_getaffinity(SELF).map_err(Error::Cpu)?;
    let mut cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect();
    let now = sched_getcpu().map_err(Error::Cpu)?;
    if let Some(place) = cpus.iter().position(|cpu| *cpu == now) {
        cpus.rotate_left(place);
    }
    if cpus.is_empty() { Err(Error::Cpu(Errno::EINVAL)) } else { Ok(cpus) }
}

/// Binds the calling thread, and what it starts, to these CPUs.
pub fn bind(cpus: &[usize]) -> Result<(), Error> {
    let mut set = CpuSet::new();
    cpus.iter()
        .try_for_each(|cpu| set.set(*cpu))
        .and_then(|()| sched_setaffinity(SELF, &set))
        .map_err(Error::Cpu)
}
