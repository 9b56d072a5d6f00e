//! A file of real blocks in the run directory that is given up when the disk is full, so that a campaign's last
//! event and its report still have room. It is made before the first event and gone once the report is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Room for the report and the last event, in bytes.
const LEN_BYTES: usize = 256 * 1024;
/// What is left for the report once the event log has had its share, in bytes.
const HALF_BYTES: u64 = LEN_BYTES as u64 / 2;
const FILE_NAME: &str = "ballast";

/// Path of the ballast in the run directory `dir`.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

/// Takes the room. The content is noise: a file system that compresses would keep nothing for zeros.
pub(crate) fn reserve(dir: &Path) -> io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(LEN_BYTES);
    while noise.len() < LEN_BYTES {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    let mut file = File::create_new(path(dir))?;
    file.write_all(&noise)?;
    // Blocks that are merely promised are not there when the disk is full.
    file.sync_all()
}

/// Gives up the half that is meant for the event log.
pub(crate) fn release_half(dir: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path(dir))?;
    if file.metadata()?.len() > HALF_BYTES {
        file.set_len(HALF_BYTES)?;
    }
    file.sync_all()
}

/// Gives up all of it; nothing to do where there is none.
pub(crate) fn release(dir: &Path) -> io::Result<()> {
    match fs::remove_file(path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
