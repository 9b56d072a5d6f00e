//! Goal: what can't be done is refused with one clear line and the right exit code, and the disk's hash is the
//! same as before. Method: a table of commands and damaged disks, each run by the program.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ::gpt::disk::LogicalBlockSize;
use common::layout::{self, MIB, Spec};
use common::memory::MemoryDisk;
use common::place::temp_dir;
use common::program::{self, Image};
use common::{filesystems, oracle};
use resizer::gpt;
use resizer::plan::{self, Goal, Request};

fn plain() -> Vec<u8> {
    let specs = [
        Spec::new(1, 1, 2, "A"),
        Spec::new(2, 3, 2, "twin"),
        Spec::new(5, 5, 2, "twin"),
        Spec::new(9, 7, 2, "B"),
    ];
    layout::disk(16, 512, &specs)
}

#[test]
fn bad_commands_are_refused_in_one_line() {
    let cases: [(&[&str], &str); 14] = [
        (&["--grow-partition", "label:nobody:4M"], "no partition has label `nobody`; there are 1 `A` ("),
        (
            &["--grow-partition", "label:twin:4M"],
            "label `twin` is ambiguous: 2 `twin` (11112222-3333-4444-5555-666600000002), \
             5 `twin` (11112222-3333-4444-5555-666600000005)",
        ),
        (&["--grow-partition", "index:3:4M"], "no partition has index 3"),
        (&["--grow-partition", "uuid:11112222-3333-4444-5555-666600000003:4M"], "no partition has uuid"),
        (&["--grow-partition", "label:A:many"], "`many` is not a size"),
        (&["--grow-partition", "label:A:-4M"], "`-4M` is not a size"),
        (&["--grow-partition", "label:A:0"], "a partition can't have the size 0"),
        (&["--grow-partition", "label:A"], "has no size"),
        (&["--grow-partition", "nick:A:4M"], "does not begin with label:, name:, uuid: or index:"),
        (&["--grow-partition", "label:A:4M", "--grow-partition", "index:1:5M"], "partition 1 is named twice"),
        (
            &["--grow-partition", "label:A:4M", "--shrink-partition", "index:1:1M"],
            "partition 1 is named twice",
        ),
        (&["--grow-partition", "index:1:4M"], "add --preserve-numbers"),
        (&["--grow-partition", "label:A:1M"], "partition 1 (unknown content) can't be shrunk"),
        (&["--enlarge"], "unexpected argument '--enlarge'"),
    ];
    let image = Image::new(&plain());
    for (args, message) in cases {
        let (code, stderr) = image.run_refused(args);
        assert_eq!(code, 2, "{args:?}: {stderr}");
        assert!(stderr.contains(message), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn disks_without_a_usable_table_are_refused() {
    let flip = |disk: &mut [u8], at: usize| disk[at] ^= 1;
    let last = 16 * MIB - 512;
    let damaged = |damage: &dyn Fn(&mut [u8])| {
        let mut disk = plain();
        damage(&mut disk);
        disk
    };
    let cases = [
        (vec![0; 16 * MIB], "has no GPT"),
        (vec![], "has no GPT"),
        (vec![7; 700], "has no GPT"),
        (
            damaged(&|disk| {
                flip(disk, 512 + 60);
                flip(disk, last + 60);
            }),
            "neither copy of the partition table is usable (primary: the header is damaged; backup: the header is damaged)",
        ),
        (
            damaged(&|disk| {
                flip(disk, 1024 + 40);
                flip(disk, last - 128 * 128 + 40);
            }),
            "(primary: the entry array is damaged; backup: the entry array is damaged)",
        ),
        (
            damaged(&|disk| {
                disk[512 + 84] = 0;
                disk[512 + 85] = 1;
                flip(disk, last);
            }),
            "neither copy",
        ),
    ];
    for (disk, message) in cases {
        let (code, stderr) = Image::new(&disk).run_refused(&["--grow-partition", "label:A:4M"]);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
    }
}

#[test]
fn partitions_that_overlap_or_leave_the_usable_space_are_refused() {
    let overlapping = [Spec::new(1, 1, 3, "A"), Spec::new(2, 2, 3, "B")];
    let reversed = [Spec { len_mib: 0, ..Spec::new(1, 2, 0, "A") }];
    let beyond = [Spec::new(1, 15, 1, "A")];
    for (specs, message) in [
        (&overlapping[..], "partition 2: it overlaps partition 1"),
        (&reversed, "partition 1: it ends before it begins"),
        (&beyond, "partition 1: it lies outside of the space"),
    ] {
        let mut disk = layout::disk(16, 512, specs);
        let array = disk[1024..1024 + 128 * 128].to_vec();
        layout::put_table(&mut disk, 512, &array);
        let (code, stderr) = Image::new(&disk).run_refused(&["--grow-partition", "label:A:4M"]);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
    }
}

#[test]
fn a_disk_that_is_missing_or_no_disk_is_refused() {
    let directory = temp_dir();
    for (path, message) in [
        (directory.path().join("absent"), "No such file or directory"),
        (directory.path().to_path_buf(), "is neither a regular file nor a block device"),
        ("/dev/null".into(), "is neither a regular file nor a block device"),
    ] {
        let ended = program::end(program::on_disk(&path, &["--grow-partition", "label:A:4M"]));
        assert_eq!(ended.failed(), 2);
        assert!(ended.stderr.contains(message), "{ended:?}");
    }
}

#[test]
fn a_read_only_file_is_refused_but_can_be_planned_on() {
    let image = Image::new(&plain());
    fs::set_permissions(image.path(), PermissionsExt::from_mode(0o444)).unwrap();
    let (code, stderr) = image.run_refused(&["--grow-partition", "label:A:4M"]);
    assert_eq!(code, 2);
    assert!(stderr.ends_with("is read-only\n"), "{stderr}");
    image.run_ok(&["--grow-partition", "label:A:4M", "--dry-run"]);
}

#[test]
fn a_disk_in_use_by_another_resizer_is_refused() {
    let image = Image::new(&plain());
    let file = fs::File::open(image.path()).unwrap();
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    let (code, stderr) = image.run_refused(&["--grow-partition", "label:A:4M"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("is in use by another resizer"), "{stderr}");
    // What a killed resizer leaves to the child that it was just starting is waited for.
    let released = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(lock);
    });
    image.run_ok(&["--grow-partition", "label:A:4M"]);
    released.join().unwrap();
}

/// Small file systems with room behind each: FAT12 at index 1, ext4 at index 2.
fn small() -> Vec<u8> {
    let mut disk = layout::disk(64, 512, &[Spec::new(1, 1, 2, "FAT"), Spec::new(2, 20, 8, "EXT")]);
    let directory = temp_dir();
    let image = directory.path().join("fs");
    let path = image.to_str().unwrap();
    for (args, place) in [
        (&["mkfs.fat", "-F", "12", path][..], MIB..3 * MIB),
        (&["mke2fs", "-q", "-t", "ext4", path], 20 * MIB..28 * MIB),
    ] {
        fs::write(&image, vec![0; place.len()]).unwrap();
        filesystems::tool(args[0], &args[1..]);
        disk[place].copy_from_slice(&fs::read(&image).unwrap());
    }
    disk
}

#[test]
fn a_scratch_directory_that_takes_nothing_is_refused_before_the_table_changes() {
    let image = Image::new(&small());
    fs::remove_dir(image.scratch()).unwrap();
    let grows = ["label:FAT:4M", "label:EXT:12M", "label:EXT:6M"];
    for absent in [true, false] {
        if !absent {
            fs::write(image.scratch(), "a file").unwrap();
        }
        for grow in grows {
            let (code, stderr) = image.run_refused(&["--grow-partition", grow]);
            assert_eq!(code, 2, "{stderr}");
            assert!(stderr.contains("can't put temporary copies into `"), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

#[test]
fn an_ext4_that_cannot_be_relocated_is_refused_before_the_table_changes() {
    let mut disk = small();
    // The superblock's incompatible features: mmp.
    disk[20 * MIB + 1024 + 0x61] |= 1;
    let image = Image::new(&disk);
    for extra in [&[][..], &["--dry-run"]] {
        let (code, stderr) = image.run_refused(&[&["--grow-partition", "label:EXT:12M"], extra].concat());
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("mmp is not supported"), "{stderr}");
    }
}

/// A missing fsck.fat is worth a warning, and nobody has to read it.
#[test]
fn without_fsck_fat_a_fat_is_relocated_with_a_warning() {
    let relocate = || {
        let image = Image::new(&small());
        let mut command = program::on_disk(&image.path(), &["--grow-partition", "label:FAT:4M"]);
        command.env("PATH", "/nonexistent");
        (image, command)
    };
    let (_image, command) = relocate();
    let ended = program::end(command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        ended.stderr,
        "warning: fsck.fat is not installed (Debian package dosfstools): the FAT file system at byte 1048576 is not \
         checked by it\n"
    );
    let (_image, mut unread) = relocate();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = unread.stdout(std::process::Stdio::null()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn not_enough_space_leaves_the_disk_unchanged() {
    let image = Image::new(&plain());
    for args in [
        &["--grow-partition", "label:A:8M"][..],
        &["--grow-partition", "label:A:4M", "--grow-partition", "label:B:4M"],
        &["--grow-partition", "label:A:8000000T"],
        &["--grow-partition", "label:A:8M", "--shrink-partition", "label:B"],
    ] {
        let (code, stderr) = image.run_refused(args);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("not enough space for partition `"), "{stderr}");
    }
}

#[test]
fn a_full_table_has_no_room_for_a_relocation() {
    let specs: Vec<Spec> = (1..=128).map(|index| Spec::new(index, index as usize, 1, "P")).collect();
    let image = Image::new(&layout::disk(140, 512, &specs));
    let grow = format!("uuid:{}:2M", layout::guid(7));
    let (code, stderr) = image.run_refused(&["--grow-partition", &grow]);
    assert_eq!(code, 1);
    assert!(stderr.contains("all of its 128 entries are used"), "{stderr}");
}

#[test]
fn a_shrink_below_what_is_used_is_refused_with_the_data_intact() {
    let image = Image::new(&filesystems::mixed());
    for size in ["8M", "1M", "1"] {
        let (code, stderr) = image.run_refused(&["--grow-partition", &format!("label:P3:{size}")]);
        assert_eq!(code, 2, "{stderr}");
    }
    let disk = image.bytes();
    filesystems::assert_ext4_whole(oracle::content(&disk, 512, &oracle::agreed(&disk, 512)[&9]));
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let image = Image::new(&filesystems::mixed());
    let before = image.bytes();
    let mut command = program::on_disk(&image.path(), &["--grow-partition", "label:P3:24M"]);
    command.env("PATH", "/nonexistent");
    let ended = program::end(command);
    assert_eq!(ended.failed(), 2);
    assert!(ended.stderr.contains("is not installed; it is in Debian's package `e2fsprogs`"), "{ended:?}");
    assert!(image.bytes() == before);
}

#[test]
fn a_damaged_file_system_ends_with_the_checkers_output_unless_it_may_be_repaired() {
    let image = Image::new(&filesystems::mixed());
    let p3 = oracle::agreed(&image.bytes(), 512)[&9].clone();
    let at = format!("{}?offset={}", image.path().display(), p3.first * 512);
    filesystems::tool("debugfs", &["-w", "-R", "set_inode_field file0 links_count 7", &at]);
    let shrink = ["--grow-partition", "label:P3:24M"];
    let (code, stderr) = image.run_refused(&shrink);
    assert_eq!(code, 4);
    assert!(stderr.contains("e2fsck") && stderr.contains("ref count is 7, should be 1"), "{stderr}");
    image.run_ok(&["--fix-errors", "--grow-partition", "label:P3:24M"]);
    let disk = image.bytes();
    filesystems::assert_ext4_whole(oracle::content(&disk, 512, &oracle::agreed(&disk, 512)[&9]));
}

#[test]
fn an_interrupted_run_with_another_size_is_not_taken_over() {
    let disk = MemoryDisk::new(plain());
    let table = gpt::read(&disk, LogicalBlockSize::Lb512).unwrap().table;
    let goals = vec![Goal { index: 1, len_bytes: 3 << 20 }];
    let begun = plan::plan(&table, &Request { goals, ..Request::default() }).unwrap();
    gpt::write(&disk, &begun.created).unwrap();
    let image = Image::new(&disk.into_bytes());
    let (code, stderr) = image.run_refused(&["--grow-partition", "label:A:4M"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("partition 3 is left from an interrupted run"), "{stderr}");
    image.run_ok(&["--grow-partition", "label:A:3M"]);
}

#[test]
fn a_dry_run_prints_the_table_before_and_after_and_writes_nothing() {
    let image = Image::new(&plain());
    let before = image.bytes();
    let ended = image.run_ok(&["--grow-partition", "label:A:4M", "--dry-run"]);
    assert!(image.bytes() == before);
    let row = |text: &str| ended.stdout.lines().any(|line| line.split_whitespace().eq(text.split(' ')));
    assert!(ended.stdout.contains("before:\n") && ended.stdout.contains("\nafter:\n"), "{}", ended.stdout);
    assert!(row("1 2048 6143 2.00 MiB `A` 11112222-3333-4444-5555-666600000001"), "{}", ended.stdout);
    assert!(row("3 18432 26623 4.00 MiB `A` 11112222-3333-4444-5555-666600000001"), "{}", ended.stdout);
    assert!(row("- 2048 6143 2.00 MiB free"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("step: "));
}

#[test]
fn help_shows_an_example() {
    let ended = program::end(program::on_disk("x".as_ref(), &["--help"]));
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.contains("resizer --grow-partition label:P3:300M disk.img"), "{}", ended.stdout);
}
