//! The charts of what a partition or a whole file holds: which file system or image format it is, and what each of its
//! bytes belongs to. What is damaged beyond reading is charted as far as it could be read, or as unknown bytes.

use std::ops::Range;

use super::ext4::Ext4Chart;
use super::fat::FatChart;
use super::gpt::DiskChart;
use super::piece::Piece;
use super::place::{Content, Structure};
use super::qcow2::Qcow2Chart;
use crate::gpt::Gpt;
use crate::image::{Bytes, ReadAt};

/// Bytes that a reader asks for at once, at most.
const MAX_READ_BYTES: u64 = 64 << 20;

/// A part of a file, read-only; what lies outside of it can't be read.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    disk: &'a Bytes,
    start: u64,
    len_bytes: u64,
}

impl<'a> Part<'a> {
    /// A range of a file.
    pub fn new(disk: &'a Bytes, range: &Range<u64>) -> Self {
        Self { disk, start: range.start, len_bytes: range.end.saturating_sub(range.start) }
    }

    /// Its length.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Some of its bytes; none where they are not all there.
    pub fn read(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        let end = offset.checked_add(len)?;
        if end > self.len_bytes || len > MAX_READ_BYTES {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.disk.fill(self.start.checked_add(offset)?, &mut bytes).ok()?;
        Some(bytes)
    }
}

/// The chart of one file system or image.
#[derive(Debug)]
pub enum FileSystem {
    /// An ext2, ext3 or ext4.
    Ext4(Box<Ext4Chart>),
    /// A FAT.
    Fat(Box<FatChart>),
    /// A qcow2 image.
    Qcow2(Box<Qcow2Chart>),
    /// A payload as a whole.
    Payload(Content, u64),
    /// A file that is not a disk and holds nothing that is known here.
    Bytes(u64),
}

impl FileSystem {
    /// Of what lies in a partition.
    pub fn in_partition(disk: &Bytes, range: &Range<u64>) -> Self {
        let part = Part::new(disk, range);
        Self::detect(part).unwrap_or_else(|| Self::Payload(Content::Unknown, part.len_bytes()))
    }

    fn of_file(file: &Bytes, len_bytes: u64) -> Self {
        let part = Part::new(file, &(0..len_bytes));
        let qcow2 = || Qcow2Chart::read(part).map(|chart| Self::Qcow2(Box::new(chart)));
        Self::detect(part).or_else(qcow2).unwrap_or(Self::Bytes(len_bytes))
    }

    fn detect(part: Part<'_>) -> Option<Self> {
        let ext4 = || Ext4Chart::read(part).map(|chart| Self::Ext4(Box::new(chart)));
        let fat = || FatChart::read(part).map(|chart| Self::Fat(Box::new(chart)));
        let holds =
            |at: u64, magic: &[u8]| part.read(at, magic.len() as u64).is_some_and(|found| found == magic);
        let whole = |content| Some(Self::Payload(content, part.len_bytes()));
        ext4().or_else(fat).or_else(|| match () {
            () if holds(0, b"hsqs") => whole(Content::Squashfs),
            () if holds(3, b"NTFS    ") => whole(Content::Ntfs),
            () => None,
        })
    }

    /// The piece with an offset, from the start of the file system.
    pub fn at(&self, offset: u64) -> Piece {
        match self {
            Self::Ext4(chart) => chart.at(offset),
            Self::Fat(chart) => chart.at(offset),
            Self::Qcow2(chart) => chart.at(offset),
            Self::Payload(content, len_bytes) => {
                let structure = Structure::Payload { content: *content, offset: 0 };
                Piece::new(0..(*len_bytes).max(offset + 1), structure)
            }
            Self::Bytes(len_bytes) => {
                Piece::new(0..(*len_bytes).max(offset + 1), Structure::Bytes { offset: 0 })
            }
        }
    }
}

/// The chart of a file of the volume.
#[derive(Debug)]
pub struct FileChart {
    bytes: Bytes,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Disk(DiskChart),
    FileSystem(FileSystem),
}

impl FileChart {
    /// Charts a file as far as it can be read.
    pub fn of(bytes: Bytes) -> Self {
        let len_bytes = bytes.len_bytes().unwrap_or(0);
        let disk = Gpt::read(&bytes).ok().and_then(|gpt| DiskChart::of(&gpt));
        let kind = match disk {
            Some(disk) => Kind::Disk(disk),
            None => Kind::FileSystem(FileSystem::of_file(&bytes, len_bytes)),
        };
        Self { bytes, kind }
    }

    /// The piece with an offset.
    pub fn at(&self, offset: u64) -> Piece {
        match &self.kind {
            Kind::Disk(disk) => disk.at(&self.bytes, offset),
            Kind::FileSystem(file_system) => file_system.at(offset),
        }
    }
}
