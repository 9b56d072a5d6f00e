//! Staged copies: sparse temporary files in the scratch directory, on which the file-system programs work.
//!
//! A stage is always made anew and never trusted from an earlier run, so it is never made durable. It is removed
//! when it is dropped. Its name is the disk's, which a run has for itself: what a killed run left behind is removed unseen
//! when the next stage is made, and the directory's list is never read.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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
    file: File,
    path: PathBuf,
}

impl Stage {
    /// An empty (all holes) stage of `len_bytes`.
    pub fn create(tools: &Tools, len_bytes: u64) -> Result<Stage> {
        let path = tools.stage.clone();
        let failed = Error::io("create a staged copy in", &tools.scratch);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let options = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let stage = Stage { file: options.map_err(failed)?, path };
        stage.file.set_len(len_bytes).map_err(Error::io("resize", &stage.path))?;
        Ok(stage)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its present length; the programs change it.
    pub fn len_bytes(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(Error::io("look at", self.path()))?.len())
    }

    /// Makes it `len_bytes` long; what is new reads as zeros.
    pub fn set_len(&mut self, len_bytes: u64) -> Result<()> {
        self.file.set_len(len_bytes).map_err(Error::io("resize", &self.path))
    }

    /// Fills `buf` from `offset_bytes`.
    pub fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, offset_bytes).map_err(Error::io("read", self.path()))
    }

    /// Writes `data` at `offset_bytes`.
    pub fn write_at(&mut self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        self.file.write_all_at(data, offset_bytes).map_err(Error::io("write", &self.path))
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
        let file = &self.file;
        let write = |start: usize, end: usize| {
            file.write_all_at(&data[start..end], offset_bytes + start as u64)
                .map_err(Error::io("write", &self.path))
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

impl Drop for Stage {
    fn drop(&mut self) {
        // What stays is removed by the next run.
        let _ = std::fs::remove_file(&self.path);
    }
}
