//! A fork is the whole snapshot or nothing, shares nothing with it, and is made by whoever is run last.
//!
//! Method: the command is run on small snapshots; what it leaves is compared by name, kind, mode and bytes, and the source
//! by inode and bytes. A disk that fails is had by system calls that answer so.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image_tools::copy::{Calls, Kernel, Reflink};
use image_tools::fork::{ForkError, fork};
use image_tools::skip::Skips;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

/// A snapshot `vm` in a folder of its own, with some of everything.
struct Bench {
    dir: TempDir,
    _socket: UnixListener,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join("vm").join(name);
        for name in ["logs", "state/logs", "disks"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        for (name, text) in [
            ("memory", "guest memory"),
            ("disks/root.qcow2", "a disk"),
            ("state/config.json", "{}"),
            ("state/logs/kept.log", "inner"),
            ("logs/vm.log", "noise"),
            ("memory.lz4.tmp", "half"),
            ("state/a.zst.tmp", "half"),
            ("empty", ""),
        ] {
            fs::write(path(name), text).unwrap();
        }
        fs::set_permissions(path("state/config.json"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::set_permissions(path("state"), fs::Permissions::from_mode(0o2710)).unwrap();
        symlink("memory", path("current")).unwrap();
        symlink("/nonexistent", path("state/dangling")).unwrap();
        let socket = UnixListener::bind(path("api.sock")).unwrap();
        Self { dir, _socket: socket }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_image-tools"))
            .current_dir(self.dir.path())
            .args(["fork", "vm", "copy"])
            .args(arguments)
            .output()
            .unwrap()
    }

    fn names(&self) -> Vec<String> {
        names(self.dir.path())
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Mode, and bytes or a link's target, of everything below a folder.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (u32, String)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "folder".to_owned()
        } else if metadata.is_file() {
            String::from_utf8(fs::read(&path).unwrap()).unwrap()
        } else {
            "other".to_owned()
        };
        found.insert(path.strip_prefix(dir).unwrap().to_owned(), (metadata.mode() & 0o7777, content));
    }
    found
}

/// What never changes about a source: inode, number of names, and content.
fn identities(dir: &Path) -> BTreeMap<PathBuf, (u64, u64, String)> {
    let ids = |path: &PathBuf| {
        let metadata = fs::symlink_metadata(dir.join(path)).unwrap();
        (metadata.ino(), metadata.nlink())
    };
    let of = |(path, (_, content)): (PathBuf, (u32, String))| {
        let (ino, nlink) = ids(&path);
        (path, (ino, nlink, content))
    };
    tree(dir).into_iter().map(of).collect()
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[test]
fn a_fork_is_the_snapshot_without_what_its_manager_keeps_there() {
    let bench = Bench::new();
    let before = identities(&bench.path("vm"));
    let output = bench.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let mut wanted = tree(&bench.path("vm"));
    for left_out in ["logs", "logs/vm.log", "memory.lz4.tmp", "state/a.zst.tmp", "api.sock"] {
        assert!(wanted.remove(Path::new(left_out)).is_some(), "{left_out}");
    }
    assert_eq!(tree(&bench.path("copy")), wanted);
    assert_eq!(identities(&bench.path("vm")), before, "the source is as it was, with no name more");
    assert_eq!(bench.names(), ["copy", "vm"]);
}

#[test]
fn what_the_caller_names_is_left_out_too() {
    let bench = Bench::new();
    fs::write(bench.path("list"), "# not these\r\ndisks\r\n\r\nstate/config.json\r\n").unwrap();
    let output = bench.run(&["--skip", "./current", "--skip-from", "list", "--skip", "not-there"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let left: Vec<PathBuf> = tree(&bench.path("copy")).into_keys().collect();
    let wanted = ["", "empty", "memory", "state", "state/dangling", "state/logs", "state/logs/kept.log"];
    assert_eq!(left, wanted.map(PathBuf::from));
    // A list that names nothing.
    fs::write(bench.path("list"), "# nothing\r\n").unwrap();
    fs::remove_dir_all(bench.path("copy")).unwrap();
    let output = bench.run(&["--skip-from", "list"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(!bench.path("copy").exists());
}

#[test]
fn what_asks_for_the_impossible_is_exit_2_and_makes_nothing() {
    type Prepare = fn(&Bench);
    let cases: &[(&str, Prepare, &[&str])] = &[
        (
            "a pipe",
            |b| nix::unistd::mkfifo(&b.path("vm/disks/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap(),
            &[],
        ),
        ("no snapshot", |b| fs::rename(b.path("vm"), b.path("vm-2")).unwrap(), &[]),
        ("an empty directory in the fork's place", |b| fs::create_dir(b.path("copy")).unwrap(), &[]),
        ("a file in the fork's place", |b| fs::write(b.path("copy"), "x").unwrap(), &[]),
        ("a link in the fork's place", |b| symlink("vm", b.path("copy")).unwrap(), &[]),
        ("a path outside", |_| {}, &["--skip", "../vm"]),
    ];
    for (what, prepare, arguments) in cases {
        let bench = Bench::new();
        prepare(&bench);
        let before = tree(bench.dir.path());
        let output = bench.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{what}: {}", text(&output));
        assert_eq!(tree(bench.dir.path()), before, "{what}");
    }
    let bench = Bench::new();
    let output = Command::new(env!("CARGO_BIN_EXE_image-tools"))
        .current_dir(bench.dir.path())
        .args(["fork", "vm", "vm/disks/copy"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "inside its own source: {}", text(&output));
}

#[test]
fn a_fork_that_is_there_is_a_success_and_one_that_was_used_is_not() {
    let bench = Bench::new();
    assert_eq!(bench.run(&[]).status.code(), Some(0));
    let before = identities(&bench.path("copy"));
    let output = bench.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("there already"), "{}", text(&output));
    assert_eq!(identities(&bench.path("copy")), before, "nothing is made again");
    // Other options would make another fork.
    assert_eq!(bench.run(&["--skip", "memory"]).status.code(), Some(2));
    type Use = fn(&Path);
    let uses: &[(&str, Use)] = &[
        ("written to", |copy| fs::write(copy.join("memory"), "guest memorY").unwrap()),
        ("longer", |copy| fs::write(copy.join("memory"), "guest memory!").unwrap()),
        ("a file more", |copy| fs::write(copy.join("zzz"), "").unwrap()),
        ("a file less", |copy| fs::remove_file(copy.join("empty")).unwrap()),
        ("a socket", |copy| drop(UnixListener::bind(copy.join("api.sock")).unwrap())),
        ("another mode", |copy| {
            fs::set_permissions(copy.join("memory"), fs::Permissions::from_mode(0o600)).unwrap();
        }),
        ("another target", |copy| {
            fs::remove_file(copy.join("current")).unwrap();
            symlink("empty", copy.join("current")).unwrap();
        }),
        ("logs of its own", |copy| fs::create_dir(copy.join("logs")).unwrap()),
    ];
    for (what, use_it) in uses {
        let bench = Bench::new();
        assert_eq!(bench.run(&[]).status.code(), Some(0));
        use_it(&bench.path("copy"));
        let before = identities(&bench.path("copy"));
        let output = bench.run(&[]);
        assert_eq!(output.status.code(), Some(2), "{what}: {}", text(&output));
        assert_eq!(identities(&bench.path("copy")), before, "{what}: nothing is touched");
    }
}

#[test]
fn what_a_killed_run_left_is_cleared_and_what_a_living_one_makes_is_not() {
    let bench = Bench::new();
    let left = bench.path(".copy.fork-tmp");
    fs::create_dir_all(left.join("state")).unwrap();
    fs::write(left.join("state/memory"), "half").unwrap();
    // Somebody is at work there.
    let lock = Flock::lock(File::open(&left).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    let output = bench.run(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(left.join("state/memory").exists() && !bench.path("copy").exists());
    drop(lock);
    let output = bench.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(bench.names(), ["copy", "vm"]);
    assert!(!bench.path("copy/state/memory").exists());
}

/// The kernel, but that writing fails from the n-th time on.
struct Full(u32, Errno);

impl Calls for Full {
    fn clone_file(&mut self, _: &File, _: &File) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    fn seek_data(&mut self, file: &File, offset: u64) -> Result<u64, Errno> {
        Kernel.seek_data(file, offset)
    }
    fn seek_hole(&mut self, file: &File, offset: u64) -> Result<u64, Errno> {
        Kernel.seek_hole(file, offset)
    }
    fn read_at(&mut self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        Kernel.read_at(file, bytes, offset)
    }
    fn write_at(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.0.checked_sub(1) {
            None => Err(self.1.into()),
            Some(left) => {
                self.0 = left;
                Kernel.write_at(file, bytes, offset)
            }
        }
    }
}

#[test]
fn a_fork_that_fails_halfway_leaves_nothing_and_its_errno() {
    for errno in [Errno::EIO, Errno::ENOSPC] {
        for writes in 0..4 {
            let bench = Bench::new();
            let before = identities(&bench.path("vm"));
            let mut reflink = Reflink::with_calls(Full(writes, errno), true);
            let error = fork(&bench.path("vm"), &bench.path("copy"), &Skips::default(), &mut reflink);
            let Err(ForkError::Copy(error)) = error else { panic!("{error:?}") };
            assert_eq!(error.source.raw_os_error(), Some(errno as i32));
            assert_eq!(bench.names(), ["vm"], "after {writes} writes");
            assert_eq!(identities(&bench.path("vm")), before);
        }
    }
}
