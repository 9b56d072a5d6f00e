//! Slots and runs of the FUSE seam: a slot can be reloaded, shared through a bind mount, and bounded; what others look
//! at is private; a run counts, ends and can go on; and the mount itself goes, whatever is still open in it.

mod fuse_support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fault_backend::fuse::{MountError, Run, Seam, SeamOptions, Slot};
use fault_backend::{Outcome, Volume};
use fuse_support::*;
use nix::errno::Errno;

#[test]
fn what_others_look_at_is_private_and_unrecorded() {
    let mount = Mount::new();
    for slot in [Slot::View, Slot::Start, Slot::Baseline] {
        mount.seam.load(slot, with_file("file", slot.name().as_bytes()));
    }
    let (recorded, _) = mount.record(&with_file("file", b"work"), "", |at| {
        let view = mount.seam.path(Slot::View).join("file");
        fs::write(&view, b"changed").unwrap();
        assert_eq!(fs::read(&view).unwrap(), b"changed");
        assert_eq!(fs::read(mount.seam.path(Slot::Start).join("file")).unwrap(), b"start");
        assert_eq!(fs::read(mount.seam.path(Slot::Baseline).join("file")).unwrap(), b"baseline");
        assert_eq!(fs::read(at.join("file")).unwrap(), b"work");
    });
    assert_eq!(recorded.ops, 0);
    assert_eq!(bytes(&mount.seam.take(Slot::View), "file"), b"changed");
    assert_eq!(bytes(&mount.seam.take(Slot::Work), "file"), b"work");
}

#[test]
fn a_reload_is_seen_at_once_and_old_files_are_stale() {
    let mount = Mount::new();
    let path = mount.seam.path(Slot::View).join("file");
    mount.seam.load(Slot::View, with_file("file", b"first"));
    let old = open(&path);
    let reader = File::open(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first");
    reader.read_exact_at(&mut [0; 5], 0).unwrap();
    // Length and times are the same: nothing but the reload itself tells the kernel that its pages are old.
    mount.seam.load(Slot::View, with_file("file", b"other"));
    reader.read_at(&mut [0; 5], 0).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"other");
    assert_eq!(errno(old.read_at(&mut [0; 9], 0)), Errno::ESTALE);
    assert_eq!(errno(old.write_at(b"x", 0)), Errno::ESTALE);
    assert_eq!(errno(old.set_len(1)), Errno::ESTALE);
    assert_eq!(errno(old.sync_all()), Errno::ESTALE);
    mount.seam.load(Slot::View, Volume::new());
    assert!(!path.exists());
}

#[test]
fn a_bound_file_shows_each_load_also_through_mappings() {
    let mount = Mount::new();
    let host = tempfile::tempdir().unwrap();
    let bound = host.path().join("bound");
    fs::write(&bound, "").unwrap();
    mount.seam.load(Slot::View, with_file("disk", &[b'a'; 8192]));
    let source = mount.seam.path(Slot::View).join("disk");
    let none = None::<&str>;
    nix::mount::mount(Some(&source), &bound, none, nix::mount::MsFlags::MS_BIND, none).unwrap();
    let _unbind = Unbind(&bound);
    // Each turn maps the file, looks at it through the mapping, and dirties a page of it.
    let script = "
import mmap, sys
with open(sys.argv[1], 'r+b') as f:
    m = mmap.mmap(f.fileno(), 0)
    print(chr(m[0]), chr(m[4096]), len(m))
    m[0] = ord('?')
";
    for (letter, len) in [('a', 8192), ('b', 8192), ('c', 5000)] {
        mount.seam.load(Slot::View, with_file("disk", &vec![letter as u8; len]));
        let output = python(script).arg(&bound).output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(text.trim(), format!("{letter} {letter} {len}"));
        assert_eq!(bytes(&mount.seam.take(Slot::View), "disk")[..2], [b'?', letter as u8]);
        assert_eq!(fs::metadata(&bound).unwrap().len(), len as u64);
    }
}

struct Unbind<'a>(&'a Path);

