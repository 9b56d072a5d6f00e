//! ext4 is shrunk and relocated with all that it keeps, and what can't be done is refused before the first write.
//!
//! mke2fs and debugfs make the fixtures; e2fsck and debugfs judge the results. Crashes are the subject of
//! `ext4_crash.rs`.

mod common;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use common::ext4::{
    AT, DISK_BYTES, GUID, MIB, SHRUNK_BYTES, VARIANTS, contents, fixture, kept, outside, record, shrink,
    tools,
};
use common::filesystems::tool;
use common::memory::MemoryDisk;
use common::place::temp_dir;
use common::scale::cases;
use proptest::prelude::*;
use resizer::disk::Extent;
use resizer::error::Error;
use resizer::ext4;
use resizer::file_disk::{Access, FileDisk};
use resizer::fstools::{self, Tools};
use tempfile::NamedTempFile;

/// A disk whose file system debugfs has changed.
fn edited(disk: &[u8], commands: &str) -> Vec<u8> {
    let script = NamedTempFile::new().unwrap();
    fs::write(script.path(), commands).unwrap();
    let image = NamedTempFile::new().unwrap();
    let place = AT.offset_bytes as usize..AT.end_bytes() as usize;
    fs::write(image.path(), &disk[place.clone()]).unwrap();
    tool("debugfs", &["-w", "-f", script.path().to_str().unwrap(), image.path().to_str().unwrap()]);
    let mut disk = disk.to_vec();
    disk[place].copy_from_slice(&fs::read(image.path()).unwrap());
    disk
}

#[test]
fn a_shrink_keeps_every_file_and_leaves_a_clean_file_system() {
    for options in VARIANTS {
        let run = record(options);
        let old = contents(&run.before[AT.offset_bytes as usize..AT.end_bytes() as usize]);
        assert!(old.len() > 100 && old == contents(kept(&run.after)), "{options:?}");
        assert!(outside(&run.before) == outside(&run.after));
        assert_eq!(fs::read_dir(run.scratch.path()).unwrap().count(), 0, "a staged copy was left");

        let info = ext4::probe(&MemoryDisk::new(run.after.clone()), AT).unwrap().unwrap();
        assert!(info.size_bytes <= SHRUNK_BYTES && &info.label[..6] == b"keepme");
    }
}

/// What debugfs says of each path's inode, its number and blocks left out, and that number.
fn inodes(fs_bytes: &[u8], paths: &[String]) -> BTreeMap<String, (String, String)> {
    let image = NamedTempFile::new().unwrap();
    fs::write(image.path(), fs_bytes).unwrap();
    let image_arg = image.path().to_str().unwrap();
    tool("e2fsck", &["-f", "-n", image_arg]);
    let commands = NamedTempFile::new().unwrap();
    fs::write(commands.path(), paths.iter().map(|path| format!("stat {path}\n")).collect::<String>())
        .unwrap();
    let text = tool("debugfs", &["-f", commands.path().to_str().unwrap(), image_arg]);
    let stats: Vec<&str> = text.split("debugfs: stat ").skip(1).collect();
    assert_eq!(stats.len(), paths.len());
    let parse = |stat: &str| {
        let (path, stat) = stat.split_once('\n').unwrap();
        let (number, kind) = stat.trim_start_matches("Inode: ").trim_start().split_once(' ').unwrap();
        let kind = kind.lines().next().unwrap().to_owned();
        let marks = ["User:", "Links:", "time:", "user.note"];
        // How many blocks the map of a file's blocks takes may change.
        let lines = stat.lines().map(|line| line.split("   Blockcount").next().unwrap());
        let kept = lines.filter(|line| marks.iter().any(|mark| line.contains(mark)));
        (path.to_owned(), (kept.fold(kind, |all, line| all + "\n" + line), number.to_owned()))
    };
    stats.into_iter().map(parse).collect()
}

