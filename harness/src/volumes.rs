//! Sizes of volumes that are directories.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::Error;
use crate::image;

/// Bytes of its files, holes included.
pub fn len_bytes(volume: &Path) -> Result<u64, Error> {
    sum_of_files(volume, Metadata::len)
}

/// Bytes that its files take.
pub fn used_bytes(volume: &Path) -> Result<u64, Error> {
    sum_of_files(volume, |metadata| metadata.blocks() * 512)
}

fn sum_of_files(volume: &Path, size: impl Fn(&Metadata) -> u64) -> Result<u64, Error> {
    let files = image::files(volume).map_err(Error::io(volume))?;
    files.iter().try_fold(0, |sum, file| {
        let path = volume.join(file);
        let metadata = fs::symlink_metadata(&path).map_err(Error::io(&path))?;
        Ok(sum + size(&metadata))
    })
}
