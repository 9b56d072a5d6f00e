//! FAT is relocated so that fsck.fat finds nothing, every program reads every file, and nothing else changes.
//!
//! The fixtures are made by mkfs.fat and filled by mtools; fsck.fat, mtools and the crate fatfs judge the result.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use common::filesystems::tool;
use common::memory::MemoryDisk;
use common::place::temp_dir;
use common::scale::cases;
use proptest::prelude::*;
use resizer::disk::Extent;
use resizer::error::Error;
use resizer::fat::{self, FatKind};
use resizer::file_disk::{Access, FileDisk};
use resizer::fstools::{self, Tools};

const MIB: u64 = 1024 * 1024;
const SOURCE_OFFSET: u64 = MIB;

struct Case {
    options: &'static [&'static str],
    kind: FatKind,
    len_bytes: u64,
    new_len_bytes: u64,
}

const CASES: [Case; 6] = [
    Case {
        options: &["-F", "12", "-s", "8"],
        kind: FatKind::Fat12,
        len_bytes: 4 * MIB,
        new_len_bytes: 9 * MIB,
    },
    Case {
        options: &["-F", "16", "-s", "4"],
        kind: FatKind::Fat16,
        len_bytes: 16 * MIB,
        new_len_bytes: 40 * MIB,
    },
    Case {
        options: &["-F", "32", "-s", "1"],
        kind: FatKind::Fat32,
        len_bytes: 40 * MIB,
        new_len_bytes: 97 * MIB,
    },
    Case {
        options: &["-F", "32", "-s", "1", "-R", "9", "-b", "6"],
        kind: FatKind::Fat32,
        len_bytes: 40 * MIB,
        new_len_bytes: 41 * MIB + 512,
    },
    Case {
        options: &["-F", "16", "-s", "1", "-S", "4096"],
        kind: FatKind::Fat16,
        len_bytes: 20 * MIB,
        new_len_bytes: 30 * MIB,
    },
    Case {
        options: &["-F", "16", "-s", "4", "-f", "1"],
        kind: FatKind::Fat16,
        len_bytes: 16 * MIB,
        new_len_bytes: 16 * MIB,
    },
];

impl Case {
    fn source(&self) -> Extent {
        Extent { offset_bytes: SOURCE_OFFSET, len_bytes: self.len_bytes }
    }

    fn target(&self) -> Extent {
        Extent { offset_bytes: self.source().end_bytes() + MIB, len_bytes: self.new_len_bytes }
    }

    /// A file system with directories, long names, fragmented files and free clusters that hold old data.
    fn fixture(&self) -> Vec<u8> {
        let dir = temp_dir();
        let image = dir.path().join("fat.img");
        let image_arg = image.to_str().unwrap();
        fs::File::create(&image).unwrap().set_len(self.len_bytes).unwrap();
        let hidden = (SOURCE_OFFSET / self.sector_bytes()).to_string();
        let mut args = vec!["--invariant", "-i", "12345678", "-n", "KEEPME", "-h", hidden.as_str()];
        args.extend(self.options);
        args.push(image_arg);
        tool("mkfs.fat", &args);
        let host = dir.path().join("host");
        let put = |name: &str, len: usize| {
            fs::write(&host, (0..len).map(|at| (at * 31 / 7) as u8).collect::<Vec<_>>()).unwrap();
            tool("mcopy", &["-D", "o", "-i", image_arg, host.to_str().unwrap(), &format!("::{name}")]);
        };
        tool("mmd", &["-i", image_arg, "::EFI", "::EFI/BOOT"]);
        for index in 0..12 {
            put(&format!("EFI/a rather long name {index}.bin"), 30_000 + index * 7_777);
        }
        for index in (0..12).step_by(2) {
            tool("mdel", &["-i", image_arg, &format!("::EFI/a rather long name {index}.bin")]);
        }
        put("EFI/BOOT/BOOTX64.EFI", 300_000);
        put("EMPTY", 0);
        tool("mattrib", &["+r", "+h", "+s", "-i", image_arg, "::EFI/BOOT/BOOTX64.EFI"]);
        let mut disk = vec![0x5A; (self.target().end_bytes() + MIB) as usize];
        disk[SOURCE_OFFSET as usize..][..self.len_bytes as usize].copy_from_slice(&fs::read(&image).unwrap());
        disk
    }

    fn sector_bytes(&self) -> u64 {
        if self.options.contains(&"4096") { 4096 } else { 512 }
    }
}

