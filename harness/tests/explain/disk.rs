//! A small disk with a FAT16, a partition of raw bytes and an ext4, as a state in memory, and where things are on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use fault_backend::{Image, Volume};
use killpoint::explain::{Explanation, Found, Inputs, Wanted, finding};
use killpoint::gpt::Gpt;
use killpoint::image::View;
use tempfile::TempDir;

const SCENARIO: &str = r#"
schema = 1
name = "every-place"
summary = "a partition with each kind of file system"
requires = ["mke2fs", "debugfs", "e2fsck"]

[fixture.disk]
size = "24M"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c01"

[[fixture.partition]]
index = 1
label = "BOOT"
type = "esp"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c11"
size = "5M"
content = { kind = "fat", bits = 16, seed = 1, cluster_bytes = "512", used = "600K" }

[[fixture.partition]]
index = 4
label = "CONFIG"
type = "linux"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c12"
size = "1M"
content = { kind = "raw", seed = 2 }

[[fixture.partition]]
index = 9
label = "DATA"
type = "linux"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c13"
size = "12M"
content = { kind = "ext4", seed = 3, block_bytes = "1K", used = "3M", uuid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c23" }

[[phase]]
name = "nothing"
run = ["true"]
"#;

/// Path of the disk in a state.
pub const DISK: &str = "volume/disk.img";

/// The disk, once for all cases.
pub struct Disk {
    folder: TempDir,
    /// Its bytes.
    pub image: Image,
    /// Its table.
    pub gpt: Gpt,
}

pub fn disk() -> &'static Disk {
    static MADE: OnceLock<Disk> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("scenario.toml");
        fs::write(&file, SCENARIO).expect("write the scenario");
        let resolved =
            scenarios::load(file.to_str().expect("a path of text"), None).expect("a sound scenario");
        let volume = folder.path().join("volume");
        fs::create_dir(&volume).expect("a folder for the volume");
        scenarios::fixture::build(&resolved, &volume).expect("the fixture");
        let state = Volume::import(&volume).expect("import");
        let image = state.file(Path::new("disk.img")).expect("the disk").clone();
        let gpt = Gpt::read(&image).expect("read its table");
        Disk { folder, image, gpt }
    })
}

impl Disk {
    /// First byte of a partition.
    pub fn start_of(&self, label: &str) -> u64 {
        let partitions = self.gpt.partitions();
        partitions.iter().find(|p| p.label == label).expect("the partition").extent.start
    }

    /// Where it lies.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("volume/disk.img")
    }

    /// What debugfs answers about the ext4.
    pub fn debugfs(&self, command: &str) -> String {
        let source = format!("{}?offset={}", self.file().display(), self.start_of("DATA"));
        let program = scenarios::programs::find("debugfs").expect("debugfs");
        let output = Command::new(program).args(["-R", command, &source]).output().expect("run debugfs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A state with a disk of these bytes.
pub fn state(image: Image) -> Volume {
    let mut state = Volume::new();
    state.insert_dir(Path::new("volume")).expect("the volume");
    state.insert_file(Path::new(DISK), image).expect("the disk");
    state.insert_dir(Path::new("scratch")).expect("the scratch directory");
    state
}

/// Explains how the disk differs from what it should be.
pub fn explained(wanted: &Image, found: &Image) -> Explanation {
    let (wanted, found) = (state(wanted.clone()), state(found.clone()));
    finding(&Inputs {
        found: (Found::Result, View::Memory(&found)),
        wanted: (Wanted::Baseline, View::Memory(&wanted)),
        mask: None,
        cut: &[],
        resume: None,
        resumed_from: None,
        uninterrupted: None,
        oracle: "baseline",
    })
    .expect("both states can be read")
}

/// The image with a byte inverted.
pub fn inverted(image: &Image, offset: u64) -> Image {
    let mut changed = image.clone();
    let mut byte = [0];
    changed.read_at(offset, &mut byte).expect("read");
    changed.write_at(offset, &[!byte[0]]).expect("write");
    changed
}

/// A stretch of the image as an image of its own.
pub fn part(image: &Image, start: u64, len: u64) -> Image {
    let mut bytes = vec![0; len as usize];
    image.read_at(start, &mut bytes).expect("read");
    let mut part = Image::new(len);
    part.write_at(0, &bytes).expect("write");
    part
}
