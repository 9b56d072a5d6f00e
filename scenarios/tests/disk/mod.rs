//! A built fixture as the tests look at it: a GPT reader that shares no code with the writer, partitions as files, and
//! the answers of external programs.

use std::fs::File;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Whence, lseek};
use scenarios::{fixture, load, programs};
use tempfile::TempDir;

const CHUNK: usize = 1 << 20;

/// A built image, in a folder that goes with it.
pub struct Disk {
    folder: TempDir,
    image: File,
    /// Bytes of a sector.
    pub sector: u64,
}

/// One copy of the table.
#[derive(Debug)]
pub struct Table {
    pub own_lba: u64,
    pub other_lba: u64,
    pub entries: Vec<Entry>,
}

/// A used entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub index: u32,
    pub label: String,
    pub first_lba: u64,
    pub last_lba: u64,
    pub attributes: u64,
    pub guids: [u8; 32],
}

/// Builds the fixture of a scenario at its default scale.
pub fn build(name: &str, folder: &Path) {
    let resolved = load(name, None).unwrap_or_else(|error| panic!("{error}"));
    fixture::build(&resolved, folder).unwrap_or_else(|error| panic!("{name}: {error}"));
}

impl Disk {
    pub fn of(name: &str) -> Self {
        Self::in_folder(name, tempfile::tempdir().unwrap())
    }

    pub fn in_folder(name: &str, folder: TempDir) -> Self {
        build(name, folder.path());
        let image = File::open(folder.path().join("disk.img")).unwrap();
        let sector = load(name, None).unwrap().scenario.fixture.disk().unwrap().sector_size;
        Self { folder, image, sector: u64::from(sector) }
    }

    pub fn len(&self) -> u64 {
        self.image.metadata().unwrap().len()
    }

    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.image.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    /// Whether all bytes are the same: holes are skipped where both have one, since reading gigabytes of them is slow.
    pub fn equals(&self, other: &Self) -> bool {
        self.len() == other.len() && self.data_is_in(other) && other.data_is_in(self)
    }

    fn data_is_in(&self, other: &Self) -> bool {
        let mut at = 0;
        while let Ok(data) = lseek(&self.image, at as i64, Whence::SeekData) {
            let hole = lseek(&self.image, data, Whence::SeekHole).unwrap() as u64;
            for chunk in (data as u64..hole).step_by(CHUNK) {
                let len = CHUNK.min((hole - chunk) as usize);
                if self.read(chunk, len) != other.read(chunk, len) {
                    return false;
                }
            }
            at = hole;
        }
        true
    }

    /// Reads the header at a byte offset and the array that it names, and asserts both checksums.
    pub fn table(&self, header_at: u64) -> Table {
        let header = self.read(header_at, 92);
        assert_eq!(&header[..8], b"EFI PART");
        let mut unsigned = header.to_vec();
        unsigned[16..20].fill(0);
        assert_eq!(crc32(&unsigned), number(&header[16..20]) as u32, "header checksum");
        let at = |offset: usize| number(&header[offset..offset + 8]);
        let array = self.read(at(72) * self.sector, 128 * 128);
        assert_eq!(crc32(&array), number(&header[88..92]) as u32, "array checksum");
        let (first_usable, last_usable) = (at(40), at(48));
        let mut entries = Vec::new();
        for (place, entry) in array.chunks(128).enumerate().filter(|(_, entry)| entry[..16] != [0; 16]) {
            let units: Vec<u16> = entry[56..].chunks(2).map(|unit| number(unit) as u16).collect();
            let label = String::from_utf16(&units).unwrap().trim_end_matches('\0').to_owned();
            let (first_lba, last_lba) = (number(&entry[32..40]), number(&entry[40..48]));
            assert!(first_usable <= first_lba && first_lba <= last_lba && last_lba <= last_usable, "{label}");
            let (index, attributes) = (place as u32 + 1, number(&entry[48..56]));
            let guids = entry[..32].try_into().unwrap();
            entries.push(Entry { index, label, first_lba, last_lba, attributes, guids });
        }
        Table { own_lba: at(24), other_lba: at(32), entries }
    }

    pub fn entry(&self, label: &str) -> Entry {
        let table = self.table(self.sector);
        table.entries.into_iter().find(|entry| entry.label == label).unwrap_or_else(|| panic!("no {label}"))
    }

    /// The partition as a file of its own.
    pub fn extract(&self, label: &str) -> PathBuf {
        let entry = self.entry(label);
        let (start, end) = (entry.first_lba * self.sector, (entry.last_lba + 1) * self.sector);
        let path = self.folder.path().join(format!("{label}.part"));
        let part = File::create(&path).unwrap();
        part.set_len(end - start).unwrap();
        for at in (start..end).step_by(CHUNK) {
            let chunk = self.read(at, CHUNK.min((end - at) as usize));
            if chunk.iter().any(|byte| *byte != 0) {
                part.write_all_at(&chunk, at - start).unwrap();
            }
        }
        path
    }
}

/// Standard output of a program that must be there and exit 0.
pub fn program(name: &str, arguments: &[&str]) -> String {
    let path = programs::find(name).unwrap_or_else(|| {
        panic!(
            "`{name}` is not installed (Debian package {})",
            programs::package_of(name).unwrap_or("unknown")
        )
    });
    let output = Command::new(path).args(arguments).env("LC_ALL", "C.UTF-8").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let objections = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {}\n{said}\n{objections}", output.status);
    said
}

/// The number after a heading of dumpe2fs.
pub fn field(said: &str, heading: &str) -> u64 {
    let line = said.lines().find_map(|line| line.strip_prefix(heading));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or_else(|| panic!("no `{heading}`"))
}

/// The free blocks of all groups, from dumpe2fs.
pub fn free_blocks(said: &str) -> Vec<RangeInclusive<u64>> {
    ranges(said, "  Free blocks: ").into_iter().flatten().collect()
}

/// For each group whether any of its inodes is in use.
pub fn inode_groups_in_use(said: &str) -> Vec<bool> {
    let per_group = field(said, "Inodes per group:");
    let free = ranges(said, "  Free inodes: ");
    free.into_iter()
        .map(|group| group.iter().map(|range| range.end() - range.start() + 1).sum::<u64>() < per_group)
        .collect()
}

fn ranges(said: &str, heading: &str) -> Vec<Vec<RangeInclusive<u64>>> {
    let parse = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    let lines = said.lines().filter_map(|line| line.strip_prefix(heading));
    lines.map(|line| line.split(',').filter_map(parse).collect()).collect()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// CRC-32 bit by bit, as UEFI asks for (polynomial 0x04C11DB7, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 };
        }
    }
    !sum
}
