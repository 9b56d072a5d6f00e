//! An ext4 file system worth shrinking, an uninterrupted shrink of it, and the comparison of any other with that.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use resizer::disk::Extent;
use resizer::error::Result;
use resizer::ext4;
use resizer::fstools::Tools;
use tempfile::TempDir;

use super::filesystems::tool;
use super::memory::{MemoryDisk, Op};
use super::place::temp_dir;

pub const MIB: u64 = 1024 * 1024;
pub const GUID: [u8; 16] = *b"0123456789abcdef";

/// The partition in these tests; what lies around it must never change.
pub const AT: Extent = Extent { offset_bytes: MIB, len_bytes: 48 * MIB };
pub const SHRUNK_BYTES: u64 = 26 * MIB;
pub const DISK_BYTES: usize = 50 * MIB as usize;

/// A disk with a file system whose files lie spread to its end.
pub fn fixture(options: &[&str]) -> Vec<u8> {
    let dir = temp_dir();
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

pub fn fsck(image: &Path) {
    tool("e2fsck", &["-f", "-n", image.to_str().unwrap()]);
}

/// The names and contents of all files of a file system, and what debugfs says of the special one; e2fsck must
/// find nothing.
pub fn contents(fs_bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let dir = temp_dir();
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

pub fn shrink(disk: &MemoryDisk, tools: &Tools) -> Result<()> {
    ext4::recover(disk, AT, &GUID)?;
    ext4::shrink(disk, AT, &GUID, SHRUNK_BYTES, tools)
}

pub fn tools(dir: &TempDir) -> Tools {
    Tools::new(dir.path().to_path_buf(), uuid::Uuid::nil())
}

/// An uninterrupted shrink: what was before, what was done, and what is then.
pub struct Recorded {
    pub before: Vec<u8>,
    pub ops: Vec<Op>,
    pub after: Vec<u8>,
    pub scratch: TempDir,
    /// Where resumes run: memory once made is used again, as making it takes longer than a resume.
    work: MemoryDisk,
}

pub fn record(options: &[&str]) -> Recorded {
    let before = fixture(options);
    let scratch = temp_dir();
    let disk = MemoryDisk::new(before.clone());
    shrink(&disk, &tools(&scratch)).unwrap();
    let (ops, after) = (disk.ops.take(), disk.into_bytes());
    Recorded { work: MemoryDisk::new(before.clone()), before, ops, after, scratch }
}

pub fn kept(bytes: &[u8]) -> &[u8] {
    &bytes[AT.offset_bytes as usize..][..SHRUNK_BYTES as usize]
}

pub fn outside(bytes: &[u8]) -> (&[u8], &[u8]) {
    (&bytes[..AT.offset_bytes as usize], &bytes[AT.end_bytes() as usize..])
}

impl Recorded {
    /// Runs the resizer on a crash state and compares all that counts; what it did.
    pub fn resume(&self, state: &[u8], what: &str) -> Vec<Op> {
        let disk = &self.work;
        disk.reset(state);
        shrink(disk, &tools(&self.scratch)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let bytes = disk.bytes.borrow();
        assert!(kept(&bytes) == kept(&self.after), "{what}: the shrunk file system differs");
        assert!(outside(&bytes) == outside(&self.before), "{what}: something outside the partition changed");
        disk.ops()
    }
}

/// The second has so few inodes that a shrink must move some, and so rewrites directories and inode tables in place.
pub const VARIANTS: [&[&str]; 4] = [
    &["-t", "ext4", "-b", "4096"],
    &["-t", "ext4", "-b", "1024", "-O", "64bit,metadata_csum", "-g", "8192", "-N", "240"],
    &["-t", "ext4", "-b", "2048", "-O", "^64bit,^metadata_csum,uninit_bg", "-g", "8192"],
    &["-t", "ext2", "-b", "1024"],
];
