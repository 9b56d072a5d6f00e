//! ext4 is shrunk so that no crash loses anything, and relocated with all that it keeps.
//!
//! The crash tests record one uninterrupted shrink, then rebuild the disk as a crash at each operation leaves it
//! (whole, torn inside a write, or with a power cut's subset of what was not flushed), run the resizer again and
//! compare every byte. e2fsck and debugfs judge the result.

mod fs_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use fs_support::{MemDisk, Op, replay, tool, torn};
use proptest::prelude::*;
use resizer::disk::Extent;
use resizer::error::{Error, Result};
use resizer::ext4;
use resizer::file_disk::{Access, FileDisk};
use resizer::fstools::{self, Tools};
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;
const GUID: [u8; 16] = *b"0123456789abcdef";

/// The partition in these tests; what lies around it must never change.
const AT: Extent = Extent { offset_bytes: MIB, len_bytes: 48 * MIB };
const SHRUNK_BYTES: u64 = 26 * MIB;
const DISK_BYTES: usize = 50 * MIB as usize;

/// A disk with a file system whose files lie spread to its end.
fn fixture(options: &[&str]) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("fs.img");
    let image_arg = image.to_str().unwrap();
    let uuid = "11111111-2222-3333-4444-555555555555";
    let mut args =
        vec!["-q", "-F", "-U", uuid, "-L", "keepme", "-E", &"hash_seed=11111111-2222-3333-4444-555555555555"];
    args.extend(options);
    args.extend([image_arg, "48M"]);
    fs::File::create(&image).unwrap();
    tool("mke2fs", &args);

    // Fill, then delete every second big file, so that what stays is spread over the whole length.
    let mut script = String::new();
    for index in 0..200_u32 {
        let len = 150_000 + index as usize * 300;
        let host = dir.path().join(format!("host{index}"));
        let content: Vec<u8> =
            (0..len).map(|at| (at as u32).wrapping_mul(index + 7).to_le_bytes()[1] ^ index as u8).collect();
        fs::write(&host, content).unwrap();
        if index % 40 == 0 {
            script += &format!("mkdir dir{}\n", index / 40);
        }
        script += &format!("write {} dir{}/file{index}\n", host.display(), index / 40);
    }
    for index in (0..200).filter(|index| index % 2 == 0) {
        script += &format!("rm dir{}/file{index}\n", index / 40);
    }
    for index in 0..60 {
        script += &format!("write {} dir4/small{index}\n", dir.path().join("host1").display());
        script += &format!("rm dir4/small{index}\n");
    }
    script +=
        "sif dir4/file199 mode 0104755\nsif dir4/file199 uid 1234\nsif dir4/file199 mtime 20010203040506\n";
    script += "ln dir4/file199 hard\nsif dir4/file199 links_count 2\nsymlink soft dir4/file199\n";
    script += "ea_set dir4/file199 user.note kept\n";
    let commands = dir.path().join("commands");
    fs::write(&commands, script).unwrap();
    tool("debugfs", &["-w", "-f", commands.to_str().unwrap(), image_arg]);
    fsck(&image);

    let mut disk: Vec<u8> = (0..DISK_BYTES).map(|at| (at % 251) as u8).collect();
    let bytes = fs::read(&image).unwrap();
    disk[AT.offset_bytes as usize..][..bytes.len()].copy_from_slice(&bytes);
    disk
}

fn fsck(image: &Path) {
    tool("e2fsck", &["-f", "-n", image.to_str().unwrap()]);
}