/// resize2fs stamps what it gives other inode numbers, and the directories of that, with its clock. Here every path
/// has times of its own, to the nanosecond where the inode has room for them.
#[test]
fn a_shrink_that_moves_inodes_keeps_every_time() {
    for (bytes, features) in [
        ("256", "metadata_csum"),
        ("256", "metadata_csum,metadata_csum_seed"),
        ("256", "^metadata_csum"),
        ("128", "metadata_csum"),
        ("128", "^metadata_csum,uninit_bg"),
    ] {
        let what = format!("inodes of {bytes} bytes, {features}");
        let options = ["-t", "ext4", "-b", "1024", "-g", "8192", "-N", "240", "-I", bytes, "-O", features];
        let plain = fixture(&options);
        let mut paths: Vec<String> = contents(&plain[AT.offset_bytes as usize..AT.end_bytes() as usize])
            .into_keys()
            .filter_map(|path| (!path.starts_with("stat ")).then(|| format!("/{path}")))
            .chain(["/".to_owned(), "/new".to_owned(), "/new/link".to_owned()])
            .collect();
        paths.extend((0..9).map(|index| format!("/new/deeper{index}")));

        // Directories that find the low numbers taken get high ones, which the shrink takes away.
        let mut script: String = (0..100).map(|index| format!("mkdir filler{index}\n")).collect();
        script += "mkdir new\nsymlink new/link deeper1\n";
        script.extend((0..9).map(|index| format!("mkdir new/deeper{index}\n")));
        script.extend((0..100).map(|index| format!("rmdir filler{index}\n")));
        for (index, path) in paths.iter().enumerate() {
            for (at, field) in ["mtime", "ctime", "atime"].into_iter().enumerate() {
                script += &format!("sif {path} {field} @{}\n", 1_500_000_000 + index * 1000 + at);
                if bytes == "256" {
                    script += &format!("sif {path} {field}_extra {}\n", (index * 10 + at) << 2);
                }
            }
            script += &format!("sif {path} uid {index}\n");
        }
        let before = edited(&plain, &script);
        let disk = MemoryDisk::new(before.clone());
        let scratch = temp_dir();
        shrink(&disk, &tools(&scratch)).unwrap();

        let old = inodes(&before[AT.offset_bytes as usize..AT.end_bytes() as usize], &paths);
        let new = inodes(kept(&disk.bytes.borrow()), &paths);
        let mut moved = BTreeMap::new();
        for (path, (stat, number)) in &old {
            assert_eq!(&new[path].0, stat, "{what}: {path}");
            if &new[path].1 != number {
                *moved.entry(stat.contains("Type: directory")).or_insert(0) += 1;
            }
        }
        assert!(moved[&true] > 3 && moved[&false] > 10, "{what}: moved (directories: true) {moved:?}");
    }
}

#[test]
fn a_shrink_done_again_writes_nothing() {
    let run = record(VARIANTS[0]);
    let disk = MemoryDisk::new(run.after.clone());
    shrink(&disk, &tools(&run.scratch)).unwrap();
    assert!(disk.ops.borrow().is_empty());
}

