//! Room to work in and CPUs to work on: the checks that a campaign makes before it starts, without a campaign.

use std::path::Path;

use bytesize::ByteSize;
use disk_guard::Space;
use nix::unistd::{AccessFlags, access};

use super::{Check, State};
use crate::cpus;
use crate::fixtures;
use crate::room::Room;
use crate::workdir::{WorkDir, WorkDirError};

/// The fixtures of the scenarios that ship, at their small scales, take less.
const CACHE_BYTES: u64 = 1 << 30;

/// The working area and the run directory, as a campaign would guard them, and the cache.
pub(super) fn places(work: &Result<WorkDir, WorkDirError>) -> [Check; 2] {
    [work_area(work).needed(), cache().needed()]
}

fn work_area(work: &Result<WorkDir, WorkDirError>) -> Check {
    const MEND: &str =
        "free some space, or name another place with --work-dir (in a container: --shm-size 2g)";
    let work = match work {
        Ok(work) => work,
        Err(error) => return Check::lacks("working area", State::Refused, error.to_string(), MEND),
    };
    let parent = work.path().parent().unwrap_or(Path::new("/"));
    let room = Room::new(work, Path::new("."), None);
    match (Space::of(parent), room.check()) {
        (Ok(space), Ok(())) => {
            let free = ByteSize(space.free_bytes);
            let short: String = room.take_warnings().iter().map(|warning| format!("; {warning}")).collect();
            Check::ok("working area", format!("{free} free in {}{short}", parent.display()))
        }
        (Err(error), _) => Check::lacks("working area", State::Refused, error.to_string(), MEND),
        (_, Err(error)) => Check::lacks("working area", State::Missing, error.to_string(), MEND),
    }
}

fn cache() -> Check {
    let mend = format!("set {} to a folder with room", fixtures::CACHE_VARIABLE);
    let root = match fixtures::default_root() {
        Ok(root) => root,
        Err(error) => return Check::lacks("cache", State::Missing, error.to_string(), mend),
    };
    // It is made when it is first used: what counts is where.
    let there = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if let Err(errno) = access(there, AccessFlags::W_OK) {
        let why = format!("`{}` can't be written to: {}", there.display(), errno.desc());
        return Check::lacks("cache", State::Refused, why, mend);
    }
    match Space::of(there) {
        Ok(space) if space.free_bytes >= CACHE_BYTES => {
            Check::ok("cache", format!("{} free for {}", ByteSize(space.free_bytes), root.display()))
        }
        Ok(space) => {
            let why = format!(
                "{} free for {}, and the fixtures that ship take up to {}",
                ByteSize(space.free_bytes),
                root.display(),
                ByteSize(CACHE_BYTES)
            );
            Check::lacks("cache", State::Missing, why, mend)
        }
        Err(error) => Check::lacks("cache", State::Refused, error.to_string(), mend),
    }
}

/// How many workers a sweep would have, and whether one can be bound to a CPU.
pub(super) fn cpus() -> Check {
    let tried = cpus::allowed().and_then(|all| {
        cpus::bind(&all[..1])?;
        cpus::bind(&all)?;
        Ok(all.len())
    });
    match tried {
        Ok(count) => Check::ok("cpus", format!("{count}, a worker of a sweep on each; binding works")),
        Err(error) => Check::lacks(
            "cpus",
            State::Refused,
            error.to_string(),
            "allow sched_setaffinity (in a container --security-opt seccomp=unconfined)",
        ),
    }
    .needed()
}