/// What fatfs and mtools make of an image: names with attributes and times, and contents.
fn contents(image: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let dir = temp_dir();
    let path = dir.path().join("fat.img");
    fs::write(&path, image).unwrap();
    tool("fsck.fat", &["-n", path.to_str().unwrap()]);
    let listing = tool("mdir", &["-/", "-a", "-i", path.to_str().unwrap(), "::"]);
    let listing: String = listing.lines().filter(|line| !line.contains("bytes free")).collect();
    let attributes = tool("mattrib", &["-/", "-i", path.to_str().unwrap(), "::"]);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    tool("mcopy", &["-s", "-n", "-i", path.to_str().unwrap(), "::EFI", out.to_str().unwrap()]);
    let mut found = BTreeMap::from([
        ("mdir".to_owned(), listing.into_bytes()),
        ("mattrib".to_owned(), attributes.into_bytes()),
    ]);
    collect(&out, &out, &mut found);
    assert!(found.len() >= 9, "mtools copied {} entries", found.len());
    if u16::from_le_bytes([image[11], image[12]]) == 512 && image[13] > 1 {
        let options = fatfs::FsOptions::new().update_accessed_date(false);
        let fat = fatfs::FileSystem::new(Cursor::new(image.to_vec()), options).unwrap();
        assert_eq!(fat.volume_label(), "KEEPME");
        let mut content = Vec::new();
        fat.root_dir().open_file("EFI/BOOT/BOOTX64.EFI").unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, found["EFI/BOOT/BOOTX64.EFI"]);
    }
    found
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), fs::read(&path).unwrap());
        }
    }
}

#[test]
fn a_relocation_fills_the_target_and_keeps_everything() {
    for case in &CASES {
        let what = format!("{:?} to {} bytes", case.options, case.new_len_bytes);
        let (source, target) = (case.source(), case.target());
        let disk = MemoryDisk::new(case.fixture());
        let before = disk.bytes.borrow().clone();
        fat::check_growable(&disk, source, target.len_bytes).unwrap();
        fat::relocate(&disk, source, target).unwrap();

        let (old, moved) = (disk.slice(source), disk.slice(target));
        assert!(contents(&old) == contents(&moved), "{what}");
        let (old_info, info) =
            (fat::probe(&disk, source).unwrap().unwrap(), fat::probe(&disk, target).unwrap().unwrap());
        assert_eq!((old_info.kind, info.kind), (case.kind, case.kind), "{what}");
        assert_eq!(info.cluster_bytes, old_info.cluster_bytes);
        assert_eq!(info.size_bytes, target.len_bytes / info.sector_bytes * info.sector_bytes, "{what}");
        assert_eq!(info.clusters > old_info.clusters, case.new_len_bytes > case.len_bytes, "{what}");

        // Outside of the size fields the boot sector is as it was.
        let differing: Vec<usize> = (0..512).filter(|at| old[*at] != moved[*at]).collect();
        let sizes = [19, 20, 22, 23, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39];
        assert!(differing.iter().all(|at| sizes.contains(at)), "{what}: bytes {differing:?}");
        if case.kind == FatKind::Fat32 {
            let backup = usize::from(u16::from_le_bytes([moved[50], moved[51]])) * info.sector_bytes as usize;
            assert!(moved[..512] == moved[backup..backup + 512], "{what}: the backup boot sector differs");
        }
        let hidden = u32::from_le_bytes(moved[28..32].try_into().unwrap());
        assert_eq!(u64::from(hidden), target.offset_bytes / info.sector_bytes, "{what}");

        let after = disk.bytes.borrow().clone();
        assert!(before[..target.offset_bytes as usize] == after[..target.offset_bytes as usize]);
        assert!(before[target.end_bytes() as usize..] == after[target.end_bytes() as usize..]);
    }
}

#[test]
fn the_target_is_a_function_of_the_source_alone() {
    for case in &CASES {
        let (source, target) = (case.source(), case.target());
        let disk = MemoryDisk::new(case.fixture());
        let other = MemoryDisk::new(disk.bytes.borrow().clone());
        other.bytes.borrow_mut()[target.offset_bytes as usize..target.end_bytes() as usize].fill(0);
        fat::relocate(&disk, source, target).unwrap();
        fat::relocate(&other, source, target).unwrap();
        assert!(disk.slice(target) == other.slice(target), "{:?}", case.options);
        disk.ops.borrow_mut().clear();
        fat::relocate(&disk, source, target).unwrap();
        assert!(disk.ops.borrow().is_empty(), "a second relocation wrote");
    }
}