#[test]
fn a_relocation_fills_the_target_and_keeps_everything() {
    let source = Extent { offset_bytes: MIB, len_bytes: 48 * MIB };
    let target = Extent { offset_bytes: 52 * MIB, len_bytes: 67 * MIB + 512 };
    for options in VARIANTS {
        let mut before = fixture(options);
        before.resize(target.end_bytes() as usize, 0x5A);
        let scratch = temp_dir();
        let disk = MemoryDisk::new(before.clone());
        ext4::relocate(&disk, source, target, &tools(&scratch)).unwrap();
        let moved = disk.slice(target);
        let old = contents(&before[source.offset_bytes as usize..source.end_bytes() as usize]);
        assert!(old == contents(&moved), "{options:?}");
        let info = ext4::probe(&disk, target).unwrap().unwrap();
        assert_eq!(info.size_bytes, 67 * MIB);

        // What lay in the target before must not show, and a second time there is nothing to write.
        let other = MemoryDisk::new(before.clone());
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
    let disk = MemoryDisk::new(fixture(VARIANTS[0]));
    let scratch = temp_dir();
    assert!(matches!(ext4::check_shrink(&disk, AT, 4 * MIB), Err(Error::BelowUsed { .. })));
    let failed = ext4::shrink(&disk, AT, &GUID, 4 * MIB, &tools(&scratch));
    assert!(matches!(failed, Err(Error::BelowUsed { .. })), "{failed:?}");
    assert!(disk.ops.borrow().is_empty());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn an_unclean_journal_is_refused_with_the_flag_that_helps() {
    let clean = fixture(VARIANTS[0]);
    let bytes = edited(&clean, "feature needs_recovery");
    let dir = temp_dir();
    let path = dir.path().join("disk.img");
    fs::write(&path, &bytes).unwrap();
    let disk = FileDisk::open(&path, Access::Write).unwrap();
    let tools = tools(&dir);
    for failed in [
        fstools::check_ext4(&disk, AT, false, &tools).unwrap_err(),
        ext4::shrink(&disk, AT, &GUID, SHRUNK_BYTES, &tools).unwrap_err(),
    ] {
        assert!(failed.to_string().contains("--fix-errors"), "{failed}");
    }
    assert!(fs::read(&path).unwrap() == bytes);
    fstools::check_ext4(&disk, AT, true, &tools).unwrap();
    ext4::shrink(&disk, AT, &GUID, SHRUNK_BYTES, &tools).unwrap();
    let after = fs::read(&path).unwrap();
    assert!(outside(&after) == outside(&bytes));
    assert!(contents(kept(&after)) == contents(&clean[AT.offset_bytes as usize..AT.end_bytes() as usize]));
}

#[test]
fn a_killed_run_s_stage_is_removed_and_other_files_are_not() {
    let disk = MemoryDisk::new(fixture(VARIANTS[0]));
    let scratch = temp_dir();
    fs::write(scratch.path().join(format!("resizer-stage-{}", uuid::Uuid::nil())), "left over").unwrap();
    fs::write(scratch.path().join("resizer-stage-of-another-disk"), "kept").unwrap();
    fs::write(scratch.path().join("mine"), "kept").unwrap();
    shrink(&disk, &tools(&scratch)).unwrap();
    let mut names: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["mine", "resizer-stage-of-another-disk"]);
}

#[test]
fn a_tail_without_free_blocks_is_refused_before_the_first_write() {
    // One file takes all that the shrink would cut off; nothing is left there for the redo journal.
    let dir = temp_dir();
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
    let disk = MemoryDisk::new(bytes);
    let new_len = 44 * MIB;
    let planned = ext4::check_shrink(&disk, AT, new_len);
    assert!(matches!(planned, Err(Error::NoJournalSpace { .. })), "{planned:?}");
    let scratch = temp_dir();
    let failed = ext4::shrink(&disk, AT, &GUID, new_len, &tools(&scratch));
    assert!(matches!(failed, Err(Error::NoJournalSpace { .. })), "{failed:?}");
    assert!(disk.ops.borrow().is_empty());
}

/// e2fsprogs take what follows a `?` as options and `TAG=` as a label: such paths must work all the same.
#[test]
fn odd_paths_are_checked_and_repaired() {
    let dir = temp_dir();
    let scratch = dir.path().join("scratch?x=1");
    fs::create_dir(&scratch).unwrap();
    let tools = Tools::new(scratch, uuid::Uuid::nil());
    let bytes = fixture(VARIANTS[0]);
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
    let bytes = edited(&bytes, "sif hard links_count 9");
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
    #![proptest_config(ProptestConfig { cases: cases(300), failure_persistence: None, ..ProptestConfig::default() })]

    /// Superblocks and group descriptors with any bytes give an error or work; nothing panics or is written.
    #[test]
    fn hostile_superblocks_never_panic(
        changes in prop::collection::vec((0_usize..2048, any::<u8>()), 1..6),
        new_len in 0_u64..60 * MIB,
    ) {
        static FIXTURE: OnceLock<Vec<u8>> = OnceLock::new();
        let fixture = FIXTURE.get_or_init(|| fixture(VARIANTS[1]));
        thread_local!(static DISK: OnceCell<MemoryDisk> = const { OnceCell::new() });
        DISK.with(|disk| {
            let disk = disk.get_or_init(|| MemoryDisk::new(fixture.clone()));
            let start = AT.offset_bytes as usize + 1024;
            let place = start..start + 2048;
            disk.bytes.borrow_mut()[place.clone()].copy_from_slice(&fixture[place]);
            for (at, byte) in changes {
                // The superblock's first fields and the descriptors that follow it.
                let at = if at < 1024 { at / 8 } else { at };
                disk.bytes.borrow_mut()[start + at] = byte;
            }
            let _ = ext4::probe(disk, AT);
            let _ = ext4::recover(disk, AT, &GUID);
            let _ = ext4::check_shrink(disk, AT, new_len);
            prop_assert!(disk.ops.borrow().is_empty());
            Ok(())
        })?;
    }
}
