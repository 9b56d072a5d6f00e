//! A disk with real file systems, made by mke2fs and mkfs.fat (Debian packages e2fsprogs and dosfstools).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::layout::{self, MIB, Spec};
use super::place::temp_dir;

/// Runs a program that a test can't do without, its clock fixed; what it printed.
pub fn tool(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC0")
        .env("E2FSPROGS_FAKE_TIME", "1700000000")
        .output()
        .unwrap_or_else(|error| panic!("this test needs the program `{program}`: {error}"));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text.into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Size of each file in the ext4 file system.
const FILE_LEN: usize = 700_001;
/// How many there are.
const FILES: u32 = 16;

/// An ext4 file system with [`FILES`] files.
fn ext4(len_mib: usize) -> Vec<u8> {
    let directory = temp_dir();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..FILES {
        let mut bytes = vec![0; FILE_LEN];
        layout::fill(&mut bytes, 1000 + number);
        fs::write(tree.join(format!("file{number}")), bytes).unwrap();
    }
    let image = directory.path().join("ext4");
    let size = format!("{len_mib}M");
    tool("mke2fs", &["-q", "-t", "ext4", "-d", text(&tree), text(&image), &size]);
    fs::read(image).unwrap()
}

/// Whether the ext4 file system in `bytes` is sound and has all its files.
pub fn assert_ext4_whole(bytes: &[u8]) {
    let directory = temp_dir();
    let image = directory.path().join("ext4");
    fs::write(&image, bytes).unwrap();
    tool("e2fsck", &["-f", "-n", text(&image)]);
    let copy = directory.path().join("copy");
    for number in 0..FILES {
        tool("debugfs", &["-R", &format!("dump /file{number} {}", text(&copy)), text(&image)]);
        let mut wanted = vec![0; FILE_LEN];
        layout::fill(&mut wanted, 1000 + number);
        assert!(fs::read(&copy).unwrap() == wanted, "file{number}");
    }
}

fn fat32(len_mib: usize) -> Vec<u8> {
    let directory = temp_dir();
    let image = directory.path().join("fat");
    fs::write(&image, vec![0; len_mib * MIB]).unwrap();
    tool("mkfs.fat", &["-F", "32", "-s", "1", "-n", "EFI", text(&image)]);
    fs::read(image).unwrap()
}

/// Whether fsck.fat finds the FAT file system in `bytes` sound.
pub fn assert_fat_sound(bytes: &[u8]) {
    let directory = temp_dir();
    let image = directory.path().join("fat");
    fs::write(&image, bytes).unwrap();
    tool("fsck.fat", &["-n", text(&image)]);
}

/// A disk of 128 MiB with FAT32, raw content and ext4; index 9 is sparse on purpose.
pub fn mixed() -> Vec<u8> {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(|| {
        let mut specs = [
            Spec::new(1, 1, 34, "EFI System"),
            Spec::new(2, 35, 3, "IMGA"),
            Spec::new(3, 38, 3, "IMGB"),
            Spec::new(4, 41, 1, "CONFIG"),
            Spec::new(9, 42, 84, "P3"),
        ];
        specs[1].attributes = 0x8000_0000_0000_0004;
        let mut disk = layout::disk(128, 512, &specs);
        disk[MIB..35 * MIB].copy_from_slice(&fat32(34));
        disk[42 * MIB..126 * MIB].copy_from_slice(&ext4(84));
        disk
    })
    .clone()
}
