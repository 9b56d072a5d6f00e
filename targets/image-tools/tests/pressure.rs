//! Goal: the guard, the collector and a fork do what they promise on a disk that is really full. Method: an ext4 of 256 MiB on
//! a loop device, filled by images and, up to its last block, by ballast; what the commands say is compared with what the
//! file system says.
//!
//! Needs root, a loop device, e2fsprogs and `qemu-img`; where a case can't run it says so by name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use disk_guard::Space;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// Length of each image.
const IMAGE_BYTES: u64 = 16 * MIB;

/// What a case that can run does.
type Case = fn(&Home) -> Result<(), Failed>;

const CASES: &[(&str, Case)] = &[
    ("admit makes room on a full disk and the start goes ahead", admit_makes_room),
    ("admit refuses where nothing can be collected and deletes nothing", admit_refuses),
    ("gc frees on a disk without a free block what it says", gc_on_a_full_disk),
    ("starts that ask first never fill the disk", starts_that_ask),
    ("a fork that does not fit leaves nothing", fork_without_room),
];

fn main() {
    let lacking = [("mkfs.ext4", "-V", "e2fsprogs"), ("qemu-img", "--version", "qemu-utils")]
        .into_iter()
        .find(|(program, option, _)| Command::new(program).arg(option).output().is_err())
        .map(|(program, _, package)| format!("{program} is not installed (Debian package {package})"))
        .or((!nix::unistd::geteuid().is_root()).then(|| "a loop device needs root".to_owned()));
    let trials = CASES.iter().map(|(name, case)| {
        let lacking = lacking.clone();
        Trial::ignorable_test(*name, move || match lacking {
            Some(why) => Ok(Completion::ignored_with(why)),
            None => match Home::mount() {
                Some(home) => case(&home).map(|()| Completion::Completed),
                None => Ok(Completion::ignored_with("no ext4 can be mounted by a loop device here")),
            },
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// A home on a disk of its own; unmounted when it goes.
struct Home {
    mount: TempDir,
    _disk: TempDir,
}

impl Home {
    fn mount() -> Option<Self> {
        let (disk, mount) = (tempfile::tempdir().ok()?, tempfile::tempdir().ok()?);
        let path = disk.path().join("ext4.img");
        File::create(&path).ok()?.set_len(256 * MIB).ok()?;
        let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let made = done(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&path));
        if !made || !done(Command::new("mount").args(["-o", "loop"]).arg(&path).arg(mount.path())) {
            return None;
        }
        let home = Self { mount, _disk: disk };
        fs::create_dir_all(home.path("images/disk-images")).ok()?;
        fs::create_dir_all(home.path("boxes")).ok()?;
        Some(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    fn image(&self, name: &str) -> PathBuf {
        self.path("images/disk-images").join(format!("{name}.ext4"))
    }

    /// Names of the images that are there.
    fn images(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("images/disk-images")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    fn add_image(&self, name: &str, len_bytes: u64) -> io::Result<()> {
        let mut image = File::create(self.image(name))?;
        io::copy(&mut io::Read::take(io::repeat(7), len_bytes), &mut image)?;
        image.sync_all()
    }

    fn age(&self, name: &str) {
        let time = SystemTime::now() - Duration::from_secs(9000);
        File::options().append(true).open(self.image(name)).unwrap().set_modified(time).unwrap();
    }

    fn add_box(&self, name: &str, image: &str) {
        let disks = self.path("boxes").join(name).join("disks");
        fs::create_dir_all(&disks).unwrap();
        let made = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .args([&self.image(image), &disks.join("root.qcow2")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Six old images that nobody needs, one that a box needs, one that is young.
    fn populate(&self) {
        for number in 0..6 {
            self.add_image(&format!("orphan-{number}"), IMAGE_BYTES).unwrap();
            self.age(&format!("orphan-{number}"));
        }
        self.add_image("backed", IMAGE_BYTES).unwrap();
        self.add_box("one", "backed");
        self.age("backed");
        self.add_image("young", IMAGE_BYTES).unwrap();
    }

    /// Fills the disk until no more than this is free; with 0, until a write fails.
    fn fill(&self, leave_bytes: u64) {
        let mut ballast = File::options().create(true).append(true).open(self.path("ballast")).unwrap();
        let mut block = vec![1; MIB as usize];
        while self.free_bytes() > leave_bytes {
            if let Err(error) = ballast.write_all(&block).and_then(|()| ballast.sync_data()) {
                assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
                if block.len() <= 4096 {
                    return;
                }
                block.truncate(4096);
            }
        }
    }

    fn free_bytes(&self) -> u64 {
        Space::of(self.mount.path()).unwrap().free_bytes
    }

    fn run(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_image-tools"))
            .arg(command)
            .args(arguments)
            .arg(self.mount.path())
            .output()
            .unwrap();
        let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        (output.status.code(), text.concat())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.mount.path()).output();
    }
}

const FLOORS: [&str; 6] = ["--reject-below", "24M", "--warn-below", "24M", "--warn-below-percent", "0"];

fn admit_makes_room(home: &Home) -> Result<(), Failed> {
    home.populate();
    home.fill(8 * MIB);
    let before = home.free_bytes();
    let (code, text) = home.run("admit", &FLOORS);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(home.images(), ["backed.ext4", "young.ext4"]);
    assert!(home.free_bytes() - before >= 6 * IMAGE_BYTES, "{before} bytes before, {}", home.free_bytes());
    home.add_image("next", 24 * MIB)?;
    Ok(())
}

fn admit_refuses(home: &Home) -> Result<(), Failed> {
    home.populate();
    for number in 0..6 {
        home.add_box(&format!("box-{number}"), &format!("orphan-{number}"));
    }
    home.fill(8 * MIB);
    let (images, before) = (home.images(), home.free_bytes());
    let (code, text) = home.run("admit", &FLOORS);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is too full"), "{text}");
    assert_eq!((home.images(), home.free_bytes()), (images, before));
    Ok(())
}

fn gc_on_a_full_disk(home: &Home) -> Result<(), Failed> {
    home.populate();
    home.fill(0);
    let before = home.free_bytes();
    assert!(before < 4096, "{before} bytes are free");
    let (code, text) = home.run("gc", &["--format", "json"]);
    let said: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!((code, said["len_bytes"].as_u64()), (Some(0), Some(6 * IMAGE_BYTES)), "{text}");
    assert_eq!(home.images(), ["backed.ext4", "young.ext4"]);
    // What the files took, but for the blocks of their extents' index.
    let freed = home.free_bytes() - before;
    assert!((6 * IMAGE_BYTES..6 * IMAGE_BYTES + MIB).contains(&freed), "{freed} bytes");
    Ok(())
}

/// 40 boxes are started one after the other, each with an image of 8 MiB of its own, and live as long as the next four: 320
/// MiB pass through a disk of 256.
fn starts_that_ask(home: &Home) -> Result<(), Failed> {
    let mut lowest = u64::MAX;
    for number in 0..40_u32 {
        let name = format!("box-{number}");
        let (code, text) = home.run("admit", &[&FLOORS[..], &["--need", "8M"]].concat());
        assert_eq!(code, Some(0), "{name}: {text}");
        home.add_image(&name, 8 * MIB).map_err(|error| format!("{name}: {error}"))?;
        home.add_box(&name, &name);
        lowest = lowest.min(home.free_bytes());
        if let Some(done) = number.checked_sub(4) {
            fs::remove_dir_all(home.path("boxes").join(format!("box-{done}")))?;
            home.age(&format!("box-{done}"));
        }
    }
    // The box's own few blocks come on top of what was asked for.
    assert!(lowest > 23 * MIB, "{lowest} bytes were free at least");
    let images = home.images();
    assert!((36..40).all(|number| images.contains(&format!("box-{number}.ext4"))), "{images:?}");
    Ok(())
}

fn fork_without_room(home: &Home) -> Result<(), Failed> {
    let snapshot = home.path("vm");
    fs::create_dir(&snapshot)?;
    home.add_image("memory", 2 * IMAGE_BYTES)?;
    fs::rename(home.image("memory"), snapshot.join("memory"))?;
    home.fill(IMAGE_BYTES);
    let listed = |path: &Path| -> Result<Vec<_>, Failed> {
        let mut names: Vec<_> = fs::read_dir(path)?.map(|entry| entry.unwrap().file_name()).collect();
        names.sort_unstable();
        Ok(names)
    };
    let (names, before) = (listed(home.mount.path())?, home.free_bytes());
    let forked = Command::new(env!("CARGO_BIN_EXE_image-tools"))
        .arg("fork")
        .args([&snapshot, &home.path("fork")])
        .output()?;
    let said = String::from_utf8_lossy(&forked.stderr);
    assert_eq!(forked.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(listed(home.mount.path())?, names);
    assert!(before - home.free_bytes() < MIB, "{before} bytes before, {} after", home.free_bytes());
    assert_eq!(fs::metadata(snapshot.join("memory"))?.len(), 2 * IMAGE_BYTES);
    Ok(())
}
