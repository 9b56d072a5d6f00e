//! What the tests of the FUSE seam share: a mount in a folder of its own, wirings, and tools run on it.
//!
//! These tests need `/dev/fuse` and root (or `fusermount3`); without, they fail with what is missing.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fault_backend::fuse::{Recorded, Run, Seam, SeamOptions, Slot, Wiring};
use fault_backend::oplog::Progress;
use fault_backend::volume::NodeKind;
use fault_backend::{Image, OpKind, Replay, Volume};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A seam in a temporary folder. The folder goes after the mount.
pub struct Mount {
    pub seam: Seam,
    _dir: TempDir,
}

impl Mount {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let seam = Seam::mount(dir.path(), &SeamOptions { cpu: None })
            .unwrap_or_else(|error| panic!("this test needs a FUSE mount: {error}: {error:?}"));
        Self { seam, _dir: dir }
    }

    pub fn work(&self) -> PathBuf {
        self.seam.path(Slot::Work)
    }

    /// Runs a closure as the tool: begun with a volume, a plan, and wiring that counts.
    pub fn record(&self, start: &Volume, plan: &str, tool: impl FnOnce(&Path)) -> (Recorded, Calls) {
        let calls = Calls::default();
        self.seam.load(Slot::Work, start.clone());
        self.seam.begin(Run { plan: plan.parse().unwrap(), ..Run::new(calls.wiring()) });
        tool(&self.work());
        (self.seam.end().unwrap(), calls)
    }

    /// Runs a program with the slot as its folder; the plan's kills go to its process group.
    pub fn run(
        &self,
        start: &Volume,
        run: impl FnOnce(Wiring) -> Run,
        tool: &mut Command,
    ) -> (Recorded, ExitStatus) {
        self.seam.load(Slot::Work, start.clone());
        let group = Arc::new(AtomicI32::new(0));
        self.seam.begin(run(group_wiring(&group)));
        // A kill waits until the group is known.
        let mut child = spawn(tool.current_dir(self.work()));
        group.store(child.id() as i32, Ordering::SeqCst);
        let status = child.wait().unwrap();
        (self.seam.end().unwrap(), status)
    }
}

/// Starts a tool in a process group of its own, with a clean environment and fixed clocks.
pub fn spawn(tool: &mut Command) -> Child {
    let name = tool.get_program().to_owned();
    tool.env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("E2FSPROGS_FAKE_TIME", "1600000000")
        .env("E2FSCK_TIME", "1600000000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs {}: {error}", name.display()))
}

/// A tool as a shell script.
pub fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-euc").arg(script);
    command
}

/// A tool as a Python script.
pub fn python(script: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-c").arg(script);
    command
}

/// A wiring whose kill goes to a process group, once its number is known.
pub fn group_wiring(group: &Arc<AtomicI32>) -> Wiring {
    let send = |signal: Signal| {
        let group = group.clone();
        move || {
            while group.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            // A tool that has ended meanwhile needs no signal.
            let _ = killpg(Pid::from_raw(group.load(Ordering::SeqCst)), signal);
        }
    };
    let terminate = send(Signal::SIGTERM);
    Wiring {
        kill: Arc::new(send(Signal::SIGKILL)),
        signal: Arc::new(move |_| terminate()),
        progress: Arc::new(|| Progress::in_step("")),
    }
}

/// How often the seam called its supervisor.
#[derive(Clone, Default)]
pub struct Calls {
    pub kills: Arc<AtomicU64>,
    pub signals: Arc<Mutex<Vec<i32>>>,
    pub steps: Arc<Mutex<Vec<Arc<str>>>>,
    /// How often the step was asked for: once for each op.
    pub asked: Arc<AtomicU64>,
}

impl Calls {
    pub fn kills(&self) -> u64 {
        self.kills.load(Ordering::SeqCst)
    }

