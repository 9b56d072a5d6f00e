//! A disk with every kind of content, as the fixture builder makes it, and ways to damage it.

use std::fs::{self, File, OpenOptions};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crc::{CRC_32_ISO_HDLC, Crc};
use killpoint::gpt::Gpt;
use scenarios::Resolved;
use tempfile::TempDir;

use crate::bench::{Bench, Parts, Seen, scenario};

const SCENARIO: &str = r#"
schema = 1
name = "every-content"
summary = "one partition of every kind of content"
requires = ["mke2fs", "debugfs", "e2fsck"]
optional = ["fsck.fat"]

[fixture.disk]
size = "24M"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b01"

[[fixture.partition]]
index = 1
label = "BOOT"
type = "esp"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b11"
size = "5M"
content = { kind = "fat", bits = 16, seed = 1, cluster_bytes = "512", used = "600K" }

[[fixture.partition]]
index = 4
label = "CONFIG"
type = "linux"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b12"
attributes = 4
size = "1M"
content = { kind = "raw", seed = 2 }

[[fixture.partition]]
index = 9
label = "DATA"
type = "linux"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b13"
size = "12M"
content = { kind = "ext4", seed = 3, block_bytes = "1K", used = "3M", uuid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b23" }

[[phase]]
name = "nothing"
run = ["true"]
copies = ["CONFIG", "DATA"]

[[oracle]]
kind = "baseline"
mask = ["unallocated"]

[[oracle]]
kind = "gpt"

[[oracle]]
kind = "gpt"
at = "crash"
need = "one-valid"

[[oracle]]
kind = "untouched"
at = "both"
partitions = ["CONFIG"]

[[oracle]]
kind = "fsck"
partitions = ["BOOT", "DATA"]

[[oracle]]
kind = "content"
partitions = ["BOOT", "CONFIG", "DATA"]
"#;

/// The volume as the builder makes it, once for all tests, and its scenario.
pub fn fixture() -> &'static (TempDir, Resolved) {
    static FIXTURE: OnceLock<(TempDir, Resolved)> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let (folder, resolved) = scenario(SCENARIO);
        let volume = folder.path().join("volume");
        fs::create_dir(&volume).expect("a folder for the volume");
        scenarios::fixture::build(&resolved, &volume).expect("the fixture (needs e2fsprogs)");
        (folder, resolved)
    })
}

pub fn origin() -> PathBuf {
    fixture().0.path().join("volume")
}

pub fn unallocated() -> Vec<String> {
    vec!["unallocated".to_owned()]
}

/// A bench with that disk.
pub struct DiskBench(pub Bench);

impl Deref for DiskBench {
    type Target = Bench;
    fn deref(&self) -> &Bench {
        &self.0
    }
}

impl DerefMut for DiskBench {
    fn deref_mut(&mut self) -> &mut Bench {
        &mut self.0
    }
}

impl DiskBench {
    pub fn new(seen: Seen) -> Self {
        Self::without(seen, &[])
    }

    /// On a machine that lacks some programs.
    pub fn without(seen: Seen, lacking: &[&str]) -> Self {
        let (origin, mask) = (origin(), unallocated());
        let parts = Parts { mask: &mask, lacking, ..Parts::still(&origin) };
        Self(Bench::new(seen, &fixture().1, &parts).expect("oracles"))
    }

    pub fn disk(&self) -> PathBuf {
        self.volume().join("disk.img")
    }

    pub fn gpt(&self) -> Gpt {
        Gpt::read(&File::open(self.disk()).expect("open the disk")).expect("read its table")
    }

    /// First byte of a partition.
    pub fn start_of(&self, label: &str) -> u64 {
        self.gpt().partitions().iter().find(|p| p.label == label).expect("the partition").extent.start
    }

    /// Inverts bytes of the disk.
    pub fn invert(&self, at: u64, len: usize) {
        let file = OpenOptions::new().read(true).write(true).open(self.disk()).expect("open the disk");
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, at).expect("read");
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        file.write_all_at(&bytes, at).expect("write");
    }

    /// Changes an entry's byte in both copies of the table, and puts the CRCs right.
    pub fn patch_entry(&self, index: u64, field: u64, bit: u8) {
        const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
        let file = OpenOptions::new().read(true).write(true).open(self.disk()).expect("open the disk");
        let gpt = self.gpt();
        for copy in [&gpt.primary, &gpt.backup] {
            let array = copy.array_extent().expect("a sound header");
            let mut entries = vec![0; (array.end - array.start) as usize];
            file.read_exact_at(&mut entries, array.start).expect("read");
            entries[((index - 1) * 128 + field) as usize] ^= bit;
            file.write_all_at(&entries, array.start).expect("write");
            let mut header = [0; 92];
            file.read_exact_at(&mut header, copy.lba * 512).expect("read");
            header[88..92].copy_from_slice(&CRC32.checksum(&entries).to_le_bytes());
            header[16..20].fill(0);
            let crc = CRC32.checksum(&header);
            header[16..20].copy_from_slice(&crc.to_le_bytes());
            file.write_all_at(&header, copy.lba * 512).expect("write");
        }
    }

    /// Changes the ext4 by debugfs, as a tool that loses something would.
    pub fn debugfs(&self, command: &str) {
        let source = format!("{}?offset={}", self.disk().display(), self.start_of("DATA"));
        let program = scenarios::programs::find("debugfs").expect("debugfs (Debian package e2fsprogs)");
        let output =
            Command::new(program).args(["-w", "-R", command, &source]).output().expect("run debugfs");
        assert!(output.status.success(), "{output:?}");
    }

    /// Where a name's directory entry is in the FAT.
    pub fn fat_entry(&self, name: &[u8; 11]) -> u64 {
        let start = self.start_of("BOOT");
        let mut bytes = vec![0; 5 << 20];
        let file = File::open(self.disk()).expect("open the disk");
        file.read_exact_at(&mut bytes, start).expect("read the FAT");
        let entry = bytes.chunks(32).position(|entry| entry.starts_with(name)).expect("the entry");
        start + 32 * entry as u64
    }
}