/// The names and contents of all files of a file system, and what debugfs says of the special one; e2fsck must
/// find nothing.
fn contents(fs_bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("fs.img");
    fs::write(&image, fs_bytes).unwrap();
    fsck(&image);
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let image_arg = image.to_str().unwrap();
    tool("debugfs", &["-R", &format!("rdump / {}", tree.display()), image_arg]);
    let mut found = BTreeMap::new();
    let mut pending = vec![tree.clone()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&tree).unwrap().display().to_string();
            if path.is_symlink() {
                found.insert(name, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
            } else if path.is_dir() {
                pending.push(path);
                found.insert(name, b"directory".to_vec());
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    for name in ["dir4/file199", "hard"] {
        let stat = tool("debugfs", &["-R", &format!("stat {name}"), image_arg]);
        // Inode and block numbers may change; mode, owner, times, links and attributes may not.
        let kept = stat.lines().filter(|line| {
            ["User:", "Links:", "mtime:", "crtime:", "user.note"].iter().any(|mark| line.contains(mark))
        });
        found.insert(format!("stat {name}"), kept.collect::<Vec<_>>().join("\n").into_bytes());
    }
    found
}

fn shrink(disk: &MemDisk, tools: &Tools) -> Result<()> {
    ext4::recover(disk, AT, &GUID)?;
    ext4::shrink(disk, AT, &GUID, SHRUNK_BYTES, tools)
}

fn tools(dir: &TempDir) -> Tools {
    Tools { scratch: dir.path().to_path_buf() }
}

/// An uninterrupted shrink: what was before, what was done, and what is then.
struct Recorded {
    before: Vec<u8>,
    ops: Vec<Op>,
    after: Vec<u8>,
    scratch: TempDir,
}

fn record(options: &[&str]) -> Recorded {
    let before = fixture(options);
    let scratch = TempDir::new().unwrap();
    let disk = MemDisk::new(before.clone());
    shrink(&disk, &tools(&scratch)).unwrap();
    Recorded { before, ops: disk.ops.take(), after: disk.bytes.take(), scratch }
}

fn kept(bytes: &[u8]) -> &[u8] {
    &bytes[AT.offset_bytes as usize..][..SHRUNK_BYTES as usize]
}

fn outside(bytes: &[u8]) -> (&[u8], &[u8]) {
    (&bytes[..AT.offset_bytes as usize], &bytes[AT.end_bytes() as usize..])
}

impl Recorded {
    /// Runs the resizer on a crash state and compares all that counts.
    fn resume(&self, state: Vec<u8>, what: &str) {
        let disk = MemDisk::new(state);
        shrink(&disk, &tools(&self.scratch)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let bytes = disk.bytes.borrow();
        assert!(kept(&bytes) == kept(&self.after), "{what}: the shrunk file system differs");
        assert!(outside(&bytes) == outside(&self.before), "{what}: something outside the partition changed");
    }

    fn prefix(&self, ops: usize) -> Vec<u8> {
        let mut state = self.before.clone();
        replay(&mut state, &self.ops[..ops]);
        state
    }
}

/// The second has so few inodes that a shrink must move some, and so rewrites directories and inode tables in place.
const VARIANTS: [&[&str]; 4] = [
    &["-t", "ext4", "-b", "4096"],
    &["-t", "ext4", "-b", "1024", "-O", "64bit,metadata_csum", "-g", "8192", "-N", "240"],
    &["-t", "ext4", "-b", "2048", "-O", "^64bit,^metadata_csum,uninit_bg", "-g", "8192"],
    &["-t", "ext2", "-b", "1024"],
];

#[test]
fn a_shrink_keeps_every_file_and_leaves_a_clean_file_system() {
    for options in VARIANTS {
        let run = record(options);
        let old = contents(&run.before[AT.offset_bytes as usize..AT.end_bytes() as usize]);
        assert!(old.len() > 100 && old == contents(kept(&run.after)), "{options:?}");
        assert!(outside(&run.before) == outside(&run.after));
        assert_eq!(fs::read_dir(run.scratch.path()).unwrap().count(), 0, "a staged copy was left");

        let info = ext4::probe(&MemDisk::new(run.after.clone()), AT).unwrap().unwrap();
        assert!(info.size_bytes <= SHRUNK_BYTES && &info.label[..6] == b"keepme");
    }
}

#[test]
fn a_shrink_done_again_writes_nothing() {
    let run = record(VARIANTS[0]);
    let disk = MemDisk::new(run.after.clone());
    shrink(&disk, &tools(&run.scratch)).unwrap();
    assert!(disk.ops.borrow().is_empty());
}

#[test]
fn a_kill_at_any_write_ends_in_the_same_bytes() {
    for options in [VARIANTS[0], VARIANTS[1]] {
        let run = record(options);
        let count = run.ops.len();
        assert!(count > 30, "{options:?}: only {count} operations");
        for at in 0..=count {
            run.resume(run.prefix(at), &format!("{options:?}, killed after operation {at} of {count}"));
            let Some(next) = run.ops.get(at) else { continue };
            let pages = (1..).take_while(|pages| torn(next, *pages).is_some()).count().div_ceil(2);
            if let Some(part) = torn(next, pages) {
                let mut state = run.prefix(at);
                replay(&mut state, [&part]);
                run.resume(state, &format!("{options:?}, torn after {pages} pages of operation {}", at + 1));
            }
        }
    }
}

/// Here the resizer itself meets the failure, again and again, with the scratch directory kept or wiped.
#[test]
fn failures_one_after_another_end_in_the_same_bytes() {
    let run = record(VARIANTS[1]);
    let count = run.ops.len();
    for (round, start) in (0..count).step_by(count / 12 + 1).enumerate() {
        let mut state = run.before.clone();
        for kill in [start, count - start, 2, 5, count / 2] {
            let disk = MemDisk::failing(state, kill, round % 3);
            let failed = shrink(&disk, &tools(&run.scratch));
            assert!(!matches!(failed, Err(Error::BadContent { .. } | Error::Tool { .. })), "{failed:?}");
            state = disk.bytes.take();
            if round % 2 == 0 {
                fs::remove_dir_all(run.scratch.path()).unwrap();
                fs::create_dir(run.scratch.path()).unwrap();
            }
        }
        run.resume(state, &format!("five failures from operation {start} on"));
    }
}

#[test]
fn a_power_cut_ends_in_the_same_bytes() {
    let run = record(VARIANTS[1]);
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut draw = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random >> 32
    };
    let mut from = 0;
    for (index, op) in run.ops.iter().enumerate() {
        if index + 1 < run.ops.len() && !matches!(op, Op::Flush) {
            continue;
        }
        // Of the writes since the last flush any subset may have arrived.
        for sample in 0..14 {
            let mut state = run.prefix(from);
            let arrived: Vec<_> = run.ops[from..index]
                .iter()
                .filter(|_| draw() % 4 < if sample % 2 == 0 { 1 } else { 3 })
                .collect();
            let what = format!("power cut in {from}..{index}, {} writes arrived", arrived.len());
            replay(&mut state, arrived);
            run.resume(state, &what);
        }
        from = index + 1;
    }
}

/// What known tools do: lay the shrunk image straight over the partition, and after a kill let e2fsck mend it. The
/// files that are then missing or changed are what the scheme above exists for.
#[test]
fn copying_straight_back_loses_files_although_e2fsck_is_content() {
    let run = record(VARIANTS[0]);
    let partition = |bytes: &[u8]| bytes[AT.offset_bytes as usize..AT.end_bytes() as usize].to_vec();
    let old = contents(&partition(&run.before));
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("fs.img");
    let mut lost = 0;
    for part in 1..16 {
        let len = SHRUNK_BYTES as usize * part / 16;
        let mut state = partition(&run.before);
        state[..len].copy_from_slice(&kept(&run.after)[..len]);
        fs::write(&image, state).unwrap();
        let fixed = std::process::Command::new("e2fsck")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["-f", "-y", image.to_str().unwrap()])
            .output()
            .unwrap();
        if matches!(fixed.status.code(), Some(0 | 1)) {
            lost += usize::from(contents(&fs::read(&image).unwrap()) != old);
        }
    }
    assert!(lost >= 10, "files were lost in only {lost} of 15 states");
}

/// The planted bug must not pass the crash test above: this runs that test with the bug switched on.
#[cfg(feature = "planted")]
#[test]
fn the_planted_copy_back_fails_the_crash_test() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_kill_at_any_write_ends_in_the_same_bytes"])
        .env("RESIZER_BUG", "naive-copy-back")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && text.contains("the shrunk file system differs"), "{text}");
}