#[test]
fn deleted_data_does_not_travel() {
    let case = &CASES[2];
    let mut bytes = case.fixture();
    let marker = b"deleted but still there";
    // The last cluster of the source is free.
    let end = case.source().end_bytes() as usize;
    bytes[end - 512..][..marker.len()].copy_from_slice(marker);
    let disk = MemoryDisk::new(bytes);
    fat::relocate(&disk, case.source(), case.target()).unwrap();
    assert!(!disk.slice(case.target()).windows(marker.len()).any(|window| window == marker));
}

#[test]
fn the_free_count_is_that_of_the_new_size() {
    let case = &CASES[3];
    let disk = MemoryDisk::new(case.fixture());
    fat::relocate(&disk, case.source(), case.target()).unwrap();
    let free = |at: Extent| {
        let image = disk.slice(at);
        u32::from_le_bytes(image[512 + 488..512 + 492].try_into().unwrap())
    };
    let clusters = |at: Extent| fat::probe(&disk, at).unwrap().unwrap().clusters;
    let (source, target) = (case.source(), case.target());
    assert_eq!(u64::from(free(target) - free(source)), clusters(target) - clusters(source));
}

#[test]
fn a_fat_that_cannot_grow_so_far_is_refused_before_any_write() {
    for (case, new_len) in [(&CASES[0], 64 * MIB), (&CASES[1], 140 * MIB), (&CASES[4], 300 * MIB)] {
        let disk = MemoryDisk::new(case.fixture());
        let failed = fat::check_growable(&disk, case.source(), new_len).unwrap_err();
        assert!(matches!(failed, Error::BadContent { .. }), "{failed}");
        assert!(failed.to_string().contains("can't grow"), "{failed}");
    }
}

#[test]
fn damaged_tables_are_refused() {
    let case = &CASES[1];
    let fixture = case.fixture();
    let at = SOURCE_OFFSET as usize;
    let reserved = u16::from_le_bytes([fixture[at + 14], fixture[at + 15]]) as usize;
    let fat_bytes = u16::from_le_bytes([fixture[at + 22], fixture[at + 23]]) as usize * 512;
    let table = at + reserved * 512;
    let entry = |at: usize| u16::from_le_bytes([fixture[table + at * 2], fixture[table + at * 2 + 1]]);
    let owned = (2..).map(entry).find(|next| (3..0xFFF0).contains(next)).unwrap();
    // (entry, value, in both copies, what is said)
    for (entry, value, both, said) in [
        (2, 0xFFF0_u16, true, "doesn't exist"),
        (2, 1, true, "doesn't exist"),
        (2, 4000, true, "free or bad"),
        (3000, owned, true, "two owners"),
        (2, 5, false, "copies"),
        (0, 0xFF00, true, "media"),
    ] {
        let mut bytes = fixture.clone();
        for copy in 0..if both { 2 } else { 1 } {
            bytes[table + copy * fat_bytes + entry * 2..][..2].copy_from_slice(&value.to_le_bytes());
        }
        let disk = MemoryDisk::new(bytes);
        let failed = fat::relocate(&disk, case.source(), case.target()).unwrap_err().to_string();
        assert!(failed.contains(said), "entry {entry} = {value:#x}: {failed}");
        assert!(disk.ops.borrow().is_empty());
    }
}

#[test]
fn bad_cluster_marks_are_kept() {
    let case = &CASES[2];
    let mut bytes = case.fixture();
    let at = SOURCE_OFFSET as usize;
    let field =
        |at: usize, len: usize| (0..len).map(|byte| (bytes[at + byte] as usize) << (8 * byte)).sum::<usize>();
    let (reserved, fat_sectors) = (field(at + 14, 2), field(at + 36, 4));
    let mark = 0x0FFF_FFF7_u32.to_le_bytes();
    for copy in 0..2 {
        bytes[at + (reserved + copy * fat_sectors) * 512 + 50_000 * 4..][..4].copy_from_slice(&mark);
    }
    let disk = MemoryDisk::new(bytes);
    fat::relocate(&disk, case.source(), case.target()).unwrap();
    let moved = disk.slice(case.target());
    assert_eq!(moved[reserved * 512 + 50_000 * 4..][..4], mark);
}