impl Drop for Unbind<'_> {
    fn drop(&mut self) {
        nix::mount::umount2(self.0, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn space_is_bounded_and_statfs_says_so() {
    let mount = Mount::new();
    let calls = Calls::default();
    mount.seam.load(Slot::Work, Volume::new());
    mount.seam.begin(Run { limit_bytes: Some(1 << 20), ..Run::new(calls.wiring()) });
    let at = mount.work();
    let free = |at: &Path| {
        let stat = nix::sys::statvfs::statvfs(at).unwrap();
        (stat.blocks() * stat.fragment_size(), stat.blocks_available() * stat.fragment_size())
    };
    assert_eq!(free(&at), (1 << 20, 1 << 20));
    let file = create(&at.join("file"), &[1; 1 << 19]);
    assert_eq!(free(&at), (1 << 20, 1 << 19));
    let full = (0..32).find_map(|n| file.write_all_at(&[1; 1 << 16], n << 16).err()).unwrap();
    assert_eq!(full.raw_os_error(), Some(Errno::ENOSPC as i32));
    assert_eq!(free(&at).1, 0);
    // What is there can be written again, and freed.
    file.write_all_at(&[2; 1 << 16], 0).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(&[3; 1 << 19], 0).unwrap();
    let recorded = mount.seam.end().unwrap();
    let failed = recorded.log.ops.iter().filter(|op| op.outcome == Outcome::Failed(Errno::ENOSPC)).count();
    assert_eq!((failed, recorded.frozen), (1, false));
    assert_replays(&Volume::new(), &recorded);
}

#[test]
fn a_log_that_would_grow_too_long_ends_and_says_so() {
    let mount = Mount::new();
    let calls = Calls::default();
    mount.seam.load(Slot::Work, Volume::new());
    mount.seam.begin(Run { log_limit_bytes: Some(10_000), ..Run::new(calls.wiring()) });
    let file = create(&mount.work().join("file"), &[1; 9000]);
    file.write_all_at(&[2; 2000], 0).unwrap();
    file.sync_all().unwrap();
    let recorded = mount.seam.end().unwrap();
    assert!(recorded.log_cut);
    assert_eq!((recorded.log.len(), recorded.ops), (2, 4));
    assert_eq!(bytes(&recorded.volume, "file")[1999..2001], [2, 1]);
}

#[test]
fn a_run_can_go_without_a_log() {
    let mount = Mount::new();
    mount.seam.load(Slot::Work, Volume::new());
    mount.seam.begin(Run { record: false, ..Run::new(Calls::default().wiring()) });
    let file = create(&mount.work().join("file"), b"content");
    file.sync_all().unwrap();
    let recorded = mount.seam.end().unwrap();
    assert!(recorded.log.is_empty());
    assert_eq!((recorded.ops, bytes(&recorded.volume, "file")), (3, b"content".to_vec()));
    assert!(mount.seam.end().is_none());
}

#[test]
fn steps_are_asked_before_each_op_and_a_barrier_is_one() {
    let mount = Mount::new();
    let calls = Calls::default();
    mount.seam.load(Slot::Work, with_file("file", b""));
    mount.seam.begin(Run::new(calls.wiring()));
    let file = open(&mount.work().join("file"));
    for step in ["one", "two"] {
        calls.steps.lock().unwrap().push(step.into());
        file.write_all_at(b"x", 0).unwrap();
        mount.seam.barrier(std::process::id() as i32).unwrap();
    }
    file.write_all_at(b"y", 0).unwrap();
    let recorded = mount.seam.end().unwrap();
    let ops: Vec<_> = recorded.log.ops.iter().map(|op| (&*op.step, op.epoch, op.is_flush())).collect();
    let expected =
        [("one", 0, false), ("one", 0, true), ("two", 1, false), ("two", 1, true), ("two", 2, false)];
    assert_eq!(ops, expected);
    let me = fs::read_to_string("/proc/self/comm").unwrap();
    assert!(recorded.log.ops.iter().all(|op| *op.process == *me.trim()), "{:?}", recorded.log.processes);
}

#[test]
fn after_the_end_nothing_is_taken_until_the_next_run() {
    let mount = Mount::new();
    let start = with_file("file", b"abc");
    let (recorded, _) = mount.record(&start, "", |_| ());
    let path = mount.work().join("file");
    assert_eq!(errno(open(&path).write_at(b"x", 0)), Errno::EIO);
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    assert_same(&mount.seam.take(Slot::Work), &recorded.volume, "after the end");
    mount.seam.begin(Run::new(Calls::default().wiring()));
    fs::write(&path, b"more").unwrap();
    assert_eq!(bytes(&mount.seam.end().unwrap().volume, "file"), b"more");
}

#[test]
fn dropping_a_seam_leaves_no_mount_even_where_files_are_open() {
    let dir = tempfile::tempdir().unwrap();
    for held in [false, true] {
        let seam = Seam::mount(dir.path(), &SeamOptions { cpu: Some(0) }).unwrap();
        seam.load(Slot::Work, with_file("file", b"x"));
        let file = held.then(|| open(&seam.path(Slot::Work).join("file")));
        assert_eq!(mounts_at(seam.root()), 1);
        let root = seam.root().to_owned();
        drop(seam);
        assert_eq!(mounts_at(&root), 0);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        if let Some(file) = file {
            assert!(file.read_at(&mut [0], 0).is_err());
        }
    }
}

#[test]
fn a_mount_point_that_is_none_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for at in [&file, &dir.path().join("none")] {
        let error = Seam::mount(at, &SeamOptions::default()).unwrap_err();
        assert!(matches!(error, MountError::Point { .. }), "{error:?}");
        assert!(error.to_string().contains(&at.display().to_string()), "{error}");
    }
    let error = Seam::mount(dir.path(), &SeamOptions { cpu: Some(100_000) }).unwrap_err();
    assert!(matches!(error, MountError::Cpu { cpu: 100_000, .. }), "{error:?}");
    assert_eq!(mounts_at(dir.path()), 0);
}