#[test]
fn a_relocation_fills_the_target_and_keeps_everything() {
    let source = Extent { offset_bytes: MIB, len_bytes: 48 * MIB };
    let target = Extent { offset_bytes: 52 * MIB, len_bytes: 67 * MIB + 512 };
    for options in VARIANTS {
        let mut before = fixture(options);
        before.resize(target.end_bytes() as usize, 0x5A);
        let scratch = TempDir::new().unwrap();
        let disk = MemDisk::new(before.clone());
        ext4::relocate(&disk, source, target, &tools(&scratch)).unwrap();
        let moved = disk.slice(target);
        let old = contents(&before[source.offset_bytes as usize..source.end_bytes() as usize]);
        assert!(old == contents(&moved), "{options:?}");
        let info = ext4::probe(&disk, target).unwrap().unwrap();
        assert_eq!(info.size_bytes, 67 * MIB);

        // What lay in the target before must not show, and a second time there is nothing to write.
        let other = MemDisk::new(before.clone());
        other.bytes.borrow_mut()[target.offset_bytes as usize..].fill(0xA5);
        ext4::relocate(&other, source, target, &tools(&scratch)).unwrap();
        assert!(other.slice(target) == moved, "{options:?}: the target shows what lay there before");
        disk.ops.borrow_mut().clear();
        ext4::relocate(&disk, source, target, &tools(&scratch)).unwrap();
        assert!(disk.ops.borrow().is_empty());
    }
}

