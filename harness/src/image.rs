//! Whole images: their content id, their byte-exact differences, and sparse copies of them.
//!
//! Everything streams through small buffers and skips holes, so a large sparse image costs what its data costs.
//! A path may be a file or a volume (a directory of files, taken in the order of their relative paths).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::{FileExt, FileTypeExt, symlink};
use std::path::{Path, PathBuf};

use fault_backend::content_id::{CHUNK_BYTES, ContentHasher, ContentId};

mod bytes;
mod holes;
mod restore;
mod trees;
mod view;

pub use bytes::{Bytes, ReadAt};
pub use restore::{restore, restore_ranges};
pub use trees::{Difference, What, differences_of_volumes, without_scratch};
pub use view::{SCRATCH, VOLUME, View};

use holes::DataSeeker;
pub(crate) use holes::punch;

/// Length of the read buffers; a multiple of [`CHUNK_BYTES`]. Two of them fit into a core's own cache.
const BLOCK_BYTES: usize = 256 << 10;
/// Unit in which differences are narrowed down and put right.
const PAGE_BYTES: usize = 4096;

/// Content id of a file, or of a volume (which is an id of its files' names and ids).
pub fn content_id(path: &Path) -> io::Result<ContentId> {
    if !path.is_dir() {
        let file = File::open(path)?;
        let len = len_bytes(&file)?;
        return content_of(&file, 0..len);
    }
    let mut ids = Vec::new();
    for name in files(path)? {
        let id = content_id(&path.join(&name))?;
        ids.push((name, id));
    }
    Ok(volume_id(ids.iter().map(|(name, id)| (name.as_path(), *id))))
}

/// Content id of a volume, from its files in the order of their names.
pub fn volume_id<'a>(files: impl IntoIterator<Item = (&'a Path, ContentId)>) -> ContentId {
    let lines = files.into_iter().map(|(name, id)| format!("{id} {}\n", name.display()));
    let listing: String = lines.collect();
    let mut hasher = ContentHasher::new(listing.len() as u64);
    for (chunk, index) in listing.as_bytes().chunks(CHUNK_BYTES).zip(0..) {
        hasher.chunk(index, chunk);
    }
    hasher.finish()
}

/// Content id of a part of a file, as if it were a file of its own.
pub fn content_of(file: &dyn ReadAt, range: Range<u64>) -> io::Result<ContentId> {
    let mut hasher = ContentHasher::new(range.end.saturating_sub(range.start));
    for_each_chunk(file, range, |index, chunk| hasher.chunk(index, chunk))?;
    Ok(hasher.finish())
}

/// What each chunk of a part of a file adds to its content id; 0 for chunks of zeros.
pub fn chunk_parts(file: &dyn ReadAt, range: Range<u64>) -> io::Result<Vec<u128>> {
    chunk_parts_from(file, range, 0)
}

/// As [`chunk_parts`], with the chunks numbered from `first`, as they are in a whole that the part belongs to.
pub fn chunk_parts_from(file: &dyn ReadAt, range: Range<u64>, first: u64) -> io::Result<Vec<u128>> {
    let mut parts = vec![0; chunk_count(range.end.saturating_sub(range.start))];
    for_each_chunk(file, range, |index, chunk| {
        parts[index as usize] = ContentId::of_chunk(first + index, chunk)
    })?;
    Ok(parts)
}

/// Number of chunks of so many bytes.
pub fn chunk_count(len_bytes: u64) -> usize {
    len_bytes.div_ceil(CHUNK_BYTES as u64) as usize
}

/// Calls back for each chunk that holds data; chunks are counted from the range's start.
fn for_each_chunk(file: &dyn ReadAt, range: Range<u64>, mut visit: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut data = DataSeeker::blockwise(file, range.end);
    let mut at = range.start;
    while at < range.end {
        let Some(next) = data.next_from(at)? else { break };
        at = next - (next - range.start) % CHUNK_BYTES as u64;
        let stretch = (data.end() - at).next_multiple_of(CHUNK_BYTES as u64);
        let len = stretch.min(range.end - at).min(BLOCK_BYTES as u64) as usize;
        let block = &mut buffer[..len];
        data.fill(at, block)?;
        let first = (at - range.start) / CHUNK_BYTES as u64;
        for (chunk, index) in block.chunks(CHUNK_BYTES).zip(first..) {
            visit(index, chunk);
        }
        at += len as u64;
    }
    Ok(())
}

/// All ranges in which two files differ, byte for byte, adjacent ones merged. Where one is longer, the rest of it
/// differs throughout.
pub fn diff(a: &Path, b: &Path) -> io::Result<Vec<Range<u64>>> {
    all_differences(&File::open(a)?, &File::open(b)?)
}

