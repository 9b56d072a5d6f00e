//! Knows and ends every process of a tool's tree.
//!
//! The launcher is the subreaper of all that its tools leave behind, so everything below it is a tool's. With a
//! writable cgroup v2 hierarchy the kernel keeps the tree together as well, and `cgroup.kill` ends it at once. One tool
//! runs at a time in one `Containment`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::keeper::Keeper;
use super::tree::living_descendants;

/// Where the processes of a tool are kept together.
#[derive(Debug)]
pub struct Containment {
    cgroup: Option<Cgroup>,
    /// The launcher, from the first run on. Locked during a run.
    keeper: Mutex<Option<Keeper>>,
}

#[derive(Debug)]
struct Cgroup {
    dir: PathBuf,
    /// Its `cgroup.kill`.
    kill: Arc<File>,
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
    /// SIGKILL was sent, and processes are still there.
    #[error("processes {pids:?} of the tool are still there {after_s}s after SIGKILL")]
    StillThere {
        /// Their ids.
        pids: Vec<i32>,
        /// Time in seconds.
        after_s: u64,
    },
}

impl Containment {
    /// A cgroup where that works, else the launcher's subtree alone.
    pub fn choose() -> Result<Self, ContainmentError> {
        Ok(Self { cgroup: own_cgroup(), keeper: Mutex::default() })
    }

    /// The launcher's subtree alone, also where a cgroup would work.
    pub fn subreaper() -> Result<Self, ContainmentError> {
        Ok(Self { cgroup: None, keeper: Mutex::default() })
    }

    /// How processes are kept together, for a person.
    pub fn describe(&self) -> &'static str {
        if self.cgroup.is_some() { "cgroup" } else { "subreaper" }
    }

    /// Living processes of the tree. Not to be called during a run.
    pub fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        match (&self.cgroup, &*self.lock()) {
            (Some(cgroup), _) => {
                let path = cgroup.dir.join("cgroup.procs");
                let text = fs::read_to_string(&path)
                    .map_err(|source| ContainmentError::Io { path: path.clone(), source })?;
                Ok(text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect())
            }
            (None, Some(keeper)) => living_descendants(keeper.pid())
                .map_err(|source| ContainmentError::Io { path: PathBuf::from("/proc"), source }),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// The file that lists the threads of the tree, one in a line, where there is one (`cgroup.threads`).
    pub fn threads_file(&self) -> Option<PathBuf> {
        self.cgroup.as_ref().map(|cgroup| cgroup.dir.join("cgroup.threads"))
    }

    /// What ends the tree when `1` is written to it.
    pub(super) fn kill_file(&self) -> Option<Arc<File>> {
        self.cgroup.as_ref().map(|cgroup| cgroup.kill.clone())
    }

    /// The launcher, started from this binary if there is none. It sees the mounts that the calling thread sees now.
    pub(super) fn keeper(&self, binary: &Path) -> io::Result<MutexGuard<'_, Option<Keeper>>> {
        let mut keeper = self.lock();
        if keeper.is_none() {
            *keeper = Some(Keeper::start(binary, self.cgroup.as_ref().map(|cgroup| cgroup.dir.as_path()))?);
        }
        Ok(keeper)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Keeper>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Containment {
    fn drop(&mut self) {
        // The launcher ends what is left.
        *self.lock() = None;
        let Some(Cgroup { dir, kill }) = &self.cgroup else { return };
        // Where it was killed, or found no end, it could not.
        let _ = kill.write_at(b"1", 0);
        // The last member may need a moment to leave.
        for _ in 0..50 {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => sleep(Duration::from_millis(2)),
                _ => break,
            }
        }
    }
}

const CGROUP_PREFIX: &str = "killpoint-";

/// No name is used twice, since its first user may be about to remove it.
static CGROUPS_MADE: AtomicU32 = AtomicU32::new(0);

/// A new cgroup below our own, or none where the hierarchy is missing, too old for `cgroup.kill` or read-only.
fn own_cgroup() -> Option<Cgroup> {
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
    for _ in 0..1000 {
        let ordinal = CGROUPS_MADE.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("{CGROUP_PREFIX}{}-{ordinal}", Pid::this()));
        match fs::create_dir(&dir) {
            Ok(()) => {
                let kill = OpenOptions::new().write(true).open(dir.join("cgroup.kill"));
                if kill.is_err() {
                    let _ = fs::remove_dir(&dir);
                }
                return Some(Cgroup { dir, kill: Arc::new(kill.ok()?) });
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => return None,
        }
    }
    None
}

/// Removes the cgroups of killpoint processes that are no more, with what is in them; a killed one can't do that itself.
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
