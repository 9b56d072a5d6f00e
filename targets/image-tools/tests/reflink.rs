//! Forks on a file system that has reflinks, an XFS on a loop device: they share blocks until one side is written to, and
//! without reflinks every byte of data is there twice.
//!
//! Needs root, a loop device and xfsprogs; where it can't run it says so by name.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

/// Bytes of data in the snapshot.
const DATA_BYTES: u64 = 48 << 20;

fn main() {
    let lacking = if !nix::unistd::geteuid().is_root() {
        Some("a loop device needs root")
    } else if Command::new("mkfs.xfs").arg("-V").output().is_err() {
        Some("mkfs.xfs is not installed (Debian package xfsprogs)")
    } else {
        None
    };
    let trial = |name: &'static str, case: fn(&Xfs) -> Result<(), Failed>| {
        Trial::ignorable_test(name, move || match lacking {
            Some(why) => Ok(Completion::ignored_with(why)),
            None => match Xfs::mount() {
                Some(xfs) => case(&xfs).map(|()| Completion::Completed),
                None => Ok(Completion::ignored_with("no XFS can be mounted by a loop device here")),
            },
        })
    };
    let trials = vec![
        trial("with reflinks a fork takes no more than a tenth of its data", shares),
        trial("without reflinks a fork takes as much as its data", copies),
        trial("what is written to a reflinked fork stays out of the snapshot", isolated),
        trial("a fork on another file system is copied", across),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A mounted XFS of 512 MiB, and a snapshot in it.
struct Xfs {
    mount: TempDir,
    _image: TempDir,
}

impl Xfs {
    fn mount() -> Option<Self> {
        let (image, mount) = (tempfile::tempdir().ok()?, tempfile::tempdir().ok()?);
        let path = image.path().join("xfs.img");
        File::create(&path).ok()?.set_len(512 << 20).ok()?;
        let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let made = done(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&path));
        if !made || !done(Command::new("mount").args(["-o", "loop"]).arg(&path).arg(mount.path())) {
            return None;
        }
        let xfs = Self { mount, _image: image };
        fs::create_dir(xfs.path("vm")).ok()?;
        let mut memory = File::create(xfs.path("vm/memory")).ok()?;
        for page in 0..DATA_BYTES >> 20 {
            memory.write_all(&[page as u8 + 1; 1 << 20]).ok()?;
        }
        fs::write(xfs.path("vm/config"), "cpus = 2").ok()?;
        Some(xfs)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    /// Bytes that are taken, with everything on the disk.
    fn taken_bytes(&self) -> u64 {
        nix::unistd::syncfs(File::open(self.mount.path()).unwrap()).unwrap();
        let stat = statvfs(self.mount.path()).unwrap();
        (stat.blocks() - stat.blocks_free()) * stat.fragment_size()
    }

    /// Forks `vm`; answers what the command says and the bytes that the fork takes.
    fn fork(&self, to: &Path, arguments: &[&str]) -> (String, u64) {
        let before = self.taken_bytes();
        let output = Command::new(env!("CARGO_BIN_EXE_image-tools"))
            .args(["fork", "--format", "json"])
            .args(arguments)
            .args([&self.path("vm"), to])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), self.taken_bytes().saturating_sub(before))
    }

    fn is_forked(&self, to: &Path) {
        for name in ["memory", "config"] {
            assert!(
                fs::read(self.path("vm").join(name)).unwrap() == fs::read(to.join(name)).unwrap(),
                "{name}"
            );
        }
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.mount.path()).output();
    }
}

fn shares(xfs: &Xfs) -> Result<(), Failed> {
    let (said, taken) = xfs.fork(&xfs.path("fork"), &[]);
    xfs.is_forked(&xfs.path("fork"));
    assert!(said.contains("\"reflinked\":2"), "{said}");
    assert!(taken * 10 <= DATA_BYTES, "{taken} bytes");
    Ok(())
}

fn copies(xfs: &Xfs) -> Result<(), Failed> {
    let (said, taken) = xfs.fork(&xfs.path("fork"), &["--reflink", "never"]);
    xfs.is_forked(&xfs.path("fork"));
    assert!(said.contains("\"reflinked\":0"), "{said}");
    assert!(taken >= DATA_BYTES, "{taken} bytes");
    Ok(())
}

fn isolated(xfs: &Xfs) -> Result<(), Failed> {
    xfs.fork(&xfs.path("fork"), &[]);
    let (source, copy) = (xfs.path("vm/memory"), xfs.path("fork/memory"));
    let before = (fs::metadata(&source)?.ino(), fs::read(&source)?);
    File::options().write(true).open(&copy)?.write_all_at(&[0xee; 1 << 20], 5 << 20)?;
    assert!((fs::metadata(&source)?.ino(), fs::read(&source)?) == before);
    // And the other way round.
    File::options().write(true).open(&source)?.write_all_at(&[0xdd; 4096], 9 << 20)?;
    assert_eq!(fs::read(&copy)?[9 << 20], 10);
    fs::remove_dir_all(xfs.path("fork"))?;
    assert_eq!(fs::metadata(&source)?.nlink(), 1);
    Ok(())
}

fn across(xfs: &Xfs) -> Result<(), Failed> {
    let elsewhere = tempfile::tempdir()?;
    let (said, _) = xfs.fork(&elsewhere.path().join("fork"), &[]);
    xfs.is_forked(&elsewhere.path().join("fork"));
    assert!(said.contains("\"reflinked\":0"), "{said}");
    Ok(())
}