fn all_differences(a: &dyn ReadAt, b: &dyn ReadAt) -> io::Result<Vec<Range<u64>>> {
    let mut found = Vec::new();
    let _ = differences(a, b, |range| {
        found.push(range);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// As [`diff`], one range after the other, until the callback breaks off. Memory is bounded whatever differs.
pub fn differences(
    a: &dyn ReadAt,
    b: &dyn ReadAt,
    mut visit: impl FnMut(Range<u64>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let (a_len, b_len) = (a.len_bytes()?, b.len_bytes()?);
    let common = a_len.min(b_len);
    let mut rest = (a_len != b_len).then(|| common..a_len.max(b_len));
    let flow = compare_parts((a, 0), (b, 0), common, |range| match &mut rest {
        Some(tail) if range.end == tail.start => {
            tail.start = range.start;
            ControlFlow::Continue(())
        }
        _ => visit(range),
    })?;
    Ok(match rest {
        Some(tail) if flow.is_continue() => visit(tail),
        _ => flow,
    })
}

/// Compares `len` bytes of two files from an offset in each; the callback's ranges are relative to those offsets.
pub fn compare_parts(
    (a, a_start): (&dyn ReadAt, u64),
    (b, b_start): (&dyn ReadAt, u64),
    len: u64,
    mut visit: impl FnMut(Range<u64>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut a_data = DataSeeker::blockwise(a, a_start.saturating_add(len));
    let mut b_data = DataSeeker::blockwise(b, b_start.saturating_add(len));
    let (mut a_buffer, mut b_buffer) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    let mut pending: Option<Range<u64>> = None;
    let mut at = 0;
    while at < len {
        let a_next = a_data.next_from(a_start + at)?.map(|next| next - a_start);
        let b_next = b_data.next_from(b_start + at)?.map(|next| next - b_start);
        let Some(next) = [a_next, b_next].into_iter().flatten().min() else { break };
        at = next;
        let end = match (a_next == Some(at), b_next == Some(at)) {
            (true, true) => (a_data.end() - a_start).max(b_data.end() - b_start),
            (true, false) => a_data.end() - a_start,
            _ => b_data.end() - b_start,
        };
        let block = (end - at).min(BLOCK_BYTES as u64) as usize;
        let (x, y) = (&mut a_buffer[..block], &mut b_buffer[..block]);
        a_data.fill(a_start + at, x)?;
        b_data.fill(b_start + at, y)?;
        if x != y {
            let flow = differing_runs(x, y, &mut |run: Range<usize>| {
                let run = at + run.start as u64..at + run.end as u64;
                match &mut pending {
                    Some(last) if last.end == run.start => last.end = run.end,
                    _ => {
                        if let Some(last) = pending.replace(run) {
                            return visit(last);
                        }
                    }
                }
                ControlFlow::Continue(())
            });
            if flow.is_break() {
                return Ok(flow);
            }
        }
        at += block as u64;
    }
    Ok(pending.map_or(ControlFlow::Continue(()), visit))
}

/// Runs of differing bytes of two slices of one length.
fn differing_runs(
    x: &[u8],
    y: &[u8],
    visit: &mut impl FnMut(Range<usize>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for (page, (x, y)) in x.chunks(PAGE_BYTES).zip(y.chunks(PAGE_BYTES)).enumerate() {
        if x == y {
            continue;
        }
        let base = page * PAGE_BYTES;
        let mut start = None;
        for (i, (p, q)) in x.iter().zip(y).enumerate() {
            match start {
                None if p != q => start = Some(i),
                Some(first) if p == q => {
                    visit(base + first..base + i)?;
                    start = None;
                }
                _ => {}
            }
        }
        if let Some(first) = start {
            visit(base + first..base + x.len())?;
        }
    }
    ControlFlow::Continue(())
}

/// Copies a file or a volume, holes kept, as a reflink where the file system can. The destination must not exist;
/// a copy that fails leaves none of its files behind.
pub fn copy_sparse(src: &Path, dst: &Path) -> io::Result<()> {
    if !src.is_dir() {
        return copy_file(src, dst);
    }
    fs::create_dir(dst)?;
    for name in files(src)? {
        let to = dst.join(&name);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        if let Err(error) = copy_file(&src.join(&name), &to) {
            fs::remove_dir_all(dst)?;
            return Err(error);
        }
    }
    Ok(())
}

/// Links stay links; what is neither file nor link has no bytes and is left out.
fn copy_file(src: &Path, dst: &Path) -> io::Result<()> {
    match src.symlink_metadata()?.file_type() {
        kind if kind.is_symlink() => return symlink(src.read_link()?, dst),
        kind if !kind.is_file() && !kind.is_block_device() => return Ok(()),
        _ => {}
    }
    match reflink_copy::reflink(src, dst) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // Most file systems can't; whatever else is wrong shows again below.
        Err(_) => {}
    }
    let from = File::open(src)?;
    let to = OpenOptions::new().write(true).create_new(true).open(dst)?;
    let len = len_bytes(&from)?;
    copy_part(&from, 0..len, &to).inspect_err(|_| {
        // The first error is the one to report.
        let _ = fs::remove_file(dst);
    })
}

/// Copies a part of a file to the start of an empty one, holes kept.
pub fn copy_part(from: &dyn ReadAt, range: Range<u64>, to: &File) -> io::Result<()> {
    to.set_len(range.end - range.start)?;
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut data = DataSeeker::exact(from, range.end);
    let mut at = range.start;
    while let Some(next) = data.next_from(at)? {
        let len = (data.end() - next).min(BLOCK_BYTES as u64) as usize;
        let block = &mut buffer[..len];
        from.fill(next, block)?;
        to.write_all_at(block, next - range.start)?;
        at = next + len as u64;
    }
    Ok(())
}

/// Relative paths of a volume's files, sorted.
pub fn files(volume: &Path) -> io::Result<Vec<PathBuf>> {
    fn walk(root: &Path, below: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(root.join(below))? {
            let entry = entry?;
            let name = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                walk(root, &name, found)?;
            } else {
                found.push(name);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(volume, Path::new(""), &mut found)?;
    found.sort();
    Ok(found)
}

/// Length of a file or block device.
pub fn len_bytes(file: &File) -> io::Result<u64> {
    ReadAt::len_bytes(file)
}

#[cfg(test)]
mod tests;
