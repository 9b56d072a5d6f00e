//! Numbers into fixed places of a structure on disk, little-endian as in all of ext4 but the journal.

/// A structure on disk that is being filled in.
pub(crate) trait Put {
    /// Writes bytes at a place.
    fn put(&mut self, at: usize, bytes: &[u8]);

    /// Writes 16 bits at a place.
    fn put_u16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    /// Writes 32 bits at a place.
    fn put_u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }
}

impl Put for [u8] {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// The low and the high half of a number that ext4 stores in two places.
pub(crate) fn halves(value: u32) -> (u16, u16) {
    (value as u16, (value >> 16) as u16)
}
