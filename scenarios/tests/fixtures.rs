//! What the builders make: the same bytes every time, clean to the file systems' own checkers, and with the properties
//! that the scenarios rely on (live blocks at the end, sparse indices, enough clusters). Needs e2fsprogs, dosfstools and
//! mtools; a missing one fails the test by name.

mod disk;

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use backhand::{FilesystemReader, InnerNode};
use disk::{Disk, build, program};
use scenarios::model::{ContentSpec, Scenario};
use scenarios::{FixtureError, Problem, fixture, load, shipped};

/// One test for each scenario that ships, so that a failure names it and the builds run beside each other.
macro_rules! fixtures {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*

        #[test]
        fn every_declared_disk_that_ships_is_among_these_tests() {
            let own = shipped().iter().filter(|shipped| !shipped.is_open() && !shipped.is_image());
            let shipped: Vec<_> = own.map(|shipped| shipped.name).collect();
            assert_eq!(shipped, [$($name),*]);
        }
    };
}

fixtures! {
    content_heavy_is_sound: "content-heavy",
    entries_128_is_sound: "entries-128",
    ext4_relocate_is_sound: "ext4-relocate",
    grown_disk_is_sound: "grown-disk",
    mixed_layout_is_sound: "mixed-layout",
    no_space_is_sound: "no-space",
    renumber_is_sound: "renumber",
    sectors_4k_is_sound: "sectors-4k",
    shrink_and_grow_is_sound: "shrink-and-grow",
    shrink_below_used_is_sound: "shrink-below-used",
    sparse_4g_is_sound: "sparse-4g",
}

/// What holds for every fixture.
fn check(name: &str) {
    let disk = Disk::of(name);
    let scenario = load(name, None).unwrap().scenario;
    check_tables(&disk, &scenario);
    for spec in scenario.fixture.partition.iter().filter(|spec| spec.count == 1) {
        match spec.content {
            ContentSpec::Ext4 { .. } => check_ext4(&disk.extract(&spec.label)),
            ContentSpec::Fat { bits, .. } => check_fat(&disk.extract(&spec.label), bits),
            ContentSpec::Squashfs { .. } => check_squashfs(&disk.extract(&spec.label)),
            ContentSpec::Raw { .. } => {}
        }
    }
    let again = Disk::of(name);
    assert!(disk.equals(&again), "{name} differs between two builds");
}

/// Both copies are valid, point at each other, and hold as many entries as are declared.
fn check_tables(disk: &Disk, scenario: &Scenario) {
    let declared: u32 = scenario.fixture.partition.iter().map(|spec| spec.count).sum();
    let primary = disk.table(disk.sector);
    let backup = disk.table(primary.other_lba * disk.sector);
    assert_eq!(primary.entries, backup.entries);
    assert_eq!((backup.own_lba, backup.other_lba), (primary.other_lba, 1));
    assert_eq!(primary.entries.len(), declared as usize);
    let mbr = disk.read(0, 512);
    assert_eq!((mbr[450], &mbr[510..]), (0xEE, &[0x55, 0xAA][..]));
}

/// Clean, in use to its last MiB, and inodes in its last group: a shrink has to move both.
fn check_ext4(image: &Path) {
    let path = image.to_str().unwrap();
    program("e2fsck", &["-f", "-n", path]);
    let said = program("dumpe2fs", &[path]);
    let free = disk::free_blocks(&said);
    let (block, blocks) = (disk::field(&said, "Block size:"), disk::field(&said, "Block count:"));
    let mut last_mib = blocks - (1 << 20) / block..blocks;
    let live = last_mib.by_ref().filter(|at| !free.iter().any(|range| range.contains(at))).count() as u64;
    assert!(live * block >= 128 << 10, "{live} live blocks in the last MiB");
    let groups = disk::inode_groups_in_use(&said);
    assert!(groups.last().is_some_and(|last| *last), "no inode in the last group: {groups:?}");
}

fn check_fat(image: &Path, bits: u8) {
    let said = program("fsck.fat", &["-n", "-v", image.to_str().unwrap()]);
    assert!(said.contains(&format!("{bits} bit entries")), "{said}");
    let clusters: u64 = said
        .lines()
        .find_map(|line| line.split_once(" data clusters")?.0.trim().parse().ok())
        .unwrap_or_else(|| panic!("no cluster count in\n{said}"));
    assert_eq!(bits == 32, clusters >= 65_525, "{clusters} clusters");
}

/// Read back by the library, whole.
fn check_squashfs(image: &Path) {
    let reader = BufReader::new(File::open(image).unwrap());
    let squashfs = FilesystemReader::from_reader(reader).unwrap();
    let mut read = 0;
    for node in squashfs.files() {
        if let InnerNode::File(file) = &node.inner {
            let mut content = Vec::new();
            squashfs.file(file).reader().read_to_end(&mut content).unwrap();
            read += content.len() as u64;
        }
    }
    let len = image.metadata().unwrap().len();
    assert!(read * 10 > len * 9, "{read} bytes of files in {len}");
}

#[test]
fn a_fixture_is_the_same_bytes_in_another_second_and_folder() {
    let first = Disk::of("mixed-layout");
    thread::sleep(Duration::from_millis(1100));
    let folder = tempfile::Builder::new().prefix("a path 'with' \"quotes\" ?").tempdir().unwrap();
    assert!(first.equals(&Disk::in_folder("mixed-layout", folder)));
}

#[test]
fn a_build_leaves_nothing_but_the_image() {
    let folder = tempfile::tempdir().unwrap();
    build("renumber", folder.path());
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["disk.img"]);
}

