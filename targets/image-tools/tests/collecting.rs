//! `admit` and `gc` as commands: what they say, their exit codes, and that a collection which runs all the while costs
//! no start its image.
//!
//! Needs `qemu-img`; without it the cases say so by name. IMAGE_TOOLS_STARTS scales the flood.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use disk_guard::images::{Collector, GRACE};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tempfile::TempDir;

/// What a case that can run does.
type Case = fn() -> Result<(), Failed>;

const CASES: &[(&str, Case)] = &[
    ("gc deletes what nothing needs and says what", gc_says),
    ("gc lists the same in a dry run and deletes nothing", dry_run),
    ("gc with an unreadable chain is exit 1 and deletes nothing", gc_fails_closed),
    ("a folder that is no home is exit 2 and nothing is deleted", no_home),
    ("admit collects where room is short and is exit 1 only below the floor", admits),
    ("admit counts what is needed", need),
    ("no start loses its image to collections that run all the while", flood),
    ("without a grace such collections cost images", flood_without_grace),
];

fn main() {
    let lacking = Command::new("qemu-img")
        .arg("--version")
        .output()
        .is_err()
        .then_some("qemu-img is not installed (Debian package qemu-utils)");
    let trials = CASES.iter().map(|(name, case)| {
        Trial::ignorable_test(*name, move || match lacking {
            Some(why) => Ok(Completion::ignored_with(why)),
            None => case().map(|()| Completion::Completed),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// A home with two old orphans, a young image and one that a box needs.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(home.path("images/disk-images")).unwrap();
        fs::create_dir_all(home.path("boxes")).unwrap();
        for (name, len, age) in [("a", 1000, 9000), ("b", 234, 9000), ("young", 5, 5), ("backed", 6, 9000)] {
            let path = home.image(name);
            fs::write(&path, vec![1; len]).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age);
            File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }
        overlay(&home.path(""), "one", "backed");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn image(&self, name: &str) -> PathBuf {
        self.path("images/disk-images").join(format!("{name}.ext4"))
    }

    fn has(&self, name: &str) -> bool {
        self.image(name).exists()
    }

    fn run(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_image-tools"))
            .arg(command)
            .args(arguments)
            .arg(self.dir.path())
            .output()
            .unwrap();
        (output.status.code(), self.text(&output))
    }

    /// What was said, with the home's own path as `HOME`.
    fn text(&self, output: &Output) -> String {
        let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        text.concat().replace(self.dir.path().to_str().unwrap(), "HOME")
    }
}

/// Puts a box on an image of a home.
fn overlay(home: &Path, name: &str, image: &str) {
    let disks = home.join("boxes").join(name).join("disks");
    fs::create_dir_all(&disks).unwrap();
    let backing = format!("../../../images/disk-images/{image}.ext4");
    let output = Command::new("qemu-img")
        .current_dir(&disks)
        .args(["create", "-q", "-f", "qcow2", "-b", &backing, "-F", "raw", "root.qcow2"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn gc_says() -> Result<(), Failed> {
    let home = Home::new();
    let (code, text) = home.run("gc", &[]);
    let wanted = "deleted HOME/images/disk-images/a.ext4 (1000 bytes)\n\
                  deleted HOME/images/disk-images/b.ext4 (234 bytes)\n\
                  deleted 2 images: 1234 bytes long, 8192 on the disk; kept 1 that are needed and 1 that are young\n";
    assert_eq!((code, text.as_str()), (Some(0), wanted));
    assert!(!home.has("a") && !home.has("b") && home.has("young") && home.has("backed"));
    let (code, text) = home.run("gc", &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!((code, json["deleted"].as_array().map(Vec::len)), (Some(0), Some(0)), "{text}");
    assert_eq!((&json["pinned"], &json["young"]), (&1.into(), &1.into()), "{text}");
    Ok(())
}

fn dry_run() -> Result<(), Failed> {
    let home = Home::new();
    let list = |arguments: &[&str]| {
        let (code, text) = home.run("gc", arguments);
        assert_eq!(code, Some(0), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        (json["deleted"].clone(), json["len_bytes"].clone())
    };
    let dry = list(&["--dry-run", "--format", "json"]);
    assert!(home.has("a") && home.has("b"));
    assert_eq!(list(&["--format", "json"]), dry);
    assert_eq!(dry.1, 1234);
    Ok(())
}

fn gc_fails_closed() -> Result<(), Failed> {
    let home = Home::new();
    File::create(home.path("boxes/one/disks/root.qcow2"))?.set_len(50)?;
    let (code, text) = home.run("gc", &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("HOME/boxes/one/disks/root.qcow2` can't be read to its end"), "{text}");
    assert!(home.has("a") && home.has("b") && home.has("backed"));
    let (code, text) = home.run("gc", &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!((code, json["unreadable"].as_array().map(Vec::len)), (Some(1), Some(1)), "{text}");
    Ok(())
}

fn no_home() -> Result<(), Failed> {
    let home = Home::new();
    fs::remove_dir_all(home.path("boxes"))?;
    for (command, arguments) in [("gc", &[][..]), ("admit", &["--reject-below", "16384T"])] {
        let (code, text) = home.run(command, arguments);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("is no home") && home.has("a"), "{text}");
    }
    Ok(())
}

fn admits() -> Result<(), Failed> {
    let none = ["--reject-below", "0", "--warn-below", "0", "--warn-below-percent", "0"];
    let home = Home::new();
    let (code, text) = home.run("admit", &none);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("ok: ") && home.has("a"), "with room nothing is collected: {text}");
    let short = ["--reject-below", "0", "--warn-below", "16384T", "--warn-below-percent", "0"];
    let (code, text) = home.run("admit", &short);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("warning: ") && !home.has("a") && home.has("backed"), "{text}");
    let home = Home::new();
    let (code, text) = home.run("admit", &["--reject-below", "16384T", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!((code, &json["verdict"]), (Some(1), &"reject".into()), "{text}");
    assert_eq!(json["collected"]["len_bytes"], 1234, "{text}");
    Ok(())
}

fn need() -> Result<(), Failed> {
    let home = Home::new();
    let floors = ["--reject-below", "0", "--warn-below", "0", "--warn-below-percent", "0", "--need"];
    let with = |need: &'static str| home.run("admit", &[&floors[..], &[need]].concat());
    assert_eq!(with("4K").0, Some(0));
    assert_eq!(with("16384T").0, Some(1));
    assert_eq!(home.run("admit", &["--need", "lots"]).0, Some(2));
    Ok(())
}

/// Starts boxes from several threads while collections run one after the other;
/// answers the boxes that lost something. The time between an image and its overlay is as long as `qemu-img` takes.
fn flood_of(grace: Duration) -> Vec<String> {
    let starts: usize = std::env::var("IMAGE_TOOLS_STARTS").map_or(24, |text| text.parse().unwrap());
    let home = Home::new();
    let top = home.path("");
    let done = AtomicBool::new(false);
    let mut collections = 0;
    thread::scope(|scope| {
        let starters: Vec<_> = (0..3)
            .map(|thread| {
                let (top, home) = (&top, &home);
                scope.spawn(move || {
                    for number in (0..starts).filter(|number| number % 3 == thread) {
                        let name = format!("box-{number}");
                        fs::write(home.image(&name), &name).unwrap();
                        let backing = home.image(&name);
                        let disks = top.join("boxes").join(&name).join("disks");
                        fs::create_dir_all(&disks).unwrap();
                        // A start whose image is gone fails, which is looked for at the end.
                        let _ = Command::new("qemu-img")
                            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
                            .args([&backing, &disks.join("root.part")])
                            .output();
                        let _ = fs::rename(disks.join("root.part"), disks.join("root.qcow2"));
                    }
                })
            })
            .collect();
        let collector = scope.spawn(|| {
            let mut collections = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let collected = Collector { grace, ..Collector::new(&top) }.collect().unwrap();
                // What was lost already can't be read any more.
                assert!(collected.unreadable.is_empty() || grace.is_zero(), "{:?}", collected.unreadable);
                collections += 1;
            }
            collections
        });
        starters.into_iter().for_each(|starter| starter.join().unwrap());
        done.store(true, Ordering::Relaxed);
        collections = collector.join().unwrap();
    });
    assert!(collections > 1, "collections ran beside the starts");
    let lost = |name: &String| {
        !fs::read_to_string(home.image(name)).is_ok_and(|text| text == *name)
            || !top.join("boxes").join(name).join("disks/root.qcow2").exists()
    };
    (0..starts).map(|number| format!("box-{number}")).filter(lost).collect()
}

fn flood() -> Result<(), Failed> {
    assert_eq!(flood_of(GRACE), [] as [String; 0]);
    Ok(())
}

fn flood_without_grace() -> Result<(), Failed> {
    assert!(!flood_of(Duration::ZERO).is_empty(), "the flood would not notice a collector without a grace");
    Ok(())
}
