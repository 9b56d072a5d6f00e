//! The FUSE seam as a file system: what a program does through the mount is what the volume holds afterwards, each
//! change is one op in the log. Slots and runs are in `fuse_slots.rs`, faults in `fuse_faults.rs`, real tools in
//! `fuse_tools.rs`.

mod fuse_support;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use fault_backend::{Outcome, Volume};
use fuse_support::*;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FallocateFlags, OFlag, RenameFlags, fallocate, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{Whence, lseek, mkfifo};

/// One of each kind of change, in a fixed order.
fn every_change(at: &Path) {
    let file = create(&at.join("file"), &[7; 10_000]);
    file.write_all_at(b"middle", 4093).unwrap();
    file.sync_all().unwrap();
    file.set_len(9000).unwrap();
    file.sync_data().unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 12_000).unwrap();
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, keep | FallocateFlags::FALLOC_FL_PUNCH_HOLE, 10, 20).unwrap();
    fallocate(&file, FallocateFlags::FALLOC_FL_ZERO_RANGE, 11_990, 20).unwrap();
    let synced =
        OpenOptions::new().write(true).custom_flags(OFlag::O_DSYNC.bits()).open(at.join("file")).unwrap();
    synced.write_all_at(b"durable", 0).unwrap();
    fs::create_dir(at.join("dir")).unwrap();
    symlink("file", at.join("soft")).unwrap();
    mkfifo(&at.join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
    fs::hard_link(at.join("file"), at.join("dir/hard")).unwrap();
    fs::rename(at.join("soft"), at.join("dir/soft")).unwrap();
    fs::set_permissions(at.join("file"), PermissionsExt::from_mode(0o4751)).unwrap();
    chown(at.join("file"), Some(3), Some(5)).unwrap();
    xattr::set(at.join("file"), "user.a", b"1").unwrap();
    xattr::set(at.join("file"), "user.b", b"2").unwrap();
    xattr::remove(at.join("file"), "user.a").unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(5)).unwrap();
    File::open(at.join("dir")).unwrap().sync_all().unwrap();
    fs::create_dir(at.join("gone")).unwrap();
    fs::remove_dir(at.join("gone")).unwrap();
    fs::remove_file(at.join("pipe")).unwrap();
}

#[test]
fn every_change_is_one_op_with_its_name() {
    let mount = Mount::new();
    let (recorded, _) = mount.record(&Volume::new(), "", every_change);
    let expected = [
        "create file",
        "write 0+10000 file",
        "write 4093+6 file",
        "fsync file",
        "truncate file",
        "fdatasync file",
        "allocate file",
        "punch 10+20 file",
        "zero 11990+20 file",
        "write 0+7 file fua",
        "mkdir dir",
        "symlink soft",
        "mknod pipe",
        "link dir/hard",
        "rename dir/soft",
        "setattr file",
        "setattr file",
        "setxattr file",
        "setxattr file",
        "removexattr file",
        "fsync dir",
        "mkdir gone",
        "rmdir gone",
        "unlink pipe",
    ];
    // A file with two names is called by either.
    let texts: Vec<_> = texts(&recorded).iter().map(|text| text.replace("r dir/hard", "r file")).collect();
    assert_eq!(texts, expected);
    assert_eq!(recorded.ops, expected.len() as u64);
    assert!(recorded.log.ops.iter().all(|op| op.outcome == Outcome::Completed && op.step.is_empty()));
    assert_eq!(recorded.log.epochs().count(), 4);
    assert!(!recorded.frozen && !recorded.mapped && !recorded.broken && !recorded.log_cut);
    assert_replays(&Volume::new(), &recorded);
}

