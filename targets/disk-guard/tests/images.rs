//! The collector deletes exactly the old images that nothing needs, and nothing at all where it can't be sure.
//!
//! Method: homes with images of known sizes and ages, overlays made by `qemu-img`; the tree before and after is compared
//! by name. Real pressure is had on a small ext4 on a loop device. What can't run here is reported by name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use disk_guard::images::{CollectError, Collected, Collector, GRACE};
use disk_guard::{Floors, Space, Verdict, admit};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tempfile::TempDir;

/// What a case that can run does.
type Case = fn() -> Result<(), Failed>;

const CASES: &[(&str, Case)] = &[
    ("exactly the old images that nothing needs go, with totals to the byte", exact),
    ("an image as old as the grace stays and one a second older goes", grace),
    ("every image of a deep chain stays, and one that a data file is", deep),
    ("one unreadable chain keeps everything", fails_closed),
    ("what is no image of the home stays", nothing_else),
    ("an image folder that leads out of the home is an error", leads_out),
    ("a folder that is no home is an error", no_home),
];

fn main() {
    let no_qemu = (!works("qemu-img")).then_some("qemu-img is not installed (Debian package qemu-utils)");
    let no_root = (!nix::unistd::geteuid().is_root()).then_some("a loop device needs root");
    let no_mkfs = (!works("mkfs.ext4")).then_some("mkfs.ext4 is not installed (Debian package e2fsprogs)");
    let case = |name: &'static str, lacking: Option<&'static str>, case: Case| {
        Trial::ignorable_test(name, move || match lacking {
            Some(why) => Ok(Completion::ignored_with(why)),
            None => case().map(|()| Completion::Completed),
        })
    };
    let mut trials: Vec<Trial> = CASES.iter().map(|(name, run)| case(name, no_qemu, *run)).collect();
    trials.push(case("on a full ext4 the collector makes room", no_qemu.or(no_root).or(no_mkfs), pressure));
    let name = "an image that cannot be deleted is an error that tells what was done";
    trials.push(Trial::ignorable_test(name, move || match no_root {
        Some(why) => Ok(Completion::ignored_with(why)),
        None => undeletable(),
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn works(program: &str) -> bool {
    Command::new(program).arg("-V").output().is_ok()
}

fn run(program: &str, dir: &Path, arguments: &[&str]) {
    let output = Command::new(program).current_dir(dir).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The time that ages count from.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// A home, in a folder of its own or on a mount.
struct Home {
    path: PathBuf,
    _dir: Option<TempDir>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Self { path: dir.path().to_owned(), _dir: Some(dir) };
        home.make();
        home
    }

    fn make(&self) {
        fs::create_dir_all(self.path("images/disk-images")).unwrap();
        fs::create_dir_all(self.path("boxes")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// An image of so many bytes, last changed so many seconds ago.
    fn image(&self, name: &str, len_bytes: usize, age_s: u64) -> PathBuf {
        let path = self.path("images/disk-images").join(name);
        fs::write(&path, vec![7; len_bytes]).unwrap();
        let time = now() - Duration::from_secs(age_s);
        File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        path
    }

    /// An overlay in a box on an image, or on any other name.
    fn overlay(&self, of_box: &str, name: &str, backing: &str, format: &str) -> PathBuf {
        let disks = self.path("boxes").join(of_box).join("disks");
        fs::create_dir_all(&disks).unwrap();
        run("qemu-img", &disks, &["create", "-q", "-f", "qcow2", "-b", backing, "-F", format, name]);
        disks.join(name)
    }

    fn collector(&self) -> Collector {
        Collector { now: now(), ..Collector::new(&self.path) }
    }

    fn collect(&self) -> Collected {
        self.collector().collect().unwrap()
    }

    /// Every name below the home.
    fn tree(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![self.path.clone()];
        while let Some(dir) = waiting.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    waiting.push(entry.path());
                }
                found.insert(entry.path());
            }
        }
        found
    }
}

fn deleted(collected: &Collected) -> Vec<&str> {
    collected.deleted.iter().map(|image| image.path.file_name().unwrap().to_str().unwrap()).collect()
}

fn exact() -> Result<(), Failed> {
    let home = Home::new();
    for number in 0..30 {
        home.image(&format!("orphan-{number:02}.ext4"), 1000 + number, 3600);
    }
    for number in 0..8 {
        home.image(&format!("fresh-{number}.ext4"), 10, 30);
    }
    for number in 0..5 {
        home.image(&format!("backed-{number}.ext4"), 512, 3600);
        let of_box = format!("box-{number}");
        home.overlay(
            &of_box,
            "root.qcow2",
            &format!("../../../images/disk-images/backed-{number}.ext4"),
            "raw",
        );
    }
    let before = home.tree();
    let dry = Collector { dry_run: true, ..home.collector() }.collect()?;
    assert_eq!(home.tree(), before, "a dry run deletes nothing");
    let collected = home.collect();
    assert_eq!(collected.deleted, dry.deleted, "a dry run finds the same");
    let wanted: Vec<String> = (0..30).map(|number| format!("orphan-{number:02}.ext4")).collect();
    assert_eq!(deleted(&collected), wanted);
    assert_eq!(collected.len_bytes(), (0..30).map(|number| 1000 + number).sum::<u64>());
    assert_eq!(collected.allocated_bytes(), 30 * 4096);
    assert_eq!((collected.pinned, collected.young, collected.changed), (5, 8, 0));
    let gone: BTreeSet<PathBuf> =
        wanted.iter().map(|name| home.path("images/disk-images").join(name)).collect();
    assert_eq!(before.difference(&home.tree()).cloned().collect::<BTreeSet<_>>(), gone);
    let again = home.collect();
    assert_eq!((deleted(&again).len(), again.pinned, again.young), (0, 5, 8), "a second pass finds nothing");
    Ok(())
}

fn grace() -> Result<(), Failed> {
    let home = Home::new();
    let grace_s = GRACE.as_secs();
    home.image("at.ext4", 1, grace_s);
    home.image("older.ext4", 1, grace_s + 1);
    home.image("younger.ext4", 1, grace_s - 1);
    let future = home.image("future.ext4", 1, 0);
    File::options().append(true).open(&future)?.set_modified(now() + Duration::from_secs(90_000))?;
    assert_eq!(deleted(&home.collect()), ["older.ext4"]);
    Ok(())
}

fn deep() -> Result<(), Failed> {
    let home = Home::new();
    for name in ["base.ext4", "mid.ext4", "data.ext4", "orphan.ext4"] {
        home.image(name, 4096, 3600);
    }
    // The image in the middle is a qcow2 by content, whatever its name.
    let images = home.path("images/disk-images");
    run("qemu-img", &images, &["create", "-q", "-f", "qcow2", "-b", "base.ext4", "-F", "raw", "mid.ext4"]);
    let old = now() - Duration::from_secs(3600);
    File::options().append(true).open(images.join("mid.ext4"))?.set_modified(old)?;
    home.overlay("a", "lower.qcow2", "../../../images/disk-images/mid.ext4", "qcow2");
    home.overlay("a", "upper.qcow2", "lower.qcow2", "qcow2");
    let disks = home.path("boxes/a/disks");
    let option = format!("data_file={}", images.join("data.ext4").display());
    run("qemu-img", &disks, &["create", "-q", "-f", "qcow2", "-o", &option, "with-data.qcow2", "4096"]);
    File::options().append(true).open(images.join("data.ext4"))?.set_modified(old)?;
    assert_eq!(deleted(&home.collect()), ["orphan.ext4"]);
    Ok(())
}

fn fails_closed() -> Result<(), Failed> {
    type Break = fn(&Home, &Path);
    let breaks: &[(&str, Break)] = &[
        ("a truncated header", |_, overlay| {
            File::options().write(true).open(overlay).unwrap().set_len(60).unwrap();
        }),
        ("an empty overlay", |_, overlay| drop(File::create(overlay).unwrap())),
        ("a missing backing file", |home, _| {
            fs::remove_file(home.path("images/disk-images/backed.ext4")).unwrap();
        }),
        ("a cycle", |_, overlay| {
            let rebase =
                ["rebase", "-q", "-u", "-f", "qcow2", "-b", "root.qcow2", "-F", "qcow2", "root.qcow2"];
            run("qemu-img", overlay.parent().unwrap(), &rebase);
        }),
        ("a folder in the place of an overlay", |_, overlay| {
            fs::remove_file(overlay).unwrap();
            fs::create_dir(overlay).unwrap();
        }),
        ("an overlay that leads nowhere", |_, overlay| {
            fs::remove_file(overlay).unwrap();
            symlink("nowhere", overlay).unwrap();
        }),
    ];
    for (what, damage) in breaks {
        let home = Home::new();
        home.image("orphan.ext4", 1, 3600);
        home.image("backed.ext4", 1, 3600);
        let overlay = home.overlay("a", "root.qcow2", "../../../images/disk-images/backed.ext4", "raw");
        damage(&home, &overlay);
        let before = home.tree();
        let collected = home.collect();
        assert_eq!(collected.unreadable.len(), 1, "{what}");
        assert!(deleted(&collected).is_empty() && home.tree() == before, "{what}");
    }
    let home = Home::new();
    home.image("orphan.ext4", 1, 3600);
    symlink("nowhere", home.path("boxes/lost")).unwrap();
    let error = home.collector().collect().unwrap_err();
    assert!(matches!(error, CollectError::Read { .. }), "a box that leads nowhere: {error}");
    assert!(home.path("images/disk-images/orphan.ext4").exists());
    Ok(())
}

fn nothing_else() -> Result<(), Failed> {
    let home = Home::new();
    let orphan = home.image("orphan.ext4", 1, 3600);
    for name in ["notes.txt", "seed.qcow2", "image.ext4.tmp", ".ext4", "sub"] {
        let old = home.image(name, 1, 3600);
        if name == "sub" {
            fs::remove_file(&old)?;
            fs::create_dir(&old)?;
            fs::write(old.join("inner.ext4"), "x")?;
        }
    }
    fs::create_dir(home.path("images/disk-images/folder.ext4"))?;
    let outside = tempfile::tempdir()?;
    fs::write(outside.path().join("victim.ext4"), "x")?;
    symlink(outside.path().join("victim.ext4"), home.path("images/disk-images/link.ext4"))?;
    let mut wanted = home.tree();
    assert_eq!(deleted(&home.collect()), ["orphan.ext4"]);
    wanted.remove(&orphan);
    assert_eq!(home.tree(), wanted);
    assert!(outside.path().join("victim.ext4").exists());
    Ok(())
}

fn leads_out() -> Result<(), Failed> {
    for link in ["images", "images/disk-images"] {
        let home = Home::new();
        let elsewhere = tempfile::tempdir()?;
        let orphan = home.image("orphan.ext4", 1, 3600);
        let orphan = elsewhere.path().join(orphan.strip_prefix(home.path(link)).unwrap());
        fs::remove_dir(elsewhere.path())?;
        fs::rename(home.path(link), elsewhere.path())?;
        symlink(elsewhere.path(), home.path(link))?;
        let error = home.collector().collect().unwrap_err();
        assert!(matches!(error, CollectError::Elsewhere { .. }), "{link}: {error}");
        assert!(orphan.exists(), "{link}");
    }
    // A home that is itself reached by a link is one all the same.
    let home = Home::new();
    home.image("orphan.ext4", 1, 3600);
    let alias = tempfile::tempdir()?;
    symlink(&home.path, alias.path().join("home"))?;
    let collector = Collector { home: alias.path().join("home"), ..home.collector() };
    assert_eq!(deleted(&collector.collect()?), ["orphan.ext4"]);
    Ok(())
}

fn no_home() -> Result<(), Failed> {
    let home = Home::new();
    home.image("orphan.ext4", 1, 3600);
    fs::remove_dir(home.path("boxes"))?;
    let error = home.collector().collect().unwrap_err();
    assert!(matches!(error, CollectError::NoHome { .. }), "{error}");
    assert!(home.path("images/disk-images/orphan.ext4").exists());
    let empty = tempfile::tempdir()?;
    assert!(matches!(Collector::new(empty.path()).collect(), Err(CollectError::NoHome { .. })));
    // Without images there is nothing to collect.
    fs::create_dir(empty.path().join("boxes"))?;
    assert!(Collector::new(empty.path()).collect()?.deleted.is_empty());
    Ok(())
}

fn undeletable() -> Result<Completion, Failed> {
    let home = Home::new();
    home.image("a.ext4", 3, 3600);
    let stuck = home.image("b.ext4", 1, 3600);
    // Of root's files only an immutable one can't be deleted, where the file system has such.
    let chattr = |flag: &str| Command::new("chattr").arg(flag).arg(&stuck).output();
    if !chattr("+i").is_ok_and(|output| output.status.success()) {
        return Ok(Completion::ignored_with("no file can be made immutable here"));
    }
    let error = home.collector().collect();
    chattr("-i")?;
    let Err(CollectError::Delete { path, before, .. }) = error else { panic!("{error:?}") };
    assert_eq!((path, before.len_bytes()), (stuck, 3));
    Ok(Completion::Completed)
}

/// A mount that ends with the test.
struct Mount(TempDir);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

fn pressure() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let image = dir.path().join("fs.img");
    File::create(&image)?.set_len(64 << 20)?;
    run("mkfs.ext4", dir.path(), &["-q", "-m", "0", "fs.img"]);
    let mount = Mount(tempfile::tempdir()?);
    run("mount", dir.path(), &["-o", "loop", "fs.img", mount.0.path().to_str().unwrap()]);
    let home = Home { path: mount.0.path().to_owned(), _dir: None };
    home.make();
    home.image("backed.ext4", 4 << 20, 3600);
    home.overlay("a", "root.qcow2", "../../../images/disk-images/backed.ext4", "raw");
    // Orphans until the disk really is full.
    let mut number = 0;
    while Space::of(&home.path)?.free_bytes >= 3 << 20 {
        home.image(&format!("orphan-{number}.ext4"), 2 << 20, 3600);
        number += 1;
    }
    let file = |name: &str| -> std::io::Result<()> {
        let mut file = File::create(home.path(name))?;
        file.write_all(&vec![1; 8 << 20])?;
        file.sync_all()
    };
    assert_eq!(file("too-much").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    fs::remove_file(home.path("too-much"))?;
    let floors = Floors {
        reject_below_bytes: 8 << 20,
        warn_below_bytes: 16 << 20,
        warn_below_percent: 10,
        need_bytes: 8 << 20,
    };
    let admission = admit(&home.path, &floors, || home.collect());
    assert_eq!((admission.first.verdict, admission.last().verdict), (Verdict::Reject, Verdict::Ok));
    let (collected, after) = admission.collected.unwrap();
    assert_eq!(collected.deleted.len(), number);
    let freed = after.space.unwrap().free_bytes - admission.first.space.unwrap().free_bytes;
    assert!(freed >= collected.len_bytes(), "{freed} bytes are free of {}", collected.len_bytes());
    file("enough")?;
    Ok(())
}
