//! Staged copies: sparse temporary files in the scratch directory, on which the file-system programs work.
//!
//! A stage is always made anew and never trusted from an earlier run, so it is never made durable. It is removed
//! when it is dropped; what a killed run left behind is removed when the next stage is made.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::NamedTempFile;

use super::Tools;
use crate::disk::{Disk, Extent};
use crate::error::{Error, Result};
use crate::patch::{self, is_zero};

/// How the names of staged copies begin.
pub const STAGE_PREFIX: &str = "resizer-stage-";

/// What is read from the disk at once while a stage is filled.
const COPY_BYTES: usize = 1024 * 1024;
/// The unit in which zeros are left out.
const HOLE_BYTES: usize = 4096;

/// A staged copy.
pub struct Stage {
    file: NamedTempFile,
}

impl Stage {
    /// An empty (all holes) stage of `len_bytes`.
    pub fn create(tools: &Tools, len_bytes: u64) -> Result<Stage> {
        let scratch = &tools.scratch;
        remove_stale(scratch)?;
        let file = tempfile::Builder::new()
            .prefix(STAGE_PREFIX)
            .tempfile_in(scratch)
            .map_err(Error::io("create a staged copy in", scratch))?;
        // Held for as long as this process lives; it is how another run tells a live stage from a stale one. Where
        // there are no locks, no stage counts as stale.
        let _ = file.as_file().try_lock();
        file.as_file().set_len(len_bytes).map_err(Error::io("resize", file.path()))?;
        Ok(Stage { file })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Its present length; the programs change it.
    pub fn len_bytes(&self) -> Result<u64> {
        Ok(self.file.as_file().metadata().map_err(Error::io("look at", self.path()))?.len())
    }

    /// Makes it `len_bytes` long; what is new reads as zeros.
    pub fn set_len(&mut self, len_bytes: u64) -> Result<()> {
        self.file.as_file().set_len(len_bytes).map_err(Error::io("resize", self.file.path()))
    }

    /// Fills `buf` from `offset_bytes`.
    pub fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.file.as_file().read_exact_at(buf, offset_bytes).map_err(Error::io("read", self.path()))
    }

    /// Writes `data` at `offset_bytes`.
    pub fn write_at(&mut self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        self.file.as_file().write_all_at(data, offset_bytes).map_err(Error::io("write", self.file.path()))
    }

    /// Copies all of a partition that is not zero.
    pub fn copy_all(&mut self, disk: &dyn Disk, at: Extent) -> Result<()> {
        self.copy(disk, at.offset_bytes, 0, at.len_bytes)
    }

    /// Copies `len_bytes` from `from_bytes` on the disk to `to_bytes` of the stage, which must be a hole; zeros
    /// are left out.
    pub fn copy(&mut self, disk: &dyn Disk, from_bytes: u64, to_bytes: u64, len_bytes: u64) -> Result<()> {
        let mut buf = vec![0; COPY_BYTES.min(len_bytes as usize)];
        let mut done = 0;
        while done < len_bytes {
            let len = (len_bytes - done).min(buf.len() as u64) as usize;
            patch::read(disk, from_bytes + done, &mut buf[..len])?;
            self.write_sparse(to_bytes + done, &buf[..len])?;
            done += len as u64;
        }
        Ok(())
    }

    fn write_sparse(&mut self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        let file = self.file.as_file();
        let write = |start: usize, end: usize| {
            file.write_all_at(&data[start..end], offset_bytes + start as u64)
                .map_err(Error::io("write", self.file.path()))
        };
        let mut run_start = None;
        let mut at = 0;
        while at < data.len() {
            let end = (at + HOLE_BYTES).min(data.len());
            if !is_zero(&data[at..end]) {
                run_start.get_or_insert(at);
            } else if let Some(start) = run_start.take() {
                write(start, at)?;
            }
            at = end;
        }
        run_start.map_or(Ok(()), |start| write(start, data.len()))
    }
}

/// Removes the stages that no living process holds.
fn remove_stale(scratch: &Path) -> Result<()> {
    for entry in scratch.read_dir().map_err(Error::io("list", scratch))? {
        let entry = entry.map_err(Error::io("list", scratch))?;
        let ours = entry.file_name().to_string_lossy().starts_with(STAGE_PREFIX);
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        // Another user's file or one that is just being removed is none of ours to clear away.
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() {
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}
