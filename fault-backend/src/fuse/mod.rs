//! The FUSE seam: a mount whose files are [`Volume`]s, so that every change a tool makes to them is one op, in order,
//! that can be recorded, delayed, torn, refused, or be the last.
//!
//! The root of the mount holds one folder for each [`Slot`]. The tool under test runs in `work`; oracles look at
//! private clones in the others. A mount is kept for many runs: [`Seam::load`] puts another volume in place at once.
//! One thread answers all requests, and the kernel caches no name and no attribute, so ops have one order and a
//! reload is seen at once. What is promised: after a kill (by the plan, or by [`Seam::freeze`]) nothing arrives any
//! more, whatever a leftover process or a dirty page tries; and no request stays without an answer.
//!
//! ```no_run
//! # use fault_backend::{fuse::*, volume::Volume};
//! # fn run(wiring: Wiring, disk: Volume) -> Result<(), MountError> {
//! let seam = Seam::mount("/run/seam".as_ref(), &SeamOptions { cpu: Some(0) })?;
//! seam.load(Slot::Work, disk);
//! seam.begin(Run { plan: "b7".parse().unwrap(), ..Run::new(wiring) });
//! // … run the tool in seam.path(Slot::Work) until it ends …
//! let recorded = seam.end().unwrap();
//! assert_eq!((recorded.frozen, recorded.log.len()), (true, 7));
//! # Ok(()) }
//! ```

mod attr;
mod folders;
mod handlers;
mod mount;
mod names;
mod replies;
mod run;
mod server;
mod slot;
mod state;
mod verdict;
mod xattrs;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::INodeNo;
use nix::errno::Errno;

use crate::fault::FaultPlan;
use crate::footprint::Footprint;
use crate::oplog::{OpLog, Progress};
use crate::volume::Volume;

pub use mount::MountError;
pub use slot::Slot;

use mount::Mounted;
use run::{Caller, Change, Shared};
use state::Active;

/// How a seam is mounted.
#[derive(Clone, Debug, Default)]
pub struct SeamOptions {
    /// The CPU that the server is bound to, counted from 0. A tool that is bound to the same one gets its answers
    /// several times faster, since no other CPU has to be woken.
    pub cpu: Option<usize>,
}

/// What the seam calls in the supervisor of a run. The closures are called from the server's thread, never while the
/// seam's state is locked: they may use the seam, but must not wait for the tool.
#[derive(Clone)]
pub struct Wiring {
    /// Sends SIGKILL to the whole tool, at once, without waiting for its end.
    pub kill: Arc<dyn Fn() + Send + Sync>,
    /// Sends another signal to the tool.
    pub signal: Arc<dyn Fn(i32) + Send + Sync>,
    /// Reads what the tool has printed so far and says how far it has come. Called before each op gets its number, so
    /// that a mark or an acknowledgement printed before a write precedes it in the log.
    pub progress: Arc<dyn Fn() -> Progress + Send + Sync>,
}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wiring { .. }")
    }
}

/// One run of a tool on [`Slot::Work`].
#[derive(Clone, Debug)]
pub struct Run {
    /// What goes wrong.
    pub plan: FaultPlan,
    /// The supervisor's side.
    pub wiring: Wiring,
    /// Memory in bytes that the volume may hold beyond its base files; what would need more answers ENOSPC, and
    /// `statfs` says the same. None: no limit.
    pub limit_bytes: Option<u64>,
    /// Bytes that the log may hold. A run that writes more goes on, but its log ends there
    /// ([`Recorded::log_cut`]). None: no limit.
    pub log_limit_bytes: Option<u64>,
    /// Whether ops are written to the log. They are counted in any case.
    pub record: bool,
    /// Sector size in bytes of the disk that the plan's regions refer to.
    pub sector_bytes: u32,
    /// That disk, as a path relative to the volume's root. None: no region fits.
    pub disk: Option<PathBuf>,
    /// The tool's files go through the page cache, which saves requests for reads. Writes arrive whole and in order, but
    /// may be cut into requests otherwise, so that numbers of ops mean nothing: for a run of which only the end counts.
    pub page_cache: bool,
    /// A directory, as a path relative to the volume's root: what the tool asks about its entries is noted.
    pub watch: Option<PathBuf>,
    /// Whether it is noted what the tool reads and overwrites.
    pub trace: bool,
}

/// What a tool asked about the entries of a directory, as they were when the run began. A run would have done the same
/// with others, where those that it asked for have the same names and kinds and it asked no more of them: free space,
/// inode numbers and the directory's own attributes aside. (Removing a file, or replacing it, asks no more of it.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glances {
    /// It read the list of names.
    pub listed: bool,
    /// Names that it looked up, whether they were there or not.
    pub names: BTreeSet<OsString>,
    /// It asked one of the entries, or something below one, for more than its name: its content, its attributes.
    pub touched: bool,
}