/// The files can't fit beside journal and tables, which shows only after mke2fs ran.
#[test]
fn a_build_that_fails_leaves_nothing() {
    let mut resolved = load("renumber", None).unwrap();
    let ContentSpec::Ext4 { used, .. } = &mut resolved.scenario.fixture.partition[2].content else {
        panic!("the third partition is the ext4");
    };
    *used = "15M".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let error = fixture::build(&resolved, folder.path()).unwrap_err();
    assert!(matches!(&error, FixtureError::Ext4Full { label, .. } if label == "DATA"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn too_few_clusters_for_a_fat32_are_refused() {
    let mut resolved = load("grown-disk", None).unwrap();
    resolved.scenario.fixture.partition[0].size = "32M".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let error = fixture::build(&resolved, folder.path()).unwrap_err();
    assert!(matches!(error, FixtureError::FatGeometry { bits: 32, .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_declaration_that_is_no_disk_is_refused_before_anything_is_written() {
    let mut resolved = load("renumber", None).unwrap();
    resolved.scenario.fixture.partition[1].start = Some("2M".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let error = fixture::build(&resolved, folder.path()).unwrap_err();
    let FixtureError::Declaration(fault) = error else { panic!("{error}") };
    assert!(matches!(fault.problem, Problem::Overlap { .. }), "{fault}");
}

#[test]
fn indices_and_attributes_are_kept_as_they_are() {
    let disk = Disk::of("mixed-layout");
    let table = disk.table(disk.sector);
    let indices: Vec<_> = table.entries.iter().map(|entry| (entry.index, entry.label.as_str())).collect();
    assert_eq!(indices, [(1, "EFI System"), (2, "IMGA"), (3, "IMGB"), (4, "CONFIG"), (9, "P3")]);
    assert_eq!(disk.entry("IMGA").attributes, 0x0135_0000_0000_0004);
    assert_eq!(disk.entry("IMGB").attributes, 0);
}

#[test]
fn a_grown_disk_has_its_backup_table_where_the_old_end_was() {
    let disk = Disk::of("grown-disk");
    assert_eq!(disk.len(), 84 << 20);
    assert_eq!(disk.table(disk.sector).other_lba, (40 << 20) / disk.sector - 1);
}

#[test]
fn what_mixed_layout_uses_is_about_four_fifths_of_the_shrunk_size() {
    let disk = Disk::of("mixed-layout");
    let image = disk.extract("P3");
    program("resize2fs", &[image.to_str().unwrap(), "12M"]);
    let said = program("dumpe2fs", &["-h", image.to_str().unwrap()]);
    let (blocks, free) = (disk::field(&said, "Block count:"), disk::field(&said, "Free blocks:"));
    let percent = (blocks - free) * 100 / blocks;
    assert!((75..=85).contains(&percent), "{percent} %");
}

#[test]
fn a_fat_has_what_copying_files_would_lose() {
    let disk = Disk::of("mixed-layout");
    let image = disk.extract("EFI System");
    let path = image.to_str().unwrap();
    let boot = fs::read(&image).unwrap()[..4096].to_vec();
    assert_eq!(u32::from_le_bytes(boot[28..32].try_into().unwrap()), 2048, "hidden sectors");
    assert_eq!(boot[..512], boot[6 * 512..7 * 512], "backup boot sector");
    assert!(boot[0x5A..510].iter().filter(|byte| **byte != 0).count() > 400, "boot code");
    let attributes = program("mattrib", &["-i", path, "::IO.SYS", "::HIDDEN.DAT", "::BOOT.CFG"]);
    assert_eq!(
        attributes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect::<Vec<_>>(),
        [vec!["SHR", "::/IO.SYS"], vec!["H", "::/HIDDEN.DAT"], vec!["R", "::/BOOT.CFG"]]
    );
    let names = program("mdir", &["-i", path, "-b", "-/", "::"]);
    assert!(names.contains("Überraschung – mit Umlauten.txt"), "{names}");
}

#[test]
fn an_ext4_has_what_copying_files_would_lose() {
    let disk = Disk::of("ext4-relocate");
    let image = disk.extract("HOME");
    let stat = |file: &str| {
        let request = format!("stat \"{file}\"");
        program("debugfs", &["-R", &request, image.to_str().unwrap()])
    };
    for (file, expected) in [
        ("/bin/su", &["Mode:  04755", "Links: 2"][..]),
        ("/bin/both", &["Mode:  06711", "User:  1000"]),
        ("/tmp", &["Mode:  01777", "Type: directory"]),
        // 4,000,000,000 and 3,000,000,000, which debugfs prints with a sign.
        ("/home/anna/high owner", &["User: -294967296", "Group: -1294967296"]),
        ("/bin/ping", &["security.capability (20)"]),
        ("/home/anna/tagged", &["user.comment", "user.large (600)", "trusted.overlay.opaque"]),
        ("/links/target", &["Links: 3"]),
        ("/links/fast", &["Fast link dest: \"target\""]),
        ("/links/slow", &["Type: symlink", "EXTENTS"]),
        ("/tmp/fifo", &["Type: FIFO"]),
        ("/var/data/fragmented", &["ETB0"]),
        ("/home/anna/many", &["Flags: 0x81000"]),
    ] {
        let said = stat(file);
        for text in expected {
            assert!(said.contains(text), "{file}: no `{text}` in\n{said}");
        }
    }
    let holes = stat("/var/data/holes");
    assert!(holes.contains("Size: 114688") && holes.contains("(80)"), "{holes}");
}
