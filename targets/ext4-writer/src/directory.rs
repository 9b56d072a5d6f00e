//! The blocks of a folder: entries one behind the other, each block closed by its checksum.
//!
//! Names are in byte order behind `.` and `..`; there is no index. An entry never crosses a block.

use crate::bytes::Put;
use crate::checksum::Seed;
use crate::geometry::BLOCK_BYTES;
use crate::tree::Kind;

const BLOCK: usize = BLOCK_BYTES as usize;
const HEADER_BYTES: usize = 8;
/// A fake entry of inode 0 and type 0xde that holds the checksum.
const TAIL_BYTES: usize = 12;
const TAIL_TYPE: u8 = 0xde;

/// The type of a node as an entry has it.
pub(crate) fn entry_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Directory => 2,
        Kind::CharDevice { .. } => 3,
        Kind::BlockDevice { .. } => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Symlink(_) => 7,
    }
}

/// Bytes of an entry, a multiple of four.
fn entry_bytes(name: usize) -> usize {
    (HEADER_BYTES + name).next_multiple_of(4)
}

/// Blocks of a folder with names of these lengths.
pub(crate) fn count_blocks(names: impl Iterator<Item = usize>) -> u64 {
    let mut blocks = 1;
    let mut at = 0;
    for len in [1, 2].into_iter().chain(names) {
        if at + entry_bytes(len) > BLOCK - TAIL_BYTES {
            blocks += 1;
            at = 0;
        }
        at += entry_bytes(len);
    }
    blocks
}

/// One name: inode, type, name.
pub(crate) type Entry<'a> = (u32, u8, &'a [u8]);

/// The content of a folder of at least `least` blocks; `entries` begins with `.` and `..`.
pub(crate) fn encode<'a>(entries: impl Iterator<Item = Entry<'a>>, least: u64, seed: Seed) -> Vec<u8> {
    let mut content = vec![0; BLOCK];
    let mut at = 0;
    let mut last = 0;
    for (inode, kind, name) in entries {
        let len = entry_bytes(name.len());
        if at % BLOCK + len > BLOCK - TAIL_BYTES {
            close(&mut content, last, seed);
            at = content.len();
            content.resize(at + BLOCK, 0);
        }
        content.put_u32(at, inode);
        content.put_u16(at + 4, len as u16);
        content[at + 6] = name.len() as u8;
        content[at + 7] = kind;
        content.put(at + HEADER_BYTES, name);
        last = at;
        at += len;
    }
    close(&mut content, last, seed);
    while (content.len() as u64) < least * BLOCK_BYTES {
        let empty = content.len();
        content.resize(empty + BLOCK, 0);
        close(&mut content, empty, seed);
    }
    content
}

/// Stretches the last entry of the last block to the checksum, and writes that.
fn close(content: &mut [u8], last: usize, seed: Seed) {
    let start = content.len() - BLOCK;
    let tail = content.len() - TAIL_BYTES;
    content.put_u16(last + 4, (tail - last) as u16);
    let sum = seed.of(&content[start..tail]);
    content.put_u16(tail + 4, TAIL_BYTES as u16);
    content[tail + 7] = TAIL_TYPE;
    content.put_u32(tail + 8, sum);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checksum::Seed;

    proptest! {
        #[test]
        fn a_folder_has_as_many_blocks_as_were_counted(lengths in prop::collection::vec(1_usize..=255, 0..400)) {
            let names: Vec<Vec<u8>> = lengths.iter().map(|len| vec![b'n'; *len]).collect();
            let dots = [(2, 2, &b"."[..]), (2, 2, &b".."[..])];
            let entries = dots.into_iter().chain(names.iter().map(|name| (12, 1, name.as_slice())));
            let content = encode(entries, 1, Seed::of_file_system(&[0; 16]));
            prop_assert_eq!(content.len() as u64, count_blocks(lengths.into_iter()) * BLOCK_BYTES);
        }
    }
}