impl Run {
    /// A recorded run without faults and limits, with sectors of 512 bytes and no disk.
    pub fn new(wiring: Wiring) -> Self {
        Self {
            plan: FaultPlan::default(),
            wiring,
            limit_bytes: None,
            log_limit_bytes: None,
            record: true,
            sector_bytes: 512,
            disk: None,
            page_cache: false,
            watch: None,
            trace: false,
        }
    }
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The volume at the end, without files that had lost their names.
    pub volume: Volume,
    /// The ops; empty where the run was not recorded.
    pub log: OpLog,
    /// Number of ops, recorded or not. The op at which the run was cut is one of them.
    pub ops: u64,
    /// How often each fault of the plan fired, in the plan's order.
    pub fired: Vec<u64>,
    /// Whether the run was cut, by its plan or by [`Seam::freeze`]: what came later was refused.
    pub frozen: bool,
    /// Changes that were refused because the run had been cut.
    pub refused_late: u64,
    /// Pages of a writable shared mapping were written. Their time is the kernel's choice, and after a kill they
    /// would survive: crash states of such a run are not measured by a prefix of its ops.
    pub mapped: bool,
    /// Files without a name that were still open at the end, and are gone with it.
    pub orphans_dropped: usize,
    /// The log ends before the run does, at [`Run::log_limit_bytes`].
    pub log_cut: bool,
    /// A request made the server fail (a defect of this crate): the run says nothing.
    pub broken: bool,
    /// What the tool asked about the directory in [`Run::watch`].
    pub glances: Glances,
    /// What the tool read and overwrote, where [`Run::trace`] asks for it. Of what goes through the page cache more counts
    /// as read than was. None where memory was shared with a file, which nobody sees.
    pub footprint: Option<Footprint>,
}

/// A mounted seam. Dropping it unmounts, whatever is still open there.
#[derive(Debug)]
pub struct Seam {
    shared: Arc<Shared>,
    mounted: Mounted,
}

impl Seam {
    /// Mounts at an existing folder. As root everybody may use the mount; else only this user, through `fusermount3`.
    /// Modes and owners are checked by the kernel; devices and set-user-id bits don't work in it.
    ///
    /// # Errors
    /// Says what this machine lacks.
    pub fn mount(at: &Path, options: &SeamOptions) -> Result<Self, MountError> {
        let shared = Arc::new(Shared::new());
        let mounted = Mounted::new(at, options.cpu, server::Server::new(shared.clone()))?;
        Ok(Self { shared, mounted })
    }

    /// The mount point, absolute.
    pub fn root(&self) -> &Path {
        self.mounted.at()
    }

    /// The folder of a slot, absolute.
    pub fn path(&self, slot: Slot) -> PathBuf {
        self.root().join(slot.name())
    }

    /// Whether shared mappings of files work (Linux 6.6 and later); `mmap` answers ENODEV otherwise.
    pub fn maps(&self) -> bool {
        self.shared.lock().maps
    }

    /// Puts a volume into a slot. Files that are still open from before answer ESTALE from now on; a bind mount of a
    /// file shows the new volume's file with the same inode number.
    pub fn load(&self, slot: Slot, volume: Volume) {
        // Old pages must go before the new content is there: dirty ones are written back by this, and refused.
        let cached = self.shared.lock().close(slot);
        if let Some(notifier) = self.mounted.notifier() {
            for ino in cached {
                // An inode that the kernel has forgotten needs nothing.
                let _ = notifier.inval_inode(INodeNo(slot.node_id(ino)), 0, 0);
            }
        }
        let tainted = self.shared.lock().content(slot).tainted_paths();
        for path in tainted {
            // A failed sync takes the kernel's memory of refused pages away; the next run must not get it.
            let _ = File::open(self.path(slot).join(path)).and_then(|file| file.sync_all());
        }
        self.shared.lock().load(slot, volume);
    }

    /// The content of a slot as it is now, without files that have lost their names.
    pub fn take(&self, slot: Slot) -> Volume {
        let mut volume = self.shared.lock().content(slot).volume.clone();
        volume.drop_orphans();
        volume
    }

    /// Begins a run on [`Slot::Work`]: its changes are counted and recorded, and the plan holds. A run that has not
    /// been ended is forgotten.
    pub fn begin(&self, run: Run) {
        self.shared.lock().begin(Active::new(run));
    }

    /// The tool called `sync` or `syncfs`, which don't reach a FUSE server: counts as a flush of everything, which
    /// faults can hit. Without a run, it does nothing.
    ///
    /// # Errors
    /// The error that a fault made of it; EIO once the run is cut.
    pub fn barrier(&self, pid: i32) -> Result<(), Errno> {
        if self.shared.lock().run.is_none() {
            return Ok(());
        }
        let caller = Caller { pid: u32::try_from(pid).unwrap_or_default(), ..Caller::default() };
        let flush = Change::Flush { ino: None, data_only: false };
        self.shared.change(caller, Slot::Work, flush).map(drop)
    }

    /// Cuts the run from outside. Once this returns, no change arrives any more; what waits in a delay ends. A change that
    /// comes later has the tool killed before it is answered.
    pub fn freeze(&self) {
        self.shared.freeze();
    }

    /// Ends the run, after the tool's end, and says what it did; none where there was no run. The slot keeps its
    /// content, but takes no more changes until the next [`Seam::load`] or [`Seam::begin`].
    pub fn end(&self) -> Option<Recorded> {
        self.shared.end()
    }
}
