//! The scenarios that ship: their files, embedded, and finding one by a name that may be misspelt.

use std::sync::LazyLock;

use crate::error::ScenarioError;
use crate::near::near;

/// A scenario that ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// The `summary` line of its file.
    pub summary: &'static str,
    /// Its file.
    pub text: &'static str,
    /// Where its file lies, relative to the folder of the scenarios.
    pub path: &'static str,
    /// Its helper files: path relative to its file, and text.
    pub assets: &'static [(&'static str, &'static str)],
}

impl Shipped {
    /// Whether it is about somebody else's tool, which runs unmodified.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.path.starts_with("open/")
    }

    /// Whether it is about the project's image tools.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.path.starts_with("image/")
    }
}

/// A row of the table: path, text, and the texts of its helpers, which those in a folder of their own can have.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

macro_rules! own {
    ($name:literal) => {
        (concat!($name, ".toml"), include_str!(concat!("../", $name, ".toml")), &[])
    };
}
macro_rules! within {
    ($folder:literal, $name:literal, $($asset:literal),* $(,)?) => {
        (
            concat!($folder, "/", $name, ".toml"),
            include_str!(concat!("../", $folder, "/", $name, ".toml")),
            &[$(($asset, include_str!(concat!("../", $folder, "/", $asset)))),*],
        )
    };
}
macro_rules! open {
    ($($word:literal),* $(,)?) => { within!("open", $($word),*) };
}
macro_rules! image {
    ($($word:literal),* $(,)?) => { within!("image", $($word),*) };
}

/// Every file, sorted by name.
const FILES: &[Row] = &[
    image!("admit-need", "gc-chains.sh", "gc-home.sh"),
    open!("btrfs-rename-synced", "btrfs-files.sh", "old-or-new.sh"),
    open!("btrfs-rename-unsynced", "btrfs-files.sh", "old-or-new.sh"),
    image!("clone-file", "old-or-new.sh", "rootfs.sh"),
    own!("content-heavy"),
    own!("entries-128"),
    own!("ext4-relocate"),
    open!("ext4-rename-synced", "ext4-files.sh", "old-or-new.sh"),
    open!("ext4-rename-unsynced", "ext4-files.sh", "ext4-rename-unsynced.expected.json", "old-or-new.sh"),
    image!("fork-life", "fork-diff.sh", "fork-snapshot.sh"),
    image!("gc-flood", "gc-flood-home.sh", "gc-flood-live.sh", "gc-flood.sh"),
    image!("gc-scale", "gc-chains.sh", "gc-home.sh"),
    image!("gc-torn-overlay", "gc-torn-overlay-home.sh"),
    own!("grown-disk"),
    open!("growpart", "gpt-disk.sh", "growpart.expected.json"),
    image!("image-from-tar", "old-or-new.sh", "tree.sh"),
    image!("image-from-tree", "old-or-new.sh", "tree.sh"),
    own!("mixed-layout"),
    own!("no-space"),
    open!("ntfsresize", "ntfs-files.sh", "ntfs-image.sh", "ntfsresize.expected.json"),
    open!("qemu-img-snapshot", "qcow2-image.sh", "qcow2-snapshot.sh", "qemu-img-snapshot.expected.json"),
    within!("open", "rename-synced",),
    open!("rename-unsynced", "rename-unsynced.expected.json"),
    own!("renumber"),
    open!("resize2fs-grow", "ext4-image.sh", "resize2fs-grow.expected.json"),
    open!("resize2fs-shrink", "ext4-image.sh", "resize2fs-shrink.expected.json"),
    own!("sectors-4k"),
    open!("sgdisk-delete", "gpt-disk.sh", "sgdisk-delete.expected.json"),
    open!("sgdisk-grown", "gpt-disk.sh", "sgdisk-grown.expected.json"),
    open!("sgdisk-new", "gpt-disk.sh", "sgdisk-new.expected.json"),
    open!("sgdisk-type", "gpt-disk.sh", "sgdisk-type.expected.json"),
    own!("shrink-and-grow"),
    own!("shrink-below-used"),
    own!("sparse-4g"),
    open!("sqlite-async", "ledger-check.sh", "ledger-write.sh", "ledger.sh", "sqlite-async.expected.json"),
    open!("sqlite-delete", "ledger-check.sh", "ledger-write.sh", "ledger.sh"),
    open!("sqlite-wal", "ledger-check.sh", "ledger-write.sh", "ledger.sh"),
    image!("work-disk", "old-or-new.sh", "rootfs.sh"),
    image!("work-seed", "old-or-new.sh", "rootfs.sh"),
    open!("xfs-rename-synced", "old-or-new.sh", "xfs-files.sh"),
    open!("xfs-rename-unsynced", "old-or-new.sh", "xfs-files.sh", "xfs-rename-unsynced.expected.json"),
];

/// The scenarios that ship, sorted by name.
#[must_use]
pub fn shipped() -> &'static [Shipped] {
    static LIST: LazyLock<Vec<Shipped>> = LazyLock::new(|| {
        let shipped = |(path, text, assets): &Row| Shipped {
            name: path.rsplit('/').next().unwrap_or(path).trim_end_matches(".toml"),
            summary: summary(text),
            text,
            path,
            assets,
        };
        FILES.iter().map(shipped).collect()
    });
    &LIST
}

/// The summary as written in a file that ships, taken from its line so that it can stay borrowed.
fn summary(text: &'static str) -> &'static str {
    let line = text.lines().find_map(|line| line.strip_prefix("summary = \""));
    line.and_then(|line| line.strip_suffix('"')).unwrap_or_default()
}

/// The scenario of that name.
pub(crate) fn find(name: &str) -> Result<Shipped, ScenarioError> {
    if let Some(found) = shipped().iter().find(|shipped| shipped.name == name) {
        return Ok(*found);
    }
    Err(ScenarioError::Unknown {
        name: name.to_owned(),
        near: near(name, shipped().iter().map(|shipped| shipped.name)),
        known: shipped().iter().map(|shipped| shipped.name).collect(),
    })
}