#[test]
fn the_mount_shows_what_the_volume_holds() {
    let mount = Mount::new();
    let (recorded, _) = mount.record(&Volume::new(), "", |at| {
        every_change(at);
        let meta = fs::metadata(at.join("file")).unwrap();
        assert_eq!(
            (meta.len(), meta.mode(), meta.uid(), meta.gid(), meta.nlink()),
            (12_010, 0o100751, 3, 5, 2)
        );
        assert_eq!(meta.modified().unwrap(), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
        assert_eq!(fs::read_link(at.join("dir/soft")).unwrap(), Path::new("file"));
        assert_eq!(fs::metadata(at.join("dir/hard")).unwrap().ino(), meta.ino());
        assert_eq!(xattr::list(at.join("file")).unwrap().collect::<Vec<_>>(), ["user.b"]);
        assert_eq!(xattr::get(at.join("file"), "user.b").unwrap().unwrap(), b"2");
    });
    let mut expected = vec![7; 9000];
    expected[4093..4099].copy_from_slice(b"middle");
    expected.resize(12_010, 0);
    expected[10..30].fill(0);
    expected[..7].copy_from_slice(b"durable");
    assert_eq!(bytes(&recorded.volume, "file"), expected);
    assert_eq!(names(&recorded.volume), ["dir", "file"]);

    // A host's file system, given the same calls, holds the same.
    let host = tempfile::tempdir().unwrap();
    every_change(host.path());
    fs::set_permissions(host.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let imported = Volume::import(host.path()).unwrap();
    assert_same(&imported, &recorded.volume, "the same calls on the host");
}

#[test]
fn two_equal_runs_have_equal_logs_and_times() {
    let mount = Mount::new();
    let runs = [(); 2].map(|()| mount.record(&Volume::new(), "", every_change).0);
    assert_eq!(runs[0].log.ops, runs[1].log.ops);
    let times = |volume: &Volume| {
        let attr = &volume.node(volume.resolve("dir".as_ref()).unwrap()).unwrap().attr;
        (attr.mtime, attr.ctime)
    };
    assert_eq!(times(&runs[0].volume), times(&runs[1].volume));
}

#[test]
fn a_refused_call_is_no_op() {
    let mount = Mount::new();
    let mut volume = with_file("file", b"x");
    volume.insert_dir("dir/inner".as_ref()).unwrap();
    let (recorded, _) = mount.record(&volume, "", |at| {
        assert_eq!(errno(fs::create_dir(at.join("dir"))), Errno::EEXIST);
        assert_eq!(errno(fs::remove_dir(at.join("dir"))), Errno::ENOTEMPTY);
        assert_eq!(errno(fs::remove_file(at.join("none"))), Errno::ENOENT);
        assert_eq!(errno(fs::rename(at.join("dir"), at.join("dir/inner/x"))), Errno::EINVAL);
        assert_eq!(errno(File::create_new(at.join("file"))), Errno::EEXIST);
        assert_eq!(errno(xattr::remove(at.join("file"), "user.none")), Errno::ENODATA);
        assert_eq!(errno(File::create(at.join("n".repeat(256)))), Errno::ENAMETOOLONG);
        assert_eq!(errno(fs::write(at.join("file/x"), "")), Errno::ENOTDIR);
        let unnamed = OpenOptions::new().write(true).custom_flags(OFlag::O_TMPFILE.bits()).open(at);
        assert_eq!(errno(unnamed), Errno::EOPNOTSUPP);
        let collapse = fallocate(open(&at.join("file")), FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
        assert_eq!(collapse, Err(Errno::EOPNOTSUPP));
        // The mount's own root holds the slots and nothing else.
        let root = at.parent().unwrap();
        assert_eq!(errno(File::create(root.join("file"))), Errno::EPERM);
        assert_eq!(errno(fs::rename(at.join("file"), root.join("view/file"))), Errno::EXDEV);
        assert_eq!(errno(fs::hard_link(at.join("file"), root.join("view/file"))), Errno::EXDEV);
    });
    assert_eq!(texts(&recorded), [""; 0]);
    assert_same(&volume, &recorded.volume, "refused calls");
}

#[test]
fn names_can_be_exchanged_kept_and_replaced_while_open() {
    let mount = Mount::new();
    let (recorded, _) = mount.record(&Volume::new(), "", |at| {
        let mut old = create(&at.join("old"), b"old");
        create(&at.join("new"), b"new");
        let rename =
            |from: &str, to: &str, flags| renameat2(AT_FDCWD, &at.join(from), AT_FDCWD, &at.join(to), flags);
        assert_eq!(rename("new", "old", RenameFlags::RENAME_NOREPLACE), Err(Errno::EEXIST));
        rename("new", "third", RenameFlags::RENAME_NOREPLACE).unwrap();
        rename("third", "old", RenameFlags::RENAME_EXCHANGE).unwrap();
        assert_eq!(
            (fs::read(at.join("old")).unwrap(), fs::read(at.join("third")).unwrap()),
            (b"new".into(), b"old".into())
        );
        // `old`, now called third, is replaced while it is open: its content stays until the close.
        fs::rename(at.join("old"), at.join("third")).unwrap();
        let mut content = String::new();
        old.rewind().unwrap();
        old.read_to_string(&mut content).unwrap();
        assert_eq!((content.as_str(), old.metadata().unwrap().nlink()), ("old", 0));
        old.write_all(b"er").unwrap();
        assert_eq!(old.metadata().unwrap().len(), 5);
    });
    assert_eq!(names(&recorded.volume), ["third"]);
    assert_eq!(bytes(&recorded.volume, "third"), b"new");
    assert_replays(&Volume::new(), &recorded);
}

#[test]
fn a_file_without_a_name_lives_as_long_as_it_is_open() {
    let mount = Mount::new();
    let mut kept = None;
    let (recorded, _) = mount.record(&with_file("file", b"content"), "", |at| {
        let file = open(&at.join("file"));
        fs::remove_file(at.join("file")).unwrap();
        file.write_all_at(b"X", 0).unwrap();
        let mut content = [0; 7];
        file.read_exact_at(&mut content, 0).unwrap();
        assert_eq!(&content, b"Xontent");
        kept = Some(file);
    });
    assert_eq!((recorded.orphans_dropped, names(&recorded.volume).len()), (1, 0));
    assert_eq!(texts(&recorded), ["unlink file", "write 0+1 -"]);
    drop(kept);

    let (recorded, _) = mount.record(&with_file("file", b"content"), "", |at| {
        let file = open(&at.join("file"));
        fs::remove_file(at.join("file")).unwrap();
        drop(file);
        // The kernel tells of a close in its own time, but in order: before this.
        fs::metadata(at).unwrap();
    });
    assert_eq!(recorded.orphans_dropped, 0);
}

#[test]
fn holes_are_found_and_sparse_copies_stay_sparse() {
    let mount = Mount::new();
    let (recorded, _) = mount.record(&with_disk("disk", 1 << 20), "", |at| {
        let file = open(&at.join("disk"));
        file.write_all_at(&[1; 4096], 64 << 10).unwrap();
        let seek = |offset, whence| lseek(&file, offset, whence);
        assert_eq!(seek(0, Whence::SeekData), Ok(64 << 10));
        assert_eq!(seek(64 << 10, Whence::SeekHole), Ok(68 << 10));
        assert_eq!(seek(0, Whence::SeekHole), Ok(0));
        assert_eq!(seek(68 << 10, Whence::SeekData), Err(Errno::ENXIO));
        assert_eq!(seek(1 << 20, Whence::SeekHole), Err(Errno::ENXIO));
        assert_eq!(seek(0, Whence::SeekEnd), Ok(1 << 20));
        assert!(file.metadata().unwrap().blocks() < (1 << 20) / 512);
        let status = sh("cp --sparse=auto disk copy").current_dir(at).status().unwrap();
        assert!(status.success());
    });
    let written: u64 =
        recorded.log.mutations().filter_map(|(_, mutation)| mutation.range()).map(|r| r.end - r.start).sum();
    assert_eq!(written, 2 * 4096, "{:?}", texts(&recorded));
    assert_eq!(bytes(&recorded.volume, "copy"), bytes(&recorded.volume, "disk"));
}

#[test]
fn locks_hold_between_open_files() {
    let mount = Mount::new();
    mount.record(&with_file("file", b""), "", |at| {
        let script = "
import fcntl, os, struct
lock = struct.pack('hhqqi', fcntl.F_WRLCK, os.SEEK_SET, 0, 10, 0)
a, b = (os.open('file', os.O_RDWR) for _ in 'ab')
for take in (lambda fd: fcntl.fcntl(fd, 37, lock), lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)):
    take(a)
    try:
        take(b)
    except BlockingIOError:
        continue
    raise SystemExit('the second lock was given')
";
        assert!(python(script).current_dir(at).status().unwrap().success());
    });
}

#[test]
fn a_directory_can_be_emptied_while_it_is_read() {
    let mount = Mount::new();
    let count = 3000;
    let (recorded, _) = mount.record(&Volume::new(), "", |at| {
        (0..count).for_each(|n| drop(File::create(at.join(format!("entry-{n}"))).unwrap()));
        let mut seen = 0;
        for entry in fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            assert!(entry.file_type().unwrap().is_file());
            fs::remove_file(entry.path()).unwrap();
            seen += 1;
        }
        assert_eq!(seen, count);
    });
    assert_eq!((names(&recorded.volume).len(), recorded.ops), (0, 2 * count));
}

#[test]
fn a_large_write_comes_in_pieces_of_a_mebibyte() {
    let mount = Mount::new();
    let (recorded, _) = mount.record(&with_disk("disk", 0), "", |at| {
        fs::write(at.join("disk"), vec![5; 5 << 19]).unwrap();
    });
    let writes: Vec<_> = recorded.log.mutations().filter_map(|(_, mutation)| mutation.range()).collect();
    assert_eq!(writes.last().unwrap().end, 5 << 19);
    assert!(writes.iter().all(|range| range.end - range.start <= 1 << 20), "{writes:?}");
    assert!(writes.len() <= 4, "{writes:?}");
}

#[test]
fn appending_goes_to_the_end_also_after_a_reload() {
    let mount = Mount::new();
    let append = |at: &Path| {
        let mut file = OpenOptions::new().append(true).open(at.join("log")).unwrap();
        file.write_all(b"!").unwrap();
        file.write_all(b"?").unwrap();
    };
    for content in [&b"a"[..], b"abcdef", b""] {
        let (recorded, _) = mount.record(&with_file("log", content), "", append);
        assert_eq!(bytes(&recorded.volume, "log"), [content, b"!?"].concat());
    }
}

#[test]
fn seeking_relative_to_the_end_and_reading_past_it_work() {
    let mount = Mount::new();
    mount.record(&with_file("file", b"0123456789"), "", |at| {
        let mut file = open(&at.join("file"));
        file.seek(SeekFrom::End(-3)).unwrap();
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"789");
        assert_eq!(file.read_at(&mut [0; 4], 100).unwrap(), 0);
        assert_eq!(errno(nix_ioctl(&file)), Errno::ENOTTY);
    });
}

/// Asks for the size of a block device, as disk tools do of whatever they are given.
fn nix_ioctl(file: &File) -> io::Result<()> {
    let status = python("import fcntl, sys; fcntl.ioctl(0, 0x80081272, b'\\0' * 8)")
        .stdin(file.as_fd().try_clone_to_owned()?)
        .stderr(std::process::Stdio::piped())
        .output()?;
    let text = String::from_utf8_lossy(&status.stderr).into_owned();
    Err(io::Error::from_raw_os_error(if text.contains("Errno 25") { Errno::ENOTTY as i32 } else { 0 }))
}
