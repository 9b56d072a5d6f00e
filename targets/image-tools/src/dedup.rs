//! `image-tools ext4 probe-dedup`: how much of several images is there more than once, by three ways of looking.
//!
//! A fixed grid of 128 KiB finds what lies at the same place on the grid; content-defined chunks find it anywhere; whole
//! files, read through the file system, are what could be found at best. Blocks of zeros are free and count nowhere.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use blake3::{Hash, Hasher};
use comfy_table::{CellAlignment, Table, presets};
use ext4_view::{Ext4, Ext4Error, FileType};
use ext4_writer::BLOCK_BYTES;
use fastcdc::v2020::StreamCDC;

/// The grid.
pub const GRID_BYTES: u64 = 128 << 10;
const CHUNK_LEAST_BYTES: usize = 16 << 10;
const CHUNK_MEAN_BYTES: usize = 64 << 10;
const CHUNK_MOST_BYTES: usize = 1 << 20;
const BLOCK: usize = BLOCK_BYTES as usize;

/// Images can't be compared.
#[derive(Debug, thiserror::Error)]
pub enum DedupError {
    /// An image can't be read.
    #[error("`{image}` can't be read", image = image.display())]
    Read {
        /// The image.
        image: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image holds no ext4, or a damaged one.
    #[error("`{image}` can't be read as ext4", image = image.display())]
    Ext4 {
        /// The image.
        image: PathBuf,
        /// Why.
        source: Ext4Error,
    },
}

/// What one way of looking found, in bytes of blocks that are not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Bytes that were looked at.
    pub total: u64,
    /// Bytes of what was there before.
    pub shared: u64,
}

impl Found {
    /// Share of what was there before, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.shared as f64 / self.total as f64 }
    }
}

/// What was found in all images together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// On the fixed grid.
    pub grid: Found,
    /// In content-defined chunks.
    pub chunks: Found,
    /// By whole files.
    pub files: Found,
}

/// Looks at images, one after the other.
pub fn probe(images: &[PathBuf]) -> Result<Report, DedupError> {
    let mut grid = Seen::default();
    let mut chunks = Seen::default();
    let mut files = Seen::default();
    for image in images {
        let read = |source| DedupError::Read { image: image.clone(), source };
        let mut file = File::open(image).map_err(read)?;
        let runs = look_at_grid(&mut file, &mut grid).map_err(read)?;
        look_at_chunks(&mut file, runs, &mut chunks).map_err(read)?;
        look_at_files(image, &mut files)?;
    }
    Ok(Report { grid: grid.found, chunks: chunks.found, files: files.found })
}

/// The table that is printed.
#[must_use]
pub fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(["found by", "bytes", "shared", "share"]);
    let rows = [
        (format!("grid of {} KiB", GRID_BYTES >> 10), report.grid),
        ("content-defined chunks".to_owned(), report.chunks),
        ("whole files".to_owned(), report.files),
    ];
    for (name, found) in rows {
        let share = format!("{:.1} %", 100.0 * found.share());
        table.add_row([name, found.total.to_string(), found.shared.to_string(), share]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Contents that were seen.
#[derive(Default)]
struct Seen {
    hashes: HashSet<Hash>,
    found: Found,
}

impl Seen {
    fn add(&mut self, hash: Hash, bytes: u64) {
        self.found.total += bytes;
        if !self.hashes.insert(hash) {
            self.found.shared += bytes;
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Looks at each cell of the grid; gives the runs of blocks that are not zero.
fn look_at_grid(file: &mut File, seen: &mut Seen) -> io::Result<Vec<Range<u64>>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut cell = Vec::with_capacity(GRID_BYTES as usize);
    let mut start = 0;
    loop {
        cell.clear();
        let read = file.by_ref().take(GRID_BYTES).read_to_end(&mut cell)?;
        if read == 0 {
            return Ok(runs);
        }
        let mut bytes = 0;
        for (block, at) in cell.chunks(BLOCK).zip((start..).step_by(BLOCK)) {
            if is_zero(block) {
                continue;
            }
            bytes += block.len() as u64;
            let end = at + block.len() as u64;
            match runs.last_mut() {
                Some(last) if last.end == at => last.end = end,
                _ => runs.push(at..end),
            }
        }
        if bytes > 0 {
            seen.add(blake3::hash(&cell), bytes);
        }
        start += read as u64;
    }
}

/// Cuts each run of blocks into chunks where its content says so.
fn look_at_chunks(file: &mut File, runs: Vec<Range<u64>>, seen: &mut Seen) -> io::Result<()> {
    for run in runs {
        file.seek(SeekFrom::Start(run.start))?;
        let part = file.by_ref().take(run.end - run.start);
        for chunk in StreamCDC::new(part, CHUNK_LEAST_BYTES, CHUNK_MEAN_BYTES, CHUNK_MOST_BYTES) {
            let data = chunk?.data;
            seen.add(blake3::hash(&data), data.len() as u64);
        }
    }
    Ok(())
}

fn look_at_files(image: &Path, seen: &mut Seen) -> Result<(), DedupError> {
    let failed = |source| DedupError::Ext4 { image: image.to_owned(), source };
    let ext4 = Ext4::load_from_path(image).map_err(failed)?;
    let mut waiting = vec![ext4_view::PathBuf::new("/")];
    while let Some(folder) = waiting.pop() {
        for entry in ext4.read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            match entry.file_type().map_err(failed)? {
                FileType::Directory if ![&b"."[..], b".."].contains(&name.as_ref()) => {
                    waiting.push(entry.path());
                }
                FileType::Regular => {
                    let (hash, bytes) = hash_file(ext4.open(&entry.path()).map_err(failed)?)
                        .map_err(|source| DedupError::Read { image: image.to_owned(), source })?;
                    seen.add(hash, bytes);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Hash of a file and the bytes of its blocks that are not zero.
fn hash_file(mut file: ext4_view::File) -> io::Result<(Hash, u64)> {
    let mut hasher = Hasher::new();
    let mut bytes = 0;
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        if file.by_ref().take(BLOCK_BYTES).read_to_end(&mut block)? == 0 {
            return Ok((hasher.finalize(), bytes));
        }
        hasher.update(&block);
        if !is_zero(&block) {
            bytes += BLOCK_BYTES;
        }
    }
}
