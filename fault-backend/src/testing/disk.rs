//! The disk that a sweep hands out: an image in memory that records what is done to it, and can be cut.

use std::io;
use std::sync::Arc;

use nix::errno::Errno;

use crate::block::BlockDevice;
use crate::image::Image;
use crate::oplog::{Op, OpKind, OpLog, Outcome};
use crate::volume::{Ino, Mutation, Timestamp};

/// The inode of the disk in the volume that the power model works on.
pub(super) const DISK: Ino = Ino(2);

/// A disk in memory.
#[derive(Debug)]
pub struct Disk {
    image: Image,
    sector_bytes: u32,
    log: Option<OpLog>,
    /// No op after so many happens, and of the next write only so many bytes.
    cut: Option<(u64, u64)>,
    ops: u64,
    names: [Arc<str>; 2],
}

impl Disk {
    pub(super) fn new(image: Image, sector_bytes: u32) -> Self {
        let names = ["tool".into(), "start".into()];
        Self { image, sector_bytes, log: None, cut: None, ops: 0, names }
    }

    /// Records on behind these ops.
    pub(super) fn recording(mut self, past: OpLog) -> Self {
        self.log = Some(past);
        self
    }

    /// Cuts the run after so many ops.
    pub(super) fn cut_after(mut self, ops: u64, bytes: u64) -> Self {
        self.cut = Some((ops, bytes));
        self
    }

    pub(super) fn into_parts(self) -> (Image, OpLog) {
        (self.image, self.log.unwrap_or_default())
    }

    /// Its content.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Counts an op; an error once the run was cut.
    fn begin(&mut self) -> io::Result<()> {
        self.alive()?;
        self.ops += 1;
        Ok(())
    }

    fn alive(&self) -> io::Result<()> {
        match self.cut {
            Some((ops, _)) if self.ops > ops => Err(Errno::EIO.into()),
            _ => Ok(()),
        }
    }

    fn record(&mut self, kind: impl FnOnce() -> OpKind) {
        let Some(log) = &mut self.log else { return };
        let number = log.len() + 1;
        let [process, step] = self.names.clone();
        let epoch = log.ops.last().map_or(0, |last| last.epoch + u32::from(last.is_flush()));
        log.push(Op {
            number,
            kind: kind(),
            fua: false,
            cached: false,
            process,
            step,
            acks: 0,
            epoch,
            outcome: Outcome::Completed,
            time: Timestamp::default(),
            path: None,
        });
    }
}

impl BlockDevice for Disk {
    fn len_bytes(&self) -> u64 {
        self.image.len_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        self.alive()?;
        if self.image.read_at(offset_bytes, buf)? < buf.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn write_at(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        let end = offset_bytes.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > self.image.len_bytes()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.begin()?;
        if let Err(cut) = self.alive() {
            let arrived = self.cut.map_or(0, |(_, bytes)| data.len().min(bytes as usize));
            self.image.write_at(offset_bytes, &data[..arrived])?;
            return Err(cut);
        }
        self.image.write_at(offset_bytes, data)?;
        self.record(|| {
            OpKind::Mutation(Mutation::Write { ino: DISK, offset: offset_bytes, data: data.into() })
        });
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.begin()?;
        self.alive()?;
        self.record(|| OpKind::Flush { ino: Some(DISK), data_only: true });
        Ok(())
    }
}