    /// The step is the last one in `steps`.
    pub fn wiring(&self) -> Wiring {
        let Self { kills, signals, steps, asked } = self.clone();
        Wiring {
            kill: Arc::new(move || {
                kills.fetch_add(1, Ordering::SeqCst);
            }),
            signal: Arc::new(move |signal| signals.lock().unwrap().push(signal)),
            progress: Arc::new(move || {
                asked.fetch_add(1, Ordering::SeqCst);
                let step = steps.lock().unwrap().last().cloned();
                Progress::in_step(step.unwrap_or_else(|| "".into()))
            }),
        }
    }
}

/// A volume with one file.
pub fn with_file(name: &str, content: &[u8]) -> Volume {
    let mut image = Image::new(0);
    image.write_at(0, content).unwrap();
    with_image(name, image)
}

/// A volume with one file of zeros.
pub fn with_disk(name: &str, len_bytes: u64) -> Volume {
    with_image(name, Image::new(len_bytes))
}

pub fn with_image(name: &str, image: Image) -> Volume {
    let mut volume = Volume::new();
    volume.insert_file(name.as_ref(), image).unwrap();
    volume
}

/// The bytes of a file of a volume.
pub fn bytes(volume: &Volume, path: &str) -> Vec<u8> {
    let image = volume.file(path.as_ref()).unwrap_or_else(|| panic!("no file {path}"));
    let mut bytes = vec![0; image.len_bytes() as usize];
    assert_eq!(image.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

/// The ops, each as a short text.
pub fn texts(recorded: &Recorded) -> Vec<String> {
    let text = |op: &fault_backend::Op| {
        let path = op.path.as_ref().map_or("-".into(), |path| path.display().to_string());
        let what = match &op.kind {
            OpKind::Flush { data_only, .. } => if *data_only { "fdatasync" } else { "fsync" }.to_owned(),
            OpKind::Mutation(mutation) => {
                let name = format!("{mutation:?}");
                let name = name.split([' ', '(']).next().unwrap().to_lowercase();
                match mutation.range() {
                    Some(range) => format!("{name} {}+{}", range.start, range.end - range.start),
                    None => name,
                }
            }
        };
        let flags = [(op.fua, " fua"), (op.cached, " cached")];
        let flags: String = flags.iter().filter(|(on, _)| *on).map(|(_, text)| *text).collect();
        format!("{what} {path}{flags}")
    };
    recorded.log.ops.iter().map(text).collect()
}

/// Checks that replaying the whole log gives the recorded end.
pub fn assert_replays(start: &Volume, recorded: &Recorded) {
    let replayed = Replay::new(start.clone(), &recorded.log).state_after(recorded.log.len()).unwrap();
    assert_same(&replayed, &recorded.volume, "replay of the whole log");
}

/// Checks that two volumes have one content, and shows where they differ.
pub fn assert_same(a: &Volume, b: &Volume, what: &str) {
    if a.content_id() != b.content_id() {
        panic!("{what}: {:#?}", a.diff(b).unwrap());
    }
}

/// Names in the root of a volume.
pub fn names(volume: &Volume) -> Vec<String> {
    volume.entries(fault_backend::Ino::ROOT).unwrap().keys().map(|name| name.display().to_string()).collect()
}

/// Whether a file of the volume is a regular one.
pub fn is_file(volume: &Volume, path: &str) -> bool {
    let node = volume.resolve(path.as_ref()).and_then(|ino| volume.node(ino));
    node.is_some_and(|node| matches!(node.kind, NodeKind::File(_)))
}

/// Lines of the mount table that name a path.
pub fn mounts_at(path: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.split(' ').nth(4).map(OsStr::new) == Some(path.as_os_str())).count()
}

/// The error number that a call answered.
pub fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Errno {
    Errno::from_raw(result.unwrap_err().raw_os_error().unwrap())
}

/// Opens for reading and writing.
pub fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Makes a file that was not there.
pub fn create(path: &Path, content: &[u8]) -> File {
    let mut file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    file.write_all(content).unwrap();
    file
}
