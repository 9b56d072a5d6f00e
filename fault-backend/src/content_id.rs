//! The content id of a disk: a 128-bit name for its bytes and its length.
//!
//! It is a sum over the chunks, so it can be kept up to date chunk by chunk and computed in any order, and zero
//! chunks add nothing, so a hole and written zeros are the same content. It tells states apart that arose by
//! accident; it is no defence against somebody who makes collisions on purpose.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Length of a chunk in bytes; the last one of a disk may be shorter. A page of the file: a small write costs a small
/// hash.
pub const CHUNK_BYTES: usize = 4096;

/// Name of a content: same bytes and same length, same id. Prints as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContentId(u128);

/// A text that is not a content id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a content id: 32 hexadecimal digits are expected")]
pub struct NotAContentId(String);

impl ContentId {
    /// What one chunk adds to the sum; a chunk of zeros adds nothing. A short last chunk counts as if zeros followed,
    /// so that a changed length alone leaves every part as it was.
    pub fn of_chunk(index: u64, chunk: &[u8]) -> u128 {
        if is_zero(chunk) {
            0
        } else if chunk.len() < CHUNK_BYTES {
            let mut padded = [0; CHUNK_BYTES];
            padded[..chunk.len()].copy_from_slice(chunk);
            xxh3_128_with_seed(&padded, index)
        } else {
            xxh3_128_with_seed(chunk, index)
        }
    }

    /// The number itself, all of whose digits depend on all of the content.
    pub fn digest(self) -> u128 {
        self.0
    }

    /// The id that a digest of a whole tree gives.
    pub(crate) fn of_digest(digest: u128) -> Self {
        Self(digest)
    }
}

/// Sums up chunks, in any order, each at most once.
#[derive(Clone, Debug)]
pub struct ContentHasher {
    len_bytes: u64,
    sum: u128,
}

impl ContentHasher {
    /// Starts with all zeros of the given length.
    pub fn new(len_bytes: u64) -> Self {
        Self { len_bytes, sum: 0 }
    }

    /// Adds the chunk that starts at byte `index * CHUNK_BYTES`.
    pub fn chunk(&mut self, index: u64, chunk: &[u8]) {
        self.add(ContentId::of_chunk(index, chunk));
    }

    /// Adds what [`ContentId::of_chunk`] gave.
    pub fn add(&mut self, part: u128) {
        self.sum = self.sum.wrapping_add(part);
    }

    /// Takes back what was added, before a chunk changes.
    pub fn remove(&mut self, part: u128) {
        self.sum = self.sum.wrapping_sub(part);
    }

    /// Takes another length, in bytes; what was added stays.
    pub fn set_len(&mut self, len_bytes: u64) {
        self.len_bytes = len_bytes;
    }

    /// The id of what was added so far.
    pub fn finish(&self) -> ContentId {
        ContentId(xxh3_128_with_seed(&self.sum.to_le_bytes(), self.len_bytes))
    }
}

/// Whether a slice is zero throughout.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<32>();
    words.iter().all(|word| *word == [0; 32]) && tail.iter().all(|byte| *byte == 0)
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ContentId> for String {
    fn from(id: ContentId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for ContentId {
    type Error = NotAContentId;
    fn try_from(text: String) -> Result<Self, NotAContentId> {
        text.parse()
    }
}

impl FromStr for ContentId {
    type Err = NotAContentId;
    fn from_str(text: &str) -> Result<Self, NotAContentId> {
        let wrong = || NotAContentId(text.to_owned());
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16).map(ContentId).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(disk: &[u8]) -> ContentId {
        let mut hasher = ContentHasher::new(disk.len() as u64);
        for (index, chunk) in disk.chunks(CHUNK_BYTES).enumerate() {
            hasher.chunk(index as u64, chunk);
        }
        hasher.finish()
    }

    #[test]
    fn zero_chunks_equal_holes_and_the_length_counts() {
        let zeros = vec![0; 3 * CHUNK_BYTES];
        assert_eq!(whole(&zeros), ContentHasher::new(zeros.len() as u64).finish());
        assert_ne!(whole(&zeros), whole(&zeros[..2 * CHUNK_BYTES]));
    }

    #[test]
    fn a_short_last_chunk_counts_as_followed_by_zeros() {
        let disk = vec![7; CHUNK_BYTES + 100];
        let mut longer = disk.clone();
        longer.resize(2 * CHUNK_BYTES, 0);
        let mut hasher = ContentHasher::new(longer.len() as u64);
        for (index, chunk) in disk.chunks(CHUNK_BYTES).enumerate() {
            hasher.chunk(index as u64, chunk);
        }
        assert_eq!(hasher.finish(), whole(&longer));
        assert_ne!(whole(&disk), whole(&longer));
    }

    #[test]
    fn the_same_chunk_elsewhere_is_other_content() {
        let mut a = vec![0; 2 * CHUNK_BYTES];
        let mut b = a.clone();
        a[5] = 1;
        b[CHUNK_BYTES + 5] = 1;
        assert_ne!(whole(&a), whole(&b));
    }

    proptest! {
        #[test]
        fn a_changed_chunk_put_right_gives_the_id_of_the_whole(
            disk in prop::collection::vec(any::<u8>(), 2 * CHUNK_BYTES..3 * CHUNK_BYTES),
            at in 0usize..2 * CHUNK_BYTES, value in any::<u8>())
        {
            let index = at / CHUNK_BYTES;
            let range = index * CHUNK_BYTES..(index + 1) * CHUNK_BYTES;
            let mut hasher = ContentHasher::new(disk.len() as u64);
            for (i, chunk) in disk.chunks(CHUNK_BYTES).enumerate() {
                hasher.chunk(i as u64, chunk);
            }
            let mut changed = disk.clone();
            changed[at] = value;
            hasher.remove(ContentId::of_chunk(index as u64, &disk[range.clone()]));
            hasher.add(ContentId::of_chunk(index as u64, &changed[range]));
            prop_assert_eq!(hasher.finish(), whole(&changed));
            prop_assert_eq!(whole(&disk) == whole(&changed), disk == changed);
        }

        #[test]
        fn an_id_parses_back_from_its_text(n in any::<u128>()) {
            prop_assert_eq!(ContentId(n).to_string().parse(), Ok(ContentId(n)));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "12", &"g".repeat(32), &"+".repeat(32), &"0".repeat(33)] {
            assert!(text.parse::<ContentId>().is_err(), "{text}");
        }
    }
}