#[test]
fn fsck_fat_repairs_where_it_was_asked_to() {
    let case = &CASES[2];
    let mut bytes = case.fixture();
    let at = SOURCE_OFFSET as usize;
    // A free count that is off is what fsck.fat repairs by itself.
    bytes[at + 512 + 488] ^= 1;
    let disk = MemoryDisk::new(bytes);
    let scratch = temp_dir();
    let tools = Tools::new(scratch.path().to_path_buf(), uuid::Uuid::nil());
    fstools::check_fat(&disk, case.source(), true, &tools).unwrap();
    assert!(!disk.ops.borrow().is_empty());
    disk.ops.borrow_mut().clear();
    fstools::check_fat(&disk, case.source(), false, &tools).unwrap();
    assert!(disk.ops.borrow().is_empty());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// 65,525 clusters, the least that mtools takes for FAT32, are 256 MiB here: this disk is a sparse file.
#[test]
fn a_fat32_with_sectors_of_4096_bytes_grows() {
    let dir = temp_dir();
    let (image, path) = (dir.path().join("fat.img"), dir.path().join("disk.img"));
    let image_arg = image.to_str().unwrap();
    let source = Extent { offset_bytes: 0, len_bytes: 260 * MIB };
    let target = Extent { offset_bytes: 264 * MIB, len_bytes: 300 * MIB };
    let file = fs::File::create(&path).unwrap();
    file.set_len(source.len_bytes).unwrap();
    tool("mkfs.fat", &["--invariant", "-F", "32", "-S", "4096", "-s", "1", path.to_str().unwrap()]);
    file.set_len(target.end_bytes()).unwrap();
    let host = dir.path().join("host");
    fs::write(&host, (0..5_000_000_u32).map(|at| (at / 3) as u8).collect::<Vec<_>>()).unwrap();
    tool("mcopy", &["-i", path.to_str().unwrap(), host.to_str().unwrap(), "::FILE"]);

    let disk = FileDisk::open(&path, Access::Write).unwrap();
    fat::relocate(&disk, source, target).unwrap();
    let info = fat::probe(&disk, target).unwrap().unwrap();
    assert_eq!((info.kind, info.sector_bytes, info.size_bytes), (FatKind::Fat32, 4096, target.len_bytes));
    tool(
        "dd",
        &[&format!("if={}", path.display()), &format!("of={image_arg}"), "bs=1M", "skip=264", "conv=sparse"],
    );
    tool("fsck.fat", &["-n", image_arg]);
    let back = dir.path().join("back");
    tool("mcopy", &["-i", image_arg, "::FILE", back.to_str().unwrap()]);
    assert!(fs::read(host).unwrap() == fs::read(back).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(400), failure_persistence: None, ..ProptestConfig::default() })]

    /// A boot sector with any bytes in its fields gives an error or works; it never panics, and never writes
    /// outside of the target.
    #[test]
    fn hostile_boot_sectors_never_panic(
        changes in prop::collection::vec((11_usize..64, any::<u8>()), 0..6),
        fat32 in any::<bool>(),
        new_len in 1_u64..8 * MIB,
    ) {
        let mut bytes = vec![0_u8; 12 * MIB as usize];
        bytes[..3].copy_from_slice(&[0xEB, 0x3C, 0x90]);
        bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
        let (reserved, root, fat16, fat32_sectors) = if fat32 { (32, 0, 0, 16) } else { (4, 512, 16, 0) };
        for (at, len, value) in [
            (11, 2, 512), (13, 1, 2), (14, 2, reserved), (16, 1, 2), (17, 2, root), (21, 1, 0xF8),
            (22, 2, fat16), (32, 4, 4096), (36, 4, fat32_sectors), (44, 4, 2 * u32::from(fat32)), (48, 2, u32::from(fat32)),
        ] {
            if value != 0 {
                bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
            }
        }
        bytes[reserved as usize * 512..][..4].copy_from_slice(&[0xF8, 0xFF, 0xFF, 0x0F]);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let disk = MemoryDisk::new(bytes);
        let source = Extent { offset_bytes: 0, len_bytes: 3 * MIB };
        let target = Extent { offset_bytes: 4 * MIB, len_bytes: new_len };
        let _ = fat::probe(&disk, source);
        let _ = fat::check(&disk, source);
        let growable = fat::check_growable(&disk, source, new_len);
        let before = disk.slice(source);
        if fat::relocate(&disk, source, target).is_ok() {
            prop_assert!(growable.is_ok());
            prop_assert!(fat::probe(&disk, target).unwrap().is_some());
        }
        prop_assert!(before == disk.slice(source));
        prop_assert!(disk.bytes.borrow()[target.end_bytes() as usize..].iter().all(|byte| *byte == 0));
    }
}
