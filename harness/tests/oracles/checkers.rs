//! The checkers of file systems: each one that is known objects to damage, wherever the file system lies, and one that
//! accepts everything or never ends is found out.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use killpoint::oracle::{Outcome, Unproved};
use tempfile::TempDir;

use crate::bench::{BOTH, Bench, Parts, Seen, scenario};
use crate::disk::DiskBench;

/// A checker that accepts everything, and one that prints for ever, take e2fsck's place in `PATH`. The test runs
/// itself with it, since the environment of a running process is not to be changed.
#[test]
fn checkers_that_see_nothing_or_never_end_are_found_out() {
    const CASE: &str = "ORACLES_TEST_CHECKER";
    match std::env::var(CASE).as_deref() {
        Ok("blind") => {
            let result = DiskBench::new(Seen::InMemory).set.prove();
            let silent = matches!(&result, Err(Unproved::Silent { oracle, .. }) if oracle == "fsck");
            assert!(silent, "{result:?}");
        }
        Ok("endless") => {
            let mut bench = DiskBench::new(Seen::OnHost);
            let answers = bench.at_end();
            let fsck = answers.iter().find(|answer| answer.oracle == "fsck").expect("its answer");
            assert!(matches!(&fsck.outcome, Outcome::Hung { what } if what.contains("e2fsck")), "{fsck:?}");
        }
        _ => {
            for (case, script) in [("blind", "exit 0"), ("endless", "while :; do echo again; done")] {
                let folder = TempDir::new().expect("a temporary folder");
                let program = folder.path().join("e2fsck");
                // The fixture is built with the real one, whatever its arguments; only a mere check is faked.
                let real = scenarios::programs::find("e2fsck").expect("e2fsck (Debian package e2fsprogs)");
                let text = format!(
                    "#!/bin/sh\nif [ \"$1\" = -fn ]; then {script}; fi\nexec {} \"$@\"\n",
                    real.display()
                );
                fs::write(&program, text).expect("write it");
                fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it a program");
                let path = std::env::var("PATH").unwrap_or_default();
                let status = Command::new(std::env::current_exe().expect("this test"))
                    .args(["--exact", "checkers::checkers_that_see_nothing_or_never_end_are_found_out"])
                    .env(CASE, case)
                    .env("PATH", format!("{}:{path}", folder.path().display()))
                    .status();
                assert!(status.expect("run it").success(), "{case}");
            }
        }
    }
}

/// A file of zeros with a file system at 1 MiB.
fn file_system_at_1m(file: &Path, make: &[&str]) {
    let image = file.with_extension("part");
    File::create(&image).and_then(|image| image.set_len(320 << 20)).expect("an empty image");
    let program =
        scenarios::programs::find(make[0]).unwrap_or_else(|| panic!("{} is not installed", make[0]));
    let output = Command::new(program).args(&make[1..]).arg(&image).output().expect("run it");
    assert!(output.status.success(), "{output:?}");
    let source = File::open(&image).expect("open it");
    let shifted = File::create(file).expect("create");
    shifted.set_len(321 << 20).expect("its length");
    let state =
        fault_backend::Image::over(std::sync::Arc::new(fault_backend::Base::open(source).expect("a base")));
    let mut buffer = vec![0; 4096];
    let mut at = 0;
    while let Some(data) = state.next_data(at) {
        let len = state.read_at(data, &mut buffer).expect("read");
        std::os::unix::fs::FileExt::write_all_at(&shifted, &buffer[..len], data + (1 << 20)).expect("write");
        at = data + len as u64;
    }
}

/// Each checker accepts what its own mkfs makes, detected by its superblock, as a whole file and at an offset (for which
/// those that know none get a copy), and objects to broken metadata.
#[test]
fn every_known_file_system_is_checked() {
    let made: [(&str, &[&str]); 5] = [
        ("ext4", &["mke2fs", "-q", "-t", "ext4"]),
        ("vfat", &["mkfs.fat", "-F", "32"]),
        ("xfs", &["mkfs.xfs", "-q"]),
        ("btrfs", &["mkfs.btrfs", "-q"]),
        ("ntfs", &["mkfs.ntfs", "-q", "-F", "-f"]),
    ];
    for (fs, make) in made {
        let folder = TempDir::new().expect("a temporary folder");
        let volume = folder.path().join("volume");
        fs::create_dir(&volume).expect("a folder");
        file_system_at_1m(&volume.join("disk.img"), make);
        fs::rename(volume.join("disk.part"), volume.join("whole.img")).expect("rename");
        let (_scenario, resolved) = scenario(
            r#"
schema = 1
name = "checked"
summary = "a file system, whole and at an offset"
[fixture]
command = ["true"]
[[phase]]
name = "nothing"
run = ["true"]
[[oracle]]
kind = "fsck"
file = "whole.img"
[[oracle]]
kind = "fsck"
offset = "1M"
"#,
        );
        for seen in BOTH {
            let mut bench = Bench::new(seen, &resolved, &Parts::still(&volume)).expect("oracles");
            let proved = bench.set.prove().unwrap_or_else(|error| panic!("{fs} {seen:?}: {error}"));
            assert_eq!(proved, ["baseline", "fsck"], "{fs} {seen:?}");
        }
    }
}
