//! The mounted seam: where it is, who is running on it, and what stands in for a user's files.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fault_backend::fuse::{Seam, SeamOptions, Slot, Wiring};
use fault_backend::oplog::Progress;
use fault_backend::volume::Volume;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::cpus;
use crate::error::Error;
use crate::exec::Spec;
use crate::image::VOLUME;
use crate::oracle::Showcase;
use crate::process;
use crate::workdir::WorkDir;

/// Where the seam is mounted where nobody else can see it: the same path in every campaign, since some tools write
/// the paths of their files into them.
const PRIVATE_MOUNT: &str = "/run/killpoint";

/// The mount, and who is running on it.
pub(super) struct Mounted {
    pub(super) seam: Seam,
    /// `st_dev` of the mount.
    device: Option<u64>,
    running: Mutex<Option<process::Wiring>>,
    /// Acknowledgements of the run's commands that are over.
    acks: AtomicU32,
}

impl Mounted {
    /// Mounts the seam and binds this thread, and the tools that it starts, to the server's CPU: so that no answer
    /// has to wake another one.
    pub(super) fn new(work: &WorkDir, private: bool, cpu: usize) -> Result<Self, Error> {
        cpus::bind(&[cpu])?;
        let seam = Seam::mount(&mount_point(work, private)?, &SeamOptions { cpu: Some(cpu) })?;
        let device = std::fs::metadata(seam.root()).ok().map(|metadata| metadata.dev());
        Ok(Self { seam, device, running: Mutex::new(None), acks: AtomicU32::new(0) })
    }

    fn running(&self) -> Option<process::Wiring> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A run begins.
    pub(super) fn reset_acks(&self) {
        self.acks.store(0, Ordering::Relaxed);
    }

    /// A command of the run is over that acknowledged so much.
    pub(super) fn add_acks(&self, acks: usize) {
        self.acks.fetch_add(u32::try_from(acks).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(super) fn set_running(&self, wiring: Option<process::Wiring>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = wiring;
    }
}

impl process::Seam for Mounted {
    fn begin(&self, wiring: process::Wiring) {
        self.set_running(Some(wiring));
    }

    fn sync(&self, pid: i32) {
        // A fault that makes the flush fail can't be told to the caller of `sync`, which knows no errors.
        let _ = self.seam.barrier(pid);
    }

    fn freeze(&self) {
        self.seam.freeze();
    }

    fn device(&self) -> Option<u64> {
        self.device
    }
}

/// The slot in which volumes are looked at.
pub(super) struct View(pub(super) Arc<Mounted>);

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

impl Showcase for View {
    fn show(&self, volume: &Volume) -> PathBuf {
        self.0.seam.load(Slot::View, volume.clone());
        self.0.seam.path(Slot::View).join(VOLUME)
    }
}

/// Files of a user in whose place files of the seam are mounted, for this thread and what it starts.
#[derive(Debug, Default)]
pub(super) struct StandIns(Vec<PathBuf>);

impl Drop for StandIns {
    fn drop(&mut self) {
        // They keep the seam busy.
        for target in self.0.drain(..).rev() {
            let _ = umount2(&target, MntFlags::MNT_DETACH);
        }
    }
}

/// Closures for the seam that reach whatever runs at the moment. The threads that a file lists are counted at each op,
/// if there is one, and the most of them are kept.
pub(super) fn wiring(mounted: &Arc<Mounted>, listed: Option<PathBuf>, threads: &Arc<AtomicU64>) -> Wiring {
    let [kill, signal, progress] = [(); 3].map(|()| Arc::clone(mounted));
    let start: Arc<str> = "start".into();
    let threads = Arc::clone(threads);
    Wiring {
        kill: Arc::new(move || {
            if let Some(running) = kill.running() {
                (running.kill)();
            }
        }),
        signal: Arc::new(move |number| {
            if let Some(running) = signal.running() {
                (running.signal)(number);
            }
        }),
        progress: Arc::new(move || {
            if let Some(Ok(list)) = listed.as_ref().map(std::fs::read_to_string) {
                threads.fetch_max(list.lines().count() as u64, Ordering::Relaxed);
            }
            let before = progress.acks.load(Ordering::Relaxed);
            match progress.running() {
                Some(running) => {
                    let Progress { step, acks } = (running.progress)();
                    Progress { step, acks: before.saturating_add(acks) }
                }
                None => Progress { step: Arc::clone(&start), acks: before },
            }
        }),
    }
}

/// Puts the volume's files in the place of the user's, for this thread and what it starts: nothing that is run can
/// reach the files themselves any more. A mount follows its inode, which every state has at the same number.
pub(super) fn stand_in(spec: &Spec, volume: &Path) -> Result<StandIns, Error> {
    let pairs = match &spec.volume {
        Some(dir) => vec![(volume.to_owned(), dir.clone())],
        None => spec.files().into_iter().map(|(name, path)| (volume.join(name), path)).collect(),
    };
    let mut done = StandIns::default();
    for (from, to) in pairs {
        mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|errno| Error::io(&to)(errno.into()))?;
        done.0.push(to);
    }
    Ok(done)
}

/// A folder to mount at: the fixed one where this process has mounts of its own, else one in the working area.
fn mount_point(work: &WorkDir, private: bool) -> Result<PathBuf, Error> {
    if private && std::fs::create_dir_all(PRIVATE_MOUNT).is_ok() {
        return Ok(PathBuf::from(PRIVATE_MOUNT));
    }
    Ok(work.subdir("seam")?)
}