#[test]
fn a_shrink_below_what_is_used_is_refused_before_the_first_write() {
    let disk = MemDisk::new(fixture(VARIANTS[0]));
    let scratch = TempDir::new().unwrap();
    assert!(matches!(ext4::check_shrink(&disk, AT, 4 * MIB), Err(Error::BelowUsed { .. })));
    let failed = ext4::shrink(&disk, AT, &GUID, 4 * MIB, &tools(&scratch));
    assert!(matches!(failed, Err(Error::BelowUsed { .. })), "{failed:?}");
    assert!(disk.ops.borrow().is_empty());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn an_unclean_journal_is_refused_with_the_flag_that_helps() {
    let mut bytes = fixture(VARIANTS[0]);
    let incompat = AT.offset_bytes as usize + 1024 + 96;
    bytes[incompat] |= 0x4;
    let disk = MemDisk::new(bytes);
    let scratch = TempDir::new().unwrap();
    let failed = shrink(&disk, &tools(&scratch)).unwrap_err().to_string();
    assert!(failed.contains("--fix-errors"), "{failed}");
    assert!(disk.ops.borrow().is_empty());
}

#[test]
fn stages_of_killed_runs_are_removed_and_others_are_not() {
    let disk = MemDisk::new(fixture(VARIANTS[0]));
    let scratch = TempDir::new().unwrap();
    fs::write(scratch.path().join("resizer-stage-old"), "left over").unwrap();
    fs::write(scratch.path().join("mine"), "kept").unwrap();
    shrink(&disk, &tools(&scratch)).unwrap();
    let names: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["mine"]);
}

