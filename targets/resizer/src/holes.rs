//! Reading a sparse file: of its holes nothing is read, they are zeros.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// What is read or left out as one; shorter reads ask for no holes.
const PIECE_BYTES: usize = 64 * 1024;

/// Fills `buf` with the bytes from an offset on, all of which lie before the file's end. The file's own position moves.
///
/// # Errors
/// As of pread(2).
pub fn read_at(file: &File, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
    let len = buf.len();
    // Pieces before `read` are in the buffer, those before `at` are known.
    let (mut read, mut at) = (0, 0);
    while len - at >= PIECE_BYTES {
        let Some(data) = data_from(file, offset_bytes + at as u64, len - at) else {
            file.read_exact_at(&mut buf[read..at], offset_bytes + read as u64)?;
            buf[at..].fill(0);
            return Ok(());
        };
        let hole = data - data % PIECE_BYTES;
        if hole > 0 {
            file.read_exact_at(&mut buf[read..at], offset_bytes + read as u64)?;
            buf[at..at + hole].fill(0);
            read = at + hole;
        }
        let data_len = hole_from(file, offset_bytes + (at + data) as u64, len - at - data);
        at = len.min(at + (data + data_len.max(1)).next_multiple_of(PIECE_BYTES));
    }
    file.read_exact_at(&mut buf[read..], offset_bytes + read as u64)
}

/// How far the next data is; none where it is farther than `len`. What knows of no holes, as a device, is all data.
fn data_from(file: &File, offset_bytes: u64, len: usize) -> Option<usize> {
    match seek(file, offset_bytes, Whence::SeekData) {
        Ok(distance) => usize::try_from(distance).ok().filter(|distance| *distance < len),
        Err(Errno::ENXIO) => None,
        Err(_) => Some(0),
    }
}

/// How far the next hole is, at most `len`.
fn hole_from(file: &File, offset_bytes: u64, len: usize) -> usize {
    let distance = seek(file, offset_bytes, Whence::SeekHole).unwrap_or(u64::MAX);
    usize::try_from(distance).unwrap_or(usize::MAX).min(len)
}

fn seek(file: &File, offset_bytes: u64, whence: Whence) -> nix::Result<u64> {
    let from = i64::try_from(offset_bytes).map_err(|_| Errno::EOVERFLOW)?;
    let found = lseek(file, from, whence)?;
    Ok(u64::try_from(found - from).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::*;

    const FILE_BYTES: u64 = 2 << 20;

    /// Ranges of a file that hold data, in units of 4 KiB: few long ones and many short ones.
    fn layout() -> impl Strategy<Value = Vec<Range<u64>>> {
        let range = (0..512_u64, prop_oneof![1..3_u64, 1..200_u64]);
        prop::collection::vec(range.prop_map(|(start, len)| start * 4096..(start + len) * 4096), 0..12)
    }

    fn holds(data: &[Range<u64>], at: u64) -> bool {
        data.iter().any(|range| range.contains(&at))
    }

    proptest! {
        #[test]
        fn every_byte_is_what_the_file_has(data in layout(), start in 0..FILE_BYTES, len in 0..FILE_BYTES) {
            let file = tempfile::tempfile().unwrap();
            file.set_len(FILE_BYTES).unwrap();
            for range in &data {
                let range = range.start..range.end.min(FILE_BYTES);
                file.write_all_at(&vec![7; (range.end - range.start) as usize], range.start).unwrap();
            }
            let mut found = vec![1; len.min(FILE_BYTES - start) as usize];
            read_at(&file, start, &mut found).unwrap();
            let wrong = (start..).zip(&found).find(|(at, byte)| **byte != if holds(&data, *at) { 7 } else { 0 });
            prop_assert_eq!(wrong, None);
        }
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(FILE_BYTES).unwrap();
        file.write_all_at(&[7], FILE_BYTES - 1).unwrap();
        let error = read_at(&file, FILE_BYTES - 4096, &mut vec![0; 2 * PIECE_BYTES]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
