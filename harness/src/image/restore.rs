//! Puts files right in place: what is equal stays, what differs is written, and holes become holes again. Where little
//! differs that costs a comparison and not a copy.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::holes::{DataSeeker, punch};
use super::{BLOCK_BYTES, PAGE_BYTES, copy_file, files, len_bytes};

/// Makes an existing destination (file or volume) equal to the source: writes only what differs, and punches holes
/// where the source has some. Files that the source doesn't have are removed.
pub fn restore(src: &Path, dst: &Path) -> io::Result<()> {
    if !src.is_dir() {
        return restore_file(src, dst);
    }
    let wanted = files(src)?;
    for name in files(dst)? {
        if wanted.binary_search(&name).is_err() {
            fs::remove_file(dst.join(name))?;
        }
    }
    for name in wanted {
        let to = dst.join(&name);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        restore_file(&src.join(name), &to)?;
    }
    Ok(())
}

fn restore_file(src: &Path, dst: &Path) -> io::Result<()> {
    let is_file = |path: &Path| path.symlink_metadata().map(|metadata| metadata.is_file());
    match (is_file(src)?, is_file(dst)) {
        (true, Ok(true)) => {}
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return copy_file(src, dst),
        (_, Err(error)) => return Err(error),
        // Of a link nothing can be put right in place.
        _ => {
            fs::remove_file(dst)?;
            return copy_file(src, dst);
        }
    }
    let to = OpenOptions::new().read(true).write(true).open(dst)?;
    let from = File::open(src)?;
    let len = len_bytes(&from)?;
    if len_bytes(&to)? != len {
        to.set_len(len)?;
    }
    restore_range(&from, &to, 0..len)
}

/// As [`restore`], for volumes of one file each of which it is known that they differ in these ranges at most.
pub fn restore_ranges(src: &Path, dst: &Path, ranges: Vec<Range<u64>>) -> io::Result<()> {
    for name in files(src)? {
        let to = OpenOptions::new().read(true).write(true).open(dst.join(&name))?;
        let from = File::open(src.join(&name))?;
        let len = len_bytes(&from)?;
        if len_bytes(&to)? != len {
            return restore(src, dst);
        }
        for range in &ranges {
            // Whole pages, since a hole is one.
            let start = range.start / PAGE_BYTES as u64 * PAGE_BYTES as u64;
            restore_range(&from, &to, start..range.end.next_multiple_of(PAGE_BYTES as u64).min(len))?;
        }
    }
    Ok(())
}

fn restore_range(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let (mut wanted, mut present) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    let mut data = DataSeeker::blockwise(from, range.end);
    let mut at = range.start;
    while at < range.end {
        let next = data.next_from(at)?.unwrap_or(range.end);
        punch(to, at..next)?;
        let block = data.end().saturating_sub(next).min(BLOCK_BYTES as u64) as usize;
        let (wanted, present) = (&mut wanted[..block], &mut present[..block]);
        from.read_exact_at(wanted, next)?;
        to.read_exact_at(present, next)?;
        if wanted != present {
            put_right(to, next, wanted, present)?;
        }
        at = next + block as u64;
    }
    Ok(())
}

/// What a page needs to become what it should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Hole,
    Data,
}

/// Turns the pages that are `present` at an offset into the `wanted` ones, with one call for each run of them.
fn put_right(to: &File, at: u64, wanted: &[u8], present: &[u8]) -> io::Result<()> {
    let pages = wanted.chunks(PAGE_BYTES).zip(present.chunks(PAGE_BYTES));
    let changes: Vec<Change> = pages
        .map(|(wanted, present)| match wanted == present {
            true => Change::Nothing,
            false if wanted.iter().all(|byte| *byte == 0) => Change::Hole,
            false => Change::Data,
        })
        .collect();
    let mut start = 0;
    for run in changes.chunk_by(|a, b| a == b) {
        let end = (start + run.len() * PAGE_BYTES).min(wanted.len());
        match run.first() {
            Some(Change::Hole) => punch(to, at + start as u64..at + end as u64)?,
            Some(Change::Data) => to.write_all_at(&wanted[start..end], at + start as u64)?,
            Some(Change::Nothing) | None => {}
        }
        start = end;
    }
    Ok(())
}
