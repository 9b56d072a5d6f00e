//! The redo journal's marker and index blocks as bytes: little-endian, each under a blake3 hash.
//!
//! | marker | bytes | | index block | bytes |
//! |---|---|---|---|---|
//! | magic | 0..16 | | magic | 0..16 |
//! | partition GUID | 16..32 | | next index block | 16..24 |
//! | partition: offset, length | 32..48 | | its hash | 24..56 |
//! | its own offset on the disk | 48..56 | | number of pieces | 56..64 |
//! | block size | 56..64 | | pieces of 40 bytes: | 64.. |
//! | new length | 64..72 | | destination block | 0..8 |
//! | first index block | 72..80 | | source block | 8..16 |
//! | its hash | 80..112 | | number of blocks | 16..24 |
//! | hash of all before | 480..512 | | hash of the content, cut | 24..40 |

use crate::disk::Extent;

const MARKER_MAGIC: [u8; 16] = *b"resizer-shrink-1";
pub(super) const MARKER_BYTES: usize = 512;
const MARKER_HASH_AT: usize = MARKER_BYTES - HASH_BYTES;

const INDEX_MAGIC: [u8; 16] = *b"resizer-redoidx1";
const INDEX_HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 40;

pub(super) const HASH_BYTES: usize = 32;
const ENTRY_HASH_BYTES: usize = 16;

/// A block and the hash of what it holds; block 0 stands for none.
pub(super) type Link = (u64, [u8; HASH_BYTES]);

/// One run of content and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub to_block: u64,
    pub from_block: u64,
    pub count: u64,
    /// The start of the content's hash.
    pub hash: [u8; ENTRY_HASH_BYTES],
}

/// What the marker sector says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub at: Extent,
    pub part_guid: [u8; 16],
    /// Its own place in the partition.
    pub marker_bytes: u64,
    pub block_bytes: u64,
    pub new_len_bytes: u64,
    /// The first index block and its hash; block 0 means that nothing is to be applied.
    pub first_index: Link,
}

impl Marker {
    pub fn encode(&self) -> [u8; MARKER_BYTES] {
        let mut sector = [0; MARKER_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            sector[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MARKER_MAGIC);
        put(&self.part_guid);
        for number in [
            self.at.offset_bytes,
            self.at.len_bytes,
            self.at.offset_bytes + self.marker_bytes,
            self.block_bytes,
            self.new_len_bytes,
            self.first_index.0,
        ] {
            put(&number.to_le_bytes());
        }
        put(&self.first_index.1);
        let hash = blake3::hash(&sector[..MARKER_HASH_AT]);
        sector[MARKER_HASH_AT..].copy_from_slice(hash.as_bytes());
        sector
    }

    /// The marker that a sector holds, if it is one of the partition at `at`, at its own place.
    pub fn decode(sector: &[u8; MARKER_BYTES], at: Extent, marker_bytes: u64) -> Option<Marker> {
        if sector[..16] != MARKER_MAGIC
            || blake3::hash(&sector[..MARKER_HASH_AT]).as_bytes()[..] != sector[MARKER_HASH_AT..]
        {
            return None;
        }
        let marker = Marker {
            at,
            part_guid: array(sector, 16),
            marker_bytes,
            block_bytes: le64(sector, 56),
            new_len_bytes: le64(sector, 64),
            first_index: (le64(sector, 72), array(sector, 80)),
        };
        let own = le64(sector, 32) == at.offset_bytes
            && le64(sector, 40) == at.len_bytes
            && le64(sector, 48) == at.offset_bytes + marker_bytes;
        let possible = (1024..=65536).contains(&marker.block_bytes)
            && marker.block_bytes.is_power_of_two()
            && marker.new_len_bytes <= at.len_bytes;
        (own && possible).then_some(marker)
    }
}

pub(super) fn entries_per_index(block_bytes: u64) -> usize {
    (block_bytes as usize - INDEX_HEADER_BYTES) / ENTRY_BYTES
}

/// The hash of a piece's content.
pub(super) fn content_hash(data: &[u8]) -> [u8; ENTRY_HASH_BYTES] {
    array(blake3::hash(data).as_bytes(), 0)
}

/// The index block of `pieces`, linked to the next one.
pub(super) fn encode_index(next: Link, pieces: &[Piece], len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[..16].copy_from_slice(&INDEX_MAGIC);
    bytes[16..24].copy_from_slice(&next.0.to_le_bytes());
    bytes[24..56].copy_from_slice(&next.1);
    bytes[56..64].copy_from_slice(&(pieces.len() as u64).to_le_bytes());
    for (slot, piece) in bytes[INDEX_HEADER_BYTES..].chunks_exact_mut(ENTRY_BYTES).zip(pieces) {
        slot[..8].copy_from_slice(&piece.to_block.to_le_bytes());
        slot[8..16].copy_from_slice(&piece.from_block.to_le_bytes());
        slot[16..24].copy_from_slice(&piece.count.to_le_bytes());
        slot[24..].copy_from_slice(&piece.hash);
    }
    bytes
}

/// The link and the pieces of an index block.
pub(super) fn decode_index(bytes: &[u8]) -> Option<(Link, Vec<Piece>)> {
    let slots = bytes[INDEX_HEADER_BYTES..].chunks_exact(ENTRY_BYTES);
    let count = usize::try_from(le64(bytes, 56)).ok().filter(|count| *count <= slots.len())?;
    if bytes[..16] != INDEX_MAGIC {
        return None;
    }
    let pieces = slots.take(count).map(|slot| Piece {
        to_block: le64(slot, 0),
        from_block: le64(slot, 8),
        count: le64(slot, 16),
        hash: array(slot, 24),
    });
    Some(((le64(bytes, 16), array(bytes, 24)), pieces.collect()))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}
