//! Goal: a fork of a real virtual machine's snapshot lives a life of its own, and the snapshot stays what it was. Method: a
//! guest in standby is saved by QEMU (`mapped-ram`, so that each page has its place in the file), forked, restored, made to
//! remember something else, and its diff snapshot, the pages that changed, is written into the fork's memory file in place. A
//! fork by hard link, put through the same, shows that the snapshot's loss would be seen.
//!
//! Opt-in: KILLPOINT_TEST_QEMU names a `qemu-system-x86_64` of version 9.0 or later, KILLPOINT_TEST_KERNEL a Linux kernel
//! with a serial console, KILLPOINT_TEST_QEMU_DATA folders of QEMU's firmware (with `:` between them) where it is not
//! installed. The guest's program is built by gcc.

mod guest;
mod qemu;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use qemu::{Machine, Parts};
use tempfile::TempDir;

/// What a diff snapshot consists of.
const PAGE_BYTES: usize = 4096;

fn main() -> ExitCode {
    let trial = |name: &str, case: fn(&Bench) -> Result<(), Failed>| {
        Trial::ignorable_test(name, move || match Bench::new() {
            Ok(bench) => case(&bench).map(|()| Completion::Completed),
            Err(why) => Ok(Completion::ignored_with(why)),
        })
    };
    let trials = vec![
        trial("a_fork_of_a_virtual_machine_leaves_its_snapshot_alone", isolated),
        trial("a_fork_by_hard_link_loses_the_snapshot_of_a_virtual_machine", linked),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What machines are made of, and a folder for them.
struct Bench {
    dir: TempDir,
    parts: Parts,
}

impl Bench {
    fn new() -> Result<Self, String> {
        let named = |variable: &str| {
            env::var_os(variable).map(PathBuf::from).ok_or_else(|| format!("{variable} is not set"))
        };
        let data = env::var_os("KILLPOINT_TEST_QEMU_DATA").unwrap_or_default();
        let (qemu, kernel) = (named("KILLPOINT_TEST_QEMU")?, named("KILLPOINT_TEST_KERNEL")?);
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let initramfs = dir.path().join("initramfs");
        guest::initramfs(dir.path(), &initramfs)?;
        let data = env::split_paths(&data).filter(|path| !path.as_os_str().is_empty()).collect();
        Ok(Self { parts: Parts { qemu, data, kernel, initramfs }, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A snapshot in `vm` of a guest in standby, that remembers `source`; QEMU's socket is left there.
    fn snapshot(&self) {
        let dir = self.path("vm");
        fs::create_dir_all(dir.join("logs")).unwrap();
        fs::write(dir.join("config.json"), "{\"memory\": \"128M\"}").unwrap();
        let mut machine = Machine::boot(&self.parts, &dir);
        assert_eq!(machine.tell("set source"), "source");
        machine.save(&dir.join("memory"));
    }

    /// What the guest in a folder remembers.
    fn remembered(&self, name: &str) -> String {
        Machine::restore(&self.parts, &self.path(name)).tell("get")
    }

    /// Has the guest in a folder remember something else, and takes a diff snapshot. Answers how many pages of it differ,
    /// and of how many.
    fn change(&self, name: &str, text: &str) -> (usize, usize) {
        let (dir, new) = (self.path(name), self.path("memory.new"));
        let mut machine = Machine::restore(&self.parts, &dir);
        assert_eq!(machine.tell("get"), "source");
        assert_eq!(machine.tell(&format!("set {text}")), text);
        machine.save(&new);
        let (old, new) = (fs::read(dir.join("memory")).unwrap(), fs::read(new).unwrap());
        let memory = File::options().write(true).open(dir.join("memory")).unwrap();
        memory.set_len(new.len() as u64).unwrap();
        let mut differ = 0;
        for (number, page) in new.chunks(PAGE_BYTES).enumerate() {
            let at = number * PAGE_BYTES;
            if old.get(at..at + page.len()) != Some(page) {
                memory.write_all_at(page, at as u64).unwrap();
                differ += 1;
            }
        }
        memory.sync_all().unwrap();
        assert!(fs::read(dir.join("memory")).unwrap() == new, "a diff over its base is the whole");
        let used = new.chunks(PAGE_BYTES).filter(|page| page.iter().any(|byte| *byte != 0)).count();
        (differ, used)
    }
}

/// Inode, number of names and content of each file of a snapshot.
fn identities(dir: &Path) -> BTreeMap<String, (u64, u64, blake3::Hash)> {
    let files = ["memory", "config.json"].map(|name| {
        let (metadata, bytes) = (fs::metadata(dir.join(name)).unwrap(), fs::read(dir.join(name)).unwrap());
        (name.to_owned(), (metadata.ino(), metadata.nlink(), blake3::hash(&bytes)))
    });
    files.into()
}

fn isolated(bench: &Bench) -> Result<(), Failed> {
    bench.snapshot();
    let before = identities(&bench.path("vm"));
    let forked = Command::new(env!("CARGO_BIN_EXE_image-tools"))
        .arg("fork")
        .args([bench.path("vm"), bench.path("fork")])
        .output()?;
    assert!(forked.status.success(), "{}", String::from_utf8_lossy(&forked.stderr));
    let fork = identities(&bench.path("fork"));
    for (name, (ino, _, hash)) in &before {
        assert!(fork[name].0 != *ino && fork[name].1 == 1 && fork[name].2 == *hash, "{name}");
    }
    assert!(!bench.path("fork/qmp.sock").exists() && !bench.path("fork/logs").exists());

    let (differ, used) = bench.change("fork", "fork");
    assert!(differ > 0 && differ < used / 2, "a diff of {differ} pages, of {used}");
    assert_eq!(identities(&bench.path("vm")), before);
    assert_eq!(bench.remembered("fork"), "fork");
    fs::remove_dir_all(bench.path("fork"))?;
    assert_eq!(bench.remembered("vm"), "source");
    assert_eq!(identities(&bench.path("vm")), before);
    Ok(())
}

fn linked(bench: &Bench) -> Result<(), Failed> {
    bench.snapshot();
    let before = identities(&bench.path("vm"));
    fs::create_dir(bench.path("linked"))?;
    for name in before.keys() {
        fs::hard_link(bench.path("vm").join(name), bench.path("linked").join(name))?;
    }
    bench.change("linked", "linked");
    assert_ne!(identities(&bench.path("vm")), before);
    assert_eq!(bench.remembered("vm"), "linked");
    Ok(())
}