#[test]
fn a_tail_without_free_blocks_is_refused_before_the_first_write() {
    // One file takes all that the shrink would cut off; nothing is left there for the redo journal.
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("fs.img");
    let image_arg = image.to_str().unwrap();
    fs::File::create(&image).unwrap();
    tool("mke2fs", &["-q", "-F", "-t", "ext2", "-b", "1024", "-m", "0", image_arg, "48M"]);
    let host = dir.path().join("host");
    let free = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("Free blocks:")).unwrap();
        line.split_whitespace().last().unwrap().parse::<usize>().unwrap()
    };
    // Less than half, twice, so that the first can make room for the second at the end.
    let blocks = free(&tool("dumpe2fs", &["-h", image_arg]));
    for (name, count) in [("first", blocks / 2), ("second", blocks / 2 - 400), ("rest", 400)] {
        fs::write(&host, vec![7; count * 1024]).unwrap();
        let commands = dir.path().join("commands");
        fs::write(&commands, format!("write {} {name}\n", host.display())).unwrap();
        tool("debugfs", &["-w", "-f", commands.to_str().unwrap(), image_arg]);
    }
    tool("debugfs", &["-w", "-R", "rm first", image_arg]);
    tool("e2fsck", &["-f", "-n", image_arg]);

    let mut bytes = vec![0; DISK_BYTES];
    bytes[AT.offset_bytes as usize..AT.end_bytes() as usize].copy_from_slice(&fs::read(&image).unwrap());
    let disk = MemDisk::new(bytes);
    let new_len = 44 * MIB;
    let planned = ext4::check_shrink(&disk, AT, new_len);
    assert!(matches!(planned, Err(Error::NoSpace { .. })), "{planned:?}");
    let scratch = TempDir::new().unwrap();
    let failed = ext4::shrink(&disk, AT, &GUID, new_len, &tools(&scratch));
    assert!(matches!(failed, Err(Error::NoSpace { .. })), "{failed:?}");
    assert!(disk.ops.borrow().is_empty());
}

/// e2fsprogs take what follows a `?` as options and `TAG=` as a label: such paths must work all the same.
#[test]
fn odd_paths_are_checked_and_repaired() {
    let dir = TempDir::new().unwrap();
    let scratch = dir.path().join("scratch?x=1");
    fs::create_dir(&scratch).unwrap();
    let tools = Tools { scratch };
    let mut bytes = fixture(VARIANTS[0]);
    for name in ["disk?offset=7.img", "LABEL=disk.img"] {
        let path = dir.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let disk = FileDisk::open(&path, Access::Write).unwrap();
        fstools::check_ext4(&disk, AT, false, &tools).unwrap();
        ext4::shrink(&disk, AT, &GUID, SHRUNK_BYTES, &tools).unwrap();
        fstools::check_ext4(&disk, AT, false, &tools).unwrap();
    }

    // A wrong link count: found in place, and mended only when asked for.
    let path = dir.path().join("damaged?.img");
    let image = dir.path().join("fs.img");
    fs::write(&image, &bytes[AT.offset_bytes as usize..AT.end_bytes() as usize]).unwrap();
    tool("debugfs", &["-w", "-R", "sif hard links_count 9", image.to_str().unwrap()]);
    bytes[AT.offset_bytes as usize..AT.end_bytes() as usize].copy_from_slice(&fs::read(&image).unwrap());
    fs::write(&path, &bytes).unwrap();
    let disk = FileDisk::open(&path, Access::Write).unwrap();
    let failed = fstools::check_ext4(&disk, AT, false, &tools).unwrap_err();
    assert!(
        matches!(&failed, Error::Tool { status: Some(4), output, .. } if output.contains("ref count")),
        "{failed}"
    );
    assert!(fs::read(&path).unwrap() == bytes, "a check wrote");
    fstools::check_ext4(&disk, AT, true, &tools).unwrap();
    fstools::check_ext4(&disk, AT, false, &tools).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Superblocks and group descriptors with any bytes give an error or work; nothing panics or is written.
    #[test]
    fn hostile_superblocks_never_panic(
        changes in prop::collection::vec((0_usize..2048, any::<u8>()), 1..6),
        new_len in 0_u64..60 * MIB,
    ) {
        static FIXTURE: OnceLock<Vec<u8>> = OnceLock::new();
        let mut bytes = FIXTURE.get_or_init(|| fixture(VARIANTS[1])).clone();
        for (at, byte) in changes {
            // The superblock's first fields and the descriptors that follow it.
            let at = if at < 1024 { at / 8 } else { at };
            bytes[AT.offset_bytes as usize + 1024 + at] = byte;
        }
        let disk = MemDisk::new(bytes);
        let _ = ext4::probe(&disk, AT);
        let _ = ext4::recover(&disk, AT, &GUID);
        let _ = ext4::check_shrink(&disk, AT, new_len);
        prop_assert!(disk.ops.borrow().is_empty());
    }
}
