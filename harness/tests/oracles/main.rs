//! The oracles on small volumes, each on a directory of the host and on the same in memory: they hold on what is sound,
//! and each damage is found by those that guard against it, in words that name the place.
//!
//! Needs `mke2fs`, `debugfs`, `e2fsck` (e2fsprogs), `fsck.fat` (dosfstools), `mkfs.xfs` (xfsprogs), `mkfs.btrfs`
//! (btrfs-progs) and `mkfs.ntfs` (ntfs-3g); without them it fails by name.

mod bench;
mod checkers;
mod commands;
mod damages;
mod disk;
mod isolation;
mod trees;
