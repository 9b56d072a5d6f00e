//! Knows and ends every process of a tool's tree.
//!
//! With a writable cgroup v2 hierarchy the kernel keeps the tree together and `cgroup.kill` ends it at once.
//! Elsewhere killpoint is the subreaper of whatever its tools leave behind, and kills its descendants until none is
//! left. One tool runs at a time in one `Containment`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// A process that was sent SIGKILL is gone within this time, unless the kernel holds it.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// Where the processes of a tool are kept together.
#[derive(Debug)]
pub enum Containment {
    /// A cgroup of our own.
    Cgroup(PathBuf),
    /// Descendants of this process.
    Subreaper,
}

/// A tree could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum ContainmentError {
    /// The kernel's list of processes can't be used.
    #[error("the processes of the tool can't be listed or killed through `{path}`")]
    Io {
        /// File in question.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A system call failed.
    #[error("the processes of the tool can't be killed")]
    Kernel(#[from] Errno),
    /// SIGKILL was sent, and processes are still there.
    #[error("processes {pids:?} of the tool are still there {}s after SIGKILL", GONE_WITHIN.as_secs())]
    StillThere {
        /// Their ids.
        pids: Vec<i32>,
    },
}

impl Containment {
    /// A cgroup where that works, else the subreaper.
    pub fn choose() -> Result<Self, ContainmentError> {
        // Orphans become our children in either case, so that they can be reaped.
        prctl::set_child_subreaper(true)?;
        Ok(own_cgroup().map_or(Self::Subreaper, Self::Cgroup))
    }

    /// The subreaper, also where a cgroup would work.
    pub fn subreaper() -> Result<Self, ContainmentError> {
        prctl::set_child_subreaper(true)?;
        Ok(Self::Subreaper)
    }

    /// What the launcher writes its own process id to.
    pub fn membership_file(&self) -> Option<PathBuf> {
        match self {
            Self::Cgroup(dir) => Some(dir.join("cgroup.procs")),
            Self::Subreaper => None,
        }
    }

    /// How processes are kept together, for a person.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Cgroup(_) => "cgroup",
            Self::Subreaper => "subreaper",
        }
    }

    /// Sends SIGKILL to every process of the tree and returns when all are dead. `main` is the tool itself, which
    /// the caller reaps; everything else is reaped here.
    pub fn kill_all(&self, main: Pid) -> Result<(), ContainmentError> {
        let deadline = Instant::now() + GONE_WITHIN;
        let mut seen: Vec<Pid> = Vec::new();
        loop {
            let alive = self.members()?;
            for pid in &alive {
                if !seen.contains(pid) {
                    seen.push(*pid);
                }
            }
            if alive.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                return Err(ContainmentError::StillThere {
                    pids: alive.iter().map(|p| p.as_raw()).collect(),
                });
            }
            self.signal_all(&alive)?;
            // The kernel needs a moment to tear a process down; a busy loop would take its processor.
            sleep(Duration::from_micros(200));
        }
        for pid in seen.into_iter().filter(|pid| *pid != main) {
            // ECHILD: it was reaped by its own parent.
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(_) | Err(Errno::ECHILD | Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Living processes of the tree.
    pub fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        match self {
            Self::Cgroup(dir) => {
                let path = dir.join("cgroup.procs");
                let text = fs::read_to_string(&path)
                    .map_err(|source| ContainmentError::Io { path: path.clone(), source })?;
                Ok(text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect())
            }
            Self::Subreaper => living_descendants(Pid::this()),
        }
    }

    fn signal_all(&self, alive: &[Pid]) -> Result<(), ContainmentError> {
        match self {
            Self::Cgroup(dir) => {
                let path = dir.join("cgroup.kill");
                fs::write(&path, "1").map_err(|source| ContainmentError::Io { path, source })
            }
            Self::Subreaper => {
                for pid in alive {
                    match kill(*pid, Signal::SIGKILL) {
                        Ok(()) | Err(Errno::ESRCH) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                Ok(())
            }
        }
    }
}

impl Drop for Containment {
    fn drop(&mut self) {
        if let Self::Cgroup(dir) = self {
            // The last member may need a moment to leave.
            for _ in 0..50 {
                match fs::remove_dir(&*dir) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        sleep(Duration::from_millis(2))
                    }
                    _ => break,
                }
            }
        }
    }
}

const CGROUP_PREFIX: &str = "killpoint-";

/// A new cgroup below our own, or none where the hierarchy is missing, too old for `cgroup.kill` or read-only.
fn own_cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let root = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (target, kind) = (fields.nth(1)?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(target))
    })?;
    let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = memberships.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let parent = root.join(own);
    remove_abandoned(&parent);
    for ordinal in 0..1000 {
        let dir = parent.join(format!("{CGROUP_PREFIX}{}-{ordinal}", Pid::this()));
        match fs::create_dir(&dir) {
            Ok(()) if dir.join("cgroup.kill").exists() => return Some(dir),
            Ok(()) => {
                let _ = fs::remove_dir(&dir);
                return None;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => return None,
        }
    }
    None
}

/// Removes the empty cgroups of killpoint processes that are no more; a killed one can't do that itself.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(CGROUP_PREFIX));
        let pid = owner.and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<i32>().ok());
        if pid.is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)) {
            let _ = fs::write(entry.path().join("cgroup.kill"), "1");
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Every process below `root` that is not a zombie, from `/proc`.
fn living_descendants(root: Pid) -> Result<Vec<Pid>, ContainmentError> {
    let error = |source| ContainmentError::Io { path: PathBuf::from("/proc"), source };
    let mut children: HashMap<i32, Vec<(i32, bool)>> = HashMap::new();
    for entry in fs::read_dir("/proc").map_err(error)? {
        let Some(pid) = entry.map_err(error)?.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        if let Some((state, parent)) = state_and_parent(&String::from_utf8_lossy(&stat)) {
            children.entry(parent).or_default().push((pid, matches!(state, 'Z' | 'X')));
        }
    }
    let mut found = Vec::new();
    let mut queue = vec![root.as_raw()];
    while let Some(parent) = queue.pop() {
        for (pid, dead) in children.remove(&parent).unwrap_or_default() {
            queue.push(pid);
            if !dead {
                found.push(Pid::from_raw(pid));
            }
        }
    }
    Ok(found)
}

/// State and parent from a line of `/proc/PID/stat`; the name in brackets may hold anything.
fn state_and_parent(stat: &str) -> Option<(char, i32)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_confuse_the_stat_line() {
        assert_eq!(state_and_parent("12 (a) b (c)) S 7 12 12 0"), Some(('S', 7)));
        assert_eq!(state_and_parent("12 (x) Z 1 1"), Some(('Z', 1)));
        assert_eq!(state_and_parent("nonsense"), None);
    }
}
